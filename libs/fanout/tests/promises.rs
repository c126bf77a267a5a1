//! What a connection is promised, promise by promise; random histories are in model.rs.

#![allow(clippy::unwrap_used, missing_docs)]

use evenkeel_fanout::{
    Ask, Close, ConnectionId, Encode, Event, EventLog, Fanout, Format, Kind, Painted, Position, Settings,
    Subscribe, Subscribed, TopicId,
};
use std::sync::Arc;

const TICK_MS: u64 = 100;
const SETTINGS: Settings = Settings {
    tick_ms: TICK_MS,
    topics_max: 3,
    linger_ms: 300,
    subscriptions_max: 3,
    controls_max: 4,
    bytes_per_tick: 10_000,
    bytes_burst: 10_000,
};

/// What was asked for, as text.
struct Asked;

impl Encode for Asked {
    fn encode(&mut self, ask: &Ask<'_>, _: Format, out: &mut Vec<u8>) {
        let text = match ask {
            Ask::State { version, since, .. } => format!("{version} on {since:?}"),
            Ask::Events { log, since, recovered } => {
                let offsets: Vec<i64> = log.after(*since).1.map(|event| event.offset).collect();
                format!("{offsets:?} recovered {recovered:?}")
            }
        };
        out.extend_from_slice(text.as_bytes());
    }
}

/// A fan-out and its clock.
struct World {
    fanout: Fanout,
    now_ms: u64,
}

impl World {
    fn new() -> Self {
        Self { fanout: Fanout::new(SETTINGS, 0), now_ms: 0 }
    }

    fn subscribe(
        &mut self,
        to: ConnectionId,
        id: u32,
        name: &str,
        at: Option<i64>,
    ) -> Result<Subscribed, Close> {
        let kind = if name.starts_with("event") { Kind::Event } else { Kind::State };
        let position = at.map(|at| Position { epoch: "e".to_owned(), at });
        let ask = Subscribe { id, name, kind, max_hz: 10.0, position };
        let open = || ("e".into(), (kind == Kind::Event).then(|| EventLog::new("e".into(), -1, 3)));
        self.fanout.subscribe(to, &ask, open)
    }

    /// A connection that looks at one topic, whose newest version it has been sent.
    fn looking_at(&mut self, name: &str) -> (ConnectionId, TopicId) {
        let id = self.fanout.connect(Format::Json);
        let Subscribed::Yes(topic) = self.subscribe(id, 1, name, None).unwrap() else { panic!("refused") };
        (id, topic)
    }

    fn event(&mut self, topic: TopicId, offset: i64) {
        let data: Arc<[u8]> = b"x".as_slice().into();
        self.fanout.push(topic, Event { offset, ts: 0, data: [Arc::clone(&data), data] }, self.now_ms);
    }

    /// A tick's time later: who is told to collect.
    fn tick(&mut self) -> Vec<ConnectionId> {
        self.now_ms += TICK_MS;
        let mut wake = Vec::new();
        self.fanout.tick(self.now_ms, &mut wake);
        wake
    }

    fn collect(&mut self, id: ConnectionId) -> Vec<String> {
        let Painted { fragments, .. } = self.fanout.collect(id, self.now_ms, &mut Asked).unwrap();
        fragments.iter().map(|of| String::from_utf8(of.bytes.to_vec()).unwrap()).collect()
    }

    /// The next paint, all of which leaves.
    fn painted(&mut self, id: ConnectionId) -> Vec<String> {
        self.tick();
        let texts = self.collect(id);
        self.fanout.written(id);
        texts
    }
}

#[test]
fn nothing_is_handed_over_while_the_last_is_on_its_way() {
    let mut world = World::new();
    let (id, topic) = world.looking_at("state/1");
    world.fanout.publish(topic, 0);
    assert_eq!(world.tick(), [id]);
    assert_eq!(world.collect(id), ["1 on None"]);
    world.fanout.publish(topic, 1);
    assert!(world.tick().is_empty());
    assert!(world.collect(id).is_empty(), "asked all the same, it is given nothing");
    world.fanout.written(id);
    assert_eq!(world.tick(), [id]);
    assert_eq!(world.collect(id), ["2 on Some(1)"]);
}

#[test]
fn a_connection_is_told_once_until_it_collects() {
    let mut world = World::new();
    let (id, topic) = world.looking_at("state/1");
    world.fanout.publish(topic, 0);
    assert_eq!(world.tick(), [id]);
    world.fanout.publish(topic, 1);
    assert!(world.tick().is_empty());
    assert_eq!(world.collect(id), ["2 on None"]);
}

