//! The whole: connections on topics.
//!
//! Keeps, for every connection: at most one `next` per tick, none while the last one has not left; what it is sent of
//! a topic rises; nothing that it cannot take is kept for it.

use crate::connection::{Close, Connection, Control, Format, Position};
use crate::events::{Event, EventLog};
use crate::ladder::Ladder;
use crate::pace::Class;
use crate::paint::{Brush, Encode, Painted, is_dirty, is_time};
use crate::settings::{Figures, Settings, Subscribe, Subscribed, TickReport};
use crate::subscription::Subscription;
use crate::topics::{Change, Kind, Topic, TopicId, TopicView, Topics};
use std::collections::VecDeque;
use std::sync::Arc;

/// A connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId {
    slot: u32,
    generation: u32,
}

impl ConnectionId {
    /// Counts the connections.
    pub fn number(self) -> u32 {
        self.generation
    }
}

/// Topics, subscriptions and paint ticks. Times are ms on one clock that never goes back.
#[derive(Debug)]
pub struct Fanout {
    settings: Settings,
    topics: Topics,
    connections: Vec<Option<Connection>>,
    free: Vec<u32>,
    generation: u32,
    /// Slots of connections, by phase.
    phases: Vec<Vec<u32>>,
    /// The next group of all: group g is due at `begun + g · tick / PHASES`.
    group: u64,
    begun_ms: u64,
    open: usize,
    refs: usize,
    figures: Figures,
    scratch: Vec<u8>,
}

impl Fanout {
    /// Nobody is connected.
    pub fn new(settings: Settings, now_ms: u64) -> Self {
        Self {
            topics: Topics::new(settings.topics_max, settings.linger_ms),
            settings,
            connections: Vec::new(),
            free: Vec::new(),
            generation: 0,
            phases: vec![Vec::new(); Settings::PHASES as usize],
            group: 1,
            begun_ms: now_ms,
            open: 0,
            refs: 0,
            figures: Figures::default(),
            scratch: Vec::new(),
        }
    }

