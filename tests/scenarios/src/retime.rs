//! Scenarios at another time, at another pace, several at once, and with an end that closes their windows:
//! what a world that cannot wait needs. A simulated world plays the very same result.
//!
//! Owns: the arithmetic of steps and settings. Never: what happens in a scenario.

use crate::settings::{Class, Settings};
use crate::step::{Scenario, Step, Timeline};
use evenkeel_model::{EventBatch, WindowSpan};
use evenkeel_seam::RowKey;
use std::collections::{BTreeMap, BTreeSet};

/// The seq of a stream's last event of all, larger than any that a history counts up to.
const LAST_SEQ: u64 = 1 << 50;

impl Scenario {
    /// How long its steps take, ms.
    pub fn length_ms(&self) -> i64 {
        self.steps.iter().map(wait_ms).sum()
    }

    /// The first start from `from_ms` on at which the windows lie as they do now, if that is not further off
    /// than `wait_max_ms`; else `from_ms`. Windows are aligned to the epoch, so a start decides which events
    /// share one.
    pub fn aligned_start(&self, from_ms: i64, wait_max_ms: i64) -> i64 {
        let common = self.settings.sizes_ms().into_iter().fold(1, lcm);
        let wait = (self.start_ms - from_ms).rem_euclid(common);
        from_ms + if wait <= wait_max_ms { wait } else { 0 }
    }

    /// The same, begun at another time.
    pub fn starting_at(mut self, start_ms: i64) -> Self {
        let by = start_ms - self.start_ms;
        for step in &mut self.steps {
            if let Step::Send { batch, .. } | Step::Misroute(batch) = step {
                batch.ts.iter_mut().for_each(|ts| *ts += by);
            }
        }
        Self { start_ms, ..self }
    }

    /// The same, so many times faster: every time and length of time, of the steps, of the devices and of the
    /// settings, is divided, and so is the start: each event keeps its window's number. `by` is at least 1.
    pub fn faster(self, by: i64) -> Self {
        let (mut now, mut line) = (0, Timeline::default());
        for step in self.steps {
            match step {
                Step::Advance { ms } => now += ms,
                step => line.at(now / by, faster_step(step, by)),
            }
        }
        let settings = faster_settings(self.settings, by);
        Self { name: self.name, settings, start_ms: self.start_ms / by, steps: line.into_steps() }
    }

    /// Without the faults that begin later than `ms` after the start; the devices go on.
    pub fn calm_after(self, ms: i64) -> Self {
        let mut now = 0;
        let mut steps = Vec::with_capacity(self.steps.len());
        for step in self.steps {
            now += wait_ms(&step);
            let data = matches!(step, Step::Skew { .. } | Step::Garble { .. } | Step::Misroute(_));
            if now <= ms || data || !step.is_fault() {
                steps.push(step);
            }
        }
        Self { steps, ..self }
    }

    /// Several at once, with the settings of the first and the largest max-age: each stream is prefixed with
    /// its history's name.
    pub fn together(name: &str, scenarios: Vec<Self>) -> Option<Self> {
        let mut all = scenarios.first()?.clone();
        let mut line = Timeline::default();
        for scenario in scenarios {
            all.settings.max_age_ms = all.settings.max_age_ms.max(scenario.settings.max_age_ms);
            let (mut now, prefix) = (0, slug(&scenario.name));
            for step in scenario.starting_at(all.start_ms).steps {
                match step {
                    Step::Advance { ms } => now += ms,
                    step => line.at(now, prefixed(step, &prefix)),
                }
            }
        }
        (all.name, all.steps) = (name.to_owned(), line.into_steps());
        Some(all)
    }

    /// Other steps laid over its own, at times after its start.
    pub fn with(self, others: Timeline) -> Self {
        let mut line = Timeline::default();
        for steps in [self.steps, others.into_steps()] {
            let mut now = 0;
            for step in steps {
                match step {
                    Step::Advance { ms } => now += ms,
                    step => line.at(now, step),
                }
            }
        }
        Self { steps: line.into_steps(), ..self }
    }

    /// The same with one more event of each stream, so late in its own time that the log closes all windows
    /// before it; and the windows of these events, which nothing closes but silence.
    pub fn with_last_events(mut self) -> (Self, BTreeSet<RowKey>) {
        let newest = self.newest();
        let after = |stream_id: &str, ts: &i64| {
            let class = self.settings.class_of(stream_id);
            ts + class.lateness_ms + class.sizes_ms.iter().max().copied().unwrap_or(0)
        };
        let end = self.start_ms + self.length_ms();
        // Nobody may take it for an event of the future.
        let latest = newest.iter().map(|(id, (ts, _))| after(id, ts) - self.settings.max_future_ms / 2).max();
        let at = latest.unwrap_or(end).max(end) + self.settings.interval_ms;
        let (mut open, mut last) = (BTreeSet::new(), vec![Step::Advance { ms: at - end }]);
        for (stream_id, (ts, with_seq)) in &newest {
            let ts = after(stream_id, ts).max(at);
            for &size_ms in &self.settings.class_of(stream_id).sizes_ms {
                open.insert(RowKey { stream_id: stream_id.clone(), span: WindowSpan::of(ts, size_ms) });
            }
            let seq = if *with_seq { vec![LAST_SEQ] } else { vec![] };
            let batch =
                EventBatch { stream_id: stream_id.clone(), ts: vec![ts], seq, ..EventBatch::default() };
            last.push(Step::Send { batch, held_ms: 0 });
        }
        self.steps.extend(last);
        (self, open)
    }

