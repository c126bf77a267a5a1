//! Laws of a lane under any history: nothing lost, nothing reordered, nothing held back without a reason.

use evenkeel_flush::{
    Admission, Caps, Decision, Lane, Linger, Policy, Rate, RateMerged, Seal, SelfClocked, Static,
};
use proptest::prelude::*;
use std::collections::VecDeque;

const CAPS: Caps = Caps { bytes_per_send_max: 20_000, age_max_ms: 300, in_flight_max: 8 };
const LIMIT: u64 = 200_000;

/// One step of a history. Times are steps forward, µs.
#[derive(Debug, Clone)]
enum Step {
    Offer {
        after: u64,
        bytes: u32,
        events: u32,
    },
    /// Answers the n-th send in flight (mod their number); in a tenth of cases as lost.
    Answer {
        after: u64,
        which: usize,
        lost: bool,
    },
    /// Lets the lane's own wake-up happen.
    Wake,
    Policy(usize),
}

fn policy(n: usize) -> Policy {
    match n % 6 {
        0 => Policy::Static(Static { bytes_max: 10_000, age_ms: 500 }),
        1 => Policy::Linger(Linger { linger_ms: 0, ..Linger::default() }),
        2 => Policy::Linger(Linger::default()),
        3 => Policy::Rate(Rate { warm_per_s: 50, hot_per_s: 2_000, ..Rate::default() }),
        4 => Policy::RateMerged(RateMerged { warm_per_s: 50, hot_per_s: 2_000, ..RateMerged::default() }),
        _ => Policy::SelfClocked(SelfClocked { in_flight_max: 3, ..SelfClocked::default() }),
    }
}

fn steps(reload: bool) -> impl Strategy<Value = Vec<Step>> {
    let offer = (0u64..8_000, 0u32..9_000, 0u32..50).prop_map(|(after, bytes, events)| Step::Offer {
        after,
        bytes,
        events,
    });
    let answer = (0u64..20_000, 0usize..8, 0u8..10).prop_map(|(after, which, lost)| Step::Answer {
        after,
        which: which % 3,
        lost: lost == 0,
    });
    let reload = if reload { 1 } else { 0 };
    let step = prop_oneof![
        10 => offer,
        6 => answer,
        3 => Just(Step::Wake),
        reload => (0usize..6).prop_map(Step::Policy),
    ];
    prop::collection::vec(step, 1..250)
}

/// Plays a history and checks the laws at each step.
struct Play {
    lane: Lane,
    admission: Admission,
    now: u64,
    wake: Option<u64>,
    /// (offered at, bytes, events) of what waits, in order.
    waiting: VecDeque<(u64, u64, u64)>,
    flight: Vec<Seal>,
    seals: Vec<(u64, Seal)>,
    shortest: Option<u64>,
    draining: bool,
}

impl Play {
    fn new(n: usize) -> Self {
        Self {
            lane: Lane::new(policy(n), CAPS, 6),
            admission: Admission::new(LIMIT),
            now: 1_000_000,
            wake: None,
            waiting: VecDeque::new(),
            flight: Vec::new(),
            seals: Vec::new(),
            shortest: None,
            draining: false,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Offer { after, bytes, events } => {
                self.pass(*after);
                if self.lane.offer(self.now, *bytes, *events, &mut self.admission).is_ok() {
                    self.waiting.push_back((self.now, u64::from(*bytes), u64::from(*events)));
                }
            }
            Step::Answer { after, which, lost } => {
                self.pass(*after);
                if !self.flight.is_empty() {
                    let seal = self.flight.remove(which % self.flight.len());
                    let sent = self.seals.iter().find(|(_, s)| s.send == seal.send).map_or(0, |s| s.0);
                    if *lost {
                        assert_eq!(self.lane.lost(seal.send, &mut self.admission), Some(seal));
                    } else {
                        let trip = self.now - sent;
                        self.shortest = Some(self.shortest.map_or(trip, |s| s.min(trip)));
                        assert_eq!(self.lane.acked(self.now, seal.send, &mut self.admission), Some(seal));
                    }
                }
            }
            Step::Wake => self.now = self.wake.unwrap_or(self.now).max(self.now),
            Step::Policy(n) => self.lane.set_policy(policy(*n), CAPS),
        }
        self.poll();
    }

