//! Shapes and names: operators that move no cell. A value's first dimension is its rows and stays so.

use super::{Built, Op, columns};
use crate::constant::Constant;
use crate::data::Data;
use crate::graph::{Known, Place, Site};
use crate::kind::{Dtype, Kind};
use crate::signature::Labels;

/// Constant
pub fn constant(site: &Site<'_>) -> Result<Built, String> {
    let attributes = site.attributes;
    let constant = if let Some(tensor) = attributes.tensor("value")? {
        tensor
    } else if attributes.has("value_float") {
        Constant::scalar(Data::F32(vec![attributes.float("value_float", 0.0)?]))
    } else if attributes.has("value_int") {
        Constant::scalar(Data::I64(vec![attributes.int("value_int", 0)?]))
    } else if attributes.has("value_floats") {
        let cells = attributes.floats("value_floats")?.to_vec();
        Constant { dims: vec![cells.len()], data: Data::F32(cells) }
    } else if attributes.has("value_ints") {
        let cells = attributes.ints("value_ints")?.to_vec();
        Constant { dims: vec![cells.len()], data: Data::I64(cells) }
    } else {
        return Err("a constant of another form than tensor, float, int and lists of them".to_owned());
    };
    Ok(Built::place(Place::Constant(constant)))
}

/// Shape
pub fn shape(site: &Site<'_>) -> Result<Built, String> {
    let (_, kind) = site.rows(0)?;
    Ok(Built::place(Place::ShapeOf(kind.clone())))
}

/// ConstantOfShape
pub fn constant_of_shape(site: &Site<'_>) -> Result<Built, String> {
    let Place::ShapeOf(of) = &site.input(0)?.place else {
        return Err("its shape must come from Shape of a value with one entry per row".to_owned());
    };
    let value = site.attributes.tensor("value")?.unwrap_or_else(|| Constant::scalar(Data::F32(vec![0.0])));
    let kind = of.with(value.dtype());
    Ok(Built::step(Op::Fill(columns::Fill::new(value.data, kind.width())), kind))
}

fn renamed(site: &Site<'_>, kind: Kind) -> Result<Built, String> {
    let known = site.input(0)?;
    match &known.place {
        Place::Slot(slot, _) => {
            Ok(Built::Same(Known { place: Place::Slot(*slot, kind), classes: known.classes.clone() }))
        }
        _ => Err("its input must have one entry per row".to_owned()),
    }
}

/// Reshape
pub fn reshape(site: &Site<'_>) -> Result<Built, String> {
    let target = match site.constant_if(1)? {
        Some(constant) => constant.ints().ok_or("its shape must be integers")?.to_vec(),
        None => site.attributes.ints("shape")?.to_vec(),
    };
    let place = &site.input(0)?.place;
    let Place::Slot(_, kind) = place else {
        return match place {
            Place::Constant(constant) => reshape_constant(constant, &target),
            _ => Err("its input must be a value".to_owned()),
        };
    };
    let bad = || format!("{} cannot become {target:?}: rows must stay the first dimension", kind.shown());
    let (&first, rest) = target.split_first().ok_or_else(bad)?;
    if first != -1 && (first != 0 || kind.across) {
        return Err(bad());
    }
    let mut tail = Vec::with_capacity(rest.len());
    for (i, &dim) in rest.iter().enumerate() {
        tail.push(match dim {
            0 => *kind.tail.get(i).ok_or_else(bad)?,
            n => usize::try_from(n).map_err(|_| bad())?,
        });
    }
    let width = tail.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
    if width != Some(kind.width()) {
        return Err(bad());
    }
    renamed(site, Kind::new(kind.dtype, &tail))
}

