//! Random histories against plain rules: whoever drains has the last state, what it is sent rises, nothing is built
//! over a gap, memory follows the topics and not the traffic.

#![allow(clippy::unwrap_used, missing_docs)]

use evenkeel_fanout::{
    Ask, Close, ConnectionId, Control, Encode, Event, EventLog, Fanout, Format, Kind, Painted, Position,
    Settings, Subscribe, Subscribed,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const SETTINGS: Settings = Settings {
    tick_ms: 100,
    topics_max: 8,
    linger_ms: 300,
    subscriptions_max: 6,
    controls_max: 4,
    bytes_per_tick: 40,
    bytes_burst: 80,
};

/// Frames as text: what they build upon, and what they bring the receiver to.
struct Plain;

impl Encode for Plain {
    fn encode(&mut self, ask: &Ask<'_>, _: Format, out: &mut Vec<u8>) {
        let text = match ask {
            Ask::State { epoch, version, since, .. } => {
                format!("{epoch} {} {version}", since.map_or(-1, i64::from))
            }
            Ask::Events { log, since, recovered } => {
                let (after, events) = log.after(*since);
                let offsets: Vec<String> = events.map(|event| event.offset.to_string()).collect();
                let recovered = recovered.map_or("-", |yes| if yes { "yes" } else { "no" });
                format!("{} {after} {recovered} {}", log.epoch(), offsets.join(","))
            }
        };
        out.extend_from_slice(text.as_bytes());
    }
}

/// What a client knows of one of its subscriptions.
#[derive(Debug, Default, Clone)]
struct Known {
    name: String,
    epoch: String,
    version: i64,
    paused: bool,
    events: Vec<i64>,
    at: i64,
    gap: bool,
    answered: bool,
}

struct Client {
    id: ConnectionId,
    stalled: bool,
    owes: bool,
    known: BTreeMap<u32, Known>,
    next: u32,
}

#[derive(Debug, Clone)]
enum Step {
    Connect,
    Disconnect(usize),
    Subscribe { client: usize, topic: usize, hz: u8, again: bool },
    Complete { client: usize, nth: usize },
    Rate { client: usize, nth: usize, hz: u8 },
    Publish(usize),
    Reset(usize),
    Stall { client: usize, on: bool },
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (client, topic, nth) = (0..4usize, 0..6usize, 0..6usize);
    prop_oneof![
        1 => Just(Step::Connect),
        1 => (0..8usize).prop_map(Step::Disconnect),
        6 => (client.clone(), topic.clone(), 0..12u8, any::<bool>())
            .prop_map(|(client, topic, hz, again)| Step::Subscribe { client, topic, hz, again }),
        2 => (client.clone(), nth.clone()).prop_map(|(client, nth)| Step::Complete { client, nth }),
        2 => (client.clone(), nth, 0..12u8).prop_map(|(client, nth, hz)| Step::Rate { client, nth, hz }),
        10 => topic.clone().prop_map(Step::Publish),
        1 => topic.prop_map(Step::Reset),
        2 => (client, any::<bool>()).prop_map(|(client, on)| Step::Stall { client, on }),
        6 => (1..400u64).prop_map(Step::Pass),
    ]
}

/// Topics 0 to 3 are states, 4 and 5 have events.
fn name_of(topic: usize) -> (String, Kind) {
    (format!("topic/{topic}"), if topic < 4 { Kind::State } else { Kind::Event })
}

struct World {
    fanout: Fanout,
    clients: Vec<Client>,
    now_ms: u64,
    epochs: u32,
    offset: i64,
}

impl World {
    fn new() -> Self {
        Self { fanout: Fanout::new(SETTINGS, 0), clients: Vec::new(), now_ms: 0, epochs: 0, offset: 0 }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Connect if self.clients.len() < 4 => {
                let id = self.fanout.connect(Format::Json);
                self.clients.push(Client {
                    id,
                    stalled: false,
                    owes: false,
                    known: BTreeMap::new(),
                    next: 1,
                });
            }
            Step::Disconnect(client) if client < self.clients.len() => {
                let gone = self.clients.swap_remove(client);
                self.fanout.disconnect(gone.id, self.now_ms);
            }
            Step::Subscribe { client, topic, hz, again } => self.subscribe(client, topic, hz, again),
            Step::Complete { client, nth } => {
                let Some(client) = self.clients.get_mut(client) else { return };
                let Some(id) = client.known.keys().nth(nth).copied() else { return };
                client.known.remove(&id);
                self.fanout.complete(client.id, &[u64::from(id)], self.now_ms);
            }
            Step::Rate { client, nth, hz } => {
                let Some(client) = self.clients.get_mut(client) else { return };
                let Some((id, known)) = client.known.iter_mut().nth(nth) else { return };
                self.fanout.rate(client.id, u64::from(*id), f64::from(hz));
                known.paused = hz == 0 && known.answered_kind() == Kind::State;
            }
            Step::Publish(topic) => self.publish(topic),
            Step::Reset(topic) if topic < 4 => {
                if let Some(id) = self.fanout.find(&name_of(topic).0) {
                    self.epochs += 1;
                    self.fanout.reset(id, format!("e{}", self.epochs).into());
                    self.fanout.publish(id, self.now_ms);
                }
            }
            Step::Stall { client, on } => {
                let Some(client) = self.clients.get_mut(client) else { return };
                client.stalled = on;
            }
            Step::Pass(ms) => self.pass(ms),
            _ => {}
        }
    }

    fn subscribe(&mut self, client: usize, topic: usize, hz: u8, again: bool) {
        let Some(client) = self.clients.get_mut(client) else { return };
        let (name, kind) = name_of(topic);
        let held =
            client.known.iter().find(|(_, known)| known.name == name).map(|(id, known)| (*id, known.clone()));
        let (id, before) = match held {
            Some((id, known)) if again => (id, Some(known)),
            _ => (client.next, None),
        };
        let position = before.as_ref().filter(|known| !known.epoch.is_empty()).map(|known| Position {
            epoch: known.epoch.clone(),
            at: if kind == Kind::Event { known.at } else { known.version },
        });
        let (epochs, floor) = (&mut self.epochs, self.offset);
        let ask = Subscribe { id, name: &name, kind, max_hz: f64::from(hz), position };
        let opened = self.fanout.subscribe(client.id, &ask, || {
            *epochs += 1;
            let epoch: Arc<str> = format!("e{epochs}").into();
            let log = (kind == Kind::Event).then(|| EventLog::new(Arc::clone(&epoch), floor, 3));
            (epoch, log)
        });
        match opened.unwrap() {
            Subscribed::Yes(_) => {
                client.next = client.next.max(id + 1);
                let known = client.known.entry(id).or_default();
                known.name = name;
                known.paused = hz == 0 && kind == Kind::State;
                known.gap = false;
                known.answered = false;
            }
            Subscribed::Limit => assert_eq!(client.known.len(), SETTINGS.subscriptions_max),
            Subscribed::Overloaded => panic!("there are fewer topics than the bound"),
        }
    }

    fn publish(&mut self, topic: usize) {
        let (name, kind) = name_of(topic);
        let Some(id) = self.fanout.find(&name) else { return };
        if kind == Kind::State {
            return self.fanout.publish(id, self.now_ms);
        }
        self.offset += 2;
        let event = Event { offset: self.offset, ts: 0, data: [Arc::from([]), Arc::from([])] };
        self.fanout.push(id, event, self.now_ms);
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while self.now_ms < until {
            self.now_ms = self.fanout.due_ms().clamp(self.now_ms, until);
            for client in self.clients.iter_mut().filter(|client| client.owes && !client.stalled) {
                client.owes = false;
                if self.fanout.written(client.id) {
                    let painted = self.fanout.collect(client.id, self.now_ms, &mut Plain).unwrap();
                    client.read(&painted);
                }
            }
            let mut wake = Vec::new();
            self.fanout.tick(self.now_ms, &mut wake);
            for id in wake {
                let painted = self.fanout.collect(id, self.now_ms, &mut Plain).unwrap();
                let client = self.clients.iter_mut().find(|client| client.id == id).unwrap();
                client.read(&painted);
            }
            self.fanout.changes();
            self.check();
        }
    }

    /// Memory is of topics and subscriptions, whatever was published.
    fn check(&self) {
        let subscriptions: usize = self.clients.iter().map(|client| client.known.len()).sum();
        assert_eq!(self.fanout.refs(), subscriptions);
        assert!(self.fanout.topics() <= 6 && self.fanout.len() == self.clients.len());
        assert!(
            self.fanout.cached_bytes() <= self.fanout.topics() * 12 * 64,
            "{}",
            self.fanout.cached_bytes()
        );
    }

    /// Everybody reads what there is.
    fn settle(&mut self) {
        for client in &mut self.clients {
            client.stalled = false;
        }
        self.pass(130_000); // twice the slowest rate class
        for client in &self.clients {
            for (id, known) in &client.known {
                let topic = self.fanout.find(&known.name).unwrap();
                let (epoch, version) = self.fanout.version(topic).unwrap();
                if known.answered_kind() == Kind::Event {
                    assert!(known.answered, "each subscribe has its answer: {known:?}");
                    let last = known.events.last().copied();
                    let held = last.is_none_or(|last| last <= self.offset);
                    assert!(held && *epoch == known.epoch.as_str().into(), "{known:?}");
                } else if !known.paused && version > 0 {
                    assert_eq!((&*known.epoch, known.version), (&**epoch, i64::from(version)), "{id}");
                }
            }
        }
    }
}

