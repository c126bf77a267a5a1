//! One transaction: outputs, offsets and the way back, together or not at all.

use super::member::put;
use super::{Arranged, Desk, Log, Member, Told, Who, both};
use evenkeel_model::Topic;
use evenkeel_seam::{
    Commit, CommitMeta, Ledger, LogAction, Outputs, Position, SizeLedger, TxnResult, WorkerError,
};

pub(super) fn a_commit_fills_in_where_its_outputs_landed<L: Log>(log: &mut L) -> Arranged {
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    a.row(0, "row-1");
    a.row(0, "row-2");
    put(&mut a.outputs, Topic::Marks, 0, "s", "mark");
    let given = CommitMeta { windows_to: 70, marks_to: 80, ..a.meta(0) };
    let other = Position { partition: 1, offset: 0, meta: Some(given.clone()) };
    let written = a.committed(vec![other.clone(), a.at(0, 0)]);
    let [(1, Some(one)), (0, Some(zero))] = &written[..] else { panic!("not in their order: {written:?}") };
    assert_eq!(one, &given, "nothing was written to partition 1: the given values are carried over");
    assert_eq!((zero.windows_to, zero.marks_to), (2, 1));
    // Again: rows only, so `marks_to` is as given.
    a.row(0, "row-3");
    let again = a.committed(vec![Position { partition: 0, offset: 0, meta: Some(zero.clone()) }]);
    let Some((0, Some(again))) = again.first() else { panic!("{again:?}") };
    assert!(again.windows_to > zero.windows_to && again.marks_to == zero.marks_to, "{again:?}");
    a.read(0, Topic::Windows, 0, again.windows_to);
    a.read_done();
    let rows = a.records(Topic::Windows, 0);
    assert_eq!(rows.iter().map(|r| r.text()).collect::<Vec<_>>(), ["row-1", "row-2", "row-3"]);
    assert_eq!(rows[1].offset + 1, zero.windows_to);
    assert_eq!(rows[2].offset + 1, again.windows_to);
    Ok(())
}

pub(super) fn metadata_comes_back_byte_for_byte<L: Log>(log: &mut L) -> Arranged {
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    let size = |size_ms| SizeLedger {
        size_ms,
        since: u64::MAX,
        consumed: u64::MAX - 1,
        in_rows: 1,
        in_open: u64::MAX / 3,
        reasons: [u64::MAX, 0, 1, 2, 3, 4, 5],
    };
    let extreme = CommitMeta {
        windows_from: u64::MAX,
        windows_to: 1,
        marks_to: u64::MAX,
        floor: i64::MIN,
        log_clock: i64::MAX,
        log_clock_at_replay_from: -1,
        live_clock: i64::MIN + 1,
        epoch: u64::MAX,
        ledger: Ledger { sizes: vec![size(1), size(i64::MAX)], lost: u64::MAX },
        ..a.meta(u64::MAX)
    };
    a.committed(vec![a.at(0, 0)]);
    // The offset does not move, the way back does.
    let position = Position { partition: 0, offset: 0, meta: Some(extreme.clone()) };
    assert_eq!(a.committed(vec![position.clone()]), [(0, Some(extreme))]);
    a.leave();
    let mut b = Member::join(log, Who::coalescer("b"));
    assert_eq!(b.all_assigned(), [Some(position), None]);
    Ok(())
}

pub(super) fn outputs_become_visible_as_a_whole_or_never<L: Log>(log: &mut L) -> Arranged {
    let mut a = Member::join(log, Who::coalescer("a"));
    let mut sink = Member::join(log, Who::sink("s"));
    a.all_assigned();
    sink.start_all();
    a.row(0, "first");
    a.row(1, "first");
    a.committed(vec![a.at(0, 1), a.at(1, 1)]);
    a.row(0, "never");
    a.row(1, "never");
    log.abort_next(&mut a.outputs);
    a.commit(vec![a.at(0, 2), a.at(1, 2)]);
    let aborted = a.done();
    log.heal();
    assert!(matches!(aborted, TxnResult::Aborted { .. }), "{aborted:?}");
    assert_eq!(a.all_assigned(), [Some(a.at_windows(0, 1, 1)), Some(a.at_windows(1, 1, 1))]);
    a.row(0, "last");
    a.row(1, "last");
    a.committed(vec![a.at(0, 2), a.at(1, 2)]);
    both(&mut a, &mut sink, "rows", |_, s| {
        (0..2).all(|p| s.texts(Topic::Windows, p).last().is_some_and(|text| text == "last"))
    });
    for partition in 0..2 {
        assert_eq!(sink.texts(Topic::Windows, partition), ["first", "last"]);
    }
    Ok(())
}

