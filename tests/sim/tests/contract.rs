//! The contract suite on the simulated log.

use evenkeel_model::Topic;
use evenkeel_scenarios::contract::{Arranged, Log, PARTITIONS, Who};
use evenkeel_scenarios::contract_tests;
use evenkeel_seam::{Commit, LogAction, Outputs, Worker as _};
use evenkeel_sim::log::{Record, SimAppender, SimLog, SimWorker, TxnId, WorkerOptions};

const NOW_MS: i64 = 1_700_000_000_000;
/// The first transaction of somebody outside; the log's own numbers do not come near.
const STRANGER: TxnId = u64::MAX / 2;
/// Longer than a session.
const STANDSTILL_MS: i64 = 20_000;

/// It can arrange everything.
const CANNOT: &[&str] = &[];

contract_tests!(fresh, CANNOT);

struct Simulated {
    log: SimLog,
    /// The open transaction, or the next one.
    stranger: TxnId,
    /// Where the open transaction has records.
    opened: Vec<(Topic, u32)>,
}

fn fresh(_case: &str) -> Simulated {
    Simulated { log: SimLog::new(PARTITIONS, NOW_MS), stranger: STRANGER, opened: Vec::new() }
}

impl Simulated {
    fn pass(&self, ms: i64) {
        let mut cluster = self.log.cluster();
        let to = cluster.now_ms() + ms;
        cluster.advance_to(to);
    }
}

impl Log for Simulated {
    type Worker = SimWorker;
    type Appender = SimAppender;

    fn clock(&self) -> Box<dyn Fn() -> i64> {
        let log = self.log.clone();
        Box::new(move || log.cluster().now_ms())
    }

    fn join(&mut self, who: Who<'_>) -> SimWorker {
        let options =
            WorkerOptions { topic: who.topic, group: who.service.into(), transactional_id: who.id.into() };
        SimWorker::new(&self.log, options)
    }

    fn appender(&mut self) -> SimAppender {
        SimAppender::new(&self.log)
    }

    fn kill(&mut self, worker: SimWorker) {
        drop(worker);
    }

    fn kill_in_commit(&mut self, _who: Who<'_>, mut worker: SimWorker, commit: Commit) -> Arranged {
        worker.perform(LogAction::Commit(commit)).unwrap_or_else(|error| panic!("{error}"));
        self.pass(10); // written, not decided
        drop(worker);
        Ok(())
    }

    fn stand_still(&mut self, worker: &mut SimWorker) {
        let now_ms = self.log.cluster().now_ms();
        worker.freeze(now_ms + STANDSTILL_MS);
    }

    fn go_on(&mut self, _worker: &mut SimWorker) {
        self.pass(STANDSTILL_MS);
    }

    fn cut(&mut self, topic: Topic, partition: u32, before: u64) {
        self.log.cluster().log(topic, partition).trim(before);
    }

    fn compact_marks(&mut self, partition: u32) -> Arranged {
        self.pass(10); // the markers of the last commit
        self.log.cluster().log(Topic::Marks, partition).compact();
        Ok(())
    }

    fn abort_next(&mut self, _outputs: &mut Outputs) {
        self.log.cluster().faults.abort_next = true;
    }

    fn refuse_next(&mut self, _records: &mut Outputs) {
        self.log.cluster().faults.append_fails = true;
    }

    fn open(&mut self, outputs: &Outputs) -> Arranged {
        let mut cluster = self.log.cluster();
        let timestamp_ms = cluster.now_ms();
        for out in outputs.records() {
            let record = Record {
                timestamp_ms,
                key: outputs.key(out).map(<[u8]>::to_vec),
                value: outputs.value(out).map(<[u8]>::to_vec),
                headers: Vec::new(),
            };
            cluster.log(out.topic, out.partition).append(Some(self.stranger), record);
            self.opened.push((out.topic, out.partition));
        }
        Ok(())
    }

    fn end_open(&mut self, commit: bool) {
        let mut cluster = self.log.cluster();
        for (topic, partition) in self.opened.drain(..) {
            cluster.log(topic, partition).mark(self.stranger, commit);
        }
        self.stranger += 1;
    }
}
