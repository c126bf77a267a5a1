"""Each part of the chart does what it is for."""

import re
import tomllib

import sources
from conftest import render


def config(manifests, service):
    return tomllib.loads(manifests.one("ConfigMap", f"-{service}")["data"]["evenkeel.toml"])


def test_the_coalescer_is_a_stateful_set_for_its_names_only(cases):
    spec = cases["minimal"].workload("coalescer")["spec"]
    assert cases["minimal"].workload("coalescer")["kind"] == "StatefulSet"
    assert spec["podManagementPolicy"] == "Parallel" and "volumeClaimTemplates" not in spec
    headless = cases["minimal"].one("Service", spec["serviceName"])
    assert headless["spec"]["clusterIP"] == "None"
    env = cases["minimal"].container("coalescer")["env"]
    assert {"fieldPath": "metadata.name", "apiVersion": "v1"} in [e["valueFrom"]["fieldRef"] for e in env]
    for service in ("ingest", "sink"):
        assert cases["minimal"].workload(service)["kind"] == "Deployment"


def test_the_scorer_keeps_its_names_too_and_has_its_models(cases):
    everything = cases["everything"]
    assert everything.workload("scorer")["kind"] == "StatefulSet"
    assert everything.one("HorizontalPodAutoscaler", "-scorer")["spec"]["scaleTargetRef"]["kind"] == "StatefulSet"
    live = config(everything, "scorer")["scorer"]["live"]
    assert live["rule"] == [{"name": "hot", "match": "oven/*", "field": "temp.max", "above": 90, "severity": "critical"}]
    volumes = {v["name"]: v for v in everything.workload("scorer")["spec"]["template"]["spec"]["volumes"]}
    mounts = {m["mountPath"]: m for m in everything.container("scorer")["volumeMounts"]}
    for path, volume in [
        (live["model"], {"persistentVolumeClaim": {"claimName": "trained-models", "readOnly": True}}),
        (live["shadow"], {"configMap": {"name": "bowl-models"}}),
    ]:
        mount = mounts[path.rsplit("/", 1)[0]]
        assert mount["readOnly"] and volumes[mount["name"]] == {"name": mount["name"]} | volume
    # It reads and writes topics; scores are stored by the sink.
    assert "cql" not in config(everything, "scorer")
    trigger = cases["scaling"].one("ScaledObject", "-scorer")["spec"]["triggers"][0]["metadata"]
    assert (trigger["consumerGroup"], trigger["topic"]) == ("evenkeel.scorer", "evenkeel.windows")


def test_the_gateway_listens_beyond_loopback_with_credentials_and_tls_of_its_own(cases):
    gateway = config(cases["secure"], "gateway")["gateway"]
    assert gateway["listen"] == "0.0.0.0:8090"
    assert gateway["tokens-file"] == "/etc/evenkeel/secrets/tokens/tokens.toml"
    assert gateway["tls"] == {"cert-file": "/etc/evenkeel/secrets/tls/tls.crt", "key-file": "/etc/evenkeel/secrets/tls/tls.key"}
    volumes = {v["name"]: v for v in cases["secure"].workload("gateway")["spec"]["template"]["spec"]["volumes"]}
    named = {name: volumes[f"secret-{name}"]["secret"]["secretName"] for name in ("tokens", "tls")}
    assert named == {"tokens": "gateway-tokens", "tls": "gateway-tls"}
    assert cases["secure"].one("Service", "-gateway")["spec"]["ports"][0]["appProtocol"] == "https"
    assert config(cases["secure"], "gateway")["cql"]["auth"]["user"] == "evenkeel"


