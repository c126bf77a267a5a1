//! The hand-written codec against a general Avro library, which never saw it: for random values, what one
//! writes the other reads, both ways. And against bytes that nobody should send.

mod avro;
mod both_ways;
mod hostile;
mod values;
