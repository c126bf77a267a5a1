//! Each clause of each policy, as a sentence.

use evenkeel_flush::{
    Admission, Caps, Decision, Lane, Linger, Mode, Policy, Rate, RateMerged, Refusal, Seal, SelfClocked,
    Static,
};

const KIB: u32 = 1024;
const MS: u64 = 1000;
const S: u64 = 1_000_000;

struct Bench {
    lane: Lane,
    admission: Admission,
}

impl Bench {
    fn new(policy: Policy) -> Self {
        Self::capped(policy, Caps::default())
    }

    fn capped(policy: Policy, caps: Caps) -> Self {
        Self { lane: Lane::new(policy, caps, 4), admission: Admission::new(64 << 20) }
    }

    fn offer(&mut self, now: u64, bytes: u32) {
        self.lane.offer(now, bytes, 1, &mut self.admission).expect("the budget has room");
    }

    fn poll(&mut self, now: u64) -> Decision {
        self.lane.poll(now, &self.admission)
    }

    #[track_caller]
    fn seal(&mut self, now: u64) -> Seal {
        match self.poll(now) {
            Decision::Seal(seal) => seal,
            other => panic!("{other:?}"),
        }
    }

    fn ack(&mut self, now: u64, seal: Seal) {
        assert_eq!(self.lane.acked(now, seal.send, &mut self.admission), Some(seal));
    }

    /// Answers everything at once, for policies that look at the rate only.
    fn flush(&mut self, now: u64) {
        while let Decision::Seal(seal) = self.poll(now) {
            self.ack(now, seal);
        }
    }
}

/// A lane whose rolling rate is `per_s`, with nothing queued, and the time.
fn at_rate(policy: Policy, per_s: u32) -> (Bench, u64) {
    // `linger 0` leaves nothing behind; the policy under test then takes over.
    let mut bench = Bench::new(Policy::Linger(Linger { linger_ms: 0, ..Linger::default() }));
    for i in 0..500 {
        let now = i * 10 * MS;
        bench.lane.offer(now, per_s, per_s / 100, &mut bench.admission).expect("the budget has room");
        bench.flush(now);
    }
    bench.lane.set_policy(policy, Caps::default());
    (bench, 499 * 10 * MS)
}

fn rate() -> Policy {
    Policy::Rate(Rate::default())
}

fn merged() -> Policy {
    Policy::RateMerged(RateMerged::default())
}

#[test]
fn static_seals_at_its_size_or_when_its_first_item_is_old() {
    let mut bench = Bench::new(Policy::Static(Static::default()));
    bench.offer(0, 255 * KIB);
    assert_eq!(bench.poll(10), Decision::WaitUntil(500 * MS));
    assert_eq!((bench.lane.mode(), bench.lane.threshold_bytes()), (Mode::Filling, 256 * 1024));
    bench.offer(20, KIB);
    let seal = bench.seal(20);
    assert_eq!((seal.items, seal.bytes, seal.events), (2, 256 * 1024, 2));
    bench.offer(S, 1);
    bench.offer(S + 499 * MS, 1);
    assert_eq!(bench.poll(S + 499 * MS), Decision::WaitUntil(S + 500 * MS));
    assert_eq!(bench.seal(S + 500 * MS).items, 2);
}

#[test]
fn linger_waits_for_its_first_item_and_linger_0_seals_at_each_poll() {
    let mut bench = Bench::new(Policy::Linger(Linger::default()));
    bench.offer(100, 1);
    bench.offer(4 * MS, 1);
    assert_eq!(bench.poll(4 * MS), Decision::WaitUntil(5 * MS + 100));
    assert_eq!(bench.seal(5 * MS + 100).items, 2);
    bench.lane.set_policy(Policy::Linger(Linger { linger_ms: 0, ..Linger::default() }), Caps::default());
    for now in [6 * MS, 6 * MS + 1] {
        bench.offer(now, 1);
        assert_eq!(bench.seal(now).items, 1);
    }
}

