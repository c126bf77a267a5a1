//! Categories: OneHotEncoder and LabelEncoder, over text and numbers.

use super::{Built, Op, RowError};
use crate::attributes::Attributes;
use crate::data::Data;
use crate::graph::Site;
use crate::kind::{Dtype, Kind};
use std::collections::BTreeMap;

/// Categories and their places.
#[derive(Debug)]
enum Keys {
    Texts(BTreeMap<String, usize>),
    Ints(BTreeMap<i64, usize>),
    /// By bits: -0.0 as 0.0, every NaN as one.
    Floats(BTreeMap<u64, usize>),
}

fn bits(x: f64) -> u64 {
    if x.is_nan() { f64::NAN.to_bits() } else { (x + 0.0).to_bits() }
}

impl Keys {
    fn texts(keys: Vec<String>) -> Self {
        Self::Texts(keys.into_iter().enumerate().map(|(i, key)| (key, i)).collect())
    }

    fn ints(keys: &[i64]) -> Self {
        Self::Ints(keys.iter().enumerate().map(|(i, &key)| (key, i)).collect())
    }

    fn floats(keys: impl Iterator<Item = f64>) -> Self {
        Self::Floats(keys.enumerate().map(|(i, key)| (bits(key), i)).collect())
    }

    fn find(&self, data: &Data, index: usize) -> Option<usize> {
        match (self, data) {
            (Self::Texts(keys), Data::Text(cells)) => keys.get(cells.get(index)).copied(),
            (Self::Ints(keys), Data::I64(cells)) => keys.get(&cells[index]).copied(),
            // As onnxruntime: the number is cut to an integer.
            (Self::Ints(keys), numbers) => keys.get(&(numbers.number(index)? as i64)).copied(),
            (Self::Floats(keys), numbers) => keys.get(&bits(numbers.number(index)?)).copied(),
            (Self::Texts(_), _) => None,
        }
    }
}

/// A column of zeros and ones per category.
#[derive(Debug)]
pub struct OneHot {
    slot: usize,
    keys: Keys,
    columns: usize,
    categories: usize,
    /// An unknown category is a row of zeros, else an error.
    zeros: bool,
}

/// OneHotEncoder
pub fn one_hot(site: &Site<'_>) -> Result<Built, String> {
    let (slot, kind) = site.rows(0)?;
    let texts = site.attributes.texts("cats_strings")?;
    let ints = site.attributes.ints("cats_int64s")?;
    let (keys, categories) = match (kind.dtype, texts.len(), ints.len()) {
        (Dtype::Text, n, _) if n > 0 => (Keys::texts(texts), n),
        (Dtype::F32 | Dtype::F64 | Dtype::I64, _, n) if n > 0 => (Keys::ints(ints), n),
        _ => return Err(format!("its input is {}, its categories are of another type", kind.shown())),
    };
    let columns = kind.width();
    let mut tail = kind.tail.clone();
    tail.push(categories);
    let zeros = site.attributes.int("zeros", 1)? != 0;
    let op = OneHot { slot, keys, columns, categories, zeros };
    Ok(Built::step(Op::OneHot(op), Kind::new(Dtype::F32, &tail)))
}

impl OneHot {
    pub fn run(&self, slots: &[Data], rows: usize, out: &mut Data) -> Result<(), RowError> {
        let from = &slots[self.slot];
        let mut cells = out.take_f32();
        cells.resize(self.columns * self.categories * rows, 0.0);
        for column in 0..self.columns {
            for row in 0..rows {
                match self.keys.find(from, column * rows + row) {
                    Some(category) => cells[(column * self.categories + category) * rows + row] = 1.0,
                    None if self.zeros => {}
                    None => {
                        let reason = "its category is none of the model's, and the model takes no others";
                        return Err(RowError { row, reason: reason.to_owned() });
                    }
                }
            }
        }
        *out = Data::F32(cells);
        Ok(())
    }
}

/// Keys to values.
#[derive(Debug)]
pub struct LabelEncoder {
    slot: usize,
    keys: Keys,
    /// One more than there are keys: the last is for what is none of them.
    values: Data,
}

