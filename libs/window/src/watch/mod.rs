//! Who looks at which stream, and what a frame about it needs beyond the windows: points, rows that left, arrivals.
//!
//! Owns: the table of watched streams, its bounds, when a frame is due. Never: decides anything about an event, a
//! window or a commit; all of it may be lost at any time, and gateways ask again before their interest expires.
//! While nobody watches, it costs the hot path one comparison.

mod arrivals;
mod down_sample;
mod due;
mod frames;
mod history;

pub use frames::FrameInput;

use crate::settings::Class;
use crate::watch::arrivals::Arrivals;
use crate::watch::due::{Due, merge};
use crate::watch::history::{Bounds, History};
use evenkeel_model::frame::limits::WANTS_MAX;
use evenkeel_model::{EventBatch, FrameKind, FrameStats, FrameWindow, Interest, Want, WindowRow};
use std::collections::VecDeque;

/// Most gateways that watch one stream; a further one is refused and counted.
pub const GATEWAYS_MAX: usize = 16;
/// Longest time that an interest holds without being repeated, ms: a gateway's clock may be wrong.
pub const INTEREST_MAX_MS: i64 = 60_000;
/// How many rows of a size are kept for frames: one that is lost does not lose its rows.
pub const ROWS_KEPT: usize = 8;

/// Bounds of a partition's watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchSettings {
    /// Most watched streams; 0 = nobody can watch. A further one is refused and counted.
    pub streams_max: usize,
    /// Most bytes of points and rows kept for frames. At it the oldest points go: history, never an aggregate.
    pub history_bytes_max: usize,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self { streams_max: 256, history_bytes_max: 8 << 20 }
    }
}

/// Counts since the core began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WatchCounters {
    /// Frames made, one per gateway that gets it.
    pub frames: u64,
    /// Interests that found a full table.
    pub refused: u64,
    /// Points that a bound took.
    pub points_dropped: u64,
}

/// The watched streams of a partition.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Rising by id.
    streams: Vec<Watched>,
    /// Whose turn is first in the next round of frames.
    turn: usize,
    seq: u64,
    heap_bytes: usize,
    counters: WatchCounters,
}

/// One watched stream.
#[derive(Debug)]
struct Watched {
    id: Box<str>,
    asking: Vec<Asking>,
    dues: Vec<Due>,
    history: History,
    arrivals: Arrivals,
    rows: Vec<KeptRows>,
    /// Moves with everything that a frame could show.
    version: u64,
    /// When telemetry covers all that is kept again, ms.
    whole_at_ms: i64,
    /// Earliest point that came since the last telemetry frame, ms; `i64::MAX` = none.
    fresh_from: i64,
}

/// What one gateway wants of a stream.
#[derive(Debug)]
struct Asking {
    gateway: Box<str>,
    partition: u32,
    wants: Vec<Want>,
    expires_at_ms: i64,
}

/// The newest rows of one size, oldest first.
#[derive(Debug)]
struct KeptRows {
    size_ms: i64,
    rows: VecDeque<FrameWindow>,
    heap_bytes: usize,
}

impl Watch {
    /// Whether nobody watches.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    /// Watched streams, and bytes of what is kept for them.
    pub fn used(&self) -> (usize, usize) {
        (self.streams.len(), self.heap_bytes)
    }

    /// Counts.
    pub fn counters(&self) -> WatchCounters {
        self.counters
    }

    /// Bytes in use, the table included.
    pub fn used_bytes(&self) -> usize {
        self.streams.len() * size_of::<Watched>() + self.heap_bytes
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.streams.capacity() * size_of::<Watched>() + self.heap_bytes
    }

    /// Takes what a gateway says. Whether it watches the stream now.
    pub fn hear(&mut self, now_ms: i64, interest: &Interest, bounds: &WatchSettings) -> bool {
        let expires_at_ms = interest.expires_at_ms.min(now_ms.saturating_add(INTEREST_MAX_MS));
        let found = self.find(&interest.stream_id);
        if interest.wants.is_empty() || expires_at_ms <= now_ms || bounds.streams_max == 0 {
            if let Ok(at) = found {
                self.change(at, |watched| watched.end(now_ms, |asking| *asking.gateway == *interest.gateway));
                self.remove_unwatched();
            }
            return false;
        }
        let at = match found {
            Ok(at) => at,
            Err(_) if self.streams.len() >= bounds.streams_max && !self.expire(now_ms) => {
                self.counters.refused += 1;
                return false;
            }
            Err(_) => {
                let Err(at) = self.find(&interest.stream_id) else { return false };
                let watched = Watched::new(&interest.stream_id, now_ms);
                self.heap_bytes += watched.heap_bytes();
                self.streams.insert(at, watched);
                at
            }
        };
        let taken = self.change(at, |watched| watched.ask(now_ms, interest, expires_at_ms));
        self.counters.refused += u64::from(!taken);
        taken
    }

