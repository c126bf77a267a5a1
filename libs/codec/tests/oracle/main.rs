//! The hand-written codec against a general Avro library, which never saw it: for random values, what one
//! writes the other reads, both ways. And against bytes that nobody should send.

// A test's helpers may fail by panicking, as the tests themselves.
#![allow(clippy::unwrap_used)]

mod avro;
mod both_ways;
mod hostile;
mod values;
