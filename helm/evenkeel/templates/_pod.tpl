{{/* The pod of every service, and of the jobs. */}}

{{/* Secrets of the servers: dict root, kafka, cql → list of {name, secret, items} as YAML */}}
{{- define "evenkeel.serverSecrets" -}}
{{- $k := .root.Values.kafka -}}
{{- $q := .root.Values.cql -}}
{{- if .kafka }}
{{- if $k.auth.enabled }}
- {name: kafka-auth, secret: {{ $k.auth.existingSecret }}, items: {{ dict $k.auth.passwordKey "password" | toJson }}}
{{- end }}
{{- with $k.tls.caSecret }}
- {name: kafka-ca, secret: {{ . }}, items: {{ dict $k.tls.caKey "ca.crt" | toJson }}}
{{- end }}
{{- with $k.tls.clientSecret }}
- {name: kafka-client, secret: {{ . }}, items: {tls.crt: tls.crt, tls.key: tls.key}}
{{- end }}
{{- if and $k.schemaRegistry.url $k.schemaRegistry.username }}
- {name: registry-auth, secret: {{ $k.schemaRegistry.existingSecret }}, items: {{ dict $k.schemaRegistry.passwordKey "password" | toJson }}}
{{- end }}
{{- end }}
{{- if .cql }}
{{- if $q.auth.enabled }}
- {name: cql-auth, secret: {{ $q.auth.existingSecret }}, items: {{ dict $q.auth.passwordKey "password" | toJson }}}
{{- end }}
{{- if $q.tls.enabled }}
- {name: cql-ca, secret: {{ $q.tls.caSecret }}, items: {{ dict $q.tls.caKey "ca.crt" | toJson }}}
{{- with $q.tls.clientSecret }}
- {name: cql-client, secret: {{ . }}, items: {tls.crt: tls.crt, tls.key: tls.key}}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "evenkeel.serverVolumes" -}}
{{- range include "evenkeel.serverSecrets" . | fromYamlArray }}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    items:
      {{- range $key, $path := .items }}
      - {key: {{ $key }}, path: {{ $path }}}
      {{- end }}
{{- end }}
{{- end -}}

{{- define "evenkeel.serverMounts" -}}
{{- range include "evenkeel.serverSecrets" . | fromYamlArray }}
- {name: {{ .name }}, mountPath: /etc/evenkeel/{{ .name }}, readOnly: true}
{{- end }}
{{- end -}}