    /// Lets go who did not ask again. Whether a stream left the table.
    fn expire(&mut self, now_ms: i64) -> bool {
        for at in 0..self.streams.len() {
            if self.streams[at].asking.iter().any(|asking| asking.expires_at_ms <= now_ms) {
                self.change(at, |watched| watched.end(now_ms, |asking| asking.expires_at_ms <= now_ms));
            }
        }
        self.remove_unwatched()
    }

    fn remove_unwatched(&mut self) -> bool {
        let before = self.streams.len();
        for gone in self.streams.extract_if(.., |watched| watched.asking.is_empty()) {
            self.heap_bytes -= gone.heap_bytes();
        }
        self.streams.len() < before
    }

    /// Keeps what a frame may show of admitted events at times `ts`.
    pub fn take(&mut self, batch: &EventBatch, ts: &[i64], arrival_ms: i64, class: &Class, bytes_max: usize) {
        let Ok(at) = self.find(&batch.stream_id) else { return };
        let room_bytes = bytes_max.saturating_sub(self.heap_bytes);
        let bounds = Bounds { points_max: class.ring_events_max, horizon_ms: class.horizon_ms, room_bytes };
        let dropped = self.change(at, |watched| watched.take(batch, ts, arrival_ms, &bounds));
        self.counters.points_dropped += dropped;
    }

    /// Keeps a row that leaves, if there is room.
    pub fn row_left(&mut self, row: &WindowRow, bytes_max: usize) {
        let Ok(at) = self.find(&row.stream_id) else { return };
        let room_bytes = bytes_max.saturating_sub(self.heap_bytes);
        self.change(at, |watched| watched.row_left(row, room_bytes));
    }

    /// Memory is short: histories go, until about `bytes` are free.
    pub fn drop_history(&mut self, bytes: usize) {
        let target = self.heap_bytes.saturating_sub(bytes);
        for at in 0..self.streams.len() {
            if self.heap_bytes <= target {
                return;
            }
            let dropped = self.change(at, Watched::drop_history);
            self.counters.points_dropped += dropped;
        }
    }

    fn find(&self, id: &str) -> Result<usize, usize> {
        self.streams.binary_search_by(|watched| (*watched.id).cmp(id))
    }

    /// Changes a stream and keeps the account.
    fn change<T>(&mut self, at: usize, change: impl FnOnce(&mut Watched) -> T) -> T {
        let watched = &mut self.streams[at];
        let before = watched.heap_bytes();
        let result = change(watched);
        self.heap_bytes = self.heap_bytes + watched.heap_bytes() - before;
        result
    }
}

impl Watched {
    fn new(id: &str, now_ms: i64) -> Self {
        Self {
            id: id.into(),
            asking: Vec::new(),
            dues: Vec::new(),
            history: History::default(),
            arrivals: Arrivals::since(now_ms),
            rows: Vec::new(),
            version: 0,
            whole_at_ms: now_ms,
            fresh_from: i64::MAX,
        }
    }

    /// A gateway asks, or asks again; `false` = too many do. Who asks for something new gets everything next.
    fn ask(&mut self, now_ms: i64, interest: &Interest, expires_at_ms: i64) -> bool {
        let wants = &interest.wants[..interest.wants.len().min(WANTS_MAX)];
        if let Some(at) = self.asking.iter().position(|asking| *asking.gateway == *interest.gateway) {
            let asking = &mut self.asking[at];
            asking.expires_at_ms = expires_at_ms;
            if asking.partition == interest.partition && asking.wants == wants {
                return true;
            }
            (asking.partition, asking.wants) = (interest.partition, wants.to_vec());
        } else if self.asking.len() >= GATEWAYS_MAX {
            return false;
        } else {
            let gateway = interest.gateway.as_str().into();
            let (partition, wants) = (interest.partition, wants.to_vec());
            self.asking.push(Asking { gateway, partition, wants, expires_at_ms });
        }
        self.whole_at_ms = now_ms;
        self.version += 1;
        self.refresh_dues(now_ms);
        true
    }