    /// A connection came.
    pub fn connect(&mut self, format: Format) -> ConnectionId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() as u32 - 1
        });
        // The emptiest phase, so that they stay even whoever leaves.
        let phase = (0..self.phases.len()).min_by_key(|phase| self.phases[*phase].len()).unwrap_or(0);
        self.phases[phase].push(slot);
        self.generation = self.generation.wrapping_add(1);
        let tick = self.tick_of(phase as u64);
        self.connections[slot as usize] = Some(Connection {
            format,
            subscriptions: Vec::new(),
            controls: VecDeque::new(),
            ladder: Ladder::default(),
            writing: false,
            woken: false,
            tick,
            painted: tick.wrapping_sub(1),
            credit: self.burst(),
            credited: tick,
            cursor: 0,
            phase: phase as u32,
            generation: self.generation,
        });
        self.open += 1;
        ConnectionId { slot, generation: self.generation }
    }

    /// A connection went, and all it looked at.
    pub fn disconnect(&mut self, id: ConnectionId, now_ms: u64) {
        if self.connection(id).is_none() {
            return;
        }
        let Some(gone) = self.connections[id.slot as usize].take() else { return };
        for subscription in &gone.subscriptions {
            self.topics.release(subscription.topic, now_ms);
        }
        self.refs -= gone.subscriptions.len();
        self.open -= 1;
        let group = &mut self.phases[gone.phase as usize];
        if let Some(at) = group.iter().position(|slot| *slot == id.slot) {
            group.swap_remove(at);
        }
        self.free.push(id.slot);
    }

    /// Subscribes; the same number and topic again moves the subscription to another position. `open` makes the epoch
    /// of a topic that nobody looked at so far, and its log if it is one of events.
    pub fn subscribe(
        &mut self,
        id: ConnectionId,
        ask: &Subscribe<'_>,
        open: impl FnOnce() -> (Arc<str>, Option<EventLog>),
    ) -> Result<Subscribed, Close> {
        let ticks_per_s = self.settings.ticks_per_s();
        let subscriptions_max = self.settings.subscriptions_max;
        let connection = connection_of(&mut self.connections, id).ok_or(Close::Gone)?;
        let at = connection.subscriptions.iter().position(|s| s.id == ask.id);
        if at.is_none() && connection.subscriptions.len() >= subscriptions_max {
            return Ok(Subscribed::Limit);
        }
        let known = self.topics.find(ask.name);
        if let Some(at) = at
            && known != Some(connection.subscriptions[at].topic)
        {
            return Err(Close::IdInUse(ask.id));
        }
        let topic = match known {
            Some(topic) => topic,
            None => {
                let (epoch, log) = open();
                match self.topics.open(ask.name, epoch, log) {
                    Some(topic) => topic,
                    None => return Ok(Subscribed::Overloaded),
                }
            }
        };
        let class =
            if ask.max_hz > 0.0 { Class::of(ask.max_hz, ticks_per_s) } else { Class::of(1.0, ticks_per_s) };
        let mut subscription = Subscription::new(ask.id, topic, class);
        subscription.set(Subscription::EVENTS, ask.kind == Kind::Event);
        subscription.set(Subscription::PAUSED, ask.max_hz <= 0.0 && ask.kind == Kind::State);
        if let Some(of) = self.topics.get(topic) {
            place(&mut subscription, of, ask.position.as_ref());
        }
        match at {
            Some(at) => connection.subscriptions[at] = subscription,
            None => {
                connection.subscriptions.push(subscription);
                self.topics.acquire(topic);
                self.refs += 1;
            }
        }
        Ok(Subscribed::Yes(topic))
    }

    /// Nobody looks at these any more. Unknown numbers are nothing.
    pub fn complete(&mut self, id: ConnectionId, ids: &[u64], now_ms: u64) {
        let Some(connection) = connection_of(&mut self.connections, id) else { return };
        let before = connection.subscriptions.len();
        let topics = &mut self.topics;
        connection.subscriptions.retain(|s| {
            let ended = ids.contains(&u64::from(s.id));
            if ended {
                topics.release(s.topic, now_ms);
            }
            !ended
        });
        self.refs -= before - connection.subscriptions.len();
    }

    /// What a connection looks at: its numbers, and the topics.
    pub fn subscriptions(&self, id: ConnectionId) -> Vec<(u32, TopicId)> {
        let subscriptions = self.connection(id).map(|connection| &connection.subscriptions);
        subscriptions.into_iter().flatten().map(|s| (s.id, s.topic)).collect()
    }

    /// Another rate; 0 pauses a state topic. Unknown numbers are nothing.
    pub fn rate(&mut self, id: ConnectionId, of: u64, max_hz: f64) {
        let ticks_per_s = self.settings.ticks_per_s();
        let Some(connection) = connection_of(&mut self.connections, id) else { return };
        let Some(subscription) = connection.subscriptions.iter_mut().find(|s| u64::from(s.id) == of) else {
            return;
        };
        if subscription.is(Subscription::EVENTS) {
            return;
        }
        let pause = max_hz <= 0.0;
        if subscription.is(Subscription::PAUSED) && !pause {
            subscription.set(Subscription::HAS, false);
            subscription.set(Subscription::SOON, true);
        }
        subscription.set(Subscription::PAUSED, pause);
        if !pause {
            subscription.class = Class::of(max_hz, ticks_per_s);
        }
    }

    /// Queues a control message. `Ok(true)` = the connection is to collect it now.
    pub fn control(&mut self, id: ConnectionId, message: Control) -> Result<bool, Close> {
        let controls_max = self.settings.controls_max;
        let connection = connection_of(&mut self.connections, id).ok_or(Close::Gone)?;
        if connection.controls.len() >= controls_max {
            return Err(Close::TooSlow(connection.controls.len()));
        }
        connection.controls.push_back(message);
        Ok(!connection.writing && !std::mem::replace(&mut connection.woken, true))
    }

    /// A state topic has something newer.
    pub fn publish(&mut self, topic: TopicId, now_ms: u64) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.version = topic.version.wrapping_add(1);
            topic.published_ms = Some(now_ms);
            topic.cache.clear();
        }
    }

    /// A state topic begins anew: nothing that was sent before can be built upon.
    pub fn reset(&mut self, topic: TopicId, epoch: Arc<str>) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.floor = topic.version;
            topic.epoch = epoch;
            topic.cache.clear();
        }
    }

    /// An event of an event topic; a repetition is nothing.
    pub fn push(&mut self, topic: TopicId, event: Event, now_ms: u64) {
        let Some(topic) = self.topics.get_mut(topic) else { return };
        if let Some(log) = &mut topic.log
            && log.push(event)
        {
            topic.version = log.count();
            topic.published_ms = Some(now_ms);
            topic.cache.clear();
        }
    }

    /// When [`Fanout::tick`] is due next, ms: when the next phase that has a connection is, or in a tick's time. Who
    /// waits for it asks again after [`Fanout::connect`].
    pub fn due_ms(&self) -> u64 {
        let last = self.group + Settings::PHASES - 1;
        let occupied = |group: &u64| !self.phases[(group % Settings::PHASES) as usize].is_empty();
        self.due_of((self.group..last).find(occupied).unwrap_or(last))
    }

    /// Moves on to `now_ms`: whoever has something to take and can take it is told in `wake`, and collects.
    pub fn tick(&mut self, now_ms: u64, wake: &mut Vec<ConnectionId>) -> TickReport {
        let mut report = TickReport::default();
        if now_ms < self.due_of(self.group) {
            return report;
        }
        report.late_ms = now_ms.saturating_sub(self.due_ms());
        let last = (now_ms - self.begun_ms) * Settings::PHASES / self.settings.tick_ms;
        // Groups that were due more than once are painted once: the newest is all that counts.
        let first = self.group.max((last + 1).saturating_sub(Settings::PHASES));
        report.merged = first - self.group;
        for group in first..=last {
            self.group = group + 1;
            self.look_at(group, wake);
        }
        self.topics.sweep(now_ms);
        report
    }

    fn look_at(&mut self, group: u64, wake: &mut Vec<ConnectionId>) {
        let (phase, tick) = (group % Settings::PHASES, (group / Settings::PHASES) as u32);
        for &slot in &self.phases[phase as usize] {
            let Some(connection) = &mut self.connections[slot as usize] else { continue };
            connection.tick = tick;
            if connection.woken {
                continue;
            }
            let topics = &self.topics;
            let due = connection.subscriptions.iter().any(|s| is_dirty(s, topics) && is_time(s, tick));
            if connection.writing {
                if due && connection.step_is_due() {
                    self.figures.missed += 1;
                    // A notice that finds no room is dropped: the rate itself has changed, and says so again.
                    if let Some(notice) = connection.ladder.missed()
                        && connection.controls.len() < self.settings.controls_max
                    {
                        connection.controls.push_back(Control::Rate(notice));
                    }
                }
                continue;
            }
            if let Some(notice) = connection.ladder.kept_up()
                && connection.controls.len() < self.settings.controls_max
            {
                connection.controls.push_back(Control::Rate(notice));
            }
            if !connection.controls.is_empty() || (due && connection.step_is_due()) {
                connection.woken = true;
                wake.push(ConnectionId { slot, generation: connection.generation });
            }
        }
    }

    /// What a connection writes now. Until [`Fanout::written`] it is given nothing more. Nothing = there is nothing to
    /// write, and `written` need not be called.
    pub fn collect(
        &mut self,
        id: ConnectionId,
        now_ms: u64,
        encode: &mut dyn Encode,
    ) -> Result<Painted, Close> {
        let (per_tick, burst) = (self.settings.bytes_per_tick as i64, self.burst());
        let connection = connection_of(&mut self.connections, id).ok_or(Close::Gone)?;
        connection.woken = false;
        if connection.writing {
            return Ok(Painted::default());
        }
        let mut painted =
            Painted { controls: connection.controls.drain(..).collect(), fragments: Vec::new() };
        if connection.step_is_due() {
            connection.earn(per_tick, burst);
            let mut brush = Brush { topics: &mut self.topics, figures: &mut self.figures, encode, now_ms };
            brush.paint(connection, &mut self.scratch, &mut painted.fragments);
            if !painted.fragments.is_empty() {
                connection.painted = connection.tick;
            }
        }
        connection.writing = !painted.controls.is_empty() || !painted.fragments.is_empty();
        Ok(painted)
    }

    /// What was collected has left. `true` = there are control messages to collect.
    pub fn written(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = connection_of(&mut self.connections, id) else { return false };
        connection.writing = false;
        !connection.controls.is_empty() && !std::mem::replace(&mut connection.woken, true)
    }

    /// Topics that opened or closed since the last call.
    pub fn changes(&mut self) -> Vec<Change> {
        self.topics.changes()
    }

    /// Whether anybody looks at a topic of this name.
    pub fn find(&self, name: &str) -> Option<TopicId> {
        self.topics.find(name)
    }

    /// The epoch and version of a topic.
    pub fn version(&self, topic: TopicId) -> Option<(&Arc<str>, u32)> {
        self.topics.get(topic).map(|topic| (&topic.epoch, topic.version))
    }

    /// Subscriptions to a topic.
    pub fn refs_of(&self, topic: TopicId) -> u32 {
        self.topics.get(topic).map_or(0, |topic| topic.refs)
    }

    /// Every topic, for diagnostics.
    pub fn views(&self) -> Vec<TopicView> {
        let view = |topic: &Topic| TopicView {
            name: Arc::clone(&topic.name),
            refs: topic.refs,
            version: topic.version,
            published_ms: topic.published_ms,
        };
        self.topics.iter().map(view).collect()
    }

    /// Open connections on each step of the ladder.
    pub fn steps(&self) -> [usize; 4] {
        let mut steps = [0; 4];
        for connection in self.connections.iter().flatten() {
            steps[usize::from(connection.ladder.step()).min(3)] += 1;
        }
        steps
    }

    /// Every connection.
    pub fn ids(&self) -> Vec<ConnectionId> {
        let slots = self.connections.iter().enumerate();
        slots
            .filter_map(|(slot, c)| {
                c.as_ref().map(|c| ConnectionId { slot: slot as u32, generation: c.generation })
            })
            .collect()
    }

    /// Open connections.
    pub fn len(&self) -> usize {
        self.open
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// Topics that stand, with those that linger.
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Subscriptions.
    pub fn refs(&self) -> usize {
        self.refs
    }

    /// Bytes of encoded fragments that are kept to be shared.
    pub fn cached_bytes(&self) -> usize {
        self.topics.cached_bytes()
    }

    /// Sums since the start.
    pub fn figures(&self) -> Figures {
        self.figures
    }

    fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(id.slot as usize)?.as_ref().filter(|c| c.generation == id.generation)
    }

    fn burst(&self) -> i64 {
        i64::try_from(self.settings.bytes_burst).unwrap_or(i64::MAX)
    }

    fn due_of(&self, group: u64) -> u64 {
        self.begun_ms + (group * self.settings.tick_ms).div_ceil(Settings::PHASES)
    }

    /// The tick that a phase is on.
    fn tick_of(&self, phase: u64) -> u32 {
        let last = self.group - 1;
        let back = (last + Settings::PHASES - phase) % Settings::PHASES;
        (last.saturating_sub(back) / Settings::PHASES) as u32
    }
}

fn connection_of(connections: &mut [Option<Connection>], id: ConnectionId) -> Option<&mut Connection> {
    connections.get_mut(id.slot as usize)?.as_mut().filter(|c| c.generation == id.generation)
}

/// What a new subscription has, by its position.
fn place(subscription: &mut Subscription, topic: &Topic, position: Option<&Position>) {
    let found = match (&topic.log, position) {
        (Some(log), Some(position)) => log.find(&position.epoch, position.at),
        (None, Some(position)) if position.epoch == *topic.epoch => {
            u32::try_from(position.at).ok().filter(|seen| topic.follows(*seen))
        }
        _ => None,
    };
    if topic.log.is_some() {
        subscription.set(Subscription::ANSWER, true);
        subscription.set(Subscription::ASKED, position.is_some());
    }
    if let Some(seen) = found {
        subscription.seen = seen;
        subscription.set(Subscription::HAS, true);
    }
}