    /// The newest event of each stream that may be admitted, and whether the stream's last batch had seqs.
    fn newest(&self) -> BTreeMap<String, (i64, bool)> {
        let (mut now, mut ahead) = (self.start_ms, 0);
        let mut newest: BTreeMap<String, (i64, bool)> = BTreeMap::new();
        for step in &self.steps {
            now += wait_ms(step);
            match step {
                Step::Skew { by_ms } => ahead = ahead.max(*by_ms),
                Step::Send { batch, .. } | Step::Misroute(batch) => {
                    let limit = now + ahead + self.settings.max_future_ms;
                    let known = newest.entry(batch.stream_id.clone()).or_insert((i64::MIN, false));
                    let ts = batch.ts.iter().copied().filter(|ts| *ts <= limit).max();
                    *known = (known.0.max(ts.unwrap_or(i64::MIN)), batch.has_seq());
                }
                _ => {}
            }
        }
        newest.retain(|_, (ts, _)| *ts > i64::MIN);
        newest
    }
}

/// The least common multiple of two lengths.
fn lcm(a: i64, b: i64) -> i64 {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x % y);
    }
    a / x.max(1) * b
}

fn wait_ms(step: &Step) -> i64 {
    match step {
        Step::Advance { ms } => *ms,
        _ => 0,
    }
}

/// Letters and digits of a name, as a stream id may hold them.
fn slug(name: &str) -> String {
    let plain = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    plain.collect()
}

fn prefixed(mut step: Step, prefix: &str) -> Step {
    if let Step::Send { batch: EventBatch { stream_id, .. }, .. }
    | Step::Misroute(EventBatch { stream_id, .. })
    | Step::Replay { stream_id, .. }
    | Step::Garble { stream_id } = &mut step
    {
        *stream_id = format!("{prefix}/{stream_id}");
    }
    step
}

fn faster_step(mut step: Step, by: i64) -> Step {
    match &mut step {
        Step::Send { batch, held_ms } => {
            faster_batch(batch, by);
            *held_ms /= by;
        }
        Step::Misroute(batch) => faster_batch(batch, by),
        Step::Skew { by_ms: ms }
        | Step::Freeze { for_ms: ms, .. }
        | Step::BrokerDown { for_ms: ms }
        | Step::StoreDown { for_ms: ms }
        | Step::Advance { ms } => *ms /= by,
        Step::MarkerLag { windows_ms, marks_ms, offsets_ms } => {
            [windows_ms, marks_ms, offsets_ms].into_iter().for_each(|ms| *ms /= by);
        }
        Step::StoreSlow { for_ms, delay_ms } => {
            *for_ms /= by;
            *delay_ms /= by;
        }
        Step::Replay { .. }
        | Step::Garble { .. }
        | Step::Rebalance { .. }
        | Step::Kill { .. }
        | Step::Restart { .. }
        | Step::AbortNext
        | Step::FetchMax { .. }
        | Step::StoreUnknown { .. }
        | Step::Compact => {}
    }
    step
}

fn faster_batch(batch: &mut EventBatch, by: i64) {
    batch.ts.iter_mut().for_each(|ts| *ts = ts.div_euclid(by));
}

