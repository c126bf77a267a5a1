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
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return [(name, matrix(answer)) for name, answer in zip(names, session.run(names, feeds))]


def write(name, model, feeds):
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
            {"name": key, "rows": [[plain(cell) for cell in row] for row in answer]} for key, answer in run(model, feeds)
        ],
    }
    CASES.mkdir(exist_ok=True)
    for suffix, content in ((".onnx", model.SerializeToString()), (".json", (json.dumps(document) + "\n").encode())):
        if len(content) > FILE_BYTES_MAX:
            raise SystemExit(f"{name}{suffix}: {len(content)} bytes, the limit is {FILE_BYTES_MAX}")
        (CASES / (name + suffix)).write_bytes(content)
    print(f"{name}: {len(model.graph.node)} nodes, {len(model.SerializeToString())} bytes")


def cell(value, dtype):
    """The inverse of `plain`."""
    return value if dtype == object else dtype(value)


def read(name):
    """A case as it was written: model, feeds, outputs."""
    document = json.loads((CASES / (name + ".json")).read_text())
    types = {"f32": np.float32, "f64": np.float64, "i64": np.int64, "text": object}
    feeds = {
        i["name"]: np.array([[cell(c, types[i["type"]]) for c in row] for row in i["rows"]], dtype=types[i["type"]])
        for i in document["inputs"]
    }
    return onnx.load(CASES / (name + ".onnx")), feeds, document["outputs"]
