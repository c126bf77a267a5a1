{{/* What no schema can say: values that do not fit together. Every message names the key and the remedy. */}}

{{- define "evenkeel.check" -}}
{{- include "evenkeel.check.renamed" . -}}
{{- $v := .Values -}}
{{- if not $v.kafka.bootstrapServers }}{{ fail "kafka.bootstrapServers is empty: name some brokers as host:port,host:port" }}{{ end -}}
{{- with $v.kafka -}}
{{- if and .auth.enabled (not (and .auth.username .auth.existingSecret)) }}{{ fail "kafka.auth.enabled needs kafka.auth.username and kafka.auth.existingSecret (a Secret with the password)" }}{{ end -}}
{{- if and (or .tls.caSecret .tls.clientSecret) (not .tls.enabled) }}{{ fail "kafka.tls.caSecret or clientSecret is set, but kafka.tls.enabled is false" }}{{ end -}}
{{- if and .schemaRegistry.username (not .schemaRegistry.existingSecret) }}{{ fail "kafka.schemaRegistry.username needs kafka.schemaRegistry.existingSecret" }}{{ end -}}
{{- end -}}
{{- with $v.cql -}}
{{- if and .auth.enabled (not (and .auth.username .auth.existingSecret)) }}{{ fail "cql.auth.enabled needs cql.auth.username and cql.auth.existingSecret (a Secret with the password)" }}{{ end -}}
{{- if and .tls.enabled (not .tls.caSecret) }}{{ fail "cql.tls.enabled needs cql.tls.caSecret: the authority that signed the servers' certificates" }}{{ end -}}
{{- end -}}
{{- $cql := $v.cql.schemaJob.enabled -}}
{{- range $component := include "evenkeel.enabled" . | splitList "," | compact -}}
{{- $c := (include "evenkeel.of" (dict "root" $ "component" $component) | fromYaml).c -}}
{{- if $c.access.cql }}{{ $cql = true }}{{ end -}}
{{- include "evenkeel.check.service" (dict "root" $ "component" $component "c" $c) -}}
{{- end -}}
{{- $points := list }}{{ range $name, $point := $v.cql.contactPoints }}{{ if $point }}{{ $points = append $points $point }}{{ end }}{{ end -}}
{{- if and $cql (not $points) }}{{ fail "cql.contactPoints is empty: name some nodes, {a: \"host:9042\"}; without a database set sink.enabled and cql.schemaJob.enabled to false" }}{{ end -}}
{{- end -}}

{{/* dict root, component, c */}}
{{- define "evenkeel.check.service" -}}
{{- $a := .c.autoscaling -}}
{{- $partitions := int .root.Values.kafka.partitions -}}
{{- $consumes := include "evenkeel.consumes" .component -}}
{{- if $a.enabled -}}
{{- if gt (int $a.minReplicas) (int $a.maxReplicas) }}{{ fail (printf "%s.autoscaling: minReplicas is above maxReplicas" .component) }}{{ end -}}
{{- if and $consumes (gt (int $a.maxReplicas) $partitions) }}{{ fail (printf "%s.autoscaling.maxReplicas is %d, kafka.partitions %d: a pod beyond the partitions has nothing to do" .component (int $a.maxReplicas) $partitions) }}{{ end -}}
{{- $lag := and $consumes $a.lagPerPod (or (eq $a.kind "keda") $a.lagMetric) -}}
{{- if not (or $a.cpuPercent $a.memoryPercent $lag) }}{{ fail (printf "%s.autoscaling has nothing to scale by: set cpuPercent, memoryPercent or lagPerPod (with kind hpa also lagMetric)" .component) }}{{ end -}}
{{- else if and $consumes (not .c.omitReplicas) (gt (int .c.replicas) $partitions) -}}
{{- fail (printf "%s.replicas is %d, kafka.partitions %d: a pod beyond the partitions has nothing to do" .component (int .c.replicas) $partitions) -}}
{{- end -}}
{{- if and (eq .component "ingest") (not (or (dig "tokens-file" "" .c.config) (dig "jwt" "issuer" "" .c.config))) -}}
{{- fail "ingest has no credentials, and then it serves its own machine only: set ingest.config.tokens-file (a file of ingest.secrets, e.g. ingest.secrets.tokens=my-secret and /etc/evenkeel/secrets/tokens/tokens.toml) or ingest.config.jwt" -}}
{{- end -}}
{{- if and (eq .component "gateway") (not (or (dig "tokens-file" "" .c.config) (dig "jwt" "issuer" "" .c.config))) -}}
{{- fail "gateway has no credentials, and then it serves its own machine only: set gateway.config.tokens-file (a file of gateway.secrets, e.g. gateway.secrets.tokens=my-secret and /etc/evenkeel/secrets/tokens/tokens.toml) or gateway.config.jwt" -}}
{{- end -}}
{{- if and (eq .component "scorer") (not (or (dig "live" "model" "" .c.config) (dig "live" "rule" list .c.config))) -}}
{{- fail "scorer has nothing to do: set scorer.config.live.model (a file of scorer.configMaps or scorer.claims, e.g. scorer.configMaps.models=my-map and /etc/evenkeel/files/models/model.onnx) or scorer.config.live.rule" -}}
{{- end -}}
{{- if eq .component "gateway" -}}
{{- $frames := int (.root.Files.Get "files/topics.yaml" | fromYaml).frames.partitions -}}
{{- $most := ternary (int $a.maxReplicas) (int .c.replicas) $a.enabled -}}
{{- if and (or $a.enabled (not .c.omitReplicas)) (gt $most $frames) }}{{ fail (printf "gateway would run %d pods, and the topic frames has %d partitions, one for each" $most $frames) }}{{ end -}}
{{- end -}}
{{- range $kind := list "ingress" "httpRoute" -}}
{{- $route := index $.c $kind -}}
{{- if and $route.enabled (not (dig $route.port "enabled" false $.c.ports)) }}{{ fail (printf "%s.%s.port is %q, which is no enabled port of %s" $.component $kind $route.port $.component) }}{{ end -}}
{{- end -}}
{{- if and .c.ingress.enabled (not .c.ingress.hosts) }}{{ fail (printf "%s.ingress.hosts is empty: name a host, {events.example.org: [/]}" .component) }}{{ end -}}
{{- if and .c.httpRoute.enabled (not .c.httpRoute.parentRefs) }}{{ fail (printf "%s.httpRoute.parentRefs is empty: name the Gateway" .component) }}{{ end -}}
{{- end -}}

{{/* Keys that other charts have, or this one had, under another name. */}}
{{- define "evenkeel.check.renamed" -}}
{{- range $old, $new := .Files.Get "files/renamed.yaml" | fromYaml -}}
{{- $at := $.Values -}}
{{- range $part := splitList "." $old -}}
{{- $at = ternary (get (kindIs "map" $at | ternary $at dict) $part) nil (and (kindIs "map" $at) (hasKey (kindIs "map" $at | ternary $at dict) $part)) -}}
{{- end -}}
{{- if not (kindIs "invalid" $at) }}{{ fail (printf "%s is called %s (UPGRADING.md)" $old $new) }}{{ end -}}
{{- end -}}
{{- end -}}
