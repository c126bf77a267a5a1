//! How large every value of a network is, asked before tract computes any of them.
//!
//! tract folds constants while it looks at a graph: two constants of a few KiB may meet in a value of terabytes. So
//! each node is first asked for its shape alone, in the order of the file, and computed only when that is within bounds.

use crate::error::NetworkError;
use crate::limits::{ALL_CELLS_MAX, CELLS_MAX};
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::{DimLike, InferenceFact, InferenceModel, OutletId, TVec, TractResult};

/// Settles the type and shape of every value, or says which is too large or cannot be told.
pub fn settle(model: &mut InferenceModel) -> Result<(), NetworkError> {
    let mut all = 0_usize;
    for id in 0..model.nodes().len() {
        let name = model.node(id).name.clone();
        let failed = |e: tract_onnx::prelude::TractError| NetworkError::Tract {
            what: "work out the shapes of",
            reason: format!("node {name:?}: {e:#}"),
        };
        let facts = facts(model, id).map_err(failed)?;
        let shapes = infer(model, id, &facts, Depth::Shapes).map_err(failed)?;
        for fact in &shapes {
            let cells = cells(fact).ok_or_else(|| NetworkError::Tract {
                what: "tell the size of each value of",
                reason: format!("node {name:?} makes {fact:?}; export the network with fixed shapes"),
            })?;
            all = all.saturating_add(cells);
            let wide = |what: String, max| Err(NetworkError::TooWide { what, max });
            if cells > CELLS_MAX {
                return wide(format!("node {name:?}"), CELLS_MAX);
            }
            if all > ALL_CELLS_MAX {
                return wide("what all nodes make".to_owned(), ALL_CELLS_MAX);
            }
        }
        if unrolled(model, id, &facts.0, &shapes).is_none_or(|cells| cells > CELLS_MAX) {
            return Err(NetworkError::TooWide {
                what: format!("what convolution {name:?} unrolls"),
                max: CELLS_MAX,
            });
        }
        let known = infer(model, id, &facts, Depth::Values).map_err(failed)?;
        for (slot, fact) in known.iter().enumerate() {
            let outlet = OutletId::new(id, slot);
            let met = model.outlet_fact(outlet).and_then(|old| old.unify(fact)).map_err(failed)?;
            model.set_outlet_fact(outlet, met).map_err(failed)?;
        }
    }
    Ok(())
}

/// How much is asked of a node.
#[derive(Clone, Copy)]
enum Depth {
    /// What follows from shapes: nothing is computed.
    Shapes,
    /// Also its value, if everything it takes is constant.
    Values,
}

/// Inputs, outputs, and others that the node looks at.
type Facts = (TVec<InferenceFact>, TVec<InferenceFact>, TVec<InferenceFact>);

fn facts(model: &InferenceModel, id: usize) -> TractResult<Facts> {
    let owned = |facts: TVec<&InferenceFact>| facts.into_iter().cloned().collect();
    let (inputs, outputs) = model.node_facts(id)?;
    let node = model.node(id);
    let observed = node.op.observe_outlets(model, node)?;
    let observed =
        observed.iter().map(|outlet| model.outlet_fact(*outlet).cloned()).collect::<TractResult<_>>()?;
    Ok((owned(inputs), owned(outputs), observed))
}

/// What is then known of the outputs.
fn infer(
    model: &mut InferenceModel,
    id: usize,
    facts: &Facts,
    depth: Depth,
) -> TractResult<TVec<InferenceFact>> {
    let (inputs, outputs, observed) = facts;
    let (inputs, outputs, observed) =
        (inputs.iter().collect(), outputs.iter().collect(), observed.iter().collect());
    let op = &mut model.node_mut(id).op;
    let (_, outputs, _) = match depth {
        Depth::Shapes => op.infer_facts(inputs, outputs, observed)?,
        Depth::Values => op.infer(inputs, outputs, observed)?,
    };
    Ok(outputs)
}

fn dims(fact: &InferenceFact) -> Option<Vec<usize>> {
    fact.shape.concretize()?.iter().map(|dim| dim.to_usize().ok()).collect()
}

fn product(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))
}

/// `None` if the shape is not known; more than `usize` counts as that many.
fn cells(fact: &InferenceFact) -> Option<usize> {
    dims(fact).map(|dims| product(&dims).unwrap_or(usize::MAX))
}

/// Cells that tract lays out for a convolution: each place of the output with all that the kernel sees there.
fn unrolled(
    model: &InferenceModel,
    id: usize,
    inputs: &TVec<InferenceFact>,
    outputs: &TVec<InferenceFact>,
) -> Option<usize> {
    if model.node(id).op.name() != "ConvHir" {
        return Some(0);
    }
    let (input, kernel) = (dims(inputs.first()?)?, dims(inputs.get(1)?)?);
    let places = product(dims(outputs.first()?)?.get(2..)?)?;
    product(kernel.get(2..)?)?.checked_mul(*input.get(1)?)?.checked_mul(places)
}
