//! The hall: everything a gateway holds, in one place, without a clock or a socket.
//!
//! Owns: the fan-out, what the topics hold, what is watched, the alerts. Never: waits. The edges lock it for the time
//! of one call: a message, a record, a tick.

use crate::alerts::{Alerts, both};
use crate::content::devices::Devices;
use crate::content::status::Status;
use crate::content::telemetry::Telemetry;
use crate::content::windows::{ROWS_MAX, Windows};
use crate::content::{Content, FleetSummary};
use crate::contents::{Contents, Slot, head_of};
use crate::interest::{Manner, Watching};
use crate::protocol::Wish;
use crate::protocol::name::Name;
use crate::rights::refusal;
use crate::source::{Errand, Listing, Question};
use evenkeel_auth::Credential;
use evenkeel_fanout::{
    Bucket, Change, Close, ConnectionId, Control, EndReason, Ended, Event, EventLog, Fanout, Kind, Painted,
    Settings, Subscribe, Subscribed, TickReport, TopicId,
};
use evenkeel_model::{Alert, Frame, FrameKind, Interest, StoredRow};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How often the store is asked for its streams, while somebody looks, ms.
const LIST_EVERY_MS: u64 = 2_000;

/// Bounds and times of a hall.
#[derive(Debug, Clone)]
pub(crate) struct HallSettings {
    pub(crate) fanout: Settings,
    pub(crate) manner: Manner,
    /// New topics per second, and at once.
    pub(crate) new_topics: (u32, u32),
    /// Points of a device that are kept, ms.
    pub(crate) span_ms: i64,
    /// A state topic without news for so long is stale, ms.
    pub(crate) stale_after_ms: i64,
    /// Frames per second that are asked for.
    pub(crate) frame_hz: f64,
    /// The size of windows that stands in for points in the past, ms.
    pub(crate) history_size_ms: i64,
    /// Names this instance in epochs.
    pub(crate) instance: String,
    /// Most questions to the store that wait.
    pub(crate) questions_max: usize,
}

/// Sums of the hall itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    pub(crate) frames_in: u64,
    pub(crate) frames_ignored: u64,
    pub(crate) subscribes_refused: u64,
    pub(crate) questions_dropped: u64,
}

/// Everything.
pub(crate) struct Hall {
    pub(crate) fanout: Fanout,
    contents: Contents,
    names: BTreeMap<Arc<Name>, TopicId>,
    /// The other way round.
    named: BTreeMap<TopicId, Arc<Name>>,
    watching: Watching,
    pub(crate) alerts: Alerts,
    new_topics: Bucket,
    settings: HallSettings,
    epochs: u64,
    notices: i64,
    errands: Vec<Errand>,
    /// Streams and sizes that the store is asked for.
    asked: BTreeSet<(String, i64)>,
    /// When the store was last asked for its streams; `None` while it is.
    listed_ms: Option<u64>,
    swept_ms: u64,
    pub(crate) sums: Sums,
}

/// A message to a user.
#[derive(Serialize)]
struct Notice<'a> {
    stream_id: &'a str,
    severity: &'a str,
    text: &'a str,
}

impl Hall {
    pub(crate) fn new(settings: HallSettings, partitions: u32, now_ms: u64) -> Self {
        let (per_s, burst) = settings.new_topics;
        Self {
            fanout: Fanout::new(settings.fanout, now_ms),
            contents: Contents::default(),
            names: BTreeMap::new(),
            named: BTreeMap::new(),
            watching: Watching::new(settings.manner.clone()),
            alerts: Alerts::new(partitions),
            new_topics: Bucket::new(per_s, burst, now_ms),
            settings,
            epochs: 0,
            notices: 0,
            errands: Vec::new(),
            asked: BTreeSet::new(),
            listed_ms: Some(now_ms),
            swept_ms: now_ms,
            sums: Sums::default(),
        }
    }

    /// Subscribes to all of a batch; what cannot be is told in the answer. `now` = ms of the fan-out's clock, ms since
    /// the epoch.
    pub(crate) fn subscribe(
        &mut self,
        id: ConnectionId,
        wishes: Vec<Wish>,
        credential: &Credential,
        now: (u64, i64),
    ) -> Result<Vec<Ended>, Close> {
        let mut ended = Vec::new();
        for wish in wishes {
            if let Some((reason, message, retry_after_ms)) = self.subscribe_one(id, &wish, credential, now)? {
                self.sums.subscribes_refused += 1;
                ended.push(Ended { id: wish.id.into(), reason, message, retry_after_ms });
            }
        }
        Ok(ended)
    }