def test_the_gateway_asks_all_pods_for_the_totals_of_the_fleet(cases):
    secure = cases["secure"]
    targets = config(secure, "gateway")["gateway"]["summary"]["targets"]
    headless = {f"http://{s['metadata']['name']}:9464/metrics" for s in secure.of("Service", "-pods")}
    assert len(targets) == 3 and set(targets) <= headless
    pods = {"app.kubernetes.io/name": "evenkeel", "app.kubernetes.io/instance": "evenkeel"}
    admin = [rule for rule in secure.one("NetworkPolicy", "-gateway")["spec"]["egress"] if rule["ports"][0]["port"] == 9464]
    assert admin == [{"ports": [{"port": 9464, "protocol": "TCP"}], "to": [{"podSelector": {"matchLabels": pods}}]}]
    asked = secure.one("NetworkPolicy", "-coalescer")["spec"]["ingress"][0]["from"]
    assert {"podSelector": {"matchLabels": pods | {"app.kubernetes.io/component": "gateway"}}} in asked
    own = render("secure", values={"gateway": {"config": {"summary": {"targets": ["http://elsewhere/metrics"]}}}})
    assert config(own, "gateway")["gateway"]["summary"]["targets"] == ["http://elsewhere/metrics"]


def test_a_gateways_number_is_its_partition(cases):
    gateway = cases["everything"].workload("gateway")
    assert gateway["kind"] == "StatefulSet" and gateway["spec"]["serviceName"].endswith("-gateway-pods")
    env = {e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"] for e in cases["everything"].container("gateway")["env"]}
    assert env["EVENKEEL_GATEWAY__PARTITION"] == "metadata.labels['apps.kubernetes.io/pod-index']"
    assert env["EVENKEEL_GATEWAY__INSTANCE"] == "metadata.name"
    for service in ("ingest", "coalescer"):
        assert not [e for e in cases["everything"].container(service)["env"] if "GATEWAY" in e["name"]]
    scaled = render("minimal", sets=["gateway.enabled=true", "gateway.config.jwt.issuer=https://id.example.org", "gateway.autoscaling.enabled=true"])
    assert scaled.one("HorizontalPodAutoscaler", "-gateway")["spec"]["scaleTargetRef"]["kind"] == "StatefulSet"


def test_what_is_listened_on_is_a_port_and_behind_the_service(cases):
    everything = cases["everything"]
    ingest = config(everything, "ingest")["ingest"]
    assert ingest["listen"] == "0.0.0.0:8080" and ingest["mqtt"]["listen"] == "0.0.0.0:1883"
    ports = {p["name"]: p["containerPort"] for p in everything.container("ingest")["ports"]}
    assert ports == {"admin": 9464, "http": 8080, "mqtt": 1883}
    served = everything.one("Service", "-ingest")["spec"]
    assert {p["name"] for p in served["ports"]} == {"http", "mqtt"} and served["type"] == "LoadBalancer"
    assert all(p["appProtocol"] for p in served["ports"])
    assert "mqtt" not in config(cases["minimal"], "ingest")["ingest"]


def test_an_autoscaler_takes_the_number_out_of_the_manifest(cases):
    scaling = cases["scaling"]
    for service in ("ingest", "coalescer", "sink"):
        assert "replicas" not in scaling.workload(service)["spec"]
    assert "replicas" not in cases["everything"].workload("coalescer")["spec"]  # omitReplicas
    hpa = scaling.one("HorizontalPodAutoscaler", "-ingest")["spec"]
    assert (hpa["minReplicas"], hpa["maxReplicas"]) == (3, 30)
    assert hpa["metrics"][0]["resource"]["name"] == "cpu"
    assert scaling.one("HorizontalPodAutoscaler", "-sink")["spec"]["metrics"][0]["external"]["metric"]["name"] == "evenkeel_sink_lag"


def test_keda_scales_by_the_lag_of_the_services_own_group(cases):
    scaled = cases["scaling"].one("ScaledObject", "-coalescer")["spec"]
    assert scaled["scaleTargetRef"]["kind"] == "StatefulSet" and scaled["minReplicaCount"] >= 1
    trigger = scaled["triggers"][0]
    assert trigger["metadata"]["consumerGroup"] == "evenkeel.coalescer" and trigger["metadata"]["topic"] == "evenkeel.events"
    down = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] >= 600 and down["policies"][0]["value"] == 1
    login = cases["scaling"].one("TriggerAuthentication")
    assert trigger["authenticationRef"]["name"] == login["metadata"]["name"]
    assert login["spec"]["secretTargetRef"] == [{"parameter": "password", "name": "kafka-login", "key": "password"}]
    renamed = render("scaling", sets=["kafka.config.topic-names.events=fleet", "kafka.config.group=mine"])
    trigger = renamed.one("ScaledObject", "-coalescer")["spec"]["triggers"][0]["metadata"]
    assert (trigger["topic"], trigger["consumerGroup"]) == ("fleet", "mine")


