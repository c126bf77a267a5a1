//! The topics of the system. Names are defaults; the prefix can be configured.

/// A topic. Partitioned by stream id; `Windows`, `Marks`, `Scores` and `Alerts` have as many partitions as `Events`, and a
/// record about a stream goes to the SAME partition number in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Batches of events, as ingest accepted them.
    Events,
    /// Window rows and late records.
    Windows,
    /// What was refused, with its reason.
    Dlq,
    /// Compacted: how far each quiet stream's rows have left.
    Marks,
    /// What models say of windows.
    Scores,
    /// Rules that began or ceased to hold.
    Alerts,
}

impl Topic {
    /// Every topic, in order.
    pub const ALL: &'static [Self] =
        &[Self::Events, Self::Windows, Self::Dlq, Self::Marks, Self::Scores, Self::Alerts];

    /// The name without prefix, e.g. `events`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Windows => "windows",
            Self::Dlq => "dlq",
            Self::Marks => "marks",
            Self::Scores => "scores",
            Self::Alerts => "alerts",
        }
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
