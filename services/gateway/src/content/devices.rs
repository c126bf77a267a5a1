//! `fleet/devices`: devices worth a look, those with raised alerts first, then the latest heard.
//!
//! Owns: their order and bound. Never: more than the store and the alerts say: a device without a stored row has no
//! time.

use crate::source::Listing;
use evenkeel_chassis::units::PositiveMs;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Most devices.
pub(crate) const GLANCES_MAX: usize = 100;
/// A row that ended longer ago says nothing of the rate now, ms.
const RATE_MS: i64 = 10_000;

/// The content of the topic.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Devices {
    devices: Vec<Glance>,
    total: usize,
    window_sizes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Glance {
    stream_id: String,
    last_ts: Option<i64>,
    events_per_s: f64,
    alerts_raised: usize,
}

impl Devices {
    /// Of what the store listed, and of the streams with raised alerts.
    pub(crate) fn of<'a>(
        listing: &Listing,
        raised: impl Iterator<Item = (&'a str, usize)>,
        now_ms: i64,
    ) -> Self {
        let mut listed: BTreeMap<&str, (i64, f64)> = BTreeMap::new();
        for stored in &listing.newest {
            let row = &stored.row;
            // A window shorter or longer than what the rate is of: its own mean rate, while it is fresh.
            let old = now_ms - row.span.t_end() > RATE_MS.max(2 * row.span.size_ms);
            let rate = if old { 0.0 } else { row.count as f64 * 1000.0 / row.span.size_ms.max(1) as f64 };
            listed.insert(&row.stream_id, (row.max_ts, rate));
        }
        let glance = |stream_id: &str, alerts_raised: usize| {
            let known = listed.get(stream_id);
            Glance {
                stream_id: stream_id.to_owned(),
                last_ts: known.map(|(last_ts, _)| *last_ts),
                events_per_s: known.map_or(0.0, |(_, rate)| *rate),
                alerts_raised,
            }
        };
        let mut devices: Vec<Glance> =
            raised.take(GLANCES_MAX).map(|(id, count)| glance(id, count)).collect();
        let first: BTreeSet<String> = devices.iter().map(|one| one.stream_id.clone()).collect();
        let unlisted = first.iter().filter(|id| !listed.contains_key(id.as_str())).count();
        let mut rest: Vec<(&str, i64)> = listed.iter().map(|(id, (last_ts, _))| (*id, *last_ts)).collect();
        rest.retain(|(id, _)| !first.contains(*id));
        rest.sort_by_key(|(_, last_ts)| std::cmp::Reverse(*last_ts));
        let room = GLANCES_MAX - devices.len();
        devices.extend(rest.into_iter().take(room).map(|(id, _)| glance(id, 0)));
        Self {
            devices,
            total: listing.total.max(listed.len() + unlisted),
            window_sizes: listing.sizes_ms.iter().filter_map(|size_ms| size_text(*size_ms)).collect(),
        }
    }
}

/// As the configuration writes it.
fn size_text(size_ms: i64) -> Option<String> {
    let size = PositiveMs::new(u64::try_from(size_ms).ok()?).ok()?;
    Some(size.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::{ClosedBy, StoredRow, WindowRow, WindowSpan};

    fn row(stream_id: &str, t_start: i64, count: u64) -> StoredRow {
        let row = WindowRow {
            stream_id: stream_id.to_owned(),
            span: WindowSpan::of(t_start, 1_000),
            closed_by: ClosedBy::Watermark,
            max_ts: t_start + 900,
            first_arrival: 0,
            last_arrival: 0,
            count,
            seqs: Vec::new(),
            dropped: Vec::new(),
            stats: Vec::new(),
            events: None,
        };
        StoredRow { row, revision: 0, late_offset: -1 }
    }

    #[test]
    fn raised_alerts_come_first_then_the_latest_heard() {
        let newest = vec![row("old", 0, 50), row("new", 100_000, 10), row("sick", 50_000, 1)];
        let listing = Listing { newest, total: 7, sizes_ms: vec![5_000, 60_000] };
        let made = Devices::of(&listing, [("sick", 2), ("gone", 1)].into_iter(), 106_000);
        let ids: Vec<_> =
            made.devices.iter().map(|one| (one.stream_id.as_str(), one.alerts_raised)).collect();
        assert_eq!(ids, [("sick", 2), ("gone", 1), ("new", 0), ("old", 0)]);
        let rates: Vec<_> = made.devices.iter().map(|one| one.events_per_s).collect();
        assert_eq!(rates, [0.0, 0.0, 10.0, 0.0], "a rate of long ago is none");
        assert_eq!((made.devices[1].last_ts, made.devices[2].last_ts), (None, Some(100_900)));
        assert_eq!((made.total, made.window_sizes), (7, vec!["5s".to_owned(), "1m".to_owned()]));
    }

    #[test]
    fn however_many_there_are_the_list_is_bounded() {
        let newest: Vec<_> = (0..150).map(|i| row(&format!("d{i}"), i * 1000, 1)).collect();
        let raised: Vec<String> = (0..120).map(|i| format!("r{i}")).collect();
        let listing = Listing { newest, total: 4000, sizes_ms: Vec::new() };
        let made = Devices::of(&listing, raised[..99].iter().map(|id| (id.as_str(), 1)), 0);
        assert_eq!((made.devices.len(), made.devices[99].stream_id.as_str()), (100, "d149"));
        let made = Devices::of(&listing, raised.iter().map(|id| (id.as_str(), 1)), 0);
        assert_eq!((made.devices.len(), made.devices[99].alerts_raised, made.total), (100, 1, 4000));
    }
}
