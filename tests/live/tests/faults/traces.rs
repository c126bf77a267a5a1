//! One request's trace through ingest, coalescer, sink and store, as an OTLP collector sees it; requests that nobody
//! records leave nothing.

use crate::collector::{Collector, Spanned, spans_of};
use crate::otelcol::Otelcol;
use crate::site::{DEADLINE, FLEET, Service, Site, now_ms, post_with};
use crate::topics::read;
use evenkeel_model::Topic;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use std::time::Instant;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

fn traced(endpoint: &str, site: Site) -> Site {
    site.set(format!("process.telemetry.otlp-endpoint={endpoint}")).set("process.telemetry.sample-ratio=0") // what clients record, and nothing else
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
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

/// Waits until rows are stored, and ends the services, which send what is left.
#[track_caller]
fn finish(services: Vec<Service>) {
    let stored = |s: &Service| s.metric("evenkeel_sink_rows_total{outcome=\"written\"}").unwrap_or_default();
    let mut services = services;
    services.last_mut().unwrap().until("rows are stored", |sink| stored(sink) >= 25.0);
    for service in services {
        assert_eq!(service.terminate(), Some(0));
    }
}

/// Every hop is there, each within or linked to the one before. The sink may settle one transaction's rows in several
/// commits, each with its writes.
#[track_caller]
fn judge(spans: &[Spanned], names: [&str; 3], systems: [&str; 2]) {
    assert!(spans.iter().all(|s| s.trace == TRACE), "{spans:#?}");
    let [ingest, coalescer, sink] = names;
    let [log, store] = systems;
    let (asked, sent) = (one(spans, "POST /v1/events"), one(spans, "send events"));
    let folded = one(spans, "process events");
    let services = [asked, sent, folded].map(|span| span.service.as_str());
    assert_eq!((services, asked.status), ([ingest, ingest, coalescer], 200));
    assert_eq!([&sent.system, &folded.system], [log; 2]);
    assert_eq!((asked.parent.as_str(), &sent.parent), (CLIENT, &asked.id));
    assert_eq!((&folded.parent, &folded.links), (&sent.id, &vec![(TRACE.to_owned(), sent.id.clone())]));
    let (stored, written) = (named(spans, "process windows"), named(spans, "INSERT windows"));
    for commit in &stored {
        assert_eq!((commit.service.as_str(), commit.system.as_str()), (sink, log));
        let links = vec![(TRACE.to_owned(), folded.id.clone())];
        assert_eq!((&commit.parent, &commit.links), (&folded.id, &links));
        let writes: Vec<_> = written.iter().filter(|write| write.parent == commit.id).collect();
        assert_eq!(writes.len(), 1, "{spans:#?}");
        assert_eq!((writes[0].service.as_str(), writes[0].store.as_str()), (sink, store));
    }
    assert!(written.iter().map(|write| write.rows).sum::<i64>() >= 5, "{written:?}"); // one per stream at least
    assert_eq!(spans.len(), 3 + 2 * stored.len(), "{spans:#?}");
}

fn named<'a>(spans: &'a [Spanned], name: &str) -> Vec<&'a Spanned> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// Whether a span of each hop has come, and each commit of the sink has its writes.
fn is_whole(spans: &[Spanned]) -> bool {
    let (stored, written) = (named(spans, "process windows").len(), named(spans, "INSERT windows").len());
    stored > 0 && stored == written && spans.len() == 3 + 2 * stored
}

#[track_caller]
fn collected(collector: &Collector) -> Vec<Spanned> {
    let began = Instant::now();
    while !is_whole(&collector.spans()) {
        assert!(began.elapsed() < DEADLINE, "{:#?}", collector.spans());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    collector.spans()
}

/// The OpenTelemetry Collector takes the spans by OTLP and puts them into a topic, where they are read again.
#[test]
fn a_requests_trace_leads_through_ingest_coalescer_sink_and_store_to_a_real_collector() {
    let site = Site::whole("traces");
    let into = Site::on_kafka("traces-into");
    let collector = Otelcol::start(&into.brokers, &format!("{}.events", into.prefix));
    let site = traced(&collector.endpoint, site);
    let mut ingest = site.start("ingest", &[]);
    let address = ingest.address();
    let services = vec![ingest, site.start("coalescer", &[]), site.start("sink", &[])];
    send(&address, (now_ms() - 120_000) / 5_000 * 5_000);
    finish(services);
    let spans = |values: &[Vec<u8>]| -> Vec<Spanned> {
        values
            .iter()
            .flat_map(|value| spans_of(ExportTraceServiceRequest::decode(&value[..]).unwrap()))
            .collect()
    };
    let values = |found: &[crate::topics::Found]| found.iter().map(|f| f.value.clone()).collect::<Vec<_>>();
    let found = read(&into, Topic::Events, "every hop", |found| is_whole(&spans(&values(found))));
    judge(
        &spans(&values(&found)),
        ["evenkeel-ingest", "evenkeel-coalescer", "evenkeel-sink"],
        ["kafka", "cassandra"],
    );
}

#[test]
fn a_requests_trace_leads_through_one_machine() {
    let collector = Collector::start();
    let dir = tempfile::tempdir().unwrap();
    let site = traced(&collector.endpoint, Site::at("machine", "127.0.0.1:1", "127.0.0.1:1"))
        .set("local.partitions=1");
    let mut machine = site.start_in(dir.path());
    let address = machine.address();
    send(&address, (now_ms() - 120_000) / 5_000 * 5_000);
    finish(vec![machine]);
    judge(&collected(&collector), ["evenkeel"; 3], ["evenkeel", "sqlite"]);
}
