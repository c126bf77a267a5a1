//! The messages of an ONNX file, as far as they are read. Names and numbers are those of onnx.proto.
//!
//! A runtime behind this crate (libs/neural) is given what was read here, never the file: so the limits hold for it too.
//!
//! Owns: which field is what, and how many there may be. Never: what a model means. Texts and blobs are borrowed
//! from the file; the nesting is fixed, so no file can make the reader recurse.

mod messages;
mod wire;

pub use messages::{Attribute, Graph, Message, Node, Port, Tensor, TypeName, Value};
