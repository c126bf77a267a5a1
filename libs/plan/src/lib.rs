//! Capacity arithmetic: what a fleet costs in memory. The same functions size the service at its start and
//! print `evenkeel plan`.
//!
//! capacity × streams, nothing cleverer: an operator must be able to redo it on paper.

use evenkeel_window::cost::StreamShape;
use evenkeel_window::{Class, Settings};

/// Program, threads and the Kafka client's own buffers of one worker, as measured without any stream.
pub const PROCESS_BYTES: u64 = 40 << 20;
/// A row on its way, without fields and id.
const ROW_BYTES: u64 = 120;
/// What each field adds to it.
const ROW_FIELD_BYTES: u64 = 110;
/// Copies of a tick's rows: being filled, being sent, and in the client's queue.
const IN_FLIGHT_COPIES: u64 = 3;

/// What an operator knows of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    /// Streams that send.
    pub streams: u64,
    /// Streams that were seen within max-age and are quiet now.
    pub quiet_streams: u64,
    /// Numeric fields of an event.
    pub fields: u32,
    /// Typical length of a stream id, bytes.
    pub id_bytes: u32,
    /// Events per second of one stream.
    pub rate_per_second: u32,
    /// Whether devices set seq.
    pub has_seq: bool,
    /// Seq intervals of a window where events are lost or shuffled.
    pub seq_intervals: u32,
    /// How much of its past each stream replays when all reconnect at once, ms.
    pub replay_ms: u64,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            streams: 0,
            quiet_streams: 0,
            fields: 4,
            id_bytes: 24,
            rate_per_second: 10,
            has_seq: true,
            seq_intervals: 1,
            replay_ms: 300_000,
        }
    }
}

/// What the fleet costs, bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// One stream in steady state: its state and its windows at the moment when most are open.
    pub per_stream_bytes: u64,
    /// One quiet stream.
    pub per_quiet_bytes: u64,
    /// The fleet in steady state, the band in which resident memory stays.
    pub steady_bytes: u64,
    /// All streams reconnect at once and replay `replay_ms` of their past.
    pub storm_bytes: u64,
    /// Every window of every stream that may be open is, with the most seq intervals. Beyond the budget,
    /// eviction holds it there.
    pub worst_bytes: u64,
    /// What a coalescer of this fleet occupies in all in steady state: state, rows of one tick on their way,
    /// and [`PROCESS_BYTES`].
    pub resident_bytes: u64,
    /// Rows that leave per second in steady state, all sizes.
    pub rows_per_second: f64,
}

/// The plan of a fleet whose streams all belong to `class`.
pub fn plan(fleet: &Fleet, settings: &Settings, class: &Class) -> Plan {
    let shape = shape_of(fleet, class, fleet.seq_intervals as usize, 1.0);
    let open: u64 = class.sizes_ms.iter().map(|size| windows_open(*size, class, settings)).sum();
    let per_stream = shape.stream_bytes() as u64 + open * shape.window_bytes() as u64;
    let per_quiet = shape.quiet_bytes() as u64;
    let steady = fleet.streams * per_stream + fleet.quiet_streams * per_quiet;
    let replayed: u64 = class.sizes_ms.iter().map(|size| fleet.replay_ms / size.unsigned_abs()).sum();
    let storm = steady + fleet.streams * replayed * shape.window_bytes() as u64;
    let full = shape_of(fleet, class, settings.seq_intervals_max, f64::INFINITY);
    let most = (class.sizes_ms.len() * settings.open_windows_max) as u64;
    let worst = fleet.streams * (full.stream_bytes() as u64 + most * full.window_bytes() as u64)
        + fleet.quiet_streams * per_quiet;
    let per_second: f64 = class.sizes_ms.iter().map(|size| 1000.0 / *size as f64).sum();
    // Streams whose clocks agree close together, at most so many rows per tick: they lie in the outputs of two
    // ticks and in the client's queue.
    let row_bytes = ROW_BYTES + u64::from(fleet.fields) * ROW_FIELD_BYTES + u64::from(fleet.id_bytes) * 2;
    let in_flight = (per_second * settings.interval_ms as f64 / 1000.0 * fleet.streams as f64) as u64;
    Plan {
        resident_bytes: steady + IN_FLIGHT_COPIES * in_flight * row_bytes + PROCESS_BYTES,
        per_stream_bytes: per_stream,
        per_quiet_bytes: per_quiet,
        steady_bytes: steady,
        storm_bytes: storm.min(worst).max(steady),
        worst_bytes: worst.max(steady),
        rows_per_second: fleet.streams as f64 * per_second,
    }
}

/// Windows of one size that are open or wait for the tick when most are: windows are aligned, so all streams
/// hold the next one while the last still waits for stragglers.
fn windows_open(size_ms: i64, class: &Class, settings: &Settings) -> u64 {
    let waits = (class.lateness_ms + settings.interval_ms).max(1);
    1 + waits.div_euclid(size_ms).unsigned_abs() + u64::from(waits.rem_euclid(size_ms) > 0)
}

fn shape_of(fleet: &Fleet, class: &Class, seq_intervals: usize, fill: f64) -> StreamShape {
    let longest = class.sizes_ms.last().copied().unwrap_or(1);
    let sent = f64::from(fleet.rate_per_second) * longest as f64 / 1000.0 * fill;
    StreamShape {
        id_bytes: fleet.id_bytes as usize,
        sizes: class.sizes_ms.len(),
        fields: fleet.fields as usize,
        has_seq: fleet.has_seq,
        seq_intervals,
        raw_events: if class.keeps_events() { sent.min(class.ring_events_max as f64) as usize } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> Fleet {
        Fleet { streams: 100_000, ..Fleet::default() }
    }

    #[test]
    fn costs_rise_with_everything_that_costs() {
        let settings = Settings::default();
        let class = &settings.classes[0];
        let base = plan(&fleet(), &settings, class);
        assert!(base.steady_bytes <= base.storm_bytes && base.storm_bytes <= base.worst_bytes);
        let more = |change: fn(&mut Fleet)| {
            let mut f = fleet();
            change(&mut f);
            plan(&f, &settings, class).steady_bytes
        };
        assert!(more(|f| f.streams *= 2) == 2 * base.steady_bytes);
        assert!(more(|f| f.fields = 8) > base.steady_bytes);
        assert!(more(|f| f.seq_intervals = 40) > base.steady_bytes);
        assert!(more(|f| f.quiet_streams = 1_000_000) > base.steady_bytes);
        assert!(more(|f| f.has_seq = false) < base.steady_bytes);
        let buffered = Class { include_events: true, ..class.clone() };
        assert!(plan(&fleet(), &settings, &buffered).steady_bytes > 2 * base.steady_bytes);
    }

    #[test]
    fn the_arithmetic_can_be_redone_on_paper() {
        let settings = Settings::default();
        let base = plan(&fleet(), &settings, &settings.classes[0]);
        // 5 s and 1 m: each open once, and once more for lateness 2 s + interval 1 s.
        let shape = shape_of(&fleet(), &settings.classes[0], 1, 1.0);
        assert_eq!(base.per_stream_bytes as usize, shape.stream_bytes() + 4 * shape.window_bytes());
        assert!((base.rows_per_second - 100_000.0 * (1.0 / 5.0 + 1.0 / 60.0)).abs() < 1e-6);
    }
}
