"""What the chart must agree with: the program's keys, the topics, the metrics, the chart's own values.

Owns: reading those files. Never: writes one.
"""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "evenkeel"
SERVICES = ("ingest", "coalescer", "sink", "gateway", "scorer")

# Section of the configuration → file with its keys. A service that is not there yet has none.
SECTIONS = {
    "process": "libs/chassis/src/process.toml",
    "kafka": "libs/kafka/src/kafka.toml",
    "cql": "libs/cql/src/cql.toml",
} | {service: f"services/{service}/src/default.toml" for service in SERVICES}


def keys_of(section):
    """The keys of a section as nested dicts of example values, those without a default included; None = no file."""
    path = ROOT / SECTIONS[section]
    return tomllib.loads(path.read_text().replace("#: ", "")) if path.exists() else None


def topics():
    """schemas/topics.toml."""
    return tomllib.loads((ROOT / "schemas" / "topics.toml").read_text())


def metrics():
    """Name as Prometheus has it → (kind, labels), from the declarations of libs/telemetry."""
    form = re.compile(r'^    (counter|gauge|histogram) \w+ "([a-z_.]+)" "([^"]+)" \[([^\]]*)\]', re.MULTILINE)
    found = {}
    for path in sorted((ROOT / "libs/telemetry/src/names").glob("*.rs")):
        for kind, name, unit, labels in form.findall(path.read_text()):
            suffix = {"s": "_seconds", "By": "_bytes"}.get(unit, "")
            total = "_total" if kind == "counter" else ""
            found[name.replace(".", "_") + suffix + total] = (kind, set(re.findall(r'"(\w+)"', labels)))
    assert len(found) > 40, found
    return found


def values():
    """The chart's default values."""
    return yaml.safe_load((CHART / "values.yaml").read_text())


def described_values():
    """(path, default, description) of every key of values.yaml, in its order: the comment above a key describes it."""
    rows, parents, comment = [], [], []
    for line in (CHART / "values.yaml").read_text().splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped.lstrip("# "))
            continue
        match = re.match(r"^( *)([A-Za-z0-9_.-]+):(.*)$", line)
        if match:
            depth = len(match[1]) // 2
            parents = parents[:depth] + [match[2]]
            rows.append((tuple(parents), " ".join(comment)))
        comment = []
    return rows
