//! The network of a program that was built without tract: there is none.

use crate::NetworkError;
use evenkeel_onnx::{Column, Data, RunError, Signature};
use std::convert::Infallible;

/// A neural network; none can be made.
#[derive(Debug)]
pub struct Network(Infallible);

impl Network {
    /// Says that the program was built without.
    pub fn load(_file: &[u8]) -> Result<Self, NetworkError> {
        Err(NetworkError::NotBuilt)
    }

    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        match self.0 {}
    }

    /// Gives only one output.
    #[must_use]
    pub fn only(self, _index: usize) -> Self {
        self
    }

    /// Runs rows.
    pub fn run(&self, _columns: &[Column<'_>], _rows: usize, _into: &mut Vec<Data>) -> Result<(), RunError> {
        match self.0 {}
    }
}
