//! A loaded model: its inputs and outputs by name, and running columns of rows through it.

use crate::constant::Constant;
use crate::data::Data;
use crate::error::{LoadError, RunError};
use crate::graph::{Builder, Known, Place, Step};
use crate::kind::{Dtype, Kind};
use crate::limits::{BLOCK_CELLS_MAX, MODEL_BYTES_MAX};
use crate::proto::{Graph, Message, TypeName};
use crate::signature::{InputSpec, OutputSpec, Signature};
use crate::{BLOCK_ROWS, ops};

/// A column handed to [`Model::run`].
#[derive(Debug, Clone, Copy)]
pub enum Column<'a> {
    /// `float`
    F32(&'a [f32]),
    /// `double`
    F64(&'a [f64]),
    /// `int64`
    I64(&'a [i64]),
    /// `bool`
    Bool(&'a [bool]),
    /// `string`
    Text(&'a [String]),
}

/// A model that is ready to run.
#[derive(Debug)]
pub struct Model {
    signature: Signature,
    /// Slot of each input.
    input_slots: Vec<usize>,
    output_places: Vec<Place>,
    steps: Vec<Step>,
    slots: usize,
    block_rows: usize,
}

/// The memory of a run: one block of every value. Kept from run to run, so that nothing is allocated again.
#[derive(Debug, Default)]
pub struct Workspace {
    slots: Vec<Data>,
}

impl Model {
    /// Reads a model file.
    pub fn load(file: &[u8]) -> Result<Self, LoadError> {
        if file.len() > MODEL_BYTES_MAX {
            return Err(LoadError::TooLarge { bytes: file.len(), max: MODEL_BYTES_MAX });
        }
        let message = Message::read(file)?;
        let graph = &message.graph;
        let mut builder = Builder::default();
        constants(graph, &mut builder)?;
        let (inputs, input_slots) = inputs(graph, &mut builder)?;
        builder.nodes(&message, &graph.nodes)?;
        let (outputs, output_places) = outputs(graph, &builder)?;
        let columns = builder.columns().max(1);
        let mut model = Self {
            signature: Signature::new(inputs, outputs, &message),
            input_slots,
            output_places,
            steps: builder.steps,
            slots: builder.slots,
            block_rows: (BLOCK_CELLS_MAX / columns).clamp(1, BLOCK_ROWS),
        };
        model.drop_unwanted();
        Ok(model)
    }

    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Gives only output `index` from now on, and does only the work that it needs. Past the end: no change.
    #[must_use]
    pub fn only(mut self, index: usize) -> Self {
        if self.signature.keep(index) {
            self.output_places = vec![self.output_places.swap_remove(index)];
            self.drop_unwanted();
        }
        self
    }

    /// Runs rows through the model. `columns`: those of all inputs, one after the other. Each output's cells
    /// replace those of `into`, in the order of [`Signature::outputs`], column by column. After an error `into` holds
    /// nothing that means anything.
    pub fn run(
        &self,
        columns: &[Column<'_>],
        rows: usize,
        work: &mut Workspace,
        into: &mut Vec<Data>,
    ) -> Result<(), RunError> {
        self.signature.check(columns, rows)?;
        work.slots.resize_with(self.slots, Data::default);
        into.truncate(self.signature.outputs().len());
        into.resize_with(self.signature.outputs().len(), Data::default);
        for (data, spec) in into.iter_mut().zip(self.signature.outputs()) {
            if data.dtype() == spec.dtype { data.clear() } else { *data = Data::of(spec.dtype) }
        }
        if rows <= self.block_rows {
            return self.block(columns, 0..rows, work, into);
        }
        // Column by column over all rows: each block's columns go to their places.
        let mut parts: Vec<Data> = Vec::new();
        let mut whole: Vec<Vec<Data>> =
            self.signature.outputs().iter().map(|spec| vec![Data::of(spec.dtype); spec.columns]).collect();
        for start in (0..rows).step_by(self.block_rows) {
            let range = start..rows.min(start + self.block_rows);
            let length = range.len();
            parts.clear();
            parts.extend(self.signature.outputs().iter().map(|spec| Data::of(spec.dtype)));
            self.block(columns, range, work, &mut parts)?;
            for (part, columns) in parts.iter().zip(&mut whole) {
                for (c, column) in columns.iter_mut().enumerate() {
                    column.extend(part, c * length..(c + 1) * length);
                }
            }
        }
        for (data, columns) in into.iter_mut().zip(&whole) {
            columns.iter().for_each(|column| data.extend(column, 0..rows));
        }
        Ok(())
    }

    fn block(
        &self,
        columns: &[Column<'_>],
        range: std::ops::Range<usize>,
        work: &mut Workspace,
        into: &mut [Data],
    ) -> Result<(), RunError> {
        let mut at = 0;
        for (spec, &slot) in self.signature.inputs().iter().zip(&self.input_slots) {
            fill(&mut work.slots[slot], spec.dtype, &columns[at..at + spec.columns], range.clone());
            at += spec.columns;
        }
        let rows = range.len();
        for step in &self.steps {
            let mut made = [Data::default(), Data::default()];
            for (data, slot) in made.iter_mut().zip(step.outputs) {
                if let Some(slot) = slot {
                    *data = std::mem::take(&mut work.slots[slot]);
                }
            }
            let wanted = step.outputs.map(|slot| slot.is_some());
            let done = ops::run(&step.op, &work.slots, rows, &mut made, wanted);
            for (data, slot) in made.into_iter().zip(step.outputs) {
                if let Some(slot) = slot {
                    work.slots[slot] = data;
                }
            }
            done.map_err(|e| RunError::Row { row: range.start + e.row, reason: e.reason })?;
        }
        for (data, place) in into.iter_mut().zip(&self.output_places) {
            match place {
                Place::Slot(slot, _) => data.extend(&work.slots[*slot], 0..work.slots[*slot].len()),
                Place::Constant(Constant { data: constant, .. }) => data.repeat(constant, 0, rows),
                Place::ShapeOf(_) => {}
            }
        }
        Ok(())
    }

    /// Steps whose outputs nobody reads go; outputs that nobody reads are not made.
    fn drop_unwanted(&mut self) {
        let mut wanted = vec![false; self.slots];
        for place in &self.output_places {
            if let Place::Slot(slot, _) = place {
                wanted[*slot] = true;
            }
        }
        for step in self.steps.iter_mut().rev() {
            for slot in &mut step.outputs {
                *slot = slot.filter(|&s| wanted[s]);
            }
            if step.outputs.iter().any(Option::is_some) {
                step.inputs.iter().for_each(|&s| wanted[s] = true);
            }
        }
        self.steps.retain(|step| step.outputs.iter().any(Option::is_some));
    }
}

impl Column<'_> {
    /// The type of its cells.
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::F64(_) => Dtype::F64,
            Self::I64(_) => Dtype::I64,
            Self::Bool(_) => Dtype::Bool,
            Self::Text(_) => Dtype::Text,
        }
    }

    /// How many cells.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(cells) => cells.len(),
            Self::F64(cells) => cells.len(),
            Self::I64(cells) => cells.len(),
            Self::Bool(cells) => cells.len(),
            Self::Text(cells) => cells.len(),
        }
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Copies a block of the columns of one input. Types were checked by the caller.
fn fill(slot: &mut Data, dtype: Dtype, columns: &[Column<'_>], range: std::ops::Range<usize>) {
    if slot.dtype() == dtype {
        slot.clear();
    } else {
        *slot = Data::of(dtype);
    }
    for column in columns {
        match (&mut *slot, column) {
            (Data::F32(to), Column::F32(cells)) => to.extend_from_slice(&cells[range.clone()]),
            (Data::F64(to), Column::F64(cells)) => to.extend_from_slice(&cells[range.clone()]),
            (Data::I64(to), Column::I64(cells)) => to.extend_from_slice(&cells[range.clone()]),
            (Data::Bool(to), Column::Bool(cells)) => to.extend_from_slice(&cells[range.clone()]),
            (Data::Text(to), Column::Text(cells)) => {
                cells[range.clone()].iter().for_each(|text| to.push(text))
            }
            _ => {}
        }
    }
}

fn constants(graph: &Graph<'_>, builder: &mut Builder) -> Result<(), LoadError> {
    for tensor in &graph.initializers {
        let constant = Constant::of(tensor).map_err(|reason| LoadError::Port {
            which: "constant",
            name: tensor.name.to_owned(),
            reason,
        })?;
        let known = Known { place: Place::Constant(constant), classes: None };
        builder.names.insert(tensor.name.to_owned(), known);
    }
    Ok(())
}

fn inputs(graph: &Graph<'_>, builder: &mut Builder) -> Result<(Vec<InputSpec>, Vec<usize>), LoadError> {
    let (mut specs, mut slots) = (Vec::new(), Vec::new());
    for port in &graph.inputs {
        if builder.names.contains_key(port.name) {
            continue; // an initializer that may be overridden: it is not
        }
        let refused = |reason: String| LoadError::Port { which: "input", name: port.name.to_owned(), reason };
        let TypeName::Tensor(code, dims) = &port.kind else {
            return Err(refused("it is no tensor".to_owned()));
        };
        let dtype = Dtype::of_code(*code).ok_or_else(|| {
            refused(format!("its type {code} is none of float, double, int64, bool, string"))
        })?;
        let tail = match dims.as_deref() {
            Some([_]) => Vec::new(),
            Some([_, Some(columns)]) => vec![usize::try_from(*columns).unwrap_or(0)],
            _ => {
                let help = "its shape must be [rows, columns] with a number of columns; export it with one";
                return Err(refused(help.to_owned()));
            }
        };
        let kind = Kind::new(dtype, &tail);
        let slot = builder.slot(&kind)?;
        specs.push(InputSpec { name: port.name.to_owned(), dtype, columns: kind.width() });
        slots.push(slot);
        let known = Known { place: Place::Slot(slot, kind), classes: None };
        builder.names.insert(port.name.to_owned(), known);
    }
    Ok((specs, slots))
}

fn outputs(graph: &Graph<'_>, builder: &Builder) -> Result<(Vec<OutputSpec>, Vec<Place>), LoadError> {
    let (mut specs, mut places) = (Vec::new(), Vec::new());
    for port in &graph.outputs {
        let refused = |reason: &str| LoadError::Port {
            which: "output",
            name: port.name.to_owned(),
            reason: reason.to_owned(),
        };
        let known = builder.names.get(port.name).ok_or_else(|| refused("no node makes it"))?;
        let (dtype, columns) = match &known.place {
            Place::Slot(_, kind) => (kind.dtype, kind.width()),
            Place::Constant(constant) if constant.data.len() == 1 => (constant.dtype(), 1),
            _ => return Err(refused("it does not depend on the rows")),
        };
        specs.push(OutputSpec { name: port.name.to_owned(), dtype, columns, classes: known.classes.clone() });
        places.push(known.place.clone());
    }
    Ok((specs, places))
}
