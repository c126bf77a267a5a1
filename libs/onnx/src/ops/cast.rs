//! Cast between the types of cells.

use super::{Built, Op, RowError};
use crate::data::{Data, Texts};
use crate::graph::{Place, Site};
use crate::kind::Dtype;
use std::fmt::Write as _;

#[derive(Debug)]
pub struct Cast {
    slot: usize,
    to: Dtype,
    /// `int32`: wrapped to 32 bits.
    narrow: bool,
}

/// Cast
pub fn build(site: &Site<'_>) -> Result<Built, String> {
    let code = site.attributes.int("to", 0)?;
    let to = Dtype::of_code(code).ok_or_else(|| format!("type {code} is not supported"))?;
    let known = site.input(0)?;
    let Place::Slot(slot, kind) = &known.place else {
        return Err("its input must have one entry per row".to_owned());
    };
    let narrow = code == 6;
    if kind.dtype == to && !narrow {
        return Ok(Built::Same(known.clone()));
    }
    let mut built = Built::step(Op::Cast(Cast { slot: *slot, to, narrow }), kind.with(to));
    if let Built::Step { classes, .. } = &mut built {
        classes.clone_from(&known.classes);
    }
    Ok(built)
}

impl Cast {
    pub fn run(&self, slots: &[Data], rows: usize, out: &mut Data) -> Result<(), RowError> {
        let from = &slots[self.slot];
        match self.to {
            Dtype::F32 => {
                let mut cells = out.take_f32();
                match from {
                    Data::F64(x) => cells.extend(x.iter().map(|&x| x as f32)),
                    Data::I64(x) => cells.extend(x.iter().map(|&x| x as f32)),
                    other => each(other, rows, |x| cells.push(x as f32))?,
                }
                *out = Data::F32(cells);
            }
            Dtype::F64 => {
                let mut cells = out.take_f64();
                each(from, rows, |x| cells.push(x))?;
                *out = Data::F64(cells);
            }
            Dtype::I64 => {
                let mut cells = out.take_i64();
                match from {
                    Data::I64(x) => cells.extend_from_slice(x),
                    other => each(other, rows, |x| cells.push(x as i64))?,
                }
                if self.narrow {
                    cells.iter_mut().for_each(|x| *x = i64::from(*x as i32));
                }
                *out = Data::I64(cells);
            }
            Dtype::Bool => {
                let mut cells = out.take_bool();
                each(from, rows, |x| cells.push(x != 0.0))?;
                *out = Data::Bool(cells);
            }
            Dtype::Text => {
                let mut cells = out.take_text();
                written(from, &mut cells);
                *out = Data::Text(cells);
            }
        }
        Ok(())
    }
}

/// Each cell as a number. Text must be one.
fn each(from: &Data, rows: usize, mut to: impl FnMut(f64)) -> Result<(), RowError> {
    for i in 0..from.len() {
        let number = match from {
            Data::Text(texts) => {
                let text = texts.get(i);
                text.trim().parse().map_err(|_| RowError {
                    row: i % rows.max(1),
                    reason: format!("{:?} is no number", text.chars().take(32).collect::<String>()),
                })?
            }
            numbers => numbers.number(i).unwrap_or_default(),
        };
        to(number);
    }
    Ok(())
}

fn written(from: &Data, to: &mut Texts) {
    let mut text = String::new();
    for i in 0..from.len() {
        text.clear();
        let _ = match from {
            Data::F32(x) => write!(text, "{}", x[i]),
            Data::F64(x) => write!(text, "{}", x[i]),
            Data::I64(x) => write!(text, "{}", x[i]),
            Data::Bool(x) => write!(text, "{}", u8::from(x[i])),
            Data::Text(x) => write!(text, "{}", x.get(i)),
        };
        to.push(&text);
    }
}
