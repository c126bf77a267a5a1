"""Neural networks with operators that the evaluator of libs/onnx does not have.

Owns: hand-made graphs with random weights of a fixed seed. Never: training, the form of a golden case (golden.py).
A row is one run: the dimension called "rows" is 1, the columns are the other dimensions, the last one fastest.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


class Net:
    """A graph that is being made."""

    def __init__(self, seed, opset=17):
        self.random, self.opset = np.random.default_rng(seed), opset
        self.nodes, self.constants, self.outputs = [], [], []

    def weights(self, *shape, scale=0.5):
        return self.constant((self.random.standard_normal(shape) * scale).astype(np.float32))

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def ints(self, *values):
        return self.constant(np.array(values, dtype=np.int64))

    def add(self, op, *inputs, outputs=1, **attributes):
        """A node; its output, or outputs."""
        made = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, made, **attributes))
        return made[0] if outputs == 1 else made

    def show(self, name, op, *inputs, kind=FLOAT, **attributes):
        """A node whose output is one of the graph's."""
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        self.outputs.append(helper.make_tensor_value_info(name, kind, None))

    def model(self, inputs, features=None):
        ports = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs]
        graph = helper.make_graph(self.nodes, "network", ports, self.outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)
        if features:
            helper.set_model_props(model, {"features": ",".join(features)})
        return model


def rows(seed, count, columns):
    return np.random.default_rng(seed).standard_normal((count, columns)).astype(np.float32)


def convolution():
    """Two convolutions over the last 16 windows of three fields, then dense layers; two classes."""
    net = Net(1)
    x = net.add("Conv", "x", net.weights(8, 3, 5), net.weights(8), kernel_shape=[5], pads=[2, 2])
    x = net.add("Relu", x)
    x = net.add("MaxPool", x, kernel_shape=[2], strides=[2])
    x = net.add("Conv", x, net.weights(8, 8, 3), net.weights(8), kernel_shape=[3])
    x = net.add("Relu", x)
    x = net.add("Flatten", x)
    x = net.add("Gemm", x, net.weights(8, 48), net.weights(8), transB=1)
    x = net.add("Relu", x)
    x = net.add("Gemm", x, net.weights(2, 8), net.weights(2), transB=1)
    net.show("probabilities", "Softmax", x)
    fields = ["weight", "temp", "ph"]
    features = [f"{f}.mean" + (f"@{lag}" if lag else "") for f in fields for lag in reversed(range(16))]
    return net.model([("x", ["rows", 3, 16])], features), {"x": rows(11, 24, 48)}


def dense():
    """Dense layers with a batch normalization, as a trainer exports them in evaluation mode."""
    net = Net(2)
    x = net.add("Gemm", "x", net.weights(16, 6), net.weights(16), transB=1)
    variance = net.constant(np.linspace(0.5, 2, 16, dtype=np.float32))
    x = net.add("BatchNormalization", x, net.weights(16), net.weights(16), net.weights(16), variance, momentum=0.9)
    x = net.add("LeakyRelu", x, alpha=0.1)
    x = net.add("Dropout", x)
    x = net.add("Gemm", x, net.weights(1, 16), net.weights(1), transB=1)
    net.show("score", "Sigmoid", x)
    return net.model([("x", ["rows", 6])], [f"f{i}" for i in range(6)]), {"x": rows(12, 30, 6)}


def recurrent(op, gates, seed, directions=1, **attributes):
    """Eight steps of three fields through one recurrent layer, then a dense one."""
    net, hidden = Net(seed), 6
    direction = {"direction": "bidirectional"} if directions == 2 else {}
    x = net.add("Transpose", "x", perm=[1, 0, 2])
    weights = [
        net.weights(directions, gates * hidden, 3),
        net.weights(directions, gates * hidden, hidden),
        net.weights(directions, 2 * gates * hidden),
    ]
    _, last = net.add(op, x, *weights, outputs=2, hidden_size=hidden, **direction, **attributes)
    x = net.add("Transpose", last, perm=[1, 0, 2])
    x = net.add("Reshape", x, net.ints(-1, directions * hidden))
    x = net.add("Gemm", x, net.weights(1, directions * hidden), net.weights(1), transB=1)
    net.show("score", "Sigmoid", x)
    return net.model([("x", [1, 8, 3])]), {"x": rows(seed + 10, 12, 24)}


