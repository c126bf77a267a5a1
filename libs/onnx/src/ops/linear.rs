//! Products with constant matrices: MatMul, Gemm, LinearRegressor, LinearClassifier.

use super::{Built, Op};
use crate::constant::Constant;
use crate::data::Data;
use crate::graph::Site;
use crate::kind::{Dtype, Kind};
use crate::post::{Transform, logistic};
use crate::signature::Labels;

/// `columns × weights + bias`.
#[derive(Debug)]
pub struct Affine {
    slot: usize,
    features: usize,
    targets: usize,
    /// Target by target.
    weights: Weights,
    transform: Transform,
}

#[derive(Debug)]
enum Weights {
    F32 { weights: Vec<f32>, bias: Vec<f32> },
    F64 { weights: Vec<f64>, bias: Vec<f64> },
}

/// Scores per class, and the label of the largest.
#[derive(Debug)]
pub struct LinearClassifier {
    scores: Affine,
    labels: Labels,
    /// One row of coefficients for two classes.
    binary: bool,
}

/// A constant `[features, targets]` (or its transpose) as weights, target by target.
fn matrix(constant: &Constant, transposed: bool, factor: f64) -> Result<(usize, usize, Vec<f64>), String> {
    let (rows, columns) = match constant.dims.as_slice() {
        [rows] => (*rows, 1),
        [rows, columns] => (*rows, *columns),
        dims => return Err(format!("a matrix of shape {dims:?}")),
    };
    let (features, targets) = if transposed { (columns, rows) } else { (rows, columns) };
    let at = |f: usize, t: usize| if transposed { t * features + f } else { f * targets + t };
    let cell = |i: usize| constant.data.number(i).map(|x| x * factor);
    let places = (0..targets).flat_map(|t| (0..features).map(move |f| (f, t)));
    let weights: Option<Vec<f64>> = places.map(|(f, t)| cell(at(f, t))).collect();
    Ok((features, targets, weights.ok_or("its matrix holds text")?))
}

fn affine(
    (slot, kind, columns): (usize, &Kind, usize),
    (features, targets, weights): (usize, usize, Vec<f64>),
    bias: Vec<f64>,
    transform: Transform,
) -> Result<Affine, String> {
    if columns != features {
        return Err(format!("{columns} columns for a matrix of {features}"));
    }
    let single = |cells: Vec<f64>| cells.into_iter().map(|x| x as f32).collect();
    let weights = match kind.dtype {
        Dtype::F64 => Weights::F64 { weights, bias },
        Dtype::F32 | Dtype::I64 | Dtype::Bool => {
            Weights::F32 { weights: single(weights), bias: single(bias) }
        }
        Dtype::Text => return Err("its input is text".to_owned()),
    };
    Ok(Affine { slot, features, targets, weights, transform })
}

/// MatMul with a constant on the right.
pub fn matmul(site: &Site<'_>) -> Result<Built, String> {
    let input = site.table(0)?;
    if !matches!(input.1.dtype, Dtype::F32 | Dtype::F64) {
        return Err(format!("its input is {}; float or double is supported", input.1.shown()));
    }
    let constant = site.constant(1)?;
    let matrix = matrix(constant, false, 1.0)?;
    let targets = matrix.1;
    let tail: &[usize] = if constant.dims.len() == 1 { &[] } else { &[targets] };
    let kind = Kind::new(input.1.dtype, tail);
    let op = affine(input, matrix, vec![0.0; targets], Transform::None)?;
    Ok(Built::step(Op::Affine(op), kind))
}

