"""Values, schema, documents and the program's own keys say the same."""

import copy
import json
import re
import subprocess
import sys
import tomllib

import jsonschema
import schema
import sources
import yaml
from conftest import render


def test_what_is_generated_is_up_to_date():
    done = subprocess.run([sys.executable, str(sources.ROOT / "tests/chart/generate.py"), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_value_is_described():
    bare = [".".join(path) for path, why in sources.described_values() if not why and not within_kubernetes(path)]
    # Below a service a key means what it means below `defaults`.
    assert [b for b in bare if b.split(".")[0] not in sources.SERVICES] == []


def within_kubernetes(path):
    return any(part in schema.FREE | {"labels", "tables", "topologySpreadConstraints"} for part in path[:-1]) or path[-1] in ("enabled",) and len(path) == 1


def test_every_configuration_key_can_be_set_but_those_of_the_chart():
    made = json.loads((sources.CHART / "values.schema.json").read_text())
    for section in sources.SECTIONS:
        keys = sources.keys_of(section)
        if keys is None:
            continue
        if section in sources.SERVICES:
            at = made["$defs"][section]["properties"]["config"]
        else:
            at = made["properties"][section]
            at = at if section == "process" else at["properties"]["config"]
        wanted = copy.deepcopy(keys)
        for owned in schema.OWNED.get(section, ()):
            *parents, last = owned.split(".")
            inner = wanted
            for parent in parents:
                inner = inner.get(parent, {})
            inner.pop(last, None)
        # The program's own defaults are values that the schema takes, every one of them.
        jsonschema.Draft202012Validator(at).validate(wanted)
        assert at["additionalProperties"] is False and set(at["properties"]) == set(wanted), section


def test_the_keys_that_the_chart_sets_exist_in_the_program():
    golden = (sources.ROOT / "tests/chart/golden").glob("*.yaml")
    seen = 0
    for path in golden:
        for manifest in yaml.safe_load_all(path.read_text()):
            text = (manifest or {}).get("data", {}).get("evenkeel.toml")
            for section, table in tomllib.loads(text or "").items():
                keys = sources.keys_of(section)
                if keys is not None:
                    assert unknown(table, keys) == [], (path.name, section)
                    seen += 1
    assert seen > 50


def unknown(table, keys):
    """Keys of `table` that are not in `keys`, whose empty maps take any."""
    found = []
    for key, value in table.items():
        if key not in keys:
            found.append(key)
        elif isinstance(value, dict) and isinstance(keys[key], dict) and keys[key] and "dc1" not in keys[key]:
            found += [f"{key}.{inner}" for inner in unknown(value, keys[key])]
    return found


def test_the_files_a_section_is_documented_by_are_those_of_the_documents():
    text = (sources.ROOT / "docs/configuration.md").read_text()
    for section, path in sources.SECTIONS.items():
        if (sources.ROOT / path).exists():
            assert f"### `[{section}]`\n\nFrom [{path}](../{path})." in text, section


def test_the_values_that_plan_prints_are_taken():
    """tests/chart/planned.yaml is what `evenkeel plan --helm` prints; a test of the program compares it."""
    planned = yaml.safe_load((sources.ROOT / "tests/chart/planned.yaml").read_text())
    coalescer = render("minimal", values=planned).workload("coalescer")["spec"]
    assert coalescer["replicas"] == planned["coalescer"]["replicas"]
    resources = coalescer["template"]["spec"]["containers"][0]["resources"]
    assert resources["limits"]["memory"] == planned["coalescer"]["resources"]["limits"]["memory"]


def test_the_admin_port_is_that_of_the_program():
    default = tomllib.loads((sources.ROOT / sources.SECTIONS["process"]).read_text())["admin"]["listen"]
    text = "".join(p.read_text() for p in (sources.CHART / "templates").glob("*.*"))
    assert set(re.findall(r"\b(94\d\d)\b", text)) == {default.rsplit(":", 1)[1]}


def test_partitions_are_those_of_the_schema():
    assert sources.values()["kafka"]["partitions"] == sources.topics()["events"]["partitions"]


def test_the_charts_versions_and_the_programs():
    chart = yaml.safe_load((sources.CHART / "Chart.yaml").read_text())
    version = tomllib.loads((sources.ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert chart["appVersion"] == version
    assert f"## {chart['version']}\n" in (sources.CHART / "UPGRADING.md").read_text()
