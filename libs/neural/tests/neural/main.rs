//! Networks as onnxruntime answers them; files that are no networks, or hostile ones.
#![allow(clippy::unwrap_used, clippy::disallowed_types, clippy::disallowed_methods)]

mod case;
mod golden;
mod hostile;
mod write;
