//! Why a command fails, and the exit code that says so. The one place where errors get their codes.

use crate::file::{InputError, LoadFailure};
use crate::machine::MachineError;
use evenkeel_chassis::config::ConfigError;
use evenkeel_chassis::exit::Exit;
use evenkeel_coalescer::RunError as CoalescerError;
use evenkeel_cql::{ConnectError, QueryError};
use evenkeel_local::{FileError, LoadError, OpenError};
use evenkeel_scorer::live::{LiveRunError, ModelError};
use evenkeel_scorer::{InputError as RowsError, PlanError, RunError as ScoreError};
use evenkeel_seam::WorkerError;
use evenkeel_sink::RunError as SinkError;
use evenkeel_telemetry::InitError;

/// What the user is told.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    message: String,
}

impl Failure {
    /// A failure with its code. `message`: what, why, what to do.
    pub fn new(exit: Exit, message: impl std::fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// The exit code of a store that cannot be opened.
    pub fn of_store(error: &ConnectError) -> Exit {
        of_connect(error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::from(&error), error)
    }
}

impl From<InitError> for Failure {
    fn from(error: InitError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let exit = match &error {
            OpenError::Locked { .. } => Exit::Unreachable,
            OpenError::Partitions { .. } => Exit::Refused,
            OpenError::PartitionCount(_) => Exit::Usage,
            OpenError::Directory { .. } | OpenError::File(_) => Exit::Storage,
            OpenError::Thread(_) => Exit::Internal,
        };
        Self::new(exit, error)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::new(Exit::Storage, error)
    }
}

impl From<evenkeel_kafka::ConnectError> for Failure {
    fn from(error: evenkeel_kafka::ConnectError) -> Self {
        use evenkeel_kafka::{ConnectError as E, RegistryError as R};
        let exit = match &error {
            E::Secret { .. } | E::Client { .. } | E::Login { .. } | E::Tls { .. } => Exit::Usage,
            E::Partitions { .. } => Exit::Refused,
            // A topic that is not there yet: `topics create` may run at this moment.
            E::Unreachable { .. } | E::NoTopic { .. } | E::Refused { .. } => Exit::Unreachable,
            E::Fenced { .. } => Exit::Fenced,
            E::Registry(R::Unreachable { .. }) => Exit::Unreachable,
            E::Registry(R::Login { .. } | R::File { .. }) => Exit::Usage,
            E::Registry(R::NotRegistered { .. } | R::Refused { .. }) => Exit::Refused,
        };
        Self::new(exit, error)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::new(of_connect(&error), error)
    }
}

fn of_connect(error: &ConnectError) -> Exit {
    match error {
        ConnectError::Config(_)
        | ConnectError::PasswordFile { .. }
        | ConnectError::Tls(_)
        | ConnectError::Login { .. }
        | ConnectError::Forbidden { .. }
        | ConnectError::UnknownDc { .. } => Exit::Usage,
        ConnectError::Schema(_) => Exit::Refused,
        ConnectError::Unreachable { .. }
        | ConnectError::TooSlow { .. }
        | ConnectError::Incomplete { .. }
        | ConnectError::Request(_)
        | ConnectError::Passing(_) => Exit::Unreachable,
        ConnectError::Thread(_) => Exit::Internal,
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        let exit = match &error {
            QueryError::Connect(error) => of_connect(error),
            QueryError::Request { .. } => Exit::Unreachable,
            QueryError::NoSuchSize { .. } => Exit::Usage,
            QueryError::Row { .. } => Exit::Refused,
        };
        Self::new(exit, error)
    }
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        let exit = match &error {
            InputError::Open { .. } => Exit::Usage,
            InputError::Spool { .. } => Exit::Storage,
            InputError::Read { .. }
            | InputError::Empty { .. }
            | InputError::Header { .. }
            | InputError::Changed { .. } => Exit::Refused,
        };
        Self::new(exit, error)
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        let exit = if matches!(error, LoadError::Log(_)) { Exit::Storage } else { Exit::Internal };
        Self::new(exit, error)
    }
}

impl From<LoadFailure> for Failure {
    fn from(error: LoadFailure) -> Self {
        match error {
            LoadFailure::Input(error) => error.into(),
            LoadFailure::Log(error) => error.into(),
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

fn of_rows(error: &RowsError) -> Exit {
    match error {
        RowsError::Open { .. } | RowsError::Config { .. } => Exit::Usage,
        RowsError::TooLarge { .. }
        | RowsError::Table { .. }
        | RowsError::Empty { .. }
        | RowsError::Twice { .. } => Exit::Refused,
    }
}

impl From<RowsError> for Failure {
    fn from(error: RowsError) -> Self {
        Self::new(of_rows(&error), error)
    }
}

impl From<ScoreError> for Failure {
    fn from(error: ScoreError) -> Self {
        let exit = match &error {
            ScoreError::Input(error) => of_rows(error),
            ScoreError::Model { .. } | ScoreError::Bind { .. } => Exit::Refused,
            ScoreError::Output(_) => Exit::Storage,
            ScoreError::Panicked(_) => Exit::Internal,
        };
        Self::new(exit, error)
    }
}

impl From<MachineError> for Failure {
    fn from(error: MachineError) -> Self {
        let exit = match &error {
            MachineError::Options(_) | MachineError::ScorerOptions(_) => Exit::Usage,
            MachineError::Model(ModelError::Open { .. }) => Exit::Usage,
            MachineError::Model(_) | MachineError::Scorer(LiveRunError::Partitions { .. }) => Exit::Refused,
            MachineError::Scorer(LiveRunError::Interval(_)) => Exit::Usage,
            MachineError::Coalescer(CoalescerError::Refused(_) | CoalescerError::LogCut(_)) => Exit::Refused,
            MachineError::Coalescer(CoalescerError::Interval(_)) => Exit::Usage,
            MachineError::Sink(SinkError::Interval(_)) => Exit::Usage,
            MachineError::Coalescer(CoalescerError::Worker(error))
            | MachineError::Sink(SinkError::Worker(error))
            | MachineError::Scorer(LiveRunError::Worker(error)) => match error {
                WorkerError::Fenced(_) => Exit::Fenced,
                WorkerError::Fatal(_) => Exit::Storage,
            },
            MachineError::Log(_) | MachineError::StoreAway(_) | MachineError::Timeout(..) => Exit::Storage,
            MachineError::Thread(_) | MachineError::Panicked(_) => Exit::Internal,
        };
        Self::new(exit, error)
    }
}
