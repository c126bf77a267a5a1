//! One run over a file: model and rows are read and fitted to each other, then the modes run in turn.

use crate::config::{Mode, Plan};
use crate::error::{InputError, RunError};
use crate::input::read_rows;
use crate::modes;
use evenkeel_onnx::limits;
use evenkeel_scoring::{Binding, Bound, Frame, Model, Report, ScoreError};
use std::io::Read;
use std::path::Path;

/// Rows that could not be scored and are shown; the others are counted.
const SHOWN_MAX: usize = 20;

/// A model, rows, and which column feeds what.
#[derive(Debug)]
pub struct Prepared {
    /// The model.
    pub model: Model,
    /// The rows.
    pub frame: Frame,
    /// Which column feeds what.
    pub binding: Binding,
}

/// How far a mode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The mode.
    pub what: &'static str,
    /// Rows so far.
    pub done: usize,
    /// Of how many.
    pub rows: usize,
}

/// What became of the rows of a mode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Rows scored.
    pub scored: u64,
    /// Rows that could not be scored.
    pub errors: u64,
    /// The first of them, with their numbers.
    pub shown: Vec<String>,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Rows of the file.
    pub rows: usize,
    /// Who ran the model: own, tract or ort.
    pub runtime: &'static str,
    /// Each mode that ran.
    pub modes: Vec<(Mode, Counted)>,
    /// The figures of the asynchronous mode, if it ran.
    pub report: Option<Report>,
}

impl Counted {
    /// Counts a row; its score, if it has one.
    pub fn take(&mut self, score: Result<f64, ScoreError>) -> Option<f64> {
        match score {
            Ok(score) => {
                self.scored += 1;
                Some(score)
            }
            Err(error) => {
                self.errors += 1;
                if self.shown.len() < SHOWN_MAX {
                    self.shown.push(error.to_string());
                }
                None
            }
        }
    }
}

impl Summary {
    /// Rows that could not be scored, over all modes.
    pub fn errors(&self) -> u64 {
        self.modes.iter().map(|(_, counted)| counted.errors).sum()
    }
}

fn read_model(path: &Path) -> Result<Vec<u8>, InputError> {
    let failed = |source| InputError::Open { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limits::MODEL_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Reads model and rows. Nothing is written before this has succeeded.
pub fn prepare(plan: &Plan) -> Result<Prepared, RunError> {
    let config = plan.config();
    let bytes = read_model(&config.model)?;
    let model = plan
        .runtime()
        .load(&bytes)
        .map_err(|source| RunError::Model { path: config.model.clone(), source })?;
    let bound = Bound::new(model, plan.wanted())
        .map_err(|source| RunError::Bind { path: config.model.clone(), source })?;
    let model = Model::Onnx(Box::new(bound));
    let frame = read_rows(&config.input, config.input_max.bytes())?;
    let binding =
        model.bind(&frame).map_err(|source| RunError::Bind { path: config.input.clone(), source })?;
    Ok(Prepared { model, frame, binding })
}

/// Runs the modes of the plan, each with its files.
pub fn run(
    prepared: &Prepared,
    plan: &Plan,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, RunError> {
    let config = plan.config();
    let mut summary = Summary {
        rows: prepared.frame.rows,
        runtime: prepared.model.runtime(),
        modes: Vec::new(),
        report: None,
    };
    if config.mode.includes(Mode::Batch) {
        summary.modes.push((Mode::Batch, modes::batch(prepared, config, progress)?));
    }
    if config.mode.includes(Mode::Stream) {
        summary.modes.push((Mode::Stream, modes::stream(prepared, config, progress)?));
    }
    if config.mode.includes(Mode::AsyncStream) {
        let (counted, report) = modes::async_stream(prepared, config, progress)?;
        summary.modes.push((Mode::AsyncStream, counted));
        summary.report = Some(report);
    }
    Ok(summary)
}