/// Gemm with constants.
pub fn gemm(site: &Site<'_>) -> Result<Built, String> {
    let input = site.table(0)?;
    if site.attributes.int("transA", 0)? != 0 {
        return Err("transA is not supported: rows must stay the first dimension".to_owned());
    }
    if !matches!(input.1.dtype, Dtype::F32 | Dtype::F64) {
        return Err(format!("its input is {}; float or double is supported", input.1.shown()));
    }
    let (alpha, beta) = (site.attributes.float("alpha", 1.0)?, site.attributes.float("beta", 1.0)?);
    let matrix = matrix(site.constant(1)?, site.attributes.int("transB", 0)? != 0, f64::from(alpha))?;
    let targets = matrix.1;
    let bias = match site.constant_if(2)? {
        None => vec![0.0; targets],
        Some(constant) => {
            let cells = constant.data.len();
            if cells != 1 && cells != targets {
                return Err(format!("its third input has {cells} cells for {targets} targets"));
            }
            let cell = |t: usize| constant.data.number(if cells == 1 { 0 } else { t });
            let bias: Option<Vec<f64>> = (0..targets).map(|t| cell(t).map(|x| x * f64::from(beta))).collect();
            bias.ok_or("its third input holds text")?
        }
    };
    let kind = Kind::new(input.1.dtype, &[targets]);
    Ok(Built::step(Op::Affine(affine(input, matrix, bias, Transform::None)?), kind))
}

/// The attributes of the linear models: `targets` rows of coefficients.
fn coefficients(site: &Site<'_>, targets: usize) -> Result<(usize, usize, Vec<f64>), String> {
    let coefficients = site.attributes.floats("coefficients")?;
    if targets == 0 || coefficients.is_empty() || !coefficients.len().is_multiple_of(targets) {
        return Err(format!("{} coefficients for {targets} targets", coefficients.len()));
    }
    let weights = coefficients.iter().map(|&x| f64::from(x)).collect();
    Ok((coefficients.len() / targets, targets, weights))
}

fn intercepts(site: &Site<'_>, targets: usize) -> Result<Vec<f64>, String> {
    let given = site.attributes.floats("intercepts")?;
    match given.len() {
        0 => Ok(vec![0.0; targets]),
        n if n == targets => Ok(given.iter().map(|&x| f64::from(x)).collect()),
        n => Err(format!("{n} intercepts for {targets} targets")),
    }
}

/// The linear models compute in float, whatever comes in.
fn as_float<'a>(
    (slot, kind, columns): (usize, &'a Kind, usize),
    float: &'a Kind,
) -> Result<(usize, &'a Kind, usize), String> {
    if kind.dtype == Dtype::Text { Err("its input is text".to_owned()) } else { Ok((slot, float, columns)) }
}

/// LinearRegressor
pub fn regressor(site: &Site<'_>) -> Result<Built, String> {
    let targets = usize::try_from(site.attributes.int("targets", 1)?).unwrap_or(0);
    let transform = Transform::of(site.attributes)?;
    let float = Kind::new(Dtype::F32, &[]);
    let input = as_float(site.table(0)?, &float)?;
    let op = affine(input, coefficients(site, targets)?, intercepts(site, targets)?, transform)?;
    Ok(Built::step(Op::Affine(op), Kind::new(Dtype::F32, &[targets])))
}

/// The labels of a classifier, whatever their attribute is called.
pub fn labels(site: &Site<'_>, ints: &str) -> Result<Labels, String> {
    let names = site.attributes.texts("classlabels_strings")?;
    if names.is_empty() {
        Ok(Labels::Ints(site.attributes.ints(ints)?.to_vec()))
    } else {
        Ok(Labels::Texts(names))
    }
}

/// LinearClassifier
pub fn classifier(site: &Site<'_>) -> Result<Built, String> {
    let labels = labels(site, "classlabels_ints")?;
    let rows = match site.attributes.floats("intercepts")?.len() {
        0 if labels.len() == 2 => {
            return Err("it has no intercepts, so its rows of coefficients are unknown".to_owned());
        }
        0 => labels.len(),
        n => n,
    };
    let binary = rows == 1 && labels.len() == 2;
    if !binary && labels.len() != rows {
        return Err(format!("{} classes for {rows} rows of coefficients", labels.len()));
    }
    let float = Kind::new(Dtype::F32, &[]);
    let input = as_float(site.table(0)?, &float)?;
    let transform = Transform::of(site.attributes)?;
    let scores = affine(input, coefficients(site, rows)?, intercepts(site, rows)?, transform)?;
    let label = if matches!(labels, Labels::Ints(_)) { Dtype::I64 } else { Dtype::Text };
    let kinds = vec![Kind::new(label, &[]), Kind::new(Dtype::F32, &[labels.len()])];
    let classes = Some(labels.clone());
    Ok(Built::Step { op: Op::Linear(LinearClassifier { scores, labels, binary }), kinds, classes })
}

