//! Which column feeds which input of a model, and which of its numbers is the score.
//!
//! Columns are matched by name to the inputs. A model with one input of several columns takes those that its
//! metadata property `features` or the configuration names, else all columns of numbers in the order of the file.

use crate::engine::Engine;
use crate::frame::{Frame, FrameColumn};
use evenkeel_onnx::{Column, Data, Dtype, OutputSpec, RunError, Workspace};

/// The metadata property that names the columns of a model with one input: separated by commas, or a JSON list.
const FEATURES: &str = "features";

/// What the user says about a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The columns of the model's one input; empty = as the model says.
    pub features: Vec<String>,
    /// The class whose probability is the score; empty = the second of two.
    pub positive_class: String,
}

/// Why a model cannot score these columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// A column is missing.
    #[error("no column {name:?}, which the model takes; the columns are: {found}")]
    Missing {
        /// The name.
        name: String,
        /// What is there.
        found: String,
    },
    /// Another number of columns than the model's one input.
    #[error(
        "the model's input {input:?} takes {want} columns; {got} columns of numbers are there: {found}. Name \
         them: `features` in the configuration, or the model's metadata property of that name"
    )]
    Width {
        /// The input.
        input: String,
        /// Its columns.
        want: usize,
        /// Columns there are.
        got: usize,
        /// Their names.
        found: String,
    },
    /// A column of text where numbers are wanted.
    #[error("column {column:?} must hold numbers; row {row} holds {cell:?}")]
    Text {
        /// The column.
        column: String,
        /// The first such row, from 1.
        row: usize,
        /// What it holds, cut.
        cell: String,
    },
    /// A column of numbers that were never text.
    #[error("the model wants text in {column:?}, which is a number; a model of windows takes numbers only")]
    NoText {
        /// The column.
        column: String,
    },
    /// A column without any number.
    #[error("column {column:?} must hold numbers; all its cells are empty")]
    Empty {
        /// The column.
        column: String,
    },
    /// No output of the model is a score.
    #[error("no output of the model is a score; one must be a table of float or double. Outputs: {found}")]
    NoScore {
        /// What is there.
        found: String,
    },
    /// Which column of the scores counts is open.
    #[error("the model tells {classes} apart; name the one whose probability is the score: positive-class")]
    Classes {
        /// The classes.
        classes: String,
    },
    /// A class that the model does not know.
    #[error("the model has no class {class:?}; it has {classes}")]
    NoClass {
        /// What was asked for.
        class: String,
        /// The classes.
        classes: String,
    },
}

/// The columns of a frame that feed a model, by position, in the model's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binding(Vec<usize>);

/// A model and which of its numbers is the score.
#[derive(Debug)]
pub struct Bound {
    model: Engine,
    wanted: Wanted,
    /// Column of the output.
    column: usize,
}

/// Typed copies of the cells that a model takes, kept from block to block.
#[derive(Debug, Default)]
pub struct Cells {
    columns: Vec<Typed>,
    work: Workspace,
    out: Vec<Data>,
}

#[derive(Debug)]
enum Typed {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    Bool(Vec<bool>),
    Text(Vec<String>),
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 40;
    let names: Vec<&str> = names.take(SHOWN + 1).collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(SHOWN)].join(", "))
}

impl Bound {
    /// Finds the score among the model's outputs.
    pub fn new(model: Engine, wanted: Wanted) -> Result<Self, BindError> {
        let is_table = |spec: &&OutputSpec| matches!(spec.dtype, Dtype::F32 | Dtype::F64) && spec.columns > 0;
        let named = |spec: &OutputSpec| spec.name.to_ascii_lowercase().contains("prob");
        let outputs = model.signature().outputs();
        let tables = || outputs.iter().enumerate().filter(|(_, spec)| is_table(spec));
        let at = tables()
            .find(|(_, spec)| spec.classes.is_some())
            .or_else(|| tables().find(|(_, spec)| named(spec)))
            .or_else(|| tables().next())
            .map(|(at, _)| at);
        let found = || listed(outputs.iter().map(|spec| spec.name.as_str()));
        let at = at.ok_or_else(|| BindError::NoScore { found: found() })?;
        let column = score_column(&outputs[at], &wanted.positive_class)?;
        Ok(Self { model: model.only(at), wanted, column })
    }

