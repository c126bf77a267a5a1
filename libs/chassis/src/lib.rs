//! What every service does the same: configuration, admin HTTP, signals, drain
