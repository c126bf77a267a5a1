//! The table of one window size: its name, buckets, life time and compaction windows.
//!
//! Owns: every number of the schema that follows from the configuration. Never: CQL text (statements.rs, schema.rs).

use crate::span_text::Millis;
use evenkeel_model::{WindowSpan, murmur2};
use serde::{Deserialize, Serialize};

/// Windows of one stream in one partition: ~10k rows of a few hundred bytes to a few KiB.
pub(crate) const BUCKET_WINDOWS: i64 = 10_000;
/// Windows whose scores lie in one partition: fewer, because a model may score each event of a window.
pub(crate) const BUCKET_SCORED_WINDOWS: i64 = 1_000;
/// Partitions of `latest_window` per group. Fixed: a row is found by it.
pub(crate) const SALTS: u32 = 16;
/// Compaction windows per life time; ScyllaDB refuses more.
const COMPACTION_WINDOWS_MAX: u64 = 50;
/// Longest life time both servers take: 20 years.
const TTL_MAX: Millis = Millis::from_days(7_300);
/// Largest window size of the contract's coalescer is minutes; rollups go up to days.
const SIZE_MAX: Millis = Millis::from_days(1);

/// One window size that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WindowTable {
    /// Window size, e.g. "5s".
    pub size: Millis,
    /// How long a row is kept, counted from the window's end. Unset = for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Millis>,
}

/// How the rows of a table are grouped on disk: `amount` × `unit` per compaction window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompactionWindow {
    pub unit: &'static str,
    pub amount: u64,
}

impl WindowTable {
    /// Name of the table, e.g. `windows_5s`.
    pub fn name(&self) -> String {
        format!("windows_{}", self.size)
    }

    /// Window size, ms.
    pub fn size_ms(&self) -> i64 {
        self.size.get() as i64 // at most a day: check()
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.size > SIZE_MAX {
            return Err(format!("size {} is above {SIZE_MAX}", self.size));
        }
        match self.ttl {
            Some(ttl) if ttl < Millis::from_s(1) || ttl > TTL_MAX => {
                Err(format!("ttl {ttl} of size {}; 1s to {TTL_MAX} are allowed", self.size))
            }
            _ => Ok(()),
        }
    }

    /// Life time in whole seconds, rounded up; 0 = for ever.
    pub(crate) fn ttl_s(&self) -> u64 {
        self.ttl.map_or(0, |ttl| ttl.get().div_ceil(1_000))
    }

    /// At most [`COMPACTION_WINDOWS_MAX`] windows per life time, in the finest unit that reads well.
    pub(crate) fn compaction_window(&self) -> CompactionWindow {
        let Some(ttl) = self.ttl else { return CompactionWindow { unit: "DAYS", amount: 30 } };
        let minutes = ttl.get().div_ceil(60_000 * COMPACTION_WINDOWS_MAX).max(1);
        match minutes {
            0..60 => CompactionWindow { unit: "MINUTES", amount: minutes },
            60..2_880 => CompactionWindow { unit: "HOURS", amount: minutes.div_ceil(60) },
            _ => CompactionWindow { unit: "DAYS", amount: minutes.div_ceil(1_440) },
        }
    }

    /// What is left of a row's life at `now_ms`, from its absolute expiry `t_end + ttl`.
    pub(crate) fn life_at(&self, span: WindowSpan, now_ms: i64) -> Life {
        let Some(ttl) = self.ttl else { return Life::Forever };
        let left_ms = span.t_end().saturating_add(ttl.get() as i64).saturating_sub(now_ms);
        match left_ms {
            ..=0 => Life::Over,
            // A clock far behind the rows must not ask for more than the servers take.
            _ => Life::Seconds((left_ms as u64).div_ceil(1_000).min(TTL_MAX.get() / 1_000) as i32),
        }
    }
}

/// What is left of a row's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It had expired: it is not written.
    Over,
    /// So many seconds, at least 1.
    Seconds(i32),
    /// It never expires.
    Forever,
}

impl Life {
    /// The value of `USING TTL`; `None` = do not write.
    pub(crate) fn ttl_s(self) -> Option<i32> {
        match self {
            Self::Over => None,
            Self::Seconds(s) => Some(s),
            Self::Forever => Some(0), // 0 = no expiry, also against the table's default
        }
    }
}

/// The partition of a window's scores within its stream.
pub(crate) fn bucket_of_scores(span: WindowSpan) -> i64 {
    span.window_id.div_euclid(BUCKET_SCORED_WINDOWS)
}

/// The partition of a window within its stream.
pub(crate) fn bucket_of(span: WindowSpan) -> i64 {
    span.window_id.div_euclid(BUCKET_WINDOWS)
}

/// The group of a stream: its id up to the first `/`, else `default`.
pub fn group_of(stream_id: &str) -> &str {
    match stream_id.split_once('/') {
        Some((group, _)) if !group.is_empty() => group,
        _ => "default",
    }
}

