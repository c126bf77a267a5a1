//! The operators: built once at load from attributes and known shapes, then run block by block.
//!
//! Owns: the closed list of operators. Never: a shape decided at run time.

mod cast;
mod columns;
mod elementwise;
mod encode;
mod linear;
mod lookup;
mod prepare;
mod reduce;
mod shape;

pub use linear::{labels, put_labels};

use crate::data::Data;
use crate::graph::{Known, Place, Site};
use crate::kind::Kind;
use crate::signature::Labels;
use crate::tree::Ensemble;

const ML: &str = "ai.onnx.ml";

/// Every operator: its domain and name.
pub const NAMES: &[(&str, &str)] = &[
    ("", "Abs"),
    ("", "Add"),
    ("", "And"),
    ("", "ArgMax"),
    ("", "ArgMin"),
    ("", "Cast"),
    ("", "Ceil"),
    ("", "Clip"),
    ("", "Concat"),
    ("", "Constant"),
    ("", "ConstantOfShape"),
    ("", "Div"),
    ("", "Equal"),
    ("", "Exp"),
    ("", "Flatten"),
    ("", "Floor"),
    ("", "Gather"),
    ("", "Gemm"),
    ("", "Greater"),
    ("", "GreaterOrEqual"),
    ("", "Identity"),
    ("", "IsNaN"),
    ("", "Less"),
    ("", "LessOrEqual"),
    ("", "Log"),
    ("", "MatMul"),
    ("", "Max"),
    ("", "Min"),
    ("", "Mul"),
    ("", "Neg"),
    ("", "Not"),
    ("", "Or"),
    ("", "Pow"),
    ("", "Reciprocal"),
    ("", "ReduceLogSumExp"),
    ("", "ReduceMax"),
    ("", "ReduceMean"),
    ("", "ReduceMin"),
    ("", "ReduceProd"),
    ("", "ReduceSum"),
    ("", "ReduceSumSquare"),
    ("", "Relu"),
    ("", "Reshape"),
    ("", "Shape"),
    ("", "Sigmoid"),
    ("", "Softmax"),
    ("", "Sqrt"),
    ("", "Squeeze"),
    ("", "Sub"),
    ("", "Sum"),
    ("", "Tanh"),
    ("", "Unsqueeze"),
    ("", "Where"),
    (ML, "ArrayFeatureExtractor"),
    (ML, "Binarizer"),
    (ML, "FeatureVectorizer"),
    (ML, "Imputer"),
    (ML, "LabelEncoder"),
    (ML, "LinearClassifier"),
    (ML, "LinearRegressor"),
    (ML, "Normalizer"),
    (ML, "OneHotEncoder"),
    (ML, "Scaler"),
    (ML, "TreeEnsembleClassifier"),
    (ML, "TreeEnsembleRegressor"),
    (ML, "ZipMap"),
];

/// An operator that is ready to run.
#[derive(Debug)]
pub enum Op {
    Cast(cast::Cast),
    Pick(columns::Pick),
    Fill(columns::Fill),
    Lookup(lookup::Lookup),
    Unary(elementwise::Unary),
    Clip(elementwise::Clip),
    Arithmetic(elementwise::Arithmetic),
    Compare(elementwise::Compare),
    Where(elementwise::Where),
    Reduce(reduce::Reduce),
    Extreme(reduce::Extreme),
    Rows(reduce::RowWise),
    Affine(linear::Affine),
    Linear(linear::LinearClassifier),
    Scaler(prepare::Scaler),
    Imputer(prepare::Imputer),
    Binarizer(prepare::Binarizer),
    OneHot(encode::OneHot),
    Labels(encode::LabelEncoder),
    Trees(Box<Ensemble>),
}

/// What a node becomes.
#[derive(Debug)]
pub enum Built {
    /// Another name for a value that is there.
    Same(Known),
    /// Work, and the kinds of its outputs; the classes of its second output's columns.
    Step { op: Op, kinds: Vec<Kind>, classes: Option<Labels> },
}

impl Built {
    pub fn step(op: Op, kind: Kind) -> Self {
        Self::Step { op, kinds: vec![kind], classes: None }
    }

    fn place(place: Place) -> Self {
        Self::Same(Known { place, classes: None })
    }
}

