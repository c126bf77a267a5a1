//! A constant's entries by a column of positions: how exporters turn the largest score into a label.

use super::{Built, Op, RowError};
use crate::constant::Constant;
use crate::data::Data;
use crate::graph::Site;
use crate::kind::{Dtype, Kind};

#[derive(Debug)]
pub struct Lookup {
    table: Data,
    /// Cells of one entry.
    width: usize,
    slot: usize,
}

/// `across`: the result is `[1, rows]` as ArrayFeatureExtractor makes it, else `[rows, …]`.
pub fn build(table: &Constant, site: &Site<'_>, across: bool) -> Result<Built, String> {
    let (slot, index, columns) = site.table(1)?;
    if index.dtype != Dtype::I64 || columns != 1 {
        return Err(format!("the positions are {}; one int64 per row is needed", index.shown()));
    }
    let entry: &[usize] = match (across, table.dims.as_slice()) {
        (true, [] | [_] | [1, _]) => &[],
        (false, [_, entry @ ..]) => entry,
        _ => return Err(format!("a constant of shape {:?} cannot be looked up by rows", table.dims)),
    };
    let width = entry.iter().product();
    let mut tail = if across { Vec::new() } else { index.tail.clone() };
    tail.extend(entry);
    let kind = Kind { dtype: table.dtype(), tail, across };
    Ok(Built::step(Op::Lookup(Lookup { table: table.data.clone(), width, slot }), kind))
}

impl Lookup {
    pub fn run(&self, slots: &[Data], rows: usize, out: &mut Data) -> Result<(), RowError> {
        if out.dtype() == self.table.dtype() {
            out.clear()
        } else {
            *out = Data::of(self.table.dtype())
        }
        let entries = self.table.len().checked_div(self.width).unwrap_or(0);
        let positions = slots[self.slot].i64s();
        let at = |row: usize| {
            let given = positions[row];
            let forward = if given < 0 { given + entries as i64 } else { given };
            usize::try_from(forward).ok().filter(|&at| at < entries).ok_or_else(|| RowError {
                row,
                reason: format!("position {given} of a constant with {entries} entries"),
            })
        };
        for cell in 0..self.width {
            for row in 0..rows {
                let index = at(row)? * self.width + cell;
                out.extend(&self.table, index..index + 1);
            }
        }
        Ok(())
    }
}
