//! The accounting is exact: what the core says it has allocated against what was allocated, counted by the
//! allocator of this test binary. Bounded memory rests on it.
#![allow(unsafe_code)]

use evenkeel_model::{EventBatch, FieldColumn, FrameKind, Interest, Want};
use evenkeel_window::{Class, Core, Output, Partition, Settings, TickInput};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// What an allocator takes for so many bytes: small sizes come in steps of 16.
fn class_of(bytes: usize) -> usize {
    bytes.next_multiple_of(16)
}

// SAFETY: every call goes on to the system's allocator unchanged; the counter does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(class_of(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(class_of(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const BASE: i64 = 1_700_000_100_000;
const S: i64 = 1_000;

/// A core, a clock, and how much was allocated before it.
struct Measured {
    core: Core,
    batch: EventBatch,
    offset: u64,
    before: usize,
}

impl Measured {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        change(&mut settings);
        let field = |name: &str| FieldColumn { name: name.into(), ..FieldColumn::default() };
        let fields = ["a", "b", "c", "d"].map(field).into();
        let mut batch = EventBatch { stream_id: String::with_capacity(64), fields, ..EventBatch::default() };
        batch.ts.reserve(64);
        batch.seq.reserve(64);
        batch.fields.iter_mut().for_each(|f| f.values.reserve(64));
        let before = ALLOCATED.load(Ordering::Relaxed);
        let partition = Partition { number: 0, count: 1, writer: String::new(), hash_seed: 3 };
        Self {
            core: Core::new(&settings, partition).expect("settings of the test"),
            batch,
            offset: 0,
            before,
        }
    }

    /// One batch of `events` events, 20 ms apart from `ts` after BASE, seqs `step` apart.
    fn send(&mut self, stream: usize, ts: i64, events: u64, step: u64) {
        use std::fmt::Write;
        self.batch.stream_id.clear();
        write!(self.batch.stream_id, "fleet/device-{stream:07}").expect("text");
        self.batch.arrival_ms = BASE + ts;
        self.batch.ts.clear();
        self.batch.seq.clear();
        self.batch.fields.iter_mut().for_each(|f| f.values.clear());
        for n in 0..events {
            self.batch.ts.push(BASE + ts + 20 * n as i64);
            self.batch.seq.push((ts / S) as u64 * events * step + n * step);
            self.batch.fields.iter_mut().for_each(|f| f.values.push(n as f64));
        }
        let key = self.batch.stream_id.as_bytes();
        self.core.feed(self.offset, Some(key), &self.batch, &mut |_| {});
        self.offset += 1;
        self.core.advance(self.offset);
    }

    fn tick(&mut self, at_end: bool) -> usize {
        let input =
            TickInput { at_end, worker_quiet_ms: 0, rows_max: 1_000_000, free_bytes: 0, ending: false };
        let mut rows = 0;
        self.core.tick(&input, &mut |output| rows += usize::from(matches!(output, Output::Row(_))));
        let (offset, meta) = self.core.meta();
        self.core.committed(&meta, offset);
        rows
    }

    fn really(&self) -> usize {
        ALLOCATED.load(Ordering::Relaxed) - self.before
    }

    /// The core's own sum against the allocator's, within `percent` (and 64 KiB of settings and scratch).
    fn check(&self, when: &str, percent: usize) {
        let (said, real) = (self.core.allocated_bytes(), self.really());
        let off = said.abs_diff(real).saturating_sub(64 * 1024);
        println!(
            "{when}: says {said}, is {real}, used {}, sizes {:?}",
            self.core.used_bytes(),
            self.core.sizes()
        );
        assert!(off * 100 <= real * percent, "{when}: says {said}, is {real}");
    }
}

