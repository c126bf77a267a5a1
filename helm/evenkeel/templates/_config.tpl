{{/* The configuration file: one for each service, from typed values. What the chart sets is not in `config`. */}}

{{/* Group of a service, as the program names it. */}}
{{- define "evenkeel.group" -}}
{{- .root.Values.kafka.config.group | default (printf "%s.%s" .root.Values.kafka.topicPrefix .component) -}}
{{- end -}}

{{- define "evenkeel.topic" -}}
{{- index (.root.Values.kafka.config | dig "topic-names" dict) .topic | default (printf "%s.%s" .root.Values.kafka.topicPrefix .topic) -}}
{{- end -}}

{{- define "evenkeel.config.process" -}}
{{- $derived := dict "admin" (dict "listen" "0.0.0.0:9464") "drain-grace" (printf "%ds" (int .drainSeconds)) -}}
{{- if .root.Values.otel.enabled -}}
{{- $_ := set $derived "telemetry" (dict "otlp-endpoint" .root.Values.otel.endpoint "sample-ratio" .root.Values.otel.sampleRatio) -}}
{{- end -}}
{{- include "evenkeel.toml.table" (dict "path" "process" "table" (mergeOverwrite (deepCopy .root.Values.process) $derived)) -}}
{{- end -}}

{{- define "evenkeel.config.kafka" -}}
{{- $kafka := .Values.kafka -}}
{{- $derived := dict "brokers" $kafka.bootstrapServers "prefix" $kafka.topicPrefix -}}
{{- $security := dict -}}
{{- if $kafka.auth.enabled -}}
{{- $_ := set $security "mechanism" $kafka.auth.mechanism -}}
{{- $_ := set $security "username" $kafka.auth.username -}}
{{- $_ := set $security "password-file" "/etc/evenkeel/kafka-auth/password" -}}
{{- end -}}
{{- if $kafka.tls.caSecret -}}
{{- $_ := set $security "ca-file" "/etc/evenkeel/kafka-ca/ca.crt" -}}
{{- end -}}
{{- if $kafka.tls.clientSecret -}}
{{- $_ := set $security "cert-file" "/etc/evenkeel/kafka-client/tls.crt" -}}
{{- $_ := set $security "key-file" "/etc/evenkeel/kafka-client/tls.key" -}}
{{- end -}}
{{- $transport := ternary "ssl" "plaintext" $kafka.tls.enabled -}}
{{- $_ := set $security "protocol" (ternary (printf "sasl-%s" $transport) $transport $kafka.auth.enabled) -}}
{{- $_ := set $derived "security" $security -}}
{{- with $kafka.schemaRegistry -}}
{{- if .url -}}
{{- $registry := dict "url" .url "register" .register -}}
{{- if .username -}}
{{- $_ := set $registry "username" .username -}}
{{- $_ := set $registry "password-file" "/etc/evenkeel/registry-auth/password" -}}
{{- end -}}
{{- $_ := set $derived "schema-registry" $registry -}}
{{- end -}}
{{- end -}}
{{- include "evenkeel.toml.table" (dict "path" "kafka" "table" (mergeOverwrite (deepCopy $kafka.config) $derived)) -}}
{{- end -}}

{{- define "evenkeel.config.cql" -}}
{{- $cql := .Values.cql -}}
{{- $points := list -}}
{{- range $name, $point := $cql.contactPoints }}{{ if $point }}{{ $points = append $points $point }}{{ end }}{{ end -}}
{{- $tables := list -}}
{{- range $size, $ttl := $cql.tables -}}
{{- $table := dict "size" $size -}}
{{- if $ttl }}{{ $_ := set $table "ttl" $ttl }}{{ end -}}
{{- $tables = append $tables $table -}}
{{- end -}}
{{- $derived := dict "contact-points" $points "keyspace" $cql.keyspace "consistency" $cql.consistency "tables" $tables -}}
{{- if not $cql.schemaJob.createKeyspace }}{{ $_ := set $derived "create-keyspace" false }}{{ end -}}
{{- with $cql.localDc }}{{ $_ := set $derived "local-dc" . }}{{ end -}}
{{- with $cql.replication }}{{ $_ := set $derived "replication" . }}{{ end -}}
{{- if $cql.auth.enabled -}}
{{- $_ := set $derived "auth" (dict "user" $cql.auth.username "password-file" "/etc/evenkeel/cql-auth/password") -}}
{{- end -}}
{{- if $cql.tls.enabled -}}
{{- $tls := dict "ca-file" "/etc/evenkeel/cql-ca/ca.crt" -}}
{{- if $cql.tls.clientSecret -}}
{{- $_ := set $tls "cert-file" "/etc/evenkeel/cql-client/tls.crt" -}}
{{- $_ := set $tls "key-file" "/etc/evenkeel/cql-client/tls.key" -}}
{{- end -}}
{{- $_ := set $derived "tls" $tls -}}
{{- end -}}
{{- include "evenkeel.toml.table" (dict "path" "cql" "table" (mergeOverwrite (deepCopy $cql.config) $derived)) -}}
{{- end -}}

{{/* The section of a service; its listening addresses follow from its ports. dict c, component */}}
{{- define "evenkeel.config.service" -}}
{{- $derived := dict -}}
{{- range $name, $port := .c.ports -}}
{{- if $port.enabled -}}
{{- $listen := dict "listen" (printf "0.0.0.0:%d" (int $port.port)) -}}
{{- $derived = merge $derived (ternary $listen (dict $name $listen) (eq $name "http")) -}}
{{- end -}}
{{- end -}}
{{- if eq .component "gateway" -}}
{{- $targets := list -}}
{{- range $other := include "evenkeel.enabled" .root | splitList "," | compact -}}
{{- if has $other (list "ingest" "coalescer" "sink") -}}
{{- $targets = append $targets (printf "http://%s-%s-pods:9464/metrics" (include "evenkeel.fullname" $.root) $other) -}}
{{- end -}}
{{- end -}}
{{- $derived = merge $derived (dict "summary" (dict "targets" (dig "summary" "targets" $targets .c.config))) -}}
{{- end -}}
{{- include "evenkeel.toml.table" (dict "path" .component "table" (mergeOverwrite (deepCopy .c.config) $derived)) -}}
{{- end -}}

{{/* The whole file: dict root, component, c */}}
{{- define "evenkeel.config" -}}
# Made from the values of the chart; see docs/configuration.md.
{{- include "evenkeel.config.process" (dict "root" .root "drainSeconds" .c.drainSeconds) }}
{{ if .c.access.kafka }}
{{- include "evenkeel.config.kafka" .root }}
{{ end }}
{{- if .c.access.cql }}
{{- include "evenkeel.config.cql" .root }}
{{ end }}
{{- include "evenkeel.config.service" . }}
{{- end -}}
