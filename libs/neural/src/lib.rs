//! Neural networks in ONNX that the evaluator of libs/onnx does not have the operators for, on tract.
//!
//! Owns: the one place that names tract; which networks it is handed ([`supported_operators`]), and how large they may
//! be ([`limits`]). Never: a file, a clock, a thread.
//!
//! tract is never handed the file. What libs/onnx has read of it, within its limits, is written anew for tract: no
//! cells in other files, no functions, no graphs within graphs, no field that nobody here knows. An operator is let
//! through with the attributes that were compared with onnxruntime (tests/models): tract passes others over in silence,
//! and would give another score. Every value's size is known before tract computes one. A panic in tract is an error.
//!
//! A row is one run: the dimension of the rows is 1. So a score does not depend on the rows that happen to be scored
//! with it, and is the same again after a crash. The price is that rows do not share a multiplication of matrices.

#[cfg(not(feature = "tract"))]
mod absent;
mod error;
pub mod limits;
#[cfg(feature = "tract")]
mod network;
#[cfg(feature = "tract")]
mod operators;
#[cfg(feature = "tract")]
mod plan;
#[cfg(feature = "tract")]
mod sizes;
#[cfg(feature = "tract")]
mod translate;

#[cfg(not(feature = "tract"))]
pub use absent::Network;
pub use error::NetworkError;
#[cfg(feature = "tract")]
pub use network::Network;
#[cfg(feature = "tract")]
pub use operators::supported_operators;
