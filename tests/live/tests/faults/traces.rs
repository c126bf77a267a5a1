//! One request's trace through ingest, coalescer and sink, as an OTLP collector sees it; requests that nobody
//! records leave nothing.

use crate::collector::{Collector, Spanned};
use crate::site::{DEADLINE, FLEET, Service, Site, now_ms, post_with};
use std::time::Instant;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

fn traced(collector: &Collector, site: Site) -> Site {
    site.set(format!("process.telemetry.otlp-endpoint={}", collector.endpoint))
        .set("process.telemetry.sample-ratio=0") // what clients record, and nothing else
}

/// Two requests that nobody records, and one that its client does: whose windows close within it.
fn send(address: &str, start: i64) {
    for (headers, at) in [
        (String::new(), start - 60_000),
        (format!("traceparent: 00-{}-{CLIENT}-00\r\n", "1".repeat(32)), start - 30_000),
        (format!("traceparent: 00-{TRACE}-{CLIENT}-01\r\n"), start),
    ] {
        let events = format!("{}{}", FLEET.body(0, at), FLEET.closing(at + 20_000));
        let reply = post_with(address, &headers, &events).unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

/// The one span of this name.
#[track_caller]
fn one<'a>(spans: &'a [Spanned], name: &str) -> &'a Spanned {
    let found: Vec<&Spanned> = spans.iter().filter(|s| s.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

#[track_caller]
fn judge(collector: &Collector, services: Vec<Service>, names: [&str; 3], system: &str) {
    let stored = |s: &Service| s.metric("evenkeel_sink_rows_total{outcome=\"written\"}").unwrap_or_default();
    let mut services = services;
    services.last_mut().unwrap().until("rows are stored", |sink| stored(sink) >= 25.0);
    for service in services {
        assert_eq!(service.terminate(), Some(0)); // sends what is left
    }
    let began = Instant::now();
    while collector.spans().len() < 3 {
        assert!(began.elapsed() < DEADLINE, "{:#?}", collector.spans());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let spans = collector.spans();
    assert!(spans.iter().all(|s| s.trace == TRACE && s.system == system), "{spans:#?}");
    let (sent, folded, stored) =
        (one(&spans, "send events"), one(&spans, "process events"), one(&spans, "process windows"));
    assert_eq!([&sent.service, &folded.service, &stored.service], names);
    assert_eq!(sent.parent, CLIENT);
    assert_eq!((&folded.parent, &folded.links), (&sent.id, &vec![(TRACE.to_owned(), sent.id.clone())]));
    assert_eq!((&stored.parent, &stored.links), (&folded.id, &vec![(TRACE.to_owned(), folded.id.clone())]));
}

#[test]
fn a_requests_trace_leads_through_ingest_coalescer_and_sink() {
    let collector = Collector::start();
    let site = traced(&collector, Site::whole("traces"));
    let mut ingest = site.start("ingest", &[]);
    let address = ingest.address();
    let services = vec![ingest, site.start("coalescer", &[]), site.start("sink", &[])];
    send(&address, (now_ms() - 120_000) / 5_000 * 5_000);
    judge(&collector, services, ["evenkeel-ingest", "evenkeel-coalescer", "evenkeel-sink"], "kafka");
}

#[test]
fn a_requests_trace_leads_through_one_machine() {
    let collector = Collector::start();
    let dir = tempfile::tempdir().unwrap();
    let site =
        traced(&collector, Site::at("machine", "127.0.0.1:1", "127.0.0.1:1")).set("local.partitions=1");
    let mut machine = site.start_in(dir.path());
    let address = machine.address();
    send(&address, (now_ms() - 120_000) / 5_000 * 5_000);
    judge(&collector, vec![machine], ["evenkeel"; 3], "evenkeel");
}