def lstm():
    """The initial state is made from the shape of the input, as exporters with an open batch do."""
    net, hidden = Net(7), 5
    batch = net.add("Gather", net.add("Shape", "x"), net.constant(np.int64(0)), axis=0)
    batch = net.add("Unsqueeze", batch, net.ints(0))
    shape = net.add("Concat", net.ints(1), batch, net.ints(hidden), axis=0)
    zeros = net.add("ConstantOfShape", shape)
    state = net.add("Expand", net.constant(np.zeros((1, 1, 1), dtype=np.float32)), shape)
    x = net.add("Transpose", "x", perm=[1, 0, 2])
    weights = [net.weights(1, 4 * hidden, 3), net.weights(1, 4 * hidden, hidden), net.weights(1, 8 * hidden)]
    steps, _, _ = net.add("LSTM", x, *weights, "", zeros, state, outputs=3, hidden_size=hidden)
    x = net.add("Transpose", net.add("Squeeze", steps, net.ints(1)), perm=[1, 0, 2])
    x = net.add("Gather", x, net.constant(np.int64(-1)), axis=1)
    x = net.add("Gemm", x, net.weights(1, hidden), net.weights(1), transB=1)
    net.show("score", "Sigmoid", x)
    return net.model([("x", ["rows", 8, 3])]), {"x": rows(17, 12, 24)}


def rules():
    """Every operator that libs/neural lets through, with its attributes; "x" is a table, "s" a signal."""
    net = Net(8)
    numbers = net.constant(np.array([0.5, -1.5, 2.0, 0.25, -0.75, 3.0], dtype=np.float32))
    positive = net.add("Abs", "x")
    for op in ["Abs", "Erf", "Exp", "HardSwish", "Identity", "Neg", "Relu", "Sigmoid", "Softplus", "Softsign", "Tanh"]:
        net.show(op, op, "x")
    for op in ["Log", "Reciprocal", "Sqrt"]:
        net.show(op, op, net.add("Add", positive, net.constant(np.float32(0.1))))
    for op in ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum"]:
        net.show(op, op, "x", numbers)
    net.show("Pow", "Pow", positive, net.constant(np.float32(1.5)))
    for op in ["Equal", "Greater", "Less"]:
        net.show(op, op, "x", numbers, kind=BOOL)
    net.show("Not", "Not", net.add("Greater", "x", numbers), kind=BOOL)
    net.show("Where", "Where", net.add("Greater", "x", numbers), "x", numbers)
    net.show("Elu", "Elu", "x", alpha=0.7)
    net.show("Elu_default", "Elu", "x")
    net.show("Selu", "Selu", "x", alpha=1.5, gamma=1.1)
    net.show("Selu_default", "Selu", "x")
    net.show("LeakyRelu", "LeakyRelu", "x")
    net.show("HardSigmoid", "HardSigmoid", "x", alpha=0.3, beta=0.4)
    net.show("HardSigmoid_default", "HardSigmoid", "x")
    net.show("ThresholdedRelu", "ThresholdedRelu", "x", alpha=0.4)
    net.show("PRelu", "PRelu", "x", numbers)
    net.show("Clip", "Clip", "x", net.constant(np.float32(-0.5)), net.constant(np.float32(0.75)))
    net.show("Softmax", "Softmax", "x", axis=1)
    net.show("LogSoftmax", "LogSoftmax", "x")
    net.show("LogSoftmax_axis", "LogSoftmax", "s", axis=1)
    net.show("Softmax_axis", "Softmax", "s", axis=1)
    net.show("Cast", "Cast", net.add("Cast", "x", to=INT64), to=FLOAT)
    net.show("Cast_bool", "Cast", net.add("Greater", "x", numbers), to=FLOAT)
    net.show("Cast_int32", "Cast", net.add("Cast", "x", to=TensorProto.INT32), to=INT64, kind=INT64)
    net.show("Cast_double", "Cast", net.add("Cast", "x", to=TensorProto.DOUBLE), to=FLOAT)
    net.show("ArgMax", "ArgMax", "x", axis=1, keepdims=0, kind=INT64)
    net.show("ArgMax_keep", "ArgMax", "s", axis=2, kind=INT64)
    for op in ["ReduceMax", "ReduceMean", "ReduceMin"]:
        net.show(op, op, "s", axes=[2], keepdims=0)
        net.show(op + "_keep", op, "s", axes=[1, 2])
    net.show("ReduceSum", "ReduceSum", "s", net.ints(1), keepdims=0)
    shapes(net)
    signals(net)
    return net.model([("x", ["rows", 6]), ("s", ["rows", 4, 9])]), {"x": rows(18, 2, 6), "s": rows(19, 2, 36)}


