//! What an error of the driver or the server means for one action. Each is classified here, once.

use scylla::errors::{
    DbError, ExecutionError, NextPageError, NextRowError, PagerExecutionError, PrepareError,
    RequestAttemptError,
};

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Outcome unknown (it may have happened): do it again soon. Safe, because a write names its revision.
    /// The driver's own policy never repeats a write timeout.
    Repeat,
    /// The store is away or asks for less: nothing is wrong with the action, submit it again later.
    Away,
    /// The store will never take this action.
    Refused,
    /// Nothing works until an operator acts (schema, rights, login). A start fails; a running service backs
    /// off and keeps everything.
    Setup,
}

impl ErrorClass {
    /// Name for logs and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repeat => "timeout",
            Self::Away => "unavailable",
            Self::Refused => "refused",
            Self::Setup => "setup",
        }
    }
}

/// The class of a failed execution.
pub fn class_of(error: &ExecutionError) -> ErrorClass {
    match error {
        ExecutionError::BadQuery(_) => ErrorClass::Refused,
        ExecutionError::LastAttemptError(attempt) => class_of_attempt(attempt),
        ExecutionError::PrepareError(prepare) => class_of_prepare(prepare),
        ExecutionError::RequestTimeout(_) | ExecutionError::SchemaAgreementError(_) => ErrorClass::Repeat,
        ExecutionError::EmptyPlan | ExecutionError::ConnectionPoolError(_) => ErrorClass::Away,
        ExecutionError::UseKeyspaceError(_) => ErrorClass::Setup,
        _ => ErrorClass::Away,
    }
}

/// The class of a failed paged read.
pub(crate) fn class_of_pager(error: &PagerExecutionError) -> ErrorClass {
    match error {
        PagerExecutionError::PrepareError(prepare) => class_of_prepare(prepare),
        PagerExecutionError::SerializationError(_) => ErrorClass::Refused,
        PagerExecutionError::NextPageError(next) => class_of_page(next),
        PagerExecutionError::UseKeyspaceError(_) => ErrorClass::Setup,
        _ => ErrorClass::Away,
    }
}

/// The class of a failure between two rows.
pub(crate) fn class_of_row(error: &NextRowError) -> ErrorClass {
    match error {
        NextRowError::NextPageError(next) => class_of_page(next),
        _ => ErrorClass::Refused,
    }
}

fn class_of_page(error: &NextPageError) -> ErrorClass {
    match error {
        NextPageError::RequestFailure(request) => class_of(&request.clone().into_execution_error()),
        _ => ErrorClass::Away,
    }
}

/// A statement that cannot be prepared is never the row's fault: all of them failed, or the table is gone.
fn class_of_prepare(error: &PrepareError) -> ErrorClass {
    match error {
        PrepareError::AllAttemptsFailed { first_attempt } => match class_of_attempt(first_attempt) {
            ErrorClass::Refused => ErrorClass::Setup,
            other => other,
        },
        _ => ErrorClass::Away,
    }
}

fn class_of_attempt(error: &RequestAttemptError) -> ErrorClass {
    match error {
        RequestAttemptError::SerializationError(_) | RequestAttemptError::CqlRequestSerialization(_) => {
            ErrorClass::Refused
        }
        RequestAttemptError::DbError(db, message) => class_of_db(db, message),
        // Sent, and the answer never came: it may have happened, but the server is in no state to be asked soon.
        RequestAttemptError::BrokenConnectionError(_) | RequestAttemptError::UnableToAllocStreamId => {
            ErrorClass::Away
        }
        RequestAttemptError::RepreparedIdChanged { .. } => ErrorClass::Setup,
        _ => ErrorClass::Away,
    }
}

fn class_of_db(error: &DbError, message: &str) -> ErrorClass {
    match error {
        DbError::WriteTimeout { .. }
        | DbError::ReadTimeout { .. }
        | DbError::WriteFailure { .. }
        | DbError::ReadFailure { .. }
        | DbError::ServerError
        | DbError::TruncateError => ErrorClass::Repeat,
        DbError::Unavailable { .. }
        | DbError::Overloaded
        | DbError::IsBootstrapping
        | DbError::RateLimitReached { .. }
        | DbError::Unprepared { .. } => ErrorClass::Away,
        DbError::Invalid if schema_is_gone(message) => ErrorClass::Setup,
        DbError::Invalid | DbError::SyntaxError | DbError::FunctionFailure { .. } => ErrorClass::Refused,
        DbError::AuthenticationError
        | DbError::Unauthorized
        | DbError::ConfigError
        | DbError::AlreadyExists { .. } => ErrorClass::Setup,
        // The bytes on this connection make no sense to the server, or its code makes none to us: keep the row.
        _ => ErrorClass::Away,
    }
}

