//! Who runs a model: our own evaluator, tract for neural networks, or onnxruntime where it was asked for.
//!
//! Owns: the choice, made by the graph when it is loaded. Never: how an operator is computed.

use evenkeel_neural::{Network, NetworkError};
use evenkeel_onnx::{Column, Data, LoadError, Model as Own, RunError, Signature, Workspace};
#[cfg(feature = "ort")]
use evenkeel_onnxruntime::{Foreign, ForeignError, Library};
#[cfg(feature = "ort")]
use std::sync::Arc;

/// Who is to run a model.
#[derive(Debug, Clone, Default)]
pub enum Runtime {
    /// Our own evaluator; tract where that does not have an operator.
    #[default]
    Auto,
    /// Our own evaluator alone.
    Own,
    /// tract alone.
    Tract,
    /// onnxruntime, from a library that was opened.
    #[cfg(feature = "ort")]
    Ort(Arc<Library>),
}

/// A model that is ready to run.
#[derive(Debug)]
pub enum Engine {
    /// By our own evaluator.
    Own(Box<Own>),
    /// By tract.
    Network(Box<Network>),
    /// By onnxruntime.
    #[cfg(feature = "ort")]
    Foreign(Box<Foreign>),
}

/// Why nobody can run a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Our own evaluator cannot, and nobody else was to be asked.
    #[error(transparent)]
    Own(#[from] LoadError),
    /// tract cannot, and nobody else was to be asked.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Neither can.
    #[error("{own}. Nor can it be run as a neural network: {network}")]
    Neither {
        /// What our own evaluator says.
        own: Box<LoadError>,
        /// What is said of it as a network.
        network: Box<NetworkError>,
    },
    /// onnxruntime cannot.
    #[cfg(feature = "ort")]
    #[error(transparent)]
    Foreign(#[from] ForeignError),
}

impl Engine {
    /// Reads a model file.
    pub fn load(file: &[u8], runtime: &Runtime) -> Result<Self, EngineError> {
        match runtime {
            Runtime::Own => Ok(Own::load(file)?.into()),
            Runtime::Tract => Ok(Self::Network(Box::new(Network::load(file)?))),
            #[cfg(feature = "ort")]
            Runtime::Ort(library) => Ok(Self::Foreign(Box::new(Foreign::load(file, library)?))),
            Runtime::Auto => match Own::load(file) {
                Ok(model) => Ok(model.into()),
                Err(own) if is_of_the_graph(&own) => match Network::load(file) {
                    Ok(network) => Ok(Self::Network(Box::new(network))),
                    Err(network) => {
                        Err(EngineError::Neither { own: Box::new(own), network: Box::new(network) })
                    }
                },
                Err(own) => Err(own.into()),
            },
        }
    }

    /// Who it is, as a configuration names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Own(_) => "own",
            Self::Network(_) => "tract",
            #[cfg(feature = "ort")]
            Self::Foreign(_) => "ort",
        }
    }

    /// What the model takes and gives.
    pub fn signature(&self) -> &Signature {
        match self {
            Self::Own(model) => model.signature(),
            Self::Network(network) => network.signature(),
            #[cfg(feature = "ort")]
            Self::Foreign(foreign) => foreign.signature(),
        }
    }

    /// Gives only output `index` from now on.
    #[must_use]
    pub fn only(self, index: usize) -> Self {
        match self {
            Self::Own(model) => (*model).only(index).into(),
            Self::Network(network) => Self::Network(Box::new((*network).only(index))),
            #[cfg(feature = "ort")]
            Self::Foreign(foreign) => Self::Foreign(Box::new((*foreign).only(index))),
        }
    }

    /// Runs rows, as [`evenkeel_onnx::Model::run`] does.
    pub fn run(
        &self,
        columns: &[Column<'_>],
        rows: usize,
        work: &mut Workspace,
        into: &mut Vec<Data>,
    ) -> Result<(), RunError> {
        match self {
            Self::Own(model) => model.run(columns, rows, work, into),
            Self::Network(network) => network.run(columns, rows, into),
            #[cfg(feature = "ort")]
            Self::Foreign(foreign) => foreign.run(columns, rows, into),
        }
    }
}

impl From<Own> for Engine {
    fn from(model: Own) -> Self {
        Self::Own(Box::new(model))
    }
}

/// Whether the file is ONNX within the limits, and only this graph is not for our evaluator.
fn is_of_the_graph(error: &LoadError) -> bool {
    match error {
        LoadError::Unsupported { .. } | LoadError::Node { .. } | LoadError::Port { .. } => true,
        LoadError::TooLarge { .. } | LoadError::Malformed(_) | LoadError::TooMany { .. } => false,
    }
}
