//! The simulated store: `seam::Rows` with last-write-wins, latency, outages and writes of unknown outcome.
//!
//! Owns: what is stored, and every content ever written per (key, revision). A write of unknown outcome is
//! answered `Unavailable`, whatever became of it; a delayed one lands after younger writes. Handles of dead
//! sinks keep landing what they had sent.

use evenkeel_model::{StoredRow, StoredScore};
use evenkeel_scenarios::{Contents, Unknown, Violation};
use evenkeel_seam::{RowAction, RowKey, RowResult, Rows};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How the store misbehaves from now on.
#[derive(Debug, Clone)]
pub struct StoreFaults {
    /// Everything is refused as unavailable before this time, ms.
    pub down_until_ms: i64,
    /// Writes are delayed before this time, ms.
    pub slow_until_ms: i64,
    /// By so much, ms.
    pub delay_ms: i64,
    /// The n-th write from now has an unknown outcome; and whether its sink dies of it.
    pub unknown: Option<(u32, Unknown, bool)>,
}

/// How long an action takes, ms.
const ACTION_MS: i64 = 4;
/// How much later a delayed write lands, ms.
const LANDS_LATER_MS: i64 = 3_000;
/// When a lost answer is given up, ms.
const ANSWER_TIMEOUT_MS: i64 = 500;

/// What a store has seen.
#[derive(Debug)]
pub struct Store {
    now_ms: i64,
    rows: BTreeMap<RowKey, StoredRow>,
    scores: BTreeMap<ScoreKey, StoredScore>,
    due: BTreeMap<(i64, u64), Due>,
    numbers: u64,
    contents: Contents,
    violations: Vec<Violation>,
    writes: u64,
    /// Handles whose sink has to die now.
    doomed: Vec<u64>,
    answers: BTreeMap<u64, Vec<(u64, RowResult)>>,
    /// Faults from now on.
    pub faults: StoreFaults,
}

/// Stream, size, window, version, role, place; the simulation has one model.
type ScoreKey = (String, i64, i64, String, bool, i64);

#[derive(Debug)]
enum Due {
    /// Look, write or refuse, and answer the handle under the id.
    Act { handle: u64, id: u64, action: RowAction },
    /// Answer only.
    Answer { handle: u64, id: u64, result: RowResult },
    /// A delayed write lands; nobody is told.
    Land(RowAction),
}

/// The store, shared by all its handles.
#[derive(Debug, Clone)]
pub struct SimStore {
    store: Arc<Mutex<Store>>,
}

/// One sink's connection.
#[derive(Debug)]
pub struct SimRows {
    store: SimStore,
    handle: u64,
}

impl SimStore {
    /// An empty store at a virtual time.
    pub fn new(now_ms: i64) -> Self {
        let faults =
            StoreFaults { down_until_ms: i64::MIN, slow_until_ms: i64::MIN, delay_ms: 0, unknown: None };
        let store = Store {
            now_ms,
            rows: BTreeMap::new(),
            scores: BTreeMap::new(),
            due: BTreeMap::new(),
            numbers: 0,
            contents: Contents::default(),
            violations: Vec::new(),
            writes: 0,
            doomed: Vec::new(),
            answers: BTreeMap::new(),
            faults,
        };
        Self { store: Arc::new(Mutex::new(store)) }
    }

    /// A new connection.
    pub fn connect(&self) -> SimRows {
        let handle = self.get().number();
        SimRows { store: self.clone(), handle }
    }

    /// The store, for as long as the guard lives.
    pub fn get(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// What is stored.
    pub fn rows(&self) -> impl Iterator<Item = &StoredRow> {
        self.rows.values()
    }

    /// Scores that are stored.
    pub fn scores(&self) -> impl Iterator<Item = &StoredScore> {
        self.scores.values()
    }

    /// Writes that reached the store so far.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// Whether nothing is on its way any more.
    pub fn is_quiet(&self) -> bool {
        self.due.is_empty()
    }

    /// Broken rules seen so far; forgets them.
    pub fn take_violations(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.violations)
    }

    /// Whether the sink behind a handle has to die now (once).
    pub fn is_doomed(&mut self, rows: &SimRows) -> bool {
        let at = self.doomed.iter().position(|handle| *handle == rows.handle);
        at.map(|at| self.doomed.swap_remove(at)).is_some()
    }

    /// Lets time pass.
    pub fn advance_to(&mut self, to_ms: i64) {
        while let Some((&(at, number), _)) = self.due.first_key_value().filter(|((at, _), _)| *at <= to_ms) {
            self.now_ms = self.now_ms.max(at);
            match self.due.remove(&(at, number)) {
                Some(Due::Act { handle, id, action }) => self.act(handle, id, action),
                Some(Due::Answer { handle, id, result }) => self.answer(handle, id, result),
                Some(Due::Land(write)) => self.land(write),
                None => {}
            }
        }
        self.now_ms = self.now_ms.max(to_ms);
    }

    fn act(&mut self, handle: u64, id: u64, action: RowAction) {
        if self.now_ms < self.faults.down_until_ms {
            return self.answer(handle, id, RowResult::Unavailable("the store is down".into()));
        }
        match action {
            RowAction::Read(key) => {
                let found = self.rows.get(&key).cloned().map(Box::new);
                self.answer(handle, id, RowResult::Read(found));
            }
            write @ (RowAction::Write(_) | RowAction::Score(_)) => match self.next_unknown() {
                None => {
                    self.land(write);
                    self.answer(handle, id, RowResult::Written);
                }
                Some((outcome, kills)) => {
                    match outcome {
                        Unknown::Applied => self.land(write),
                        Unknown::Delayed => self.later(LANDS_LATER_MS, Due::Land(write)),
                        Unknown::Lost => {}
                    }
                    if kills {
                        self.doomed.push(handle);
                    }
                    let result = RowResult::Unavailable("no answer in time".into());
                    self.later(ANSWER_TIMEOUT_MS, Due::Answer { handle, id, result });
                }
            },
        }
    }

