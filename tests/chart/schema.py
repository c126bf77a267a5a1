"""Makes values.schema.json from values.yaml (its shape and comments) and from the program's keys.

Strict: a key that is not in values.yaml is refused, and so is a configuration key that the program does not know.
Free are `global` and what Kubernetes defines. Never: a rule over two values (templates/_check.tpl has those).
"""

import sources

# Configuration keys that the chart sets itself: they are refused in the values.
OWNED = {
    "process": {"admin.listen", "drain-grace", "telemetry.otlp-endpoint", "telemetry.sample-ratio", "telemetry.instance"},
    "kafka": {"brokers", "prefix", "security", "schema-registry"},
    "cql": {"contact-points", "local-dc", "keyspace", "create-keyspace", "replication", "consistency", "tables", "auth", "tls"},
    "ingest": {"listen", "mqtt.listen"},
    "gateway": {"listen", "instance", "partition"},
}

# What Kubernetes or somebody else defines; it is passed on as it is.
FREE = {
    "global", "strategy", "behavior", "startupProbe", "livenessProbe", "readinessProbe", "podSecurityContext",
    "containerSecurityContext", "resources", "affinity", "dnsConfig", "timeouts", "extraObjects", "extraEnv",
}

# Maps whose keys the user chooses: what their values are.
TEXT = {"type": "string"}
MAPS = {
    "commonLabels": TEXT, "commonAnnotations": TEXT, "labels": TEXT, "annotations": TEXT, "podLabels": TEXT,
    "podAnnotations": TEXT, "nodeSelector": TEXT, "contactPoints": TEXT, "tables": TEXT, "secrets": TEXT,
    "configMaps": TEXT, "claims": TEXT,
    "resourceAttributes": TEXT,
    "replication": {"type": "integer", "minimum": 1, "maximum": 9},
    "hosts": {"type": "array", "items": TEXT},
    "ingress.tls": {"type": "array", "items": TEXT},
}

# Values out of a list, numbers with bounds.
RULES = {
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "image.digest": {"pattern": "^(sha256:[0-9a-f]{64})?$"},
    "kafka.topicPrefix": {"pattern": "^[A-Za-z0-9._-]+$"},
    "kafka.partitions": {"minimum": 1},
    "kafka.auth.mechanism": {"enum": ["plain", "scram-sha-256", "scram-sha-512"]},
    "cql.keyspace": {"pattern": "^[a-z][a-z0-9_]{0,47}$"},
    "cql.consistency": {"enum": ["one", "local-quorum", "quorum"]},
    "otel.sampleRatio": {"type": "number", "minimum": 0, "maximum": 1},
    "metrics.monitor.kind": {"enum": ["PodMonitor", "ServiceMonitor"]},
    "metrics.rules.objectives.ackSuccess": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "metrics.rules.objectives.ackLatency": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "metrics.rules.objectives.freshness": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "metrics.rules.objectives.completeness": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    # Bounds of the histograms: between two of them a share cannot be told.
    "metrics.rules.objectives.ackLatencySeconds": {"type": "number", "enum": [0.1, 0.25, 0.5, 1, 2.5, 5, 10]},
    "metrics.rules.objectives.freshnessSeconds": {"type": "number", "enum": [5, 7.5, 10, 15, 30, 60, 300]},
    "strimzi.replicas": {"minimum": 1},
    "defaults.replicas": {"minimum": 0},
    "defaults.service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "defaults.service.externalTrafficPolicy": {"enum": ["", "Local", "Cluster"]},
    "defaults.data.kind": {"enum": ["emptyDir", "ephemeral"]},
    "defaults.autoscaling.kind": {"enum": ["hpa", "keda"]},
    "defaults.autoscaling.minReplicas": {"minimum": 1},
    "defaults.autoscaling.maxReplicas": {"minimum": 1},
    "defaults.autoscaling.cpuPercent": {"minimum": 0},
    "defaults.autoscaling.lagPerPod": {"minimum": 0},
    "defaults.podDisruptionBudget.maxUnavailable": {"type": ["integer", "string"]},
    "defaults.podDisruptionBudget.unhealthyPodEvictionPolicy": {"enum": ["", "AlwaysAllow", "IfHealthyBudget"]},
    "defaults.preStopSeconds": {"minimum": 0},
    "defaults.drainSeconds": {"minimum": 1},
}

