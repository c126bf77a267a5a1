{{/* TOML from values. Not toToml: values are numbers as JSON has them, and it would write 12 as 12.0. */}}

{{- define "evenkeel.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toRawJson . }}{{ end -}}
{{- end -}}

{{- define "evenkeel.toml.value" -}}
{{- if kindIs "string" . -}}
{{- toRawJson . -}}
{{- else if kindIs "bool" . -}}
{{- . -}}
{{- else if kindIs "float64" . -}}
{{- if eq (floor .) . }}{{ int64 . }}{{ else }}{{ toRawJson . }}{{ end -}}
{{- else if kindIs "slice" . -}}
{{- $items := list -}}
{{- range . }}{{ $items = append $items (include "evenkeel.toml.value" .) }}{{ end -}}
[{{ join ", " $items }}]
{{- else if kindIs "map" . -}}
{{- $items := list -}}
{{- range $k, $v := . }}{{ $items = append $items (printf "%s = %s" (include "evenkeel.toml.key" $k) (include "evenkeel.toml.value" $v)) }}{{ end -}}
{ {{ join ", " $items }} }
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* dict path, table. A null in the values is a key that is left out. */}}
{{- define "evenkeel.toml.table" -}}
{{- $path := .path }}
[{{ $path }}]
{{- range $key, $value := .table }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ include "evenkeel.toml.key" $key }} = {{ include "evenkeel.toml.value" $value }}
{{- end }}
{{- end }}
{{- range $key, $value := .table }}
{{- if kindIs "map" $value }}
{{- if $value }}
{{ include "evenkeel.toml.table" (dict "path" (printf "%s.%s" $path (include "evenkeel.toml.key" $key)) "table" $value) }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
