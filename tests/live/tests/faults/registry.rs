//! Records framed by a real schema registry's ids: written so, read back so by recovery, another version of a schema
//! read as ours, and an id that nobody knows in `dlq` with its bytes.

use crate::site::{DEADLINE, PARTITIONS, Site, deliver, now_ms};
use crate::topics::{put, read};
use evenkeel_live::parts::registry::RegistryPart;
use evenkeel_model::{Topic, partition_of};
use std::time::Instant;

const STREAM: &str = "bowl-7";
/// A producer's own version of `Event`: what it lacks has a default, what it adds nobody reads.
const LATER: &str = r#"{"type": "record", "name": "Event", "namespace": "evenkeel", "fields": [
    {"name": "site", "type": "string"}, {"name": "stream_id", "type": "string"}, {"name": "ts", "type": "long"},
    {"name": "seq", "type": ["null", "long"]}, {"name": "fields", "type": {"type": "map", "values": "double"}}]}"#;

fn long(value: i64) -> Vec<u8> {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while bits >= 0x80 {
        bytes.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    bytes.push(bits as u8);
    bytes
}

fn text(value: &str) -> Vec<u8> {
    [long(value.len() as i64), value.as_bytes().to_vec()].concat()
}

/// One event as that producer writes it.
fn later(id: u32, ts: i64, seq: i64) -> Vec<u8> {
    let fields = [long(1), text("v"), (seq as f64).to_le_bytes().to_vec(), long(0)].concat();
    let body = [text("lab"), text(STREAM), long(ts), long(1), long(seq), fields].concat();
    [vec![0], id.to_be_bytes().to_vec(), body].concat()
}

fn lines(start: i64, seqs: std::ops::Range<i64>) -> String {
    let line = |seq: i64| {
        let ts = start + seq * 100;
        format!(r#"{{"stream_id": "{STREAM}", "ts": {ts}, "seq": {seq}, "fields": {{"v": {seq}}}}}"#) + "\n"
    };
    seqs.map(line).collect()
}

#[test]
fn records_in_a_registrys_framing_are_exact_over_a_kill() {
    let registry = RegistryPart::find().unwrap();
    let site = Site::whole("registry").set(format!("kafka.schema-registry.url={}", registry.url()));
    let partition = partition_of(STREAM, PARTITIONS);
    let start = (now_ms() - 60_000) / 5_000 * 5_000;
    let mut ingest = site.start("ingest", &[]);
    let address = ingest.address();
    deliver(&address, &lines(start, 0..60));

    let id = registry.register(&format!("{}.other-value", site.prefix), LATER).unwrap();
    let of_theirs: Vec<Vec<u8>> = (60..80).map(|seq| later(id, start + seq * 100, seq)).collect();
    let unknown = [&[0, 0x7f, 0xff, 0xff, 0xf0], &of_theirs[0][5..]].concat();
    let cut = of_theirs[0][..20].to_vec();
    let records: Vec<_> =
        of_theirs.iter().chain([&unknown, &cut]).map(|value| (Some(STREAM), value.as_slice())).collect();
    put(&site, Topic::Events, partition, &records);

    let (mut sink, coalescer) = (site.start("sink", &[]), site.start("coalescer", &[]));
    let counts = |upto: i64| -> Vec<(i64, u64, f64)> {
        let rows = site.stored(upto).into_iter();
        rows.map(|((_, at), (count, sum))| (at - start, count, sum)).collect()
    };
    let first = (0, 50, 1225.0);
    sink.until("the first window's row", |_| counts(start + 5_000) == [first]);
    site.settle();
    coalescer.kill();
    let coalescer = site.start("coalescer", &[]); // reads its own rows and marks again
    deliver(&address, &lines(start, 70..120)); // ten for the second time
    deliver(&address, &lines(start, 300..301));
    let second = (5_000, 50, 3725.0);
    sink.until("both rows, each event once", |_| counts(start + 10_000) == [first, second]);

    let framed = |topic| read(&site, topic, "a record", |found| !found.is_empty())[0].value[0];
    assert_eq!((framed(Topic::Events), framed(Topic::Windows)), (0, 0), "the registry's framing");
    let dlq = read(&site, Topic::Dlq, "what cannot be read", |found| found.len() >= 2);
    let values: Vec<&[u8]> = dlq.iter().map(|record| record.value.as_slice()).collect();
    assert_eq!(values, [unknown.as_slice(), cut.as_slice()], "their bytes as they were");
    assert!(dlq[0].header("error").contains("schema id 2147483632"), "{:?}", dlq[0]);
    let began = Instant::now();
    while coalescer.metric("evenkeel_coalescer_ledger_imbalance{size=\"5000\"}") != Some(0.0) {
        assert!(began.elapsed() < DEADLINE, "the ledger");
    }
    for service in [ingest, coalescer, sink] {
        assert_eq!(service.terminate(), Some(0));
    }
}

#[test]
fn without_its_registry_nothing_starts() {
    let site = Site::whole("no-registry");
    let nobody = ["kafka.schema-registry.url=http://127.0.0.1:1", "kafka.timeouts.connect=500ms"];
    for service in ["ingest", "coalescer", "sink"] {
        let (code, said) = site.refused(service, &nobody);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("no schema registry answered at http://127.0.0.1:1"), "{said}");
    }
}