fn reshape_constant(constant: &Constant, target: &[i64]) -> Result<Built, String> {
    let cells = constant.data.len();
    let known: usize = target.iter().filter_map(|&d| usize::try_from(d).ok()).product();
    let dims: Vec<usize> =
        target.iter().map(|&d| usize::try_from(d).unwrap_or(cells.checked_div(known).unwrap_or(0))).collect();
    if dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)) != Some(cells) {
        return Err(format!("a constant of {cells} cells cannot become {target:?}"));
    }
    Ok(Built::place(Place::Constant(Constant { dims, data: constant.data.clone() })))
}

/// Flatten
pub fn flatten(site: &Site<'_>) -> Result<Built, String> {
    let (_, kind) = site.rows(0)?;
    if site.attributes.int("axis", 1)? != 1 {
        return Err("axis must be 1: rows must stay the first dimension".to_owned());
    }
    renamed(site, Kind::new(kind.dtype, &[kind.width()]))
}

/// Axes from an input or the attribute, as positions in the tail of a value of `rank` dimensions.
pub(super) fn tail_axes(site: &Site<'_>, rank: usize) -> Result<Vec<usize>, String> {
    let axes = match site.constant_if(1)? {
        Some(constant) => constant.ints().ok_or("its axes must be integers")?.to_vec(),
        None => site.attributes.ints("axes")?.to_vec(),
    };
    axes.iter().map(|&axis| tail_axis(axis, rank)).collect()
}

/// An axis as a position in the tail: axis 1 is the first after the rows.
pub(super) fn tail_axis(axis: i64, rank: usize) -> Result<usize, String> {
    let forward = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(forward - 1)
        .ok()
        .filter(|&at| at + 1 < rank)
        .ok_or_else(|| format!("axis {axis} of {rank} dimensions; an axis after the rows is needed"))
}

/// Squeeze
pub fn squeeze(site: &Site<'_>) -> Result<Built, String> {
    let (_, kind) = site.rows(0)?;
    let axes = tail_axes(site, kind.tail.len() + 1)?;
    let drops = |i: usize| if axes.is_empty() { kind.tail[i] == 1 } else { axes.contains(&i) };
    if axes.iter().any(|&i| kind.tail[i] != 1) {
        return Err(format!("{} has no dimension of 1 there", kind.shown()));
    }
    let tail: Vec<usize> = (0..kind.tail.len()).filter(|&i| !drops(i)).map(|i| kind.tail[i]).collect();
    renamed(site, Kind::new(kind.dtype, &tail))
}

/// Unsqueeze
pub fn unsqueeze(site: &Site<'_>) -> Result<Built, String> {
    let (_, kind) = site.rows(0)?;
    let mut tail = kind.tail.clone();
    let axes = match site.constant_if(1)? {
        Some(constant) => constant.ints().ok_or("its axes must be integers")?.to_vec(),
        None => site.attributes.ints("axes")?.to_vec(),
    };
    let rank = kind.tail.len() + 1 + axes.len();
    let mut places = axes.iter().map(|&axis| tail_axis(axis, rank)).collect::<Result<Vec<_>, _>>()?;
    places.sort_unstable();
    for at in places {
        if at > tail.len() {
            return Err("its axes do not fit".to_owned());
        }
        tail.insert(at, 1);
    }
    renamed(site, Kind::new(kind.dtype, &tail))
}

/// ZipMap: the value stays a table, its columns get the names of their classes.
pub fn zip_map(site: &Site<'_>) -> Result<Built, String> {
    let (slot, kind, columns) = site.table(0)?;
    let names = site.attributes.texts("classlabels_strings")?;
    let numbers = site.attributes.ints("classlabels_int64s")?;
    let classes = if names.is_empty() { Labels::Ints(numbers.to_vec()) } else { Labels::Texts(names) };
    if classes.len() != columns {
        return Err(format!("{} classes for {columns} columns", classes.len()));
    }
    if kind.dtype != Dtype::F32 && kind.dtype != Dtype::F64 {
        return Err(format!("its input is {}; it must be float", kind.shown()));
    }
    let place = Place::Slot(slot, Kind::new(kind.dtype, &[columns]));
    Ok(Built::Same(Known { place, classes: Some(classes) }))
}
