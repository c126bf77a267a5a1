//! Choosing, joining and filling whole columns.

use super::{Built, Op, lookup};
use crate::data::Data;
use crate::graph::{Place, Site};
use crate::kind::Kind;

/// Columns of slots, one after the other: Concat, Gather, ArrayFeatureExtractor.
#[derive(Debug)]
pub struct Pick {
    /// Slot, first column, columns.
    runs: Vec<(usize, usize, usize)>,
    model: Data,
}

impl Pick {
    /// Takes `columns` (slot, column) in this order; neighbours are joined.
    pub fn new(columns: impl Iterator<Item = (usize, usize)>, kind: &Kind) -> Self {
        let mut runs: Vec<(usize, usize, usize)> = Vec::new();
        for (slot, column) in columns {
            match runs.last_mut() {
                Some((s, first, n)) if *s == slot && *first + *n == column => *n += 1,
                _ => runs.push((slot, column, 1)),
            }
        }
        Self { runs, model: Data::of(kind.dtype) }
    }

    pub fn run(&self, slots: &[Data], rows: usize, out: &mut Data) {
        if out.dtype() == self.model.dtype() {
            out.clear()
        } else {
            *out = self.model.clone()
        }
        for &(slot, first, columns) in &self.runs {
            out.extend(&slots[slot], first * rows..(first + columns) * rows);
        }
    }
}

/// One value in every cell.
#[derive(Debug)]
pub struct Fill {
    value: Data,
    columns: usize,
}

impl Fill {
    /// `value`: its first cell is taken.
    pub fn new(value: Data, columns: usize) -> Self {
        Self { value, columns }
    }

    pub fn run(&self, rows: usize, out: &mut Data) {
        *out = Data::of(self.value.dtype());
        if !self.value.is_empty() {
            out.repeat(&self.value, 0, rows * self.columns);
        }
    }
}

/// Concat, along any axis but the rows.
pub fn concat(site: &Site<'_>) -> Result<Built, String> {
    let parts = (0..site.inputs.len()).map(|i| site.rows(i)).collect::<Result<Vec<_>, _>>()?;
    let (_, first) = *parts.first().ok_or("it has no input")?;
    let rank = first.tail.len() + 1;
    let axis = super::shape::tail_axis(site.attributes.int("axis", 1)?, rank)?;
    let mut tail = first.tail.clone();
    tail[axis] = 0;
    for (i, (_, kind)) in parts.iter().enumerate() {
        let same = |d: usize| d == axis || kind.tail.get(d) == first.tail.get(d);
        if kind.dtype != first.dtype || kind.tail.len() + 1 != rank || !(0..rank - 1).all(same) {
            return Err(format!("input {i} is {}, input 0 is {}", kind.shown(), first.shown()));
        }
        tail[axis] += kind.tail[axis];
    }
    let kind = Kind::limited(first.dtype, &tail)?;
    let outer: usize = tail[..axis].iter().product();
    let inner: usize = tail[axis + 1..].iter().product();
    let chosen = (0..outer).flat_map(|o| {
        parts.iter().flat_map(move |(slot, kind)| {
            let span = kind.tail[axis] * inner;
            (0..span).map(move |c| (*slot, o * span + c))
        })
    });
    Ok(Built::step(Op::Pick(Pick::new(chosen, &kind)), kind))
}

/// A position counted from the front, or from the back where it is negative.
fn position(index: i64, size: usize) -> Result<usize, String> {
    let forward = if index < 0 { index + size as i64 } else { index };
    usize::try_from(forward)
        .ok()
        .filter(|&at| at < size)
        .ok_or_else(|| format!("column {index} of {size} columns"))
}

/// Gather: columns of a table by constant positions, or entries of a constant by a column.
pub fn gather(site: &Site<'_>) -> Result<Built, String> {
    let axis = site.attributes.int("axis", 0)?;
    if let Place::Constant(table) = &site.input(0)?.place {
        return match axis {
            0 => lookup::build(table, site, false),
            _ => Err("a constant is looked up along axis 0 only".to_owned()),
        };
    }
    let (slot, kind) = site.rows(0)?;
    let at = super::shape::tail_axis(axis, kind.tail.len() + 1)?;
    let indices = site.constant(1)?;
    let size = kind.tail[at];
    let wanted = indices.ints().ok_or("its positions must be integers")?;
    let wanted = wanted.iter().map(|&i| position(i, size)).collect::<Result<Vec<_>, _>>()?;
    let mut tail = kind.tail[..at].to_vec();
    tail.extend(&indices.dims);
    tail.extend(&kind.tail[at + 1..]);
    let made = Kind::limited(kind.dtype, &tail)?;
    let inner: usize = kind.tail[at + 1..].iter().product();
    let outer: usize = kind.tail[..at].iter().product();
    let wanted = &wanted;
    let chosen = (0..outer).flat_map(|o| {
        wanted.iter().flat_map(move |&w| (0..inner).map(move |i| (slot, (o * size + w) * inner + i)))
    });
    Ok(Built::step(Op::Pick(Pick::new(chosen, &made)), made))
}

/// ArrayFeatureExtractor: columns by constant positions, or entries of a constant by a column.
pub fn extract(site: &Site<'_>) -> Result<Built, String> {
    if let Place::Constant(table) = &site.input(0)?.place {
        return lookup::build(table, site, true);
    }
    let (slot, kind, columns) = site.table(0)?;
    let wanted = site.constant(1)?.ints().ok_or("its positions must be integers")?;
    let wanted = wanted.iter().map(|&i| position(i, columns)).collect::<Result<Vec<_>, _>>()?;
    let kind = Kind::limited(kind.dtype, &[wanted.len()])?;
    Ok(Built::step(Op::Pick(Pick::new(wanted.iter().map(|&c| (slot, c)), &kind)), kind))
}