{{/* Variables by name, so that none is there twice: dict root, component, c */}}
{{- define "evenkeel.env" -}}
{{- $pod := dict "valueFrom" (dict "fieldRef" (dict "apiVersion" "v1" "fieldPath" "metadata.name")) -}}
{{- $env := dict "EVENKEEL_PROCESS__TELEMETRY__INSTANCE" $pod -}}
{{- if eq .component "gateway" -}}
{{- $number := dict "valueFrom" (dict "fieldRef" (dict "apiVersion" "v1" "fieldPath" "metadata.labels['apps.kubernetes.io/pod-index']")) -}}
{{- $env = merge $env (dict "EVENKEEL_GATEWAY__INSTANCE" $pod "EVENKEEL_GATEWAY__PARTITION" $number) -}}
{{- end -}}
{{- with .root.Values.otel -}}
{{- if .enabled -}}
{{- if .headersSecret -}}
{{- $_ := set $env "OTEL_EXPORTER_OTLP_HEADERS" (dict "valueFrom" (dict "secretKeyRef" (dict "name" .headersSecret "key" .headersKey))) -}}
{{- end -}}
{{- $attributes := list -}}
{{- range $key, $value := .resourceAttributes }}{{ $attributes = append $attributes (printf "%s=%s" $key $value) }}{{ end -}}
{{- if $attributes }}{{ $_ := set $env "OTEL_RESOURCE_ATTRIBUTES" (join "," $attributes) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := merge (deepCopy .c.extraEnv) $env }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  {{- toYaml $value | nindent 2 }}
  {{- else }}
  value: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* dict root, component, name, c */}}
{{- define "evenkeel.podTemplate" -}}
{{- $root := .root -}}
{{- $c := .c -}}
{{- $servers := dict "root" $root "kafka" $c.access.kafka "cql" $c.access.cql -}}
metadata:
  labels:
    {{- include "evenkeel.selector" . | nindent 4 }}
    {{- with merge (deepCopy $c.podLabels) $root.Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Another configuration is another pod: only some keys are taken over while a service runs.
    checksum/config: {{ include "evenkeel.config" . | sha256sum }}
    kubectl.kubernetes.io/default-container: {{ .component }}
    {{- with merge (deepCopy $c.podAnnotations) $root.Values.commonAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "evenkeel.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- include "evenkeel.pullSecrets" $root | nindent 2 }}
  securityContext:
    {{- toYaml $c.podSecurityContext | nindent 4 }}
  # What the process needs after the signal, what balancers need before it, and a reserve.
  terminationGracePeriodSeconds: {{ add (int $c.preStopSeconds) (int $c.drainSeconds) 10 }}
  {{- include "evenkeel.placement" . | nindent 2 }}
  {{- with $c.initContainers }}
  initContainers:
    {{- tpl (toYaml .) $root | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "evenkeel.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args:
        - {{ .component }}
        - --config=/etc/evenkeel/config/evenkeel.toml
        {{- range $c.extraArgs }}
        - {{ tpl . $root | quote }}
        {{- end }}
      env:
        {{- include "evenkeel.env" . | nindent 8 }}
      {{- with $c.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: admin, containerPort: 9464, protocol: TCP}
        {{- range $name, $port := $c.ports }}
        {{- if $port.enabled }}
        - {name: {{ $name }}, containerPort: {{ int $port.port }}, protocol: TCP}
        {{- end }}
        {{- end }}
      startupProbe:
        httpGet: {path: /livez, port: admin}
        {{- toYaml $c.startupProbe | nindent 8 }}
      livenessProbe:
        httpGet: {path: /livez, port: admin}
        {{- toYaml $c.livenessProbe | nindent 8 }}
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        {{- toYaml $c.readinessProbe | nindent 8 }}
      {{- if gt (int $c.preStopSeconds) 0 }}
      lifecycle:
        preStop:
          {{- if semverCompare ">=1.30.0-0" $root.Capabilities.KubeVersion.Version }}
          sleep: {seconds: {{ int $c.preStopSeconds }}}
          {{- else }}
          exec: {command: [/bin/sleep, {{ int $c.preStopSeconds | quote }}]}
          {{- end }}
      {{- end }}
      resources:
        {{- toYaml $c.resources | nindent 8 }}
      securityContext:
        {{- toYaml $c.containerSecurityContext | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/evenkeel/config, readOnly: true}
        {{- include "evenkeel.serverMounts" $servers | nindent 8 }}
        {{- range $directory, $secret := $c.secrets }}
        - {name: secret-{{ $directory }}, mountPath: /etc/evenkeel/secrets/{{ $directory }}, readOnly: true}
        {{- end }}
        {{- range $directory, $map := $c.configMaps }}
        - {name: files-{{ $directory }}, mountPath: /etc/evenkeel/files/{{ $directory }}, readOnly: true}
        {{- end }}
        {{- range $directory, $claim := $c.claims }}
        - {name: volume-{{ $directory }}, mountPath: /etc/evenkeel/volumes/{{ $directory }}, readOnly: true}
        {{- end }}
        {{- if $c.data.enabled }}
        - {name: data, mountPath: /var/lib/evenkeel}
        {{- end }}
        {{- with $c.extraVolumeMounts }}
        {{- tpl (toYaml .) $root | nindent 8 }}
        {{- end }}
    {{- with $c.extraContainers }}
    {{- tpl (toYaml .) $root | nindent 4 }}
    {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ .name }}
    {{- include "evenkeel.serverVolumes" $servers | nindent 4 }}
    {{- range $directory, $secret := $c.secrets }}
    - name: secret-{{ $directory }}
      secret:
        secretName: {{ $secret }}
        defaultMode: 0440
    {{- end }}
    {{- range $directory, $map := $c.configMaps }}
    - name: files-{{ $directory }}
      configMap:
        name: {{ $map }}
    {{- end }}
    {{- range $directory, $claim := $c.claims }}
    - name: volume-{{ $directory }}
      persistentVolumeClaim:
        claimName: {{ $claim }}
        readOnly: true
    {{- end }}
    {{- if $c.data.enabled }}
    - name: data
      {{- if eq $c.data.kind "ephemeral" }}
      ephemeral:
        volumeClaimTemplate:
          spec:
            accessModes: [ReadWriteOnce]
            {{- with $c.data.storageClassName }}
            storageClassName: {{ . }}
            {{- end }}
            resources:
              requests:
                storage: {{ $c.data.size }}
      {{- else }}
      emptyDir:
        sizeLimit: {{ $c.data.size }}
      {{- end }}
    {{- end }}
    {{- with $c.extraVolumes }}
    {{- tpl (toYaml .) $root | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* Where a pod runs. */}}
{{- define "evenkeel.placement" -}}
{{- $selector := include "evenkeel.selector" . | fromYaml -}}
{{- with .c.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml (merge (deepCopy .) (dict "labelSelector" (dict "matchLabels" $selector))) | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- with .c.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .c.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .c.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .c.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .c.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .c.schedulerName }}
schedulerName: {{ . }}
{{- end }}
{{- with .c.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
