//! Over the columns of each row: sums and their like, the place of the extreme, softmax, normalizing.

use super::{Built, Op, shape};
use crate::data::Data;
use crate::graph::Site;
use crate::kind::{Dtype, Kind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    LogSumExp,
    Max,
    Mean,
    Min,
    Prod,
    Sum,
    SumSquare,
}

/// One dimension becomes one cell.
#[derive(Debug)]
pub struct Reduce {
    rule: Rule,
    slot: usize,
    dtype: Dtype,
    outer: usize,
    size: usize,
    inner: usize,
}

/// ReduceLogSumExp, ReduceMax, ReduceMean, ReduceMin, ReduceProd, ReduceSum, ReduceSumSquare
pub fn build(op: &str, site: &Site<'_>) -> Result<Built, String> {
    let rule = match op {
        "ReduceLogSumExp" => Rule::LogSumExp,
        "ReduceMax" => Rule::Max,
        "ReduceMean" => Rule::Mean,
        "ReduceMin" => Rule::Min,
        "ReduceProd" => Rule::Prod,
        "ReduceSum" => Rule::Sum,
        _ => Rule::SumSquare,
    };
    let (slot, kind) = site.rows(0)?;
    if !matches!(kind.dtype, Dtype::F32 | Dtype::F64) {
        return Err(format!("its input is {}; float or double is supported", kind.shown()));
    }
    let axes = shape::tail_axes(site, kind.tail.len() + 1)?;
    let [axis] = axes.as_slice() else {
        return Err("it must name one axis; rows cannot be reduced".to_owned());
    };
    let mut tail = kind.tail.clone();
    let (outer, inner) = (tail[..*axis].iter().product(), tail[axis + 1..].iter().product());
    let size = tail[*axis];
    if site.attributes.int("keepdims", 1)? == 1 {
        tail[*axis] = 1;
    } else {
        tail.remove(*axis);
    }
    let op = Reduce { rule, slot, dtype: kind.dtype, outer, size, inner };
    Ok(Built::step(Op::Reduce(op), Kind::new(kind.dtype, &tail)))
}

impl Reduce {
    /// In double: rows are short, and every order of summing then gives the same float.
    pub fn run(&self, slots: &[Data], rows: usize, out: &mut Data) {
        let from = &slots[self.slot];
        let (mut singles, mut doubles) = match self.dtype {
            Dtype::F32 => (out.take_f32(), Vec::new()),
            _ => (Vec::new(), out.take_f64()),
        };
        for place in 0..self.outer * self.inner {
            let (o, i) = (place / self.inner, place % self.inner);
            for row in 0..rows {
                let cell = |k: usize| {
                    let column = (o * self.size + k) * self.inner + i;
                    from.number(column * rows + row).unwrap_or(f64::NAN)
                };
                let cells = (0..self.size).map(cell);
                let result = match self.rule {
                    Rule::Sum => cells.sum(),
                    Rule::Mean => cells.sum::<f64>() / self.size as f64,
                    Rule::SumSquare => cells.map(|x| x * x).sum(),
                    Rule::Prod => cells.product(),
                    Rule::Max => {
                        cells.fold(f64::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a })
                    }
                    Rule::Min => cells.fold(f64::INFINITY, |a, b| if b < a || b.is_nan() { b } else { a }),
                    Rule::LogSumExp => {
                        let top = cells.clone().fold(f64::NEG_INFINITY, f64::max);
                        let top = if top.is_finite() { top } else { 0.0 };
                        cells.map(|x| (x - top).exp()).sum::<f64>().ln() + top
                    }
                };
                if self.dtype == Dtype::F32 { singles.push(result as f32) } else { doubles.push(result) }
            }
        }
        *out = if self.dtype == Dtype::F32 { Data::F32(singles) } else { Data::F64(doubles) };
    }
}

/// The column of the largest or smallest cell; the first of equals.
#[derive(Debug)]
pub struct Extreme {
    slot: usize,
    columns: usize,
    largest: bool,
}

