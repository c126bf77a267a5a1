"""The chart against a real API server, every case of ci/: dry run, install, test, upgrade, rollback, uninstall.

Definitions of the operators' own kinds are stand-ins that take any content: their members are not judged here.
Prints a line per case and ends with "N passed, 0 failed".
"""

import copy
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import sources  # noqa: E402
import yaml  # noqa: E402
from cluster.server import Answer, cluster  # noqa: E402

HELM = os.environ.get("HELM", "helm")
CASES = sorted((sources.CHART / "ci").glob("*-values.yaml"))
# group/version → kinds of operators.
OPERATORS = {
    "monitoring.coreos.com/v1": ["PodMonitor", "ServiceMonitor", "PrometheusRule"],
    "keda.sh/v1alpha1": ["ScaledObject", "TriggerAuthentication"],
    "kafka.strimzi.io/v1beta2": ["KafkaTopic", "KafkaUser"],
    "gateway.networking.k8s.io/v1": ["HTTPRoute"],
}

# What the cluster's owner has made for the cases that name it.
OWNERS = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kafka"}},
    {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "business-critical"}, "value": 1000},
    {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "gvisor"}, "handler": "runsc"},
]


def definition(version, kind):
    group, number = version.split("/")
    plural = kind.lower() + "s"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            # Names below k8s.io are kept for whoever may speak for them.
            "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in of a test"},
        },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [{"name": number, "served": True, "storage": True, "schema": schema}],
        },
    }


class Case:
    """One values file in a namespace of its own."""

    def __init__(self, server, values):
        self.server, self.values = server, values
        self.name = values.name.removesuffix("-values.yaml")
        self.space = f"case-{self.name}"
        self.helm_env = os.environ | {"KUBECONFIG": str(server.kubeconfig)}

    def helm(self, *arguments):
        done = subprocess.run([HELM, *map(str, arguments), "--namespace", self.space], capture_output=True, text=True, env=self.helm_env, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{self.name}: helm {arguments[0]}: {done.stderr}{done.stdout}")
        return done.stdout

    def manifests(self, *sets):
        text = self.helm("template", "evenkeel", sources.CHART, "--values", self.values, *sets)
        return [m for m in yaml.safe_load_all(text) if m]

    def prepare(self):
        labels = {"pod-security.kubernetes.io/enforce": "restricted", "kubernetes.io/metadata.name": self.space}
        self.server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.space, "labels": labels}})
        # What the controllers of a whole cluster would make.
        self.server.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": self.space}})

    def dry_run(self):
        """Every object by strict server-side apply; every pod template as a pod in a restricted namespace."""
        count = 0
        for manifest in self.manifests():
            manifest["metadata"].setdefault("namespace", self.space)
            self.server.apply(manifest, dry=True)
            template = manifest.get("spec", {}).get("template")
            if manifest["kind"] in ("Deployment", "StatefulSet", "Job"):
                self.server.apply(self.pod_of(manifest["metadata"]["name"], template), dry=True)
            count += 1
        return count

    def pod_of(self, name, template):
        pod = copy.deepcopy(template) | {"apiVersion": "v1", "kind": "Pod"}
        pod["metadata"] |= {"name": name, "namespace": self.space}
        pod["spec"].setdefault("restartPolicy", "Always")
        # Not there in a dry run; and the users' own containers of a case.
        pod["spec"].pop("serviceAccountName", None)
        pod["spec"]["containers"] = [c for c in pod["spec"]["containers"] if c["name"] != "beside"]
        pod["spec"].pop("initContainers", None)
        return pod

    def live(self):
        """The release's pod templates as the server has them: name → (generation, template)."""
        found = {}
        for kind in ("deployments", "statefulsets"):
            for o in self.server.ask("GET", f"/apis/apps/v1/namespaces/{self.space}/{kind}")["items"]:
                found[o["metadata"]["name"]] = (o["metadata"]["generation"], o["spec"]["template"])
        return found

    def newer_chart(self, directory):
        """The chart as a later version of chart and program: what must not touch a selector."""
        made = self.helm("package", sources.CHART, "--version", "99.0.0", "--app-version", "99.0.0", "--destination", directory)
        return re.search(r"(\S+\.tgz)", made)[1]

    def life(self):
        with tempfile.TemporaryDirectory() as directory:
            self.helm("install", "evenkeel", sources.CHART, "--values", self.values, "--timeout", "60s")
            first = self.live()
            again = self.helm("upgrade", "evenkeel", sources.CHART, "--values", self.values, "--timeout", "60s")
            assert "deployed" in again and self.live() == first, f"{self.name}: an upgrade to the same changed pods"
            change = ["--set", "coalescer.config.lateness=7s", "--set", "defaults.podLabels.round=two"]
            self.helm("upgrade", "evenkeel", self.newer_chart(directory), "--values", self.values, *change, "--timeout", "60s")
            second = self.live()
            assert second.keys() == first.keys() and all(second[n] != first[n] for n in first), self.name
        self.helm("rollback", "evenkeel", "1", "--timeout", "60s")
        third = self.live()
        assert {n: t for n, (_, t) in third.items()} == {n: t for n, (_, t) in first.items()}, f"{self.name}: rollback"
        self.helm("test", "evenkeel", "--timeout", "60s")
        self.helm("uninstall", "evenkeel", "--timeout", "60s")
        assert not self.live(), self.name


def refuses_what_it_should(server):
    """The server is a judge: it does not take a pod of root, nor a doubled variable."""
    case = Case(server, CASES[0])
    case.prepare()
    manifest = next(m for m in case.manifests() if m["kind"] == "Deployment")
    manifest["metadata"]["namespace"] = case.space
    root = case.pod_of("root", manifest["spec"]["template"])
    root["spec"]["securityContext"]["runAsNonRoot"] = False
    twice = copy.deepcopy(manifest)
    twice["spec"]["template"]["spec"]["containers"][0]["env"] *= 2
    unknown = copy.deepcopy(manifest)
    unknown["spec"]["replica"] = 1
    for wrong, word in [(root, "PodSecurity"), (twice, "duplicate"), (unknown, "replica")]:
        try:
            server.apply(wrong, dry=True)
        except Answer as answer:
            assert word in str(answer), answer
        else:
            raise SystemExit(f"the server took what is wrong: {word}")


def main():
    with cluster() as server:
        print(f"server {server.ask('GET', '/version')['gitVersion']}", flush=True)
        for version, kinds in OPERATORS.items():
            for kind in kinds:
                server.apply(definition(version, kind))
        for version in OPERATORS:
            server.wait(f"/apis/{version}")
        for owned in OWNERS:
            server.apply(owned)
        refuses_what_it_should(server)
        for values in CASES:
            case = Case(server, values)
            case.prepare()
            count = case.dry_run()
            case.life()
            print(f"{case.name}: {count} objects; installed, upgraded, rolled back, tested, removed", flush=True)
    print(f"{len(CASES)} passed, 0 failed")


if __name__ == "__main__":
    main()
