//! Comparisons, And and Or, and the choice between two values.

use super::arithmetic::Number;
use super::{NUMBERS, OfNumbers, Operand, by_type, one_type, operands, zip};
use crate::data::Data;
use crate::graph::{Place, Site};
use crate::kind::{Dtype, Kind};
use crate::ops::{Built, Op};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
}

/// Two operands, a bool.
#[derive(Debug)]
pub struct Compare {
    rule: Rule,
    dtype: Dtype,
    a: Operand,
    b: Operand,
    columns: usize,
}

/// A condition and two operands.
#[derive(Debug)]
pub struct Where {
    dtype: Dtype,
    condition: Operand,
    yes: Operand,
    no: Operand,
    columns: usize,
}

/// Equal, Less, LessOrEqual, Greater, GreaterOrEqual, And, Or
pub fn compare(op: &str, site: &Site<'_>) -> Result<Built, String> {
    let rule = match op {
        "Equal" => Rule::Equal,
        "Less" => Rule::Less,
        "LessOrEqual" => Rule::LessOrEqual,
        "Greater" => Rule::Greater,
        "GreaterOrEqual" => Rule::GreaterOrEqual,
        "And" => Rule::And,
        _ => Rule::Or,
    };
    let (operands, dtypes, tail) = operands(site)?;
    let allowed = if matches!(rule, Rule::And | Rule::Or) { &[Dtype::Bool][..] } else { NUMBERS };
    let dtype = one_type(&dtypes, allowed)?;
    let [a, b] = <[Operand; 2]>::try_from(operands).map_err(|_| "it takes two operands".to_owned())?;
    let kind = Kind::new(Dtype::Bool, &tail);
    let columns = kind.width();
    Ok(Built::step(Op::Compare(Compare { rule, dtype, a, b, columns }), kind))
}

/// Where
pub fn build_where(site: &Site<'_>) -> Result<Built, String> {
    let (operands, dtypes, tail) = operands(site)?;
    let dtype = one_type(dtypes.get(1..).unwrap_or_default(), NUMBERS)?;
    if dtypes.first() != Some(&Dtype::Bool) {
        return Err("its condition must be bool".to_owned());
    }
    if !matches!(site.input(0)?.place, Place::Slot(..)) {
        return Err("its condition must have one entry per row".to_owned());
    }
    let [condition, yes, no] =
        <[Operand; 3]>::try_from(operands).map_err(|_| "it takes three operands".to_owned())?;
    let kind = Kind::new(dtype, &tail);
    let columns = kind.width();
    Ok(Built::step(Op::Where(Where { dtype, condition, yes, no, columns }), kind))
}

impl Compare {
    pub fn run(&self, slots: &[Data], rows: usize, out: &mut Data) {
        let mut cells = out.take_bool();
        match self.dtype {
            Dtype::F32 => self.ordered(slots, rows, &mut cells, Data::f32s),
            Dtype::F64 => self.ordered(slots, rows, &mut cells, Data::f64s),
            Dtype::I64 => self.ordered(slots, rows, &mut cells, Data::i64s),
            _ => {
                for column in 0..self.columns {
                    let a = self.a.lane(slots, column, rows, Data::bools);
                    let b = self.b.lane(slots, column, rows, Data::bools);
                    let or = self.rule == Rule::Or;
                    zip(a, b, rows, &mut cells, |a, b| if or { a || b } else { a && b });
                }
            }
        }
        *out = Data::Bool(cells);
    }

    fn ordered<T: Copy + PartialOrd>(
        &self,
        slots: &[Data],
        rows: usize,
        out: &mut Vec<bool>,
        cells: fn(&Data) -> &[T],
    ) {
        for column in 0..self.columns {
            let a = self.a.lane(slots, column, rows, cells);
            let b = self.b.lane(slots, column, rows, cells);
            match self.rule {
                Rule::Less => zip(a, b, rows, out, |a, b| a < b),
                Rule::LessOrEqual => zip(a, b, rows, out, |a, b| a <= b),
                Rule::Greater => zip(a, b, rows, out, |a, b| a > b),
                Rule::GreaterOrEqual => zip(a, b, rows, out, |a, b| a >= b),
                Rule::Equal | Rule::And | Rule::Or => zip(a, b, rows, out, |a, b| a == b),
            }
        }
    }
}

impl Where {
    pub fn run(&self, slots: &[Data], rows: usize, out: &mut Data) {
        by_type(self, self.dtype, slots, rows, out);
    }
}

impl OfNumbers for Where {
    fn all<T: Number>(&self, slots: &[Data], rows: usize, out: &mut Vec<T>, cells: fn(&Data) -> &[T]) {
        for column in 0..self.columns {
            let condition = self.condition.lane(slots, column, rows, Data::bools);
            let yes = self.yes.lane(slots, column, rows, cells);
            let no = self.no.lane(slots, column, rows, cells);
            out.extend((0..rows).map(|row| if condition.at(row) { yes.at(row) } else { no.at(row) }));
        }
    }
}
