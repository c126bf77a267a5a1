//! What can be chosen about a data directory. Owns: the options and their defaults. Never: reads a file or
//! the environment (services do).

use evenkeel_model::Topic;

/// What an acknowledgement survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The death of this process (`synchronous = NORMAL`): after a power cut the newest transactions may
    /// be gone, each as a whole.
    #[default]
    Process,
    /// A power cut too (`synchronous = FULL`): every transaction waits for the disk.
    Power,
}

impl Durability {
    /// The name used in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Power => "power",
        }
    }

    /// The value of a name; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "process" => Some(Self::Process),
            "power" => Some(Self::Power),
            _ => None,
        }
    }
}

/// How long a topic keeps its records. Whatever goes first, goes from the oldest end of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TopicRetention {
    /// Records older than this go, ms since they were appended. `None` = no limit by age.
    pub age_ms: Option<i64>,
    /// The topic's records (keys, values, headers) together. `None` = no limit by bytes.
    pub bytes: Option<u64>,
}

/// How long each topic keeps its records. `marks` is also compacted: only the newest record of a key stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Batches of events.
    pub events: TopicRetention,
    /// Rows and late records.
    pub windows: TopicRetention,
    /// What was refused.
    pub dlq: TopicRetention,
    /// Marks. A limit by age must be above the coalescer's `max-age`, else a forgotten stream's rows could
    /// leave twice.
    pub marks: TopicRetention,
    /// What models say of windows.
    pub scores: TopicRetention,
    /// Alerts.
    pub alerts: TopicRetention,
    /// Keep what a group's committed position still needs (its offset, `replay_from`, `windows_from`), also
    /// past the limits. A group that is gone for good is removed with
    /// [`Local::forget_group`](crate::Local::forget_group).
    pub protect_unread: bool,
}

impl Retention {
    /// The limits of one topic.
    pub fn of(&self, topic: Topic) -> TopicRetention {
        match topic {
            Topic::Events => self.events,
            Topic::Windows => self.windows,
            Topic::Dlq => self.dlq,
            Topic::Marks => self.marks,
            Topic::Scores => self.scores,
            Topic::Alerts => self.alerts,
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        let days = |n: i64| TopicRetention { age_ms: Some(n * 24 * 3_600_000), bytes: None };
        Self {
            events: days(7),
            windows: days(7),
            dlq: days(30),
            marks: TopicRetention::default(),
            scores: days(7),
            alerts: days(30),
            protect_unread: true,
        }
    }
}

/// Everything that can be chosen about a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalOptions {
    /// Partitions of every topic, 1 ..= [`LocalOptions::PARTITIONS_MAX`]. `None` = what the directory holds,
    /// or [`LocalOptions::PARTITIONS_DEFAULT`] for a new one.
    pub partitions: Option<u32>,
    /// What an acknowledgement survives.
    pub durability: Durability,
    /// How long topics keep their records.
    pub retention: Retention,
    /// Rows of the store expire this long after their window's end, ms. `None` = never.
    pub row_ttl_ms: Option<i64>,
    /// Bytes of appends that wait for the writer; beyond it an append is `Full`.
    pub queue_bytes_max: usize,
    /// Appends that wait for the writer; beyond it an append is `Full`.
    pub queue_jobs_max: usize,
    /// Bytes of one delivery of records of one partition (one larger record is delivered alone).
    pub fetch_bytes_max: usize,
    /// Records of one delivery of one partition.
    pub fetch_records_max: usize,
    /// `log.db` does not grow beyond this; at it, writes fail as on a full disk. `None` = the disk.
    pub log_bytes_max: Option<u64>,
    /// The same for `store.db`.
    pub store_bytes_max: Option<u64>,
    /// What a full disk does to a worker's transaction: `true` = it is aborted, the worker recovers and tries
    /// again (a server waits for room); `false` = the worker fails and says why (a load ends).
    pub wait_for_room: bool,
    /// How long a write waits for another program that holds the file (a backup, a shell), ms.
    pub busy_wait_ms: u64,
}

impl LocalOptions {
    /// Most partitions of a topic.
    pub const PARTITIONS_MAX: u32 = 4_096;
    /// Partitions of a new directory unless told otherwise.
    pub const PARTITIONS_DEFAULT: u32 = 4;
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            partitions: None,
            durability: Durability::default(),
            retention: Retention::default(),
            row_ttl_ms: None,
            queue_bytes_max: 32 << 20,
            queue_jobs_max: 65_536,
            fetch_bytes_max: 1 << 20,
            fetch_records_max: 8_192,
            log_bytes_max: None,
            store_bytes_max: None,
            wait_for_room: false,
            busy_wait_ms: 5_000,
        }
    }
}