impl Known {
    fn answered_kind(&self) -> Kind {
        if self.name.ends_with(['4', '5']) { Kind::Event } else { Kind::State }
    }
}

impl Client {
    fn read(&mut self, painted: &Painted) {
        assert!(!self.owes, "something is given only when the last has left");
        self.owes = !painted.controls.is_empty() || !painted.fragments.is_empty();
        let mut ids = Vec::new();
        for fragment in &painted.fragments {
            assert!(!ids.contains(&fragment.id), "one fragment per topic");
            ids.push(fragment.id);
            let known = self.known.get_mut(&fragment.id).unwrap();
            let text = std::str::from_utf8(&fragment.bytes).unwrap();
            let parts: Vec<&str> = text.split(' ').collect();
            match fragment.kind {
                Kind::State => state(known, &parts),
                Kind::Event => events(known, &parts),
            }
        }
    }
}

fn state(known: &mut Known, parts: &[&str]) {
    assert!(!known.paused, "nothing comes while it is paused");
    let (since, version): (i64, i64) = (parts[1].parse().unwrap(), parts[2].parse().unwrap());
    if parts[0] == known.epoch {
        assert!(version > known.version || since == -1, "it rises: {parts:?} {known:?}");
        assert!(since == -1 || since == known.version, "nothing is built over a gap: {parts:?} {known:?}");
    } else {
        assert_eq!(since, -1, "another epoch replaces everything: {parts:?} {known:?}");
    }
    (known.epoch, known.version) = (parts[0].to_owned(), version);
}