    fn end(&mut self, now_ms: i64, ends: impl Fn(&Asking) -> bool) {
        self.asking.retain(|asking| !ends(asking));
        self.refresh_dues(now_ms);
    }

    fn refresh_dues(&mut self, now_ms: i64) {
        merge(self.asking.iter().flat_map(|asking| &asking.wants), now_ms, &mut self.dues);
        if !self.wants(FrameKind::Telemetry) {
            (self.history, self.fresh_from) = (History::default(), i64::MAX);
        }
        if !self.wants(FrameKind::Windows) && !self.wants(FrameKind::Status) {
            self.rows = Vec::new();
        }
    }

    fn wants(&self, kind: FrameKind) -> bool {
        self.dues.iter().any(|due| due.kind == kind)
    }

    fn take(&mut self, batch: &EventBatch, ts: &[i64], arrival_ms: i64, bounds: &Bounds) -> u64 {
        self.version += 1;
        self.arrivals.add(arrival_ms, batch.len() as u64);
        if !self.wants(FrameKind::Telemetry) {
            return 0;
        }
        if let Some(earliest) = self.history.take(batch, ts, bounds) {
            self.fresh_from = self.fresh_from.min(earliest);
        }
        self.history.take_dropped()
    }

    fn row_left(&mut self, row: &WindowRow, room_bytes: usize) {
        self.version += 1;
        let (size_ms, shown) = (row.span.size_ms, frame_window(row, false));
        self.dues.iter_mut().filter(|due| due.size_ms == size_ms).for_each(|due| due.rows_left += 1);
        if !self.wants(FrameKind::Windows) && !self.wants(FrameKind::Status) {
            return;
        }
        let at = match self.rows.binary_search_by_key(&size_ms, |kept| kept.size_ms) {
            Ok(at) => at,
            Err(at) => {
                let rows = VecDeque::with_capacity(ROWS_KEPT);
                self.rows.insert(at, KeptRows { size_ms, rows, heap_bytes: 0 });
                at
            }
        };
        let kept = &mut self.rows[at];
        let bytes = window_bytes(&shown);
        while kept.rows.len() >= ROWS_KEPT || (bytes > room_bytes && !kept.rows.is_empty()) {
            kept.heap_bytes -= kept.rows.pop_front().map_or(0, |row| window_bytes(&row));
        }
        if bytes <= room_bytes {
            kept.heap_bytes += bytes;
            kept.rows.push_back(shown);
        }
    }

    fn drop_history(&mut self) -> u64 {
        self.history.clear();
        self.rows = Vec::new();
        self.history.take_dropped()
    }

    fn kept_rows(&self, size_ms: i64) -> impl Iterator<Item = &FrameWindow> {
        self.rows.iter().filter(move |kept| kept.size_ms == size_ms).flat_map(|kept| &kept.rows)
    }

    fn heap_bytes(&self) -> usize {
        let asking = |asking: &Asking| asking.gateway.len() + asking.wants.capacity() * size_of::<Want>();
        let rows = |kept: &KeptRows| kept.heap_bytes + kept.rows.capacity() * size_of::<FrameWindow>();
        self.id.len()
            + self.asking.capacity() * size_of::<Asking>()
            + self.asking.iter().map(asking).sum::<usize>()
            + self.dues.capacity() * size_of::<Due>()
            + self.history.heap_bytes()
            + self.arrivals.heap_bytes()
            + self.rows.capacity() * size_of::<KeptRows>()
            + self.rows.iter().map(rows).sum::<usize>()
    }
}

/// A row as frames show it.
fn frame_window(row: &WindowRow, open: bool) -> FrameWindow {
    let stats = row.stats.iter().map(|field| FrameStats {
        name: field.name.clone(),
        count: field.count,
        min: field.min,
        max: field.max,
        mean: field.mean,
        last: field.last,
    });
    FrameWindow {
        size_ms: row.span.size_ms,
        t_start: row.span.t_start(),
        closed_by: (!open).then_some(row.closed_by),
        count: row.count,
        missing: row.missing(),
        stats: stats.collect(),
    }
}

/// Bytes on the heap.
fn window_bytes(window: &FrameWindow) -> usize {
    let names: usize = window.stats.iter().map(|stats| stats.name.capacity()).sum();
    window.stats.capacity() * size_of::<FrameStats>() + names
}
