//! How partitions change hands: asked for, given up, left behind by the dead.

use super::member::put;
use super::{Arranged, Desk, Log, Member, PARTITIONS, Told, Who, both};
use evenkeel_model::Topic;
use evenkeel_seam::{Commit, LogAction, Outputs, TxnResult, Worker as _, WorkerError};

pub(super) fn a_joining_worker_goes_on_where_the_last_commit_stands<L: Log>(log: &mut L) -> Arranged {
    let mut desk = Desk::new(log);
    (0..PARTITIONS).for_each(|p| desk.send(p, &["a", "b"]));
    let mut a = Member::join(log, Who::coalescer("a"));
    a.start_all();
    // Past the end of each log: the rebalance must not skip what comes next.
    (0..PARTITIONS).for_each(|p| while a.end_of(p) < 2 {});
    let mut b = Member::join(log, Who::coalescer("b"));
    both(&mut a, &mut b, "revocation", |a, _| !a.leaving().is_empty());
    let lost = |told: &Told| matches!(told, Told::Revoking { lost: true, .. });
    assert!(!a.told.iter().any(lost), "{:?}", a.told);
    let leaving = a.leaving()[0];
    assert_eq!(a.leaving(), [leaving], "half of them");
    desk.send(leaving, &["c"]);
    a.committed(vec![a.at(leaving, 2)]);
    let released = a.told.len();
    a.act(LogAction::Release { partition: leaving });
    both(&mut a, &mut b, "hand-over", |_, b| b.holds() == [leaving]);
    assert_eq!(b.assigned(), (leaving, Some(a.at(leaving, 2))));
    b.start(leaving, Some(2));
    desk.send(1 - leaving, &["c"]);
    both(&mut a, &mut b, "records", |a, b| {
        b.texts(Topic::Events, leaving).len() == 1 && a.texts(Topic::Events, 1 - leaving).len() == 3
    });
    assert_eq!(b.texts(Topic::Events, leaving), ["c"]);
    assert_eq!(a.texts(Topic::Events, leaving), ["a", "b"], "once in the group");
    let again = |told: &Told| matches!(told, Told::Assigned { .. });
    assert!(!a.told[released..].iter().any(again), "the others keep what they hold");
    Ok(())
}

pub(super) fn a_partition_given_up_unasked_is_free_at_close_at_the_latest<L: Log>(log: &mut L) -> Arranged {
    let mut a = Member::join(log, Who::coalescer("a"));
    a.start_all();
    a.committed(vec![a.at(0, 0), a.at(1, 0)]);
    // As in a drain: first one, then the other, then the group.
    a.act(LogAction::Release { partition: 1 });
    let since = a.told.len();
    a.listen(500);
    let again = |told: &Told| matches!(told, Told::Assigned { partition: 1, .. });
    assert!(!a.told[since..].iter().any(again), "given up is given up: {:?}", a.told);
    a.committed(vec![a.at(0, 0)]);
    a.act(LogAction::Release { partition: 0 });
    let closed = a.worker.close();
    assert!(closed.is_ok(), "{closed:?}");
    let mut b = Member::join(log, Who::coalescer("b"));
    let committed = b.all_assigned();
    assert!(committed.iter().all(Option::is_some), "{committed:?}");
    Ok(())
}

pub(super) fn a_killed_workers_partitions_go_to_the_heir<L: Log>(log: &mut L) -> Arranged {
    Desk::new(log).send(0, &["a", "b"]);
    let mut a = Member::join(log, Who::coalescer("a").doomed());
    a.start_all();
    a.committed(vec![a.at(0, 1)]);
    let (want, Member { worker, .. }) = (a.at(0, 1), a);
    log.kill(worker);
    let mut heir = Member::join(log, Who::coalescer("heir"));
    assert_eq!(heir.all_assigned(), [Some(want), None]);
    heir.start(0, Some(1));
    assert_eq!(heir.text(), "b");
    heir.committed(vec![heir.at(0, 2)]);
    Ok(())
}