fn steady() {
    let mut m = Measured::new(|_| ());
    for second in 0..130 {
        for stream in 0..5_000 {
            m.send(stream, second * S, 5, 1);
        }
        m.tick(false);
    }
    m.check("steady", 3);
    assert!(m.core.used_bytes() * 10 >= m.really() * 8, "in use {} of {}", m.core.used_bytes(), m.really());
    let steady = m.really();
    // Ten times the streams for a moment; then they fall silent.
    for second in 130..133 {
        for stream in 0..50_000 {
            m.send(stream, second * S, 5, 1);
        }
        m.tick(false);
    }
    m.check("burst", 3);
    for second in 133..310 {
        for stream in 0..5_000 {
            m.send(stream, second * S, 5, 1);
        }
        m.tick(true);
    }
    m.check("after the burst", 5);
    // What is left of 45,000 streams are their marks.
    assert!(m.really() < steady + 45_000 * 140, "{} after {steady}", m.really());
    for _ in 0..400 {
        m.tick(true);
    }
    assert_eq!(m.core.sizes(), (0, 50_000, 0));
    m.check("marks only", 5);
    assert!(m.really() < 50_000 * 130, "{} per mark", m.really() / 50_000);
}

fn many_windows_with_holes() {
    let mut m = Measured::new(|s| s.classes[0].lateness_ms = 600 * S);
    for n in 0..40 {
        for stream in 0..300 {
            m.send(stream, n * 5 * S, 50, 3);
        }
    }
    m.check("40 open windows × 50 seq intervals", 3);
}

fn raw_events() {
    let mut m = Measured::new(|s| s.classes[0].include_events = true);
    for second in 0..4 {
        for stream in 0..500 {
            m.send(stream, second * S, 50, 1);
        }
    }
    m.check("raw events", 5);
}

fn late() {
    let mut m = Measured::new(|_| ());
    for stream in 0..1_000 {
        m.send(stream, 300 * S, 1, 1);
        m.send(stream, 10 * S, 50, 1);
    }
    m.check("late events before a tick", 10);
    m.tick(true);
    m.check("late events after it", 5);
}

fn watched() {
    let mut m = Measured::new(|s| s.watch.history_bytes_max = 32 << 20);
    for stream in 0..200 {
        let want = |kind, size_ms| Want { kind, size_ms, hz: 10.0 };
        let wants = vec![want(FrameKind::Telemetry, 0), want(FrameKind::Windows, 5 * S)];
        let stream_id = format!("fleet/device-{stream:07}");
        let (gateway, expires_at_ms) = ("gateway-0".to_owned(), BASE + 60 * S);
        let interest = Interest { stream_id, gateway, partition: 0, wants, expires_at_ms };
        assert!(m.core.hear(BASE, &interest));
    }
    for second in 0..40 {
        for stream in 0..200 {
            m.send(stream, second * S, 50, 1);
        }
        m.tick(false);
    }
    let (_, bytes) = m.core.watched();
    m.check("200 watched streams", 5);
    assert!(bytes * 2 > m.really(), "mostly histories: {bytes} of {}", m.really());
}

fn everything_goes() {
    let mut m = Measured::new(|s| s.classes = vec![Class { idle_timeout_ms: S, ..Class::default() }]);
    for second in 0..10 {
        for stream in 0..10_000 {
            m.send(stream, second * S, 5, 2);
        }
        m.tick(false);
    }
    let full = m.really();
    for _ in 0..50 {
        let input = TickInput {
            at_end: false,
            worker_quiet_ms: 0,
            rows_max: 1_000_000,
            free_bytes: usize::MAX,
            ending: false,
        };
        m.core.tick(&input, &mut |_| {});
        let (offset, meta) = m.core.meta();
        m.core.committed(&meta, offset);
    }
    assert_eq!(m.core.sizes(), (0, 0, 0));
    println!("everything gone: {} of {full}", m.really());
    assert!(m.really() < full / 50, "{} of {full} bytes are still there", m.really());
    m.check("nothing", 5);
}

/// One test, because the allocator counts for the whole process.
#[test]
fn the_core_knows_what_it_has_allocated() {
    steady();
    many_windows_with_holes();
    raw_events();
    late();
    watched();
    everything_goes();
}
