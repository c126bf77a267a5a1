//! Models as exporters write them, against what onnxruntime answered; files that are no models.
#![allow(clippy::unwrap_used, clippy::disallowed_types, clippy::disallowed_methods)]

mod case;
mod golden;
mod hostile;
