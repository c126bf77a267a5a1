"""Makes sample/: a small model with a text column, rows, and a configuration. `python train_sample.py`."""

from pathlib import Path

import numpy as np
import trained
from skl2onnx import convert_sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder

SAMPLE = Path(__file__).parent / "sample"
CONFIG = """# evenkeel score --config tests/models/sample/config.yaml --out artifacts
model: bowls.onnx
input: bowls.csv
jitter_ms: 2.0
queue_max: 32
workers: 2
seed: 7
"""

if __name__ == "__main__":
    frame, target = trained.mixed(np.random.default_rng(42), 400)
    encoder = OneHotEncoder(handle_unknown="ignore")
    pipeline = trained.mixed_pipeline(encoder, LogisticRegression()).fit(frame, target)
    model = convert_sklearn(pipeline, initial_types=trained.COLUMNS)
    SAMPLE.mkdir(exist_ok=True)
    (SAMPLE / "bowls.onnx").write_bytes(model.SerializeToString())
    rows = frame.iloc[:200]
    rows.insert(0, "stream_id", [f"bowl/{i % 20}" for i in range(len(rows))])
    rows.to_csv(SAMPLE / "bowls.csv", index=False, float_format="%.3f")
    rows.to_parquet(SAMPLE / "bowls.parquet", index=False)
    (SAMPLE / "config.yaml").write_text(CONFIG)
    print(f"{SAMPLE}: model, {len(rows)} rows as CSV and Parquet, configuration")
