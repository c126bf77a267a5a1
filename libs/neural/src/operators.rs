//! Which operators a network may have, and with which attributes: those that were compared with onnxruntime.
//!
//! tract does not say when it passes an attribute over (an LSTM's `activations`, a `reverse` direction), so an
//! attribute that is not listed here is refused: an error is better than another score.

use crate::error::NetworkError;
use crate::limits::EXTENT_MAX;
use evenkeel_onnx::LoadError;
use evenkeel_onnx::proto::{Node, Value};

/// Each operator of the default domain and its attributes.
pub const OPERATORS: &[(&str, &[&str])] = &[
    ("Abs", &[]),
    ("Add", &[]),
    ("ArgMax", &["axis", "keepdims"]),
    ("AveragePool", &["count_include_pad", "kernel_shape", "pads", "strides"]),
    ("BatchNormalization", &["epsilon", "momentum", "training_mode"]),
    ("Cast", &["to"]),
    ("Clip", &[]),
    ("Concat", &["axis"]),
    ("Constant", &["value", "value_float", "value_floats", "value_int", "value_ints"]),
    ("ConstantOfShape", &["value"]),
    ("Conv", &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"]),
    ("Div", &[]),
    ("Dropout", &["seed"]),
    ("Elu", &["alpha"]),
    ("Equal", &[]),
    ("Erf", &[]),
    ("Exp", &[]),
    ("Expand", &[]),
    ("Flatten", &["axis"]),
    ("GRU", &["activations", "direction", "hidden_size", "linear_before_reset"]),
    ("Gather", &["axis"]),
    ("Gelu", &["approximate"]),
    ("Gemm", &["alpha", "beta", "transA", "transB"]),
    ("GlobalAveragePool", &[]),
    ("GlobalMaxPool", &[]),
    ("Greater", &[]),
    ("HardSigmoid", &["alpha", "beta"]),
    ("HardSwish", &[]),
    ("Identity", &[]),
    ("InstanceNormalization", &["epsilon"]),
    ("LSTM", &["activations", "direction", "hidden_size"]),
    ("LayerNormalization", &["axis", "epsilon"]),
    ("LeakyRelu", &["alpha"]),
    ("Less", &[]),
    ("Log", &[]),
    ("LogSoftmax", &["axis"]),
    ("MatMul", &[]),
    ("Max", &[]),
    ("MaxPool", &["dilations", "kernel_shape", "pads", "strides"]),
    ("Min", &[]),
    ("Mish", &[]),
    ("Mul", &[]),
    ("Neg", &[]),
    ("Not", &[]),
    ("PRelu", &[]),
    ("Pad", &["mode"]),
    ("Pow", &[]),
    ("RNN", &["activations", "direction", "hidden_size"]),
    ("Reciprocal", &[]),
    ("ReduceMax", &["axes", "keepdims"]),
    ("ReduceMean", &["axes", "keepdims"]),
    ("ReduceMin", &["axes", "keepdims"]),
    ("ReduceSum", &["keepdims"]),
    ("Relu", &[]),
    ("Reshape", &["allowzero"]),
    ("Selu", &["alpha", "gamma"]),
    ("Shape", &[]),
    ("Sigmoid", &[]),
    ("Slice", &[]),
    ("Softmax", &["axis"]),
    ("Softplus", &[]),
    ("Softsign", &[]),
    ("Split", &["axis"]),
    ("Sqrt", &[]),
    ("Squeeze", &[]),
    ("Sub", &[]),
    ("Sum", &[]),
    ("Tanh", &[]),
    ("ThresholdedRelu", &["alpha"]),
    ("Transpose", &["perm"]),
    ("Unsqueeze", &[]),
    ("Where", &[]),
];

/// Attributes that are sizes: they make tract reserve memory.
const EXTENTS: &[&str] = &["kernel_shape", "pads", "strides", "dilations", "group", "hidden_size"];

/// The operators that a network may have, sorted.
pub fn supported_operators() -> Vec<&'static str> {
    OPERATORS.iter().map(|(op, _)| *op).collect()
}

/// How a node is called in a message.
pub fn label(node: &Node<'_>) -> String {
    match node.name {
        "" => format!("making {:?}", node.outputs.first().copied().unwrap_or_default()),
        name => format!("{name:?}"),
    }
}

/// Whether tract may be handed a node.
pub fn check(node: &Node<'_>) -> Result<(), NetworkError> {
    let default = matches!(node.domain, "" | "ai.onnx");
    let op = || if default { node.op.to_owned() } else { format!("{}.{}", node.domain, node.op) };
    let found = OPERATORS.iter().find(|(name, _)| default && *name == node.op);
    let Some((_, attributes)) = found else {
        let supported = supported_operators().join(", ");
        return Err(NetworkError::Unsupported { op: op(), node: label(node), supported });
    };
    let refused = |reason| NetworkError::from(LoadError::Node { op: op(), node: label(node), reason });
    for attribute in &node.attributes {
        let name = attribute.name;
        if !attributes.contains(&name) {
            return Err(refused(format!("its attribute {name} is not supported; export it without")));
        }
        if EXTENTS.contains(&name) {
            extents(name, &attribute.value).map_err(refused)?;
        }
    }
    special(node).map_err(refused)
}