    fn subscribe_one(
        &mut self,
        id: ConnectionId,
        wish: &Wish,
        credential: &Credential,
        (now_ms, wall_ms): (u64, i64),
    ) -> Result<Option<(EndReason, String, Option<u64>)>, Close> {
        let Some(name) = Name::parse(&wish.topic).map(|name| name.of(credential)) else {
            return Ok(Some((EndReason::UnknownTopic, format!("{} is no topic", wish.topic), None)));
        };
        if let Some(why) = refusal(credential, &name) {
            return Ok(Some((EndReason::Forbidden, why, None)));
        }
        // One name per content, however its parameters were encoded.
        let key = format!("{name:?}");
        if self.fanout.find(&key).is_none()
            && let Err(wait_ms) = self.new_topics.take(now_ms)
        {
            let message = "too many new topics at once".to_owned();
            return Ok(Some((EndReason::Overloaded, message, Some(wait_ms.max(1)))));
        }
        let kind = if name.is_event() { Kind::Event } else { Kind::State };
        let max_hz = wish.max_hz.unwrap_or(self.settings.frame_hz);
        let ask = Subscribe { id: wish.id, name: &key, kind, max_hz, position: wish.position.clone() };
        self.epochs += 1;
        let (epoch, alerts) = (format!("{}.{}", self.settings.instance, self.epochs), &self.alerts);
        let subscribed = self.fanout.subscribe(id, &ask, || match &name {
            Name::Alerts { device } => {
                let log = alerts.log_of(device);
                (Arc::clone(log.epoch()), Some(log))
            }
            Name::Notifications { .. } => {
                let epoch: Arc<str> = epoch.into();
                (Arc::clone(&epoch), Some(EventLog::new(epoch, -1, crate::alerts::EVENTS_MAX)))
            }
            _ => (epoch.into(), None),
        })?;
        self.changes(wall_ms, Some(name));
        Ok(match subscribed {
            Subscribed::Yes(_) => None,
            Subscribed::Limit => {
                let max = self.settings.fanout.subscriptions_max;
                Some((EndReason::Limit, format!("a connection has at most {max} subscriptions"), None))
            }
            Subscribed::Overloaded => {
                Some((EndReason::Overloaded, "this server has too many topics".into(), Some(5_000)))
            }
        })
    }

    /// Ends what a connection looks at and its new credential does not cover.
    pub(crate) fn judge(&mut self, id: ConnectionId, credential: &Credential, now_ms: u64) -> Vec<Ended> {
        let mut ended = Vec::new();
        for (of, topic) in self.fanout.subscriptions(id) {
            if let Some(message) = self.named.get(&topic).and_then(|name| refusal(credential, name)) {
                ended.push(Ended {
                    id: of.into(),
                    reason: EndReason::Forbidden,
                    message,
                    retry_after_ms: None,
                });
            }
        }
        let ids: Vec<u64> = ended.iter().map(|ended| ended.id).collect();
        self.fanout.complete(id, &ids, now_ms);
        ended
    }

    /// Takes what opened (that is `opened`) and closed.
    fn changes(&mut self, wall_ms: i64, mut opened: Option<Name>) {
        for change in self.fanout.changes() {
            match change {
                Change::Opened { topic, .. } => {
                    if let Some(name) = opened.take() {
                        self.open(topic, name, wall_ms);
                    }
                }
                Change::Closed { topic, .. } => self.close(topic, wall_ms),
            }
        }
    }

    fn open(&mut self, topic: TopicId, name: Name, wall_ms: i64) {
        let name = Arc::new(name);
        self.names.insert(Arc::clone(&name), topic);
        self.named.insert(topic, Arc::clone(&name));
        let content = match &*name {
            Name::Telemetry { device } => {
                self.watching.add(device, FrameKind::Telemetry, 0, self.settings.frame_hz, wall_ms);
                self.ask(device, self.settings.history_size_ms);
                Content::Telemetry(Telemetry::new(self.settings.span_ms))
            }
            Name::Windows { device, size_ms } => {
                self.watching.add(device, FrameKind::Windows, *size_ms, 1.0, wall_ms);
                self.ask(device, *size_ms);
                Content::Windows(Windows::new(*size_ms))
            }
            Name::Status { device } => {
                self.watching.add(device, FrameKind::Status, 0, 1.0, wall_ms);
                self.ask(device, self.settings.history_size_ms);
                let mut status = Status::default();
                status.state.alerts_raised = self.alerts.raised_of(device);
                Content::Status(status)
            }
            Name::Fleet => Content::Fleet(None),
            Name::Devices => {
                self.list();
                Content::Devices(None)
            }
            Name::Alerts { .. } | Name::Notifications { .. } => return,
        };
        self.contents.put(topic, Slot { content, heard_ms: wall_ms });
    }

