//! What the topics hold.
//!
//! Owns: the merge of what the log and the store say of a stream, and the shapes of schemas/ws/topics.json. Never: a
//! point older than the span, or more than the bounds say.

pub(crate) mod devices;
mod shape;
pub(crate) mod status;
pub(crate) mod telemetry;
pub(crate) mod windows;

use devices::Devices;
pub(crate) use shape::{FleetSummary, Wire};
use status::Status;
use telemetry::Telemetry;
use windows::Windows;

/// What is known of a frame beside its state.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Head {
    /// When it was taken, ms since the epoch.
    pub(crate) ts_ms: i64,
    pub(crate) source: String,
    pub(crate) watermark: Option<i64>,
    pub(crate) live: bool,
    pub(crate) recent: bool,
    pub(crate) partial: bool,
    /// Nothing came for longer than it should.
    pub(crate) stale: bool,
    pub(crate) alerting: bool,
}

/// Where the frames of a stream come from: those of an owner that was replaced are not taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    epoch: u64,
    seq: Option<u64>,
}

impl Origin {
    /// Whether a frame is newer than what there is; then it is what there is.
    pub(crate) fn takes(&mut self, epoch: u64, seq: u64) -> bool {
        let newer = epoch > self.epoch || (epoch == self.epoch && self.seq.is_none_or(|last| seq > last));
        if newer {
            *self = Self { epoch, seq: Some(seq) };
        }
        newer
    }
}

/// One state topic.
#[derive(Debug)]
pub(crate) enum Content {
    Telemetry(Telemetry),
    Windows(Windows),
    Status(Status),
    Fleet(Option<(i64, FleetSummary)>),
    Devices(Option<(i64, Devices)>),
}
