"""What `evenkeel bench score` is compared with: source C's pipeline in Python, and onnxruntime, on one model and its rows.

python peer.py make DIR ROWS              trains the models, exports them, writes the rows
python peer.py scikit DIR MODEL ROWS      row by row: a row of a data frame, then predict_proba
python peer.py stream DIR MODEL ROWS      row by row: onnxruntime, one thread
python peer.py batch DIR MODEL ROUNDS     all rows at once: onnxruntime, one thread
Each run prints one JSON object: rows, seconds, CPU seconds, p99 of a row in µs (0 for a batch), and the sum of the scores.

Owns: data, training, its own clock. Never: what a goal is (services/evenkeel/src/bench/score).
"""

import json
import pickle
import sys
import time
from pathlib import Path

import numpy as np

NUMBERS = [f"x{i}" for i in range(8)]


def make(folder, rows):
    import pandas as pd
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(3)
    x = rng.normal(50, 20, size=(4_000 + rows, len(NUMBERS))).astype(np.float32)
    target = (x[:, 0] + 0.3 * x[:, 1] - 0.2 * x[:, 2] + rng.normal(0, 8, len(x)) > 55).astype(int)
    x[rng.random(x.shape) < 0.01] = np.nan
    # Doubles that are floats: the file says exactly what every contender reads.
    frame = pd.DataFrame(x.astype(np.float64), columns=NUMBERS)
    for name, model in [
        ("linear", LogisticRegression(max_iter=500)),
        ("tree", RandomForestClassifier(100, max_depth=8, random_state=1)),
    ]:
        steps = [("impute", SimpleImputer()), ("scale", StandardScaler()), ("model", model)]
        pipeline = Pipeline(steps).fit(frame[:4_000], target[:4_000])
        exported = convert_sklearn(
            pipeline, initial_types=[("X", FloatTensorType([None, len(NUMBERS)]))], options={id(pipeline): {"zipmap": False}}
        )
        (folder / f"{name}.onnx").write_bytes(exported.SerializeToString())
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(pipeline))
    frame[4_000:].to_csv(folder / "rows.csv", index=False)


def frame_of(folder):
    import pandas as pd

    return pd.read_csv(folder / "rows.csv")


def session_of(folder, model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(folder / f"{model}.onnx", options, providers=["CPUExecutionProvider"])


def timed(rows, score):
    """Rows one after the other; one first, so that nothing is loaded while the clock runs."""
    score(0)
    spent, total = np.empty(rows), 0.0
    cpu, began = time.process_time(), time.perf_counter()
    for row in range(rows):
        at = time.perf_counter()
        total += score(row)
        spent[row] = time.perf_counter() - at
    seconds = time.perf_counter() - began
    return {
        "rows": rows,
        "seconds": seconds,
        "cpu_s": time.process_time() - cpu,
        "p99_us": float(np.percentile(spent, 99)) * 1e6,
        "sum": total,
    }


def scikit(folder, model, rows):
    frame, pipeline = frame_of(folder), pickle.loads((folder / f"{model}.pickle").read_bytes())
    return timed(rows, lambda row: float(pipeline.predict_proba(frame.iloc[[row]])[0, 1]))


def stream(folder, model, rows):
    values, session = frame_of(folder).to_numpy(np.float32), session_of(folder, model)
    return timed(rows, lambda row: float(session.run(["probabilities"], {"X": values[row : row + 1]})[0][0, 1]))


def batch(folder, model, rounds):
    values, session = frame_of(folder).to_numpy(np.float32), session_of(folder, model)
    session.run(["probabilities"], {"X": values[:10]})
    cpu, began = time.process_time(), time.perf_counter()
    for _ in range(rounds):
        total = float(session.run(["probabilities"], {"X": values})[0][:, 1].sum(dtype=np.float64))
    return {
        "rows": rounds * len(values),
        "seconds": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu,
        "p99_us": 0.0,
        "sum": total,
    }


if __name__ == "__main__":
    what, folder, *rest = sys.argv[1:]
    if what == "make":
        make(Path(folder), int(rest[0]))
    else:
        run = {"scikit": scikit, "stream": stream, "batch": batch}[what]
        print(json.dumps(run(Path(folder), rest[0], int(rest[1]))))