    fn close(&mut self, topic: TopicId, wall_ms: i64) {
        let Some(name) = self.named.remove(&topic) else { return };
        self.names.remove(&name);
        if self.contents.take(topic).is_none() {
            return; // an event topic: no frames are asked for
        }
        let Some(device) = name.device() else { return };
        let (kind, size_ms) = match &*name {
            Name::Windows { size_ms, .. } => (FrameKind::Windows, *size_ms),
            Name::Status { .. } => (FrameKind::Status, 0),
            _ => (FrameKind::Telemetry, 0),
        };
        self.watching.remove(device, kind, size_ms, wall_ms);
    }

    /// Asks the store, unless it is asked already: one question per stream and size on its way.
    fn ask(&mut self, stream_id: &str, size_ms: i64) {
        if self.errands.len() >= self.settings.questions_max {
            self.sums.questions_dropped += 1;
            return;
        }
        if self.asked.insert((stream_id.to_owned(), size_ms)) {
            let question = Question { stream_id: stream_id.to_owned(), size_ms, rows_max: ROWS_MAX };
            self.errands.push(Errand::Newest(question));
        }
    }

    /// Asks the store for its streams, unless it is asked already.
    fn list(&mut self) {
        if self.listed_ms.take().is_some() {
            self.errands.push(Errand::Streams);
        }
    }

    /// What the store is to be asked.
    pub(crate) fn errands(&mut self) -> Vec<Errand> {
        std::mem::take(&mut self.errands)
    }

    /// An errand that nobody runs, or that brought nothing; it is not repeated at once.
    pub(crate) fn unanswered(&mut self, errand: Errand, now_ms: u64) {
        match errand {
            Errand::Newest(of) => {
                self.asked.remove(&(of.stream_id, of.size_ms));
            }
            Errand::Streams => self.listed_ms = Some(now_ms),
        }
    }

    /// The store's streams.
    pub(crate) fn listing(&mut self, listing: &Listing, (now_ms, wall_ms): (u64, i64)) {
        self.listed_ms = Some(now_ms);
        let devices = Devices::of(listing, self.alerts.raised_streams(), wall_ms);
        self.update(&Name::Devices, (now_ms, Some(wall_ms)), |content, _| {
            *content = Content::Devices(Some((wall_ms, devices)));
            true
        });
    }

    /// The store's newest rows of a stream.
    pub(crate) fn history(&mut self, of: &Question, rows: &[StoredRow], (now_ms, wall_ms): (u64, i64)) {
        self.asked.remove(&(of.stream_id.clone(), of.size_ms));
        let device = || of.stream_id.clone();
        let names = [
            Name::Telemetry { device: device() },
            Name::Status { device: device() },
            Name::Windows { device: device(), size_ms: of.size_ms },
        ];
        for name in names {
            let for_it = matches!(name, Name::Windows { .. }) || of.size_ms == self.settings.history_size_ms;
            if !for_it {
                continue;
            }
            self.update(&name, (now_ms, None), |content, version| match content {
                Content::Telemetry(content) => content.history(rows, wall_ms, version),
                Content::Windows(content) => content.history(rows, wall_ms),
                Content::Status(content) => content.history(rows, wall_ms),
                Content::Fleet(_) | Content::Devices(_) => false,
            });
        }
    }

    /// Changes a topic somebody looks at; `true` of the change publishes it. `heard` = when the log said it.
    fn update(
        &mut self,
        name: &Name,
        (now_ms, heard_ms): (u64, Option<i64>),
        change: impl FnOnce(&mut Content, u32) -> bool,
    ) {
        let Some(&topic) = self.names.get(name) else { return };
        let Some(version) = self.fanout.version(topic).map(|(_, version)| version.wrapping_add(1)) else {
            return;
        };
        let Some(slot) = self.contents.get_mut(topic) else { return };
        if change(&mut slot.content, version) {
            slot.heard_ms = heard_ms.unwrap_or(slot.heard_ms);
            self.fanout.publish(topic, now_ms);
        } else if heard_ms.is_some() {
            self.sums.frames_ignored += 1;
        }
    }

    /// A frame of the log.
    pub(crate) fn frame(&mut self, frame: &Frame, (now_ms, wall_ms): (u64, i64)) {
        self.sums.frames_in += 1;
        let device = frame.stream_id.clone();
        let name = match frame.kind {
            FrameKind::Telemetry => Name::Telemetry { device },
            FrameKind::Windows => Name::Windows { device, size_ms: frame.size_ms },
            FrameKind::Status => Name::Status { device },
        };
        let alerting = self.alerts.raised_of(&frame.stream_id) > 0;
        self.update(&name, (now_ms, Some(wall_ms)), |content, version| {
            let taken = match content {
                Content::Telemetry(content) => content.frame(frame, version),
                Content::Windows(content) => content.frame(frame),
                Content::Status(content) => content.frame(frame),
                Content::Fleet(_) | Content::Devices(_) => false,
            };
            if let Some(head) = head_of(content) {
                head.alerting = alerting;
            }
            taken
        });
    }

