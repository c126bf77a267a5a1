//! Events declared once: log line and metric; OTLP and /metrics
