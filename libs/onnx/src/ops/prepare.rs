//! Preparing numbers: Scaler, Imputer, Binarizer, FeatureVectorizer.

use super::columns::Pick;
use super::{Built, Op, RowError};
use crate::data::Data;
use crate::graph::Site;
use crate::kind::{Dtype, Kind};

/// `(x - offset) * scale` per column.
#[derive(Debug)]
pub struct Scaler {
    slot: usize,
    /// Offset and scale of each column.
    columns: Vec<(f32, f32)>,
}

/// One value per column, or one for all of them.
fn per_column<T: Copy>(values: &[T], columns: usize, what: &str) -> Result<Vec<T>, String> {
    match values.len() {
        1 => Ok(vec![values[0]; columns]),
        n if n == columns => Ok(values.to_vec()),
        n => Err(format!("{n} {what} for {columns} columns")),
    }
}

/// Scaler
pub fn scaler(site: &Site<'_>) -> Result<Built, String> {
    let (slot, kind, columns) = site.table(0)?;
    if !kind.dtype.is_number() {
        return Err(format!("its input is {}; numbers are needed", kind.shown()));
    }
    let offsets = per_column(site.attributes.floats("offset")?, columns, "offsets")?;
    let scales = per_column(site.attributes.floats("scale")?, columns, "scales")?;
    let columns = offsets.into_iter().zip(scales).collect();
    Ok(Built::step(Op::Scaler(Scaler { slot, columns }), kind.with(Dtype::F32)))
}

impl Scaler {
    pub fn run(&self, slots: &[Data], rows: usize, out: &mut Data) {
        let mut cells = out.take_f32();
        for (c, &(offset, scale)) in self.columns.iter().enumerate() {
            let range = c * rows..(c + 1) * rows;
            match &slots[self.slot] {
                Data::F32(from) => cells.extend(from[range].iter().map(|x| (x - offset) * scale)),
                other => cells.extend(range.map(|i| {
                    let x = other.number(i).unwrap_or(f64::NAN);
                    ((x - f64::from(offset)) * f64::from(scale)) as f32
                })),
            }
        }
        *out = Data::F32(cells);
    }
}

/// One value in each column stands for "missing" and is replaced.
#[derive(Debug)]
pub struct Imputer {
    slot: usize,
    with: Replacement,
}

#[derive(Debug)]
enum Replacement {
    /// What is replaced, and with what per column.
    Floats(f32, Vec<f32>),
    Ints(i64, Vec<i64>),
}

/// Imputer
pub fn imputer(site: &Site<'_>) -> Result<Built, String> {
    let (slot, kind, columns) = site.table(0)?;
    let with = match kind.dtype {
        Dtype::F32 | Dtype::F64 => {
            let values = per_column(site.attributes.floats("imputed_value_floats")?, columns, "values")?;
            Replacement::Floats(site.attributes.float("replaced_value_float", 0.0)?, values)
        }
        Dtype::I64 => {
            let values = per_column(site.attributes.ints("imputed_value_int64s")?, columns, "values")?;
            Replacement::Ints(site.attributes.int("replaced_value_int64", 0)?, values)
        }
        _ => return Err(format!("its input is {}; numbers are needed", kind.shown())),
    };
    Ok(Built::step(Op::Imputer(Imputer { slot, with }), kind.clone()))
}

impl Imputer {
    pub fn run(&self, slots: &[Data], rows: usize, out: &mut Data) {
        match (&slots[self.slot], &self.with) {
            (Data::F32(from), Replacement::Floats(missing, values)) => {
                let mut cells = out.take_f32();
                let is_missing = |x: f32| x == *missing || (missing.is_nan() && x.is_nan());
                for (column, &value) in from.chunks_exact(rows.max(1)).zip(values) {
                    cells.extend(column.iter().map(|&x| if is_missing(x) { value } else { x }));
                }
                *out = Data::F32(cells);
            }
            (Data::F64(from), Replacement::Floats(missing, values)) => {
                let mut cells = out.take_f64();
                let missing = f64::from(*missing);
                let is_missing = |x: f64| x == missing || (missing.is_nan() && x.is_nan());
                for (column, &value) in from.chunks_exact(rows.max(1)).zip(values) {
                    cells.extend(column.iter().map(|&x| if is_missing(x) { f64::from(value) } else { x }));
                }
                *out = Data::F64(cells);
            }
            (from, Replacement::Ints(missing, values)) => {
                let mut cells = out.take_i64();
                for (column, &value) in from.i64s().chunks_exact(rows.max(1)).zip(values) {
                    cells.extend(column.iter().map(|&x| if x == *missing { value } else { x }));
                }
                *out = Data::I64(cells);
            }
            (_, Replacement::Floats(..)) => out.clear(),
        }
    }
}

/// 1 above the threshold, else 0.
#[derive(Debug)]
pub struct Binarizer {
    slot: usize,
    threshold: f32,
}

/// Binarizer
pub fn binarizer(site: &Site<'_>) -> Result<Built, String> {
    let (slot, kind) = site.rows(0)?;
    if kind.dtype != Dtype::F32 {
        return Err(format!("its input is {}; float is supported", kind.shown()));
    }
    let threshold = site.attributes.float("threshold", 0.0)?;
    Ok(Built::step(Op::Binarizer(Binarizer { slot, threshold }), kind.clone()))
}

impl Binarizer {
    pub fn run(&self, slots: &[Data], rows: usize, out: &mut Data) -> Result<(), RowError> {
        let from = slots[self.slot].f32s();
        // As onnxruntime: neither side of the threshold is true for NaN.
        if let Some(at) = from.iter().position(|x| x.is_nan()) {
            let reason = "NaN cannot be binarized; impute it first".to_owned();
            return Err(RowError { row: at % rows.max(1), reason });
        }
        let mut cells = out.take_f32();
        cells.extend(from.iter().map(|&x| f32::from(u8::from(x > self.threshold))));
        *out = Data::F32(cells);
        Ok(())
    }
}

/// FeatureVectorizer: its inputs side by side.
pub fn vectorizer(site: &Site<'_>) -> Result<Built, String> {
    let parts = (0..site.inputs.len()).map(|i| site.table(i)).collect::<Result<Vec<_>, _>>()?;
    if let Some((_, kind, _)) = parts.iter().find(|(_, kind, _)| kind.dtype != Dtype::F32) {
        return Err(format!("an input is {}; float is supported", kind.shown()));
    }
    let declared = site.attributes.ints("inputdimensions")?;
    let fits = declared.len() == parts.len()
        && declared.iter().zip(&parts).all(|(&d, (_, _, columns))| usize::try_from(d) == Ok(*columns));
    if !fits {
        return Err(format!("inputdimensions {declared:?} are not those of its inputs"));
    }
    let columns = parts.iter().flat_map(|&(slot, _, columns)| (0..columns).map(move |c| (slot, c)));
    let kind = Kind::limited(Dtype::F32, &[parts.iter().map(|(_, _, columns)| columns).sum()])?;
    Ok(Built::step(Op::Pick(Pick::new(columns, &kind)), kind))
}
