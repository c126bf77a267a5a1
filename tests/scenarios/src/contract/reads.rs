//! Recovery reads: bounded stretches of a log, beside the partitions that flow.

use super::member::put;
use super::{Arranged, Desk, Log, Member, Told, Who};
use evenkeel_model::Topic;
use evenkeel_seam::{LogAction, Outputs};
use std::collections::BTreeMap;

pub(super) fn a_read_brings_its_stretch_while_others_flow<L: Log>(log: &mut L) -> Arranged {
    let mut desk = Desk::new(log);
    desk.send(0, &["a", "b", "c", "d"]);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    for text in ["1", "2", "3"] {
        a.row(0, text);
        put(&mut a.outputs, Topic::Marks, 0, text, text);
    }
    let written = a.committed(vec![a.at(0, 4)]);
    let Some((0, Some(meta))) = written.first() else { panic!("{written:?}") };
    a.start(1, None);
    desk.send(1, &["x"]);
    assert_eq!(a.text(), "x");
    // From is respected, to is the first that is not read.
    a.read(0, Topic::Marks, 1, meta.marks_to);
    assert_eq!(a.read_done(), (0, Topic::Marks, 0, 3));
    a.read(0, Topic::Windows, 0, 2);
    assert_eq!(a.read_done(), (0, Topic::Windows, 0, 2));
    desk.send(1, &["y"]);
    a.act(LogAction::Read { partition: 0, topic: Topic::Events, from: 1, to: 3, committed_only: false });
    assert_eq!(a.read_done(), (0, Topic::Events, 0, 3));
    assert_eq!(a.texts(Topic::Marks, 0), ["2", "3"]);
    assert_eq!(a.texts(Topic::Windows, 0), ["1", "2"]);
    assert_eq!(a.texts(Topic::Events, 0), ["b", "c"]);
    a.start(0, Some(4));
    desk.send(0, &["e"]);
    while a.end_of(0) < 5 || a.texts(Topic::Events, 1).len() < 2 {}
    assert_eq!(a.texts(Topic::Events, 0), ["b", "c", "e"], "Start is a place of its own");
    assert_eq!(a.texts(Topic::Events, 1), ["x", "y"]);
    Ok(())
}

pub(super) fn a_read_waits_until_its_end_is_reached<L: Log>(log: &mut L) -> Arranged {
    let mut desk = Desk::new(log);
    log.open(&rows(&["open"]))?;
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    a.start(1, None);
    a.row(0, "row");
    let written = a.committed(vec![a.at(0, 0)]);
    let Some((0, Some(meta))) = written.first() else { panic!("{written:?}") };
    assert_eq!(meta.windows_to, 2, "behind the open one");
    a.read(0, Topic::Windows, 0, meta.windows_to);
    a.listen(500);
    assert!(!a.told.iter().any(|told| matches!(told, Told::ReadDone { .. })), "{:?}", a.told);
    assert_eq!(a.texts(Topic::Windows, 0), [] as [&str; 0], "an open transaction ends the readable log");
    desk.send(1, &["x"]);
    assert_eq!(a.text(), "x", "others go on");
    log.end_open(true);
    assert_eq!(a.read_done(), (0, Topic::Windows, 0, 2));
    assert_eq!(a.texts(Topic::Windows, 0), ["open", "row"]);
    Ok(())
}

pub(super) fn a_read_leaves_aborted_records_out<L: Log>(log: &mut L) -> Arranged {
    log.open(&rows(&["never", "seen"]))?;
    log.end_open(false);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    a.row(0, "row");
    let written = a.committed(vec![a.at(0, 0)]);
    let Some((0, Some(meta))) = written.first() else { panic!("{written:?}") };
    assert_eq!(meta.windows_to, 4, "two aborted, their marker, the row");
    a.read(0, Topic::Windows, 0, meta.windows_to);
    assert_eq!(a.read_done(), (0, Topic::Windows, 0, 4));
    assert_eq!(a.texts(Topic::Windows, 0), ["row"]);
    // The end of a read may lie among them.
    a.read(0, Topic::Windows, 0, 2);
    assert_eq!(a.read_done(), (0, Topic::Windows, 0, 2));
    assert_eq!(a.texts(Topic::Windows, 0).len(), 1);
    let mut sink = Member::join(log, Who::sink("s"));
    sink.start_all();
    assert_eq!(sink.text(), "row");
    Ok(())
}

