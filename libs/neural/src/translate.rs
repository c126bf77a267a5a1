//! From the messages that libs/onnx has read to those of tract: only what was read and checked.
//!
//! Owns: names that hang together, constants whose cells are as many as their shape says, the one open dimension of an
//! input, which is the rows and becomes 1. Never: bytes of the file that nobody has looked at.

use crate::error::NetworkError;
use crate::limits::CELLS_MAX;
use crate::operators::{check, label};
use evenkeel_onnx::limits::DIMENSIONS_MAX;
use evenkeel_onnx::proto::{Graph, Message, Node, Port, Tensor, TypeName, Value};
use evenkeel_onnx::{Dtype, InputSpec, LoadError};
use std::collections::BTreeSet;
use tract_onnx::pb;

/// An input of a network.
#[derive(Debug, Clone)]
pub struct Input {
    /// As the outside sees it.
    pub spec: InputSpec,
    /// The number of its type, which tells int32 from int64.
    pub code: i64,
    /// With 1 for the rows.
    pub shape: Vec<usize>,
}

/// The model for tract, and its inputs in the order that tract has them.
pub fn translate(message: &Message<'_>) -> Result<(pb::ModelProto, Vec<Input>), NetworkError> {
    let graph = &message.graph;
    let constants: BTreeSet<&str> = graph.initializers.iter().map(|tensor| tensor.name).collect();
    let free = graph.inputs.iter().filter(|port| !constants.contains(port.name));
    let inputs = free.map(input).collect::<Result<Vec<_>, _>>()?;
    names(graph, &inputs)?;
    let constant = |t: &Tensor<'_>| tensor(t).map_err(|reason| value("constant", t.name, reason));
    let graph = pb::GraphProto {
        node: graph.nodes.iter().map(node).collect::<Result<_, _>>()?,
        initializer: graph.initializers.iter().map(constant).collect::<Result<_, _>>()?,
        input: inputs.iter().map(input_info).collect(),
        output: graph.outputs.iter().map(|port| info(port.name, None)).collect(),
        ..Default::default()
    };
    let opset = |(domain, version): &(&str, i64)| pb::OperatorSetIdProto {
        domain: (*domain).to_owned(),
        version: *version,
    };
    let model = pb::ModelProto {
        opset_import: message.opsets.iter().map(opset).collect(),
        graph: Some(graph),
        ..Default::default()
    };
    Ok((model, inputs))
}

fn value(which: &'static str, name: &str, reason: String) -> NetworkError {
    LoadError::Port { which, name: name.to_owned(), reason }.into()
}

/// Every value is made once, and before it is used.
fn names(graph: &Graph<'_>, inputs: &[Input]) -> Result<(), NetworkError> {
    let mut known = BTreeSet::new();
    let twice = |name: &str| value("value", name, "is made twice".to_owned());
    let first = inputs.iter().map(|input| input.spec.name.as_str());
    for name in first.chain(graph.initializers.iter().map(|tensor| tensor.name)) {
        if !known.insert(name) {
            return Err(twice(name));
        }
    }
    for node in &graph.nodes {
        check(node)?;
        if let Some(name) = node.inputs.iter().find(|name| !name.is_empty() && !known.contains(*name)) {
            let reason = format!("its input {name:?} is made by no node before it");
            return Err(LoadError::Node { op: node.op.to_owned(), node: label(node), reason }.into());
        }
        for name in node.outputs.iter().filter(|name| !name.is_empty()) {
            if !known.insert(name) {
                return Err(twice(name));
            }
        }
    }
    match graph.outputs.iter().find(|port| !known.contains(port.name)) {
        Some(port) => Err(value("output", port.name, "no node makes it".to_owned())),
        None => Ok(()),
    }
}

fn input(port: &Port<'_>) -> Result<Input, NetworkError> {
    let refused = |reason: String| value("input", port.name, reason);
    let TypeName::Tensor(code, dims) = &port.kind else { return Err(refused("it is no tensor".to_owned())) };
    let dtype = dtype(*code)
        .ok_or_else(|| refused(format!("its type {code} is none of float, double, int32, int64, bool")))?;
    let help = "its shape must be known but for one dimension, the rows; export it with fixed ones";
    let dims = dims.as_deref().filter(|dims| (1..=DIMENSIONS_MAX).contains(&dims.len()));
    let dims = dims.filter(|dims| dims.iter().filter(|dim| dim.is_none()).count() <= 1);
    let dims = dims.ok_or_else(|| refused(help.to_owned()))?;
    let size = |dim: &Option<i64>| dim.map_or(Some(1), |n| usize::try_from(n).ok().filter(|&n| n > 0));
    let shape: Option<Vec<usize>> = dims.iter().map(size).collect();
    let shape = shape.ok_or_else(|| refused(format!("a dimension of its shape {dims:?} is not above 0")))?;
    let columns = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= CELLS_MAX);
    let columns =
        columns.ok_or_else(|| refused(format!("its shape {shape:?} has more than {CELLS_MAX} cells")))?;
    Ok(Input { spec: InputSpec { name: port.name.to_owned(), dtype, columns }, code: *code, shape })
}

