//! Random histories against the plain reference model of tests/scenarios: devices of every kind, random
//! ticks, commits, aborts and crashes. A failure prints its seed.

use crate::look::look;
use crate::world::{Refusal, World, input, refused};
use evenkeel_model::DropReason;
use evenkeel_scenarios::{
    CommitSeen, LedgerWatch, Reference, Rng, START_MS, Settings as Small, Step, Timeline, check_origin,
    check_published, history::traffic, judge,
};
use evenkeel_window::{Class, Settings, TickInput, WatchSettings};

/// The small settings of the scenarios, for a core.
pub fn core_settings(small: &Small) -> Settings {
    let class = &small.classes[0];
    Settings {
        classes: vec![Class {
            sizes_ms: class.sizes_ms.clone(),
            lateness_ms: class.lateness_ms,
            idle_timeout_ms: class.idle_timeout_ms,
            ..Class::default()
        }],
        interval_ms: small.interval_ms,
        idle_evict_ms: small.idle_evict_ms,
        open_age_max_ms: small.open_age_max_ms,
        outage_max_ms: small.outage_max_ms,
        clock_slack_ms: small.clock_slack_ms,
        max_future_ms: small.max_future_ms,
        max_age_ms: small.max_age_ms,
        open_windows_max: class.open_windows_max,
        seq_intervals_max: small.seq_intervals_max,
        mark_refresh_ms: small.mark_refresh_ms,
        trusts_partitions: false,
        watch: WatchSettings { streams_max: 6, history_bytes_max: 20_000 },
    }
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq)]
pub enum Trouble {
    /// Crashes, aborts, lag, short room, short memory.
    All,
    /// Lag and short room only.
    NoCrash,
}

/// Plays the history of a seed to its rest. Violations as text.
pub fn play(seed: u64, facts: bool, trouble: Trouble) -> (World, Vec<String>) {
    play_watched(seed, facts, trouble, seed % 2 == 1)
}

/// The same; somebody watches, or nobody.
pub fn play_watched(seed: u64, facts: bool, trouble: Trouble, watched: bool) -> (World, Vec<String>) {
    let rng = Rng::new(seed);
    let mut small = Small { partitions: 1, ..Small::small(&mut rng.fork(1)) };
    if !facts {
        small = small.without_facts();
    }
    let mut line = Timeline::default();
    traffic(&mut rng.fork(2), 1, &mut line);
    let mut run = Run {
        world: World::new(core_settings(&small)),
        rows_max: small.rows_per_tick_max,
        rng: rng.fork(3),
        crash_rng: rng.fork(4),
        log_rng: rng.fork(5),
        facts,
        trouble,
        watched,
        now: START_MS,
        found: Vec::new(),
    };
    run.play(line.into_steps());
    run.drain();
    run.check(&small);
    (run.world, run.found)
}

struct Run {
    world: World,
    rows_max: usize,
    rng: Rng,
    crash_rng: Rng,
    log_rng: Rng,
    facts: bool,
    trouble: Trouble,
    watched: bool,
    now: i64,
    found: Vec<String>,
}

impl Run {
    fn play(&mut self, steps: Vec<Step>) {
        let (mut now, mut skew) = (START_MS, 0);
        for step in steps {
            match step {
                Step::Advance { ms } => {
                    for at in now..now + ms {
                        if at % 1_000 == 999 {
                            self.second();
                        }
                    }
                    now += ms;
                }
                Step::Skew { by_ms } => skew = by_ms,
                Step::Send { mut batch, held_ms } => {
                    batch.arrival_ms = now + skew - held_ms;
                    batch.backfill = self.log_rng.chance(5);
                    self.world.append(batch);
                }
                _ => {}
            }
        }
    }

    /// One second: some records are consumed, then perhaps a tick, perhaps a crash.
    fn second(&mut self) {
        self.now += 1_000;
        if self.watched {
            look(&mut self.world, self.now);
        }
        for _ in 0..self.rng.pick(&[0, 1, 3, 100, 100, 100]) {
            self.world.consume();
        }
        let at_end = self.world.core.position() == self.world.log.len() as u64;
        let squeeze = self.facts && self.rng.chance(5);
        let free_bytes = if squeeze { self.rng.pick(&[1, 900, usize::MAX]) } else { 0 };
        let tick = TickInput { at_end, rows_max: self.rows_max, free_bytes, ..input() };
        let event = match self.trouble {
            Trouble::All => self.crash_rng.between(0, 99),
            Trouble::NoCrash => 99,
        };
        match event {
            0..4 => self.crash(),
            4..7 => {
                let differs = self.world.tick_aborted(&tick);
                self.recovered(differs);
            }
            7..12 => {
                self.tick(&tick);
                self.consume_in_flight();
                self.crash();
            }
            _ => {
                self.tick(&tick);
                self.consume_in_flight();
            }
        }
    }

