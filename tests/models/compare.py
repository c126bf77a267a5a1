"""Asks onnxruntime again for every committed case and compares with what the case says. `python compare.py`."""

import golden
import numpy as np


def different(case, want, got):
    """The largest difference of an output, relative above 1; 1 where text differs."""
    if want and isinstance(want[0][0], str) and not np.issubdtype(got.dtype, np.number):
        return float(want != got.tolist())
    want = np.array([[float(c) for c in row] for row in want])
    gap = np.abs(got.astype(np.float64) - want) / np.maximum(1, np.abs(want))
    return float(np.nan_to_num(np.where(np.equal(got, want), 0, gap)).max(initial=0))


if __name__ == "__main__":
    worst = 0.0
    for path in sorted([*golden.CASES.glob("*.onnx"), *golden.NETWORKS.glob("*.onnx")]):
        model, feeds, outputs = golden.read(path.stem, path.parent)
        answers = dict((golden.run_rows if path.parent == golden.NETWORKS else golden.run)(model, feeds))
        for output in outputs:
            gap = different(path.stem, output["rows"], answers[output["name"]])
            worst = max(worst, gap)
            if gap > 1e-6:
                raise SystemExit(f"{path.stem} {output['name']}: differs by {gap} from what the case says")
    print(f"all cases are what onnxruntime {golden.onnxruntime.__version__} answers; largest difference {worst:.1e}")
