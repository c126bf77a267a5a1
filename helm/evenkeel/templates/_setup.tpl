{{/* The pod of a job or test: one command of the program. dict root, kafka, cql, args, config (name of the ConfigMap) */}}
{{- define "evenkeel.setupPod" -}}
{{- $d := .root.Values.defaults -}}
{{- $servers := pick . "root" "kafka" "cql" -}}
metadata:
  labels:
    {{- include "evenkeel.selector" (dict "root" .root "component" "setup") | nindent 4 }}
    {{- with .root.Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "evenkeel.setupPodSpec" . | nindent 2 }}
{{- end -}}

{{- define "evenkeel.setupPodSpec" -}}
{{- $d := .root.Values.defaults -}}
{{- $servers := pick . "root" "kafka" "cql" -}}
restartPolicy: Never
automountServiceAccountToken: false
enableServiceLinks: false
{{- include "evenkeel.pullSecrets" .root }}
securityContext:
  {{- toYaml $d.podSecurityContext | nindent 2 }}
{{- include "evenkeel.placement" (dict "root" .root "component" "setup" "c" (omit $d "topologySpreadConstraints" "affinity")) }}
containers:
  - name: {{ first .args }}
    image: {{ include "evenkeel.image" .root }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args:
      {{- range .args }}
      - {{ . }}
      {{- end }}
      - --config=/etc/evenkeel/config/evenkeel.toml
    resources:
      requests: {cpu: 100m, memory: 128Mi}
      limits: {memory: 128Mi}
    securityContext:
      {{- toYaml $d.containerSecurityContext | nindent 6 }}
    volumeMounts:
      - {name: config, mountPath: /etc/evenkeel/config, readOnly: true}
      {{- include "evenkeel.serverMounts" $servers | nindent 6 }}
volumes:
  - name: config
    configMap:
      name: {{ .config }}
  {{- include "evenkeel.serverVolumes" $servers | nindent 2 }}
{{- end -}}