#[test]
fn rate_cold_seals_whatever_is_there_when_5_ms_have_passed_since_the_last_send() {
    let mut bench = Bench::new(rate());
    bench.offer(S, 1);
    assert_eq!((bench.seal(S).items, bench.lane.mode()), (1, Mode::Cold));
    bench.offer(S + 1, 600 * KIB);
    assert_eq!(bench.poll(S + 1), Decision::WaitUntil(S + 5 * MS));
    assert_eq!(bench.seal(S + 5 * MS).items, 1);
    bench.offer(S + 20 * MS, 1);
    assert_eq!(bench.seal(S + 20 * MS).items, 1);
}

#[test]
fn rate_warm_interpolates_between_the_bytes_of_5_ms_and_512_kib() {
    let (mut bench, now) = at_rate(rate(), 25_500);
    bench.offer(now, 1);
    let Decision::WaitUntil(until) = bench.poll(now) else { panic!() };
    assert_eq!(bench.lane.mode(), Mode::Warm);
    // x = 1/2: half of 12 750 bytes and half of 512 KiB, give or take the item just offered.
    let threshold = (12_750 + 512 * 1024) / 2;
    assert!(bench.lane.threshold_bytes().abs_diff(threshold) < 100, "{}", bench.lane.threshold_bytes());
    // It looks again when the rolling rate moves on.
    assert_eq!(until % (100 * MS), 0);
    bench.offer(now, 270_000);
    assert_eq!(bench.seal(now).items, 2);
}

#[test]
fn rate_warm_seals_a_rest_after_the_time_its_bytes_would_have_taken() {
    let (mut bench, now) = at_rate(rate(), 25_500);
    bench.offer(now, 1);
    // 268 519 bytes at 2.55 MB/s take 105 ms; the rate falls meanwhile, which shortens the way.
    let mut at = now;
    while let Decision::WaitUntil(until) = bench.poll(at) {
        at = until;
    }
    assert!((95 * MS..=110 * MS).contains(&(at - now)), "{}", at - now);
}

#[test]
fn rate_hot_fills_to_512_kib_without_a_time_limit() {
    let (mut bench, now) = at_rate(rate(), 100_000);
    bench.offer(now, 500 * KIB);
    let Decision::WaitUntil(mut at) = bench.poll(now) else { panic!() };
    assert_eq!((bench.lane.mode(), bench.lane.threshold_bytes()), (Mode::Hot, 512 * 1024));
    let mut full = Bench { lane: bench.lane.clone(), admission: bench.admission.clone() };
    full.offer(now, 12 * KIB);
    assert_eq!(full.seal(now).items, 2);
    // Nothing more comes: the rest waits until the 5 s rate has forgotten the flow.
    while let Decision::WaitUntil(until) = bench.poll(at) {
        at = until;
    }
    assert!(at - now > 2 * S, "{}", at - now);
}

#[test]
fn rate_panic_drops_the_size_threshold_at_once() {
    let (mut bench, now) = at_rate(rate(), 100_000);
    bench.admission.set_limit(100_000);
    bench.offer(now, 79_000);
    assert!(matches!(bench.poll(now), Decision::WaitUntil(_)));
    bench.offer(now, 1_001);
    assert_eq!((bench.seal(now).items, bench.lane.mode()), (2, Mode::Panic));
    // What is in flight still fills the budget, so the next sends are small, busy or not.
    bench.offer(now, 10_000);
    assert!(matches!(bench.poll(now), Decision::WaitUntil(_)));
    bench.offer(now, 6_500);
    assert_eq!(bench.seal(now).bytes, 16_500);
}

#[test]
fn rate_seals_while_the_broker_is_busy() {
    let mut bench = Bench::new(rate());
    for i in 0..50 {
        bench.offer(S + i * 5 * MS, 1);
        bench.seal(S + i * 5 * MS);
    }
    assert_eq!(bench.lane.depth().in_flight_sends, 50);
}

