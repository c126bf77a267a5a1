//! A model that onnxruntime runs, one row after the other.

use crate::library::Library;
use evenkeel_onnx::proto::{Message, Node, Value};
use evenkeel_onnx::{Column, Data, Dtype, InputSpec, Labels, LoadError, OutputSpec, RunError, Signature};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynMapValueType, DynValue, Outlet, Tensor, TensorElementType, ValueType};
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

/// A model that is ready to run.
#[derive(Debug)]
pub struct Foreign {
    signature: Signature,
    feeds: Vec<Feed>,
    file: Vec<u8>,
    library: Arc<Library>,
    /// A session runs one row at a time; as many are made as threads ask at once.
    idle: Mutex<Vec<Session>>,
}

/// Why onnxruntime does not run a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForeignError {
    /// No ONNX, beyond the limits of a file, or an input that cannot be served.
    #[error(transparent)]
    Read(#[from] LoadError),
    /// onnxruntime refuses it.
    #[error("onnxruntime cannot load it: {0}")]
    Refused(String),
}

/// The type and shape of an input, with 1 for the rows.
#[derive(Debug)]
struct Feed {
    of: TensorElementType,
    shape: Vec<i64>,
    columns: usize,
}

impl Foreign {
    /// Reads a model file.
    pub fn load(file: &[u8], library: &Arc<Library>) -> Result<Self, ForeignError> {
        let message = Message::read(file)?;
        let mut session = session(file, library).map_err(ForeignError::Refused)?;
        let (mut inputs, mut feeds) = (Vec::new(), Vec::new());
        for outlet in session.inputs() {
            let (spec, feed) = input(outlet)?;
            inputs.push(spec);
            feeds.push(feed);
        }
        let outputs = outputs(&mut session, &feeds, &message.graph.nodes)?;
        Ok(Self {
            signature: Signature::new(inputs, outputs, &message),
            feeds,
            file: file.to_vec(),
            library: Arc::clone(library),
            idle: Mutex::new(vec![session]),
        })
    }

    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Gives only output `index` from now on. Past the end: no change.
    #[must_use]
    pub fn only(mut self, index: usize) -> Self {
        self.signature.keep(index);
        self
    }

    /// Runs rows, as [`evenkeel_onnx::Model::run`] does.
    pub fn run(&self, columns: &[Column<'_>], rows: usize, into: &mut Vec<Data>) -> Result<(), RunError> {
        self.signature.check(columns, rows)?;
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = idle().pop();
        let mut session = match spare {
            Some(session) => session,
            None => session(&self.file, &self.library).map_err(|reason| RunError::Row { row: 0, reason })?,
        };
        let mut answers: Vec<Vec<Data>> = vec![Vec::new(); self.signature.outputs().len()];
        let done = (0..rows).try_for_each(|row| {
            let failed = |reason: String| RunError::Row { row, reason };
            let feed = row_of(&self.feeds, columns, row);
            for (of, data) in answers.iter_mut().zip(self.once(&mut session, feed).map_err(failed)?) {
                of.push(data);
            }
            Ok(())
        });
        idle().push(session);
        done?;
        into.clear();
        into.extend(self.signature.outputs().iter().zip(&answers).map(|(spec, rows)| by_columns(spec, rows)));
        Ok(())
    }

    /// Every output's answer to one row.
    fn once(&self, session: &mut Session, feed: Row) -> Result<Vec<Data>, String> {
        let made = answer(session, feed)?;
        let data = |spec: &OutputSpec| {
            let (_, value) =
                made.iter().find(|(name, _)| *name == spec.name).ok_or("an output is missing")?;
            let data = read(value, spec.classes.as_ref())?;
            match data.len() == spec.columns && data.dtype() == spec.dtype {
                true => Ok(data),
                false => Err(format!(
                    "output {:?} has {} cells, {} were to come",
                    spec.name,
                    data.len(),
                    spec.columns
                )),
            }
        };
        self.signature.outputs().iter().map(data).collect()
    }
}

/// One row: a value per input.
type Row = Result<Vec<DynValue>, String>;

fn session(file: &[u8], library: &Library) -> Result<Session, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let builder = Session::builder(&library.environment).map_err(|e| text(&e))?;
    let builder = builder.with_intra_threads(1).map_err(|e| text(&e))?;
    let builder = builder.with_inter_threads(1).map_err(|e| text(&e))?;
    let mut builder = builder.with_intra_op_spinning(false).map_err(|e| text(&e))?;
    builder.commit_from_memory(file).map_err(|e| text(&e))
}

