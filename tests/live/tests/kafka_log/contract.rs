//! The contract suite on Kafka.

use crate::member::fresh as fresh_topics;
use evenkeel_kafka::faults::{OpenTransaction, trim};
use evenkeel_kafka::{KafkaAppender, KafkaConfig, KafkaWorker, Millis, WorkerOptions};
use evenkeel_model::Topic;
use evenkeel_scenarios::contract::{Arranged, Log, PARTITIONS, Unarranged, Who};
use evenkeel_scenarios::contract_tests;
use evenkeel_seam::{Commit, Outputs};
use std::time::{SystemTime, UNIX_EPOCH};

/// Each with the reason that [`Broker`] gives.
const CANNOT: &[&str] = &["a_read_of_compacted_marks_finds_the_newest_of_each_key"];

contract_tests!(fresh, CANNOT);

struct Broker {
    config: KafkaConfig,
    open: Option<OpenTransaction>,
}

fn fresh(case: &str) -> Broker {
    let name: String = case.chars().take(40).collect();
    Broker { config: fresh_topics(&name.replace('_', "-"), PARTITIONS), open: None }
}

impl Broker {
    fn id(&self, id: &str) -> String {
        format!("{}-{id}", self.config.prefix)
    }
}

impl Log for Broker {
    type Worker = KafkaWorker;
    type Appender = KafkaAppender;

    fn clock(&self) -> Box<dyn Fn() -> i64> {
        Box::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64)
    }

    fn join(&mut self, who: Who<'_>) -> KafkaWorker {
        let mut config = self.config.clone();
        if who.doomed {
            // Its silence is noticed by its own client, or else by the broker.
            config.timeouts.poll_interval = config.timeouts.session;
        }
        let options = WorkerOptions {
            service: who.service.into(),
            transactional_id: self.id(who.id),
            topic: who.topic,
            headers: true,
        };
        KafkaWorker::connect(&config, options).unwrap()
    }

    fn writer(&self, who: Who<'_>) -> String {
        self.id(who.id)
    }

    fn appender(&mut self) -> KafkaAppender {
        KafkaAppender::connect(&self.config).unwrap()
    }

    fn kill(&mut self, worker: KafkaWorker) {
        std::mem::forget(worker); // a drop would leave the group
    }

    fn kill_in_commit(&mut self, who: Who<'_>, worker: KafkaWorker, commit: Commit) -> Arranged {
        // What the broker is left with: no member, and its transaction open with records and offsets. It
        // stays open far beyond the deadline of the case: only fencing can end it.
        drop(worker);
        let mut config = self.config.clone();
        config.timeouts.transaction = Millis::new(600_000);
        let group = config.group_of(who.service);
        let (id, Commit { outputs, positions }) = (self.id(who.id), commit);
        let open = OpenTransaction::begin(&config, &id, &group, who.topic, &outputs, &positions);
        self.open = Some(open.unwrap());
        Ok(())
    }

    fn stand_still(&mut self, _worker: &mut KafkaWorker) {} // nobody polls it

    fn go_on(&mut self, _worker: &mut KafkaWorker) {}

    fn cut(&mut self, topic: Topic, partition: u32, before: u64) {
        trim(&self.config, topic, partition, before).unwrap();
    }

    fn compact_marks(&mut self, _partition: u32) -> Arranged {
        Err(Unarranged("a broker compacts closed segments, when its cleaner gets to them"))
    }

    fn abort_next(&mut self, outputs: &mut Outputs) {
        // Larger than any record may be.
        outputs.push(Topic::Windows, 0, Some(b"s"), &[], |buf| buf.resize(buf.len() + 2_000_000, b'x'));
    }

    fn refuse_next(&mut self, records: &mut Outputs) {
        records.push(Topic::Events, 0, Some(b"s"), &[], |buf| buf.resize(buf.len() + 2_000_000, b'x'));
    }

    fn open(&mut self, outputs: &Outputs) -> Arranged {
        let id = self.id("stranger");
        let open = OpenTransaction::begin(&self.config, &id, "nobody", Topic::Events, outputs, &[]);
        self.open = Some(open.unwrap());
        Ok(())
    }

    fn end_open(&mut self, commit: bool) {
        let open = self.open.take().unwrap();
        if commit { open.commit().unwrap() } else { open.abort().unwrap() }
    }
}
