"""Every case of ci/: as it was, valid, and with the properties that hold for all of them."""

import os
import re

import kubernetes_validate
import pytest
import sources
from conftest import CASES, HELM, helm, render, render_text

GOLDEN = sources.ROOT / "tests" / "chart" / "golden"
CUSTOM = {"PodMonitor", "ServiceMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication", "KafkaTopic", "KafkaUser", "HTTPRoute"}
IDENTITY = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}


def test_there_are_enough_cases():
    assert len(CASES) >= 6, CASES


@pytest.mark.parametrize("case", CASES)
def test_lint_is_content(case):
    helm("lint", "--strict", sources.CHART, "--values", sources.CHART / "ci" / f"{case}-values.yaml")


@pytest.mark.parametrize("case", CASES)
def test_a_render_is_the_golden_one(case):
    """A change of the chart is seen as a change of manifests; CHART_GOLDEN=write takes it over."""
    text = re.sub(r"(?m)^(  evenkeel-\w+\.json): .*$", r"\1: (a dashboard)", render_text(case))
    path = GOLDEN / f"{case}.yaml"
    if os.environ.get("CHART_GOLDEN") == "write":
        path.write_text(text)
    assert path.read_text() == text, f"{path.name} differs; look at the difference, then `make chart-golden`"


@pytest.mark.parametrize("version", ["1.28", "1.34"])
@pytest.mark.parametrize("case", CASES)
def test_kubernetes_knows_every_member(case, version):
    known = 0
    for manifest in render(case, kube=f"{version}.0"):
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)
            known += 1
    assert known > 5


def test_names_are_unique_and_short_enough(cases):
    for case, manifests in cases.items():
        names = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in manifests]
        assert len(names) == len(set(names)), case
        for kind, _, name in names:
            # A StatefulSet's revision label is its name and 11 characters.
            longest = 52 if kind == "StatefulSet" else 63
            assert len(name) <= longest and re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name), (case, kind, name)


def test_selectors_hold_identity_only_and_fit_their_pods(cases):
    for case, manifests in cases.items():
        for o in manifests.of("Deployment") + manifests.of("StatefulSet"):
            selector = o["spec"]["selector"]["matchLabels"]
            assert set(selector) == IDENTITY, (case, o["metadata"]["name"])
            assert selector.items() <= o["spec"]["template"]["metadata"]["labels"].items()
        pods = [t["metadata"]["labels"] for o, t in manifests.pods()]
        for kind, at in [("Service", "selector"), ("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")]:
            for o in manifests.of(kind):
                selector = o["spec"][at]
                selector = selector.get("matchLabels", selector)
                assert set(selector) == IDENTITY
                if selector["app.kubernetes.io/component"] != "setup":
                    assert any(selector.items() <= labels.items() for labels in pods), (case, o["metadata"]["name"])


def test_everything_is_labelled_and_in_its_namespace(cases):
    for case, manifests in cases.items():
        for o in manifests:
            if o["metadata"]["name"].endswith(("-extra", "-text")):
                continue
            labels = o["metadata"]["labels"]
            assert labels["app.kubernetes.io/managed-by"] == "Helm" and labels["helm.sh/chart"], case
            assert o["metadata"]["namespace"] in ("streams", "kafka"), (case, o["metadata"])
            if case == "operators":
                assert labels["team"] == "telemetry" and o["metadata"]["annotations"]["example.org/owner"] == "telemetry"
                assert o["metadata"]["namespace"] == ("kafka" if o["kind"].startswith("Kafka") else "streams")


def test_pods_fit_the_restricted_standard(cases):
    for case, manifests in cases.items():
        for o, template in manifests.pods():
            spec = template["spec"]
            assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False
            context = spec["securityContext"]
            assert context["runAsNonRoot"] and context["runAsUser"] > 0
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
            for container in spec["containers"]:
                if container["name"] == "beside":  # the user's own
                    continue
                own = container["securityContext"]
                assert own["allowPrivilegeEscalation"] is False and own["readOnlyRootFilesystem"] is True
                assert own["capabilities"] == {"drop": ["ALL"]}, (case, o["metadata"]["name"])
            for volume in spec.get("volumes", []):
                assert "hostPath" not in volume
    for account in cases["minimal"].of("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_nothing_is_there_twice_in_a_container(cases):
    """Server-side apply refuses duplicate names of variables and ports."""
    for manifests in cases.values():
        for _, template in manifests.pods():
            for container in template["spec"]["containers"]:
                for part, key in [("env", "name"), ("ports", "name"), ("ports", "containerPort"), ("volumeMounts", "mountPath")]:
                    names = [one[key] for one in container.get(part, [])]
                    assert len(names) == len(set(names)), (container["name"], part, names)
            mounted = {m["name"] for c in template["spec"]["containers"] for m in c.get("volumeMounts", [])}
            assert mounted <= {v["name"] for v in template["spec"].get("volumes", [])}


def test_no_secret_is_in_a_manifest(cases):
    for case, manifests in cases.items():
        assert not manifests.of("Secret"), case


def test_resources_are_requested_and_memory_is_limited_and_cpu_is_not(cases):
    for manifests in cases.values():
        for _, template in manifests.pods():
            for container in template["spec"]["containers"]:
                if container["name"] != "beside":
                    resources = container["resources"]
                    assert {"cpu", "memory"} <= set(resources["requests"])
                    assert set(resources["limits"]) == {"memory"}


def test_probes_are_apart_and_liveness_asks_nobody_else(cases):
    for service in ("ingest", "coalescer", "sink"):
        container = cases["minimal"].container(service)
        paths = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
        assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}


def test_the_grace_period_holds_pre_stop_and_drain(cases):
    for manifests in cases.values():
        for o, template in manifests.pods():
            if o["kind"] not in ("Deployment", "StatefulSet"):
                continue
            config = manifests.one("ConfigMap", o["metadata"]["name"])["data"]["evenkeel.toml"]
            drain = int(re.search(r'drain-grace = "(\d+)s"', config)[1])
            container = template["spec"]["containers"][0]
            sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            assert template["spec"]["terminationGracePeriodSeconds"] > drain + sleep
    assert cases["minimal"].container("ingest")["lifecycle"]["preStop"] == {"sleep": {"seconds": 10}}


def test_before_kubernetes_1_30_the_sleep_is_a_command():
    old = render("minimal", kube="1.29.5").container("ingest")["lifecycle"]["preStop"]
    assert old == {"exec": {"command": ["/bin/sleep", "10"]}}
    assert "lifecycle" not in render("minimal").container("coalescer")


def test_a_render_does_not_depend_on_the_cluster():
    for path in (sources.CHART / "templates").rglob("*"):
        assert not path.is_file() or not re.search(r"{{[^}]*\blookup\b", path.read_text()), path


def test_the_archive_holds_no_test_values(tmp_path):
    archive = helm("package", sources.CHART, "--destination", tmp_path).split()[-1]
    import tarfile

    names = tarfile.open(archive).getnames()
    assert "evenkeel/values.schema.json" in names and not [n for n in names if "/ci/" in n], names
    assert HELM
