//! The embedded log of a stopped server: written and read from outside, as no client can.

use evenkeel_local::{Local, LocalOptions};
use evenkeel_model::Topic;
use evenkeel_seam::{Appender as _, Header, LogAction, LogInput, Outputs, Worker as _};
use std::path::Path;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(30);

/// A record of `dlq`: its partition, its value, its headers.
#[derive(Debug)]
pub struct Refused {
    pub partition: u32,
    pub value: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Refused {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }
}

pub fn open(data_dir: &Path) -> Local {
    Local::open(data_dir, LocalOptions::default()).unwrap()
}

/// Appends one record as it is, and waits for the acknowledgement; its offset.
pub fn append(local: &Local, topic: Topic, partition: u32, key: Option<&str>, value: &[u8]) -> u64 {
    let (mut appender, mut records, mut acks) = (local.appender(), Outputs::new(), Vec::new());
    let header = Header { name: "content-type", value: b"x" };
    records.push(topic, partition, key.map(str::as_bytes), &[header], |buf| buf.extend_from_slice(value));
    let offset = local.end(topic, partition);
    appender.append(&records, 1).unwrap();
    let began = Instant::now();
    while acks.is_empty() {
        assert!(began.elapsed() < DEADLINE, "no acknowledgement");
        appender.acks(Duration::from_millis(50), &mut acks);
    }
    acks[0].result.clone().unwrap();
    offset
}

/// Every record of `dlq`.
pub fn dlq(local: &Local) -> Vec<Refused> {
    let mut worker = local.worker("test", Topic::Dlq).unwrap();
    worker.read_headers(true);
    let (mut records, mut ends, mut new) = (Vec::new(), 0, Vec::new());
    let began = Instant::now();
    while ends < local.partitions() {
        assert!(began.elapsed() < DEADLINE);
        let each = &mut |input: LogInput<'_>| match input {
            LogInput::Assigned { partition, .. } => new.push(partition),
            LogInput::Records { partition, records: some, at_end, .. } => {
                ends += u32::from(at_end);
                records.extend(some.iter().map(|record| {
                    let text = |h: &Header<'_>| String::from_utf8(h.value.to_vec()).unwrap();
                    let headers = record.headers.iter().map(|h| (h.name.to_owned(), text(h))).collect();
                    Refused { partition, value: record.value.unwrap().to_vec(), headers }
                }));
            }
            _ => {}
        };
        worker.poll(Duration::from_millis(100), each).unwrap();
        for partition in new.drain(..) {
            worker.perform(LogAction::Start { partition, from: None }).unwrap();
        }
    }
    records
}
