//! Arithmetic over two operands or more.

use super::{NUMBERS, OfNumbers, Operand, by_type, one_type, operands, zip};
use crate::data::Data;
use crate::graph::Site;
use crate::kind::{Dtype, Kind};
use crate::ops::{Built, Op};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Max,
    Min,
}

/// `a op b`, and for Sum, Max and Min further operands.
#[derive(Debug)]
pub struct Arithmetic {
    rule: Rule,
    dtype: Dtype,
    operands: Vec<Operand>,
    columns: usize,
}

/// Numbers that arithmetic is defined on.
pub(super) trait Number: Copy {
    fn apply(rule: Rule, a: Self, b: Self) -> Self;
}

macro_rules! float_number {
    ($float:ty) => {
        impl Number for $float {
            #[inline(always)]
            fn apply(rule: Rule, a: Self, b: Self) -> Self {
                match rule {
                    Rule::Add => a + b,
                    Rule::Sub => a - b,
                    Rule::Mul => a * b,
                    Rule::Div => a / b,
                    Rule::Pow => a.powf(b),
                    Rule::Max if a > b || a.is_nan() => a,
                    Rule::Min if a < b || a.is_nan() => a,
                    Rule::Max | Rule::Min => b,
                }
            }
        }
    };
}
float_number!(f32);
float_number!(f64);

impl Number for i64 {
    #[inline(always)]
    fn apply(rule: Rule, a: Self, b: Self) -> Self {
        match rule {
            Rule::Add => a.wrapping_add(b),
            Rule::Sub => a.wrapping_sub(b),
            Rule::Mul => a.wrapping_mul(b),
            // A division by zero is undefined in ONNX; it must not end the process.
            Rule::Div => a.checked_div(b).unwrap_or(0),
            Rule::Pow => (a as f64).powf(b as f64) as Self,
            Rule::Max => a.max(b),
            Rule::Min => a.min(b),
        }
    }
}

/// Add, Sub, Mul, Div, Pow; Sum, Max, Min.
pub fn arithmetic(op: &str, site: &Site<'_>) -> Result<Option<Built>, String> {
    let (rule, variadic) = match op {
        "Add" => (Rule::Add, false),
        "Sub" => (Rule::Sub, false),
        "Mul" => (Rule::Mul, false),
        "Div" => (Rule::Div, false),
        "Pow" => (Rule::Pow, false),
        "Sum" => (Rule::Add, true),
        "Max" => (Rule::Max, true),
        "Min" => (Rule::Min, true),
        _ => return Ok(None),
    };
    let given = site.inputs.len();
    if variadic && given == 1 {
        return Ok(Some(Built::Same(site.input(0)?.clone())));
    }
    if given < 2 || (!variadic && given != 2) {
        return Err(format!("it has {given} inputs"));
    }
    let (operands, dtypes, tail) = operands(site)?;
    let dtype = one_type(&dtypes, NUMBERS)?;
    let kind = Kind::new(dtype, &tail);
    let columns = kind.width();
    Ok(Some(Built::step(Op::Arithmetic(Arithmetic { rule, dtype, operands, columns }), kind)))
}

impl Arithmetic {
    pub fn run(&self, slots: &[Data], rows: usize, out: &mut Data) {
        by_type(self, self.dtype, slots, rows, out);
    }
}

impl OfNumbers for Arithmetic {
    fn all<T: Number>(&self, slots: &[Data], rows: usize, out: &mut Vec<T>, cells: fn(&Data) -> &[T]) {
        let [first, second, more @ ..] = self.operands.as_slice() else { return };
        for column in 0..self.columns {
            let (a, b) = (first.lane(slots, column, rows, cells), second.lane(slots, column, rows, cells));
            // One loop per rule, so that each is a loop of one instruction.
            match self.rule {
                Rule::Add => zip(a, b, rows, out, |a, b| T::apply(Rule::Add, a, b)),
                Rule::Sub => zip(a, b, rows, out, |a, b| T::apply(Rule::Sub, a, b)),
                Rule::Mul => zip(a, b, rows, out, |a, b| T::apply(Rule::Mul, a, b)),
                Rule::Div => zip(a, b, rows, out, |a, b| T::apply(Rule::Div, a, b)),
                rule => zip(a, b, rows, out, |a, b| T::apply(rule, a, b)),
            }
            for operand in more {
                let lane = operand.lane(slots, column, rows, cells);
                let made = &mut out[column * rows..];
                made.iter_mut().enumerate().for_each(|(row, x)| *x = T::apply(self.rule, *x, lane.at(row)));
            }
        }
    }
}