pub(super) fn a_killed_workers_open_transaction_is_never_seen<L: Log>(log: &mut L) -> Arranged {
    let who = Who::coalescer("a").doomed();
    let mut a = Member::join(log, who);
    a.start_all();
    a.committed(vec![a.at(0, 0)]);
    let mut outputs = Outputs::new();
    put(&mut outputs, Topic::Windows, 0, "s", "half");
    let (positions, want) = (vec![a.at(0, 7)], a.at(0, 0));
    log.kill_in_commit(who, a.worker, Commit { outputs, positions })?;
    let mut heir = Member::join(log, Who::coalescer("heir"));
    assert_eq!(heir.all_assigned(), [Some(want), None], "the second commit did not happen");
    heir.row(0, "whole");
    heir.committed(vec![heir.at(0, 1)]);
    let mut sink = Member::join(log, Who::sink("s"));
    sink.start_all();
    assert_eq!(sink.text(), "whole");
    Ok(())
}

pub(super) fn a_zombie_commits_nothing<L: Log>(log: &mut L) -> Arranged {
    let mut zombie = Member::join(log, Who::coalescer("zombie").doomed());
    zombie.start_all();
    zombie.committed(vec![zombie.at(0, 1)]);
    log.stand_still(&mut zombie.worker);
    let mut heir = Member::join(log, Who::coalescer("heir"));
    assert_eq!(heir.all_assigned(), [Some(zombie.at(0, 1)), None]);
    heir.committed(vec![heir.at(0, 2), heir.at(1, 2)]);
    log.go_on(&mut zombie.worker);
    let since = zombie.told.len();
    // It knows nothing yet, and its tick is due.
    zombie.row(0, "late");
    let outputs = std::mem::take(&mut zombie.outputs);
    let positions = vec![zombie.at(0, 9), zombie.at(1, 9)];
    let stopped = match zombie.attempt(LogAction::Commit(Commit { outputs, positions })) {
        Ok(()) => learns(&mut zombie, &mut heir, since),
        Err(error) => Some(error),
    };
    let lost = |told: &Told| matches!(told, Told::Revoking { lost: true, .. });
    match stopped {
        Some(error) => assert!(matches!(error, WorkerError::Fenced(_)), "{error}"),
        None => assert!(zombie.told[since..].iter().any(lost), "{:?}", zombie.told),
    }
    // What counts: neither the row nor the offset.
    heir.row(0, "heir's");
    heir.committed(vec![heir.at(0, 3), heir.at(1, 3)]);
    heir.leave();
    drop(zombie);
    let mut last = Member::join(log, Who::coalescer("last"));
    let committed = last.all_assigned();
    assert!(committed.iter().all(|c| c.as_ref().is_some_and(|c| c.offset == 3)), "{committed:?}");
    let mut sink = Member::join(log, Who::sink("s"));
    sink.start_all();
    assert_eq!(sink.text(), "heir's");
    Ok(())
}

/// Polls both until the first has learnt that it is out: by a loss and an outcome, or by its end.
fn learns<L: Log>(zombie: &mut Member<L>, heir: &mut Member<L>, since: usize) -> Option<WorkerError> {
    for _ in 0..1_000 {
        if let Err(error) = zombie.poll() {
            return Some(error);
        }
        let _ = heir.poll();
        let told = &zombie.told[since..];
        let committed = told.iter().any(|t| matches!(t, Told::Done(TxnResult::Committed(_))));
        assert!(!committed, "the zombie committed: {told:?}");
        let lost = told.iter().any(|t| matches!(t, Told::Revoking { lost: true, .. }));
        if lost && told.iter().any(|t| matches!(t, Told::Done(_))) {
            return None;
        }
    }
    panic!("it never learns: {:#?}", zombie.told)
}

pub(super) fn a_second_worker_under_one_id_fences_the_first<L: Log>(log: &mut L) -> Arranged {
    log.can_share_an_id()?;
    let mut first = Member::join(log, Who::coalescer("same"));
    first.start_all();
    first.committed(vec![first.at(0, 0)]);
    let mut second = Member::join(log, Who::coalescer("same"));
    first.row(0, "late");
    first.commit(vec![first.at(0, 9)]);
    let since = first.told.len();
    let error = first.stop();
    assert!(matches!(error, WorkerError::Fenced(_)), "{error}");
    assert!(!first.told[since..].iter().any(|t| matches!(t, Told::Done(_))), "{:?}", first.told);
    assert!(first.poll().is_err(), "it stays stopped");
    drop(first);
    assert_eq!(second.all_assigned(), [Some(second.at(0, 0)), None]);
    second.row(0, "row");
    second.committed(vec![second.at(0, 1)]);
    second.read(0, Topic::Windows, 0, 1);
    second.read_done();
    Ok(())
}