def test_no_budget_blocks_a_drain(cases):
    for manifests in cases.values():
        for budget in manifests.of("PodDisruptionBudget"):
            assert budget["spec"]["maxUnavailable"] == 1 and "minAvailable" not in budget["spec"]
            assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_spread_constraints_have_their_selector(cases):
    spec = cases["minimal"].workload("sink")["spec"]
    for constraint in spec["template"]["spec"]["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"] == spec["selector"]["matchLabels"]
    assert "topologySpreadConstraints" not in cases["laptop"].workload("sink")["spec"]["template"]["spec"]


def test_every_file_that_the_configuration_names_is_mounted(cases):
    for case, manifests in cases.items():
        for o, template in manifests.pods():
            volumes = {v["name"]: v for v in template["spec"]["volumes"]}
            container = template["spec"]["containers"][0]
            name = volumes["config"]["configMap"]["name"]
            text = manifests.one("ConfigMap", name)["data"]["evenkeel.toml"]
            for path in re.findall(r'"(/etc/evenkeel/[^"]+)"', text):
                mounts = [m for m in container["volumeMounts"] if path.startswith(m["mountPath"] + "/")]
                assert mounts or o["kind"] in ("Job", "Pod") and not re.search(r"kafka|registry" if "topics" in container["args"] else "cql", path), (case, o["metadata"]["name"], path)
                for mount in mounts:
                    items = volumes[mount["name"]].get("secret", {}).get("items")
                    assert not items or path.rsplit("/", 1)[1] in [item["path"] for item in items], path


def test_logins_and_certificates_reach_the_services_that_need_them(cases):
    secure = cases["secure"]
    kafka = config(secure, "coalescer")["kafka"]
    assert kafka["security"]["protocol"] == "sasl-ssl" and kafka["security"]["username"] == "evenkeel"
    assert kafka["timeouts"] == {"session": "10s"} and kafka["compression"] == "zstd"
    assert kafka["schema-registry"]["password-file"] == "/etc/evenkeel/registry-auth/password"
    assert "cql" not in config(secure, "coalescer")
    assert config(secure, "sink")["cql"]["auth"] == {"user": "evenkeel", "password-file": "/etc/evenkeel/cql-auth/password"}
    volumes = {v["name"] for v in secure.workload("ingest")["spec"]["template"]["spec"]["volumes"]}
    assert {"kafka-auth", "kafka-ca", "kafka-client", "secret-tokens", "secret-tls"} <= volumes and "cql-auth" not in volumes