fn answer(session: &mut Session, row: Row) -> Result<Vec<(String, DynValue)>, String> {
    let names: Vec<String> = session.inputs().iter().map(|outlet| outlet.name().to_owned()).collect();
    let feed: Vec<(Cow<'_, str>, SessionInputValue<'_>)> =
        names.iter().zip(row?).map(|(name, value)| (name.as_str().into(), value.into())).collect();
    let made = session.run(feed).map_err(|e| e.to_string())?;
    Ok(made.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn input(outlet: &Outlet) -> Result<(InputSpec, Feed), LoadError> {
    let refused = |reason: &str| LoadError::Port {
        which: "input",
        name: outlet.name().to_owned(),
        reason: reason.to_owned(),
    };
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else { return Err(refused("it is no tensor")) };
    let dtype =
        dtype(*ty).ok_or_else(|| refused("its type is none of float, double, int32, int64, bool, string"))?;
    if shape.is_empty() || shape.iter().filter(|&&dim| dim < 0).count() > 1 {
        return Err(refused("its shape must be known but for one dimension, the rows"));
    }
    let shape: Vec<i64> = shape.iter().map(|&dim| if dim < 0 { 1 } else { dim }).collect();
    let columns = shape.iter().try_fold(1_usize, |n, &dim| n.checked_mul(usize::try_from(dim).ok()?));
    let columns = columns.filter(|&n| n <= evenkeel_onnx::limits::COLUMNS_MAX);
    let columns = columns.ok_or_else(|| refused("it has more columns than the limit"))?;
    let spec = InputSpec { name: outlet.name().to_owned(), dtype, columns };
    Ok((spec, Feed { of: *ty, shape, columns }))
}

/// What the outputs are, as a row of zeros shows it: files often do not say.
fn outputs(
    session: &mut Session,
    feeds: &[Feed],
    nodes: &[Node<'_>],
) -> Result<Vec<OutputSpec>, ForeignError> {
    let failed = |reason| ForeignError::Refused(format!("a row of zeros: {reason}"));
    let zeros: Vec<Cells> = feeds.iter().map(Cells::zeros).collect();
    let feed = feeds.iter().zip(zeros).map(|(feed, cells)| cells.value(feed)).collect();
    let spec = |(name, value): (String, DynValue)| {
        let classes = nodes.iter().find(|node| node.outputs.contains(&name.as_str())).and_then(classes);
        let data = read(&value, classes.as_ref()).map_err(failed)?;
        Ok(OutputSpec { name, dtype: data.dtype(), columns: data.len(), classes })
    };
    answer(session, feed).map_err(failed)?.into_iter().map(spec).collect()
}

/// The classes that a ZipMap names.
fn classes(node: &Node<'_>) -> Option<Labels> {
    let labels = |attribute: &evenkeel_onnx::proto::Attribute<'_>| match (attribute.name, &attribute.value) {
        ("classlabels_int64s", Value::Ints(labels)) => Some(Labels::Ints(labels.clone())),
        ("classlabels_strings", Value::Texts(labels)) => Some(Labels::Texts(
            labels.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect(),
        )),
        _ => None,
    };
    if node.op == "ZipMap" { node.attributes.iter().find_map(labels) } else { None }
}

fn dtype(of: TensorElementType) -> Option<Dtype> {
    Some(match of {
        TensorElementType::Float32 => Dtype::F32,
        TensorElementType::Float64 => Dtype::F64,
        TensorElementType::Int64 | TensorElementType::Int32 => Dtype::I64,
        TensorElementType::Bool => Dtype::Bool,
        TensorElementType::String => Dtype::Text,
        _ => return None,
    })
}

/// The cells of one input's row.
enum Cells {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    Bool(Vec<bool>),
    Text(Vec<String>),
}

impl Cells {
    fn zeros(feed: &Feed) -> Self {
        let n = feed.columns;
        match dtype(feed.of) {
            Some(Dtype::F64) => Self::F64(vec![0.0; n]),
            Some(Dtype::I64) => Self::I64(vec![0; n]),
            Some(Dtype::Bool) => Self::Bool(vec![false; n]),
            Some(Dtype::Text) => Self::Text(vec![String::new(); n]),
            Some(Dtype::F32) | None => Self::F32(vec![0.0; n]),
        }
    }

    /// The cells of columns, whose types were checked.
    fn of(columns: &[Column<'_>], feed: &Feed, row: usize) -> Self {
        let mut cells = Self::zeros(feed);
        for (at, column) in columns.iter().enumerate() {
            match (&mut cells, column) {
                (Self::F32(to), Column::F32(from)) => to[at] = from[row],
                (Self::F64(to), Column::F64(from)) => to[at] = from[row],
                (Self::I64(to), Column::I64(from)) => to[at] = from[row],
                (Self::Bool(to), Column::Bool(from)) => to[at] = from[row],
                (Self::Text(to), Column::Text(from)) => to[at].clone_from(&from[row]),
                _ => {}
            }
        }
        cells
    }

    fn value(self, feed: &Feed) -> Result<DynValue, String> {
        let shape = feed.shape.clone();
        let value = match self {
            Self::F32(cells) => Tensor::from_array((shape, cells)).map(Tensor::into_dyn),
            Self::F64(cells) => Tensor::from_array((shape, cells)).map(Tensor::into_dyn),
            Self::I64(cells) if feed.of == TensorElementType::Int32 => {
                let cells: Vec<i32> = cells.iter().map(|&i| i as i32).collect();
                Tensor::from_array((shape, cells)).map(Tensor::into_dyn)
            }
            Self::I64(cells) => Tensor::from_array((shape, cells)).map(Tensor::into_dyn),
            Self::Bool(cells) => Tensor::from_array((shape, cells)).map(Tensor::into_dyn),
            Self::Text(cells) => Tensor::from_string_array((shape, cells.as_slice())).map(Tensor::into_dyn),
        };
        value.map_err(|e| e.to_string())
    }
}

fn row_of(feeds: &[Feed], columns: &[Column<'_>], row: usize) -> Row {
    let mut rest = columns;
    let mut values = Vec::with_capacity(feeds.len());
    for feed in feeds {
        let (own, others) = rest.split_at(feed.columns);
        rest = others;
        values.push(Cells::of(own, feed, row).value(feed)?);
    }
    Ok(values)
}

/// The cells of an answer; of a ZipMap in the order of its classes.
fn read(value: &DynValue, classes: Option<&Labels>) -> Result<Data, String> {
    let text = |e: ort::Error| e.to_string();
    match value.dtype() {
        ValueType::Tensor { ty, .. } => Ok(match ty {
            TensorElementType::Float32 => {
                Data::F32(value.try_extract_tensor::<f32>().map_err(text)?.1.to_vec())
            }
            TensorElementType::Float64 => {
                Data::F64(value.try_extract_tensor::<f64>().map_err(text)?.1.to_vec())
            }
            TensorElementType::Int64 => {
                Data::I64(value.try_extract_tensor::<i64>().map_err(text)?.1.to_vec())
            }
            TensorElementType::Int32 => {
                let cells = value.try_extract_tensor::<i32>().map_err(text)?.1;
                Data::I64(cells.iter().map(|&i| i64::from(i)).collect())
            }
            TensorElementType::Bool => {
                Data::Bool(value.try_extract_tensor::<bool>().map_err(text)?.1.to_vec())
            }
            TensorElementType::String => {
                let mut texts = evenkeel_onnx::Texts::default();
                let (_, cells) = value.try_extract_strings().map_err(text)?;
                cells.iter().for_each(|cell| texts.push(cell));
                Data::Text(texts)
            }
            other => return Err(format!("an answer of type {other}")),
        }),
        ValueType::Sequence(_) => maps(value, classes).map(Data::F32),
        other => Err(format!("an answer that is {other}")),
    }
}

fn maps(value: &DynValue, classes: Option<&Labels>) -> Result<Vec<f32>, String> {
    let text = |e: ort::Error| e.to_string();
    let maps = value.try_extract_sequence::<DynMapValueType>().map_err(text)?;
    let (Some(map), Some(classes)) = (maps.first(), classes) else {
        return Err("an answer of maps whose classes are not known".to_owned());
    };
    let found: Option<Vec<f32>> = match classes {
        Labels::Ints(labels) => {
            let pairs = map.try_extract_key_values::<i64, f32>().map_err(text)?;
            let of = |label: &i64| pairs.iter().find(|(key, _)| key == label).map(|(_, x)| *x);
            labels.iter().map(of).collect()
        }
        Labels::Texts(labels) => {
            let pairs = map.try_extract_key_values::<String, f32>().map_err(text)?;
            let of = |label: &String| pairs.iter().find(|(key, _)| key == label).map(|(_, x)| *x);
            labels.iter().map(of).collect()
        }
    };
    found.ok_or_else(|| "a class is missing in the answer".to_owned())
}

/// Rows of cells become columns.
fn by_columns(spec: &OutputSpec, rows: &[Data]) -> Data {
    let number = |r: usize, c: usize| rows[r].number(c).unwrap_or(f64::NAN);
    let places = (0..spec.columns).flat_map(|c| (0..rows.len()).map(move |r| (r, c)));
    match spec.dtype {
        Dtype::F32 => Data::F32(places.map(|(r, c)| number(r, c) as f32).collect()),
        Dtype::F64 => Data::F64(places.map(|(r, c)| number(r, c)).collect()),
        Dtype::Bool => Data::Bool(places.map(|(r, c)| number(r, c) != 0.0).collect()),
        Dtype::I64 => {
            let cell = |(r, c): (usize, usize)| match &rows[r] {
                Data::I64(cells) => cells[c],
                _ => 0,
            };
            Data::I64(places.map(cell).collect())
        }
        Dtype::Text => {
            let mut texts = evenkeel_onnx::Texts::default();
            places.for_each(|(r, c)| {
                if let Data::Text(cells) = &rows[r] {
                    texts.push(cells.get(c));
                }
            });
            Data::Text(texts)
        }
    }
}
