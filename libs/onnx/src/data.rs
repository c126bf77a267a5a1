//! Cells of a value: one typed vector, column by column.

use crate::kind::Dtype;

/// The cells of a value. With several columns, column `c` of `rows` rows is at `c * rows .. (c + 1) * rows`.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// `float`
    F32(Vec<f32>),
    /// `double`
    F64(Vec<f64>),
    /// `int64`
    I64(Vec<i64>),
    /// `bool`
    Bool(Vec<bool>),
    /// `string`
    Text(Texts),
}

/// Strings in one piece of memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    bytes: String,
    ends: Vec<usize>,
}

impl Texts {
    /// Appends one.
    pub fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
    }

    /// The one at `index`; empty past the end.
    pub fn get(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        match (start, self.ends.get(index)) {
            (Some(start), Some(&end)) => &self.bytes[start..end],
            _ => "",
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets them; the memory stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

impl Default for Data {
    fn default() -> Self {
        Self::F32(Vec::new())
    }
}

impl Data {
    /// None of this type.
    pub fn of(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Self::F32(Vec::new()),
            Dtype::F64 => Self::F64(Vec::new()),
            Dtype::I64 => Self::I64(Vec::new()),
            Dtype::Bool => Self::Bool(Vec::new()),
            Dtype::Text => Self::Text(Texts::default()),
        }
    }

    /// The type of the cells.
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::F64(_) => Dtype::F64,
            Self::I64(_) => Dtype::I64,
            Self::Bool(_) => Dtype::Bool,
            Self::Text(_) => Dtype::Text,
        }
    }

    /// How many cells.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(cells) => cells.len(),
            Self::F64(cells) => cells.len(),
            Self::I64(cells) => cells.len(),
            Self::Bool(cells) => cells.len(),
            Self::Text(cells) => cells.len(),
        }
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the cells; the memory stays.
    pub fn clear(&mut self) {
        match self {
            Self::F32(cells) => cells.clear(),
            Self::F64(cells) => cells.clear(),
            Self::I64(cells) => cells.clear(),
            Self::Bool(cells) => cells.clear(),
            Self::Text(cells) => cells.clear(),
        }
    }

    /// A cell as a number: bools as 0 and 1; `None` for text and past the end.
    pub fn number(&self, index: usize) -> Option<f64> {
        match self {
            Self::F32(cells) => cells.get(index).map(|&x| f64::from(x)),
            Self::F64(cells) => cells.get(index).copied(),
            Self::I64(cells) => cells.get(index).map(|&x| x as f64),
            Self::Bool(cells) => cells.get(index).map(|&x| f64::from(u8::from(x))),
            Self::Text(_) => None,
        }
    }

    /// Appends cells `from` of `other`. Another type appends nothing: types are settled at load.
    pub(crate) fn extend(&mut self, other: &Self, from: std::ops::Range<usize>) {
        match (self, other) {
            (Self::F32(to), Self::F32(cells)) => to.extend_from_slice(&cells[from]),
            (Self::F64(to), Self::F64(cells)) => to.extend_from_slice(&cells[from]),
            (Self::I64(to), Self::I64(cells)) => to.extend_from_slice(&cells[from]),
            (Self::Bool(to), Self::Bool(cells)) => to.extend_from_slice(&cells[from]),
            (Self::Text(to), Self::Text(cells)) => from.for_each(|i| to.push(cells.get(i))),
            _ => {}
        }
    }

    /// Appends cell `index` of `other` `times` times.
    pub(crate) fn repeat(&mut self, other: &Self, index: usize, times: usize) {
        for _ in 0..times {
            self.extend(other, index..index + 1);
        }
    }

    pub(crate) fn f32s(&self) -> &[f32] {
        if let Self::F32(cells) = self { cells } else { &[] }
    }

    pub(crate) fn f64s(&self) -> &[f64] {
        if let Self::F64(cells) = self { cells } else { &[] }
    }

    pub(crate) fn i64s(&self) -> &[i64] {
        if let Self::I64(cells) = self { cells } else { &[] }
    }

    pub(crate) fn bools(&self) -> &[bool] {
        if let Self::Bool(cells) = self { cells } else { &[] }
    }

    /// The memory for new `float` cells; puts nothing back.
    pub(crate) fn take_f32(&mut self) -> Vec<f32> {
        match std::mem::take(self) {
            Self::F32(mut cells) => {
                cells.clear();
                cells
            }
            _ => Vec::new(),
        }
    }

    /// The memory for new `double` cells; puts nothing back.
    pub(crate) fn take_f64(&mut self) -> Vec<f64> {
        match std::mem::take(self) {
            Self::F64(mut cells) => {
                cells.clear();
                cells
            }
            _ => Vec::new(),
        }
    }

    /// The memory for new `int64` cells; puts nothing back.
    pub(crate) fn take_i64(&mut self) -> Vec<i64> {
        match std::mem::take(self) {
            Self::I64(mut cells) => {
                cells.clear();
                cells
            }
            _ => Vec::new(),
        }
    }

    /// The memory for new `bool` cells; puts nothing back.
    pub(crate) fn take_bool(&mut self) -> Vec<bool> {
        match std::mem::take(self) {
            Self::Bool(mut cells) => {
                cells.clear();
                cells
            }
            _ => Vec::new(),
        }
    }

    /// The memory for new `string` cells; puts nothing back.
    pub(crate) fn take_text(&mut self) -> Texts {
        match std::mem::take(self) {
            Self::Text(mut cells) => {
                cells.clear();
                cells
            }
            _ => Texts::default(),
        }
    }
}