/// A dropped table or keyspace answers `Invalid` like a bad value does; only the text tells them apart, and
/// these are the words of Cassandra 3 to 5 and of ScyllaDB. Rows must wait for the table then, not be refused one by one.
fn schema_is_gone(message: &str) -> bool {
    let text = message.to_ascii_lowercase();
    ["unconfigured table", "does not exist", "undefined column", "unknown identifier"]
        .iter()
        .any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use scylla::errors::{OperationType, WriteType};
    use scylla::statement::Consistency;
    use std::time::Duration;

    fn db(error: DbError, message: &str) -> ErrorClass {
        class_of(&ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, message.to_owned())))
    }

    #[test]
    fn every_server_error_has_its_class() {
        let consistency = Consistency::LocalQuorum;
        let write_type = WriteType::Simple;
        let cases = [
            (
                DbError::WriteTimeout {
                    consistency,
                    received: 1,
                    required: 2,
                    write_type: write_type.clone(),
                },
                ErrorClass::Repeat,
            ),
            (
                DbError::ReadTimeout { consistency, received: 1, required: 2, data_present: false },
                ErrorClass::Repeat,
            ),
            (
                DbError::WriteFailure { consistency, received: 1, required: 2, numfailures: 1, write_type },
                ErrorClass::Repeat,
            ),
            (
                DbError::ReadFailure {
                    consistency,
                    received: 1,
                    required: 2,
                    numfailures: 1,
                    data_present: false,
                },
                ErrorClass::Repeat,
            ),
            (DbError::ServerError, ErrorClass::Repeat),
            (DbError::TruncateError, ErrorClass::Repeat),
            (DbError::Unavailable { consistency, required: 2, alive: 1 }, ErrorClass::Away),
            (DbError::Overloaded, ErrorClass::Away),
            (DbError::IsBootstrapping, ErrorClass::Away),
            (
                DbError::RateLimitReached { op_type: OperationType::Write, rejected_by_coordinator: true },
                ErrorClass::Away,
            ),
            (DbError::ProtocolError, ErrorClass::Away),
            (DbError::Other(0x7777), ErrorClass::Away),
            (DbError::Invalid, ErrorClass::Refused),
            (DbError::SyntaxError, ErrorClass::Refused),
            (DbError::AuthenticationError, ErrorClass::Setup),
            (DbError::Unauthorized, ErrorClass::Setup),
            (DbError::ConfigError, ErrorClass::Setup),
        ];
        for (error, class) in cases {
            assert_eq!(db(error.clone(), "no"), class, "{error:?}");
        }
    }

    #[test]
    fn a_dropped_table_is_not_the_rows_fault() {
        assert_eq!(db(DbError::Invalid, "unconfigured table windows_5s"), ErrorClass::Setup);
        assert_eq!(db(DbError::Invalid, "table windows_5s does not exist"), ErrorClass::Setup);
        assert_eq!(db(DbError::Invalid, "Keyspace evenkeel does not exist"), ErrorClass::Setup);
        assert_eq!(db(DbError::Invalid, "Expected 8 byte long (3)"), ErrorClass::Refused);
    }

    #[test]
    fn what_the_driver_says_itself() {
        assert_eq!(class_of(&ExecutionError::RequestTimeout(Duration::from_secs(1))), ErrorClass::Repeat);
        assert_eq!(class_of(&ExecutionError::EmptyPlan), ErrorClass::Away);
        let no_stream = RequestAttemptError::UnableToAllocStreamId;
        assert_eq!(class_of(&ExecutionError::LastAttemptError(no_stream)), ErrorClass::Away);
        let gone = RequestAttemptError::DbError(DbError::Invalid, "x".into());
        let prepare = PrepareError::AllAttemptsFailed { first_attempt: gone };
        assert_eq!(class_of(&ExecutionError::PrepareError(prepare)), ErrorClass::Setup);
    }
}
