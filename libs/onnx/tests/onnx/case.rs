//! A golden case of tests/models/cases: a model, rows, and onnxruntime's answers.

use evenkeel_onnx::{Column, Data, Model};
use serde_json::Value;
use std::path::PathBuf;

pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/cases")
}

/// Owned columns of all inputs, one after the other.
pub enum Cells {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    Text(Vec<String>),
}

pub struct Case {
    pub name: String,
    pub model: Vec<u8>,
    pub columns: Vec<Cells>,
    pub rows: usize,
    /// Name and rows of each output.
    pub answers: Vec<(String, Vec<Vec<Value>>)>,
}

fn rows_of(value: &Value) -> Vec<Vec<Value>> {
    value["rows"].as_array().unwrap().iter().map(|row| row.as_array().unwrap().clone()).collect()
}

/// JSON has no NaN: it stands as text.
pub fn number(value: &Value) -> f64 {
    match value {
        Value::String(text) => text.parse().unwrap(),
        Value::Bool(truth) => f64::from(u8::from(*truth)),
        other => other.as_f64().unwrap(),
    }
}

impl Case {
    pub fn read(name: &str) -> Self {
        let path = |extension: &str| directory().join(format!("{name}.{extension}"));
        let model = std::fs::read(path("onnx")).unwrap();
        let text = std::fs::read_to_string(path("json")).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let (mut columns, mut rows) = (Vec::new(), 0);
        for input in document["inputs"].as_array().unwrap() {
            let cells = rows_of(input);
            rows = cells.len();
            for c in 0..cells[0].len() {
                let numbers = cells.iter().map(|row| number_or_zero(&row[c]));
                columns.push(match input["type"].as_str().unwrap() {
                    "f32" => Cells::F32(numbers.map(|x| x as f32).collect()),
                    "f64" => Cells::F64(numbers.collect()),
                    "i64" => Cells::I64(cells.iter().map(|row| row[c].as_i64().unwrap()).collect()),
                    _ => Cells::Text(cells.iter().map(|row| row[c].as_str().unwrap().to_owned()).collect()),
                });
            }
        }
        let outputs = document["outputs"].as_array().unwrap();
        let answers = outputs.iter().map(|o| (o["name"].as_str().unwrap().to_owned(), rows_of(o))).collect();
        Self { name: name.to_owned(), model, columns, rows, answers }
    }

    pub fn load(&self) -> Model {
        Model::load(&self.model).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// The same rows several times.
    pub fn repeat(&mut self, times: usize) {
        for cells in &mut self.columns {
            match cells {
                Cells::F32(cells) => *cells = cells.repeat(times),
                Cells::F64(cells) => *cells = cells.repeat(times),
                Cells::I64(cells) => *cells = cells.repeat(times),
                Cells::Text(cells) => *cells = vec![cells.clone(); times].concat(),
            }
        }
        self.rows *= times;
    }

    /// The columns of rows `range`.
    pub fn columns(&self, range: std::ops::Range<usize>) -> Vec<Column<'_>> {
        self.columns.iter().map(|cells| cells.column(range.clone())).collect()
    }
}

impl Cells {
    pub fn column(&self, range: std::ops::Range<usize>) -> Column<'_> {
        match self {
            Self::F32(cells) => Column::F32(&cells[range]),
            Self::F64(cells) => Column::F64(&cells[range]),
            Self::I64(cells) => Column::I64(&cells[range]),
            Self::Text(cells) => Column::Text(&cells[range]),
        }
    }
}

fn number_or_zero(value: &Value) -> f64 {
    match value {
        Value::String(text) => text.parse().unwrap_or_default(),
        other => other.as_f64().unwrap_or_default(),
    }
}

/// Compares an output with an answer, cell by cell.
pub fn differences(made: &Data, answer: &[Vec<Value>], rows: usize) -> Vec<String> {
    let mut found = Vec::new();
    if rows == 0 || made.len() != rows * answer[0].len() {
        return vec![format!("{} cells for {rows} rows of {}", made.len(), answer[0].len())];
    }
    for (r, row) in answer.iter().enumerate() {
        for (c, want) in row.iter().enumerate() {
            let at = c * rows + r;
            let same = match made {
                Data::Text(texts) => texts.get(at) == want.as_str().unwrap(),
                numbers => {
                    let (got, want) = (numbers.number(at).unwrap(), number(want));
                    (got - want).abs() <= 1e-5 * want.abs().max(1.0)
                        || got == want
                        || (got.is_nan() && want.is_nan())
                }
            };
            if !same {
                found.push(format!("row {r} column {c}: {:?}, onnxruntime says {want}", made.number(at)));
            }
        }
    }
    found
}
