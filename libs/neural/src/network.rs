//! A loaded network: its inputs and outputs by name, and running rows through it, one after the other.

use crate::error::NetworkError;
use crate::limits::{NETWORK_BYTES_MAX, OUTPUT_CELLS_MAX};
use crate::plan::{only, plan, said};
use crate::translate::{Input, translate};
use evenkeel_onnx::proto::Message;
use evenkeel_onnx::{Column, Data, Dtype, LoadError, OutputSpec, RunError, Signature};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tract_onnx::prelude::{IntoTValue, TValue, TVec, Tensor, TractError, TractResult, TypedSimplePlan};

/// A network that is ready to run.
///
/// An input of `[rows, channels, length]` has channels × length columns, the last dimension running fastest.
#[derive(Debug)]
pub struct Network {
    signature: Signature,
    /// Of tract's tensors: the type and shape of each input.
    feeds: Vec<Input>,
    plan: Arc<TypedSimplePlan>,
    /// Which of the plan's outputs each of the signature's is.
    picks: Vec<usize>,
}

impl Network {
    /// Reads a file and hands tract what it may have of it.
    pub fn load(file: &[u8]) -> Result<Self, NetworkError> {
        if file.len() > NETWORK_BYTES_MAX {
            return Err(NetworkError::TooLarge { bytes: file.len(), max: NETWORK_BYTES_MAX });
        }
        let message = Message::read(file)?;
        let graph = &message.graph;
        let (model, feeds) = translate(&message)?;
        let (plan, made) = plan(&model)?;
        if let Some((port, _)) = graph.outputs.iter().zip(&made).find(|(_, (_, cells))| *cells == 0) {
            let (which, name, reason) = ("output", port.name.to_owned(), "it has no cells".to_owned());
            return Err(LoadError::Port { which, name, reason }.into());
        }
        let wide = graph.outputs.iter().zip(&made).find(|(_, (_, cells))| *cells > OUTPUT_CELLS_MAX);
        if let Some((port, _)) = wide {
            let what = format!("output {:?}", port.name);
            return Err(NetworkError::TooWide { what, max: OUTPUT_CELLS_MAX });
        }
        let output = |(port, &(dtype, columns)): (&evenkeel_onnx::proto::Port<'_>, &_)| OutputSpec {
            name: port.name.to_owned(),
            dtype,
            columns,
            classes: None,
        };
        let inputs = feeds.iter().map(|feed| feed.spec.clone()).collect();
        let outputs = graph.outputs.iter().zip(&made).map(output).collect();
        Ok(Self {
            signature: Signature::new(inputs, outputs, &message),
            picks: (0..made.len()).collect(),
            feeds,
            plan,
        })
    }

    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Gives only output `index` from now on, and does only the work that it needs. Past the end: no change.
    #[must_use]
    pub fn only(mut self, index: usize) -> Self {
        if let Some(&pick) = self.picks.get(index) {
            self.signature.keep(index);
            self.picks = vec![pick];
            if let Ok(plan) = only(&self.plan, pick) {
                (self.plan, self.picks) = (plan, vec![0]);
            }
        }
        self
    }

