//! One request's trace through ingest, coalescer, sink and store, as an OTLP collector sees it; the same of a batch of a
//! WebSocket and a message of MQTT; what nobody records leaves nothing.

use crate::collector::{Collector, Spanned, spans_of};
use crate::otelcol::Otelcol;
use crate::site::{DEADLINE, FLEET, Service, Site, now_ms, post_with};
use crate::topics::read;
use evenkeel_model::Topic;
use futures::{SinkExt as _, StreamExt as _};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;
use tokio_tungstenite::tungstenite::Message;

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

/// `traceparent` of a client that records (`01`), or not (`00`).
fn parent(trace: &str, recorded: &str) -> String {
    format!("00-{trace}-{CLIENT}-{recorded}")
}

fn event(seq: u64) -> Value {
    json!({ "ts": now_ms(), "seq": seq, "fields": { "v": 1 } })
}

/// Sends batches over one WebSocket, each after the answer to the one before; the types of the answers.
fn over_web_socket(address: &str, batches: &[Value]) -> Vec<String> {
    let talk = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let opened = tokio_tungstenite::client_async(format!("ws://{address}/v1/ws"), stream).await;
        let mut socket = opened.unwrap().0;
        let mut answers = Vec::new();
        for batch in batches {
            socket.send(Message::text(batch.to_string())).await.unwrap();
            answers.push(loop {
                let Message::Text(text) = socket.next().await.unwrap().unwrap() else { continue };
                let answer: Value = serde_json::from_str(&text).unwrap();
                match answer["type"].as_str().unwrap() {
                    "hello" => {}
                    kind => break kind.to_owned(),
                }
            });
        }
        answers
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, talk).await.expect("the answers are due") })
}

/// A string as MQTT's packets hold it.
fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// A packet of less than 16 KiB around its body.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first, (body.len() & 0x7F) as u8 | 0x80, (body.len() >> 7) as u8][..], body].concat()
}

/// Publishes one event over MQTT 5 at QoS 1, and waits for its acknowledgement.
fn over_mqtt(address: &str, topic: &str, traceparent: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let hello = [text("MQTT"), vec![5, 2, 0, 60, 0], text("traced")].concat();
    stream.write_all(&packet(0x10, &hello)).unwrap();
    let said = [vec![0x26], text("traceparent"), text(traceparent)].concat();
    let event = event(1).to_string();
    let publish = [text(topic), vec![0, 9, said.len() as u8], said, event.into_bytes()].concat();
    stream.write_all(&packet(0x32, &publish)).unwrap();
    let mut heard = Vec::new();
    // CONNACK, then PUBACK: first byte, length, body.
    for first in [0x20, 0x40] {
        let mut head = [0; 2];
        stream.read_exact(&mut head).unwrap();
        heard = vec![0; usize::from(head[1])];
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(head[0], first, "{heard:?}");
    }
    assert_eq!((&heard[..2], heard.get(2).copied().unwrap_or(0)), (&[0, 9][..], 0), "{heard:?}");
}

/// The span of the message of this trace, and that of its append.
fn heard_and_sent<'a>(spans: &'a [Spanned], trace: &str) -> Option<(&'a Spanned, &'a Spanned)> {
    let of = |begin: &str| spans.iter().find(|s| s.trace == trace && s.name.starts_with(begin));
    Some((of("receive ")?, of("send events")?))
}

/// Whether the coalescer has worked on what was sent, and said so.
fn is_folded(spans: &[Spanned], trace: &str) -> bool {
    let Some((_, sent)) = heard_and_sent(spans, trace) else { return false };
    let link = (trace.to_owned(), sent.id.clone());
    spans.iter().any(|span| span.name == "process events" && span.links.contains(&link))
}

#[test]
fn a_batch_of_a_web_socket_and_a_message_of_mqtt_are_traced_as_a_request_is() {
    let collector = Collector::start();
    let dir = tempfile::tempdir().unwrap();
    let site = traced(&collector.endpoint, Site::at("messages", "127.0.0.1:1", "127.0.0.1:1"))
        .set("local.partitions=1")
        .set("ingest.mqtt.listen=127.0.0.1:0");
    let mut machine = site.start_in(dir.path());
    let address = machine.address();
    let mqtt = machine.wait_for_line("where MQTT is served", |line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message"] == "ingest serves MQTT").then(|| line["address"].as_str().unwrap().to_owned())
    });
    let [batch, message, refused, unrecorded] = ["a", "b", "c", "d"].map(|digit| digit.repeat(32));
    let of_stream = |seq| {
        let mut event = event(seq);
        event["stream_id"] = "dev/1".into();
        event
    };
    let batches = [
        json!({ "id": 1, "events": [of_stream(1)] }),
        json!({ "id": 2, "events": [of_stream(2)], "traceparent": parent(&unrecorded, "00") }),
        json!({ "id": 3, "events": [of_stream(3)], "traceparent": parent(&batch, "01") }),
        json!({ "id": 4, "events": [{ "ts": 1 }], "traceparent": parent(&refused, "01") }),
    ];
    assert_eq!(over_web_socket(&address, &batches), ["ack", "ack", "ack", "refusal"]);
    over_mqtt(&mqtt, "streams/dev/2/events", &parent(&unrecorded, "00"));
    over_mqtt(&mqtt, "streams/dev/3/events", &parent(&message, "01"));
    machine.until("both are traced into the coalescer", |_| {
        let spans = collector.spans();
        is_folded(&spans, &batch) && is_folded(&spans, &message)
    });
    assert_eq!(machine.terminate(), Some(0));

    let spans = collector.spans();
    for (trace, name, protocol) in
        [(&batch, "receive /v1/ws", "websocket"), (&message, "receive streams/{stream_id}/events", "mqtt")]
    {
        let (heard, sent) = heard_and_sent(&spans, trace).unwrap();
        let seen = (heard.name.as_str(), heard.protocol.as_str(), heard.error.as_str());
        assert_eq!(seen, (name, protocol, ""));
        assert_eq!((heard.parent.as_str(), &sent.parent), (CLIENT, &heard.id));
    }
    let why =
        one(&spans.iter().filter(|s| s.trace == refused).cloned().collect::<Vec<_>>(), "receive /v1/ws")
            .error
            .clone();
    assert_eq!(why, "events-refused");
    let known = [&batch, &message, &refused];
    assert!(spans.iter().all(|span| known.contains(&&span.trace)), "{spans:#?}");
    assert_eq!(spans.iter().filter(|span| span.name.starts_with("receive ")).count(), 3, "{spans:#?}");
}
