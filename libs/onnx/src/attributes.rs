//! The attributes of a node by name and type. A missing one has the operator's default; one of another type is
//! an error.

use crate::constant::Constant;
use crate::proto::{Node, Tensor, Value};

/// Attributes of one node.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    node: &'a Node<'a>,
}

/// An attribute of another type than its operator's.
fn other_type(name: &str, want: &str) -> String {
    format!("attribute {name} is not {want}")
}

fn lossless(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "an attribute holds text that is not UTF-8".to_owned())
}

impl<'a> Attributes<'a> {
    pub fn of(node: &'a Node<'a>) -> Self {
        Self { node }
    }

    fn value(&self, name: &str) -> Option<&'a Value<'a>> {
        self.node.attributes.iter().find(|a| a.name == name).map(|a| &a.value)
    }

    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    pub fn int(&self, name: &str, default: i64) -> Result<i64, String> {
        match self.value(name) {
            None => Ok(default),
            Some(Value::Int(value)) => Ok(*value),
            Some(_) => Err(other_type(name, "an integer")),
        }
    }

    pub fn float(&self, name: &str, default: f32) -> Result<f32, String> {
        match self.value(name) {
            None => Ok(default),
            Some(Value::Float(value)) => Ok(*value),
            Some(_) => Err(other_type(name, "a float")),
        }
    }

    pub fn text(&self, name: &str, default: &'static str) -> Result<&'a str, String> {
        match self.value(name) {
            None => Ok(default),
            Some(Value::Text(bytes)) => lossless(bytes),
            Some(_) => Err(other_type(name, "a string")),
        }
    }

    pub fn ints(&self, name: &str) -> Result<&'a [i64], String> {
        match self.value(name) {
            None => Ok(&[]),
            Some(Value::Ints(values)) => Ok(values),
            Some(_) => Err(other_type(name, "a list of integers")),
        }
    }

    pub fn floats(&self, name: &str) -> Result<&'a [f32], String> {
        match self.value(name) {
            None => Ok(&[]),
            Some(Value::Floats(values)) => Ok(values),
            Some(_) => Err(other_type(name, "a list of floats")),
        }
    }

    /// Texts as they lie in the file, for lists too long to look at twice.
    pub fn blobs(&self, name: &str) -> Result<&'a [&'a [u8]], String> {
        match self.value(name) {
            None => Ok(&[]),
            Some(Value::Texts(values)) => Ok(values),
            Some(_) => Err(other_type(name, "a list of strings")),
        }
    }

    pub fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        self.blobs(name)?.iter().map(|bytes| lossless(bytes).map(str::to_owned)).collect()
    }

    pub fn tensor(&self, name: &str) -> Result<Option<Constant>, String> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Tensor(tensor)) => Constant::of(tensor as &Tensor<'_>).map(Some),
            Some(_) => Err(other_type(name, "a tensor")),
        }
    }

    /// A list of floats, or the tensor of doubles that may stand in its place.
    pub fn reals(&self, name: &str) -> Result<Vec<f64>, String> {
        match self.tensor(&format!("{name}_as_tensor"))? {
            Some(tensor) => (0..tensor.data.len())
                .map(|i| tensor.data.number(i).ok_or_else(|| other_type(name, "a tensor of numbers")))
                .collect(),
            None => Ok(self.floats(name)?.iter().map(|&x| f64::from(x)).collect()),
        }
    }
}
