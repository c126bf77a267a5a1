//! The coalescer: events become windows, exactly once