/// ArgMax, ArgMin
pub fn extreme(op: &str, site: &Site<'_>) -> Result<Built, String> {
    let (slot, kind, columns) = site.table(0)?;
    if !kind.dtype.is_number() {
        return Err(format!("its input is {}; numbers are needed", kind.shown()));
    }
    shape::tail_axis(site.attributes.int("axis", 0)?, kind.tail.len() + 1)?;
    if site.attributes.int("select_last_index", 0)? != 0 {
        return Err("select_last_index is not supported".to_owned());
    }
    let tail: &[usize] = if site.attributes.int("keepdims", 1)? == 1 { &[1] } else { &[] };
    let op = Extreme { slot, columns, largest: op == "ArgMax" };
    Ok(Built::step(Op::Extreme(op), Kind::new(Dtype::I64, tail)))
}

impl Extreme {
    pub fn run(&self, slots: &[Data], rows: usize, out: &mut Data) {
        let from = &slots[self.slot];
        let mut cells = out.take_i64();
        for row in 0..rows {
            let (mut best, mut at) = (from.number(row).unwrap_or(f64::NAN), 0);
            for column in 1..self.columns {
                let x = from.number(column * rows + row).unwrap_or(f64::NAN);
                if (self.largest && x > best) || (!self.largest && x < best) {
                    (best, at) = (x, column as i64);
                }
            }
            cells.push(at);
        }
        *out = Data::I64(cells);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowRule {
    Softmax,
    Max,
    L1,
    L2,
}

/// Each row scaled by something of itself.
#[derive(Debug)]
pub struct RowWise {
    rule: RowRule,
    slot: usize,
    columns: usize,
    dtype: Dtype,
}

/// Softmax
pub fn softmax(site: &Site<'_>) -> Result<Built, String> {
    let (slot, kind, columns) = site.table(0)?;
    if !matches!(kind.dtype, Dtype::F32 | Dtype::F64) {
        return Err(format!("its input is {}; float or double is supported", kind.shown()));
    }
    let default = if site.opset < 13 { 1 } else { -1 };
    shape::tail_axis(site.attributes.int("axis", default)?, kind.tail.len() + 1)?;
    let op = RowWise { rule: RowRule::Softmax, slot, columns, dtype: kind.dtype };
    Ok(Built::step(Op::Rows(op), kind.clone()))
}

/// Normalizer
pub fn normalizer(site: &Site<'_>) -> Result<Built, String> {
    let (slot, kind, columns) = site.table(0)?;
    let rule = match site.attributes.text("norm", "MAX")? {
        "MAX" => RowRule::Max,
        "L1" => RowRule::L1,
        "L2" => RowRule::L2,
        other => return Err(format!("norm {other:?}; MAX, L1 and L2 are known")),
    };
    if !kind.dtype.is_number() {
        return Err(format!("its input is {}; numbers are needed", kind.shown()));
    }
    let op = RowWise { rule, slot, columns, dtype: Dtype::F32 };
    Ok(Built::step(Op::Rows(op), kind.with(Dtype::F32)))
}

impl RowWise {
    pub fn run(&self, slots: &[Data], rows: usize, out: &mut Data) {
        let from = &slots[self.slot];
        let total = self.columns * rows;
        if self.dtype == Dtype::F64 {
            let mut cells = out.take_f64();
            cells.resize(total, 0.0);
            self.each(from, rows, |at, x| cells[at] = x);
            *out = Data::F64(cells);
        } else {
            let mut cells = out.take_f32();
            cells.resize(total, 0.0);
            self.each(from, rows, |at, x| cells[at] = x as f32);
            *out = Data::F32(cells);
        }
    }

    fn each(&self, from: &Data, rows: usize, mut put: impl FnMut(usize, f64)) {
        let cell = |i: usize| from.number(i).unwrap_or(f64::NAN);
        for row in 0..rows {
            let places = (0..self.columns).map(|c| c * rows + row);
            let cells = places.clone().map(cell);
            let (shift, divisor) = match self.rule {
                RowRule::Softmax => {
                    let top = cells.clone().fold(f64::NEG_INFINITY, f64::max);
                    (top, cells.map(|x| (x - top).exp()).sum())
                }
                RowRule::Max => (0.0, cells.fold(f64::NEG_INFINITY, f64::max)),
                RowRule::L1 => (0.0, cells.map(f64::abs).sum()),
                RowRule::L2 => (0.0, cells.map(|x| x * x).sum::<f64>().sqrt()),
            };
            for at in places {
                put(
                    at,
                    match self.rule {
                        RowRule::Softmax => (cell(at) - shift).exp() / divisor,
                        // A row of zeros stays what it is.
                        _ if divisor == 0.0 => cell(at),
                        _ => cell(at) / divisor,
                    },
                );
            }
        }
    }
}
