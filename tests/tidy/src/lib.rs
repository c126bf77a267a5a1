//! Repository invariants as ordinary tests