fn dtype(code: i64) -> Option<Dtype> {
    Some(match code {
        1 => Dtype::F32,
        11 => Dtype::F64,
        6 | 7 => Dtype::I64,
        9 => Dtype::Bool,
        _ => return None,
    })
}

fn input_info(input: &Input) -> pb::ValueInfoProto {
    let dim = |&size: &usize| pb::tensor_shape_proto::Dimension {
        value: Some(pb::tensor_shape_proto::dimension::Value::DimValue(size as i64)),
        ..Default::default()
    };
    let shape = pb::TensorShapeProto { dim: input.shape.iter().map(dim).collect() };
    let tensor = pb::type_proto::Tensor { elem_type: input.code as i32, shape: Some(shape) };
    info(&input.spec.name, Some(pb::type_proto::Value::TensorType(tensor)))
}

fn info(name: &str, kind: Option<pb::type_proto::Value>) -> pb::ValueInfoProto {
    let kind = kind.map(|value| pb::TypeProto { value: Some(value), ..Default::default() });
    pb::ValueInfoProto { name: name.to_owned(), r#type: kind, ..Default::default() }
}

fn node(node: &Node<'_>) -> Result<pb::NodeProto, NetworkError> {
    let failed = |reason| LoadError::Node { op: node.op.to_owned(), node: label(node), reason };
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let attribute = |a: &evenkeel_onnx::proto::Attribute<'_>| attribute(a.name, &a.value).map_err(failed);
    let mut attributes: Vec<pb::AttributeProto> =
        node.attributes.iter().map(attribute).collect::<Result<_, _>>()?;
    if node.op == "ConstantOfShape" && attributes.is_empty() {
        attributes.push(zero()); // ONNX says a float; tract makes a double of it
    }
    Ok(pb::NodeProto {
        input: owned(&node.inputs),
        output: owned(&node.outputs),
        name: node.name.to_owned(),
        op_type: node.op.to_owned(),
        attribute: attributes,
        ..Default::default()
    })
}

/// `value` of a ConstantOfShape that has none.
fn zero() -> pb::AttributeProto {
    let tensor = pb::TensorProto { dims: vec![1], data_type: 1, float_data: vec![0.0], ..Default::default() };
    pb::AttributeProto { name: "value".to_owned(), r#type: 4, t: Some(tensor), ..Default::default() }
}

fn attribute(name: &str, value: &Value<'_>) -> Result<pb::AttributeProto, String> {
    let mut out = pb::AttributeProto { name: name.to_owned(), ..Default::default() };
    out.r#type = match value {
        Value::Float(x) => {
            out.f = *x;
            1
        }
        Value::Int(i) => {
            out.i = *i;
            2
        }
        Value::Text(text) => {
            out.s = text.to_vec();
            3
        }
        Value::Tensor(t) => {
            out.t = Some(tensor(t)?);
            4
        }
        Value::Floats(all) => {
            out.floats.clone_from(all);
            6
        }
        Value::Ints(all) => {
            out.ints.clone_from(all);
            7
        }
        Value::Texts(all) => {
            out.strings = all.iter().map(|text| text.to_vec()).collect();
            8
        }
        Value::Other => {
            return Err(format!("its attribute {name} is a graph or another thing that is not supported"));
        }
    };
    Ok(out)
}

/// A constant: float, double, int32, int64 or bool, in this file, with as many cells as its shape says.
fn tensor(from: &Tensor<'_>) -> Result<pb::TensorProto, String> {
    if from.external {
        return Err("its cells are in another file; export the model as one file".to_owned());
    }
    let multiplied = |n: usize, &d: &i64| usize::try_from(d).ok().and_then(|d| n.checked_mul(d));
    let cells = from.dims.iter().try_fold(1, multiplied).filter(|_| from.dims.len() <= DIMENSIONS_MAX);
    let cells = cells.ok_or_else(|| format!("a constant of shape {:?}", from.dims))?;
    let mut out = pb::TensorProto {
        dims: from.dims.clone(),
        data_type: i32::try_from(from.dtype).unwrap_or_default(),
        name: from.name.to_owned(),
        ..Default::default()
    };
    let (width, listed) = match from.dtype {
        1 => (4, from.floats.len()),
        11 => (8, from.doubles.len()),
        6 => (4, from.ints.len()),
        7 => (8, from.ints.len()),
        9 => (1, from.ints.len()),
        other => {
            return Err(format!("a constant of type {other}; float, double, int32, int64 and bool are read"));
        }
    };
    let there = from.raw.map_or(Some(listed), |raw| (raw.len() % width == 0).then_some(raw.len() / width));
    if there != Some(cells) {
        return Err(format!("a constant of shape {:?} whose cells are not as many", from.dims));
    }
    match (from.raw, from.dtype) {
        (Some(raw), _) => out.raw_data = raw.to_vec(),
        (None, 1) => out.float_data.clone_from(&from.floats),
        (None, 11) => out.double_data.clone_from(&from.doubles),
        (None, 7) => out.int64_data.clone_from(&from.ints),
        (None, _) => out.int32_data = from.ints.iter().map(|&i| i as i32).collect(),
    }
    Ok(out)
}
