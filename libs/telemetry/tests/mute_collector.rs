//! A collector that accepts and never answers does not hold up the end of a process.

use evenkeel_telemetry::{LogFormat, LogTail, LogTo, Otlp, Settings, Telemetry};
use std::net::TcpListener;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_flush_ends_at_its_bound() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let otlp = Otlp {
        endpoint: format!("http://{}", listener.local_addr().unwrap()),
        metrics_interval: Duration::from_secs(3600),
        timeout: Duration::from_secs(3600),
        sample_ratio: 1.0,
    };
    let settings = Settings {
        service: "evenkeel-test".to_owned(),
        version: "1".to_owned(),
        commit: "abc".to_owned(),
        instance: String::new(),
        filter: "info".to_owned(),
        format: LogFormat::Auto,
        to: LogTo::Tail(LogTail::new(10)),
        otlp: Some(otlp),
    };
    let telemetry = Telemetry::start(&settings).unwrap();
    tracing::info_span!("work").in_scope(|| {});
    // Returns at all, long before the export's own timeout of an hour, and says that it is not done.
    let flushed =
        tokio::task::spawn_blocking(|| telemetry.shutdown(Duration::from_millis(200))).await.unwrap();
    assert!(!flushed);
}
