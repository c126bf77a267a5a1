//! A small fleet that posts NDJSON, for tests that run the real binary: what it sends, and what must be stored of it.
//!
//! Owns: the requests' texts and the windows they add up to. Never: sends anything.

use evenkeel_codec::encode_row;
use evenkeel_model::{ClosedBy, WindowRow, WindowSpan};
use std::collections::BTreeMap;

/// Size of the windows of [`Fleet::expected`], ms.
const SIZE_MS: i64 = 5_000;

/// (count, sum of `v`) per stream and start of its window of 5 s.
pub type Rows = BTreeMap<(String, i64), (u64, f64)>;

/// So many streams `dev/0`, `dev/1`, …
#[derive(Debug, Clone, Copy)]
pub struct Fleet {
    /// How many.
    pub streams: i64,
}

impl Fleet {
    /// Ten events of each stream; request `n` begins with seq 10 n, an event each 100 ms.
    pub fn body(self, n: u64, start_ms: i64) -> String {
        let mut body = String::new();
        for stream in 0..self.streams {
            for seq in n * 10..n * 10 + 10 {
                let ts = start_ms + seq as i64 * 100 + stream;
                body += &format!(
                    "{{\"stream_id\":\"dev/{stream}\",\"ts\":{ts},\"seq\":{seq},\"fields\":{{\"v\":{seq}}}}}\n"
                );
            }
        }
        body
    }

    /// One event of each stream at `ts`: closes everything before it.
    pub fn closing(self, ts: i64) -> String {
        let line =
            |s| format!("{{\"stream_id\":\"dev/{s}\",\"ts\":{ts},\"seq\":1000000,\"fields\":{{\"v\":1}}}}\n");
        (0..self.streams).map(line).collect()
    }

    /// What must be stored of requests 0 .. `requests`.
    pub fn expected(self, requests: u64, start_ms: i64) -> Rows {
        let mut want = Rows::new();
        for stream in 0..self.streams {
            for seq in 0..requests * 10 {
                let ts = start_ms + seq as i64 * 100 + stream;
                let t_start = ts.div_euclid(SIZE_MS) * SIZE_MS;
                let entry = want.entry((format!("dev/{stream}"), t_start)).or_default();
                entry.0 += 1;
                entry.1 += seq as f64;
            }
        }
        want
    }
}

/// A window row of one event, as the record of the topic windows that somebody strange could write.
pub fn lone_row(stream_id: &str, t_start: i64) -> Vec<u8> {
    let row = WindowRow {
        stream_id: stream_id.into(),
        span: WindowSpan::of(t_start, SIZE_MS),
        closed_by: ClosedBy::Watermark,
        max_ts: t_start,
        first_arrival: t_start,
        last_arrival: t_start,
        count: 1,
        seqs: vec![],
        dropped: vec![],
        stats: vec![],
        events: None,
    };
    let mut bytes = Vec::new();
    encode_row(&row, &mut bytes);
    bytes
}
