//! From a graph's nodes to steps: names become slots, each operator is built once its inputs are known.
//!
//! Owns: names, types and shapes while the model is loaded. Never: what an operator does (`ops`).

use crate::attributes::Attributes;
use crate::constant::Constant;
use crate::error::LoadError;
use crate::kind::Kind;
use crate::limits::COLUMNS_MAX;
use crate::ops::{self, Built, Op};
use crate::proto::{Message, Node};
use std::collections::BTreeMap;

/// Where a value is.
#[derive(Debug, Clone)]
pub enum Place {
    /// Known at load.
    Constant(Constant),
    /// Made by a step, or an input.
    Slot(usize, Kind),
    /// The shape of such a value: only ConstantOfShape takes it.
    ShapeOf(Kind),
}

/// What is known of a value while the model is loaded.
#[derive(Debug, Clone)]
pub struct Known {
    pub place: Place,
    /// The classes of its columns, where a ZipMap named them.
    pub classes: Option<crate::signature::Labels>,
}

/// A node's work on one block.
#[derive(Debug)]
pub struct Step {
    pub op: Op,
    /// The slots of its outputs; `None`: nobody wants it.
    pub outputs: [Option<usize>; 2],
    /// The slots it reads.
    pub inputs: Vec<usize>,
}

/// A graph that is being built.
#[derive(Debug, Default)]
pub struct Builder {
    pub names: BTreeMap<String, Known>,
    pub steps: Vec<Step>,
    pub slots: usize,
    columns: usize,
}

/// A node with its inputs, as an operator's builder sees it.
#[derive(Debug)]
pub struct Site<'a> {
    pub attributes: Attributes<'a>,
    pub inputs: Vec<Option<&'a Known>>,
    /// Version of the default operator set.
    pub opset: i64,
    /// Version of ai.onnx.ml.
    pub ml_opset: i64,
}

/// The operators that are supported, sorted: `ml.` stands before those of `ai.onnx.ml`.
pub fn supported_operators() -> Vec<String> {
    let mut all: Vec<String> = ops::NAMES.iter().map(|(domain, op)| shown(domain, op)).collect();
    all.sort();
    all
}

fn shown(domain: &str, op: &str) -> String {
    match domain {
        "" | "ai.onnx" => op.to_owned(),
        "ai.onnx.ml" => format!("ml.{op}"),
        other => format!("{other}.{op}"),
    }
}

impl Builder {
    /// A new slot for a value of this kind.
    pub fn slot(&mut self, kind: &Kind) -> Result<usize, LoadError> {
        let width = kind.tail.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
        let columns = width.and_then(|w| self.columns.checked_add(w)).filter(|&n| n <= COLUMNS_MAX);
        self.columns =
            columns.ok_or(LoadError::TooMany { what: "columns in all its values", max: COLUMNS_MAX })?;
        self.slots += 1;
        Ok(self.slots - 1)
    }

    /// Columns of all values so far.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Every node of the graph, in the order of the file (ONNX demands that a value is made before it is used).
    pub fn nodes(&mut self, message: &Message<'_>, nodes: &[Node<'_>]) -> Result<(), LoadError> {
        let version =
            |of: &[&str]| message.opsets.iter().find(|(d, _)| of.contains(d)).map_or(1, |(_, v)| *v);
        let (opset, ml_opset) = (version(&["", "ai.onnx"]), version(&["ai.onnx.ml"]));
        nodes.iter().try_for_each(|node| self.node(node, opset, ml_opset))
    }

    fn node(&mut self, node: &Node<'_>, opset: i64, ml_opset: i64) -> Result<(), LoadError> {
        let label = || match node.name {
            "" => format!("making {:?}", node.outputs.first().copied().unwrap_or_default()),
            name => format!("{name:?}"),
        };
        let domain = if node.domain == "ai.onnx" { "" } else { node.domain };
        if !ops::NAMES.contains(&(domain, node.op)) {
            let supported = supported_operators().join(", ");
            return Err(LoadError::Unsupported { op: shown(domain, node.op), node: label(), supported });
        }
        let failed = |reason: String| LoadError::Node { op: shown(domain, node.op), node: label(), reason };
        let built = {
            let known = |name: &&str| match (*name, self.names.get(*name)) {
                ("", _) => Ok(None),
                (_, Some(known)) => Ok(Some(known)),
                (name, None) => Err(failed(format!("its input {name:?} is made by no node before it"))),
            };
            let inputs = node.inputs.iter().map(known).collect::<Result<Vec<_>, _>>()?;
            let site = Site { attributes: Attributes::of(node), inputs, opset, ml_opset };
            let read = site.inputs.iter().filter_map(|known| match known.map(|k| &k.place) {
                Some(Place::Slot(slot, _)) => Some(*slot),
                _ => None,
            });
            let read: Vec<usize> = read.collect();
            ops::build(domain, node.op, &site).map(|built| (built, read)).map_err(failed)?
        };
        match built {
            (Built::Same(known), _) => {
                for name in node.outputs.iter().take(1).filter(|name| !name.is_empty()) {
                    self.names.insert((*name).to_owned(), known.clone());
                }
            }
            (Built::Step { op, kinds, classes }, inputs) => {
                let mut outputs = [None; 2];
                for (i, kind) in kinds.into_iter().enumerate().take(2) {
                    let Some(name) = node.outputs.get(i).filter(|name| !name.is_empty()) else { continue };
                    let slot = self.slot(&kind)?;
                    outputs[i] = Some(slot);
                    let classes = classes.clone().filter(|_| i == 1);
                    self.names.insert((*name).to_owned(), Known { place: Place::Slot(slot, kind), classes });
                }
                self.steps.push(Step { op, outputs, inputs });
            }
        }
        Ok(())
    }
}

impl<'a> Site<'a> {
    /// Input `index`, which must be there.
    pub fn input(&self, index: usize) -> Result<&'a Known, String> {
        self.inputs.get(index).copied().flatten().ok_or_else(|| format!("input {index} is missing"))
    }

    /// Input `index` as a value with one entry per row.
    pub fn rows(&self, index: usize) -> Result<(usize, &'a Kind), String> {
        match &self.input(index)?.place {
            Place::Slot(_, kind) if kind.across => {
                Err(format!("input {index} is {}; a Reshape to [-1] must come first", kind.shown()))
            }
            Place::Slot(slot, kind) => Ok((*slot, kind)),
            _ => Err(format!("input {index} is a constant; it must have one entry per row")),
        }
    }

    /// Input `index` as `[rows, columns]`; `[rows]` counts as one column.
    pub fn table(&self, index: usize) -> Result<(usize, &'a Kind, usize), String> {
        let (slot, kind) = self.rows(index)?;
        match kind.tail.as_slice() {
            [] => Ok((slot, kind, 1)),
            [columns] => Ok((slot, kind, *columns)),
            _ => Err(format!("input {index} is {}; it must be [rows, columns]", kind.shown())),
        }
    }

    /// Input `index` as a constant, if it is given.
    pub fn constant_if(&self, index: usize) -> Result<Option<&'a Constant>, String> {
        match self.inputs.get(index).copied().flatten().map(|known| &known.place) {
            None => Ok(None),
            Some(Place::Constant(constant)) => Ok(Some(constant)),
            Some(_) => Err(format!("input {index} must be a constant")),
        }
    }

    /// Input `index` as a constant.
    pub fn constant(&self, index: usize) -> Result<&'a Constant, String> {
        self.constant_if(index)?.ok_or_else(|| format!("input {index} is missing"))
    }
}
