//! Poison in the log, put there by somebody who does not come through ingest; and a log that was cut.

use crate::log::{self, Refused};
use crate::machine::{FLEET, stored};
use crate::server::{Server, metric, post, run_anywhere, until};
use evenkeel_codec::encode_batch;
use evenkeel_model::{EventBatch, Topic, partition_of};
use evenkeel_scenarios::lone_row;

const T: i64 = 1_700_000_000_000;
/// The events are of 2023.
const OLD: &str = "coalescer.max-age=36525d";
const GARBAGE: &[u8] = b"\x00\xffpoison";
const FOREIGN: &[u8] = b"\xc3\x01ZZZZZZZZ and the rest of a schema nobody here knows";

fn batch(stream_id: &str) -> Vec<u8> {
    let batch =
        EventBatch { stream_id: stream_id.into(), arrival_ms: T, ts: vec![T], ..EventBatch::default() };
    let mut bytes = Vec::new();
    encode_batch(&batch, &mut bytes);
    bytes
}

/// The one record of `dlq` with this value from this topic.
#[track_caller]
fn of<'a>(dlq: &'a [Refused], topic: &str, value: &[u8]) -> &'a Refused {
    let found: Vec<_> =
        dlq.iter().filter(|r| r.header("source-topic") == topic && r.value == value).collect();
    assert_eq!(found.len(), 1, "{topic} {value:?} in {dlq:?}");
    found[0]
}

#[test]
fn poison_in_both_topics_is_in_dlq_with_its_place_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Server::start(dir.path(), &[]).terminate(), Some(0)); // makes the files
    let stray = (0..).map(|n| format!("stray/{n}")).find(|id| partition_of(id, 2) == 1).unwrap();
    let local = log::open(dir.path());
    let mut put = Vec::new();
    for (topic, poison) in [
        (Topic::Events, [GARBAGE.to_vec(), FOREIGN.to_vec(), batch(&stray)]),
        (Topic::Windows, [GARBAGE.to_vec(), FOREIGN.to_vec(), lone_row(&stray, T)]),
    ] {
        for (value, reason) in poison.into_iter().zip(["malformed", "malformed", "misrouted"]) {
            let offset = log::append(&local, topic, 0, Some(&stray), &value);
            put.push((topic.as_str(), value, reason, offset));
        }
    }
    drop(local);

    let server = Server::start(dir.path(), &[OLD]);
    assert_eq!(post(&server.ingest, &FLEET.body(0, T)).unwrap().0, 200);
    assert_eq!(post(&server.ingest, &FLEET.body(1, T + 60_000)).unwrap().0, 200);
    until("the others of both partitions go on", || stored(dir.path(), T + 5_000).len() == 5);
    let count = |outcome: &str| {
        metric(
            &server.admin,
            &format!("evenkeel_coalescer_events_total{{outcome=\"{outcome}\",size=\"5000\"}}"),
        )
    };
    assert_eq!((count("malformed"), count("misrouted")), (Some(2.0), Some(1.0)));
    let rows =
        |outcome: &str| metric(&server.admin, &format!("evenkeel_sink_rows_total{{outcome=\"{outcome}\"}}"));
    assert_eq!((rows("undecodable"), rows("misrouted")), (Some(2.0), Some(1.0)));
    assert_eq!(metric(&server.admin, "evenkeel_coalescer_ledger_imbalance{size=\"5000\"}"), Some(0.0)); // EK-SUM-1
    assert_eq!(server.terminate(), Some(0));

    let dlq = log::dlq(&log::open(dir.path()));
    assert_eq!(dlq.len(), put.len(), "{dlq:?}");
    for (topic, value, reason, offset) in put {
        let refused = of(&dlq, topic, &value);
        assert_eq!((refused.header("reason"), refused.partition), (reason, 0), "{refused:?}");
        assert_eq!(
            (refused.header("source-partition"), refused.header("source-offset")),
            ("0", offset.to_string().as_str())
        );
        assert!(refused.header("error").len() > 10, "{refused:?}");
    }
    assert!(stored(dir.path(), i64::MAX).keys().all(|(stream, _)| *stream != stray));
}

#[test]
fn a_log_shorter_than_replay_from_is_counted_as_lost_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    // Long windows, so that a kill leaves some open.
    let server = Server::start(dir.path(), &["coalescer.sizes=[\"1m\"]", OLD]);
    for n in 0..4 {
        assert_eq!(post(&server.ingest, &FLEET.body(n, T)).unwrap().0, 200);
    }
    let imbalance = "evenkeel_coalescer_ledger_imbalance{size=\"60000\"}";
    let counted = "evenkeel_coalescer_events_total{outcome=\"counted\",size=\"60000\"}";
    until("all is consumed", || metric(&server.admin, counted) == Some(200.0));
    let committed = "evenkeel_coalescer_tick_duration_seconds_count";
    let ticks = metric(&server.admin, committed).unwrap();
    until("and committed", || metric(&server.admin, committed).unwrap() > ticks + 3.0);
    server.kill();
    let local = log::open(dir.path());
    let gone: u64 =
        (0..2).map(|p| local.trim_before(Topic::Events, p, local.end(Topic::Events, p)).unwrap()).sum();
    assert_eq!(gone, 20, "5 streams, 4 requests");
    drop(local);

    let refused = run_anywhere()
        .args(["--set", "coalescer.cut-log=refuse", "--set", "coalescer.sizes=[\"1m\"]", "--data-dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(4), "{text}");
    assert!(text.contains("shorter than recovery needs") && text.contains("cut-log"), "{text}");

    let server = Server::start(dir.path(), &["coalescer.sizes=[\"1m\"]", OLD]);
    until("what is gone counts as lost", || metric(&server.admin, "evenkeel_coalescer_lost ") == Some(200.0));
    assert_eq!(metric(&server.admin, imbalance), Some(0.0)); // EK-SUM-1
    assert_eq!(post(&server.ingest, &FLEET.body(9, T + 120_000)).unwrap().0, 200);
    assert_eq!(post(&server.ingest, &FLEET.body(10, T + 240_000)).unwrap().0, 200);
    assert_eq!(server.terminate(), Some(0));
}