    fn land(&mut self, write: RowAction) {
        match write {
            RowAction::Read(_) => {}
            RowAction::Write(row) => self.write(*row),
            RowAction::Score(stored) => {
                self.writes += 1;
                let StoredScore { score: s, place } = &*stored;
                let key = (
                    s.stream_id.clone(),
                    s.span.size_ms,
                    s.span.window_id,
                    s.version.clone(),
                    s.shadow,
                    *place,
                );
                self.scores.insert(key, *stored);
            }
        }
    }

    /// Counts a write towards the planned unknown outcome.
    fn next_unknown(&mut self) -> Option<(Unknown, bool)> {
        match &mut self.faults.unknown {
            Some((0, outcome, kills)) => {
                let found = (*outcome, *kills);
                self.faults.unknown = None;
                Some(found)
            }
            Some((left, _, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }

    /// `USING TIMESTAMP = t_end_µs + revision`: within one key the revision decides; of equal ones the
    /// first stays (that they are equal in content is checked).
    fn write(&mut self, row: StoredRow) {
        self.writes += 1;
        self.violations.extend(self.contents.write(&row));
        let key = RowKey { stream_id: row.row.stream_id.clone(), span: row.row.span };
        match self.rows.get(&key) {
            Some(stored) if stored.revision >= row.revision => {}
            _ => {
                self.rows.insert(key, row);
            }
        }
    }

    fn answer(&mut self, handle: u64, id: u64, result: RowResult) {
        self.answers.entry(handle).or_default().push((id, result));
    }

    fn later(&mut self, in_ms: i64, due: Due) {
        let number = self.number();
        self.due.insert((self.now_ms + in_ms, number), due);
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

impl Rows for SimRows {
    fn submit(&mut self, id: u64, action: RowAction) {
        let mut store = self.store.get();
        let slow = store.now_ms < store.faults.slow_until_ms;
        let delay = if slow { store.faults.delay_ms } else { 0 };
        store.later(ACTION_MS + delay, Due::Act { handle: self.handle, id, action });
    }

    fn done(&mut self, wait: Duration, out: &mut Vec<(u64, RowResult)>) {
        let mut store = self.store.get();
        let until = store.now_ms + i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 4);
        loop {
            if let Some(answers) = store.answers.get_mut(&self.handle).filter(|answers| !answers.is_empty()) {
                out.append(answers);
                return;
            }
            if store.now_ms >= until {
                return;
            }
            let next = store.due.first_key_value().map_or(until, |((at, _), _)| *at);
            store.advance_to(next.min(until));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::{ClosedBy, WindowRow, WindowSpan};

    fn row(revision: u32) -> StoredRow {
        let row = WindowRow {
            stream_id: "s".into(),
            span: WindowSpan { size_ms: 5_000, window_id: 1 },
            closed_by: ClosedBy::Watermark,
            max_ts: 0,
            first_arrival: 0,
            last_arrival: 0,
            count: u64::from(revision) + 1,
            seqs: vec![],
            dropped: vec![],
            stats: vec![],
            events: None,
        };
        StoredRow { row, revision, late_offset: i64::from(revision) - 1 }
    }

    fn done(rows: &mut SimRows) -> Vec<(u64, RowResult)> {
        let mut out = Vec::new();
        rows.done(Duration::from_secs(1), &mut out);
        out
    }

    #[test]
    fn an_older_revision_that_lands_late_loses() {
        let store = SimStore::new(0);
        let mut rows = store.connect();
        store.get().faults.unknown = Some((0, Unknown::Delayed, false));
        rows.submit(1, RowAction::Write(Box::new(row(0))));
        assert!(matches!(done(&mut rows)[..], [(1, RowResult::Unavailable(_))]));
        rows.submit(2, RowAction::Write(Box::new(row(0))));
        assert_eq!(done(&mut rows), [(2, RowResult::Written)]);
        rows.submit(3, RowAction::Write(Box::new(row(1))));
        assert_eq!(done(&mut rows), [(3, RowResult::Written)]);
        store.get().advance_to(60_000);
        assert!(store.get().is_quiet());
        assert_eq!(store.get().rows().map(|row| row.revision).collect::<Vec<_>>(), [1]);
        assert_eq!(store.get().writes(), 3);
        assert_eq!(store.get().take_violations(), []);
    }

    #[test]
    fn two_contents_of_one_revision_are_noticed_and_an_outage_is_answered() {
        let store = SimStore::new(0);
        let mut rows = store.connect();
        let mut other = row(0);
        other.row.count = 7;
        for (id, row) in [(1, row(0)), (2, other)] {
            rows.submit(id, RowAction::Write(Box::new(row)));
            done(&mut rows);
        }
        assert_eq!(store.get().take_violations().len(), 1);
        store.get().faults.down_until_ms = 10_000;
        rows.submit(3, RowAction::Read(RowKey { stream_id: "s".into(), span: row(0).row.span }));
        assert!(matches!(done(&mut rows)[..], [(3, RowResult::Unavailable(_))]));
    }
}
