//! Exit codes: what a process says to whoever started it.
//!
//! Owns: the list. An operator's script and the runbooks rely on the numbers; they do not change.

use std::fmt;
use std::process::ExitCode;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// All was done, or a drain ended in good order.
    Ok,
    /// Wrong usage or configuration. Starting again changes nothing.
    Usage,
    /// Something this process depends on could not be reached at the start. Start again later.
    Unreachable,
    /// It would be wrong to go on with this data: a partition count, a version or a file does not match.
    Refused,
    /// The disk or the store failed (full, not writable, damaged).
    Storage,
    /// Fenced again and again: somebody else runs under the same name.
    Fenced,
    /// A defect of ours.
    Internal,
    /// Ended at once by a second SIGINT, or the drain's deadline passed after SIGINT.
    Interrupted,
    /// The same by SIGTERM.
    Terminated,
}

impl Exit {
    /// Every way to end.
    pub const ALL: &'static [Self] = &[
        Self::Ok,
        Self::Usage,
        Self::Unreachable,
        Self::Refused,
        Self::Storage,
        Self::Fenced,
        Self::Internal,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The process's exit code. The one mapping.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Refused => 4,
            Self::Storage => 5,
            Self::Fenced => 6,
            Self::Internal => 70,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// What it means, in one sentence: for `--help` and the documents.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "all was done",
            Self::Usage => "wrong usage or configuration",
            Self::Unreachable => "a dependency could not be reached at the start",
            Self::Refused => "the data, a partition count or a version does not match",
            Self::Storage => "the disk or the store failed",
            Self::Fenced => "fenced too often by another process of the same name",
            Self::Internal => "a defect of this program",
            Self::Interrupted => "ended at once by SIGINT",
            Self::Terminated => "ended at once by SIGTERM",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl From<&crate::config::ConfigError> for Exit {
    fn from(_: &crate::config::ConfigError) -> Self {
        Self::Usage
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.code(), self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_as_documented_and_differ() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 2, 3, 4, 5, 6, 70, 130, 143]);
        let meanings: BTreeSet<_> = Exit::ALL.iter().map(|exit| exit.meaning()).collect();
        assert_eq!(meanings.len(), Exit::ALL.len());
        assert_eq!(Exit::Refused.to_string(), "4 (the data, a partition count or a version does not match)");
    }
}
