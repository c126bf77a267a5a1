//! The rules of docs/semantics.md and docs/recovery.md, each breakable on purpose, so that tests prove they
//! would notice. Without the cargo feature `sabotage` every question below is the constant `false`.

/// What is done instead of the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sabotage {
    /// Recovery takes `emitted` from the final mark at sending instead of the row's own `t_end`.
    RowVouchesForFinal,
    /// Recovery reads to the stable end, not to `windows_to`.
    NoWindowsToWait,
    /// Metadata is sent only when the offset moved; otherwise the old one stays.
    MetadataOnlyWhenOffsetMoves,
    /// A late record does not take the pending rows before it along.
    LateBeforePendingRow,
    /// Late records wait for a tick with room.
    LateWaitsForRoom,
    /// Idle closes a window although its row has no room yet.
    IdleNotAFact,
    /// A row's revision counts writes, not merged events.
    RevisionStoredPlus1,
    /// The recent memory of seqs is also asked at or above final.
    MemoryAboveFinal,
    /// Marks are forgotten without a floor.
    NoFloor,
    /// The floor passes open windows.
    FloorOverOpen,
    /// Replay starts without the floor.
    FloorAfterReplay,
    /// `max_ts` of rows is loaded before the replay.
    MaxTsSeededBeforeReplay,
    /// The live clock is the wall clock at the end of the log.
    WallAtEnd,
    /// Replay starts with the log clock of the commit.
    OneLogClock,
    /// Only open windows count in `replay_from`.
    PendingNotInReplayFrom,
    /// Only the base size counts in `replay_from`.
    ReplayFromBaseSizeOnly,
    /// `open-age-max` is ignored.
    NoAgeClose,
    /// A window past `open-age-max` waits behind its pending rows.
    AgeWaitsForPending,
    /// Rows of a series leave in any order.
    AnyPendingRowFirst,
    /// No Mark record for a stream evicted early.
    EvictedWithoutMark,
    /// The sink ignores `late_offset`.
    NoLateOffset,
    /// A late record that merges nothing moves `late_offset`.
    EmptyMergeWrites,
    /// The sink drops seqs inside fuzzy intervals as held.
    SinkIgnoresFuzzy,
}

impl Sabotage {
    /// Every rule, in order.
    pub const ALL: [Self; 23] = [
        Self::RowVouchesForFinal,
        Self::NoWindowsToWait,
        Self::MetadataOnlyWhenOffsetMoves,
        Self::LateBeforePendingRow,
        Self::LateWaitsForRoom,
        Self::IdleNotAFact,
        Self::RevisionStoredPlus1,
        Self::MemoryAboveFinal,
        Self::NoFloor,
        Self::FloorOverOpen,
        Self::FloorAfterReplay,
        Self::MaxTsSeededBeforeReplay,
        Self::WallAtEnd,
        Self::OneLogClock,
        Self::PendingNotInReplayFrom,
        Self::ReplayFromBaseSizeOnly,
        Self::NoAgeClose,
        Self::AgeWaitsForPending,
        Self::AnyPendingRowFirst,
        Self::EvictedWithoutMark,
        Self::NoLateOffset,
        Self::EmptyMergeWrites,
        Self::SinkIgnoresFuzzy,
    ];

    /// Whether this rule is broken on this thread now.
    #[inline]
    pub fn is_on(self) -> bool {
        #[cfg(feature = "sabotage")]
        {
            planted::get() == Some(self)
        }
        #[cfg(not(feature = "sabotage"))]
        {
            let _ = self;
            false
        }
    }
}

/// Breaks one rule, or none, on this thread.
#[cfg(feature = "sabotage")]
pub fn plant(rule: Option<Sabotage>) {
    planted::set(rule);
}

#[cfg(feature = "sabotage")]
mod planted {
    use super::Sabotage;
    use std::cell::Cell;

    thread_local! {
        static RULE: Cell<Option<Sabotage>> = const { Cell::new(None) };
    }

    pub(super) fn get() -> Option<Sabotage> {
        RULE.with(Cell::get)
    }

    pub(super) fn set(rule: Option<Sabotage>) {
        RULE.with(|cell| cell.set(rule));
    }
}
