"""Makes the Grafana dashboards of the chart from short descriptions: what is shown, of which metric, in which unit.

Names of metrics are checked against libs/telemetry by test_observability.py. Never: a value of an installation; the
data source and the namespace are variables of the dashboard.
"""

import json

WHERE = 'namespace=~"$namespace"'
RATE = "$__rate_interval"


def rate(metric, labels="", by=""):
    """Sum of rates."""
    inner = f"{metric}{{{WHERE}{',' + labels if labels else ''}}}"
    return f"sum{' by (' + by + ')' if by else ''} (rate({inner}[{RATE}]))"


def total(metric, labels="", by="", how="sum"):
    """Sum (or another aggregate) of a gauge."""
    inner = f"{metric}{{{WHERE}{',' + labels if labels else ''}}}"
    return f"{how}{' by (' + by + ')' if by else ''} ({inner})"


def quantile(q, metric, by=""):
    """Quantile of a histogram."""
    groups = "le" + (f", {by}" if by else "")
    return f"histogram_quantile({q}, sum by ({groups}) (rate({metric}_bucket{{{WHERE}}}[{RATE}])))"


def quantiles(metric):
    return [(quantile(q, metric), f"p{q * 100:g}") for q in (0.5, 0.99, 0.999)]


def share(used, limit):
    """A bounded resource: what is used of its limit, by pod."""
    return [(total(used, by="pod") + " / " + total(limit, by="pod"), "{{pod}}")]


