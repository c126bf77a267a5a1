//! Constants of a graph: initializers, tensors of attributes.
//!
//! Cells lie as in the file, row by row: a constant is read cell by cell at load, never as columns of rows.

use crate::data::{Data, Texts};
use crate::kind::Dtype;
use crate::limits::DIMENSIONS_MAX;
use crate::proto::Tensor;

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    pub dims: Vec<usize>,
    pub data: Data,
}

impl Constant {
    /// The constant of a tensor.
    pub fn of(tensor: &Tensor<'_>) -> Result<Self, String> {
        if tensor.external {
            return Err("its cells are in another file; export the model as one file".to_owned());
        }
        if tensor.dims.len() > DIMENSIONS_MAX {
            return Err(format!("a constant of {} dimensions", tensor.dims.len()));
        }
        let size = |&d: &i64| usize::try_from(d).map_err(|_| format!("a constant with a dimension of {d}"));
        let dims: Vec<usize> = tensor.dims.iter().map(size).collect::<Result<_, _>>()?;
        let data = match tensor.dtype {
            1 => Data::F32(
                tensor.raw.map_or_else(|| tensor.floats.clone(), |raw| four(raw, f32::from_le_bytes)),
            ),
            11 => Data::F64(
                tensor.raw.map_or_else(|| tensor.doubles.clone(), |raw| eight(raw, f64::from_le_bytes)),
            ),
            7 => Data::I64(
                tensor.raw.map_or_else(|| tensor.ints.clone(), |raw| eight(raw, i64::from_le_bytes)),
            ),
            6 => {
                Data::I64(tensor.raw.map_or_else(
                    || tensor.ints.clone(),
                    |raw| four(raw, |b| i64::from(i32::from_le_bytes(b))),
                ))
            }
            9 => Data::Bool(tensor.raw.map_or_else(
                || tensor.ints.iter().map(|&i| i != 0).collect(),
                |raw| raw.iter().map(|&b| b != 0).collect(),
            )),
            8 => Data::Text(texts(&tensor.texts)?),
            other => {
                return Err(format!("a constant of type {other}; float, double, int and string are read"));
            }
        };
        let cells = dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
        if cells != Some(data.len()) {
            return Err(format!("a constant of shape {dims:?} with {} cells", data.len()));
        }
        Ok(Self { dims, data })
    }

    pub fn scalar(data: Data) -> Self {
        Self { dims: Vec::new(), data }
    }

    pub fn dtype(&self) -> Dtype {
        self.data.dtype()
    }

    /// Its integers, if it holds such.
    pub fn ints(&self) -> Option<&[i64]> {
        if let Data::I64(cells) = &self.data { Some(cells) } else { None }
    }
}

fn four<T>(raw: &[u8], of: impl Fn([u8; 4]) -> T) -> Vec<T> {
    raw.chunks_exact(4).map(|c| of([c[0], c[1], c[2], c[3]])).collect()
}

fn eight<T>(raw: &[u8], of: impl Fn([u8; 8]) -> T) -> Vec<T> {
    raw.chunks_exact(8).map(|c| of([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]])).collect()
}

fn texts(blobs: &[&[u8]]) -> Result<Texts, String> {
    let mut texts = Texts::default();
    for blob in blobs {
        texts.push(
            std::str::from_utf8(blob).map_err(|_| "a constant holds text that is not UTF-8".to_owned())?,
        );
    }
    Ok(texts)
}