fn faster_settings(settings: Settings, by: i64) -> Settings {
    let class = |class: &Class| Class {
        sizes_ms: class.sizes_ms.iter().map(|ms| ms / by).collect(),
        lateness_ms: class.lateness_ms / by,
        idle_timeout_ms: class.idle_timeout_ms / by,
        ..class.clone()
    };
    Settings {
        classes: settings.classes.iter().map(class).collect(),
        interval_ms: settings.interval_ms / by,
        max_future_ms: settings.max_future_ms / by,
        max_age_ms: settings.max_age_ms / by,
        clock_slack_ms: settings.clock_slack_ms / by,
        idle_evict_ms: settings.idle_evict_ms / by,
        open_age_max_ms: settings.open_age_max_ms / by,
        outage_max_ms: settings.outage_max_ms / by,
        mark_refresh_ms: settings.mark_refresh_ms / by,
        ..settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::START_MS;
    use crate::{catalogue, history};

    fn sends(scenario: &Scenario) -> Vec<(i64, EventBatch)> {
        let mut now = 0;
        let mut found = Vec::new();
        for step in &scenario.steps {
            now += wait_ms(step);
            if let Step::Send { batch, .. } = step {
                found.push((now, batch.clone()));
            }
        }
        found
    }

    #[test]
    fn faster_and_later_keep_every_event_at_its_place() {
        let slow = catalogue::reconnect_storm();
        let fast = slow.clone().faster(4);
        let start_ms = fast.aligned_start(START_MS + 7, 15_000);
        assert!((START_MS + 7..START_MS + 15_007).contains(&start_ms));
        assert_eq!((start_ms - START_MS / 4) % 15_000, 0);
        assert_eq!(fast.aligned_start(START_MS + 7, 100), START_MS + 7, "too long to wait");
        let moved = start_ms - fast.start_ms;
        let fast = fast.starting_at(start_ms);
        assert_eq!((fast.start_ms, fast.length_ms()), (start_ms, slow.length_ms() / 4));
        assert_eq!(fast.settings.classes[0].sizes_ms, [1_250, 15_000]);
        assert_eq!((fast.settings.interval_ms, fast.settings.partitions), (250, 4));
        let (slow, fast) = (sends(&slow), sends(&fast));
        assert_eq!(slow.len(), fast.len());
        // Within one ms of the fast run, order is that of the slow one.
        for ((at, batch), (fast_at, fast_batch)) in slow.iter().zip(&fast) {
            assert_eq!(
                (at / 4, &batch.stream_id, &batch.seq),
                (*fast_at, &fast_batch.stream_id, &fast_batch.seq)
            );
            assert!(batch.ts.iter().map(|ts| moved + ts.div_euclid(4)).eq(fast_batch.ts.iter().copied()));
            let number = |ts: &i64, size_ms| WindowSpan::of(*ts, size_ms).window_id;
            let apart = number(&fast_batch.ts[0], 1_250) - number(&batch.ts[0], 5_000);
            assert_eq!(apart, moved / 1_250, "the same events share a window");
        }
    }

    #[test]
    fn together_each_stream_has_its_historys_name() {
        let (a, b) = (catalogue::shuffled_64_hz(), catalogue::silence_and_return());
        let all = Scenario::together("both", vec![a.clone(), b.clone()]).unwrap();
        assert_eq!(all.length_ms(), a.length_ms().max(b.length_ms()));
        assert_eq!(sends(&all).len(), sends(&a).len() + sends(&b).len());
        let names: BTreeSet<String> = sends(&all).into_iter().map(|(_, batch)| batch.stream_id).collect();
        assert!(names.contains("64-Hz-shuffled-over-3-s/imu/ankle"), "{names:?}");
        assert!(names.contains("silence-and-return/bowl/silent"), "{names:?}");
        assert_eq!(Scenario::together("none", vec![]), None);
    }

    #[test]
    fn faults_end_and_devices_go_on() {
        let whole = history::scenario(5);
        let calm = whole.clone().calm_after(20_000);
        assert_eq!((sends(&whole), whole.length_ms()), (sends(&calm), calm.length_ms()));
        let (mut now, mut faults) = (0, 0);
        for step in &calm.steps {
            now += wait_ms(step);
            let data = matches!(step, Step::Skew { .. } | Step::Garble { .. } | Step::Misroute(_));
            faults += u32::from(step.is_fault() && !data);
            assert!(now <= 20_000 || data || !step.is_fault(), "{step:?} at {now}");
        }
        assert!(faults > 5);
    }

    #[test]
    fn steps_are_laid_over_others_in_order_of_time() {
        let mut line = Timeline::default();
        line.at(30_000, Step::Compact);
        let scenario = catalogue::shuffled_64_hz().with(line);
        let at = scenario.steps.iter().position(|step| *step == Step::Compact).unwrap();
        let before: i64 = scenario.steps[..at].iter().map(wait_ms).sum();
        assert_eq!(before, 30_000);
    }

    /// After the last events, every other window ends at or below its stream's watermark, and no last event
    /// is in the future or shares a window with another.
    #[test]
    fn last_events_close_all_windows_but_their_own() {
        for scenario in catalogue::all().into_iter().chain((0..20).map(history::scenario)) {
            let name = scenario.name.clone();
            let before = sends(&scenario);
            let limit = scenario.settings.max_future_ms;
            let (scenario, open) = scenario.with_last_events();
            let all = sends(&scenario);
            let last: BTreeMap<&str, (i64, i64)> = all[before.len()..]
                .iter()
                .map(|(at, batch)| (batch.stream_id.as_str(), (START_MS + at, batch.ts[0])))
                .collect();
            assert!(!last.is_empty() && all.len() == before.len() + last.len(), "{name}");
            for (at, batch) in &before {
                let Some((sent, ts)) = last.get(batch.stream_id.as_str()) else { continue };
                assert!(*ts <= sent + limit && ts + limit >= *sent, "{name}: {ts} sent at {sent}");
                let class = scenario.settings.class_of(&batch.stream_id);
                for (old, &size_ms) in
                    batch.ts.iter().flat_map(|ts| class.sizes_ms.iter().map(move |size| (*ts, size)))
                {
                    let span = WindowSpan::of(old, size_ms);
                    let key = RowKey { stream_id: batch.stream_id.clone(), span };
                    let admitted = old <= START_MS + at + limit;
                    assert!(!admitted || span.t_end() <= ts - class.lateness_ms, "{name}: {key:?}");
                    assert!(!admitted || !open.contains(&key), "{name}: {key:?}");
                }
            }
        }
    }
}
