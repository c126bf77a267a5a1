//! The embedded log and window store of one machine, on SQLite
