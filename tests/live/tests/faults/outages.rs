//! Servers that are away. At the start: the process says so, is not ready meanwhile, and ends with code 3, so that
//! whoever supervises it starts it again. In the middle: clients get 503, nothing ends, memory stays flat, and
//! when they are back every acknowledged event is in exactly one row.

use crate::site::{FLEET, Service, Site, deliver, now_ms, post_with};
use evenkeel_live::parts::cassandra::{LocalServer, Login};
use evenkeel_live::parts::kafka::LocalBroker;
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// Memory that a service may take on top while something is away: buffers of a client, not what waits.
const GROWTH_MAX: u64 = 96 << 20;

#[test]
fn a_broker_that_is_away_at_the_start_is_exit_code_3_and_never_ready() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let site = Site::at("no-broker", &free, "127.0.0.1:1").set("kafka.timeouts.connect=3s");
    for name in ["ingest", "coalescer"] {
        let mut service = site.start(name, &[]);
        let (status, text) = service.get("/readyz");
        assert!(status == 503 && text.contains(&format!("fail {name}: starting")), "{status} {text}");
        assert_eq!(service.get("/livez").0, 200);
        let (code, said) = service.ended();
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(&free) && said.contains("check that it runs"), "{said}");
    }
    let topics = site.run(&["topics", "create"], &[]);
    assert_eq!(topics.status.code(), Some(3));
}

#[test]
fn a_store_that_is_away_at_the_start_is_exit_code_3_and_never_ready() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap(); // takes connections and never answers
    let address = silent.local_addr().unwrap().to_string();
    let site = Site::on_kafka("no-store")
        .set(format!("cql.contact-points=[\"{address}\"]"))
        .set("cql.start-timeout=3s");
    let mut sink = site.start("sink", &[]);
    let (status, text) = sink.get("/readyz");
    assert!(status == 503 && text.contains("fail sink: starting"), "{status} {text}");
    let (code, said) = sink.ended();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains(&address) && said.contains("start-timeout"), "{said}");
    // Nobody listens.
    drop(silent);
    let (code, said) = site.refused("sink", &[]);
    assert!(code == Some(3) && said.contains("cql.contact-points"), "{code:?} {said}");
}

#[test]
fn topics_and_tables_that_are_missing_are_told_with_the_command_that_makes_them() {
    let part = evenkeel_live::parts::kafka::KafkaPart::shared().unwrap();
    let site = Site::at("nothing-there", part.address(), crate::site::shared_cql());
    for service in ["ingest", "coalescer"] {
        let (code, said) = site.refused(service, &[]);
        assert!(code == Some(3) && said.contains("evenkeel topics create"), "{service} {code:?} {said}");
    }
    site.make_topics();
    let (code, said) = site.refused("sink", &[]);
    assert!(code == Some(4) && said.contains("evenkeel cql migrate"), "{code:?} {said}");
}

/// Both servers are the test's own, because both are killed.
#[test]
fn a_broker_and_a_store_that_go_away_in_the_middle_lose_nothing() {
    let (mut broker, mut store) = (LocalBroker::start().unwrap(), LocalServer::start(Login::Open).unwrap());
    let site = Site::at("outages", &broker.address(), &store.address())
        .set("kafka.timeouts.append=3s")
        .set("ingest.ack-timeout=2s")
        .set("sink.in-flight-max=64")
        .set("cql.request-timeout=1s")
        .set("cql.attempts-max=1");
    site.make_topics();
    site.make_tables();
    let (mut ingest, mut coalescer, mut sink) =
        (site.start("ingest", &[]), site.start("coalescer", &[]), site.start("sink", &[]));
    let (at, start) = (ingest.address(), (now_ms() - 600_000) / 5_000 * 5_000);
    let mut sent = 0;
    let mut send = |n: u64| {
        for _ in 0..n {
            deliver(&at, &FLEET.body(sent, start));
            sent += 1;
        }
        sent
    };
    send(10);
    sink.until("the first rows are stored", |s| written(s) > 0.0);
    let before = [&ingest, &coalescer, &sink].map(Service::resident);

    site.settle();
    broker.kill().unwrap();
    let refused = (0..3).map(|_| post_with(&at, "", &FLEET.body(10, start)).unwrap());
    for reply in refused {
        assert!(reply.status == 503 && reply.head.contains("retry-after: "), "{reply:?}");
        assert!(reply.body.contains("log-unavailable"), "{reply:?}");
    }
    for service in [&mut ingest, &mut coalescer, &mut sink] {
        service.still_runs();
        assert_eq!(service.get("/livez").0, 200);
    }
    broker.launch().unwrap();
    send(10); // the first of them were refused during the outage: seq decides

    store.kill().unwrap();
    send(300);
    sink.until("consumption is paused", |s| {
        s.metric("evenkeel_sink_partitions_paused{topic=\"windows\"} ") == Some(2.0)
    });
    assert!(sink.metric("evenkeel_sink_inflight{topic=\"windows\"} ").unwrap() <= 64.0 + 8192.0);
    assert!(sink.wait_for_event("sink.store.unavailable")["error"].as_str().is_some());
    let grown = [&ingest, &coalescer, &sink].map(Service::resident);
    for (before, grown) in before.iter().zip(grown) {
        assert!(grown < before + GROWTH_MAX, "{before} bytes before, {grown} during the outages");
    }
    store.launch().unwrap();
    let requests = send(10);
    deliver(&at, &FLEET.closing(start + 540_000));
    let want = FLEET.expected(requests, start);
    sink.until("every window is stored once", |_| site.stored(start + 540_000) == want); // EK-WIN-1, EK-LATE-1
    assert_eq!(coalescer.metric("evenkeel_coalescer_ledger_imbalance{size=\"5000\"}"), Some(0.0)); // EK-SUM-1
    for service in [ingest, coalescer, sink] {
        assert_eq!(service.terminate(), Some(0));
    }
}

