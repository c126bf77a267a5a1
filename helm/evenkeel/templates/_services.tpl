{{/* The five services. A template goes through them as
     {{- range $component := include "evenkeel.enabled" . | splitList " " }}{{ with include "evenkeel.of" … | fromYaml }}
     and has the merged values in it. */}}

{{/* Names of the services that run, separated by commas. */}}
{{- define "evenkeel.enabled" -}}
{{- $enabled := list -}}
{{- range $component := list "ingest" "coalescer" "sink" "gateway" "scorer" -}}
{{- $c := mustMergeOverwrite (deepCopy $.Values.defaults) (deepCopy (index $.Values $component)) -}}
{{- if $c.enabled }}{{ $enabled = append $enabled $component }}{{ end -}}
{{- end -}}
{{- join "," $enabled -}}
{{- end -}}

{{/* The values of one service, those of `defaults` below its own: dict root, component → YAML of {component, name, c} */}}
{{- define "evenkeel.of" -}}
{{- $c := mustMergeOverwrite (deepCopy .root.Values.defaults) (deepCopy (index .root.Values .component)) -}}
{{- $name := printf "%s-%s" (include "evenkeel.fullname" .root) .component -}}
{{- dict "component" .component "name" $name "c" $c | toYaml -}}
{{- end -}}

{{/* The topic that a service consumes, if any. */}}
{{- define "evenkeel.consumes" -}}
{{- if eq . "coalescer" }}events{{ else if has . (list "sink" "scorer") }}windows{{ end -}}
{{- end -}}

{{/* Services whose pods need names that stay. Coalescer: the pod's name is that of its transactions, so the pod that
replaces one ends what the other left open; the same holds for the scorer. Gateway: the pod's number is its partition of
the topic frames. */}}
{{- define "evenkeel.isStateful" -}}
{{- if has . (list "coalescer" "gateway" "scorer") }}yes{{ end -}}
{{- end -}}
