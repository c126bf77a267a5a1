//! Alerts as the gateway knows them: the newest of each stream, and which are raised.
//!
//! Owns: from which offset on it knows every alert of a partition. Never: forgets a stream without saying so: what is
//! evicted raises that offset, and a client whose position lies below it is told that events are missing.
//! Bounds: [`STREAMS_MAX`] streams, the one heard longest ago goes; [`EVENTS_MAX`] events of each.

use crate::protocol::write::encode;
use evenkeel_fanout::{Event, EventLog, Format};
use evenkeel_model::{Alert, AlertAction, AlertSeverity, partition_of};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Most streams with alerts.
const STREAMS_MAX: usize = 20_000;
/// Most events per stream.
pub(crate) const EVENTS_MAX: usize = 64;
/// Most raised alerts of a stream that are told apart.
const RAISED_MAX: usize = 256;

#[derive(Serialize)]
struct Data<'a> {
    rule: &'a str,
    action: &'a str,
    severity: &'a str,
    field: &'a str,
    value: f64,
    threshold: f64,
    t_start: i64,
}

#[derive(Debug, Default)]
struct Stream {
    events: VecDeque<Event>,
    /// Every event of the stream behind it is in `events`.
    floor: Option<i64>,
    raised: BTreeSet<String>,
    heard: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// Everything behind this offset was read; −1 = from the first on.
    floor: i64,
    /// The last offset read.
    to: i64,
}

/// What a stream's alerts came to.
#[derive(Debug)]
pub(crate) struct Heard {
    /// For its topic; `None` = nobody needs to be told.
    pub(crate) event: Option<Event>,
    /// Raised now.
    pub(crate) raised: usize,
    /// In one sentence, for people.
    pub(crate) text: String,
    /// How bad.
    pub(crate) severity: AlertSeverity,
}

/// The alerts.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    partitions: Vec<Known>,
    streams: BTreeMap<String, Stream>,
    by_age: BTreeMap<u64, String>,
    clock: u64,
    raised: usize,
}

impl Alerts {
    /// The topic has so many partitions.
    pub(crate) fn new(partitions: u32) -> Self {
        Self { partitions: vec![Known { floor: -1, to: -1 }; partitions as usize], ..Self::default() }
    }

    /// A partition is read from this offset on.
    pub(crate) fn begin(&mut self, partition: u32, offset: u64) {
        if let Some(known) = self.partitions.get_mut(partition as usize) {
            let before = i64::try_from(offset).unwrap_or(i64::MAX) - 1;
            *known = Known { floor: before, to: before };
        }
    }

    /// Alerts that are raised, over all streams.
    pub(crate) fn raised(&self) -> usize {
        self.raised
    }

    /// Alerts of a stream that are raised.
    pub(crate) fn raised_of(&self, stream_id: &str) -> usize {
        self.streams.get(stream_id).map_or(0, |stream| stream.raised.len())
    }

    /// Streams with raised alerts and how many, the one heard last first.
    pub(crate) fn raised_streams(&self) -> impl Iterator<Item = (&str, usize)> {
        let streams = self.by_age.values().rev().map(|id| (id.as_str(), self.raised_of(id)));
        streams.filter(|(_, raised)| *raised > 0)
    }

    /// One record of a partition.
    pub(crate) fn take(&mut self, partition: u32, offset: u64, alert: &Alert, ts_ms: i64) -> Option<Heard> {
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let known = self.partitions.get_mut(partition as usize)?;
        if offset <= known.to {
            return None;
        }
        known.to = offset;
        self.clock += 1;
        let stream = self.streams.entry(alert.stream_id.clone()).or_default();
        self.by_age.remove(&stream.heard);
        stream.heard = self.clock;
        self.by_age.insert(self.clock, alert.stream_id.clone());
        let before = stream.raised.len();
        match alert.action {
            AlertAction::Clear => {
                stream.raised.remove(&alert.id);
            }
            AlertAction::Raise | AlertAction::Hold if before < RAISED_MAX => {
                stream.raised.insert(alert.id.clone());
            }
            AlertAction::Raise | AlertAction::Hold => {}
        }
        let raised = stream.raised.len();
        let event = (alert.action != AlertAction::Hold).then(|| event_of(alert, offset, ts_ms));
        if let Some(event) = &event {
            if stream.events.len() == EVENTS_MAX {
                stream.floor = stream.events.pop_front().map(|gone| gone.offset);
            }
            stream.events.push_back(event.clone());
        }
        self.raised = self.raised + raised - before;
        self.make_room();
        let verb = if alert.action == AlertAction::Clear { "is well again" } else { "is out of bounds" };
        let text = format!("{}: {} {verb} ({} at {})", alert.stream_id, alert.rule, alert.field, alert.value);
        Some(Heard { event, raised, text, severity: alert.severity })
    }

