//! ONNX models of scikit-learn, XGBoost and LightGBM exports, evaluated in columns.
//!
//! Owns: reading a model file ([`Model::load`]), the operators those exporters write, their evaluation over
//! columns of rows ([`Model::run`]). Never: a file, a clock, a thread, a neural network's operators
//! (libs/neural): what is not supported is refused at load, by name.
//!
//! Everything about types and shapes is settled at load: each value of the graph is either a constant or has
//! `[rows, …]` with a tail that is known then. So a run has few ways to fail, and none of them is a panic.
//! Rows go through the graph in blocks of at most [`BLOCK_ROWS`], each value of a block lying column by column;
//! the memory is that of one block and is kept in the [`Workspace`], so that no row allocates.
//!
//! Bounds: [`limits`]. A file that breaks one is refused.

mod attributes;
mod constant;
mod data;
mod error;
mod graph;
mod kind;
pub mod limits;
mod model;
mod ops;
mod post;
pub mod proto;
mod signature;
mod tree;

pub use data::{Data, Texts};
pub use error::{LoadError, RunError};
pub use graph::supported_operators;
pub use kind::Dtype;
pub use model::{Column, Model, Workspace};
pub use signature::{InputSpec, Labels, OutputSpec, Signature};

/// Rows of a block: few enough that a block's columns stay in the processor's cache, enough to spread the cost
/// of a step over them.
pub const BLOCK_ROWS: usize = 256;
