//! What a check reports: the rule by its id, and a sentence a reader can act on.

use std::fmt;

/// The rules of docs/semantics.md that a finished run is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// At most one row per (stream, size, window).
    Win1,
    /// Marks, floor and rows move forward only.
    Win2,
    /// Every consumed event is accounted for once, at every commit.
    Sum1,
    /// A late record never precedes its window's row.
    Late0,
    /// Each stored row equals the batch computation over all admitted events.
    Late1,
    /// Idle, age and evicted are facts: they happen only together with the row.
    Fact,
    /// A (key, revision) names one content.
    Revision,
    /// Recovery rebuilds what was committed.
    Recovery,
    /// The way back stays short: nothing stays open or pending far beyond open-age-max.
    Bounded,
    /// An outage of ours or of the log closes nothing.
    Outage,
    /// The run came to rest: everything consumed, every row out, the sink drained.
    Drained,
    /// The run exercised something: it closed a window, and it injected a fault if it was to.
    Floor,
    /// A driver asked for something the seam forbids.
    Protocol,
    /// A driver panicked.
    Panic,
    /// Rows that are functions of the log do not depend on what crashed.
    Crashes,
}

impl Rule {
    /// The id used in code and documents.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Win1 => "EK-WIN-1",
            Self::Win2 => "EK-WIN-2",
            Self::Sum1 => "EK-SUM-1",
            Self::Late0 => "EK-LATE-0",
            Self::Late1 => "EK-LATE-1",
            Self::Fact => "facts",
            Self::Revision => "one-content",
            Self::Recovery => "recovery",
            Self::Bounded => "bounded",
            Self::Outage => "outage",
            Self::Drained => "drained",
            Self::Floor => "floor",
            Self::Protocol => "protocol",
            Self::Panic => "no-panic",
            Self::Crashes => "crashes",
        }
    }
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// Where and how, with the numbers.
    pub what: String,
}

impl Violation {
    /// A violation of `rule`.
    pub fn new(rule: Rule, what: impl Into<String>) -> Self {
        Self { rule, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule.id(), self.what)
    }
}
