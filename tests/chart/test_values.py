"""What values do: shapes, merging, and what is refused with a remedy."""

import pytest
import sources
import tomllib
import yaml
from conftest import Refused, render, render_text


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["kafka.bootstrapServers="], ["kafka.bootstrapServers is empty", "host:port"]),
        (["cql.contactPoints.a="], ["cql.contactPoints is empty", "sink.enabled"]),
        (["ingest.config.tokens-file="], ["ingest has no credentials", "tokens-file", "jwt"]),
        (["gateway.enabled=true"], ["gateway has no credentials", "tokens-file", "jwt"]),
        (["gateway.enabled=true", "gateway.config.jwt.issuer=https://i.example", "gateway.replicas=33"], ["33 pods", "frames has 32"]),
        (["scorer.enabled=true"], ["scorer has nothing to do", "scorer.config.live.model", "rule", "configMaps"]),
        (["kafka.auth.enabled=true"], ["kafka.auth.existingSecret"]),
        (["kafka.tls.caSecret=x"], ["kafka.tls.enabled is false"]),
        (["kafka.schemaRegistry.username=x"], ["kafka.schemaRegistry.existingSecret"]),
        (["cql.auth.enabled=true"], ["cql.auth.existingSecret"]),
        (["cql.tls.enabled=true"], ["cql.tls.caSecret"]),
        (["coalescer.replicas=13"], ["coalescer.replicas is 13", "kafka.partitions 12"]),
        (["sink.autoscaling.enabled=true", "sink.autoscaling.maxReplicas=13"], ["sink.autoscaling.maxReplicas is 13"]),
        (["ingest.autoscaling.enabled=true", "ingest.autoscaling.cpuPercent=0"], ["nothing to scale by"]),
        (["ingest.autoscaling.enabled=true", "ingest.autoscaling.minReplicas=9"], ["minReplicas is above"]),
        (["coalescer.autoscaling.minReplicas=0"], ["minReplicas"]),
        (["ingest.ingress.enabled=true"], ["ingest.ingress.hosts is empty"]),
        (["coalescer.ingress.enabled=true", "coalescer.ingress.hosts.x={/}"], ["no enabled port of coalescer"]),
        (["ingest.httpRoute.enabled=true"], ["ingest.httpRoute.parentRefs is empty"]),
        (["scylla.contactPoints=x"], ["scylla is called cql"]),
        (["sink.replicaCount=3"], ["sink.replicaCount is called sink.replicas"]),
        (["ingest.replica=3"], ["replica"]),
        (["ingest.config.flush.polcy=rate"], ["polcy"]),
        (["kafka.config.timeouts.sesion=7s"], ["sesion"]),
        (["ingest.config.listen=0.0.0.0:1"], ["listen"]),
        (["process.drain-grace=5s"], ["drain-grace"]),
        (["kafka.auth.password=hunter2"], ["password"]),
        (["metrics.monitor.kind=Both"], ["kind"]),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(sets, words):
    with pytest.raises(Refused) as refused:
        render_text("minimal", sets=sets)
    for word in words:
        assert word in str(refused.value), refused.value


def test_globals_of_a_parent_and_its_condition_are_taken():
    render("minimal", sets=["global.anything.at.all=1", "enabled=true"])


def test_every_service_takes_every_key_of_the_shape():
    values = sources.values()
    whole = {key: value for key, value in values["defaults"].items() if key not in ("config", "enabled")}
    render_text("minimal", values={service: whole for service in sources.SERVICES})


def test_a_services_false_and_zero_win_over_the_defaults():
    manifests = render(
        "minimal",
        sets=["defaults.preStopSeconds=7", "sink.preStopSeconds=0", "defaults.podDisruptionBudget.enabled=true"]
        + ["sink.podDisruptionBudget.enabled=false", "sink.replicas=0"],
    )
    assert "lifecycle" in manifests.container("coalescer") and "lifecycle" not in manifests.container("sink")
    assert manifests.of("PodDisruptionBudget", "-coalescer") and not manifests.of("PodDisruptionBudget", "-sink")
    assert manifests.workload("sink")["spec"]["replicas"] == 0
    assert manifests.workload("coalescer")["spec"]["replicas"] == 2


def test_a_service_that_is_off_leaves_nothing_behind():
    names = [o["metadata"]["name"] for o in render("minimal", sets=["sink.enabled=false"])]
    assert not [name for name in names if "-sink" in name] and [name for name in names if "-ingest" in name]


def test_another_configuration_of_a_service_is_another_pod_of_that_service_only():
    def sums(sets):
        manifests = render("minimal", sets=sets)
        pods = {s: manifests.workload(s)["spec"]["template"] for s in ("ingest", "coalescer", "sink")}
        return {s: pod["metadata"]["annotations"]["checksum/config"] for s, pod in pods.items()}

    before, after = sums([]), sums(["coalescer.config.lateness=5s"])
    assert {s for s in before if before[s] != after[s]} == {"coalescer"}
    assert sums(["kafka.topicPrefix=other"]).items().isdisjoint(before.items())


def test_numbers_stay_numbers_and_text_stays_text():
    values = {"ingest": {"config": {"connections-max": 20000, "flush": {"self-clocked": {"alpha": 0.5, "rho": 2.0}}}}}
    values["coalescer"] = {"config": {"streams-expected": 12345678, "include-events": True, "sizes": ["5s"]}}
    values["process"] = {"log": {"filter": 'a="b"\\c'}}
    manifests = render("minimal", values=values)
    ingest = tomllib.loads(manifests.one("ConfigMap", "-ingest")["data"]["evenkeel.toml"])
    assert ingest["ingest"]["connections-max"] == 20000 and isinstance(ingest["ingest"]["connections-max"], int)
    assert ingest["ingest"]["flush"]["self-clocked"] == {"alpha": 0.5, "rho": 2}
    assert ingest["process"]["log"]["filter"] == 'a="b"\\c'
    coalescer = tomllib.loads(manifests.one("ConfigMap", "-coalescer")["data"]["evenkeel.toml"])["coalescer"]
    assert coalescer == {"workers": 2, "streams-expected": 12345678, "include-events": True, "sizes": ["5s"]}


def test_the_image_is_named_by_digest_tag_or_version():
    def image(*sets):
        return render("minimal", sets=list(sets)).container("ingest")["image"]

    version = yaml.safe_load((sources.CHART / "Chart.yaml").read_text())["appVersion"]
    assert image() == f"evenkeel:{version}"
    assert image("image.tag=v2", "global.imageRegistry=r.example/a/") == "r.example/a/evenkeel:v2"
    digest = "sha256:" + "a" * 64
    assert image("image.tag=v2", f"image.digest={digest}", "image.registry=r.example") == f"r.example/evenkeel@{digest}"


def test_two_releases_with_long_names_do_not_meet():
    def full(name):
        return render("minimal", sets=[f"fullnameOverride={name}"]).workload("ingest")["metadata"]["name"]

    one, other = full("x" * 50 + "1"), full("x" * 50 + "2")
    assert one != other and len(one) == len(other) <= 47


def test_more_variables_win_over_those_of_the_chart():
    name = "EVENKEEL_PROCESS__TELEMETRY__INSTANCE"
    env = render("minimal", sets=[f"sink.extraEnv.{name}=mine"]).container("sink")["env"]
    assert env == [{"name": name, "value": "mine"}]