# Title → rows of panels: (title, kind, unit, [(query, legend)]).
DASHBOARDS = {
    "fleet": ("Evenkeel: fleet", [
        ("What comes in and what leaves", [
            ("Events per second, by protocol", "timeseries", "ops", [(rate("evenkeel_ingest_events_total", by="protocol"), "{{protocol}}")]),
            ("Events by what became of them", "timeseries", "ops", [(rate("evenkeel_coalescer_events_total", by="outcome, size"), "{{outcome}} ({{size}} ms)")]),
            ("Windows closed, by what closed them", "timeseries", "ops", [(rate("evenkeel_coalescer_windows_closed_total", by="closed_by"), "{{closed_by}}")]),
            ("Rows stored", "timeseries", "ops", [(rate("evenkeel_sink_rows_total", by="outcome"), "{{outcome}}")]),
        ]),
        ("State", [
            ("Streams with state", "timeseries", "short", [(total("evenkeel_coalescer_streams_active"), "active"), (total("evenkeel_coalescer_marks"), "marks only")]),
            ("Windows", "timeseries", "short", [(total("evenkeel_coalescer_windows_open"), "open"), (total("evenkeel_coalescer_windows_pending"), "pending")]),
            ("Ledger imbalance (must read 0)", "stat", "short", [(total("evenkeel_coalescer_ledger_imbalance", how="max"), "")]),
            ("Events lost (must not rise)", "stat", "short", [(total("evenkeel_coalescer_lost"), "")]),
        ]),
        ("Devices", [
            ("Open connections", "timeseries", "short", [(total("evenkeel_ingest_connections", by="protocol"), "{{protocol}}")]),
            ("Arrival minus event time", "timeseries", "s", quantiles("evenkeel_coalescer_skew_seconds")),
            ("Credentials refused", "timeseries", "ops", [(rate("evenkeel_ingest_credentials_refused_total", by="reason"), "{{reason}}")]),
            ("Connections cut", "timeseries", "ops", [(rate("evenkeel_ingest_connections_cut_total", by="reason"), "{{reason}}")]),
        ]),
        ("Alerts and screens", [
            ("Alerts that stand", "stat", "short", [(total("evenkeel_scorer_alerts_standing"), "")]),
            ("Alerts raised and cleared", "timeseries", "ops", [(rate("evenkeel_scorer_alerts_total", by="action, severity"), "{{action}} ({{severity}})")]),
            ("Open screens", "timeseries", "short", [(total("evenkeel_gateway_connections"), "connections"), (total("evenkeel_gateway_refs"), "subscriptions")]),
            ("Streams that somebody looks at", "timeseries", "short", [(total("evenkeel_gateway_streams_watched"), "asked for"), (total("evenkeel_coalescer_watched"), "watched")]),
        ]),
    ]),
    "red": ("Evenkeel: rate, errors, duration", [
        ("Ingest", [
            ("Requests per second", "timeseries", "reqps", [(rate("evenkeel_ingest_requests_total", by="status"), "{{status}}")]),
            ("Errors of ours", "timeseries", "percentunit", [(rate("evenkeel_ingest_requests_total", 'status="5xx"') + " / " + rate("evenkeel_ingest_requests_total"), "5xx")]),
            ("Time to the acknowledgement", "timeseries", "s", quantiles("evenkeel_ingest_ack_duration_seconds")),
        ]),
        ("Coalescer", [
            ("Events per second", "timeseries", "ops", [(rate("evenkeel_coalescer_events_total", by="size"), "{{size}} ms")]),
            ("Transactions", "timeseries", "ops", [(rate("evenkeel_coalescer_commits_total", by="outcome"), "{{outcome}}")]),
            ("Commit", "timeseries", "s", quantiles("evenkeel_coalescer_commit_duration_seconds")),
            ("Tick", "timeseries", "s", quantiles("evenkeel_coalescer_tick_duration_seconds")),
            ("Recovery, by step", "timeseries", "s", [(quantile(0.99, "evenkeel_coalescer_recovery_duration_seconds", "step"), "{{step}}")]),
        ]),
        ("Sink", [
            ("Rows per second", "timeseries", "ops", [(rate("evenkeel_sink_rows_total", by="outcome"), "{{outcome}}")]),
            ("Rows not taken, tried again", "timeseries", "ops", [(rate("evenkeel_sink_rows_total", 'outcome="unavailable"'), "rows")]),
            ("Write", "timeseries", "s", quantiles("evenkeel_sink_write_duration_seconds")),
        ]),
        ("Gateway", [
            ("Frames per second", "timeseries", "ops", [(rate("evenkeel_gateway_frames_total"), "given to connections"), (rate("evenkeel_gateway_frames_encoded_total"), "encoded"), (rate("evenkeel_gateway_frames_received_total"), "of the log")]),
            ("Refused and closed", "timeseries", "ops", [(rate("evenkeel_gateway_subscribes_refused_total"), "subscriptions refused"), (rate("evenkeel_gateway_credentials_refused_total", by="reason"), "credential: {{reason}}"), (rate("evenkeel_gateway_closes_total", by="reason"), "closed: {{reason}}")]),
            ("Errors of log and store", "timeseries", "ops", [(rate("evenkeel_gateway_source_errors_total"), "log or store"), (rate("evenkeel_gateway_history_dropped_total"), "history left out")]),
            ("From a frame's arrival to its connection", "timeseries", "s", quantiles("evenkeel_gateway_frame_age_seconds")),
        ]),
        ("Scorer", [
            ("Rows per second", "timeseries", "ops", [(rate("evenkeel_scorer_rows_total", by="outcome"), "{{outcome}}")]),
            ("Rows without a score", "timeseries", "percentunit", [(rate("evenkeel_scorer_rows_total", 'outcome=~"error|dropped"') + " / " + rate("evenkeel_scorer_rows_total"), "share")]),
            ("Transactions", "timeseries", "ops", [(rate("evenkeel_scorer_commits_total", by="outcome"), "{{outcome}}")]),
            ("From a window's last event to its score", "timeseries", "s", quantiles("evenkeel_scorer_latency_seconds")),
        ]),
    ]),
    "use": ("Evenkeel: use of bounded resources", [
        ("Memory", [
            ("Coalescer: accounted state to its budget", "timeseries", "percentunit", [(total("evenkeel_coalescer_memory_used_bytes", 'component!="allocated"', by="pod") + " / " + total("evenkeel_coalescer_memory_budget_bytes", by="pod"), "{{pod}}")]),
            ("Coalescer: state by component", "timeseries", "bytes", [(total("evenkeel_coalescer_memory_used_bytes", by="component"), "{{component}}")]),
            ("Resident to the container's limit", "timeseries", "percentunit", share("process_memory_usage_bytes", "evenkeel_process_memory_limit_bytes")),
        ]),
        ("Queues", [
            ("Ingest: bytes in flight to their limit", "timeseries", "percentunit", share("evenkeel_ingest_queue_depth_bytes", "evenkeel_ingest_queue_limit_bytes")),
            ("Sink: requests in flight to their limit", "timeseries", "percentunit", share("evenkeel_sink_inflight", "evenkeel_sink_limit")),
            ("Partitions paused for the store", "timeseries", "short", [(total("evenkeel_sink_partitions_paused", by="pod"), "{{pod}}")]),
            ("Ticks merged", "timeseries", "ops", [(rate("evenkeel_coalescer_tick_merged_total", by="pod"), "{{pod}}")]),
        ]),
        ("Tables and ramps", [
            ("Devices and tenants in the rate tables", "timeseries", "short", [(total("evenkeel_ingest_limiter_entries"), "devices"), (total("evenkeel_ingest_limiter_tenants"), "tenants")]),
            ("Connections accepted per second, as allowed now", "timeseries", "short", [(total("evenkeel_ingest_accept_rate", by="pod"), "{{pod}}")]),
            ("Flush size", "timeseries", "bytes", quantiles("evenkeel_ingest_flush_size_bytes")),
            ("Log lines left out", "timeseries", "ops", [(rate("evenkeel_log_suppressed_total", by="event"), "{{event}}")]),
        ]),
        ("Recordings", [
            ("Disk to its limit", "timeseries", "percentunit", share("evenkeel_ingest_recordings_disk_bytes", "evenkeel_ingest_recordings_disk_limit_bytes")),
            ("Number to its limit", "timeseries", "percentunit", share("evenkeel_ingest_recordings", "evenkeel_ingest_recordings_limit")),
            ("Memory of transfers to its limit", "timeseries", "percentunit", share("evenkeel_ingest_recordings_memory_bytes", "evenkeel_ingest_recordings_memory_limit_bytes")),
            ("Requests that met a limit", "timeseries", "ops", [(rate("evenkeel_ingest_recordings_refused_total", by="reason"), "{{reason}}")]),
        ]),
        ("Gateway", [
            ("Topics to their limit", "timeseries", "percentunit", share("evenkeel_gateway_topics_active", "evenkeel_gateway_topics_limit")),
            ("Connections, by step of slower rates", "timeseries", "short", [(total("evenkeel_gateway_connections", by="rate_step"), "step {{rate_step}}")]),
            ("Ticks missed by slow connections, and merged", "timeseries", "ops", [(rate("evenkeel_gateway_ticks_missed_total"), "missed"), (rate("evenkeel_gateway_ticks_merged_total"), "merged")]),
            ("How late connections are painted", "timeseries", "s", quantiles("evenkeel_gateway_tick_lateness_seconds")),
            ("Streams watched to their limit", "timeseries", "percentunit", share("evenkeel_coalescer_watched", "evenkeel_coalescer_watched_limit")),
            ("Fragments kept to be shared", "timeseries", "bytes", [(total("evenkeel_gateway_cached_bytes", by="pod"), "{{pod}}")]),
        ]),
        ("Scorer", [
            ("Rows that wait to their limit", "timeseries", "percentunit", share("evenkeel_scorer_queue_depth", "evenkeel_scorer_queue_limit")),
            ("Series to their limit", "timeseries", "percentunit", share("evenkeel_scorer_series", "evenkeel_scorer_series_limit")),
            ("Time in the queue", "timeseries", "s", quantiles("evenkeel_scorer_queue_duration_seconds")),
            ("Drift of features (population stability index)", "timeseries", "short", [(total("evenkeel_scorer_drift", by="feature", how="max"), "{{feature}}")]),
        ]),
    ]),
    "freshness": ("Evenkeel: freshness and completeness", [
        ("Freshness", [
            ("From a window's end to its stored row", "timeseries", "s", quantiles("evenkeel_sink_row_age_seconds")),
            ("Oldest open window", "timeseries", "s", [(total("evenkeel_coalescer_watermark_lag_seconds", by="pod", how="max"), "{{pod}}")]),
            ("Records behind the log", "timeseries", "short", [(total("evenkeel_coalescer_consumer_lag", by="topic"), "coalescer, {{topic}}"), (total("evenkeel_sink_consumer_lag", by="topic"), "sink, {{topic}}"), (total("evenkeel_scorer_consumer_lag", by="topic"), "scorer, {{topic}}")]),
            ("How late a tick starts", "timeseries", "s", quantiles("evenkeel_coalescer_tick_jitter_seconds")),
        ]),
        ("Completeness", [
            ("Events that count in rows", "timeseries", "percentunit", [(rate("evenkeel_coalescer_events_total", 'outcome=~"counted|late|duplicate"') + " / " + rate("evenkeel_coalescer_events_total"), "share")]),
            ("Refused, by reason", "timeseries", "ops", [(rate("evenkeel_coalescer_events_total", 'outcome!~"counted|late|duplicate"', by="outcome"), "{{outcome}}")]),
            ("Late events merged into stored rows", "timeseries", "ops", [(rate("evenkeel_sink_late_merged_total"), "merged"), (rate("evenkeel_sink_late_skipped_total", by="reason"), "skipped: {{reason}}")]),
            ("Late records", "timeseries", "ops", [(rate("evenkeel_coalescer_late_records_total"), "late records")]),
        ]),
    ]),
}

SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def panel(number, spot, spec):
    title, kind, unit, queries = spec
    targets = [
        {"datasource": SOURCE, "editorMode": "code", "expr": expr, "legendFormat": legend, "refId": chr(65 + i)}
        for i, (expr, legend) in enumerate(queries)
    ]
    return {
        "id": number, "type": kind, "title": title, "datasource": SOURCE, "gridPos": spot, "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit, "min": None if unit == "s" else 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if kind == "timeseries" else {},
    }


def dashboard(name):
    """One dashboard as Grafana reads it."""
    title, rows = DASHBOARDS[name]
    panels, y, number = [], 0, 1
    for heading, specs in rows:
        panels.append({"id": number, "type": "row", "title": heading, "collapsed": False, "panels": [],
                       "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
        y, number = y + 1, number + 1
        width = 24 // min(len(specs), 4)
        for i, spec in enumerate(specs):
            spot = {"h": 8, "w": width, "x": i % 4 * width, "y": y + i // 4 * 8}
            panels.append(panel(number, spot, spec))
            number += 1
        y += (len(specs) + 3) // 4 * 8
    variables = [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0},
        {"name": "namespace", "label": "Namespace", "type": "query", "datasource": SOURCE, "refresh": 2, "multi": True,
         "includeAll": True, "allValue": ".*", "query": {"query": "label_values(evenkeel_build_info, namespace)", "refId": "A"}},
    ]
    return {
        "uid": f"evenkeel-{name}", "title": title, "tags": ["evenkeel"], "schemaVersion": 39, "version": 1,
        "editable": True, "refresh": "30s", "time": {"from": "now-1h", "to": "now"}, "timezone": "",
        "templating": {"list": variables}, "panels": panels, "annotations": {"list": []}, "links": [],
    }


def text(name):
    return json.dumps(dashboard(name), indent=1) + "\n"
