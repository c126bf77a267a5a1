//! From tract's model to what runs, with the facts about its outputs.

use crate::error::NetworkError;
use crate::sizes::settle;
use evenkeel_onnx::Dtype;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{
    DatumType, Framework, InferenceModelExt, TractError, TractResult, TypedModel, TypedSimplePlan,
};

/// What runs, and the type and number of cells of each of its outputs.
pub type Planned = (Arc<TypedSimplePlan>, Vec<(Dtype, usize)>);

/// Makes a plan of a model. A panic in tract is an error.
pub fn plan(model: &ModelProto) -> Result<Planned, NetworkError> {
    let made = catch_unwind(AssertUnwindSafe(|| {
        let failed = |what| move |e: TractError| NetworkError::Tract { what, reason: format!("{e:#}") };
        let framework = tract_onnx::onnx().with_ignore_value_info(true);
        let mut model = framework.model_for_proto_model(model).map_err(failed("read"))?;
        settle(&mut model)?;
        let typed = model.into_typed().map_err(failed("work out the types of"))?;
        let optimized = typed.into_optimized().map_err(failed("prepare"))?;
        let outputs = outputs(&optimized).map_err(failed("serve"))?;
        let plan = TypedSimplePlan::new(optimized).map_err(failed("plan"))?;
        Ok((plan, outputs))
    }));
    made.unwrap_or_else(|panic| Err(NetworkError::Tract { what: "load", reason: said(&*panic) }))
}

/// The same plan for one of its outputs.
pub fn only(plan: &TypedSimplePlan, index: usize) -> TractResult<Arc<TypedSimplePlan>> {
    let mut model = plan.model().clone();
    let outlet = model.output_outlets()?.get(index).copied();
    model.select_output_outlets(outlet.as_slice())?;
    TypedSimplePlan::new(model)
}

/// What a panic said.
pub fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason");
    format!("it panicked: {text}")
}

fn outputs(model: &TypedModel) -> TractResult<Vec<(Dtype, usize)>> {
    let fact = |at| {
        let fact = model.output_fact(at)?;
        let cells = fact.shape.as_concrete().map(|dims| dims.iter().product::<usize>());
        match (dtype(fact.datum_type), cells) {
            (Some(dtype), Some(cells)) => Ok((dtype, cells)),
            _ => Err(TractError::msg(format!(
                "output {at} is {fact:?}: neither a number nor of a known shape"
            ))),
        }
    };
    (0..model.output_outlets()?.len()).map(fact).collect()
}

fn dtype(of: DatumType) -> Option<Dtype> {
    Some(match of {
        DatumType::F32 => Dtype::F32,
        DatumType::F64 => Dtype::F64,
        DatumType::I64 | DatumType::I32 | DatumType::TDim => Dtype::I64,
        DatumType::Bool => Dtype::Bool,
        _ => return None,
    })
}
