//! The embedded store: last write wins by revision, rows come back whole, questions are answered page by page.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evenkeel_local::{Local, LocalOptions, RowQuery, StoreReader};
use evenkeel_model::{
    ClosedBy, FieldStats, Score, ScoredEvent, SeqRange, StoredRow, StoredScore, WindowRow, WindowSpan,
};
use evenkeel_seam::{RowAction, RowKey, RowResult, Rows};
use std::time::{Duration, Instant};

fn row(stream: &str, size_ms: i64, window_id: i64, revision: u32) -> StoredRow {
    let stats = FieldStats { name: "weight".into(), count: 2, sum: 0.1 + 0.2, ..FieldStats::default() };
    let row = WindowRow {
        stream_id: stream.into(),
        span: WindowSpan { size_ms, window_id },
        closed_by: ClosedBy::Watermark,
        max_ts: 7,
        first_arrival: 1,
        last_arrival: 2,
        count: u64::from(revision) + 2,
        seqs: vec![SeqRange { lo: 1, hi: 9, count: 3 }],
        dropped: vec![],
        stats: vec![stats],
        events: None,
    };
    StoredRow { row, revision, late_offset: i64::from(revision) - 1 }
}

/// Runs actions one after the other.
fn ask(rows: &mut dyn Rows, actions: Vec<RowAction>) -> Vec<RowResult> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let wanted = actions.len();
    for (id, action) in actions.into_iter().enumerate() {
        rows.submit(id as u64, action);
    }
    let mut out = Vec::new();
    while out.len() < wanted {
        assert!(Instant::now() < deadline, "no outcome");
        rows.done(Duration::from_millis(50), &mut out);
    }
    out.sort_by_key(|(id, _)| *id);
    out.into_iter().map(|(_, result)| result).collect()
}

fn write(row: StoredRow) -> RowAction {
    RowAction::Write(Box::new(row))
}

#[test]
fn an_older_revision_loses_in_any_order_and_rows_come_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let local = Local::open(dir.path(), LocalOptions::default()).unwrap();
    let mut rows = local.rows();
    let writes = [0, 3, 1, 3].map(|revision| write(row("a", 5_000, 1, revision)));
    assert_eq!(ask(&mut rows, writes.to_vec()), vec![RowResult::Written; 4]);
    let key =
        |stream: &str| RowKey { stream_id: stream.into(), span: WindowSpan { size_ms: 5_000, window_id: 1 } };
    let got = ask(&mut rows, vec![RowAction::Read(key("a")), RowAction::Read(key("b"))]);
    assert_eq!(got[0], RowResult::Read(Some(Box::new(row("a", 5_000, 1, 3)))));
    assert_eq!(got[1], RowResult::Read(None));
}

#[test]
fn rows_are_there_after_a_restart_and_a_reader_works_beside_the_owner() {
    let dir = tempfile::tempdir().unwrap();
    let local = Local::open(dir.path(), LocalOptions::default()).unwrap();
    let writes = (0..2_500).map(|id| write(row(&format!("s{}", id % 3), 5_000, id / 3, 0))).collect();
    ask(&mut local.rows(), writes);
    let beside = count(&StoreReader::open(dir.path()).unwrap(), RowQuery::default());
    assert_eq!(beside, 2_500);
    drop(local);
    let local = Local::open(dir.path(), LocalOptions::default()).unwrap();
    assert_eq!(count(&local.store().unwrap(), RowQuery::default()), 2_500);
}

#[test]
fn questions_choose_by_stream_size_time_and_newest() {
    let dir = tempfile::tempdir().unwrap();
    let local = Local::open(dir.path(), LocalOptions::default()).unwrap();
    let mut writes = Vec::new();
    for stream in ["a", "b", "c"] {
        writes.extend((0..4).map(|id| write(row(stream, 5_000, id, 0))));
        writes.push(write(row(stream, 60_000, 0, 0)));
    }
    ask(&mut local.rows(), writes);
    let store = local.store().unwrap();
    let all = |query: RowQuery| -> Vec<(String, i64, i64)> {
        let mut pages = store.rows(query).unwrap();
        let mut all = Vec::new();
        loop {
            let page = pages.next_page().unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page.into_iter().map(|r| (r.row.stream_id, r.row.span.size_ms, r.row.span.t_start())));
        }
    };
    assert_eq!(all(RowQuery::default()).len(), 15);
    let b = all(RowQuery { stream: Some("b".into()), size_ms: Some(5_000), ..RowQuery::default() });
    assert_eq!(b, (0..4).map(|id| ("b".to_owned(), 5_000, id * 5_000)).collect::<Vec<_>>());
    let timed = all(RowQuery { from: Some(5_000), to: Some(15_000), ..RowQuery::default() });
    assert_eq!(timed.len(), 6);
    let latest = all(RowQuery { latest: true, size_ms: Some(5_000), ..RowQuery::default() });
    assert_eq!(latest, ["a", "b", "c"].map(|s| (s.to_owned(), 5_000, 15_000)).to_vec());
    let (heard, total) = store.heard_last(5_000, 2).unwrap();
    let heard: Vec<_> =
        heard.iter().map(|row| (row.row.stream_id.as_str(), row.row.span.t_start())).collect();
    assert_eq!((heard, total), (vec![("a", 15_000), ("b", 15_000)], 3));
    let one = all(RowQuery { latest: true, stream: Some("c".into()), ..RowQuery::default() });
    assert_eq!(one.len(), 2);
}

