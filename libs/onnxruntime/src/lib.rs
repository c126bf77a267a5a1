//! ONNX models on onnxruntime, for whoever wants that and has its shared library.
//!
//! Owns: the one place that names ort, the library that a process opens ([`Library`]). Never: the choice to use it
//! (that is the user's), a download, a thread: onnxruntime computes on the thread that asks.
//!
//! This is foreign code: what it reserves and how it ends on a hostile file is its own. libs/onnx reads the file first,
//! so that its limits on bytes and counts hold.
//!
//! A row is one run, as in libs/neural: a score does not depend on the rows that are scored with it.

mod foreign;
mod library;

pub use foreign::{Foreign, ForeignError};
pub use library::{Library, OpenError, VERSION_MIN};
