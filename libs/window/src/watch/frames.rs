//! Making frames: what of a watched stream is due now, from its points and from the windows as they stand.
//!
//! Never: before this owner's epoch is committed (its predecessor could have used the same), nor during a replay.

use crate::core::{Core, blank_row};
use crate::registry::Known;
use crate::stream::NEVER;
use crate::watch::down_sample::{bucket_ms, down_sample};
use crate::watch::due::Due;
use crate::watch::{Watch, WatchCounters, Watched, frame_window};
use evenkeel_model::{Frame, FrameFlag, FrameKind, FrameWindow, Interest, Series, WindowRow};

/// A telemetry frame covers all points that are kept so often, ms: what a lost frame left open is closed then.
const WHOLE_EVERY_MS: i64 = 10_000;
/// Between these it covers what came since the last one, and at least so much of the newest, ms.
const TAIL_MS: i64 = 2_000;
/// Data counts as recent for so long, ms.
const RECENT_MS: i64 = 2_000;
/// Most open windows of a size in a frame, the newest.
const OPEN_SHOWN: usize = 8;

/// What a round of frames needs to know.
#[derive(Debug, Clone, Copy)]
pub struct FrameInput {
    /// The wall clock, ms since the epoch. It decides when a frame is made, never what becomes of an event.
    pub now_ms: i64,
    /// The log was read to its end.
    pub live: bool,
}

/// What is known of a stream.
#[derive(Debug, Clone, Copy)]
struct Facts {
    slot: Option<u32>,
    class: usize,
    max_ts: Option<i64>,
    /// Sequence numbers missing in the open windows of the smallest size.
    missing: u64,
}

impl Core {
    /// A gateway says what it wants of a stream. `true` = it watches now; `false` = it does not, or there is no room
    /// (then it is counted as refused), or the stream is not of this partition.
    pub fn hear(&mut self, now_ms: i64, interest: &Interest) -> bool {
        let owner = evenkeel_model::partition_of(&interest.stream_id, self.partition.count);
        if owner != self.partition.number && !self.settings.trusts_partitions {
            return false;
        }
        self.watch.hear(now_ms, interest, &self.settings.watch)
    }

    /// Whether anybody watches.
    pub fn is_watched(&self) -> bool {
        !self.watch.is_idle()
    }

    /// Watched streams, and bytes of what is kept for them.
    pub fn watched(&self) -> (usize, usize) {
        self.watch.used()
    }

    /// How many streams may be watched.
    pub fn watched_max(&self) -> usize {
        self.settings.watch.streams_max
    }

    /// Counts of frames and interests.
    pub fn watch_counters(&self) -> WatchCounters {
        self.watch.counters()
    }

    /// Hands over every frame that is due, with the partitions it goes to, until `out` says that there is no more
    /// room; the next call goes on there. Work is bounded by the table of watched streams.
    pub fn frames(&mut self, input: &FrameInput, out: &mut dyn FnMut(&Frame, &[u32]) -> bool) {
        if self.watch.is_idle() || self.replay.is_some() || self.offsets.committed.is_none() {
            return;
        }
        let mut watch = std::mem::take(&mut self.watch);
        watch.expire(input.now_ms);
        let streams = watch.streams.len();
        for step in 0..streams {
            let at = (watch.turn + step) % streams;
            if !self.frames_of(&mut watch, at, input, out) {
                watch.turn = at;
                break;
            }
        }
        self.watch = watch;
    }

    /// The due frames of one stream. Whether there is room for more.
    fn frames_of(
        &self,
        watch: &mut Watch,
        at: usize,
        input: &FrameInput,
        out: &mut dyn FnMut(&Frame, &[u32]) -> bool,
    ) -> bool {
        let watched = &mut watch.streams[at];
        let mut facts = None;
        for due in 0..watched.dues.len() {
            if !watched.dues[due].is_due(input.now_ms, watched.version) {
                continue;
            }
            let facts = *facts.get_or_insert_with(|| self.facts(&watched.id));
            let to = watched.gateways(&watched.dues[due]);
            watch.seq += 1;
            let mut frame = self.head(watched, facts, due, input);
            frame.seq = watch.seq;
            match watched.dues[due].kind {
                FrameKind::Telemetry => self.telemetry(watched, facts, input.now_ms, &mut frame),
                FrameKind::Windows => self.windows_of(watched, facts, due, &mut frame),
                FrameKind::Status => {}
            }
            watched.dues[due].made(input.now_ms, watched.version);
            watch.counters.frames += to.len() as u64;
            if !out(&frame, &to) {
                return false;
            }
        }
        true
    }

    fn facts(&self, id: &str) -> Facts {
        let class = self.settings.class_of(id);
        let known = |slot, class, ts: i64| Facts {
            slot,
            class,
            max_ts: Some(ts).filter(|ts| *ts != NEVER),
            missing: 0,
        };
        let mut facts = match self.registry.find(id) {
            Known::Active(slot) => {
                let stream = self.registry.streams.get(slot);
                known(
                    Some(slot),
                    stream.map_or(class, |s| s.class.into()),
                    stream.map_or(NEVER, |s| s.max_ts),
                )
            }
            Known::Quiet(slot) => known(None, class, self.registry.quiet(slot).map_or(NEVER, |q| q.max_ts)),
            Known::Unknown => known(None, class, NEVER),
        };
        let mut missing = 0;
        self.each_open(facts, 0, &mut |row| missing += row.missing());
        facts.missing = missing;
        facts
    }