pub(super) fn a_read_of_a_cut_log_says_where_it_begins<L: Log>(log: &mut L) -> Arranged {
    Desk::new(log).send(0, &["a", "b", "c", "d", "e"]);
    log.cut(Topic::Events, 0, 3);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    let read =
        |from, to| LogAction::Read { partition: 0, topic: Topic::Events, from, to, committed_only: false };
    a.act(read(1, 5));
    assert_eq!(a.read_done(), (0, Topic::Events, 3, 5));
    assert_eq!(a.texts(Topic::Events, 0), ["d", "e"]);
    a.act(read(0, 2));
    assert_eq!(a.read_done(), (0, Topic::Events, 3, 2), "all of it is gone");
    assert_eq!(a.texts(Topic::Events, 0).len(), 2);
    Ok(())
}

pub(super) fn a_read_past_the_end_says_how_far_the_log_goes<L: Log>(log: &mut L) -> Arranged {
    Desk::new(log).send(0, &["a", "b"]);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    a.act(LogAction::Read { partition: 0, topic: Topic::Events, from: 1, to: 9, committed_only: false });
    assert_eq!(a.read_done(), (0, Topic::Events, 0, 2), "next < to: it ends before");
    assert_eq!(a.texts(Topic::Events, 0), ["b"]);
    a.read(0, Topic::Marks, 0, 3);
    assert_eq!(a.read_done(), (0, Topic::Marks, 0, 0), "an empty log");
    Ok(())
}

pub(super) fn an_empty_read_is_done_at_once<L: Log>(log: &mut L) -> Arranged {
    Desk::new(log).send(0, &["a", "b"]);
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    a.read(0, Topic::Events, 1, 1);
    assert_eq!(a.read_done(), (0, Topic::Events, 0, 1));
    a.read(0, Topic::Marks, 0, 0);
    assert_eq!(a.read_done(), (0, Topic::Marks, 0, 0));
    assert!(!a.told.iter().any(|told| matches!(told, Told::Record(_))), "{:?}", a.told);
    Ok(())
}

pub(super) fn a_read_of_compacted_marks_finds_the_newest_of_each_key<L: Log>(log: &mut L) -> Arranged {
    let mut a = Member::join(log, Who::coalescer("a"));
    a.all_assigned();
    let mut to = 0;
    for round in 0..4 {
        for key in ["x", "y", "z"].iter().take(4 - round) {
            put(&mut a.outputs, Topic::Marks, 0, key, &format!("{key}{round}"));
        }
        let written = a.committed(vec![a.at(0, 0)]);
        to = written.first().and_then(|(_, meta)| meta.as_ref()).map_or(0, |meta| meta.marks_to);
    }
    log.compact_marks(0)?;
    a.read(0, Topic::Marks, 0, to);
    assert_eq!(a.read_done(), (0, Topic::Marks, 0, to));
    let mut newest: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    for seen in a.records(Topic::Marks, 0) {
        let before = newest.insert(seen.key.clone().unwrap_or_default(), seen.text());
        assert_eq!(before, None, "an older mark was left");
    }
    assert_eq!(newest.into_values().collect::<Vec<_>>(), ["x3", "y2", "z1"]);
    Ok(())
}

fn rows(texts: &[&str]) -> Outputs {
    let mut rows = Outputs::new();
    texts.iter().for_each(|text| put(&mut rows, Topic::Windows, 0, "s", text));
    rows
}
