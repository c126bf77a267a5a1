"""Dashboards, rules and alerts name what exists, and every alert has a page."""

import json
import re
import subprocess

import dashboards
import pytest
import sources
import yaml
from conftest import PROMTOOL, render

RULES = sources.ROOT / "deploy" / "alerts" / "evenkeel.rules.yaml"
RUNBOOKS = sources.ROOT / "docs" / "runbooks"
# Labels that Prometheus or the monitors add.
ADDED = {"namespace", "pod", "instance", "le", "service"}


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def queries():
    """(where, PromQL) of every panel and rule."""
    found = [(rule.get("record") or rule["alert"], rule["expr"]) for rule in rules()]
    for name in dashboards.DASHBOARDS:
        for panel in dashboards.dashboard(name)["panels"]:
            found += [(f"{name}: {panel['title']}", target["expr"]) for target in panel.get("targets", [])]
        for variable in dashboards.dashboard(name)["templating"]["list"]:
            if variable["type"] == "query":
                found.append((name, variable["query"]["query"].removeprefix("label_values(")))
    return found


def test_every_metric_and_label_that_is_asked_for_is_declared():
    metrics, recorded, asked = sources.metrics(), {r["record"] for r in rules() if "record" in r}, 0
    for where, query in queries():
        for name in re.findall(r"(?<![:a-z_])(?:evenkeel|process)_[a-z_]+", query):
            base = re.sub(r"_(bucket|count|sum)$", "", name)
            kind = metrics.get(base, ("", ()))[0]
            assert name in metrics and kind != "histogram" or base != name and kind == "histogram", f"{where}: {name}"
            asked += 1
        for name in re.findall(r"\bevenkeel:[a-z0-9_:]+", query):
            assert name in recorded, f"{where}: {name}"
        known = ADDED | {label for _, labels in metrics.values() for label in labels}
        for label in re.findall(r'([a-z_]+)(?:=~|!~|!=|=)"', query):
            assert label in known, f"{where}: label {label}"
        for group in re.findall(r"by \(([^)]*)\)", query):
            assert set(re.split(r",\s*", group)) <= known, f"{where}: {group}"
    assert asked > 100


def test_no_label_is_asked_of_a_metric_that_does_not_have_it():
    metrics = sources.metrics()
    for where, query in queries():
        for name, labels in re.findall(r"\b((?:evenkeel|process)_[a-z_]+)\{([^}]*)\}", query):
            own = metrics[re.sub(r"_(bucket|count|sum)$", "", name)] if name not in metrics else metrics[name]
            for label in re.findall(r"([a-z_]+)(?:=~|!~|!=|=)", labels):
                assert label in own[1] | ADDED, f"{where}: {name} has no label {label}"


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    pages = set()
    for rule in rules():
        if "alert" in rule:
            page = rule["annotations"]["runbook_url"].rsplit("/", 1)[1]
            text = (RUNBOOKS / page).read_text()
            name = re.sub(r"(Fast|Slow)$", "", rule["alert"])
            assert text.startswith(f"# {name}\n"), page
            for heading in ("## What it means", "## What to look at", "## What to do"):
                assert heading in text, f"{page}: {heading}"
            pages.add(page)
            assert rule["labels"]["severity"] in ("critical", "warning") and rule["annotations"]["summary"]
    there = {path.name for path in RUNBOOKS.glob("evenkeel*.md")}
    assert pages == there


def test_objectives_are_values():
    spec = render("operators").one("PrometheusRule")["spec"]
    text = json.dumps(spec)
    assert 'le=\\"15\\"' in text and "14.4 * 0.0005" in text  # 1 - 0.9995
    names = [r.get("record") for g in spec["groups"] for r in g["rules"]]
    for objective in ("ack_success", "ack_latency", "freshness", "completeness"):
        windows = {n.rsplit("_", 1)[1] for n in names if n and n.startswith(f"evenkeel:{objective}:")}
        assert windows == {"5m", "30m", "1h", "2h", "6h", "1d", "3d"}


@pytest.mark.parametrize("arguments", [("check", "rules", RULES), ("test", "rules", sources.ROOT / "deploy/alerts/tests.yaml")])
def test_promtool_agrees(arguments):
    done = subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "FAILED" not in done.stdout + done.stderr, done.stdout + done.stderr


def test_every_alert_is_tried_by_promtool():
    tried = {test["alertname"] for group in yaml.safe_load((sources.ROOT / "deploy/alerts/tests.yaml").read_text())["tests"] for test in group["alert_rule_test"]}
    assert tried == {rule["alert"] for rule in rules() if "alert" in rule}


def test_dashboards_have_distinct_panels_that_do_not_overlap():
    for name in dashboards.DASHBOARDS:
        board = dashboards.dashboard(name)
        assert len({p["id"] for p in board["panels"]}) == len(board["panels"])
        taken = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & taken and at["x"] + at["w"] <= 24, (name, panel["title"])
            taken |= cells


def test_the_chart_brings_every_dashboard():
    maps = [m for m in render("operators").of("ConfigMap") if "-dashboard-" in m["metadata"]["name"]]
    assert len(maps) == len(dashboards.DASHBOARDS) == 4
    for one in maps:
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert one["metadata"]["annotations"]["grafana_folder"] == "Evenkeel"
        for text in one["data"].values():
            assert json.loads(text)["panels"]