fn written(sink: &Service) -> f64 {
    sink.metric("evenkeel_sink_rows_total{outcome=\"written\"}").unwrap_or_default()
}

#[test]
fn an_outage_longer_than_the_patience_ends_the_worker_and_a_drain_ends_in_its_grace() {
    let mut broker = LocalBroker::start().unwrap();
    let site = Site::at("long-outage", &broker.address(), "127.0.0.1:1")
        .set("kafka.timeouts.outage=3s")
        .set("kafka.timeouts.call=1s")
        // Else the group might let the members go first: then nothing waits, and they stay until it is back.
        .set("kafka.timeouts.session=30s");
    site.make_topics();
    let start = (now_ms() - 60_000) / 5_000 * 5_000;
    let mut ingest = site.start("ingest", &[]);
    let at = ingest.address();
    let counted = "evenkeel_coalescer_events_total{outcome=\"counted\",size=\"5000\"}";
    // Ticks far apart: what is delivered after one is not committed when the broker dies.
    let slow = "coalescer.interval=5s";
    let mut impatient = site.start("coalescer", &["kafka.group=impatient", slow]);
    let mut patient = site.start(
        "coalescer",
        &["kafka.group=patient", slow, "kafka.timeouts.outage=10m", "process.drain-grace=2s"],
    );
    deliver(&at, &FLEET.body(0, start));
    impatient.until("it consumes", |c| c.metric(counted) == Some(50.0));
    patient.until("it consumes", |c| c.metric(counted) == Some(50.0));
    // Counters move at ticks, so consuming shows at the next one only: half a second of traffic without a tick leaves
    // something that is not committed.
    let ticks = |of: &Service| of.metric("evenkeel_coalescer_tick_duration_seconds_count");
    let mut sent = 1;
    loop {
        let last = ticks(&impatient);
        impatient.until("a tick", |c| ticks(c) != last);
        let before = [&impatient, &patient].map(ticks);
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(500) {
            deliver(&at, &FLEET.body(sent, start));
            sent += 1;
        }
        if [&impatient, &patient].map(ticks) == before {
            break;
        }
    }
    broker.kill().unwrap();
    let (code, said) = impatient.ended();
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("the log failed"), "{said}");
    // One that would wait for longer leaves when it is told to, without its last commit.
    assert_eq!(patient.terminate(), Some(143));
    broker.launch().unwrap();
    deliver(&at, &FLEET.body(sent, start));
    let mut next = site.start("coalescer", &["kafka.group=patient"]);
    next.until("the next one has all of it", |c| {
        let ledger = c.metric("evenkeel_coalescer_ledger_imbalance{size=\"5000\"}");
        ledger == Some(0.0) && c.metric("evenkeel_coalescer_windows_open ").is_some_and(|n| n >= 5.0)
    });
    assert_eq!((next.terminate(), ingest.terminate()), (Some(0), Some(0)));
}
