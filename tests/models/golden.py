"""Golden cases: a model, the rows it is given, and what onnxruntime answers.

Owns: the form of cases/*.onnx and cases/*.json. Never: how a model is trained (trained.py, rules.py).
"""

import json
import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

CASES = Path(__file__).parent / "cases"
# Neural networks: libs/onnx does not have their operators, libs/neural runs them.
NETWORKS = Path(__file__).parent / "networks"
FILE_BYTES_MAX = 100 * 1024


def plain(value):
    """A number as JSON can hold it: what is not finite becomes text."""
    if isinstance(value, (str, bytes)):
        return value.decode() if isinstance(value, bytes) else value
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def matrix(answer):
    """An output of onnxruntime as (rows, columns); a ZipMap's dictionaries in the order of their classes."""
    if isinstance(answer, list):
        answer = np.array([list(row.values()) for row in answer], dtype=np.float32)
    answer = np.asarray(answer)
    return answer.reshape(answer.shape[0], -1) if answer.ndim > 0 else answer.reshape(1, 1)


def run(model, feeds):
    """What onnxruntime answers, one thread: (name, matrix) of every output."""
    runtime = session(model)
    names = [output.name for output in runtime.get_outputs()]
    return [(name, matrix(answer)) for name, answer in zip(names, runtime.run(names, feeds))]


def session(model):
    """onnxruntime with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def run_rows(model, feeds):
    """What onnxruntime answers to one row at a time, flat: (name, matrix) of every output."""
    runtime = session(model)
    names = [output.name for output in runtime.get_outputs()]
    shapes = {i.name: [d if isinstance(d, int) else 1 for d in i.shape] for i in runtime.get_inputs()}
    rows = len(next(iter(feeds.values())))
    answers = [
        runtime.run(names, {key: array[r].reshape(shapes[key]) for key, array in feeds.items()}) for r in range(rows)
    ]
    return [(name, np.array([np.asarray(a[i]).reshape(-1) for a in answers])) for i, name in enumerate(names)]


def write(name, model, feeds, folder=CASES):
    """Writes one case. `feeds`: input name -> array of shape (rows, columns)."""
    document = {
        "inputs": [
            {
                "name": key,
                "type": {"f": "f32" if array.dtype == np.float32 else "f64", "i": "i64"}.get(array.dtype.kind, "text"),
                "rows": [[plain(cell) for cell in row] for row in array],
            }
            for key, array in feeds.items()
        ],
        "outputs": [
            {"name": key, "rows": [[plain(cell) for cell in row] for row in answer]}
            for key, answer in (run_rows if folder == NETWORKS else run)(model, feeds)
        ],
    }
    folder.mkdir(exist_ok=True)
    for suffix, content in ((".onnx", model.SerializeToString()), (".json", (json.dumps(document) + "\n").encode())):
        if len(content) > FILE_BYTES_MAX:
            raise SystemExit(f"{name}{suffix}: {len(content)} bytes, the limit is {FILE_BYTES_MAX}")
        (folder / (name + suffix)).write_bytes(content)
    print(f"{name}: {len(model.graph.node)} nodes, {len(model.SerializeToString())} bytes")


def cell(value, dtype):
    """The inverse of `plain`."""
    return value if dtype == object else dtype(value)


def read(name, folder=CASES):
    """A case as it was written: model, feeds, outputs."""
    document = json.loads((folder / (name + ".json")).read_text())
    types = {"f32": np.float32, "f64": np.float64, "i64": np.int64, "text": object}
    feeds = {
        i["name"]: np.array([[cell(c, types[i["type"]]) for c in row] for row in i["rows"]], dtype=types[i["type"]])
        for i in document["inputs"]
    }
    return onnx.load(folder / (name + ".onnx")), feeds, document["outputs"]
