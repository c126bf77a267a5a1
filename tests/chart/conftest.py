"""Renders the chart with the real helm. HELM and PROMTOOL name the programs."""

import os
import subprocess

import pytest
import sources
import yaml

HELM = os.environ.get("HELM", "helm")
PROMTOOL = os.environ.get("PROMTOOL", "promtool")
CASES = sorted(path.name.removesuffix("-values.yaml") for path in (sources.CHART / "ci").glob("*-values.yaml"))
# What the renders are for: the version that the manifests are validated against, and the oldest that is supported.
KUBERNETES = "1.34.0"
APIS = ["monitoring.coreos.com/v1"]


class Refused(Exception):
    """helm said no."""


def helm(*arguments):
    """Runs helm; what it prints."""
    done = subprocess.run([HELM, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


def render_text(case="minimal", sets=(), values=None, kube=KUBERNETES):
    """The manifests of a case; `sets` are --set arguments, `values` further values as a dict."""
    command = ["template", "evenkeel", sources.CHART, "--namespace", "streams", "--kube-version", kube]
    command += ["--values", sources.CHART / "ci" / f"{case}-values.yaml"]
    for one in sets:
        command += ["--set", one]
    if values is None:
        return helm(*command)
    path = os.path.join(os.environ["PYTEST_TMP"], "values.yaml")
    with open(path, "w") as file:
        yaml.safe_dump(values, file)
    return helm(*command, "--values", path)


class Manifests(list):
    """Objects of a render."""

    def of(self, kind, end=""):
        """Those of a kind whose name ends so."""
        return [o for o in self if o["kind"] == kind and o["metadata"]["name"].endswith(end)]

    def one(self, kind, end=""):
        """The only one."""
        found = self.of(kind, end)
        assert len(found) == 1, [o["metadata"]["name"] for o in found]
        return found[0]

    def pods(self):
        """(object, pod template or pod) of everything that makes pods."""
        found = [(o, o["spec"]["template"]) for o in self if o["kind"] in ("Deployment", "StatefulSet", "Job")]
        return found + [(o, o) for o in self.of("Pod")]

    def workload(self, service):
        """Deployment or StatefulSet of a service."""
        found = [o for o in self if o["kind"] in ("Deployment", "StatefulSet") and o["metadata"]["name"].endswith(f"-{service}")]
        assert len(found) == 1, service
        return found[0]

    def container(self, service):
        """Its container."""
        return self.workload(service)["spec"]["template"]["spec"]["containers"][0]


def render(*arguments, **named):
    """As render_text, as objects."""
    return Manifests(o for o in yaml.safe_load_all(render_text(*arguments, **named)) if o)


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_TMP", str(tmp_path))


@pytest.fixture(scope="session")
def cases():
    """Every case, rendered once."""
    return {case: render(case) for case in CASES}