#[test]
fn a_slow_connection_is_painted_less_often() {
    let mut world = World::new();
    let (id, topic) = world.looking_at("state/1");
    world.fanout.publish(topic, 0);
    world.tick();
    assert_eq!(world.collect(id).len(), 1);
    for _ in 0..3 {
        world.fanout.publish(topic, 1);
        world.tick(); // missed: what it was given has not left
    }
    world.fanout.written(id);
    let mut painted = Vec::new();
    for _ in 0..8 {
        world.fanout.publish(topic, 1);
        painted.push(!world.painted(id).is_empty());
    }
    let count = painted.iter().filter(|painted| **painted).count();
    assert_eq!(count, 4, "every second tick: {painted:?}");
}

#[test]
fn ticks_that_were_overrun_are_one() {
    let mut world = World::new();
    let (id, topic) = world.looking_at("state/1");
    world.fanout.publish(topic, 0);
    let mut wake = Vec::new();
    world.now_ms = 50 * TICK_MS;
    let report = world.fanout.tick(world.now_ms, &mut wake);
    assert_eq!((wake, report.merged), (vec![id], 49 * Settings::PHASES));
    assert!(report.late_ms >= 48 * TICK_MS, "{report:?}");
}

#[test]
fn a_state_that_was_paused_begins_anew() {
    let mut world = World::new();
    let (id, topic) = world.looking_at("state/1");
    world.fanout.publish(topic, 0);
    assert_eq!(world.painted(id), ["1 on None"]);
    world.fanout.rate(id, 1, 0.0);
    world.fanout.publish(topic, 1);
    assert!(world.painted(id).is_empty());
    world.fanout.rate(id, 1, 10.0);
    assert_eq!(world.painted(id), ["2 on None"], "what it had is not built upon");
}

#[test]
fn a_position_is_answered_with_whether_anything_is_missing() {
    let mut world = World::new();
    let (first, topic) = world.looking_at("event/1");
    (1..=3).for_each(|offset| world.event(topic, offset));
    assert_eq!(world.painted(first), ["[1, 2, 3] recovered None"]);
    let id = world.fanout.connect(Format::Json);
    world.subscribe(id, 1, "event/1", Some(2)).unwrap();
    assert_eq!(world.painted(id), ["[3] recovered Some(true)"]);
    // Judged when it is painted: meanwhile what followed the position has left the log.
    let late = world.fanout.connect(Format::Json);
    world.subscribe(late, 1, "event/1", Some(1)).unwrap();
    (4..=6).for_each(|offset| world.event(topic, offset));
    assert_eq!(world.painted(late), ["[4, 5, 6] recovered Some(false)"]);
}

#[test]
fn connections_and_topics_have_their_bounds() {
    let mut world = World::new();
    let id = world.fanout.connect(Format::Json);
    for n in 1..=3 {
        assert!(matches!(world.subscribe(id, n, &format!("state/{n}"), None), Ok(Subscribed::Yes(_))));
    }
    assert_eq!(world.subscribe(id, 4, "state/1", None), Ok(Subscribed::Limit));
    assert!(matches!(world.subscribe(id, 3, "state/3", None), Ok(Subscribed::Yes(_))), "the same again");
    let other = world.fanout.connect(Format::Json);
    assert_eq!(world.subscribe(other, 1, "state/4", None), Ok(Subscribed::Overloaded));
    assert!(matches!(world.subscribe(other, 1, "state/3", None), Ok(Subscribed::Yes(_))));
    assert_eq!((world.fanout.topics(), world.fanout.refs()), (3, 4));
}

#[test]
fn a_number_stands_for_one_topic() {
    let mut world = World::new();
    let (id, _) = world.looking_at("state/1");
    assert_eq!(world.subscribe(id, 1, "state/2", None), Err(Close::IdInUse(1)));
}

#[test]
fn who_is_gone_is_not_who_came_after() {
    let mut world = World::new();
    let (gone, topic) = world.looking_at("state/1");
    world.fanout.disconnect(gone, 0);
    let (id, _) = world.looking_at("state/1");
    world.fanout.publish(topic, 0);
    assert_eq!(world.tick(), [id]);
    assert_eq!(world.fanout.collect(gone, 100, &mut Asked).unwrap_err(), Close::Gone);
    world.fanout.complete(gone, &[1], 0);
    world.fanout.disconnect(gone, 0);
    assert_eq!((world.fanout.len(), world.fanout.refs()), (1, 1));
    assert_eq!(world.collect(id), ["1 on None"]);
}