pub(super) fn an_aborted_commit_starts_every_partition_over<L: Log>(log: &mut L) -> Arranged {
    let mut desk = Desk::new(log);
    (0..2).for_each(|p| desk.send(p, &["a", "b", "c"]));
    let mut a = Member::join(log, Who::coalescer("a"));
    a.start_all();
    (0..2).for_each(|p| while a.end_of(p) < 3 {});
    a.committed(vec![a.at(0, 1)]);
    log.abort_next(&mut a.outputs);
    a.commit(vec![a.at(0, 3)]);
    // More is on its way when the transaction fails.
    assert!(matches!(a.done(), TxnResult::Aborted { .. }));
    log.heal();
    let told = a.told.len();
    (0..2).for_each(|p| desk.send(p, &["d"]));
    assert_eq!(a.all_assigned(), [Some(a.at(0, 1)), None]);
    a.listen(500);
    let flowed = |told: &&Told| matches!(told, Told::Record(_) | Told::End { .. });
    assert_eq!(a.told[told..].iter().filter(flowed).count(), 0, "nothing flows until Start");
    a.start(0, Some(1));
    a.start(1, None);
    (0..2).for_each(|p| while a.end_of(p) < 4 {});
    assert_eq!(a.texts(Topic::Events, 0), ["a", "b", "c", "b", "c", "d"]);
    assert_eq!(a.texts(Topic::Events, 1), ["a", "b", "c", "a", "b", "c", "d"]);
    a.committed(vec![a.at(0, 4), a.at(1, 4)]);
    Ok(())
}

pub(super) fn a_leaving_partition_does_not_come_back_after_an_abort<L: Log>(log: &mut L) -> Arranged {
    let mut a = Member::join(log, Who::coalescer("a"));
    a.start_all();
    a.committed(vec![a.at(0, 0), a.at(1, 0)]);
    let mut b = Member::join(log, Who::coalescer("b"));
    both(&mut a, &mut b, "revocation", |a, _| !a.leaving().is_empty());
    let (leaving, staying) = (a.leaving()[0], 1 - a.leaving()[0]);
    log.abort_next(&mut a.outputs);
    a.commit(vec![a.at(leaving, 9), a.at(staying, 9)]);
    let aborted = a.done();
    log.heal();
    assert!(matches!(aborted, TxnResult::Aborted { .. }), "{aborted:?}");
    assert_eq!(a.assigned(), (staying, Some(a.at(staying, 0))));
    let since = a.told.len();
    a.listen(500);
    let came_back = |told: &Told| matches!(told, Told::Assigned { .. });
    assert!(!a.told[since..].iter().any(came_back), "{:?}", a.told);
    assert_eq!(b.holds(), [] as [u32; 0], "it is still a's to release");
    a.act(LogAction::Release { partition: leaving });
    both(&mut a, &mut b, "hand-over", |_, b| b.holds() == [leaving]);
    assert_eq!(b.assigned(), (leaving, Some(a.at(leaving, 0))), "nothing of the aborted one");
    Ok(())
}

pub(super) fn a_second_commit_is_refused_while_one_runs<L: Log>(log: &mut L) -> Arranged {
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    a.commit(vec![a.at(0, 1)]);
    let second = Commit { outputs: Outputs::new(), positions: vec![a.at(0, 2)] };
    let refused = a.attempt(LogAction::Commit(second));
    assert!(matches!(refused, Err(WorkerError::Fatal(_))), "{refused:?}");
    Ok(())
}

pub(super) fn a_commit_of_nothing_succeeds<L: Log>(log: &mut L) -> Arranged {
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    assert_eq!(a.committed(Vec::new()), []);
    a.row(0, "row"); // rows alone
    assert_eq!(a.committed(Vec::new()), []);
    a.read(0, Topic::Windows, 0, 1);
    a.read_done();
    assert_eq!(a.texts(Topic::Windows, 0), ["row"]);
    Ok(())
}

impl<L: Log> Member<L> {
    /// The position of a first commit that wrote rows up to `windows_to`.
    fn at_windows(&self, partition: u32, offset: u64, windows_to: u64) -> Position {
        let meta = CommitMeta { windows_to, ..self.meta(offset) };
        Position { partition, offset, meta: Some(meta) }
    }
}