    fn make_room(&mut self) {
        while self.streams.len() > STREAMS_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            let Some(gone) = self.streams.remove(&oldest) else { continue };
            self.raised -= gone.raised.len();
            let count = self.partitions.len() as u32;
            let partition = partition_of(&oldest, count) as usize;
            let last = gone.events.back().map(|event| event.offset).or(gone.floor);
            if let (Some(known), Some(last)) = (self.partitions.get_mut(partition), last) {
                known.floor = known.floor.max(last);
            }
        }
    }

    /// The log of a stream's topic, as it is known now.
    pub(crate) fn log_of(&self, stream_id: &str) -> EventLog {
        let count = self.partitions.len().max(1) as u32;
        let partition = partition_of(stream_id, count);
        let known = self.partitions.get(partition as usize).copied().unwrap_or(Known { floor: -1, to: -1 });
        let stream = self.streams.get(stream_id);
        let floor =
            stream.and_then(|stream| stream.floor).map_or(known.floor, |floor| floor.max(known.floor));
        // Offsets are the log's, so a position is good at every gateway.
        let epoch: Arc<str> = format!("alerts-{partition}").into();
        let mut log = EventLog::new(epoch, floor, EVENTS_MAX);
        for event in stream.into_iter().flat_map(|stream| &stream.events) {
            log.push(event.clone());
        }
        log.known_to(known.to);
        log
    }
}

fn event_of(alert: &Alert, offset: i64, ts_ms: i64) -> Event {
    let data = Data {
        rule: &alert.rule,
        action: alert.action.as_str(),
        severity: alert.severity.as_str(),
        field: &alert.field,
        value: alert.value,
        threshold: alert.threshold,
        t_start: alert.t_start,
    };
    Event { offset, ts: ts_ms, data: both(&data) }
}

/// A value in each format.
pub(crate) fn both(value: &impl Serialize) -> [Arc<[u8]>; 2] {
    [Format::Json, Format::Cbor].map(|format| {
        let mut bytes = Vec::new();
        encode(format, value, &mut bytes);
        bytes.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::AlertCause;

    fn alert(stream: &str, id: &str, action: AlertAction) -> Alert {
        Alert {
            stream_id: stream.into(),
            id: id.into(),
            action,
            cause: AlertCause::Value,
            rule: "r".into(),
            severity: AlertSeverity::Warning,
            field: "weight.mean".into(),
            value: 1.0,
            threshold: 0.5,
            size_ms: 5000,
            t_start: 0,
            since: 0,
        }
    }

    #[test]
    fn raised_alerts_are_counted_once_and_hold_tells_nobody() {
        let mut alerts = Alerts::new(1);
        alerts.begin(0, 10);
        let heard = alerts.take(0, 10, &alert("a", "x", AlertAction::Raise), 0).unwrap();
        assert!(heard.event.is_some() && heard.raised == 1);
        let heard = alerts.take(0, 11, &alert("a", "x", AlertAction::Hold), 0).unwrap();
        assert!(heard.event.is_none() && heard.raised == 1);
        assert!(alerts.take(0, 11, &alert("a", "y", AlertAction::Raise), 0).is_none(), "a repetition");
        alerts.take(0, 12, &alert("b", "x", AlertAction::Raise), 0).unwrap();
        assert_eq!((alerts.raised(), alerts.raised_of("a")), (2, 1));
        assert_eq!(alerts.raised_streams().collect::<Vec<_>>(), [("b", 1), ("a", 1)]);
        alerts.take(0, 13, &alert("a", "x", AlertAction::Clear), 0).unwrap();
        assert_eq!((alerts.raised(), alerts.raised_of("a")), (1, 0));
        let log = alerts.log_of("a");
        let (after, events) = log.after(None);
        assert_eq!((after, events.map(|event| event.offset).collect::<Vec<_>>()), (9, vec![10, 13]));
        assert_eq!(alerts.log_of("nobody").after(None).0, 13);
    }
}