/// LabelEncoder, of every version
pub fn label_encoder(site: &Site<'_>) -> Result<Built, String> {
    let (slot, kind) = site.rows(0)?;
    let attributes = site.attributes;
    let (keys, count, values) = if attributes.has("classes_strings") {
        old_form(attributes, kind.dtype)?
    } else {
        let (mut keys, count) = keys(attributes)?;
        if let Keys::Floats(keys) = &mut keys
            && site.ml_opset < 4
        {
            keys.remove(&bits(f64::NAN)); // found by equality until version 4, so never
        }
        (keys, count, values(attributes, count)?)
    };
    let fits = match &keys {
        Keys::Texts(_) => kind.dtype == Dtype::Text,
        Keys::Ints(_) => kind.dtype == Dtype::I64,
        Keys::Floats(_) => matches!(kind.dtype, Dtype::F32 | Dtype::F64),
    };
    if !fits || values.len() != count + 1 {
        return Err(format!("its input is {}, its keys are of another type or number", kind.shown()));
    }
    let kind = kind.with(values.dtype());
    Ok(Built::step(Op::Labels(LabelEncoder { slot, keys, values }), kind))
}

/// The first version: classes_strings, to and from their positions.
fn old_form(attributes: Attributes<'_>, from: Dtype) -> Result<(Keys, usize, Data), String> {
    let classes = attributes.texts("classes_strings")?;
    let count = classes.len();
    if from == Dtype::Text {
        let mut values: Vec<i64> = (0..count as i64).collect();
        values.push(attributes.int("default_int64", -1)?);
        return Ok((Keys::texts(classes), count, Data::I64(values)));
    }
    let mut values = Data::of(Dtype::Text);
    if let Data::Text(texts) = &mut values {
        classes.iter().for_each(|class| texts.push(class));
        texts.push(attributes.text("default_string", "_Unused")?);
    }
    let positions: Vec<i64> = (0..count as i64).collect();
    Ok((Keys::ints(&positions), count, values))
}

fn keys(attributes: Attributes<'_>) -> Result<(Keys, usize), String> {
    if attributes.has("keys_strings") {
        let keys = attributes.texts("keys_strings")?;
        let count = keys.len();
        return Ok((Keys::texts(keys), count));
    }
    if attributes.has("keys_int64s") {
        let keys = attributes.ints("keys_int64s")?;
        return Ok((Keys::ints(keys), keys.len()));
    }
    if attributes.has("keys_floats") {
        let keys = attributes.floats("keys_floats")?;
        return Ok((Keys::floats(keys.iter().map(|&x| f64::from(x))), keys.len()));
    }
    let tensor = attributes.tensor("keys_tensor")?.ok_or("it has no keys")?;
    let count = tensor.data.len();
    let keys = match &tensor.data {
        Data::Text(texts) => Keys::texts((0..count).map(|i| texts.get(i).to_owned()).collect()),
        Data::I64(keys) => Keys::ints(keys),
        numbers => Keys::floats((0..count).map(|i| numbers.number(i).unwrap_or(f64::NAN))),
    };
    Ok((keys, count))
}

fn values(attributes: Attributes<'_>, count: usize) -> Result<Data, String> {
    if attributes.has("values_strings") {
        let mut values = Data::of(Dtype::Text);
        if let Data::Text(texts) = &mut values {
            attributes.texts("values_strings")?.iter().for_each(|value| texts.push(value));
            texts.push(attributes.text("default_string", "_Unused")?);
        }
        return Ok(values);
    }
    if attributes.has("values_int64s") {
        let mut values = attributes.ints("values_int64s")?.to_vec();
        values.push(attributes.int("default_int64", -1)?);
        return Ok(Data::I64(values));
    }
    if attributes.has("values_floats") {
        let mut values = attributes.floats("values_floats")?.to_vec();
        values.push(attributes.float("default_float", -0.0)?);
        return Ok(Data::F32(values));
    }
    let mut values = attributes.tensor("values_tensor")?.ok_or("it has no values")?.data;
    match attributes.tensor("default_tensor")? {
        Some(default) if default.data.len() == 1 => values.extend(&default.data, 0..1),
        _ => match &mut values {
            Data::Text(texts) => texts.push("_Unused"),
            Data::I64(cells) => cells.push(-1),
            Data::F32(cells) => cells.push(-0.0),
            Data::F64(cells) => cells.push(-0.0),
            Data::Bool(_) => return Err("its values are bool".to_owned()),
        },
    }
    if values.len() == count + 1 { Ok(values) } else { Err("its default is of another type".to_owned()) }
}

impl LabelEncoder {
    pub fn run(&self, slots: &[Data], out: &mut Data) {
        let from = &slots[self.slot];
        if out.dtype() == self.values.dtype() {
            out.clear()
        } else {
            *out = Data::of(self.values.dtype())
        }
        for i in 0..from.len() {
            let at = self.keys.find(from, i).unwrap_or(self.values.len() - 1);
            out.extend(&self.values, at..at + 1);
        }
    }
}
