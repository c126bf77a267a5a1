//! The sink: window rows and late records become stored rows
