//! The contract suite on the embedded log.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evenkeel_local::{Local, LocalAppender, LocalOptions, LocalWorker};
use evenkeel_model::Topic;
use evenkeel_scenarios::contract::{Arranged, Log, PARTITIONS, Unarranged, Who};
use evenkeel_scenarios::contract_tests;
use evenkeel_seam::{Commit, Outputs};
use rusqlite::Connection;
use std::time::{SystemTime, UNIX_EPOCH};

/// Each with the reason that [`Embedded`] gives.
const CANNOT: &[&str] = &[
    "an_open_transaction_holds_the_flow_back",
    "a_read_waits_until_its_end_is_reached",
    "a_read_leaves_aborted_records_out",
    "a_killed_workers_open_transaction_is_never_seen",
    "a_second_worker_under_one_id_fences_the_first",
];

contract_tests!(fresh, CANNOT);

const WHOLE: Unarranged = Unarranged(
    "a commit is one SQL transaction of the writer: nothing of it lies in the log before all of it does",
);

struct Embedded {
    local: Local,
    dir: tempfile::TempDir,
    /// Another program that holds the write lock of `log.db`.
    intruder: Option<Connection>,
}

fn fresh(_case: &str) -> Embedded {
    let dir = tempfile::tempdir().unwrap();
    let options = LocalOptions { partitions: Some(PARTITIONS), busy_wait_ms: 50, ..LocalOptions::default() };
    Embedded { local: Local::open(dir.path(), options).unwrap(), dir, intruder: None }
}

impl Log for Embedded {
    type Worker = LocalWorker;
    type Appender = LocalAppender;

    fn clock(&self) -> Box<dyn Fn() -> i64> {
        Box::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64)
    }

    fn join(&mut self, who: Who<'_>) -> LocalWorker {
        let mut worker = self.local.worker(who.service, who.topic).unwrap();
        worker.read_headers(true);
        worker
    }

    fn appender(&mut self) -> LocalAppender {
        self.local.appender()
    }

    fn kill(&mut self, worker: LocalWorker) {
        drop(worker);
    }

    fn kill_in_commit(&mut self, _who: Who<'_>, _worker: LocalWorker, _commit: Commit) -> Arranged {
        Err(WHOLE)
    }

    fn stand_still(&mut self, worker: &mut LocalWorker) {
        self.local.expel(worker.id()); // there are no heartbeats: a watchdog does it
    }

    fn go_on(&mut self, _worker: &mut LocalWorker) {}

    fn can_share_an_id(&self) -> Arranged {
        Err(Unarranged("there are no transactional ids; member numbers are given once and never again"))
    }

    fn cut(&mut self, topic: Topic, partition: u32, before: u64) {
        self.local.trim_before(topic, partition, before).unwrap();
    }

    fn compact_marks(&mut self, _partition: u32) -> Arranged {
        Ok(()) // a newer mark replaces the older one when it is appended
    }

    fn abort_next(&mut self, _outputs: &mut Outputs) {
        let conn = Connection::open(self.dir.path().join("log.db")).unwrap();
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        self.intruder = Some(conn);
    }

    fn heal(&mut self) {
        self.intruder = None; // closing rolls back
    }

    fn refuse_next(&mut self, records: &mut Outputs) {
        records.push(Topic::Events, PARTITIONS + 7, None, &[], |_| {}); // no such partition
    }

    fn open(&mut self, _outputs: &Outputs) -> Arranged {
        Err(WHOLE)
    }

    fn end_open(&mut self, _commit: bool) {}
}