    /// What every frame says.
    fn head(&self, watched: &Watched, facts: Facts, due: usize, input: &FrameInput) -> Frame {
        let due = &watched.dues[due];
        let last_arrival_ms = watched.arrivals.last_ms();
        let recent = last_arrival_ms.is_some_and(|at| input.now_ms.saturating_sub(at) <= RECENT_MS);
        let flags = [(input.live, FrameFlag::Live), (recent, FrameFlag::Recent)];
        let class = &self.settings.classes[facts.class];
        let smallest = class.sizes_ms[0];
        Frame {
            stream_id: watched.id.to_string(),
            epoch: self.offsets.epoch,
            ts_ms: input.now_ms,
            source: self.partition.writer.clone(),
            watermark: facts.max_ts.map(|ts| ts.saturating_sub(class.lateness_ms)),
            flags: flags.into_iter().filter(|(is, _)| *is).map(|(_, flag)| flag).collect(),
            last_ts: facts.max_ts,
            last_arrival_ms,
            events_per_s: watched.arrivals.per_second(input.now_ms),
            missing: watched.kept_rows(smallest).fold(facts.missing, |sum, w| sum.saturating_add(w.missing)),
            ..Frame::empty(due.kind, due.size_ms)
        }
    }

    /// The newest open windows of one size, rising.
    fn open_windows(&self, facts: Facts, series_at: usize) -> Vec<FrameWindow> {
        let mut shown = Vec::new();
        self.each_open(facts, series_at, &mut |row| shown.push(frame_window(row, true)));
        shown
    }

    /// What the newest open windows of one size come to so far, rising.
    fn each_open(&self, facts: Facts, series_at: usize, each: &mut dyn FnMut(&WindowRow)) {
        let Some(stream) = facts.slot.and_then(|slot| self.registry.streams.get(slot)) else { return };
        let size_ms = self.settings.classes[facts.class].sizes_ms[series_at];
        let open = &stream.series[series_at].open;
        let mut row = blank_row();
        let newest = &open[open.len().saturating_sub(OPEN_SHOWN)..];
        for window in newest.iter().filter_map(|id| self.windows.get(*id)) {
            window.write_row(&stream.id, size_ms, stream.max_ts, &self.windows.shapes, false, &mut row);
            each(&row);
        }
    }

    fn telemetry(&self, watched: &mut Watched, facts: Facts, now_ms: i64, frame: &mut Frame) {
        let class = &self.settings.classes[facts.class];
        for series_at in 0..class.sizes_ms.len() {
            frame.windows.extend(self.open_windows(facts, series_at));
        }
        let fresh_from = std::mem::replace(&mut watched.fresh_from, i64::MAX);
        let whole = now_ms >= watched.whole_at_ms;
        if whole {
            watched.whole_at_ms = now_ms.saturating_add(WHOLE_EVERY_MS);
        }
        let Some((first, last)) = watched.history.covers() else { return };
        let width = bucket_ms(class.horizon_ms, watched.history.fields());
        let wanted = if whole { first } else { fresh_from.min(last.saturating_sub(TAIL_MS)) };
        // From a bucket's start on, but never claiming what is not there.
        frame.from_ms = (wanted.div_euclid(width) * width).max(first);
        frame.to_ms = last;
        for (name, points) in watched.history.since(frame.from_ms) {
            let mut series = Series { name: name.to_owned(), ..Series::default() };
            down_sample(points, width, &mut series);
            if !series.ts.is_empty() {
                frame.series.push(series);
            }
        }
        if watched.history.is_cut(class.horizon_ms) {
            frame.flags.push(FrameFlag::Partial);
        }
    }

    fn windows_of(&self, watched: &Watched, facts: Facts, due: usize, frame: &mut Frame) {
        let due = &watched.dues[due];
        frame.windows.extend(watched.kept_rows(due.size_ms).cloned());
        if due.rows_left > frame.windows.len() as u64 {
            frame.flags.push(FrameFlag::Partial);
        }
        let sizes = &self.settings.classes[facts.class].sizes_ms;
        if let Ok(series_at) = sizes.binary_search(&due.size_ms) {
            frame.windows.extend(self.open_windows(facts, series_at));
        }
    }
}

impl Watched {
    /// The partitions of the gateways that want such a frame, each once.
    fn gateways(&self, due: &Due) -> Vec<u32> {
        let wants = |asking: &&super::Asking| {
            asking.wants.iter().any(|want| {
                want.kind == due.kind && (want.kind != FrameKind::Windows || want.size_ms == due.size_ms)
            })
        };
        let mut to: Vec<u32> = self.asking.iter().filter(wants).map(|asking| asking.partition).collect();
        to.sort_unstable();
        to.dedup();
        to
    }
}