    /// Runs rows through the network, as [`evenkeel_onnx::Model::run`] does: the columns of all inputs one after the
    /// other in, the cells of each output column by column out. A row with a missing number (NaN) gets NaN for an
    /// answer: some operators would make a number of it.
    pub fn run(&self, columns: &[Column<'_>], rows: usize, into: &mut Vec<Data>) -> Result<(), RunError> {
        self.signature.check(columns, rows)?;
        into.clear();
        into.extend(self.signature.outputs().iter().map(|spec| blank(spec.dtype, rows * spec.columns)));
        for row in 0..rows {
            if columns.iter().any(|column| is_missing(column, row)) {
                continue;
            }
            let failed = |reason: String| RunError::Row { row, reason };
            let made = catch_unwind(AssertUnwindSafe(|| self.row(columns, row)));
            let made = made.map_err(|panic| failed(said(&*panic)))?.map_err(|e| failed(format!("{e:#}")))?;
            for ((data, spec), &pick) in into.iter_mut().zip(self.signature.outputs()).zip(&self.picks) {
                let value = made.get(pick).ok_or_else(|| failed("tract leaves an output out".to_owned()))?;
                put(data, value, (rows, row, spec.columns)).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn row(&self, columns: &[Column<'_>], row: usize) -> TractResult<TVec<TValue>> {
        let mut rest = columns;
        let mut values = TVec::new();
        for feed in &self.feeds {
            let (own, others) = rest.split_at(feed.spec.columns);
            rest = others;
            values.push(tensor(feed, own, row)?.into_tvalue());
        }
        self.plan.run(values)
    }
}

fn is_missing(column: &Column<'_>, row: usize) -> bool {
    match column {
        Column::F32(cells) => cells.get(row).is_some_and(|x| x.is_nan()),
        Column::F64(cells) => cells.get(row).is_some_and(|x| x.is_nan()),
        Column::I64(_) | Column::Bool(_) | Column::Text(_) => false,
    }
}

/// Every cell missing: NaN where there is one.
fn blank(dtype: Dtype, cells: usize) -> Data {
    match dtype {
        Dtype::F64 => Data::F64(vec![f64::NAN; cells]),
        Dtype::I64 => Data::I64(vec![0; cells]),
        Dtype::Bool => Data::Bool(vec![false; cells]),
        Dtype::F32 | Dtype::Text => Data::F32(vec![f32::NAN; cells]),
    }
}

/// One row of an input. The types of its columns were checked.
fn tensor(feed: &Input, columns: &[Column<'_>], row: usize) -> TractResult<Tensor> {
    const INT32: i64 = 6;
    macro_rules! cells {
        ($kind:ident) => {
            columns
                .iter()
                .filter_map(|c| if let Column::$kind(cells) = c { cells.get(row).copied() } else { None })
        };
    }
    let shape = &feed.shape;
    match feed.spec.dtype {
        Dtype::F64 => Tensor::from_shape(shape, &cells!(F64).collect::<Vec<f64>>()),
        Dtype::I64 if feed.code == INT32 => {
            Tensor::from_shape(shape, &cells!(I64).map(|i| i as i32).collect::<Vec<i32>>())
        }
        Dtype::I64 => Tensor::from_shape(shape, &cells!(I64).collect::<Vec<i64>>()),
        Dtype::Bool => Tensor::from_shape(shape, &cells!(Bool).collect::<Vec<bool>>()),
        Dtype::F32 | Dtype::Text => Tensor::from_shape(shape, &cells!(F32).collect::<Vec<f32>>()),
    }
}

/// Puts a row's answer where it belongs: column by column.
fn put(data: &mut Data, value: &Tensor, (rows, row, columns): (usize, usize, usize)) -> Result<(), String> {
    let wrong = || format!("tract answers {value:?} where {columns} numbers were to come");
    let text = |e: TractError| format!("{e:#}");
    macro_rules! place {
        ($cells:expr, $kind:ty) => {{
            let cast = value.cast_to::<$kind>().map_err(text)?;
            let view = cast.try_as_plain_ram().map_err(text)?;
            let answer = view.as_slice::<$kind>().map_err(text)?;
            if answer.len() != columns {
                return Err(wrong());
            }
            for (c, x) in answer.iter().enumerate() {
                $cells[c * rows + row] = *x;
            }
        }};
    }
    match data {
        Data::F32(cells) => place!(cells, f32),
        Data::F64(cells) => place!(cells, f64),
        Data::I64(cells) => place!(cells, i64),
        Data::Bool(cells) => place!(cells, bool),
        Data::Text(_) => return Err(wrong()),
    }
    Ok(())
}
