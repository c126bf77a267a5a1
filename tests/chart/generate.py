"""Writes what is made from something else: schema, README table, topics, rules and dashboards. `--check` compares instead.

    generate.py [--check]        HELM names the program, default helm
"""

import json
import os
import subprocess
import sys

import dashboards
import schema
import sources
import yaml

START, END = "<!-- generated: values -->\n", "<!-- end: values -->"


def topics_file():
    """files/topics.yaml: what strimzi.topics makes, from schemas/topics.toml."""
    declared = sources.topics()
    most = declared["events"]["partitions"]
    out = {}
    for name, topic in declared.items():
        # Topics about streams have as many partitions as kafka.partitions says; others their own number.
        shared = topic["partitions"] == most
        out[name] = {"shared": shared, "partitions": topic["partitions"], "config": topic["config"]}
    head = "# Made from schemas/topics.toml by `make chart-generate`.\n"
    return head + yaml.safe_dump(out, sort_keys=True)


def cell(value):
    text = json.dumps(value) if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= 60 else "…"


def readme():
    """README.md with the table of values between its markers."""
    text = (sources.CHART / "README.md").read_text()
    rows = ["| value | default | meaning |", "| --- | --- | --- |"]
    described, values = sources.described_values(), sources.values()
    for path, why in described:
        at = values
        for part in path:
            at = at[part] if isinstance(at, dict) and part in at else None
        inner = isinstance(at, dict) and at and any(p[: len(path)] == path and len(p) > len(path) for p, _ in described)
        if not why:
            continue
        default = "" if inner else f"`{cell(at)}`"
        rows.append(f"| `{'.'.join(path)}` | {default} | {why.replace('|', chr(92) + '|')} |")
    before, rest = text.split(START)
    return before + START + "\n".join(rows) + "\n" + END + rest.split(END)[1]


def rules():
    """deploy/alerts/evenkeel.rules.yaml: the rules with the default objectives, for a Prometheus without operator."""
    command = [os.environ.get("HELM", "helm"), "template", "evenkeel", str(sources.CHART)]
    command += ["--values", str(sources.CHART / "ci" / "minimal-values.yaml")]
    command += ["--set", "metrics.rules.enabled=true", "--show-only", "templates/rules.yaml"]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    spec = yaml.safe_load(rendered)["spec"]
    head = "# Made from helm/evenkeel/files/rules.yaml by `make chart-generate`.\n"
    return head + yaml.safe_dump(spec, sort_keys=False, width=120)


def main(check):
    made = {
        sources.CHART / "values.schema.json": lambda: json.dumps(schema.schema(), indent=1, ensure_ascii=False) + "\n",
        sources.CHART / "files" / "topics.yaml": topics_file,
        sources.CHART / "README.md": readme,
        sources.ROOT / "deploy" / "alerts" / "evenkeel.rules.yaml": rules,
    }
    for name in dashboards.DASHBOARDS:
        made[sources.CHART / "files" / "dashboards" / f"{name}.json"] = lambda name=name: dashboards.text(name)
    stale = []
    for path, make in made.items():
        text = make()
        if path.exists() and path.read_text() == text:
            continue
        if check:
            stale.append(str(path.relative_to(sources.ROOT)))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if stale:
        sys.exit(f"out of date: {', '.join(stale)}; run `make chart-generate`")


if __name__ == "__main__":
    main("--check" in sys.argv[1:])
