{{/* Recording rules and alerts. An objective is a share of good things; its error ratio is recorded over several windows,
and an alert fires when both a long and a short window burn the error budget quickly: the long one says that it matters,
the short one that it still happens. Names of metrics are those of libs/telemetry/src/names; a test compares them. */}}

{{/* What is bad and what there is, over a window: dict bad, all (with RANGE for the window). */}}
{{- define "evenkeel.objectives" -}}
{{- $o := .Values.metrics.rules.objectives -}}
ack_success:
  objective: {{ $o.ackSuccess }}
  alert: EvenkeelAckSuccess
  bad: sum by (namespace) (rate(evenkeel_ingest_requests_total{status="5xx"}[RANGE]))
  all: sum by (namespace) (rate(evenkeel_ingest_requests_total[RANGE]))
  summary: requests are answered with an error of ours, and devices must send again
ack_latency:
  objective: {{ $o.ackLatency }}
  alert: EvenkeelAckLatency
  bad: sum by (namespace) (rate(evenkeel_ingest_ack_duration_seconds_count[RANGE])) - sum by (namespace) (rate(evenkeel_ingest_ack_duration_seconds_bucket{le="{{ $o.ackLatencySeconds }}"}[RANGE]))
  all: sum by (namespace) (rate(evenkeel_ingest_ack_duration_seconds_count[RANGE]))
  summary: acknowledgements take longer than {{ $o.ackLatencySeconds }} s
freshness:
  objective: {{ $o.freshness }}
  alert: EvenkeelFreshness
  bad: sum by (namespace) (rate(evenkeel_sink_row_age_seconds_count[RANGE])) - sum by (namespace) (rate(evenkeel_sink_row_age_seconds_bucket{le="{{ $o.freshnessSeconds }}"}[RANGE]))
  all: sum by (namespace) (rate(evenkeel_sink_row_age_seconds_count[RANGE]))
  summary: rows are stored later than {{ $o.freshnessSeconds }} s after the end of their window
completeness:
  objective: {{ $o.completeness }}
  alert: EvenkeelCompleteness
  bad: sum by (namespace) (rate(evenkeel_coalescer_events_total{outcome=~"malformed|misrouted|future|too_old|overflow"}[RANGE]))
  all: sum by (namespace) (rate(evenkeel_coalescer_events_total[RANGE]))
  summary: events are refused and lie in dlq instead of counting in rows
{{- end -}}

{{- define "evenkeel.rules" -}}
{{- $objectives := include "evenkeel.objectives" . | fromYaml -}}
{{- $windows := list "5m" "30m" "1h" "2h" "6h" "1d" "3d" -}}
{{- $burns := list
  (dict "long" "1h" "short" "5m" "factor" 14.4 "severity" "critical" "speed" "Fast" "for" "2m")
  (dict "long" "6h" "short" "30m" "factor" 6 "severity" "critical" "speed" "Fast" "for" "15m")
  (dict "long" "1d" "short" "2h" "factor" 3 "severity" "warning" "speed" "Slow" "for" "1h")
  (dict "long" "3d" "short" "6h" "factor" 1 "severity" "warning" "speed" "Slow" "for" "3h") -}}
