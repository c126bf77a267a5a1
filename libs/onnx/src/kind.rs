//! Types and shapes of the values of a graph, as they are known at load.

use crate::limits::COLUMNS_MAX;
use std::fmt;

/// The type of a value's cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// `float`
    F32,
    /// `double`
    F64,
    /// `int64`; `int32` is widened to it.
    I64,
    /// `bool`
    Bool,
    /// `string`
    Text,
}

impl Dtype {
    /// By ONNX's number of it.
    pub(crate) fn of_code(code: i64) -> Option<Self> {
        Some(match code {
            1 => Self::F32,
            11 => Self::F64,
            6 | 7 => Self::I64,
            9 => Self::Bool,
            8 => Self::Text,
            _ => return None,
        })
    }

    /// Whether arithmetic is defined on it.
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::I64)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "float",
            Self::F64 => "double",
            Self::I64 => "int64",
            Self::Bool => "bool",
            Self::Text => "string",
        })
    }
}

/// A value with one entry per row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    pub dtype: Dtype,
    /// The dimensions after the first, which is the rows.
    pub tail: Vec<usize>,
    /// The shape is `[1, rows]`: a look-up by a column gives this, and a Reshape must follow.
    pub across: bool,
}

impl Kind {
    pub fn new(dtype: Dtype, tail: &[usize]) -> Self {
        Self { dtype, tail: tail.to_vec(), across: false }
    }

    /// The same, refused past the limit of columns: ask before building what grows with them.
    pub fn limited(dtype: Dtype, tail: &[usize]) -> Result<Self, String> {
        let width = tail.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
        match width.filter(|&n| n <= COLUMNS_MAX) {
            Some(_) => Ok(Self::new(dtype, tail)),
            None => Err(format!("its result {tail:?} has more than {COLUMNS_MAX} columns")),
        }
    }

    /// Columns: the product of the tail.
    pub fn width(&self) -> usize {
        self.tail.iter().product()
    }

    pub fn with(&self, dtype: Dtype) -> Self {
        Self { dtype, ..self.clone() }
    }

    /// The shape for messages.
    pub fn shown(&self) -> String {
        let tail: String = self.tail.iter().map(|n| format!(", {n}")).collect();
        if self.across { format!("{}[1, rows]", self.dtype) } else { format!("{}[rows{tail}]", self.dtype) }
    }
}

/// The columns that each result column takes, when an operand of `dims` (without the rows) is stretched to
/// `to`, as numpy does. `None`: it does not stretch so.
pub(crate) fn stretch(dims: &[usize], to: &[usize]) -> Option<Vec<u32>> {
    if dims.len() > to.len() {
        return None;
    }
    let lead = to.len() - dims.len();
    let fits = dims.iter().zip(&to[lead..]).all(|(&d, &t)| d == t || d == 1);
    if !fits {
        return None;
    }
    let total: usize = to.iter().product();
    let mut columns = Vec::with_capacity(total);
    for flat in 0..total {
        let (mut rest, mut at, mut step) = (flat, 0, 1);
        for (i, &size) in to.iter().enumerate().rev() {
            let position = rest % size;
            rest /= size;
            if i >= lead {
                let own = dims[i - lead];
                at += if own == 1 { 0 } else { position * step };
                step *= own;
            }
        }
        columns.push(u32::try_from(at).ok()?);
    }
    Some(columns)
}

/// The shape two operands meet in, without the rows; as numpy does.
pub(crate) fn meet(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |k| dims[k]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_meet_and_stretch_as_numpy_does() {
        assert_eq!(meet(&[3], &[1]), Some(vec![3]));
        assert_eq!(meet(&[2, 1], &[3]), Some(vec![2, 3]));
        assert_eq!(meet(&[2], &[3]), None);
        assert_eq!(stretch(&[2, 1], &[2, 3]), Some(vec![0, 0, 0, 1, 1, 1]));
        assert_eq!(stretch(&[3], &[2, 3]), Some(vec![0, 1, 2, 0, 1, 2]));
        assert_eq!(stretch(&[], &[2]), Some(vec![0, 0]));
        assert_eq!(stretch(&[2], &[3]), None);
    }
}