/// A value that an operator refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// The row in the block.
    pub row: usize,
    pub reason: String,
}

/// Builds a node's operator. `Err`: why it cannot be done.
pub fn build(domain: &str, op: &str, site: &Site<'_>) -> Result<Built, String> {
    if domain == ML {
        return build_ml(op, site);
    }
    match op {
        "Identity" => Ok(Built::Same(site.input(0)?.clone())),
        "Constant" => shape::constant(site),
        "Shape" => shape::shape(site),
        "ConstantOfShape" => shape::constant_of_shape(site),
        "Reshape" => shape::reshape(site),
        "Flatten" => shape::flatten(site),
        "Squeeze" => shape::squeeze(site),
        "Unsqueeze" => shape::unsqueeze(site),
        "Cast" => cast::build(site),
        "Concat" => columns::concat(site),
        "Gather" => columns::gather(site),
        "ArgMax" | "ArgMin" => reduce::extreme(op, site),
        "Softmax" => reduce::softmax(site),
        "MatMul" => linear::matmul(site),
        "Gemm" => linear::gemm(site),
        "Where" => elementwise::build_where(site),
        "Clip" => elementwise::clip(site),
        _ if op.starts_with("Reduce") => reduce::build(op, site),
        _ => {
            if let Some(built) = elementwise::unary(op, site)? {
                return Ok(built);
            }
            match elementwise::arithmetic(op, site)? {
                Some(built) => Ok(built),
                None => elementwise::compare(op, site),
            }
        }
    }
}

fn build_ml(op: &str, site: &Site<'_>) -> Result<Built, String> {
    match op {
        "ArrayFeatureExtractor" => columns::extract(site),
        "Binarizer" => prepare::binarizer(site),
        "FeatureVectorizer" => prepare::vectorizer(site),
        "Imputer" => prepare::imputer(site),
        "LabelEncoder" => encode::label_encoder(site),
        "LinearClassifier" => linear::classifier(site),
        "LinearRegressor" => linear::regressor(site),
        "Normalizer" => reduce::normalizer(site),
        "OneHotEncoder" => encode::one_hot(site),
        "Scaler" => prepare::scaler(site),
        "ZipMap" => shape::zip_map(site),
        "TreeEnsembleClassifier" => crate::tree::classifier(site),
        _ => crate::tree::regressor(site),
    }
}

/// Runs an operator over a block. `out`: the memory of its outputs, as it was left; `wanted`: which of them
/// anybody reads.
pub fn run(
    op: &Op,
    slots: &[Data],
    rows: usize,
    out: &mut [Data; 2],
    wanted: [bool; 2],
) -> Result<(), RowError> {
    match op {
        Op::Cast(op) => return op.run(slots, rows, &mut out[0]),
        Op::Pick(op) => op.run(slots, rows, &mut out[0]),
        Op::Fill(op) => op.run(rows, &mut out[0]),
        Op::Lookup(op) => return op.run(slots, rows, &mut out[0]),
        Op::Unary(op) => op.run(slots, &mut out[0]),
        Op::Clip(op) => op.run(slots, &mut out[0]),
        Op::Arithmetic(op) => op.run(slots, rows, &mut out[0]),
        Op::Compare(op) => op.run(slots, rows, &mut out[0]),
        Op::Where(op) => op.run(slots, rows, &mut out[0]),
        Op::Reduce(op) => op.run(slots, rows, &mut out[0]),
        Op::Extreme(op) => op.run(slots, rows, &mut out[0]),
        Op::Rows(op) => op.run(slots, rows, &mut out[0]),
        Op::Affine(op) => op.run(slots, rows, &mut out[0]),
        Op::Linear(op) => op.run(slots, rows, out, wanted),
        Op::Scaler(op) => op.run(slots, rows, &mut out[0]),
        Op::Imputer(op) => op.run(slots, rows, &mut out[0]),
        Op::Binarizer(op) => return op.run(slots, rows, &mut out[0]),
        Op::OneHot(op) => return op.run(slots, rows, &mut out[0]),
        Op::Labels(op) => op.run(slots, &mut out[0]),
        Op::Trees(op) => op.run(slots, rows, out, wanted),
    }
    Ok(())
}
