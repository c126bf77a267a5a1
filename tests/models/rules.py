"""Models of one operator each, joined into few files: the rules that no exporter shows all of.

Owns: hand-made graphs. Never: training (trained.py), the form of a golden case (golden.py).
"""

from itertools import product

import numpy as np
from onnx import TensorProto, helper, numpy_helper

ML = "ai.onnx.ml"
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def model_of(nodes, inputs, outputs, constants=(), ml=3, opset=15):
    """A model whose outputs are (name, type)."""
    graph = helper.make_graph(
        nodes,
        "rules",
        [helper.make_tensor_value_info(n, t, [None, w]) for n, t, w in inputs],
        [helper.make_tensor_value_info(n, t, None) for n, t in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(ML, ml)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def stumps(mode="BRANCH_LEQ", tracks=0):
    """Two trees of one comparison each, as attributes."""
    return {
        "nodes_treeids": [0, 0, 0, 1, 1, 1],
        "nodes_nodeids": [0, 1, 2, 0, 1, 2],
        "nodes_featureids": [0, 0, 0, 1, 0, 0],
        "nodes_modes": [mode, "LEAF", "LEAF"] * 2,
        "nodes_values": [0.5, 0, 0, -0.25, 0, 0],
        "nodes_truenodeids": [1, 0, 0, 1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0, 2, 0, 0],
        "nodes_missing_value_tracks_true": [tracks, 0, 0, tracks, 0, 0],
    }


def leaves(prefix, ids, weights):
    """The votes of the four leaves."""
    return {
        f"{prefix}_treeids": [0, 0, 1, 1],
        f"{prefix}_nodeids": [1, 2, 1, 2],
        f"{prefix}_ids": ids,
        f"{prefix}_weights": weights,
    }


GRID = np.array([[a, b] for a in (-1.0, 0.5, 2.0, np.nan) for b in (-0.25, -3.0, 0.1)], dtype=np.float32)


def classifier_rules():
    """Every way that two or three classes, base values, signs and transforms meet."""
    nodes, outputs = [], []
    weights = {"positive": [0.1, 0.7, 0.2, 0.15], "mixed": [-0.6, 0.8, -0.3, 0.9]}
    ids = {"first": [0, 0, 0, 0], "second": [1, 1, 1, 1], "both": [0, 1, 0, 1]}
    bases = {"none": [], "one": [0.125], "two": [0.25, -0.5]}
    transforms = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"]
    for (sign, w), (which, i), (base, b), transform in product(weights.items(), ids.items(), bases.items(), transforms):
        # One base value beside votes for both classes leaves onnxruntime's second column unwritten: there is
        # nothing to compare with. The same holds for PROBIT wherever a class has no vote.
        if (which, base) == ("both", "one"):
            continue
        name = f"{sign}_{which}_{base}_{transform}"
        more = {"base_values": b} if b else {}
        nodes.append(
            helper.make_node(
                "TreeEnsembleClassifier",
                ["x"],
                [f"label_{name}", f"score_{name}"],
                domain=ML,
                # Without a vote for only one class, onnxruntime answers 0 and 1, whatever the labels are.
                classlabels_int64s=[0, 1] if which == "both" else [10, 20],
                post_transform=transform,
                **stumps(),
                **leaves("class", i, w),
                **more,
            )
        )
        outputs += [(f"label_{name}", TensorProto.INT64), (f"score_{name}", TensorProto.FLOAT)]
    return model_of(nodes, [("x", TensorProto.FLOAT, 2)], outputs), {"x": GRID}


def regressor_rules():
    """Modes, missing values, aggregate functions, several targets, base values."""
    nodes, outputs = [], []

    def add(name, **attributes):
        nodes.append(helper.make_node("TreeEnsembleRegressor", ["x"], [name], domain=ML, **attributes))
        outputs.append((name, TensorProto.FLOAT))

    for mode, tracks in product(MODES, [0, 1]):
        add(f"{mode}_{tracks}", n_targets=1, **stumps(mode, tracks), **leaves("target", [0] * 4, [1.0, 2.0, 4.0, 8.0]))
    mixed = stumps()
    mixed["nodes_modes"] = ["BRANCH_LT", "LEAF", "LEAF", "BRANCH_GTE", "LEAF", "LEAF"]
    add("mixed_modes", n_targets=1, **mixed, **leaves("target", [0] * 4, [1.0, 2.0, 4.0, 8.0]))
    for function, base in product(["SUM", "AVERAGE", "MIN", "MAX"], [[], [0.5]]):
        more = {"base_values": base} if base else {}
        add(
            f"{function}_{len(base)}",
            n_targets=1,
            aggregate_function=function,
            **stumps(),
            **leaves("target", [0] * 4, [-1.0, 2.5, 4.0, -8.0]),
            **more,
        )
        more = {"base_values": [0.5, -1.0]} if base else {}
        add(
            f"two_{function}_{len(base)}",
            n_targets=2,
            aggregate_function=function,
            **stumps(),
            **leaves("target", [0, 1, 1, 0], [-1.0, 2.5, 4.0, -8.0]),
            **more,
        )
    for transform, targets in product(["LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"], [1, 2]):
        add(
            f"{transform}_{targets}",
            n_targets=targets,
            post_transform=transform,
            **stumps(),
            **leaves("target", [0, 0, targets - 1, targets - 1], [0.1, 0.3, 0.2, 0.4]),
        )
    return model_of(nodes, [("x", TensorProto.FLOAT, 2)], outputs), {"x": GRID}


def linear_rules():
    """LinearClassifier with one and with more rows of coefficients, and every transform."""
    nodes, outputs = [], []
    for transform, rows in product(["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"], [1, 2, 3]):
        name = f"{transform}_{rows}"
        labels = ["no", "yes", "perhaps"][: max(rows, 2)]
        nodes.append(
            helper.make_node(
                "LinearClassifier",
                ["x"],
                [f"label_{name}", f"score_{name}"],
                domain=ML,
                coefficients=[0.5, -1.0, 0.25, 0.75, -0.5, 1.5][: 2 * rows],
                intercepts=[0.1, -0.2, 0.3][:rows],
                classlabels_strings=labels,
                post_transform=transform,
            )
        )
        outputs += [(f"label_{name}", TensorProto.STRING), (f"score_{name}", TensorProto.FLOAT)]
    nodes.append(
        helper.make_node(
            "LinearRegressor", ["x"], ["two"], domain=ML, coefficients=[1.0, 2.0, -1.0, 0.5], intercepts=[0.5, -0.5], targets=2
        )
    )
    outputs.append(("two", TensorProto.FLOAT))
    return model_of(nodes, [("x", TensorProto.FLOAT, 2)], outputs, ml=1), {"x": GRID[~np.isnan(GRID).any(axis=1)]}


def preparation_rules():
    """Encoders, imputers and the glue between them, on numbers and on text."""
    nodes, outputs = [], []

    def add(op, inputs, name, kind, domain=ML, **attributes):
        nodes.append(helper.make_node(op, inputs, [name], domain=domain, **attributes))
        outputs.append((name, kind))

    floats, ints, text = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
    add("Imputer", ["x"], "impute_one", floats, imputed_value_floats=[7.0], replaced_value_float=float("nan"))
    add("Imputer", ["x"], "impute_each", floats, imputed_value_floats=[7.0, 8.0], replaced_value_float=0.5)
    add("Imputer", ["n"], "impute_ints", ints, imputed_value_int64s=[70], replaced_value_int64=2)
    add("Scaler", ["x"], "scale_one", floats, offset=[1.0], scale=[0.5])
    add("Scaler", ["n"], "scale_ints", floats, offset=[1.0], scale=[0.5])
    add("Binarizer", ["filled"], "binary", floats, threshold=0.25)
    for norm in ("MAX", "L1", "L2"):
        add("Normalizer", ["filled"], f"norm_{norm}", floats, norm=norm)
    add("OneHotEncoder", ["t"], "hot_text", floats, cats_strings=["a", "b"], zeros=1)
    add("OneHotEncoder", ["n"], "hot_ints", floats, cats_int64s=[1, 3], zeros=1)
    add("LabelEncoder", ["t"], "text_ints", ints, keys_strings=["a", "b"], values_int64s=[5, 6], default_int64=-7)
    add("LabelEncoder", ["t"], "text_floats", floats, keys_strings=["a", "b"], values_floats=[5.5, 6.5])
    add("LabelEncoder", ["n"], "ints_text", text, keys_int64s=[1, 2], values_strings=["one", "two"])
    add("LabelEncoder", ["x"], "floats_ints", ints, keys_floats=[0.5, float("nan")], values_int64s=[1, 2])
    add("FeatureVectorizer", ["x", "filled"], "vector", floats, inputdimensions=[2, 2])
    add("ArrayFeatureExtractor", ["x", "at"], "extract", floats)
    add("Gather", ["x", "at"], "gather", floats, "", axis=1)
    add("Softmax", ["filled"], "softmax", floats, "", axis=1)
    add("ReduceSum", ["filled", "one"], "sum", floats, "", keepdims=0)
    add("ReduceMean", ["filled"], "mean", floats, "", axes=[1])
    add("ArgMax", ["filled"], "largest", ints, "", axis=1)
    add("ArgMin", ["filled"], "smallest", ints, "", axis=1, keepdims=0)
    add("Where", ["isnan", "zeros", "x"], "where", floats, "")
    add("Not", ["isnan"], "not", TensorProto.BOOL, "")
    add("Equal", ["n", "two"], "equal", TensorProto.BOOL, "")
    add("Gemm", ["filled", "matrix", "zeros"], "gemm", floats, "", alpha=2.0, beta=3.0, transB=1)
    add("Cast", ["x_text"], "read_back", floats, "", to=TensorProto.FLOAT)
    add("Cast", ["n"], "as_text", text, "", to=TensorProto.STRING)
    before = [
        helper.make_node("Imputer", ["x"], ["filled"], domain=ML, imputed_value_floats=[-1.5, 0.0], replaced_value_float=float("nan")),
        helper.make_node("IsNaN", ["x"], ["isnan"]),
        helper.make_node("Cast", ["n"], ["x_text"], to=TensorProto.STRING),
    ]
    constants = [
        ("at", np.array([1], dtype=np.int64)),
        ("one", np.array([1], dtype=np.int64)),
        ("two", np.array([2], dtype=np.int64)),
        ("zeros", np.array([[0.0, 0.25]], dtype=np.float32)),
        ("matrix", np.array([[1.0, 2.0], [3.0, -4.0]], dtype=np.float32)),
    ]
    model = model_of(before + nodes, [("x", floats, 2), ("n", ints, 1), ("t", text, 1)], outputs, constants, ml=2)
    rows = len(GRID)
    n = (np.arange(rows) % 4).reshape(-1, 1)
    t = np.array([["a", "b", "NA", ""][i % 4] for i in range(rows)], dtype=object).reshape(-1, 1)
    return model, {"x": GRID, "n": n, "t": t}


def cases():
    """(name, model, feeds) of every set of rules."""
    yield "rules_classifier", *classifier_rules()
    yield "rules_regressor", *regressor_rules()
    yield "rules_linear", *linear_rules()
    yield "rules_preparation", *preparation_rules()