groups:
  - name: evenkeel.ratios
    interval: 30s
    rules:
      {{- range $name, $o := $objectives }}
      {{- range $window := $windows }}
      - record: evenkeel:{{ $name }}:error_ratio_{{ $window }}
        expr: |-
          ({{ $o.bad | replace "RANGE" $window }})
            / ({{ $o.all | replace "RANGE" $window }} > 0)
      {{- end }}
      {{- end }}
  - name: evenkeel.levels
    interval: 30s
    rules:
      - record: evenkeel:coalescer_memory:budget_ratio
        # What is allocated holds the state: together they would count it twice.
        expr: sum by (namespace, pod, instance) (evenkeel_coalescer_memory_used_bytes{component!="allocated"}) / sum by (namespace, pod, instance) (evenkeel_coalescer_memory_budget_bytes)
      - record: evenkeel:process_memory:limit_ratio
        expr: process_memory_usage_bytes / evenkeel_process_memory_limit_bytes
      - record: evenkeel:consumer_lag:records
        expr: |-
          label_replace(sum by (namespace, topic) (evenkeel_coalescer_consumer_lag), "service", "coalescer", "", "")
            or label_replace(sum by (namespace, topic) (evenkeel_sink_consumer_lag), "service", "sink", "", "")
            or label_replace(sum by (namespace, topic) (evenkeel_scorer_consumer_lag), "service", "scorer", "", "")
      - record: evenkeel:ingest_queue:limit_ratio
        expr: evenkeel_ingest_queue_depth_bytes / evenkeel_ingest_queue_limit_bytes
  - name: evenkeel.burn
    rules:
      {{- range $name, $o := $objectives }}
      {{- $budget := subf 1.0 $o.objective | printf "%.6g" }}
      {{- range $b := $burns }}
      - alert: {{ $o.alert }}{{ $b.speed }}
        expr: |-
          evenkeel:{{ $name }}:error_ratio_{{ $b.long }} > {{ $b.factor }} * {{ $budget }}
            and evenkeel:{{ $name }}:error_ratio_{{ $b.short }} > {{ $b.factor }} * {{ $budget }}
        for: {{ $b.for }}
        {{- include "evenkeel.rule.rest" (dict "root" $ "severity" $b.severity "window" $b.long "alert" $o.alert "summary" (printf "%s; the error budget burns %v times too quickly over %s" $o.summary $b.factor $b.long)) | nindent 8 }}
      {{- end }}
      {{- end }}
  - name: evenkeel.states
    rules:
      {{- range $r := include "evenkeel.states" . | fromYamlArray }}
      - alert: {{ $r.alert }}
        expr: {{ $r.expr | quote }}
        {{- with $r.for }}
        for: {{ . }}
        {{- end }}
        {{- include "evenkeel.rule.rest" (merge (dict "root" $) $r) | nindent 8 }}
      {{- end }}
{{- end -}}

{{- define "evenkeel.rule.rest" -}}
labels:
  severity: {{ .severity }}
  {{- with .window }}
  window: {{ . }} # tells the two alerts of one name apart
  {{- end }}
annotations:
  summary: {{ .summary | quote }}
  runbook_url: {{ printf "%s/%s.md" (trimSuffix "/" .root.Values.metrics.rules.runbookUrl) (.alert | lower) }}
{{- end -}}

{{- define "evenkeel.states" -}}
- alert: EvenkeelLedgerImbalance
  expr: max by (namespace, pod, instance, size) (abs(evenkeel_coalescer_ledger_imbalance)) > 0
  for: 1m
  severity: critical
  summary: events are unaccounted for, which is a defect
- alert: EvenkeelEventsLost
  expr: max by (namespace, pod, instance) (evenkeel_coalescer_lost) > 0 and max by (namespace, pod, instance) (delta(evenkeel_coalescer_lost[15m])) > 0
  severity: critical
  summary: the log was shorter than a recovery needed, and events are gone
- alert: EvenkeelMemoryNearBudget
  expr: evenkeel:coalescer_memory:budget_ratio > 0.9
  for: 15m
  severity: warning
  summary: the state of a coalescer nears its budget; at the budget the longest-silent streams are evicted
- alert: EvenkeelMemoryNearLimit
  expr: evenkeel:process_memory:limit_ratio > 0.92
  for: 10m
  severity: warning
  summary: a process nears the memory limit of its container and may be killed
- alert: EvenkeelConsumerLag
  expr: evenkeel:consumer_lag:records > 10000 and evenkeel:consumer_lag:records > 1.1 * (evenkeel:consumer_lag:records offset 10m)
  for: 10m
  severity: warning
  summary: a service falls behind the log
- alert: EvenkeelSinkPaused
  expr: sum by (namespace, pod, instance) (evenkeel_sink_partitions_paused) > 0
  for: 5m
  severity: critical
  summary: the database takes no rows; they wait in the log
- alert: EvenkeelClockOffset
  expr: abs(evenkeel_ingest_clock_offset_seconds) > 30
  for: 5m
  severity: warning
  summary: the clock of an ingest pod differs from the brokers'; past ingest.clock.slack it is not ready
- alert: EvenkeelNotReady
  expr: min by (namespace, pod, instance, condition) (evenkeel_process_ready) == 0
  for: 10m
  severity: warning
  summary: a process has not been ready for ten minutes
- alert: EvenkeelTicksMerged
  expr: sum by (namespace, pod, instance) (rate(evenkeel_coalescer_tick_merged_total[10m])) > 0.1
  for: 10m
  severity: warning
  summary: transactions take longer than the interval, and rows leave late
{{- end -}}
