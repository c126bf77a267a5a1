"""Makes the golden cases anew: trains, exports, asks onnxruntime. `python make.py [name …]`."""

import sys
import warnings

import golden
import networks
import rules
import trained

if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    wanted = set(sys.argv[1:])
    for name, model, feeds in [*rules.cases(), *trained.cases()]:
        if not wanted or name in wanted:
            golden.write(name, model, feeds)
    for name, model, feeds in networks.cases():
        if not wanted or name in wanted:
            golden.write(name, model, feeds, golden.NETWORKS)