    /// Time passes, with the wake-ups that fall into it.
    fn pass(&mut self, us: u64) {
        let end = self.now + us;
        while let Some(at) = self.wake.filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.poll();
        }
        self.now = end;
    }

    fn poll(&mut self) {
        loop {
            let last = self.seals.last().map(|(at, _)| *at);
            match self.lane.poll(self.now, &self.admission) {
                Decision::Seal(seal) => self.sealed(seal, last),
                Decision::WaitUntil(at) => {
                    assert!(at > self.now, "a wake-up in the past would spin");
                    self.held_back(Some(at));
                    self.wake = Some(at);
                    break;
                }
                Decision::Idle => {
                    self.held_back(None);
                    self.wake = None;
                    break;
                }
            }
        }
        let queued: u64 = self.waiting.iter().map(|w| w.1).sum();
        let depth = self.lane.depth();
        assert_eq!((depth.queued_items, depth.queued_bytes), (self.waiting.len(), queued));
        assert_eq!(depth.in_flight_bytes, self.flight.iter().map(|s| s.bytes).sum::<u64>());
        assert!(self.admission.used_bytes() <= LIMIT);
    }

    /// A seal is the oldest items, within the caps, and not against the policy's own rule.
    fn sealed(&mut self, seal: Seal, last: Option<u64>) {
        let busy = self.flight.len();
        let oldest = self.waiting[0].0;
        let taken: Vec<_> = self.waiting.drain(..seal.items).collect();
        assert_eq!(seal.bytes, taken.iter().map(|w| w.1).sum::<u64>());
        assert_eq!(seal.events, taken.iter().map(|w| w.2).sum::<u64>());
        assert!(seal.items > 0 && seal.bytes <= CAPS.bytes_per_send_max && busy < CAPS.in_flight_max);
        match self.lane.policy() {
            _ if self.draining => {}
            Policy::RateMerged(_) => assert_eq!(busy, 0, "sealed while busy"),
            Policy::SelfClocked(s) if busy > 0 => {
                assert!(busy < s.in_flight_max);
                let full = self.waiting.front().is_some_and(|w| seal.bytes + w.1 > CAPS.bytes_per_send_max)
                    || seal.bytes == CAPS.bytes_per_send_max;
                let aged = self.now - oldest >= CAPS.age_max_ms * 1000;
                let spaced =
                    (self.now - last.unwrap_or(0)) as f64 >= s.alpha * self.shortest.unwrap_or(0) as f64;
                assert!(full || aged || spaced, "sealed before its gap");
            }
            _ => {}
        }
        self.flight.push(seal);
        self.seals.push((self.now, seal));
    }

    /// What waits has a reason, and an end.
    fn held_back(&self, until: Option<u64>) {
        let Some((oldest, ..)) = self.waiting.front() else { return };
        let busy = self.flight.len();
        let blocked = match self.lane.policy() {
            Policy::RateMerged(_) => busy > 0,
            Policy::SelfClocked(s) => {
                assert!(busy > 0, "self-clocked held back while nothing was in flight");
                busy >= s.in_flight_max
            }
            _ => false,
        } || busy >= CAPS.in_flight_max;
        let cap = oldest + CAPS.age_max_ms * 1000;
        assert!(blocked || until.is_some_and(|at| at <= cap), "waits beyond the cap of age");
    }

    /// Answers everything until nothing is left.
    fn finish(mut self) -> Vec<(u64, Seal)> {
        self.lane.drain();
        self.draining = true;
        self.poll();
        while !self.flight.is_empty() {
            self.step(&Step::Answer { after: 10, which: 0, lost: false });
        }
        assert!(self.waiting.is_empty(), "offered and never sealed");
        assert_eq!((self.admission.used_bytes(), self.lane.depth()), (0, Default::default()));
        self.seals
    }
}

fn play(n: usize, steps: &[Step]) -> Vec<(u64, Seal)> {
    let mut play = Play::new(n);
    steps.iter().for_each(|step| play.step(step));
    play.finish()
}

proptest! {
    #[test]
    fn a_lane_keeps_its_laws_under_every_policy(n in 0usize..6, steps in steps(false)) {
        play(n, &steps);
    }

    #[test]
    fn a_change_of_policy_loses_nothing(n in 0usize..6, steps in steps(true)) {
        play(n, &steps);
    }

    #[test]
    fn the_same_history_gives_the_same_sends(n in 0usize..6, steps in steps(true)) {
        prop_assert_eq!(play(n, &steps), play(n, &steps));
    }
}