def test_network_policies_allow_what_is_needed_and_no_more(cases):
    def ports(policy, way):
        return [{p["port"] for p in rule["ports"]} for rule in policy["spec"].get(way, [])]

    assert not cases["minimal"].of("NetworkPolicy")
    secure = cases["secure"]
    sink = secure.one("NetworkPolicy", "-sink")
    out = ports(sink, "egress")
    assert {53} in out and {9093, 9094} in out and {9042, 9142, 19042, 19142} in out and {4317, 4318} in out and {8081} in out
    assert ports(sink, "ingress") == [{"admin"}]
    ingest = secure.one("NetworkPolicy", "-ingest")
    assert {9042, 9142, 19042, 19142} not in ports(ingest, "egress")
    assert {443} in ports(ingest, "egress")  # the key set of the token issuer
    assert ports(ingest, "ingress") == [{"admin"}, {"http"}]
    assert all(rule.get("from") for rule in ingest["spec"]["ingress"])
    setup = secure.one("NetworkPolicy", "-setup")
    assert setup["metadata"]["annotations"]["helm.sh/hook-weight"] == "-20"
    assert set(ingest["spec"]["policyTypes"]) == {"Ingress", "Egress"}


def test_jobs_run_before_the_release_and_under_fixed_names(cases):
    minimal = cases["minimal"]
    for name, args in [("topics", ["topics", "create", "--partitions=12"]), ("schema", ["cql", "migrate"])]:
        job = minimal.one("Job", f"-{name}")
        assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert "before-hook-creation" in job["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
        assert job["spec"]["backoffLimit"] and job["spec"]["activeDeadlineSeconds"]
        pod = job["spec"]["template"]["spec"]
        assert pod["containers"][0]["args"][: len(args)] == args and pod["restartPolicy"] == "Never"
        # What it mounts must be there before it, and nothing else of the release is.
        config = minimal.one("ConfigMap", pod["volumes"][0]["configMap"]["name"])["metadata"]["annotations"]
        assert int(config["helm.sh/hook-weight"]) < int(job["metadata"]["annotations"]["helm.sh/hook-weight"])
        assert "serviceAccountName" not in pod
    assert "--one-broker" in cases["laptop"].one("Job", "-topics")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert not cases["operators"].of("Job")
    given = render("minimal", sets=["cql.schemaJob.createKeyspace=false"])
    assert tomllib.loads(given.one("ConfigMap", "-setup")["data"]["evenkeel.toml"])["cql"]["create-keyspace"] is False
    assert "create-keyspace" not in tomllib.loads(minimal.one("ConfigMap", "-setup")["data"]["evenkeel.toml"])["cql"]


def test_helm_test_compares_the_topics(cases):
    pod = cases["minimal"].one("Pod", "-test")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["containers"][0]["args"][:3] == ["topics", "diff", "--partitions=12"]
    assert not cases["laptop"].of("Pod")


def test_strimzi_topics_are_those_of_the_schema_and_stay(cases):
    topics = cases["operators"].of("KafkaTopic")
    declared = sources.topics()
    assert {t["spec"]["topicName"] for t in topics} == {f"evenkeel.{name}" for name in declared}
    for topic in topics:
        own = declared[topic["spec"]["topicName"].removeprefix("evenkeel.")]
        assert topic["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert topic["spec"]["config"] == own["config"] and topic["spec"]["partitions"] == own["partitions"]
    more = render("operators", sets=["kafka.partitions=24", "strimzi.replicas=1"]).of("KafkaTopic")
    assert {t["spec"]["partitions"] for t in more} == {24} | {d["partitions"] for d in declared.values()} - {12}
    assert all(t["spec"]["config"]["min.insync.replicas"] == "1" for t in more)
    assert cases["operators"].one("KafkaUser")["spec"]["authentication"] == {"type": "scram-sha-512"}


def test_the_kafka_user_may_use_every_topic_group_and_transaction_of_the_services(cases):
    def may(user, kind, name):
        acls = [acl for acl in user["spec"]["authorization"]["acls"] if acl["resource"]["type"] == kind]
        fits = {"prefix": name.startswith, "literal": name.__eq__}
        found = [a for a in acls if fits[a["resource"]["patternType"]](a["resource"]["name"])]
        return {operation for acl in found for operation in acl["operations"]}

    user = cases["operators"].one("KafkaUser")
    for topic in sources.topics():
        assert {"Read", "Write", "Describe"} <= may(user, "topic", f"evenkeel.{topic}"), topic
    for group in ("coalescer", "sink", "sink-scores", "scorer"):
        assert "Read" in may(user, "group", f"evenkeel.{group}") and "Write" in may(user, "transactionalId", f"evenkeel-{group}-pod-0")
    renamed = ["kafka.config.topic-names.scores=bowl-scores", "kafka.config.group=mine"]
    assert not may(user, "topic", "bowl-scores") and not may(user, "group", "mine")
    user = render("operators", sets=renamed).one("KafkaUser")
    assert "Write" in may(user, "topic", "bowl-scores")
    assert "Read" in may(user, "group", "mine") and "Read" in may(user, "group", "mine-scores")


def test_a_monitor_is_one_of_the_two_kinds(cases):
    monitor = cases["operators"].one("ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    found = [s for s in cases["operators"].of("Service") if wanted.items() <= s["metadata"]["labels"].items()]
    assert len(found) == 3 and all(s["spec"]["ports"][0]["name"] == "admin" for s in found)
    assert not cases["operators"].of("PodMonitor")
    everything = cases["everything"]
    wanted = everything.one("PodMonitor")["spec"]["selector"]["matchLabels"]
    pods = [t for o, t in everything.pods() if o["kind"] in ("Deployment", "StatefulSet")]
    assert len(pods) == 5 and all(wanted.items() <= t["metadata"]["labels"].items() for t in pods)


def test_ways_in_lead_to_a_port_of_the_service(cases):
    everything = cases["everything"]
    backend = everything.one("Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == everything.one("Service", "-ingest")["metadata"]["name"] and backend["port"] == {"name": "http"}
    route = everything.one("HTTPRoute")["spec"]["rules"][0]
    gateway = everything.one("Service", "-gateway")
    assert route["backendRefs"] == [{"name": gateway["metadata"]["name"], "port": gateway["spec"]["ports"][0]["port"]}]
    assert route["timeouts"] == {"request": "0s"}


def test_what_is_added_to_a_pod_is_there(cases):
    pod = cases["everything"].workload("ingest")["spec"]["template"]
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    assert pod["metadata"]["labels"]["tier"] == "edge" and pod["metadata"]["annotations"]["example.org/note"] == "text"
    assert {c["name"] for c in spec["containers"]} == {"ingest", "beside"} and spec["initContainers"][0]["name"] == "before"
    assert container["args"][-1] == "--set=ingest.retry.spread=8s" and container["envFrom"]
    assert {e["name"] for e in container["env"]} >= {"EVENKEEL_INGEST__RETRY__BASE", "POD_IP"}
    assert spec["runtimeClassName"] == "gvisor" and spec["schedulerName"] == "other" and spec["dnsConfig"] and spec["affinity"]
    data = next(v for v in spec["volumes"] if v["name"] == "data")["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert data["storageClassName"] == "fast" and data["resources"] == {"requests": {"storage": "20Gi"}}
    extra = cases["everything"].one("ConfigMap", "-extra")
    assert extra["data"]["release"] == "evenkeel" and cases["everything"].one("ConfigMap", "evenkeel-text")
    assert cases["everything"].workload("sink")["spec"]["template"]["spec"]["serviceAccountName"] == "default"


def test_traces_go_to_the_collector_with_headers_from_a_secret(cases):
    secure = cases["secure"]
    telemetry = config(secure, "ingest")["process"]["telemetry"]
    assert telemetry == {"otlp-endpoint": "http://collector.observability:4317", "sample-ratio": 0.01}
    env = {e["name"]: e for e in secure.container("ingest")["env"]}
    assert env["OTEL_EXPORTER_OTLP_HEADERS"]["valueFrom"]["secretKeyRef"] == {"name": "otel-headers", "key": "headers"}
    assert env["OTEL_RESOURCE_ATTRIBUTES"]["value"] == "deployment.environment=production"
