//! The flowing partitions of a worker: records, the end of the log, pauses, and trouble with an offset.
//!
//! Owns: what lies between `Start` and `Release`. Never: jumps; a position the log does not hold is judged
//! (trimmed: go on at the first record there is; cut: stop).

use crate::held::Phase;
use crate::reader::one;
use crate::records::{Run, each_run};
use crate::registry::RegistryError;
use crate::scout::Job;
use crate::worker::KafkaWorker;
use evenkeel_seam::{LogInput, WorkerError};
use rdkafka::Offset;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// The ticket of a bounds lookup that is not a recovery read's.
const REPOSITION: u64 = 0;

/// Records that lie in a registry's framing, and no answer from it. They are there when the worker starts again.
pub(crate) fn unread(topic: &str, error: &RegistryError) -> WorkerError {
    WorkerError::Fatal(format!("records of {topic} name a schema by its id: {error}"))
}

impl KafkaWorker {
    /// Records of the flowing partitions.
    pub(crate) fn flow(&mut self, each: &mut dyn FnMut(LogInput<'_>)) -> Result<bool, WorkerError> {
        if self.hold_back()? {
            return Ok(false);
        }
        let (mut any, mut troubled) = (false, Vec::new());
        let (held, topic) = (&mut self.partitions.held, self.options.topic);
        let (headers, registry) = (self.options.headers, self.registry.as_deref());
        each_run(&self.queue.take(), headers, registry, |run| match run {
            Run::Records { partition, records, .. } => {
                let Some(found) = held.get_mut(&partition).filter(|h| !h.leaving) else { return };
                let Phase::Flowing { next, end } = &mut found.phase else { return };
                // Pauses, resumes and new leaders make the client fetch again from where it last noted;
                // whatever that is, nothing is handed over twice.
                let records = &records[records.partition_point(|r| r.offset < *next)..];
                let Some(last) = records.last() else { return };
                *next = last.offset + 1;
                end.records();
                any = true;
                each(LogInput::Records { partition, topic, records, next: *next, at_end: false });
            }
            Run::Error { partition, code, text, .. } => troubled.push((partition, code, text)),
        })
        .map_err(|error| unread(&self.topic_name, &error))?;
        for (partition, code, text) in troubled {
            self.trouble(partition, code, &text)?;
        }
        Ok(any)
    }

    /// A partition's error message. The client counts it as consumed, so the position is set again.
    fn trouble(&mut self, partition: u32, code: Code, text: &str) -> Result<(), WorkerError> {
        let place = format!("{}[{partition}]", self.topic_name);
        let Some(held) = self.partitions.held.get(&partition) else { return Ok(()) };
        let Phase::Flowing { next, .. } = held.phase else { return Ok(()) };
        match code {
            Code::TopicAuthorizationFailed => {
                Err(WorkerError::Fatal(format!("{place}: {text}: allow this client to read the topic")))
            }
            Code::AutoOffsetReset | Code::OffsetOutOfRange => {
                tracing::warn!(place, next, text, "the log does not hold the next offset");
                let job = Job::Bounds { topic: self.options.topic, partition, ticket: REPOSITION };
                match self.scout.ask(job) {
                    true => Ok(()),
                    false => Err(WorkerError::Fatal("the lookup thread is gone or overloaded".into())),
                }
            }
            _ => {
                tracing::info!(place, %code, text, "fetch");
                self.begin(partition, Some(next))
            }
        }
    }

    /// The bounds of a flowing partition whose next offset is not in the log. A log that was trimmed goes
    /// on at its first record, which the driver sees as a gap; one that ends earlier than what was
    /// committed has lost acknowledged data. Returns whether the answer was for this.
    pub(crate) fn reposition(
        &mut self,
        partition: u32,
        ticket: u64,
        low: u64,
        high: u64,
    ) -> Result<bool, WorkerError> {
        if ticket != REPOSITION {
            return Ok(false);
        }
        let Some(held) = self.partitions.held.get(&partition) else { return Ok(true) };
        let Phase::Flowing { next, .. } = held.phase else { return Ok(true) };
        if next > high {
            return Err(WorkerError::Fatal(format!(
                "{}[{partition}] ends at offset {high}, before the position {next}: the log lost \
                 acknowledged records (unclean leader election?); reset the group's offsets of this \
                 partition to go on",
                self.topic_name
            )));
        }
        if next < low {
            tracing::warn!(partition, next, low, "records were deleted before they were read");
        }
        self.begin(partition, Some(next.max(low))).map(|()| true)
    }

    /// Tells the ends of the log. The position moves past what was taken off the queue only.
    pub(crate) fn ends(&mut self, each: &mut dyn FnMut(LogInput<'_>)) -> bool {
        let stats = self.consumer.context().notes().stats.take();
        let (name, topic) = (&self.topic_name, self.options.topic);
        let mut any = false;
        for (&partition, held) in &mut self.partitions.held {
            let Phase::Flowing { next, end } = &mut held.phase else { continue };
            if held.paused || held.leaving {
                continue;
            }
            // What this run has taken off the queue, markers included. Before its first record the client may still name
            // a place of an earlier run.
            let taken = end.has_records().then(|| self.queue.position(name, partition)).flatten();
            let position = taken.unwrap_or(*next).max(*next);
            let mut told = end.reached(position, self.queue.high(name, partition).unwrap_or(u64::MAX));
            if let Some(glance) = stats.as_ref().and_then(|s| s.glance(name, partition)) {
                told |= end.confirmed(glance, position);
            }
            if told {
                any = true;
                *next = position;
                each(LogInput::Records { partition, topic, records: &[], next: *next, at_end: true });
            }
        }
        any
    }

    /// How many offsets lie between what was handed over and the high watermarks that fetches have told.
    pub(crate) fn behind(&self) -> u64 {
        let behind = |(&partition, held): (&u32, &crate::held::Held)| match held.phase {
            Phase::Flowing { next, .. } => {
                Some(self.queue.high(&self.topic_name, partition)?.saturating_sub(next))
            }
            _ => None,
        };
        self.partitions.held.iter().filter_map(behind).sum()
    }

    /// Lets a partition flow from an offset (`None` = the oldest).
    pub(crate) fn begin(&mut self, partition: u32, from: Option<u64>) -> Result<(), WorkerError> {
        let Some(held) = self.partitions.held.get_mut(&partition).filter(|h| !h.leaving) else {
            return Ok(());
        };
        let flowed = matches!(held.phase, Phase::Flowing { .. });
        held.phase = Phase::Flowing { next: from.unwrap_or(0), end: Default::default() };
        self.resume_in_client(partition)?;
        if flowed {
            self.unassign(&[partition])?;
        }
        let offset = from.map_or(Offset::Beginning, |from| Offset::Offset(from as i64));
        self.queue.forward(&self.topic_name, partition);
        let begun =
            one(&self.topic_name, partition, offset).and_then(|list| self.consumer.incremental_assign(&list));
        self.queue.forward(&self.topic_name, partition);
        begun.map_err(|e| self.fatal(partition, &format!("starting at {from:?}"), &e))
    }

    /// Notes a pause or its end. A pause in the client throws away what it has fetched ahead, so it is
    /// left to [`KafkaWorker::hold_back`], which mostly does without.
    pub(crate) fn pause(&mut self, partition: u32, paused: bool) -> Result<(), WorkerError> {
        let Some(held) = self.partitions.held.get_mut(&partition) else { return Ok(()) };
        held.paused = paused;
        if paused { Ok(()) } else { self.resume_in_client(partition) }
    }

    /// Ends a pause in the client, if there is one: it would outlive the assignment.
    pub(crate) fn resume_in_client(&mut self, partition: u32) -> Result<(), WorkerError> {
        let held = self.partitions.held.get_mut(&partition);
        match held.is_some_and(|h| std::mem::take(&mut h.paused_in_client)) {
            true => self.pause_in_client(partition, false),
            false => Ok(()),
        }
    }

    /// Whether to take nothing from the queue: all that flows is paused. Where only some is, those are
    /// paused in the client, because the queue is one for all.
    fn hold_back(&mut self) -> Result<bool, WorkerError> {
        let flowing = self.partitions.held.iter().filter(|(_, h)| matches!(h.phase, Phase::Flowing { .. }));
        let paused = flowing.clone().filter(|(_, h)| h.paused);
        let (all, count) = (flowing.count(), paused.clone().count());
        if count == 0 || count == all {
            return Ok(count > 0);
        }
        let late: Vec<u32> = paused.filter(|(_, h)| !h.paused_in_client).map(|(p, _)| *p).collect();
        for partition in late {
            self.pause_in_client(partition, true)?;
            if let Some(held) = self.partitions.held.get_mut(&partition) {
                held.paused_in_client = true;
            }
        }
        Ok(false)
    }

    fn pause_in_client(&self, partition: u32, paused: bool) -> Result<(), WorkerError> {
        let done = one(&self.topic_name, partition, Offset::Invalid).and_then(|list| match paused {
            true => self.consumer.pause(&list),
            false => self.consumer.resume(&list),
        });
        done.map_err(|e| self.fatal(partition, "pausing or resuming", &e))
    }

    fn fatal(&self, partition: u32, what: &str, error: &KafkaError) -> WorkerError {
        WorkerError::Fatal(format!("{}[{partition}]: {what}: {error}", self.topic_name))
    }
}
