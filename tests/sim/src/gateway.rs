//! A gateway beside everything: it looks at every stream there is, and what it gets is checked at the end.
//!
//! So every history shows that frames change nothing, and every crash that no two owners share an epoch.

use crate::log::{Record, SimLog};
use evenkeel_codec::{decode_frame, encode_interest};
use evenkeel_model::{FrameKind, Interest, Topic, Want, partition_of};
use std::collections::BTreeMap;

/// It asks again so often, ms.
const AGAIN_MS: i64 = 5_000;
/// And means it for so long, ms.
const HOLDS_MS: i64 = 15_000;
/// Its partition of the topic frames.
const PARTITION: u32 = 0;

/// A gateway.
#[derive(Debug, Default)]
pub struct Gateway {
    /// When it last asked for a stream, ms.
    asked: BTreeMap<String, i64>,
}

impl Gateway {
    /// Somebody sends as this stream: the gateway looks at it.
    pub fn look(&mut self, log: &SimLog, stream_id: &str) {
        let mut cluster = log.cluster();
        let now = cluster.now_ms();
        let asked = self.asked.get(stream_id).is_some_and(|at| now - at < AGAIN_MS);
        if asked || cluster.is_down() {
            return;
        }
        self.asked.insert(stream_id.to_owned(), now);
        let want = |kind| Want { kind, size_ms: 0, hz: 2.0 };
        let interest = Interest {
            stream_id: stream_id.to_owned(),
            gateway: "gateway-0".to_owned(),
            partition: PARTITION,
            wants: vec![want(FrameKind::Telemetry), want(FrameKind::Status)],
            expires_at_ms: now + HOLDS_MS,
        };
        let mut value = Vec::new();
        encode_interest(&interest, &mut value);
        let key = Some(stream_id.as_bytes().to_vec());
        let record = Record { timestamp_ms: now, key, value: Some(value), headers: vec![] };
        let partition = partition_of(stream_id, cluster.partitions());
        cluster.append(Topic::Interest, partition, record);
    }
}

/// How many frames there are, and what is wrong with them: the seq of a partition's epoch rises, whoever made them.
pub fn check_frames(log: &SimLog) -> (u64, Vec<String>) {
    let mut cluster = log.cluster();
    let partitions = cluster.partitions();
    let fetched = cluster.log(Topic::Frames, PARTITION).read(0, usize::MAX, false);
    let (mut newest, mut found) = (BTreeMap::<(u32, u64), u64>::new(), Vec::new());
    for (offset, record) in &fetched.records {
        match decode_frame(record.value.as_deref().unwrap_or_default()) {
            Ok(frame) => {
                let of = (partition_of(&frame.stream_id, partitions), frame.epoch);
                if let Some(before) = newest.insert(of, frame.seq).filter(|before| *before >= frame.seq) {
                    let (partition, epoch) = of;
                    let seq = frame.seq;
                    found.push(format!(
                        "frames of partition {partition}, epoch {epoch}: {seq} after {before}"
                    ));
                }
            }
            Err(error) => found.push(format!("frame {offset}: {error}")),
        }
    }
    (fetched.records.len() as u64, found)
}
