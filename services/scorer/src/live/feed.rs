//! What a record of `windows` means to a worker: the rules judge its row, the model gets it to score.

use crate::live::batch::{Answer, Job};
use crate::live::driver::{Action, Driver};
use crate::live::encode::{encode, push_score};
use crate::live::event::Event;
use crate::live::models::Role;
use evenkeel_codec::{WindowRecord, decode_window_record};
use evenkeel_model::{WindowRow, partition_of};
use evenkeel_scoring::{Came, Offer, Output, Policy, SeriesKey};
use evenkeel_seam::{Outputs, RecordRef};

/// Appends what a core says to the outputs, and tells of alerts.
pub fn tell(partition: u32, output: &Output<'_>, outputs: &mut Outputs, out: &mut Vec<Action>) {
    encode(partition, output, outputs);
    if let Output::Alert(alert) = output {
        out.push(Action::Say(Event::Alert(alert.action, alert.severity)));
    }
}

impl Driver {
    pub(crate) fn record(
        &mut self,
        now_ms: i64,
        partition: u32,
        record: &RecordRef<'_>,
        out: &mut Vec<Action>,
    ) {
        let offset = record.offset;
        match decode_window_record(record.value.unwrap_or_default()) {
            Ok(WindowRecord::Row(row)) => {
                if partition_of(&row.stream_id, self.count) != partition {
                    self.counts.refused += 1;
                    return out.push(Action::Say(Event::Misrouted { partition, offset }));
                }
                self.row(now_ms, partition, offset, &row, out);
            }
            // A score is of the row as it was sent: what came late was not known then.
            Ok(WindowRecord::Late(_)) => self.counts.late += 1,
            Err(error) => {
                self.counts.refused += 1;
                let error = error.to_string();
                out.push(Action::Say(Event::Undecodable { partition, offset, error }));
            }
        }
    }

    fn row(&mut self, now_ms: i64, partition: u32, offset: u64, row: &WindowRow, out: &mut Vec<Action>) {
        let size_ms = row.span.size_ms;
        if !self.held.get(&partition).is_some_and(|held| held.core.looks_at(size_ms)) {
            return;
        }
        self.counts.rows += 1;
        let key: SeriesKey = (row.stream_id.as_str().into(), size_ms);
        while let Some(held) = self.held.get_mut(&partition) {
            let filling = &mut self.filling;
            let mut say = |output: Output<'_>| tell(partition, &output, filling, out);
            if held.core.make_room(&key, row.last_arrival, &mut say) || self.queue.is_empty() {
                held.core.feed(offset, &key, row, &mut say);
                break;
            }
            self.score_batch(now_ms, out); // a series that must go waits for its score
        }
        if self.scoring.is_on() {
            self.wait(now_ms, partition, &key, row, out);
        }
    }

    /// The row, or its events, wait for the model.
    fn wait(&mut self, now_ms: i64, partition: u32, key: &SeriesKey, row: &WindowRow, out: &mut Vec<Action>) {
        let job = |event, values| Job {
            partition,
            key: key.clone(),
            span: row.span,
            event,
            last_arrival: row.last_arrival,
            values,
            since_ms: now_ms,
        };
        if !self.options.of_events {
            let Some(held) = self.held.get_mut(&partition) else { return };
            let values = held.core.values(key);
            return self.offer(now_ms, job(None, values), out);
        }
        let events = self.scoring.events_of(row);
        self.counts.without_events += u64::from(events.is_empty());
        for (event, values) in events {
            self.offer(now_ms, job(Some(event), values), out);
        }
    }

    fn offer(&mut self, now_ms: i64, job: Job, out: &mut Vec<Action>) {
        if let Some(held) = self.held.get_mut(&job.partition) {
            held.core.wait(&job.key, 1);
        }
        let mut job = job;
        loop {
            match self.queue.offer(job) {
                Offer::Queued => break,
                Offer::Dropped(lost) | Offer::Replaced(lost) => {
                    self.counts.dropped += 1;
                    if let Some(held) = self.held.get_mut(&lost.partition) {
                        held.core.gave_up(&lost.key);
                    }
                    break;
                }
                Offer::Full(back) => {
                    self.score_batch(now_ms, out);
                    job = back;
                }
            }
        }
        if self.options.policy == Policy::Block && self.queue.len() >= self.options.batch_max {
            self.score_batch(now_ms, out);
        }
    }

    /// Scores everything that waits.
    pub(crate) fn score_all(&mut self, now_ms: i64, out: &mut Vec<Action>) {
        while !self.queue.is_empty() {
            self.score_batch(now_ms, out);
        }
    }

    /// Scores what waits longest, as much as is scored at once.
    pub(crate) fn score_batch(&mut self, now_ms: i64, out: &mut Vec<Action>) {
        let (queue, batch_max) = (&mut self.queue, self.options.batch_max);
        let jobs: Vec<Job> = std::iter::from_fn(|| queue.take()).take(batch_max).collect();
        if jobs.is_empty() {
            return;
        }
        let waited_ms = jobs.iter().map(|job| now_ms - job.since_ms).collect();
        out.push(Action::Say(Event::Batch { rows: jobs.len(), waited_ms }));
        for answer in self.scoring.score(jobs) {
            self.scored(&answer, out);
        }
    }

    fn scored(&mut self, Answer { job, score, shadow }: &Answer, out: &mut Vec<Action>) {
        let partition = job.partition;
        let Some(held) = self.held.get_mut(&partition) else { return };
        let named = |role| self.scoring.model(role).map(|m| (m.name.as_str(), m.version.as_str()));
        let came = |model, score| Came {
            key: &job.key,
            span: job.span,
            event: job.event,
            last_arrival: job.last_arrival,
            model,
            score,
        };
        let filling = &mut self.filling;
        match (score, named(Role::Primary)) {
            (Ok(score), Some(model)) => {
                self.counts.scored += 1;
                self.arrivals.push(job.last_arrival);
                held.core.scored(&came(model, *score), &mut |output| tell(partition, &output, filling, out));
            }
            (Err(error), _) => {
                self.counts.errors += 1;
                held.core.gave_up(&job.key);
                out.push(Action::Say(Event::Unscorable { error: error.clone() }));
            }
            (Ok(_), None) => held.core.gave_up(&job.key),
        }
        if let (Some(score), Some(model)) = (shadow, named(Role::Shadow)) {
            push_score(partition, &came(model, *score).record(None), filling);
        }
    }
}
