//! From `Assigned` to the first record.

use super::{Arranged, Desk, Log, Member, PARTITIONS, Told, Who};
use evenkeel_model::Topic;
use evenkeel_seam::{LogAction, Position, WorkerError};

pub(super) fn a_new_group_has_no_position<L: Log>(log: &mut L) -> Arranged {
    let mut a = Member::join(log, Who::coalescer("a"));
    assert_eq!(a.all_assigned(), [None, None]);
    let counts = |told: &Told| matches!(told, Told::Assigned { partitions: PARTITIONS, .. });
    assert!(a.told.iter().all(counts), "{:?}", a.told);
    Ok(())
}

pub(super) fn the_next_worker_gets_what_was_committed<L: Log>(log: &mut L) -> Arranged {
    Desk::new(log).send(0, &["a", "b"]);
    let mut first = Member::join(log, Who::coalescer("first"));
    first.start_all();
    let bare = Position { partition: 1, offset: 0, meta: None };
    let written = first.committed(vec![first.at(0, 2), bare.clone()]);
    assert_eq!(written, [(0, Some(first.meta(2))), (1, None)], "as given: nothing was written");
    first.leave();

    let mut second = Member::join(log, Who::coalescer("second"));
    assert_eq!(second.all_assigned(), [Some(first.at(0, 2)), Some(bare)]);
    Ok(())
}

pub(super) fn nothing_flows_before_start<L: Log>(log: &mut L) -> Arranged {
    Desk::new(log).send(0, &["a", "b", "c"]);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    a.listen(500);
    assert_eq!(a.told.len(), PARTITIONS as usize, "{:?}", a.told);
    a.start(0, Some(1));
    assert_eq!([a.text(), a.text()], ["b", "c"]);
    assert_eq!(a.end_of(0), 3);
    Ok(())
}

pub(super) fn start_without_an_offset_is_the_oldest<L: Log>(log: &mut L) -> Arranged {
    Desk::new(log).send(0, &["a", "b", "c"]);
    log.cut(Topic::Events, 0, 1);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    a.start(0, None);
    assert_eq!([a.text(), a.text()], ["b", "c"]);
    assert_eq!(a.records(Topic::Events, 0)[0].offset, 1, "offsets stay");
    Ok(())
}

pub(super) fn start_below_a_cut_goes_on_at_the_first_record_there_is<L: Log>(log: &mut L) -> Arranged {
    Desk::new(log).send(0, &["a", "b", "c"]);
    log.cut(Topic::Events, 0, 2);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    a.start(0, Some(0));
    assert_eq!(a.text(), "c");
    assert_eq!(a.records(Topic::Events, 0)[0].offset, 2, "the driver sees the gap");
    Ok(())
}

pub(super) fn a_start_beyond_the_end_stops_the_worker<L: Log>(log: &mut L) -> Arranged {
    Desk::new(log).send(0, &["a", "b"]);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    let error = match a.attempt(LogAction::Start { partition: 0, from: Some(99) }) {
        Ok(()) => a.stop(),
        Err(error) => error,
    };
    let place = error.to_string();
    assert!(matches!(error, WorkerError::Fatal(_)) && place.contains("99") && place.contains('2'), "{error}");
    assert_eq!(a.records(Topic::Events, 0).len(), 0);
    Ok(())
}

pub(super) fn groups_have_positions_of_their_own<L: Log>(log: &mut L) -> Arranged {
    Desk::new(log).send(0, &["a", "b"]);
    let audit = Who { service: "audit", ..Who::coalescer("audit") };
    let mut coalescer = Member::join(log, Who::coalescer("a"));
    let mut sink = Member::join(log, Who::sink("b"));
    coalescer.all_assigned();
    coalescer.row(0, "row");
    coalescer.committed(vec![coalescer.at(0, 2)]);
    assert_eq!(sink.all_assigned(), [None, None]);
    let bare = Position { partition: 0, offset: 1, meta: None };
    sink.committed(vec![bare.clone()]);
    let mut auditor = Member::join(log, audit);
    assert_eq!(auditor.all_assigned(), [None, None], "a third group on the same topic");
    coalescer.leave();
    sink.leave();

    let mut coalescer = Member::join(log, Who::coalescer("c"));
    let committed = coalescer.all_assigned();
    assert_eq!(committed[0].as_ref().map(|c| c.offset), Some(2));
    let mut sink = Member::join(log, Who::sink("d"));
    assert_eq!(sink.all_assigned(), [Some(bare), None]);
    Ok(())
}
