//! The contract of the seam's `Worker` and `Appender`: one suite of cases that every log has to pass.
//!
//! Owns: the cases, what they ask of a log under test ([`Log`]), the worker under test ([`Member`]), which
//! checks with every poll what must hold at any time. Never: a clock or a thread of its own (the log has
//! them); a rule about windows.
//!
//! A log's test file is `contract_tests!(make, CANNOT)`: one `#[test]` per case. `CANNOT` names the cases
//! that this log cannot arrange; their runs must end with the log's own reason, and no other run may.

mod append;
mod assignment;
mod beside;
mod commit;
mod desk;
mod flow;
mod group;
mod log;
mod member;
mod reads;
mod told;
mod watch;

pub use desk::Desk;
pub use log::{Arranged, Log, PARTITIONS, Unarranged, Who};
pub use member::{Member, both};
pub use told::{Seen, Told};

/// One case: arranges a situation on a fresh log and checks what the seam promises.
pub struct Case<L: Log> {
    /// What it proves.
    pub name: &'static str,
    /// Panics where the log breaks the contract.
    pub run: fn(&mut L) -> Arranged,
}

/// Hands the list of all cases, by the module they are in, to another macro.
#[macro_export]
macro_rules! contract_cases {
    ([$($then:tt)+] { $($with:tt)* }) => {
        $($then)+! {
            { $($with)* }
            assignment: [
                a_new_group_has_no_position,
                the_next_worker_gets_what_was_committed,
                nothing_flows_before_start,
                start_without_an_offset_is_the_oldest,
                start_below_a_cut_goes_on_at_the_first_record_there_is,
                a_start_beyond_the_end_stops_the_worker,
                groups_have_positions_of_their_own,
            ]
            flow: [
                records_come_in_order_and_none_is_missing,
                the_end_is_told_again_and_again,
                a_paused_partition_waits_and_skips_nothing,
                all_partitions_paused_wait_and_skip_nothing,
                start_ends_a_pause,
                a_pause_in_recovery_stops_no_read_and_a_resume_starts_nothing,
                a_record_comes_back_as_it_was_sent,
                an_open_transaction_holds_the_flow_back,
            ]
            commit: [
                a_commit_fills_in_where_its_outputs_landed,
                metadata_comes_back_byte_for_byte,
                outputs_become_visible_as_a_whole_or_never,
                an_aborted_commit_starts_every_partition_over,
                a_leaving_partition_does_not_come_back_after_an_abort,
                a_second_commit_is_refused_while_one_runs,
                a_commit_of_nothing_succeeds,
            ]
            reads: [
                a_read_brings_its_stretch_while_others_flow,
                a_read_waits_until_its_end_is_reached,
                a_read_leaves_aborted_records_out,
                a_read_of_a_cut_log_says_where_it_begins,
                a_read_past_the_end_says_how_far_the_log_goes,
                an_empty_read_is_done_at_once,
                a_read_of_compacted_marks_finds_the_newest_of_each_key,
            ]
            group: [
                a_joining_worker_goes_on_where_the_last_commit_stands,
                a_partition_given_up_unasked_is_free_at_close_at_the_latest,
                a_killed_workers_partitions_go_to_the_heir,
                a_killed_workers_open_transaction_is_never_seen,
                a_zombie_commits_nothing,
                a_second_worker_under_one_id_fences_the_first,
            ]
            beside: [
                a_followed_topic_brings_its_tail_and_what_comes,
                a_pause_holds_up_no_followed_topic,
                an_abort_ends_following,
                sent_records_are_in_no_transaction,
                a_send_to_a_partition_that_is_not_there_drops_only_that,
            ]
            append: [
                acknowledged_records_are_readable,
                every_ticket_has_exactly_one_outcome,
                a_refused_ticket_takes_no_other_with_it,
            ]
        }
    };
}

/// Makes [`cases`] of the list.
macro_rules! table {
    ({} $($module:ident: [$($case:ident),* $(,)?])*) => {
        /// Every case of the contract.
        pub fn cases<L: Log>() -> Vec<Case<L>> {
            vec![$($(Case { name: stringify!($case), run: $module::$case::<L> }),*),*]
        }
    };
}

contract_cases!([table] {});

/// The tests of one log: `contract_tests!(make, CANNOT)`, where `make(case)` gives a fresh log and `CANNOT:
/// &[&str]` names the cases that it cannot arrange.
#[macro_export]
macro_rules! contract_tests {
    ($make:path, $cannot:path) => {
        $crate::contract_cases!([$crate::contract_tests] { $make, $cannot });

        #[test]
        fn cases_that_cannot_be_arranged_exist() {
            $crate::contract::check_names($cannot);
        }
    };
    ({ $make:path, $cannot:path } $($module:ident: [$($case:ident),* $(,)?])*) => {
        $($(
            #[test]
            fn $case() {
                $crate::contract::run(&mut $make(stringify!($case)), stringify!($case), $cannot);
            }
        )*)*
    };
}

/// Runs one case. `cannot` lists the cases that this log cannot arrange: such a run must end with a reason.
pub fn run<L: Log>(log: &mut L, name: &str, cannot: &[&str]) {
    let case = cases::<L>().into_iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("the contract has no case {name}"));
    match ((case.run)(log), cannot.contains(&name)) {
        (Ok(()), false) => {}
        (Err(Unarranged(why)), true) => println!("{name}: not arranged on this log: {why}"),
        (Ok(()), true) => panic!("{name} is listed as impossible on this log, and ran"),
        (Err(Unarranged(why)), false) => panic!("{name} did not run on this log: {why}"),
    }
}

/// Every name in a list of cases that cannot be arranged must be a case's.
pub fn check_names(cannot: &[&str]) {
    macro_rules! names {
        ({} $($module:ident: [$($case:ident),* $(,)?])*) => { [$($(stringify!($case)),*),*] };
    }
    let names = contract_cases!([names] {});
    let unknown: Vec<_> = cannot.iter().filter(|name| !names.contains(name)).collect();
    assert!(unknown.is_empty(), "the contract has no case {unknown:?}");
}

/// The value of a step that must work.
fn must<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}
