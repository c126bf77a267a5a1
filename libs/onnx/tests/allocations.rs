//! What loading and running allocate, counted by the allocator of this test binary: a row allocates nothing, a
//! hostile file cannot make us allocate much more than its own size.
#![allow(unsafe_code, clippy::unwrap_used, clippy::disallowed_methods)]

use evenkeel_onnx::{Column, Dtype, Model, Workspace};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes on to the system's allocator unchanged; the counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn model(name: &str) -> Vec<u8> {
    let path = format!("{}/../../tests/models/cases/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

/// The most that loading `file` holds at once, bytes above what was there.
fn peak_of_loading(file: &[u8]) -> usize {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    drop(Model::load(file));
    PEAK.load(Ordering::Relaxed) - before
}

/// One test, because the counters are of the whole process.
#[test]
fn a_row_allocates_nothing_and_a_file_little() {
    for name in ["mixed_logistic", "random_forest", "lightgbm", "logistic_three"] {
        let loaded = Model::load(&model(name)).unwrap();
        let probability = loaded.signature().outputs().len() - 1;
        let loaded = loaded.only(probability);
        let (numbers, texts) = ([0.5_f32], ["attic".to_owned()]);
        let column = |dtype| if dtype == Dtype::Text { Column::Text(&texts) } else { Column::F32(&numbers) };
        let columns: Vec<Column<'_>> = loaded
            .signature()
            .inputs()
            .iter()
            .flat_map(|spec| vec![column(spec.dtype); spec.columns])
            .collect();
        let (mut work, mut out) = (Workspace::default(), Vec::new());
        (0..3).for_each(|_| loaded.run(&columns, 1, &mut work, &mut out).unwrap());
        let before = CALLS.load(Ordering::Relaxed);
        (0..100).for_each(|_| loaded.run(&columns, 1, &mut work, &mut out).unwrap());
        let calls = CALLS.load(Ordering::Relaxed) - before;
        assert!(calls <= 10, "{name}: {calls} allocations for 100 rows"); // 10: the test's own neighbours
    }

    // Lists of one-byte elements are what grows most: 8 bytes per byte. Both are one huge field.
    let size = 4 * 1024 * 1024;
    for inner in [[0x52, 0x3a].as_slice(), &[0x3a], &[0x2a, 0x42], &[0x0a, 0x2a, 0x42]] {
        let mut file = vec![1_u8; size];
        for &tag in inner.iter().rev() {
            let mut head = vec![tag];
            let mut n = file.len();
            while n >= 0x80 {
                head.push(n as u8 | 0x80);
                n >>= 7;
            }
            head.push(n as u8);
            head.extend_from_slice(&file);
            file = head;
        }
        let peak = peak_of_loading(&file);
        assert!(
            peak <= 24 * file.len() + (16 << 20),
            "{inner:x?}: {peak} bytes for a file of {}",
            file.len()
        );
    }
    // A whole file of empty messages of each kind: the counts are limited.
    for tag in [0x0a_u8, 0x2a, 0x5a, 0x62] {
        let mut graph = [tag, 0].repeat(size / 2);
        let mut file = vec![0x3a];
        let mut n = graph.len();
        while n >= 0x80 {
            file.push(n as u8 | 0x80);
            n >>= 7;
        }
        file.push(n as u8);
        file.append(&mut graph);
        let peak = peak_of_loading(&file);
        assert!(peak <= 24 * file.len() + (16 << 20), "{tag:x}: {peak} bytes for a file of {}", file.len());
    }
}