fn events(known: &mut Known, parts: &[&str]) {
    let after: i64 = parts[1].parse().unwrap();
    let offsets: Vec<i64> =
        parts[3].split(',').filter(|t| !t.is_empty()).map(|t| t.parse().unwrap()).collect();
    assert!(offsets.iter().all(|offset| *offset > after) && offsets.is_sorted());
    let same = parts[0] == known.epoch;
    match parts[2] {
        "yes" => assert!(same && after <= known.at, "{parts:?} {known:?}"),
        "no" => known.events.clear(),
        _ if !same => known.events.clear(),
        _ if !known.answered => {}
        _ => known.gap |= after > known.at,
    }
    known.answered = true;
    known.epoch = parts[0].to_owned();
    known.events.extend(&offsets);
    known.at = offsets.last().copied().unwrap_or(after).max(if same { known.at } else { i64::MIN });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whoever_drains_has_the_last_state(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in &steps {
            world.apply(step);
        }
        world.settle();
    }
}

#[test]
fn a_stalled_client_moves_nobody_elses_tick() {
    let settings = Settings { bytes_per_tick: 1 << 20, bytes_burst: 1 << 20, ..SETTINGS };
    let paints = |stalled: bool| {
        let mut fanout = Fanout::new(settings, 0);
        let ids: Vec<ConnectionId> = (0..100).map(|_| fanout.connect(Format::Json)).collect();
        for id in &ids {
            let ask = Subscribe { id: 1, name: "t", kind: Kind::State, max_hz: 10.0, position: None };
            fanout.subscribe(*id, &ask, || ("e".into(), None)).unwrap();
        }
        let topic = fanout.find("t").unwrap();
        let (mut painted, mut wake) = (Vec::new(), Vec::new());
        let mut held = 0;
        for now_ms in 0..20_000 {
            if now_ms % 50 == 0 {
                fanout.publish(topic, now_ms);
            }
            fanout.tick(now_ms, &mut wake);
            for id in wake.drain(..) {
                let late_ms = now_ms % 10;
                let got = fanout.collect(id, now_ms, &mut Plain).unwrap();
                held = held.max(got.controls.len());
                if id == ids[7] && stalled {
                    continue; // it never says `written`
                }
                painted.push((now_ms, id, late_ms, got.fragments.len()));
                fanout.written(id);
            }
        }
        painted.retain(|(_, id, ..)| *id != ids[7]);
        (painted, fanout.figures())
    };
    let ((alone, _), (beside, figures)) = (paints(false), paints(true));
    // Ten of the hundred have their first tick at 0, before anything was published.
    assert_eq!(alone.len(), 89 * 200 + 10 * 199);
    assert_eq!(alone, beside);
    assert!(figures.missed > 0);
    // A tick's frames are made once for each version that somebody saw last, not once per connection.
    assert!(figures.encoded * 20 < figures.fragments, "{figures:?}");
}

