//! Live frames: what gateways ask for, and the snapshots they get.

use crate::ClosedBy;
use crate::reason::named;

/// Limits of what gateways ask for and get.
pub mod limits {
    /// Most kinds of frames in one record of interest.
    pub const WANTS_MAX: usize = 16;
    /// Longest name of a gateway or of a frame's source, bytes.
    pub const GATEWAY_BYTES_MAX: usize = 256;
    /// Most points of all series of one frame.
    pub const FRAME_POINTS_MAX: usize = 16_384;
    /// Most windows of one frame.
    pub const FRAME_WINDOWS_MAX: usize = 256;
}

named! {
    /// What a frame holds.
    FrameKind {
        /// Points of the fields, and every open window.
        Telemetry = "telemetry",
        /// Closed and open windows of one size.
        Windows = "windows",
        /// When the stream was last heard, and how complete it is.
        Status = "status",
    }
}

named! {
    /// What is to be said of a snapshot. A coalescer sets `live`, `recent` and `partial`.
    FrameFlag {
        /// Its source has read the log to its end.
        Live = "live",
        /// Older than it should be.
        Stale = "stale",
        /// Nobody updates it for now.
        Paused = "paused",
        /// An alert is raised.
        Alerting = "alerting",
        /// Data arrived within the last two seconds.
        Recent = "recent",
        /// Points or closed windows are missing within what it covers.
        Partial = "partial",
    }
}

/// What one gateway looks at of one stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Interest {
    /// The stream.
    pub stream_id: String,
    /// Name of the gateway's instance.
    pub gateway: String,
    /// The partition of topic frames that it reads.
    pub partition: u32,
    /// The frames it wants, at most [`limits::WANTS_MAX`]; none = no longer any.
    pub wants: Vec<Want>,
    /// From when on this means nothing, ms since the epoch.
    pub expires_at_ms: i64,
}

/// One kind of frame, and how often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Want {
    /// The kind.
    pub kind: FrameKind,
    /// For [`FrameKind::Windows`] the length of the windows, ms; else 0.
    pub size_ms: i64,
    /// Frames per second at most; finite, above 0.
    pub hz: f64,
}

/// A snapshot of one stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The stream.
    pub stream_id: String,
    /// What it holds.
    pub kind: FrameKind,
    /// For [`FrameKind::Windows`] the length of the windows, ms; else 0.
    pub size_ms: i64,
    /// Rises with each owner of the stream's partition.
    pub epoch: u64,
    /// Rises within an epoch, with gaps.
    pub seq: u64,
    /// When it was taken, ms since the epoch.
    pub ts_ms: i64,
    /// The worker that made it.
    pub source: String,
    /// Event time up to which the stream counts as complete, ms; `None` = nothing is known of it.
    pub watermark: Option<i64>,
    /// Rising, each at most once.
    pub flags: Vec<FrameFlag>,
    /// Largest event time, ms; `None` = not known.
    pub last_ts: Option<i64>,
    /// Arrival of the last event, ms; `None` = none since the stream is watched.
    pub last_arrival_ms: Option<i64>,
    /// Admitted events per second of late.
    pub events_per_s: f64,
    /// Sequence numbers not counted inside the windows at hand.
    pub missing: u64,
    /// First ms that `series` cover (a bucket's start, or where the points begin): a receiver replaces its points
    /// from here on.
    pub from_ms: i64,
    /// Last event time that `series` cover; below `from_ms` = nothing.
    pub to_ms: i64,
    /// Points by field, rising by name.
    pub series: Vec<Series>,
    /// Windows, rising by size and start.
    pub windows: Vec<FrameWindow>,
}

impl Frame {
    /// A frame without any content.
    pub fn empty(kind: FrameKind, size_ms: i64) -> Self {
        Self {
            stream_id: String::new(),
            kind,
            size_ms,
            epoch: 0,
            seq: 0,
            ts_ms: 0,
            source: String::new(),
            watermark: None,
            flags: Vec::new(),
            last_ts: None,
            last_arrival_ms: None,
            events_per_s: 0.0,
            missing: 0,
            from_ms: 0,
            to_ms: -1,
            series: Vec::new(),
            windows: Vec::new(),
        }
    }
}

/// Points of one field: as many times as values, times not falling.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// Name of the field.
    pub name: String,
    /// Event times, ms.
    pub ts: Vec<i64>,
    /// Values.
    pub values: Vec<f64>,
}

/// A window in a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameWindow {
    /// Length, ms.
    pub size_ms: i64,
    /// First ms.
    pub t_start: i64,
    /// What closed it; `None` = still open.
    pub closed_by: Option<ClosedBy>,
    /// Number of events.
    pub count: u64,
    /// Sequence numbers inside that were not counted.
    pub missing: u64,
    /// Statistics, rising by field name.
    pub stats: Vec<FrameStats>,
}

/// What a frame says of one field of a window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FrameStats {
    /// Name of the field.
    pub name: String,
    /// Number of values.
    pub count: u64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Value of the latest event.
    pub last: f64,
}