#[test]
fn rate_merged_never_seals_while_a_send_is_in_flight() {
    let mut bench = Bench::new(merged());
    bench.offer(S, 1);
    let first = bench.seal(S);
    bench.offer(S + 1, 900_000);
    bench.offer(2 * S, 900_000);
    assert_eq!((bench.poll(60 * S), bench.lane.depth().in_flight_sends), (Decision::Idle, 1));
    bench.ack(60 * S, first);
    assert_eq!(bench.seal(60 * S).items, 1);
}

#[test]
fn rate_merged_hot_has_a_time_limit() {
    let (mut bench, now) = at_rate(merged(), 100_000);
    bench.offer(now, 1);
    let mut at = now;
    while let Decision::WaitUntil(until) = bench.poll(at) {
        assert_eq!(bench.lane.mode(), Mode::Hot);
        at = until;
    }
    assert_eq!(at - now, 50 * MS);
}

#[test]
fn rate_merged_panic_is_one_large_send_of_everything() {
    let (mut bench, now) = at_rate(merged(), 100_000);
    bench.admission.set_limit(100_000);
    for _ in 0..81 {
        bench.offer(now, 1_000);
    }
    let seal = bench.seal(now);
    assert_eq!((seal.items, bench.lane.mode()), (81, Mode::Panic));
    bench.offer(now, 1_000);
    assert_eq!(bench.poll(now), Decision::Idle);
}

#[test]
fn self_clocked_sends_at_once_when_nothing_is_in_flight() {
    let mut bench = Bench::new(Policy::default());
    for i in 0..10 {
        let now = i * S;
        bench.offer(now, 1);
        let seal = bench.seal(now);
        bench.ack(now + 2 * MS, seal);
    }
    assert_eq!((bench.poll(20 * S), bench.lane.mode()), (Decision::Idle, Mode::Idle));
}

#[test]
fn self_clocked_spaces_sends_by_a_part_of_the_shortest_round_trip() {
    let mut bench = Bench::new(Policy::default());
    bench.offer(0, 1);
    let seal = bench.seal(0);
    bench.ack(4 * MS, seal);
    bench.offer(S, 1);
    bench.seal(S);
    bench.offer(S + 1, 1);
    assert_eq!((bench.poll(S + 1), bench.lane.mode()), (Decision::WaitUntil(S + MS), Mode::Paced));
    assert_eq!(bench.seal(S + MS).items, 1);
}

#[test]
fn self_clocked_waits_for_an_answer_when_its_flights_are_out() {
    let policy = Policy::SelfClocked(SelfClocked { in_flight_max: 2, ..SelfClocked::default() });
    let mut bench = Bench::new(policy);
    let mut sent = Vec::new();
    for now in [0, 10 * MS] {
        bench.offer(now, 1);
        sent.push(bench.seal(now));
    }
    bench.offer(S, 1);
    assert_eq!((bench.poll(S), bench.lane.mode()), (Decision::Idle, Mode::Busy));
    bench.ack(2 * S, sent[0]);
    assert_eq!(bench.seal(2 * S).items, 1);
}

#[test]
fn self_clocked_does_not_wait_with_a_full_send() {
    let mut bench = Bench::new(Policy::default());
    bench.offer(0, 1);
    let seal = bench.seal(0);
    bench.ack(100 * MS, seal);
    bench.offer(S, 1);
    bench.seal(S);
    bench.offer(S, 500_000);
    assert!(matches!(bench.poll(S), Decision::WaitUntil(_)));
    bench.offer(S, 500_000);
    assert_eq!(bench.seal(S).bytes, 1_000_000);
}

