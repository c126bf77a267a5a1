//! Who runs a model, as the configuration says it.
//!
//! Owns: opening the shared library of onnxruntime, which a process does once. Never: the choice by the graph
//! (libs/scoring).

use evenkeel_scoring::{Engine, EngineError, Runtime};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `runtime`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuntimeName {
    /// Our own evaluator; tract where that does not have an operator.
    #[default]
    Auto,
    /// Our own evaluator alone.
    Own,
    /// tract alone.
    Tract,
    /// onnxruntime.
    Ort,
}

/// `runtime` and what it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeChoice {
    /// Who runs it.
    pub name: RuntimeName,
    /// The shared library of onnxruntime; empty = not given.
    pub ort_library: PathBuf,
}

/// Why a model has nobody to run it.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The model.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// This program was built without onnxruntime.
    #[error(
        "runtime is ort, and this program was built without it; build it with `cargo build --release --features ort`, \
         or leave runtime = \"auto\""
    )]
    NotBuilt,
    /// Which library is not said.
    #[error(
        "runtime is ort, and ort-library is not given; name the shared library of onnxruntime 1.17 or newer, e.g. \
         onnxruntime/capi/libonnxruntime.so.1.31.1 of its Python package"
    )]
    NoLibrary,
    /// The library.
    #[cfg(feature = "ort")]
    #[error(transparent)]
    Library(#[from] evenkeel_onnxruntime::OpenError),
}

impl RuntimeChoice {
    /// Reads a model file.
    pub fn load(&self, file: &[u8]) -> Result<Engine, RuntimeError> {
        let runtime = match self.name {
            RuntimeName::Auto => Runtime::Auto,
            RuntimeName::Own => Runtime::Own,
            RuntimeName::Tract => Runtime::Tract,
            RuntimeName::Ort => self.ort()?,
        };
        Ok(Engine::load(file, &runtime)?)
    }

    #[cfg(feature = "ort")]
    fn ort(&self) -> Result<Runtime, RuntimeError> {
        if self.ort_library.as_os_str().is_empty() {
            return Err(RuntimeError::NoLibrary);
        }
        Ok(Runtime::Ort(evenkeel_onnxruntime::Library::open(&self.ort_library)?))
    }

    #[cfg(not(feature = "ort"))]
    fn ort(&self) -> Result<Runtime, RuntimeError> {
        Err(RuntimeError::NotBuilt)
    }
}
