//! A gateway that looks at every stream of a random history, and checks each frame by itself.

use crate::world::{BASE, S, World};
use evenkeel_model::frame::limits::{FRAME_POINTS_MAX, FRAME_WINDOWS_MAX};
use evenkeel_model::{FrameKind, Interest, Want};
use evenkeel_window::FrameInput;
use std::collections::BTreeSet;

/// Every kind of frame.
pub const KINDS: [(FrameKind, i64); 3] =
    [(FrameKind::Telemetry, 0), (FrameKind::Windows, 5 * S), (FrameKind::Status, 0)];

/// Wants everything of a stream at 10 Hz.
pub fn interest(stream_id: &str, gateway: &str, now: i64) -> Interest {
    let want = |(kind, size_ms)| Want { kind, size_ms, hz: 10.0 };
    Interest {
        stream_id: stream_id.into(),
        gateway: gateway.into(),
        partition: 3,
        wants: KINDS.map(want).into(),
        expires_at_ms: BASE + now + 15 * S,
    }
}

/// For random histories: asks for every stream there is, and checks each frame by itself.
pub fn look(world: &mut World, now_ms: i64) {
    let streams: BTreeSet<String> =
        world.log.iter().filter_map(|r| Some(r.batch.as_ref()?.stream_id.clone())).collect();
    for stream_id in streams {
        world.core.hear(now_ms, &Interest { expires_at_ms: i64::MAX, ..interest(&stream_id, "g", 0) });
    }
    let (most, bytes_max) = (world.settings.watch.streams_max, world.settings.watch.history_bytes_max);
    let mut last = None;
    world.core.frames(&FrameInput { now_ms, live: true }, &mut |frame, to| {
        assert_eq!(to, [3]);
        assert!(last.replace(frame.seq).is_none_or(|seq| seq < frame.seq), "seq rises");
        let points: usize = frame.series.iter().map(|series| series.values.len()).sum();
        assert!(points <= FRAME_POINTS_MAX && frame.windows.len() <= FRAME_WINDOWS_MAX);
        for series in &frame.series {
            assert!(!series.ts.is_empty() && series.ts.is_sorted() && series.ts.len() == series.values.len());
            let within = |ts: Option<&i64>| ts.is_some_and(|ts| (frame.from_ms..=frame.to_ms).contains(ts));
            assert!(within(series.ts.first()) && within(series.ts.last()), "{frame:?}");
        }
        assert!(frame.windows.is_sorted_by_key(|w| (w.size_ms, w.t_start)), "{frame:?}");
        true
    });
    let (streams, bytes) = world.core.watched();
    // Points and rows are within their bound; the table itself is a few KiB a stream.
    assert!(streams <= most && bytes <= bytes_max + streams * 4_096, "{streams} streams, {bytes} bytes");
}