pub(crate) fn salt_of(stream_id: &str) -> i32 {
    // The high half: the low bits already chose the log's partition, so one sink would meet few salts.
    ((murmur2(stream_id.as_bytes()) >> 16) % SALTS) as i32
}

/// Write timestamp of a window row, µs: last write wins by revision. EK-LATE-1
pub(crate) fn write_timestamp_us(span: WindowSpan, revision: u32) -> i64 {
    span.t_end().saturating_mul(1_000).saturating_add(revision.into())
}

/// Write timestamp in `latest_window`, where windows of one stream and size meet in one row: it must rise
/// with (t_end, revision). A window shorter than a second has room for `size` µs of revisions below the
/// next window's; `None` = beyond that room, the row shows the last revision that had some.
pub(crate) fn latest_timestamp_us(span: WindowSpan, revision: u32) -> Option<i64> {
    (i64::from(revision) < span.size_ms.saturating_mul(1_000)).then(|| write_timestamp_us(span, revision))
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::limits::LATE_MERGED_MAX;

    fn table(size: &str, ttl: Option<&str>) -> WindowTable {
        let parse = |t| Millis::parse(t).unwrap();
        WindowTable { size: parse(size), ttl: ttl.map(parse) }
    }

    #[test]
    fn names_follow_sizes() {
        assert_eq!(table("5s", None).name(), "windows_5s");
        assert_eq!(table("60s", None).name(), "windows_1m");
        assert_eq!(table("250ms", None).name(), "windows_250ms");
        assert!(table("2d", None).check().is_err());
        assert!(table("5s", Some("999ms")).check().is_err());
        assert!(table("5s", Some("7301d")).check().is_err());
    }

    #[test]
    fn a_life_time_never_holds_more_than_50_compaction_windows() {
        for ttl in
            ["1s", "59m", "1h", "50h", "99h", "1d", "7d", "30d", "31d", "90d", "365d", "3650d", "7300d"]
        {
            let table = table("5s", Some(ttl));
            let CompactionWindow { unit, amount } = table.compaction_window();
            let unit_s = match unit {
                "MINUTES" => 60,
                "HOURS" => 3_600,
                _ => 86_400,
            };
            assert!(table.ttl_s().div_ceil(amount * unit_s) <= 50, "{ttl}: {amount} {unit}");
        }
        assert_eq!(
            table("5s", Some("30d")).compaction_window(),
            CompactionWindow { unit: "HOURS", amount: 15 }
        );
    }

    #[test]
    fn life_counts_from_the_absolute_expiry() {
        let table = table("5s", Some("10s"));
        let span = WindowSpan::of(0, 5_000); // ends at 5 s, expires at 15 s
        assert_eq!(table.life_at(span, 0), Life::Seconds(15));
        assert_eq!(table.life_at(span, 14_999), Life::Seconds(1));
        assert_eq!(table.life_at(span, 15_000), Life::Over);
        assert_eq!(Life::Over.ttl_s(), None);
        assert_eq!(WindowTable { ttl: None, ..table }.life_at(span, i64::MAX).ttl_s(), Some(0));
    }

    #[test]
    fn buckets_hold_ten_thousand_windows_also_before_the_epoch() {
        let span = |window_id| WindowSpan { size_ms: 5_000, window_id };
        assert_eq!([0, 9_999, 10_000, -1].map(|id| bucket_of(span(id))), [0, 0, 1, -1]);
    }

    #[test]
    fn groups_and_salts() {
        assert_eq!(["imu/S06/ankle", "bowl", "/x", "a/"].map(group_of), ["imu", "default", "default", "a"]);
        let mut seen = [0; SALTS as usize];
        for n in 0..1_000 {
            seen[salt_of(&format!("device/{n}")) as usize] += 1;
        }
        assert!(seen.iter().all(|n| *n > 20), "{seen:?}");
    }

    // EK-LATE-1: a row's timestamps rise with its revision and never reach the next window's.
    #[test]
    fn timestamps_rise_with_window_and_revision() {
        let span = |size_ms, window_id| WindowSpan { size_ms, window_id };
        assert_eq!(write_timestamp_us(span(5_000, 0), 3), 5_000_003);
        for size_ms in [1, 100, 999, 1_000, 5_000, 300_000] {
            let newest =
                (0..=LATE_MERGED_MAX).rev().find_map(|r| latest_timestamp_us(span(size_ms, 7), r)).unwrap();
            assert!(newest < latest_timestamp_us(span(size_ms, 8), 0).unwrap(), "{size_ms}");
        }
        assert_eq!(latest_timestamp_us(span(1, 0), 1_000), None);
        assert!(latest_timestamp_us(span(1_000, 0), LATE_MERGED_MAX).is_some());
    }
}
