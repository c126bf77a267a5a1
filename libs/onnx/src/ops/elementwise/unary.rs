//! One operand: functions of a cell.

use crate::data::Data;
use crate::graph::Site;
use crate::kind::Dtype;
use crate::ops::{Built, Op};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Abs,
    Ceil,
    Exp,
    Floor,
    IsNan,
    Log,
    Neg,
    Not,
    Reciprocal,
    Relu,
    Sigmoid,
    Sqrt,
    Tanh,
}

/// One operand.
#[derive(Debug)]
pub struct Unary {
    rule: Rule,
    slot: usize,
}

/// A lower and an upper bound.
#[derive(Debug)]
pub struct Clip {
    slot: usize,
    low: f64,
    high: f64,
}

/// Abs, Ceil, Exp, Floor, IsNaN, Log, Neg, Not, Reciprocal, Relu, Sigmoid, Sqrt, Tanh
pub fn unary(op: &str, site: &Site<'_>) -> Result<Option<Built>, String> {
    let rule = match op {
        "Abs" => Rule::Abs,
        "Ceil" => Rule::Ceil,
        "Exp" => Rule::Exp,
        "Floor" => Rule::Floor,
        "IsNaN" => Rule::IsNan,
        "Log" => Rule::Log,
        "Neg" => Rule::Neg,
        "Not" => Rule::Not,
        "Reciprocal" => Rule::Reciprocal,
        "Relu" => Rule::Relu,
        "Sigmoid" => Rule::Sigmoid,
        "Sqrt" => Rule::Sqrt,
        "Tanh" => Rule::Tanh,
        _ => return Ok(None),
    };
    let (slot, kind) = site.rows(0)?;
    let fits = match rule {
        Rule::Not => kind.dtype == Dtype::Bool,
        Rule::Abs | Rule::Neg => kind.dtype.is_number(),
        _ => matches!(kind.dtype, Dtype::F32 | Dtype::F64),
    };
    if !fits {
        return Err(format!("its input is {}", kind.shown()));
    }
    let result = if matches!(rule, Rule::IsNan | Rule::Not) { Dtype::Bool } else { kind.dtype };
    Ok(Some(Built::step(Op::Unary(Unary { rule, slot }), kind.with(result))))
}

/// Clip: either bound may be missing.
pub fn clip(site: &Site<'_>) -> Result<Built, String> {
    let (slot, kind) = site.rows(0)?;
    let bound = |index: usize, name: &str, none: f64| -> Result<f64, String> {
        match site.constant_if(index)? {
            Some(constant) => constant.data.number(0).ok_or_else(|| format!("its bound {name} is no number")),
            None if site.attributes.has(name) => Ok(f64::from(site.attributes.float(name, 0.0)?)),
            None => Ok(none),
        }
    };
    if !matches!(kind.dtype, Dtype::F32 | Dtype::F64) {
        return Err(format!("its input is {}; float or double is supported", kind.shown()));
    }
    let (low, high) = (bound(1, "min", f64::NEG_INFINITY)?, bound(2, "max", f64::INFINITY)?);
    Ok(Built::step(Op::Clip(Clip { slot, low, high }), kind.clone()))
}

impl Clip {
    pub fn run(&self, slots: &[Data], out: &mut Data) {
        // Not `clamp`: it panics where low > high, and the file may say so.
        if let Data::F64(from) = &slots[self.slot] {
            let mut cells = out.take_f64();
            cells.extend(from.iter().map(|&x| if x < self.low { self.low } else { x }));
            cells.iter_mut().filter(|x| **x > self.high).for_each(|x| *x = self.high);
            *out = Data::F64(cells);
        } else {
            let (low, high) = (self.low as f32, self.high as f32);
            let mut cells = out.take_f32();
            cells.extend(slots[self.slot].f32s().iter().map(|&x| if x < low { low } else { x }));
            cells.iter_mut().filter(|x| **x > high).for_each(|x| *x = high);
            *out = Data::F32(cells);
        }
    }
}

impl Unary {
    pub fn run(&self, slots: &[Data], out: &mut Data) {
        match (&slots[self.slot], self.rule) {
            (from, Rule::Not) => {
                let mut cells = out.take_bool();
                cells.extend(from.bools().iter().map(|x| !x));
                *out = Data::Bool(cells);
            }
            (from, Rule::IsNan) => {
                let mut cells = out.take_bool();
                cells.extend((0..from.len()).map(|i| from.number(i).is_some_and(f64::is_nan)));
                *out = Data::Bool(cells);
            }
            (Data::I64(from), rule) => {
                let mut cells = out.take_i64();
                let abs = rule == Rule::Abs;
                cells.extend(from.iter().map(|x| if abs { x.wrapping_abs() } else { x.wrapping_neg() }));
                *out = Data::I64(cells);
            }
            (Data::F64(from), rule) => {
                let mut cells = out.take_f64();
                cells.extend(from.iter().map(|&x| double(rule, x)));
                *out = Data::F64(cells);
            }
            (from, rule) => {
                let mut cells = out.take_f32();
                cells.extend(from.f32s().iter().map(|&x| single(rule, x)));
                *out = Data::F32(cells);
            }
        }
    }
}

fn double(rule: Rule, x: f64) -> f64 {
    match rule {
        Rule::Abs => x.abs(),
        Rule::Ceil => x.ceil(),
        Rule::Exp => x.exp(),
        Rule::Floor => x.floor(),
        Rule::Log => x.ln(),
        Rule::Neg => -x,
        Rule::Reciprocal => x.recip(),
        Rule::Relu if x < 0.0 => 0.0,
        Rule::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Rule::Sqrt => x.sqrt(),
        Rule::Tanh => x.tanh(),
        Rule::Relu | Rule::IsNan | Rule::Not => x,
    }
}

fn single(rule: Rule, x: f32) -> f32 {
    match rule {
        Rule::Abs => x.abs(),
        Rule::Neg => -x,
        Rule::Relu if x < 0.0 => 0.0,
        Rule::Relu => x,
        // In double: the functions are the processor's time here, and one rounding is better than two.
        rule => double(rule, f64::from(x)) as f32,
    }
}
