//! Cell by cell: operands stretched to each other as in numpy.

mod arithmetic;
mod compare;
mod unary;

pub use arithmetic::{Arithmetic, arithmetic};
pub use compare::{Compare, Where, build_where, compare};
pub use unary::{Clip, Unary, clip, unary};

use crate::data::Data;
use crate::graph::{Known, Place, Site};
use crate::kind::{Dtype, meet, stretch};
use crate::limits::COLUMNS_MAX;
use arithmetic::Number;

/// One operand, stretched: for each result column, a column of a slot or a cell of a constant.
#[derive(Debug)]
pub struct Operand {
    from: From,
    columns: Vec<u32>,
}

#[derive(Debug)]
enum From {
    Slot(usize),
    Constant(Data),
}

/// Operands, their types, the tail of the result.
type Operands = (Vec<Operand>, Vec<Dtype>, Vec<usize>);

/// Cells of an operand for one result column.
#[derive(Debug, Clone, Copy)]
enum Lane<'a, T> {
    One(T),
    Many(&'a [T]),
}

impl Operand {
    /// Its cells for result column `column`; `cells` reads the type that was settled at load.
    fn lane<'a, T: Copy>(
        &'a self,
        slots: &'a [Data],
        column: usize,
        rows: usize,
        cells: impl Fn(&'a Data) -> &'a [T],
    ) -> Lane<'a, T> {
        let at = self.columns[column] as usize;
        match &self.from {
            From::Slot(slot) => Lane::Many(&cells(&slots[*slot])[at * rows..(at + 1) * rows]),
            From::Constant(data) => Lane::One(cells(data)[at]),
        }
    }
}

/// What is done alike to numbers of each type.
trait OfNumbers {
    /// Appends the result's cells, column by column; `cells` reads an operand's.
    fn all<T: Number>(&self, slots: &[Data], rows: usize, out: &mut Vec<T>, cells: fn(&Data) -> &[T]);
}

/// Does it in the number type that was settled at load, in the memory of `out`.
fn by_type(what: &impl OfNumbers, dtype: Dtype, slots: &[Data], rows: usize, out: &mut Data) {
    match dtype {
        Dtype::F32 => {
            let mut cells = out.take_f32();
            what.all(slots, rows, &mut cells, Data::f32s);
            *out = Data::F32(cells);
        }
        Dtype::F64 => {
            let mut cells = out.take_f64();
            what.all(slots, rows, &mut cells, Data::f64s);
            *out = Data::F64(cells);
        }
        _ => {
            let mut cells = out.take_i64();
            what.all(slots, rows, &mut cells, Data::i64s);
            *out = Data::I64(cells);
        }
    }
}

impl<T: Copy> Lane<'_, T> {
    #[inline(always)]
    fn at(&self, row: usize) -> T {
        match self {
            Self::One(cell) => *cell,
            Self::Many(cells) => cells[row],
        }
    }
}

/// Appends `f(a, b)` for each row.
#[inline(always)]
fn zip<T: Copy, R>(a: Lane<'_, T>, b: Lane<'_, T>, rows: usize, out: &mut Vec<R>, f: impl Fn(T, T) -> R) {
    match (a, b) {
        (Lane::Many(a), Lane::Many(b)) => out.extend(a.iter().zip(b).map(|(&a, &b)| f(a, b))),
        (Lane::Many(a), Lane::One(b)) => out.extend(a.iter().map(|&a| f(a, b))),
        (Lane::One(a), Lane::Many(b)) => out.extend(b.iter().map(|&b| f(a, b))),
        (Lane::One(a), Lane::One(b)) => out.extend((0..rows).map(|_| f(a, b))),
    }
}

/// The dimensions without the rows. A constant that has a first dimension where the others have their rows must
/// have 1 there.
fn dims_of(known: &Known, rank: usize) -> Result<(Vec<usize>, Dtype), String> {
    match &known.place {
        Place::Slot(_, kind) if kind.across => {
            Err(format!("{}: a Reshape to [-1] must come first", kind.shown()))
        }
        Place::Slot(_, kind) if kind.tail.len() + 1 == rank => Ok((kind.tail.clone(), kind.dtype)),
        Place::Slot(_, kind) => {
            Err(format!("{} meets a value of {rank} dimensions; a Reshape must come first", kind.shown()))
        }
        Place::Constant(constant) => {
            let dims = match constant.dims.as_slice() {
                dims if dims.len() < rank => dims,
                [1, rest @ ..] if rest.len() + 1 == rank => rest,
                dims => return Err(format!("a constant of shape {dims:?} has no rows to meet")),
            };
            Ok((dims.to_vec(), constant.dtype()))
        }
        Place::ShapeOf(_) => Err("a shape is no operand".to_owned()),
    }
}

/// The site's inputs, stretched to each other.
fn operands(site: &Site<'_>) -> Result<Operands, String> {
    let known = (0..site.inputs.len()).map(|i| site.input(i)).collect::<Result<Vec<_>, _>>()?;
    let rank = |k: &&Known| {
        if let Place::Slot(_, kind) = &k.place { Some(kind.tail.len() + 1) } else { None }
    };
    let rank = known.iter().filter_map(rank).max().ok_or("its inputs are all constants")?;
    let shapes = known.iter().map(|k| dims_of(k, rank)).collect::<Result<Vec<_>, _>>()?;
    let refused = || {
        let shown: Vec<_> = shapes.iter().map(|(dims, _)| dims).collect();
        format!("shapes {shown:?} (without the rows) do not fit")
    };
    let mut tail = vec![1; rank - 1];
    for (dims, _) in &shapes {
        tail = meet(&tail, dims).ok_or_else(refused)?;
    }
    let width = tail.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
    // Each operand keeps a place per result column.
    let places = width.and_then(|n| n.checked_mul(known.len()));
    if tail.len() != rank - 1 || places.is_none_or(|n| n > 4 * COLUMNS_MAX) {
        return Err(refused());
    }
    let stretched = known.iter().zip(&shapes).map(|(known, (dims, _))| {
        let columns = stretch(dims, &tail).ok_or_else(refused)?;
        match &known.place {
            Place::Slot(slot, _) => Ok(Operand { from: From::Slot(*slot), columns }),
            Place::Constant(constant) => Ok(Operand { from: From::Constant(constant.data.clone()), columns }),
            Place::ShapeOf(_) => Err(refused()),
        }
    });
    let stretched = stretched.collect::<Result<Vec<_>, String>>()?;
    Ok((stretched, shapes.iter().map(|(_, dtype)| *dtype).collect(), tail))
}

/// The one type of all operands, which must be of `allowed`.
fn one_type(dtypes: &[Dtype], allowed: &[Dtype]) -> Result<Dtype, String> {
    match dtypes.first() {
        Some(first) if allowed.contains(first) && dtypes.iter().all(|d| d == first) => Ok(*first),
        _ => Err(format!("its operands are {dtypes:?}; they must all be of one type of {allowed:?}")),
    }
}

const NUMBERS: &[Dtype] = &[Dtype::F32, Dtype::F64, Dtype::I64];