/// Sizes are within bounds, and so is the number of places of a kernel.
fn extents(name: &str, value: &Value<'_>) -> Result<(), String> {
    let sizes: &[i64] = match value {
        Value::Int(size) => std::slice::from_ref(size),
        Value::Ints(sizes) => sizes,
        _ => return Err(format!("its attribute {name} is no whole number")),
    };
    if let Some(size) = sizes.iter().find(|size| !(0..=EXTENT_MAX).contains(*size)) {
        return Err(format!("its attribute {name} is {size}; it must be from 0 to {EXTENT_MAX}"));
    }
    let places = sizes.iter().try_fold(1_i64, |n, &size| n.checked_mul(size));
    match name == "kernel_shape" && places.is_none_or(|n| n > EXTENT_MAX) {
        true => Err(format!("its kernel_shape {sizes:?} has more than {EXTENT_MAX} places")),
        false => Ok(()),
    }
}

/// What is not told by the names of attributes.
fn special(node: &Node<'_>) -> Result<(), String> {
    let given = |names: &[&str]| names.iter().filter(|name| !name.is_empty()).count();
    let one_output = || match given(&node.outputs) {
        0 | 1 => Ok(()),
        n => Err(format!("it makes {n} values; only its first is supported")),
    };
    match node.op {
        "LSTM" | "GRU" | "RNN" => recurrent(node),
        "BatchNormalization" if int(node, "training_mode").unwrap_or(0) != 0 => {
            Err("it is in training mode; export the model in evaluation mode".to_owned())
        }
        "Dropout" if node.inputs.get(2).is_some_and(|name| !name.is_empty()) => {
            Err("it takes a training mode; export the model in evaluation mode".to_owned())
        }
        "BatchNormalization" | "Dropout" | "LayerNormalization" | "MaxPool" => one_output(),
        "Cast" => match int(node, "to") {
            Some(1 | 6 | 7 | 9 | 11) => Ok(()),
            _ => Err("it casts to none of float, double, int32, int64, bool".to_owned()),
        },
        "Pad" => match text(node, "mode") {
            None | Some(b"constant") => Ok(()),
            Some(mode) => {
                Err(format!("its mode is {:?}; constant is supported", String::from_utf8_lossy(mode)))
            }
        },
        _ => Ok(()),
    }
}

/// tract takes the number of directions from the weights, always forward first, and always the usual activations.
fn recurrent(node: &Node<'_>) -> Result<(), String> {
    let usual: &[&[u8]] = match node.op {
        "LSTM" => &[b"Sigmoid", b"Tanh", b"Tanh"],
        "GRU" => &[b"Sigmoid", b"Tanh"],
        _ => &[b"Tanh"],
    };
    let directions = match text(node, "direction") {
        None | Some(b"forward") => 1,
        Some(b"bidirectional") => 2,
        Some(other) => {
            let other = String::from_utf8_lossy(other).into_owned();
            return Err(format!("its direction is {other:?}; forward and bidirectional are supported"));
        }
    };
    let activations = node.attributes.iter().find(|a| a.name == "activations").map(|a| &a.value);
    if let Some(value) = activations {
        let same = match value {
            Value::Texts(names) => *names == usual.repeat(directions),
            _ => false,
        };
        if !same {
            return Err(
                "its activations are not the usual ones (Sigmoid, Tanh); others are not supported".to_owned()
            );
        }
    }
    match node.inputs.get(7).is_some_and(|name| !name.is_empty()) {
        true => Err("it has peepholes, which are not supported".to_owned()),
        false => Ok(()),
    }
}

fn int(node: &Node<'_>, name: &str) -> Option<i64> {
    node.attributes.iter().find(|a| a.name == name).and_then(|a| match a.value {
        Value::Int(value) => Some(value),
        _ => None,
    })
}

fn text<'a>(node: &Node<'a>, name: &str) -> Option<&'a [u8]> {
    node.attributes.iter().find(|a| a.name == name).and_then(|a| match a.value {
        Value::Text(value) => Some(value),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_onnx::proto::Message;

    const COMPARED: &[&[u8]] = &[
        include_bytes!("../../../tests/models/networks/rules.onnx"),
        include_bytes!("../../../tests/models/networks/rules_new.onnx"),
        include_bytes!("../../../tests/models/networks/dense.onnx"),
    ];

    #[test]
    fn each_operator_and_attribute_that_is_let_through_was_compared() {
        let messages: Vec<Message<'_>> = COMPARED.iter().map(|file| Message::read(file).unwrap()).collect();
        let nodes: Vec<&Node<'_>> = messages.iter().flat_map(|m| &m.graph.nodes).collect();
        for (op, attributes) in OPERATORS {
            assert!(nodes.iter().any(|n| n.op == *op), "{op}");
            for attribute in *attributes {
                let shown = |n: &Node<'_>| n.op == *op && n.attributes.iter().any(|a| a.name == *attribute);
                assert!(nodes.iter().any(|n| shown(n)), "{op}: {attribute}");
            }
        }
    }

    #[test]
    fn the_list_is_sorted() {
        assert!(OPERATORS.is_sorted(), "{:?}", supported_operators());
    }
}