#[test]
fn control_messages_are_all_sent_or_the_connection_ends() {
    let mut fanout = Fanout::new(SETTINGS, 0);
    let id = fanout.connect(Format::Json);
    assert_eq!(fanout.control(id, Control::Pong), Ok(true));
    for _ in 1..SETTINGS.controls_max {
        assert_eq!(fanout.control(id, Control::Pong), Ok(false), "it is told once");
    }
    assert_eq!(fanout.control(id, Control::Ping), Err(Close::TooSlow(4)));
    assert_eq!(fanout.collect(id, 0, &mut Plain).unwrap().controls.len(), 4);
    assert_eq!(fanout.control(id, Control::Ping), Ok(false), "the last ones have not left");
    assert!(fanout.written(id));
    assert_eq!(fanout.collect(id, 0, &mut Plain).unwrap().controls, [Control::Ping]);
    fanout.disconnect(id, 0);
    assert_eq!(fanout.control(id, Control::Ping), Err(Close::Gone));
}

#[test]
fn large_topics_do_not_starve_small_ones() {
    let settings = Settings { topics_max: 20, subscriptions_max: 20, ..SETTINGS };
    let mut fanout = Fanout::new(settings, 0);
    let id = fanout.connect(Format::Json);
    let names: Vec<String> =
        (0..12).map(|n| format!("{}{n}", if n < 3 { "large-topic-name/" } else { "s" })).collect();
    for (n, name) in names.iter().enumerate() {
        let ask = Subscribe { id: n as u32 + 1, name, kind: Kind::State, max_hz: 10.0, position: None };
        fanout.subscribe(id, &ask, || (name.as_str().into(), None)).unwrap();
    }
    let (mut wake, mut frames, mut bytes) = (Vec::new(), BTreeMap::<u32, u32>::new(), 0);
    for now_ms in (0..60_000).step_by(10) {
        if now_ms % 100 == 0 {
            names.iter().for_each(|name| fanout.publish(fanout.find(name).unwrap(), now_ms));
        }
        fanout.tick(now_ms, &mut wake);
        for id in wake.drain(..) {
            for fragment in fanout.collect(id, now_ms, &mut Plain).unwrap().fragments {
                *frames.entry(fragment.id).or_default() += 1;
                bytes += fragment.bytes.len() as u64;
            }
            fanout.written(id);
        }
    }
    let (least, most) = (frames.values().min().unwrap(), frames.values().max().unwrap());
    assert!(frames.len() == 12 && most - least <= 1, "{frames:?}");
    assert!(bytes <= 600 * settings.bytes_per_tick + settings.bytes_burst + 64, "{bytes}");
}

#[test]
fn a_topic_goes_when_nobody_has_looked_for_the_linger() {
    let mut fanout = Fanout::new(SETTINGS, 0);
    let id = fanout.connect(Format::Cbor);
    let ask = Subscribe { id: 1, name: "t", kind: Kind::State, max_hz: 1.0, position: None };
    let epoch = || ("e".into(), None);
    fanout.subscribe(id, &ask, epoch).unwrap();
    assert_eq!(fanout.changes().len(), 1);
    fanout.complete(id, &[1], 1000);
    fanout.tick(1200, &mut Vec::new());
    fanout.subscribe(id, &ask, epoch).unwrap();
    fanout.tick(5000, &mut Vec::new());
    assert!(fanout.changes().is_empty() && fanout.topics() == 1, "it was taken up again");
    fanout.disconnect(id, 6000);
    fanout.tick(6290, &mut Vec::new());
    assert_eq!(fanout.topics(), 1);
    fanout.tick(6300, &mut Vec::new());
    assert_eq!((fanout.topics(), fanout.changes().len(), fanout.refs()), (0, 1, 0));
}