fn score(stream: &str, window_id: i64, event: Option<i64>) -> Score {
    Score {
        stream_id: stream.into(),
        span: WindowSpan { size_ms: 5_000, window_id },
        event: event.map(|ts| ScoredEvent { ts, seq: None }),
        model: "m".into(),
        version: "1".into(),
        shadow: false,
        score: window_id as f64 / 3.0,
        threshold: event.is_none().then_some(0.5),
        prediction: false,
        last_arrival: 7,
    }
}

#[test]
fn a_score_written_again_is_one_and_questions_choose() {
    let dir = tempfile::tempdir().unwrap();
    let local = Local::open(dir.path(), LocalOptions::default()).unwrap();
    let mut all = Vec::new();
    for stream in ["a", "b"] {
        all.extend((0..1_500).map(|id| StoredScore::at(id as u64, score(stream, id, None))));
    }
    let events = [20, 21].map(|offset| StoredScore::at(offset, score("b", 1_500, Some(9))));
    let shadow = StoredScore::at(22, Score { shadow: true, ..score("b", 1_500, None) });
    all.extend(events.into_iter().chain([shadow]));
    for _ in 0..2 {
        let writes = all.iter().map(|stored| RowAction::Score(Box::new(stored.clone()))).collect();
        assert!(ask(&mut local.rows(), writes).iter().all(|result| *result == RowResult::Written));
    }
    let store = local.store().unwrap();
    let read = |query: RowQuery| {
        let mut pages = store.scores(query).unwrap();
        std::iter::from_fn(|| Some(pages.next_page().unwrap()).filter(|page| !page.is_empty()))
            .flatten()
            .collect::<Vec<_>>()
    };
    assert!(read(RowQuery::default()) == all, "whole, in order, each once");
    let b = read(RowQuery { stream: Some("b".into()), from: Some(7_499_000), ..RowQuery::default() });
    assert!(b == all[3_000..]);
    let to = read(RowQuery { to: Some(5_000), ..RowQuery::default() });
    assert_eq!(to.iter().map(|s| s.score.stream_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(read(RowQuery { size_ms: Some(1), ..RowQuery::default() }).is_empty());
}

#[test]
fn a_store_from_before_there_were_scores_takes_them() {
    let dir = tempfile::tempdir().unwrap();
    drop(Local::open(dir.path(), LocalOptions::default()).unwrap());
    let conn = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    conn.execute_batch("DROP TABLE score").unwrap();
    drop(conn);
    let pages = StoreReader::open(dir.path()).unwrap();
    assert!(pages.scores(RowQuery::default()).unwrap().next_page().unwrap().is_empty());
    let local = Local::open(dir.path(), LocalOptions::default()).unwrap();
    let write = RowAction::Score(Box::new(StoredScore::at(0, score("a", 1, None))));
    assert_eq!(ask(&mut local.rows(), vec![write]), vec![RowResult::Written]);
}

#[test]
fn a_row_past_its_time_to_live_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let options = LocalOptions { row_ttl_ms: Some(1_000), ..LocalOptions::default() };
    let local = Local::open(dir.path(), options).unwrap();
    let score = RowAction::Score(Box::new(StoredScore::at(0, score("a", 1, None))));
    let results = ask(&mut local.rows(), vec![write(row("a", 5_000, 1, 0)), score]);
    assert_eq!(results, vec![RowResult::Expired; 2]);
}

#[test]
fn a_full_store_is_unavailable_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = LocalOptions { store_bytes_max: Some(128 << 10), ..LocalOptions::default() };
    let local = Local::open(dir.path(), options).unwrap();
    let writes = (0..2_000).map(|id| write(row("a", 5_000, id, 0))).collect();
    let results = ask(&mut local.rows(), writes);
    let written = results.iter().filter(|r| **r == RowResult::Written).count();
    let away = results.iter().find_map(|r| match r {
        RowResult::Unavailable(why) => Some(why.clone()),
        _ => None,
    });
    assert!(away.unwrap().contains("free space on its disk"));
    assert!(written > 0);
    assert_eq!(count(&local.store().unwrap(), RowQuery::default()), written);
}

fn count(store: &StoreReader, query: RowQuery) -> usize {
    let mut pages = store.rows(query).unwrap();
    let mut n = 0;
    loop {
        match pages.next_page().unwrap().len() {
            0 => return n,
            more => n += more,
        }
    }
}