impl Affine {
    pub fn run(&self, slots: &[Data], rows: usize, out: &mut Data) {
        match &self.weights {
            Weights::F64 { weights, bias } => {
                let mut cells = out.take_f64();
                self.double(slots[self.slot].f64s(), weights, bias, rows, &mut cells);
                *out = Data::F64(cells);
            }
            Weights::F32 { .. } => {
                let mut cells = out.take_f32();
                self.single(slots, rows, &mut cells);
                self.transform.apply(&mut cells, rows);
                *out = Data::F32(cells);
            }
        }
    }

    fn double(&self, from: &[f64], weights: &[f64], bias: &[f64], rows: usize, out: &mut Vec<f64>) {
        for t in 0..self.targets {
            let start = out.len();
            out.resize(start + rows, bias[t]);
            for f in 0..self.features {
                let weight = weights[t * self.features + f];
                let column = &from[f * rows..(f + 1) * rows];
                out[start..].iter_mut().zip(column).for_each(|(sum, x)| *sum += weight * x);
            }
        }
    }

    fn single(&self, slots: &[Data], rows: usize, out: &mut Vec<f32>) {
        let Weights::F32 { weights, bias } = &self.weights else { return };
        let from = &slots[self.slot];
        for t in 0..self.targets {
            let start = out.len();
            out.resize(start + rows, bias[t]);
            for f in 0..self.features {
                let weight = weights[t * self.features + f];
                let sums = &mut out[start..];
                let range = f * rows..(f + 1) * rows;
                match from {
                    Data::F32(cells) => {
                        sums.iter_mut().zip(&cells[range]).for_each(|(s, x)| *s += weight * x)
                    }
                    other => sums.iter_mut().zip(range).for_each(|(s, i)| {
                        *s += weight * other.number(i).unwrap_or(f64::NAN) as f32;
                    }),
                }
            }
        }
    }
}

impl LinearClassifier {
    pub fn run(&self, slots: &[Data], rows: usize, out: &mut [Data; 2], wanted: [bool; 2]) {
        let mut scores = out[1].take_f32();
        self.scores.single(slots, rows, &mut scores);
        if wanted[0] {
            let winner = |row: usize| {
                if self.binary {
                    return usize::from(scores[row] > 0.0);
                }
                let (mut best, mut at) = (scores[row], 0);
                for class in 1..self.labels.len() {
                    if scores[class * rows + row] > best {
                        (best, at) = (scores[class * rows + row], class);
                    }
                }
                at
            };
            put_labels(&self.labels, rows, winner, &mut out[0]);
        }
        if self.binary {
            second_class(&mut scores, rows, self.scores.transform);
        } else {
            self.scores.transform.apply(&mut scores, rows);
        }
        out[1] = Data::F32(scores);
    }
}

/// One score for two classes: the second column is the positive class, the first what is left.
fn second_class(scores: &mut Vec<f32>, rows: usize, transform: Transform) {
    scores.extend_from_within(..rows);
    let (first, second) = scores.split_at_mut(rows);
    for (a, b) in first.iter_mut().zip(second) {
        let score = *b;
        (*a, *b) = match transform {
            Transform::Logistic => (logistic(-score), logistic(score)),
            _ => (1.0 - score, score),
        };
    }
}

/// The label of the winning class of each row.
pub fn put_labels(labels: &Labels, rows: usize, winner: impl Fn(usize) -> usize, out: &mut Data) {
    match labels {
        Labels::Ints(labels) => {
            let mut cells = out.take_i64();
            cells.extend((0..rows).map(|row| labels[winner(row)]));
            *out = Data::I64(cells);
        }
        Labels::Texts(labels) => {
            let mut cells = out.take_text();
            (0..rows).for_each(|row| cells.push(&labels[winner(row)]));
            *out = Data::Text(cells);
        }
    }
}