    /// Finds the columns of a frame that the model takes. `Err` also when one of them holds what the model
    /// cannot take.
    pub fn bind(&self, frame: &Frame) -> Result<Binding, BindError> {
        let inputs = self.model.signature().inputs();
        let names: Vec<String> = match inputs {
            [one] if one.columns != 1 || frame.column(&one.name).is_none() => {
                self.columns_of(&one.name, one.columns, frame)?
            }
            inputs => inputs.iter().map(|spec| spec.name.clone()).collect(),
        };
        let mut places = Vec::with_capacity(names.len());
        let dtypes = inputs.iter().flat_map(|spec| std::iter::repeat_n(spec.dtype, spec.columns));
        for (name, dtype) in names.iter().zip(dtypes) {
            let at = frame.columns.iter().position(|column| column.name == *name);
            let at = at.ok_or_else(|| BindError::Missing { name: name.clone(), found: all(frame) })?;
            check(&frame.columns[at], dtype)?;
            places.push(at);
        }
        let want: usize = inputs.iter().map(|spec| spec.columns).sum();
        if places.len() != want {
            let input = listed(inputs.iter().map(|spec| spec.name.as_str()));
            return Err(BindError::Width { input, want, got: places.len(), found: all(frame) });
        }
        Ok(Binding(places))
    }

    fn columns_of(&self, input: &str, want: usize, frame: &Frame) -> Result<Vec<String>, BindError> {
        let named = match self.wanted.features.as_slice() {
            [] => self.model.signature().metadata(FEATURES).map(features_of).unwrap_or_default(),
            features => features.to_vec(),
        };
        let names: Vec<String> = if named.is_empty() {
            let numbers = frame.columns.iter().filter(|column| column.numbers.is_some());
            numbers.map(|column| column.name.clone()).collect()
        } else {
            named
        };
        if names.len() != want {
            let found = listed(names.iter().map(String::as_str));
            return Err(BindError::Width { input: input.to_owned(), want, got: names.len(), found });
        }
        Ok(names)
    }

    /// Who runs the model: own, tract or ort.
    pub fn runtime(&self) -> &'static str {
        self.model.name()
    }

    /// The names of the columns that the model takes, as far as it or the configuration names them: all but those of
    /// one input with several columns of which nothing is said.
    pub fn names(&self) -> Vec<String> {
        match self.model.signature().inputs() {
            [one] if one.columns != 1 || !self.wanted.features.is_empty() => {
                match self.wanted.features.as_slice() {
                    [] => self.model.signature().metadata(FEATURES).map(features_of).unwrap_or_default(),
                    features => features.to_vec(),
                }
            }
            inputs => inputs.iter().map(|spec| spec.name.clone()).collect(),
        }
    }

    /// The scores of rows `range`, appended to `scores`.
    pub fn score(
        &self,
        binding: &Binding,
        frame: &Frame,
        range: std::ops::Range<usize>,
        cells: &mut Cells,
        scores: &mut Vec<f64>,
    ) -> Result<(), RunError> {
        let rows = range.len();
        let dtypes = self
            .model
            .signature()
            .inputs()
            .iter()
            .flat_map(|spec| std::iter::repeat_n(spec.dtype, spec.columns));
        cells.columns.resize_with(binding.0.len(), || Typed::F32(Vec::new()));
        for ((typed, &at), dtype) in cells.columns.iter_mut().zip(&binding.0).zip(dtypes) {
            typed.fill(&frame.columns[at], dtype, range.clone());
        }
        let columns: Vec<Column<'_>> = cells.columns.iter().map(Typed::column).collect();
        self.model.run(&columns, rows, &mut cells.work, &mut cells.out)?;
        let data = cells.out.first();
        let first = self.column * rows;
        scores.extend((first..first + rows).map(|i| data.and_then(|d| d.number(i)).unwrap_or(f64::NAN)));
        Ok(())
    }
}

