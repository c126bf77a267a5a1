//! What the gateway needs of a log and a store, from the embedded ones and from Kafka and CQL; and the pages.
//!
//! Owns: how much of `alerts` is read at the start, how rows are asked for.

mod cluster;
mod embedded;

pub use cluster::{CqlHistory, KafkaSource};
pub use embedded::{LocalHistory, LocalSource};

use evenkeel_codec::encode_interest;
use evenkeel_model::{Interest, Topic, partition_of};
use evenkeel_seam::Outputs;

/// The pages that this binary was built with: the dashboard, if it was there.
pub mod pages {
    include!(concat!(env!("OUT_DIR"), "/pages.rs"));
}

/// So many of the newest alerts of a partition are read at the start.
const ALERTS_TAIL: u64 = 2_000;
/// Most appends whose outcome is open; past it what is watched is not said, and is said again soon.
const TICKETS_MAX: usize = 64;

/// Records of interest, each in its stream's partition.
fn records_of(interests: &[Interest], partitions: u32) -> Outputs {
    let mut outputs = Outputs::new();
    for interest in interests {
        let key = Some(interest.stream_id.as_bytes());
        let partition = partition_of(&interest.stream_id, partitions);
        outputs.push(Topic::Interest, partition, key, &[], |out| encode_interest(interest, out));
    }
    outputs
}
