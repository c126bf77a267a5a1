//! The models there are.

use crate::bind::{BindError, Binding, Bound, Cells};
use crate::frame::Frame;
use evenkeel_onnx::RunError;

/// A model that scores rows of a frame.
#[derive(Debug)]
pub enum Model {
    /// An ONNX model; who runs it is [`crate::Engine`]'s business.
    Onnx(Box<Bound>),
    /// For tests of the queue: every row takes the same time.
    Timed(Timed),
}

/// A model that says how long a row takes; whoever runs it spends that time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timed {
    /// Time of a row, µs.
    pub service_us: u64,
    /// The score of every row.
    pub score: f64,
    /// A row that cannot be scored, from 0.
    pub fails_at: Option<usize>,
}

/// What a thread keeps between rows, so that a row allocates little.
#[derive(Debug, Default)]
pub struct Memory {
    cells: Cells,
    scores: Vec<f64>,
}

/// Why a row cannot be scored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// The model refuses it.
    #[error("row {}: {reason}", row + 1)]
    Refused {
        /// Which row, from 0.
        row: usize,
        /// Why.
        reason: String,
    },
    /// The model's answer is no number.
    #[error("row {}: the score is {score}; is a number missing that the model does not fill in?", row + 1)]
    NotANumber {
        /// Which row, from 0.
        row: usize,
        /// What it is.
        score: String,
    },
}

impl Model {
    /// Finds the columns that the model takes.
    pub fn bind(&self, frame: &Frame) -> Result<Binding, BindError> {
        match self {
            Self::Onnx(bound) => bound.bind(frame),
            Self::Timed(_) => Ok(Binding::default()),
        }
    }

    /// Who runs it: own, tract or ort; a test's model: timed.
    pub fn runtime(&self) -> &'static str {
        match self {
            Self::Onnx(bound) => bound.runtime(),
            Self::Timed(_) => "timed",
        }
    }

    /// How long a row takes beside the computing, µs: a test's model only.
    pub fn service_us(&self) -> u64 {
        match self {
            Self::Onnx(_) => 0,
            Self::Timed(timed) => timed.service_us,
        }
    }

    /// The score of one row.
    pub fn score(
        &self,
        binding: &Binding,
        frame: &Frame,
        row: usize,
        memory: &mut Memory,
    ) -> Result<f64, ScoreError> {
        memory.scores.clear();
        self.append(binding, frame, row..row + 1, memory)?;
        finite(memory.scores.first().copied().unwrap_or(f64::NAN), row)
    }

    /// The scores of rows `range`, each or why not. One row that the model refuses costs that row only.
    pub fn score_rows(
        &self,
        binding: &Binding,
        frame: &Frame,
        range: std::ops::Range<usize>,
        memory: &mut Memory,
    ) -> Vec<Result<f64, ScoreError>> {
        memory.scores.clear();
        if self.append(binding, frame, range.clone(), memory).is_ok() {
            return range.zip(&memory.scores).map(|(row, &score)| finite(score, row)).collect();
        }
        range.map(|row| self.score(binding, frame, row, memory)).collect()
    }

    fn append(
        &self,
        binding: &Binding,
        frame: &Frame,
        range: std::ops::Range<usize>,
        memory: &mut Memory,
    ) -> Result<(), ScoreError> {
        match self {
            Self::Onnx(bound) => {
                let first = range.start;
                bound
                    .score(binding, frame, range, &mut memory.cells, &mut memory.scores)
                    .map_err(|error| refused(first, &error))
            }
            Self::Timed(timed) => {
                if let Some(row) = timed.fails_at.filter(|at| range.contains(at)) {
                    return Err(ScoreError::Refused { row, reason: "as the test wants it".to_owned() });
                }
                memory.scores.extend(range.map(|_| timed.score));
                Ok(())
            }
        }
    }
}

fn refused(first: usize, error: &RunError) -> ScoreError {
    match error {
        RunError::Row { row, reason } => ScoreError::Refused { row: first + row, reason: reason.clone() },
        other => ScoreError::Refused { row: first, reason: other.to_string() },
    }
}

fn finite(score: f64, row: usize) -> Result<f64, ScoreError> {
    if score.is_finite() { Ok(score) } else { Err(ScoreError::NotANumber { row, score: score.to_string() }) }
}