    /// An alert of the log.
    pub(crate) fn alert(&mut self, (partition, offset, ts_ms): (u32, u64, i64), alert: &Alert, now_ms: u64) {
        let Some(heard) = self.alerts.take(partition, offset, alert, ts_ms) else { return };
        let device = || alert.stream_id.clone();
        if let (Some(event), Some(&topic)) =
            (&heard.event, self.names.get(&Name::Alerts { device: device() }))
        {
            self.fanout.push(topic, event.clone(), now_ms);
        }
        if heard.event.is_some() {
            let severity = heard.severity.as_str();
            let notice = Notice { stream_id: &alert.stream_id, severity, text: &heard.text };
            self.notify(&notice, ts_ms, now_ms);
        }
        self.update(&Name::Status { device: device() }, (now_ms, None), |content, _| match content {
            Content::Status(status) => {
                status.state.alerts_raised = heard.raised;
                status.head.alerting = heard.raised > 0;
                !status.head.source.is_empty()
            }
            _ => false,
        });
    }

    /// Tells every user who looks and may see the stream.
    fn notify(&mut self, notice: &Notice<'_>, ts: i64, now_ms: u64) {
        let first = Name::Notifications { user: String::new(), streams: Vec::new() };
        let may_see = |name: &Name| match name {
            Name::Notifications { streams, .. } => streams.iter().any(|of| of.matches(notice.stream_id)),
            _ => false,
        };
        let users = self.names.range::<Name, _>(first..);
        let topics: Vec<TopicId> = users.filter(|(name, _)| may_see(name)).map(|(_, topic)| *topic).collect();
        self.notices += 1;
        let event = Event { offset: self.notices, ts, data: both(notice) };
        topics.into_iter().for_each(|topic| self.fanout.push(topic, event.clone(), now_ms));
    }

    /// Totals over all devices.
    pub(crate) fn fleet(&mut self, summary: FleetSummary, (now_ms, wall_ms): (u64, i64)) {
        let raised = self.alerts.raised();
        self.update(&Name::Fleet, (now_ms, Some(wall_ms)), |content, _| {
            *content = Content::Fleet(Some((wall_ms, FleetSummary { alerts_raised: raised, ..summary })));
            true
        });
    }

    /// Whether anybody looks at the totals.
    pub(crate) fn fleet_is_watched(&self) -> bool {
        self.names.contains_key(&Name::Fleet)
    }

    /// Moves on; whoever is to collect is told in `wake`.
    pub(crate) fn tick(&mut self, now: (u64, i64), wake: &mut Vec<ConnectionId>) -> TickReport {
        let report = self.fanout.tick(now.0, wake);
        self.changes(now.1, None);
        if now.0.saturating_sub(self.swept_ms) >= 1000 {
            self.swept_ms = now.0;
            let due = |at_ms: u64| now.0.saturating_sub(at_ms) >= LIST_EVERY_MS;
            if self.names.contains_key(&Name::Devices) && self.listed_ms.is_some_and(due) {
                self.list();
            }
            self.sweep(now);
        }
        report
    }

    /// Says of topics without news that they are stale.
    fn sweep(&mut self, (now_ms, wall_ms): (u64, i64)) {
        let names: Vec<Arc<Name>> = self.names.keys().cloned().collect();
        let stale_after_ms = self.settings.stale_after_ms;
        for name in names {
            let Some(slot) = self.names.get(&name).and_then(|topic| self.contents.get_mut(*topic)) else {
                continue;
            };
            let old = wall_ms - slot.heard_ms > stale_after_ms;
            let turns_stale =
                head_of(&mut slot.content).is_some_and(|h| old && !h.stale && !h.source.is_empty());
            if turns_stale {
                self.update(&name, (now_ms, None), |content, version| {
                    if let Some(head) = head_of(content) {
                        head.stale = true;
                    }
                    if let Content::Telemetry(content) = content {
                        content.touched(version);
                    }
                    true
                });
            }
        }
    }

    /// What a connection writes now.
    pub(crate) fn collect(&mut self, id: ConnectionId, now_ms: u64) -> Result<Painted, Close> {
        self.fanout.collect(id, now_ms, &mut self.contents)
    }

    /// What is to be said of what is watched.
    pub(crate) fn interests(&mut self, wall_ms: i64) -> Vec<Interest> {
        self.watching.due(wall_ms)
    }

    /// Watched streams.
    pub(crate) fn watched(&self) -> usize {
        self.watching.len()
    }

    /// A control message for a connection; see [`Fanout::control`].
    pub(crate) fn control(&mut self, id: ConnectionId, message: Control) -> Result<bool, Close> {
        self.fanout.control(id, message)
    }
}