#[test]
fn self_clocked_leaves_the_broker_time_for_what_it_has_learnt_to_cost() {
    let mut bench = Bench::new(Policy::default());
    bench.offer(0, 100);
    let seal = bench.seal(0);
    bench.ack(2 * MS, seal);
    // Sends of many items queue behind each other: 8 ms each for four requests.
    for round in 1..20 {
        let start = round * 100 * MS;
        let mut sent = Vec::new();
        for i in 0..2 {
            (0..100).for_each(|_| bench.offer(start + i * 500, 10));
            let decision = bench.poll(start + i * 500);
            if let Decision::Seal(seal) = decision {
                sent.push(seal);
            } else {
                sent.push(bench.seal(start + 7 * MS));
            }
        }
        bench.ack(start + 9 * MS, sent[0]);
        bench.ack(start + 17 * MS, sent[1]);
    }
    assert!((1_900.0..2_100.0).contains(&bench.lane.fixed_cost_us()), "{}", bench.lane.fixed_cost_us());
    // The next large send costs 8 ms; the one behind it may leave when at most 3 requests of it remain.
    (0..100).for_each(|_| bench.offer(3 * S, 10));
    bench.seal(3 * S);
    bench.offer(3 * S, 10);
    let Decision::WaitUntil(until) = bench.poll(3 * S) else { panic!() };
    assert!((1_900..2_100).contains(&(until - 3 * S)), "{}", until - 3 * S);
}

#[test]
fn every_policy_keeps_the_cap_of_bytes_and_of_age() {
    let caps = Caps { bytes_per_send_max: 1000, age_max_ms: 50, in_flight_max: 3 };
    for policy in
        [Policy::Static(Static::default()), rate(), Policy::Linger(Linger::default()), Policy::default()]
    {
        let mut bench = Bench::capped(policy, caps.clone());
        (0..5).for_each(|_| bench.offer(0, 400));
        let seal = bench.seal(0);
        assert_eq!((seal.items, seal.bytes), (2, 800));
    }
    let mut bench = Bench::capped(Policy::Static(Static::default()), caps);
    bench.offer(0, 400);
    assert_eq!(bench.poll(0), Decision::WaitUntil(50 * MS));
    assert_eq!(bench.seal(50 * MS).items, 1);
}

#[test]
fn at_the_cap_of_flights_nothing_is_sealed_until_an_answer_or_a_loss() {
    let caps = Caps { in_flight_max: 2, ..Caps::default() };
    let mut bench = Bench::capped(Policy::Linger(Linger { linger_ms: 0, ..Linger::default() }), caps);
    let sent: Vec<Seal> = (0..2)
        .map(|now| {
            bench.offer(now, 1);
            bench.seal(now)
        })
        .collect();
    bench.offer(5, 1);
    assert_eq!((bench.poll(100 * S), bench.lane.mode()), (Decision::Idle, Mode::Busy));
    assert_eq!(bench.lane.lost(sent[1].send, &mut bench.admission), Some(sent[1]));
    assert_eq!(bench.lane.lost(sent[1].send, &mut bench.admission), None);
    assert_eq!(bench.seal(100 * S).items, 1);
}

#[test]
fn overload_is_refused_at_the_door_and_room_comes_back_with_the_answer() {
    let mut bench = Bench::new(Policy::default());
    bench.admission.set_limit(1000);
    bench.offer(0, 600);
    let seal = bench.seal(0);
    let Bench { lane, admission } = &mut bench;
    assert_eq!(lane.offer(1, 401, 1, admission), Err(Refusal::OverLimit));
    assert_eq!(lane.offer(1, 1_000_001, 1, admission), Err(Refusal::TooLarge));
    assert_eq!((admission.used_bytes(), admission.refused_total(), lane.depth().queued_items), (600, 1, 0));
    bench.ack(2, seal);
    assert_eq!(bench.admission.used_bytes(), 0);
    bench.offer(3, 401);
}

#[test]
fn a_draining_lane_sends_everything_at_once() {
    let mut bench = Bench::new(Policy::Static(Static::default()));
    bench.offer(0, 10);
    assert!(matches!(bench.poll(0), Decision::WaitUntil(_)));
    bench.lane.drain();
    assert_eq!((bench.seal(1).items, bench.lane.mode()), (1, Mode::Draining));
}