fn all(frame: &Frame) -> String {
    listed(frame.columns.iter().map(|column| column.name.as_str()))
}

/// `a,b` or `["a","b"]`.
fn features_of(property: &str) -> Vec<String> {
    if let Ok(names) = serde_json::from_str::<Vec<String>>(property) {
        return names;
    }
    property.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

fn score_column(spec: &OutputSpec, positive: &str) -> Result<usize, BindError> {
    let Some(classes) = &spec.classes else {
        return match (spec.columns, positive) {
            (1, _) => Ok(0),
            (2, "") => Ok(1),
            (n, "") => Err(BindError::Classes { classes: format!("{n} classes without names") }),
            (n, class) => match class.parse::<usize>().ok().filter(|&at| at < n) {
                Some(at) => Ok(at),
                None => Err(BindError::NoClass {
                    class: class.to_owned(),
                    classes: format!("numbers 0 to {}", n - 1),
                }),
            },
        };
    };
    let names: Vec<String> = (0..classes.len()).map(|i| classes.name(i)).collect();
    let shown = listed(names.iter().map(String::as_str));
    match (positive, names.len()) {
        ("", 2) => Ok(1),
        ("", _) => Err(BindError::Classes { classes: shown }),
        (class, _) => names
            .iter()
            .position(|name| name == class)
            .ok_or_else(|| BindError::NoClass { class: class.to_owned(), classes: shown }),
    }
}

fn check(column: &FrameColumn, dtype: Dtype) -> Result<(), BindError> {
    let filled = column.numbers.as_ref().is_some_and(|numbers| !numbers.is_empty());
    if dtype == Dtype::Text && column.cells.is_empty() && filled {
        return Err(BindError::NoText { column: column.name.clone() });
    }
    if dtype == Dtype::Text || column.numbers.is_some() {
        return Ok(());
    }
    Err(match column.first_text() {
        Some((row, cell)) => BindError::Text {
            column: column.name.clone(),
            row: row + 1,
            cell: cell.chars().take(64).collect(),
        },
        None => BindError::Empty { column: column.name.clone() },
    })
}

impl Typed {
    /// Cells of a column that [`check`] let pass.
    fn fill(&mut self, column: &FrameColumn, dtype: Dtype, range: std::ops::Range<usize>) {
        let numbers = column.numbers.as_deref().unwrap_or_default();
        let numbers = numbers.get(range.clone()).unwrap_or_default().iter();
        match (&mut *self, dtype) {
            (Self::F32(cells), Dtype::F32) => {
                cells.clear();
                cells.extend(numbers.map(|&x| x as f32));
            }
            (_, Dtype::F32) => *self = Self::F32(numbers.map(|&x| x as f32).collect()),
            (_, Dtype::F64) => *self = Self::F64(numbers.copied().collect()),
            // Integers as they are written: a double has no room for the largest of them.
            (_, Dtype::I64) if column.cells.is_empty() => {
                *self = Self::I64(numbers.map(|&x| x as i64).collect());
            }
            (_, Dtype::I64) => {
                let written = |(cell, &x): (&String, &f64)| cell.trim().parse().unwrap_or(x as i64);
                *self = Self::I64(column.cells[range].iter().zip(numbers).map(written).collect());
            }
            (_, Dtype::Bool) => *self = Self::Bool(numbers.map(|&x| x != 0.0).collect()),
            (Self::Text(cells), Dtype::Text) => {
                cells.resize(range.len(), String::new());
                for (cell, text) in cells.iter_mut().zip(&column.cells[range]) {
                    cell.clone_from(text);
                }
            }
            (_, Dtype::Text) => *self = Self::Text(column.cells[range].to_vec()),
        }
    }

    fn column(&self) -> Column<'_> {
        match self {
            Self::F32(cells) => Column::F32(cells),
            Self::F64(cells) => Column::F64(cells),
            Self::I64(cells) => Column::I64(cells),
            Self::Bool(cells) => Column::Bool(cells),
            Self::Text(cells) => Column::Text(cells),
        }
    }
}
