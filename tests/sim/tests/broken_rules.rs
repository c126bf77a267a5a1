//! Each rule of docs/recovery.md, broken on purpose in the real drivers, is noticed: random histories are
//! tried until one of the expected checks fails. A rare one gets more of them, or a history of its own.

use evenkeel_scenarios::{Rule, catalogue};
use evenkeel_sim::{Totals, examine, run};
use evenkeel_window::{Sabotage, plant};

/// Histories tried before a broken rule counts as unnoticed.
const HISTORIES_MAX: u64 = 1_500;

/// Breaks a rule and returns the first expected finding.
fn caught(rule: Sabotage, by: &[Rule]) -> Option<String> {
    plant(Some(rule));
    let named = catalogue::all().into_iter().filter(|scenario| scenario.name.contains("floor"));
    let mut findings: Vec<_> = named.flat_map(|scenario| run(&scenario).violations).collect();
    let mut seed = 0;
    while !findings.iter().any(|finding| by.contains(&finding.rule)) && seed < HISTORIES_MAX {
        findings = examine(seed, &mut Totals::default());
        seed += 1;
    }
    plant(None);
    let found = findings.into_iter().find(|finding| by.contains(&finding.rule))?;
    Some(format!("after {seed} histories: {found}"))
}

macro_rules! broken {
    ($($test:ident: $rule:ident => $by:expr;)+) => {
        $(
            #[test]
            fn $test() {
                let found = caught(Sabotage::$rule, &$by);
                assert!(found.is_some(), "{:?} is broken and nobody noticed", Sabotage::$rule);
                println!("{:?}: {}", Sabotage::$rule, found.unwrap_or_default());
            }
        )+

        #[test]
        fn every_rule_has_its_test() {
            assert_eq!([$(Sabotage::$rule),+], Sabotage::ALL);
        }
    };
}

use Rule::{Bounded, Fact, Late0, Late1, Outage, Recovery, Revision, Sum1, Win1, Win2};

broken! {
    a_row_vouches_for_final: RowVouchesForFinal => [Recovery];
    no_wait_for_windows_to: NoWindowsToWait => [Win1, Recovery, Sum1];
    metadata_only_when_the_offset_moves: MetadataOnlyWhenOffsetMoves => [Win1, Recovery, Win2];
    a_late_record_before_the_pending_row: LateBeforePendingRow => [Late0];
    late_records_wait_for_room: LateWaitsForRoom => [Late1, Sum1];
    idle_is_not_a_fact: IdleNotAFact => [Fact];
    a_revision_counts_writes: RevisionStoredPlus1 => [Revision, Late1];
    recent_memory_above_final: MemoryAboveFinal => [Recovery, Sum1, Late1];
    marks_without_a_floor: NoFloor => [Win1, Win2, Sum1, Late0];
    the_floor_passes_open_windows: FloorOverOpen => [Recovery, Late1, Sum1];
    a_replay_without_the_floor: FloorAfterReplay => [Recovery];
    max_ts_before_the_replay: MaxTsSeededBeforeReplay => [Recovery];
    the_wall_at_the_end_of_the_log: WallAtEnd => [Outage];
    one_log_clock: OneLogClock => [Recovery];
    pending_rows_do_not_hold_the_replay: PendingNotInReplayFrom => [Recovery];
    the_base_size_alone_holds_the_replay: ReplayFromBaseSizeOnly => [Recovery];
    open_age_max_is_ignored: NoAgeClose => [Bounded];
    age_waits_for_pending_rows: AgeWaitsForPending => [Bounded];
    rows_leave_in_any_order: AnyPendingRowFirst => [Win2, Recovery];
    a_stream_evicted_without_a_mark: EvictedWithoutMark => [Win1, Win2];
    the_sink_ignores_late_offset: NoLateOffset => [Late1];
    an_empty_merge_writes: EmptyMergeWrites => [Revision];
    the_sink_drops_fuzzy_seqs: SinkIgnoresFuzzy => [Late1];
}
