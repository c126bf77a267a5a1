//! What the doctor knows before it judges: plain values, as they were asked for.

use crate::config::ClusterConfig;
use evenkeel_chassis::exit::Exit;
use evenkeel_kafka::topics::TopicsSpec;
use std::path::PathBuf;

/// A service whose needs are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Part {
    /// HTTP, WebSocket and MQTT in.
    Ingest,
    /// Events to windows.
    Coalescer,
    /// Rows to the store.
    Sink,
    /// Live frames.
    Gateway,
    /// Windows to scores and alerts.
    Scorer,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ingest, Self::Coalescer, Self::Sink, Self::Gateway, Self::Scorer];

    /// Its name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Coalescer => "coalescer",
            Self::Sink => "sink",
            Self::Gateway => "gateway",
            Self::Scorer => "scorer",
        }
    }
}

/// Why something could not be looked at: what a service would say, and exit with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The service's exit code.
    pub exit: Exit,
    /// What, why, what to do.
    pub message: String,
}

/// Both clocks, ms since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// Ours when the question left.
    pub asked_ms: i64,
    /// Ours when the answer was there.
    pub heard_ms: i64,
    /// The server's, in between.
    pub server_ms: i64,
    /// Most that they may differ.
    pub slack_ms: u64,
}

/// All that is known.
#[derive(Debug)]
pub struct Facts {
    /// Configuration against memory and plan.
    pub budget: Budget,
    /// Files and directories that the configuration names.
    pub files: Vec<NamedFile>,
    /// Kafka; `None` = not looked at.
    pub kafka: Option<Cluster>,
    /// The schema registry; `None` = not looked at, or none is configured.
    pub registry: Option<RegistryFacts>,
    /// The CQL store; `None` = not looked at.
    pub store: Option<Store>,
}

/// Kafka, and what is wanted of it.
#[derive(Debug)]
pub struct Cluster {
    /// What was seen.
    pub survey: Result<evenkeel_kafka::Survey, Trouble>,
    /// What is declared.
    pub spec: TopicsSpec,
    /// Whether `kafka.group-protocol` is `consumer`.
    pub asks_kip_848: bool,
    /// `gateway.partition`.
    pub gateway_partition: u32,
    /// Whether the sink takes scores.
    pub stores_scores: bool,
    /// `ingest.clock.slack`, ms.
    pub slack_ms: u64,
    /// Whose rights are looked at.
    pub parts: Vec<Part>,
}

/// The schema registry.
#[derive(Debug)]
pub struct RegistryFacts {
    /// Whether our schemas are there.
    pub answer: Result<(), evenkeel_kafka::RegistryError>,
    /// Whether a service would register them.
    pub registers: bool,
}

/// The CQL store, and what is wanted of it.
#[derive(Debug)]
pub struct Store {
    /// What was seen.
    pub survey: Result<evenkeel_cql::Survey, Trouble>,
    /// `cql.consistency` is `one`.
    pub consistency_one: bool,
    /// `ingest.clock.slack`, ms.
    pub slack_ms: u64,
}

/// Memory and the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Which services are looked at.
    pub parts: Vec<Part>,
    /// Who refuses what it was given, and what it says.
    pub refused: Vec<(&'static str, Trouble)>,
    /// What the process may use, bytes.
    pub limit: Option<u64>,
    /// What the coalescer's state may use, bytes.
    pub budget: Option<u64>,
    /// What its clients' buffers may use beside that, bytes.
    pub buffers: u64,
    /// What ingest holds at most, bytes.
    pub in_flight: u64,
    /// Streams that were announced.
    pub streams: u64,
    /// What the plan says they cost, the whole process, bytes.
    pub resident: u64,
    /// Workers of a coalescer.
    pub workers: u32,
    /// Workers of a scorer.
    pub scorer_workers: u32,
    /// Partitions of `events`; `None` = not known.
    pub partitions: Option<u32>,
    /// Window sizes that the coalescer makes and the store does not take, ms.
    pub homeless_sizes: Vec<u64>,
    /// Window sizes that the scorer looks at and the coalescer does not make, ms.
    pub unmade_sizes: Vec<u64>,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileUse {
    /// It holds a secret.
    Secret,
    /// Anybody may read it.
    Public,
    /// A directory that is written to.
    Directory,
}

/// A path that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// The key.
    pub key: &'static str,
    /// The path.
    pub path: PathBuf,
    /// What for.
    pub usage: FileUse,
    /// The last nine bits of its mode, or why it cannot be used.
    pub state: Result<u32, String>,
}

/// What of the configuration is looked at.
#[derive(Debug)]
pub struct Asked<'c> {
    /// All of it.
    pub config: &'c ClusterConfig,
    /// What topics should be.
    pub spec: TopicsSpec,
    /// Which services.
    pub parts: Vec<Part>,
}
