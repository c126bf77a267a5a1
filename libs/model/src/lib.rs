//! What an event, a batch, a window row, a mark and a live frame are: plain values and the limits they must keep.
//!
//! Owns: the words of docs/semantics.md as types, topic names, the partitioner. Never: bytes on a wire
//! (codec), rules about windows (window), a clock.

mod batch;
pub mod frame;
mod ids;
mod partition;
mod pattern;
mod reason;
mod row;
mod score;
mod stats;
mod topic;

pub use batch::{BatchError, EventBatch, FieldColumn};
pub use frame::{Frame, FrameFlag, FrameKind, FrameStats, FrameWindow, Interest, Series, Want};
pub use ids::{StreamIdError, check_field_name, check_stream_id};
pub use partition::{murmur2, partition_of};
pub use pattern::fits;
pub use reason::{ClosedBy, DropReason};
pub use row::{LateRecord, Mark, SeqRange, StoredRow, WindowRow, WindowSpan};
pub use score::{Alert, AlertAction, AlertCause, AlertSeverity, Score, ScoredEvent, StoredScore, alert_id};
pub use stats::FieldStats;
pub use topic::Topic;

/// Limits of the contract (docs/semantics.md, "Words"). Everything that enters keeps them.
pub mod limits {
    /// Longest stream id, bytes.
    pub const STREAM_ID_BYTES_MAX: usize = 256;
    /// Most numeric fields of one event, and most distinct fields of one window.
    pub const FIELDS_MAX: usize = 64;
    /// Longest field name, bytes.
    pub const FIELD_NAME_BYTES_MAX: usize = 128;
    /// Largest opaque payload of one event, bytes.
    pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
    /// Most events of one batch (one log record).
    pub const BATCH_EVENTS_MAX: usize = 65_536;
    /// Longest name of a model, a version or a rule, bytes.
    pub const SCORE_NAME_BYTES_MAX: usize = 128;
    /// Longest field or id of an alert, bytes.
    pub const ALERT_TEXT_BYTES_MAX: usize = 256;
    /// Earliest event time: 1970-01-01T00:00:00Z, ms since the epoch.
    pub const TS_MIN_MS: i64 = 0;
    /// Latest event time: 9999-12-31T23:59:59.999Z, ms since the epoch.
    pub const TS_MAX_MS: i64 = 253_402_300_799_999;
    /// Most late events merged into one row; the revision of a row never exceeds it.
    pub const LATE_MERGED_MAX: u32 = 999_999;
}
