//! A golden case of tests/models/networks: a network, rows of floats, and onnxruntime's answers.

use evenkeel_neural::Network;
use evenkeel_onnx::{Column, Data};
use serde_json::Value;
use std::path::PathBuf;

pub struct Case {
    pub name: String,
    pub file: Vec<u8>,
    /// Of all inputs, one after the other.
    pub columns: Vec<Vec<f32>>,
    pub rows: usize,
    /// Name and rows of each output.
    pub answers: Vec<(String, Vec<Vec<f64>>)>,
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/networks")
}

pub fn names() -> Vec<String> {
    let files = std::fs::read_dir(directory()).unwrap();
    let mut names: Vec<String> = files
        .filter_map(|file| file.unwrap().file_name().to_str()?.strip_suffix(".onnx").map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn number(value: &Value) -> f64 {
    value.as_bool().map_or_else(|| value.as_f64().unwrap(), |truth| f64::from(u8::from(truth)))
}

fn rows(of: &Value) -> Vec<Vec<f64>> {
    let row = |row: &Value| row.as_array().unwrap().iter().map(number).collect();
    of["rows"].as_array().unwrap().iter().map(row).collect()
}

impl Case {
    pub fn read(name: &str) -> Self {
        let path = |extension: &str| directory().join(format!("{name}.{extension}"));
        let text = std::fs::read_to_string(path("json")).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let mut columns = Vec::new();
        for cells in document["inputs"].as_array().unwrap().iter().map(rows) {
            columns.extend((0..cells[0].len()).map(|c| cells.iter().map(|row| row[c] as f32).collect()));
        }
        let answer = |o: &Value| (o["name"].as_str().unwrap().to_owned(), rows(o));
        Self {
            name: name.to_owned(),
            file: std::fs::read(path("onnx")).unwrap(),
            rows: columns.first().map_or(0, Vec::len),
            columns,
            answers: document["outputs"].as_array().unwrap().iter().map(answer).collect(),
        }
    }

    pub fn load(&self) -> Network {
        Network::load(&self.file).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// What a network says of rows `range`.
    pub fn run(&self, network: &Network, range: std::ops::Range<usize>) -> Vec<Data> {
        let columns: Vec<Column<'_>> = self.columns.iter().map(|c| Column::F32(&c[range.clone()])).collect();
        let mut out = Vec::new();
        network.run(&columns, range.len(), &mut out).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        out
    }
}