    /// A committed tick. While there is room, no window stays unsent past open-age-max, so the way back
    /// through the log is bounded.
    fn tick(&mut self, tick: &TickInput) {
        let report = self.world.tick_with(tick);
        let settings = &self.world.settings;
        let Some((offset, meta)) = self.world.committed.as_ref() else { return };
        if meta.replay_from == *offset {
            return;
        }
        let stamps = self.world.log[..=meta.replay_from as usize].iter().rev();
        let mut stamps = stamps.filter_map(|r| Some(r.batch.as_ref()?.arrival_ms));
        let first = stamps.next().unwrap_or(0);
        let arrival = first.max(stamps.max().unwrap_or(0) - settings.clock_slack_ms);
        if report.rows < tick.rows_max && meta.live_clock - arrival >= settings.open_age_max_ms {
            self.found.push(format!("replay not bounded: {meta:?}"));
        }
    }

    fn consume_in_flight(&mut self) {
        for _ in 0..self.rng.pick(&[0, 0, 1, 2]) {
            self.world.consume();
        }
    }

    fn crash(&mut self) {
        let differs = self.world.crash();
        self.recovered(differs);
    }

    fn recovered(&mut self, differs: Vec<evenkeel_window::Imbalance>) {
        if !differs.is_empty() {
            self.found.push(format!("recovery rebuilds something else: {differs:?}"));
        }
    }

    /// No more trouble: everything leaves.
    fn drain(&mut self) {
        while self.world.consume() {}
        for _ in 0..400 {
            self.tick(&TickInput { at_end: true, rows_max: self.rows_max, ..input() });
            if self.world.core.sizes().2 == 0 {
                return;
            }
        }
        while !self.facts && self.world.core.sizes().2 > 0 {
            self.world.tick_with(&TickInput { ending: true, ..input() });
        }
        if self.world.core.sizes().2 > 0 {
            self.found.push("not drained".into());
        }
    }

    fn check(&mut self, small: &Small) {
        let world = &self.world;
        let reference = Reference::of(small, world.log.iter().cloned());
        let (store, mut diverted) = world.stored();
        let overflow = |r: &&Refusal| r.reason == DropReason::Overflow;
        for r in world.dlq.iter().filter(overflow) {
            let size_ms = r.size_ms.expect("overflow is a matter of one size");
            diverted.extend((0..r.events.len()).map(|at| refused(&r.events, at, size_ms)));
        }
        let mut found = check_published(small, &reference, &world.topic);
        found.extend(check_origin(store.values(), &world.topic));
        found.extend(judge(store.into_values(), &diverted, &reference).violations);
        let (mut watch, mut from) = (LedgerWatch::default(), 0);
        for (offset, meta, to) in &world.commits {
            let published = world.topic[from..*to].to_vec();
            from = *to;
            let seen = CommitSeen { partition: 0, offset: *offset, meta: meta.clone(), published };
            found.extend(watch.commit(&seen, &reference));
        }
        self.found.extend(found.iter().map(ToString::to_string));
    }
}

#[test]
fn any_history_comes_to_what_a_batch_computation_says() {
    // EK-WIN-1, EK-WIN-2, EK-SUM-1, EK-LATE-0, EK-LATE-1, recovery
    let (mut rows, mut late) = (0, 0);
    for seed in 0..1_500 {
        let (world, found) = play(seed, true, Trouble::All);
        assert!(found.is_empty(), "seed {seed}: {found:#?}");
        rows += world.rows().count();
        late += world.late().count();
    }
    assert!(rows > 10_000 && late > 1_000, "a boring run: {rows} rows, {late} late records");
}

#[test]
fn without_facts_rows_do_not_depend_on_crashes() {
    for seed in 0..500 {
        let rows = |trouble| {
            let (world, found) = play(seed, false, trouble);
            assert!(found.is_empty(), "seed {seed}: {found:#?}");
            let mut rows: Vec<_> = world.rows().cloned().collect();
            for row in &mut rows {
                row.dropped.clear(); // informative
                row.max_ts = 0; // of the moment of sending, which differs
            }
            rows.sort_by(|a, b| (&a.stream_id, a.span).cmp(&(&b.stream_id, b.span)));
            rows.iter().map(|r| format!("{r:?}")).collect::<Vec<_>>()
        };
        let (with, without) = (rows(Trouble::All), rows(Trouble::NoCrash));
        let differ = with.iter().zip(&without).find(|(a, b)| a != b);
        assert!(with.len() == without.len() && differ.is_none(), "seed {seed}: {differ:#?}");
    }
}
