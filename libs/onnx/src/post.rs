//! post_transform: what a classifier or regressor does to its scores at the end.
//!
//! Owns: the five transforms, as onnxruntime computes them. Never: which label wins.

use crate::attributes::Attributes;

/// The transforms of ai.onnx.ml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    None,
    Logistic,
    Softmax,
    SoftmaxZero,
    Probit,
}

impl Transform {
    pub fn of(attributes: Attributes<'_>) -> Result<Self, String> {
        Ok(match attributes.text("post_transform", "NONE")? {
            "NONE" => Self::None,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX" => Self::Softmax,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            other => return Err(format!("post_transform {other:?} is not known")),
        })
    }

    /// Transforms the scores of each row in place; `scores` lie column by column.
    pub fn apply(self, scores: &mut [f32], rows: usize) {
        match self {
            Self::None => {}
            Self::Logistic => scores.iter_mut().for_each(|x| *x = logistic(*x)),
            Self::Probit => scores.iter_mut().for_each(|x| *x = probit(*x)),
            Self::Softmax => (0..rows).for_each(|row| softmax(scores, rows, row, false)),
            Self::SoftmaxZero => (0..rows).for_each(|row| softmax(scores, rows, row, true)),
        }
    }
}

/// 1 / (1 + e^-x), computed on the side where it does not overflow.
pub fn logistic(x: f32) -> f32 {
    let v = 1.0 / (1.0 + (-x.abs()).exp());
    if x < 0.0 { 1.0 - v } else { v }
}

/// The probit by Winitzki's approximation of the inverse error function, as onnxruntime has it: an exact one
/// would give other scores than the users of a model see elsewhere.
pub fn probit(p: f32) -> f32 {
    const A: f32 = 0.147;
    let x = 2.0 * p - 1.0;
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let half = 2.0 / (std::f32::consts::PI * A) + 0.5 * log;
    let root = (-half + (half * half - log / A).sqrt()).sqrt();
    std::f32::consts::SQRT_2 * if x < 0.0 { -root } else { root }
}

/// `skip_zeros`: scores of zero stay zero (SOFTMAX_ZERO).
fn softmax(scores: &mut [f32], rows: usize, row: usize, skip_zeros: bool) {
    let top = scores.iter().skip(row).step_by(rows).fold(f32::MIN, |a, &b| if b > a { b } else { a });
    let mut sum = 0.0;
    for x in scores.iter_mut().skip(row).step_by(rows) {
        if skip_zeros && x.abs() <= 0.000_000_1 {
            *x *= (-top).exp();
        } else {
            *x = (*x - top).exp();
            sum += *x;
        }
    }
    scores.iter_mut().skip(row).step_by(rows).for_each(|x| *x /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logistic_keeps_its_digits_far_out() {
        assert_eq!(logistic(0.0), 0.5);
        assert!(logistic(-100.0) < 1e-6 && logistic(100.0) == 1.0);
        assert!((logistic(1.5) + logistic(-1.5) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn each_row_is_a_softmax_of_its_own() {
        let mut scores = vec![0.0, 1.0, 0.0, 3.0]; // two rows, two columns
        Transform::Softmax.apply(&mut scores, 2);
        assert!((scores[0] - 0.5).abs() < 1e-6 && (scores[1] + scores[3] - 1.0).abs() < 1e-6, "{scores:?}");
    }
}