def shapes(net):
    """Operators that move cells about."""
    net.show("Concat", "Concat", "x", net.add("Neg", "x"), axis=1)
    net.show("Flatten", "Flatten", "s", axis=1)
    net.show("Flatten_two", "Flatten", "s", axis=2)
    net.show("Reshape", "Reshape", "s", net.ints(1, 3, 12))
    net.show("Reshape_kept", "Reshape", "s", net.ints(0, -1), allowzero=0)
    net.show("Transpose", "Transpose", "s", perm=[0, 2, 1])
    net.show("Squeeze", "Squeeze", net.add("Unsqueeze", "s", net.ints(1)), net.ints(1))
    net.show("Slice", "Slice", "s", net.ints(1), net.ints(8), net.ints(2), net.ints(2))
    net.show("Slice_end", "Slice", "s", net.ints(-3), net.ints(np.iinfo(np.int64).max), net.ints(2))
    first, second = net.add("Split", "s", net.ints(4, 5), outputs=2, axis=2)
    net.show("Split", "Concat", second, first, axis=2)
    net.show("Gather", "Gather", "s", net.ints(3, 0), axis=1)
    net.show("Pad", "Pad", "s", net.ints(0, 0, 2, 0, 0, 1), net.constant(np.float32(0.5)), mode="constant")
    net.show("Pad_zero", "Pad", "s", net.ints(0, 1, 0, 0, 0, 3))
    net.show("Expand", "Expand", "x", net.ints(3, 1, 6))
    net.show("Shape", "Shape", "s", kind=INT64)
    net.show("ConstantOfShape", "Add", "x", net.add("ConstantOfShape", net.ints(1, 6), value=value(1.5)))
    net.show("Constant", "Add", "x", net.add("Constant", value=value(0.5)))
    net.show("Constant_float", "Add", "x", net.add("Constant", value_float=0.25))
    net.show("Constant_floats", "Add", "x", net.add("Constant", value_floats=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
    net.show("Constant_ints", "Reshape", "x", net.add("Constant", value_ints=[3, 2]))
    net.show("Constant_int", "Gather", "x", net.add("Constant", value_int=2), axis=1)


def value(x):
    return helper.make_tensor("value", FLOAT, [1], [x])


def signals(net):
    """Convolutions, pools, normalizations, products, recurrent layers with what was not shown elsewhere."""
    signal = net.weights(6, 4, 3)
    net.show("Conv_plain", "Conv", "s", signal)
    net.show("Conv_stride", "Conv", "s", signal, net.weights(6), strides=[2], pads=[1, 2], kernel_shape=[3])
    net.show("Conv_dilated", "Conv", "s", signal, dilations=[2])
    net.show("Conv_grouped", "Conv", "s", net.weights(4, 2, 3), group=2)
    net.show("Conv_upper", "Conv", "s", net.weights(2, 4, 4), auto_pad="SAME_UPPER", strides=[2])
    net.show("Conv_lower", "Conv", "s", net.weights(2, 4, 4), auto_pad="SAME_LOWER")
    image = net.add("Unsqueeze", "s", net.ints(1))
    net.show("Conv_image", "Conv", image, net.weights(2, 1, 3, 3), net.weights(2), pads=[1, 0, 1, 0])
    net.show("MaxPool_plain", "MaxPool", "s", kernel_shape=[3])
    net.show("MaxPool", "MaxPool", "s", kernel_shape=[2], strides=[2], pads=[1, 0], dilations=[2])
    net.show("AveragePool", "AveragePool", "s", kernel_shape=[3], strides=[2], pads=[1, 1])
    net.show("AveragePool_padded", "AveragePool", "s", kernel_shape=[3], pads=[1, 1], count_include_pad=1)
    net.show("GlobalAveragePool", "GlobalAveragePool", "s")
    net.show("GlobalMaxPool", "GlobalMaxPool", "s")
    variance = net.constant(np.array([0.5, 1.0, 2.0, 4.0], dtype=np.float32))
    moments = [net.weights(4), net.weights(4), net.weights(4), variance]
    net.show("BatchNormalization", "BatchNormalization", "s", *moments, epsilon=0.01, training_mode=0)
    net.show("InstanceNormalization", "InstanceNormalization", "s", net.weights(4), net.weights(4), epsilon=0.01)
    net.show("LayerNormalization", "LayerNormalization", "s", net.weights(9), net.weights(9))
    net.show("LayerNormalization_two", "LayerNormalization", "s", net.weights(4, 9), axis=1, epsilon=0.01)
    net.show("Dropout", "Dropout", "s", net.constant(np.float32(0.4)), seed=3)
    net.show("MatMul", "MatMul", "s", net.weights(9, 2))
    net.show("MatMul_batch", "MatMul", net.weights(4, 4), "s")
    net.show("Gemm", "Gemm", "x", net.weights(6, 3), net.weights(3), alpha=0.5, beta=2.0)
    net.show("Gemm_turned", "Gemm", net.weights(6, 2), "x", transA=1, transB=1)
    steps = net.add("Transpose", "s", perm=[2, 0, 1])
    for op, gates, usual in [("LSTM", 4, ["Sigmoid", "Tanh", "Tanh"]), ("GRU", 3, ["Sigmoid", "Tanh"]), ("RNN", 1, ["Tanh"])]:
        one = [net.weights(1, gates * 3, 4), net.weights(1, gates * 3, 3)]
        two = [net.weights(2, gates * 3, 4), net.weights(2, gates * 3, 3), net.weights(2, 2 * gates * 3)]
        net.show(op, op, steps, *one, hidden_size=3, activations=usual, direction="forward")
        net.show(op + "_both", op, steps, *two, hidden_size=3, activations=2 * usual, direction="bidirectional")
    gates = [net.weights(1, 9, 4), net.weights(1, 9, 3), net.weights(1, 18)]
    net.show("GRU_reset", "GRU", steps, *gates, hidden_size=3, linear_before_reset=1)


def rules_new():
    """Operators that a later operator set brought, or changed."""
    net = Net(9, opset=20)
    net.show("Gelu", "Gelu", "x")
    net.show("Gelu_tanh", "Gelu", "x", approximate="tanh")
    net.show("Mish", "Mish", "x")
    for op in ["ReduceMax", "ReduceMean", "ReduceMin"]:
        net.show(op, op, "x", net.ints(1), keepdims=0)
    return net.model([("x", ["rows", 6])]), {"x": rows(20, 9, 6)}


def cases():
    """(name, model, feeds) of every network."""
    yield "convolution", *convolution()
    yield "dense", *dense()
    yield "lstm", *lstm()
    yield "gru", *recurrent("GRU", 3, 4, directions=2, linear_before_reset=1)
    yield "rnn", *recurrent("RNN", 1, 5)
    yield "rules", *rules()
    yield "rules_new", *rules_new()
