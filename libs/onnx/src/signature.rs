//! What a model takes and gives, whoever runs it.

use crate::error::RunError;
use crate::kind::Dtype;
use crate::model::Column;
use crate::proto::Message;
use std::fmt;

/// The classes of a classifier, in the order of its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labels {
    /// Numbers.
    Ints(Vec<i64>),
    /// Names.
    Texts(Vec<String>),
}

impl Labels {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Ints(labels) => labels.len(),
            Self::Texts(labels) => labels.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Class `index` as text; empty past the end.
    pub fn name(&self, index: usize) -> String {
        match self {
            Self::Ints(labels) => labels.get(index).map(i64::to_string).unwrap_or_default(),
            Self::Texts(labels) => labels.get(index).cloned().unwrap_or_default(),
        }
    }
}

/// An input of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSpec {
    /// Its name.
    pub name: String,
    /// The type of its cells.
    pub dtype: Dtype,
    /// Its columns.
    pub columns: usize,
}

/// An output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSpec {
    /// Its name.
    pub name: String,
    /// The type of its cells.
    pub dtype: Dtype,
    /// Its columns.
    pub columns: usize,
    /// The classes of its columns, if it is what a classifier gives per class.
    pub classes: Option<Labels>,
}

/// What a model takes and gives, and what its file says of itself.
#[derive(Debug)]
pub struct Signature {
    inputs: Vec<InputSpec>,
    outputs: Vec<OutputSpec>,
    metadata: Vec<(String, String)>,
}

impl Signature {
    /// Of a model that was read from this message.
    pub fn new(inputs: Vec<InputSpec>, outputs: Vec<OutputSpec>, message: &Message<'_>) -> Self {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Self { inputs, outputs, metadata: message.metadata.iter().map(owned).collect() }
    }

    /// What the model takes, in order.
    pub fn inputs(&self) -> &[InputSpec] {
        &self.inputs
    }

    /// What the model gives, in order.
    pub fn outputs(&self) -> &[OutputSpec] {
        &self.outputs
    }

    /// A metadata property of the file.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// Leaves only output `index`. False past the end: no change.
    pub fn keep(&mut self, index: usize) -> bool {
        let there = index < self.outputs.len();
        if there {
            self.outputs = vec![self.outputs.swap_remove(index)];
        }
        there
    }

    /// Whether columns are those that it takes: as many, of the same types, each with `rows` cells.
    pub fn check(&self, columns: &[Column<'_>], rows: usize) -> Result<(), RunError> {
        let want: usize = self.inputs.iter().map(|spec| spec.columns).sum();
        if columns.len() != want {
            return Err(RunError::Columns { got: columns.len(), want });
        }
        let mut given = columns.iter();
        for spec in &self.inputs {
            for (i, column) in given.by_ref().take(spec.columns).enumerate() {
                if column.dtype() != spec.dtype {
                    let (got, want) = (column.dtype(), spec.dtype);
                    return Err(RunError::Type { input: spec.name.clone(), column: i, got, want });
                }
                if column.len() != rows {
                    let got = column.len();
                    return Err(RunError::Rows { input: spec.name.clone(), column: i, got, want: rows });
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for InputSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {} columns)", self.name, self.dtype, self.columns)
    }
}