PORTS = {
    "type": "object",
    "propertyNames": {"pattern": "^[a-z0-9-]{1,15}$", "not": {"const": "admin"}},
    "additionalProperties": {
        "type": "object",
        "properties": {
            "enabled": {"type": "boolean"},
            "port": {"type": "integer", "minimum": 1, "maximum": 65535},
            "appProtocol": TEXT,
        },
        "additionalProperties": False,
    },
}


def of_value(value, path, described):
    """The schema of a value of values.yaml."""
    name, dotted = path[-1], ".".join(path)
    schema = {}
    if path in described:
        schema["description"] = described[path]
    if name == "ports":
        return schema | PORTS
    if name in FREE and isinstance(value, dict):
        return schema | {"type": "object"}
    kept = MAPS.get(".".join(path[-2:]), MAPS.get(name) if dotted != "kafka.tls" else None)
    if kept is not None and isinstance(value, dict):
        return schema | {"type": "object", "additionalProperties": kept}
    if isinstance(value, dict):
        members = {key: of_value(child, path + (key,), described) for key, child in value.items()}
        return schema | {"type": "object", "properties": members, "additionalProperties": False}
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return schema | {"type": kinds[type(value)]} | RULES.get(dotted, {})


def of_key(value):
    """The schema of a configuration key: what its default, or the example behind `#:`, is."""
    if isinstance(value, dict):
        if not value:
            return {"type": "object"}
        return {"type": "object", "properties": {k: of_key(v) for k, v in value.items()}, "additionalProperties": False}
    kinds = {bool: "boolean", int: "number", float: "number", str: "string", list: "array"}
    return {"type": kinds[type(value)]}


def of_section(section):
    """The schema of a section of the configuration without what the chart sets."""
    keys = sources.keys_of(section)
    if keys is None:
        return {"type": "object"}
    for owned in OWNED.get(section, ()):
        *parents, last = owned.split(".")
        at = keys
        for parent in parents:
            at = at.get(parent, {})
        at.pop(last, None)
    return of_key(keys)


def renamed(schema, defs):
    """Lets keys of files/renamed.yaml through, so that the templates can say what they are called now."""
    import yaml

    for old in yaml.safe_load((sources.CHART / "files" / "renamed.yaml").read_text()):
        at = schema
        *parents, last = old.split(".")
        for parent in parents:
            at = at["properties"][parent]
            at = defs[at["$ref"].rsplit("/", 1)[1]] if "$ref" in at else at
        at["properties"][last] = {"description": "Refused: it has another name."}


def schema():
    """values.schema.json."""
    described = dict(sources.described_values())
    values = sources.values()
    members = {}
    for name, value in values.items():
        if name not in sources.SERVICES and name != "defaults":
            members[name] = of_value(value, (name,), described)
    members["process"] = of_section("process") | {"description": described[("process",)]}
    for section in ("kafka", "cql"):
        config = members[section]["properties"]["config"]
        members[section]["properties"]["config"] = config | of_section(section)
    defs = {"service": of_value(values["defaults"], ("defaults",), described)}
    defs["service"].pop("description")
    members["defaults"] = {"description": described[("defaults",)], "$ref": "#/$defs/service"}
    for service in sources.SERVICES:
        own = {"config": of_section(service)}
        defs[service] = {
            "type": "object",
            "properties": defs["service"]["properties"] | own,
            "additionalProperties": False,
        }
        members[service] = {"description": described[(service,)], "$ref": f"#/$defs/{service}"}
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the chart evenkeel",
        "type": "object",
        "properties": members,
        "additionalProperties": False,
        "$defs": defs,
    }
    import copy

    whole = copy.deepcopy(whole)
    renamed(whole, whole["$defs"])
    return whole
