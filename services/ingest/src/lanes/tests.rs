//! The lanes before a log that does what a test says, on a clock of the test's own.

use super::*;
use evenkeel_flush::{Linger, Static};
use evenkeel_model::Topic;
use evenkeel_telemetry::Metrics;

/// Two leaders: even and odd partitions.
#[derive(Default)]
struct Log {
    one_leader: bool,
    refuse: Option<AppendError>,
    /// Ticket and the values of each append.
    appended: Vec<(u64, Vec<Vec<u8>>)>,
}

impl Appender for Log {
    fn append(&mut self, records: &Outputs, ticket: u64) -> Result<(), AppendError> {
        if let Some(error) = &self.refuse {
            return Err(error.clone());
        }
        let values = records.records().iter().map(|r| records.value(r).unwrap_or_default().to_vec());
        self.appended.push((ticket, values.collect()));
        Ok(())
    }
    fn wake_by(&mut self, _: evenkeel_seam::Bell) {}
    fn acks(&mut self, _: Duration, _: &mut Vec<Ack>) {}
    fn partitions(&self) -> u32 {
        4
    }
    fn lanes(&self) -> usize {
        if self.one_leader { 1 } else { 2 }
    }
    fn lane_of(&self, partition: u32) -> usize {
        if self.one_leader { 0 } else { partition as usize % 2 }
    }
}

struct Bench {
    log: Log,
    lanes: Lanes,
    start: Instant,
    told: Vec<Ack>,
}

const GIVE_UP_MS: u64 = 1_000;

impl Bench {
    fn new(policy: Policy, log: Log) -> Self {
        let start = Instant::now();
        let meters = FlushMeters::new(&Metrics::new().unwrap());
        let lanes = Lanes::new(policy, Caps::default(), 1 << 20, start, meters, &log);
        Self { log, lanes, start, told: Vec::new() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// One record of each (partition, value) in one request.
    fn offer(&mut self, ms: u64, ticket: u64, records: &[(u32, &[u8])]) {
        let mut outputs = Outputs::new();
        for (partition, value) in records {
            outputs.push(Topic::Events, *partition, Some(b"k"), &[], |arena| arena.extend_from_slice(value));
        }
        let give_up = self.at(ms + GIVE_UP_MS);
        let job = Job { ticket, records: outputs, events: 1, give_up };
        let (now, told) = (self.at(ms), &mut self.told);
        self.lanes.offer(now, job, &self.log, &mut |ack| told.push(ack));
    }

    fn send(&mut self, ms: u64) -> Option<u64> {
        let (now, told) = (self.at(ms), &mut self.told);
        let due = self.lanes.send(now, &mut self.log, &mut |ack| told.push(ack));
        due.map(|due| due.duration_since(self.start).as_millis() as u64)
    }

    fn ack(&mut self, ms: u64, ticket: u64, result: Result<(), AppendError>) {
        let (now, told) = (self.at(ms), &mut self.told);
        self.lanes.heard(now, [Ack { ticket, result }].into_iter(), &mut |ack| told.push(ack));
    }

    fn told(&mut self) -> Vec<(u64, bool)> {
        self.told.drain(..).map(|ack| (ack.ticket, ack.result.is_ok())).collect()
    }

    fn is_empty(&self) -> bool {
        self.lanes.held() == (0, 0, 0) && !self.lanes.is_stuck()
    }
}

fn fixed() -> Policy {
    Policy::Static(Static { bytes_max: 10_000, age_ms: 100 })
}

fn one_leader() -> Log {
    Log { one_leader: true, ..Log::default() }
}

#[test]
fn a_record_that_is_refused_fails_its_own_request_only() {
    let mut bench = Bench::new(fixed(), one_leader());
    bench.offer(0, 1, &[(0, b"a"), (1, b"b")]);
    bench.offer(0, 2, &[(0, b"c")]);
    bench.offer(0, 3, &[(0, b"d"), (2, b"e"), (3, b"f")]);
    bench.send(100);
    let records = bench.log.appended[0].1.concat();
    assert_eq!(records, b"abcdef");
    bench.ack(101, 0, Err(AppendError::Partly { records: vec![2, 5], why: "invalid".into() }));
    assert_eq!(bench.told(), [(1, true), (2, false), (3, false)]);
    assert!(bench.is_empty());
}

#[test]
fn several_requests_leave_in_one_append_and_each_has_one_answer() {
    let mut bench = Bench::new(Policy::default(), one_leader());
    for ticket in 10..13 {
        bench.offer(0, ticket, &[(0, b"a"), (1, b"b")]);
    }
    bench.send(0);
    assert_eq!(bench.log.appended.len(), 1);
    assert_eq!(bench.log.appended[0].1.len(), 6);
    assert_eq!(bench.told(), vec![]);
    bench.ack(1, 0, Ok(()));
    assert_eq!(bench.told(), vec![(10, true), (11, true), (12, true)]);
    assert!(bench.is_empty());
}

#[test]
fn a_request_that_spans_leaders_waits_for_all_and_keeps_its_order_within_each() {
    let mut bench = Bench::new(Policy::default(), Log::default());
    bench.offer(0, 7, &[(0, b"a"), (1, b"b"), (2, b"c"), (3, b"d"), (0, b"e")]);
    bench.send(0);
    let values: Vec<Vec<u8>> = bench.log.appended.iter().map(|(_, values)| values.concat()).collect();
    assert_eq!(values, vec![b"ace".to_vec(), b"bd".to_vec()]);
    bench.ack(1, 1, Ok(()));
    assert_eq!(bench.told(), vec![]);
    bench.ack(2, 0, Err(AppendError::Failed("gone".into())));
    assert_eq!(bench.told(), vec![(7, false)]);
    assert!(bench.is_empty());
}

#[test]
fn a_failed_send_answers_all_its_requests_and_no_other() {
    let mut bench = Bench::new(Policy::default(), one_leader());
    bench.offer(0, 1, &[(0, b"a")]);
    bench.offer(0, 2, &[(0, b"b")]);
    bench.send(0);
    bench.offer(50, 3, &[(0, b"c")]);
    bench.ack(51, 0, Err(AppendError::Failed("gone".into())));
    assert_eq!(bench.told(), vec![(1, false), (2, false)]);
    bench.send(52);
    bench.ack(53, 1, Ok(()));
    assert_eq!(bench.told(), vec![(3, true)]);
    bench.log.refuse = Some(AppendError::Failed("never".into()));
    bench.offer(60, 4, &[(0, b"d")]);
    bench.send(60);
    assert_eq!(bench.told(), vec![(4, false)]);
    assert!(bench.is_empty());
}

#[test]
fn a_full_log_is_waited_for_until_the_request_gives_up() {
    let mut bench = Bench::new(Policy::default(), one_leader());
    bench.log.refuse = Some(AppendError::Full);
    bench.offer(0, 1, &[(0, b"a")]);
    bench.send(0);
    bench.offer(500, 2, &[(0, b"b")]);
    bench.send(500);
    assert!(bench.lanes.is_stuck() && bench.told().is_empty());
    bench.send(GIVE_UP_MS);
    assert_eq!(bench.told(), vec![(1, false)]);
    bench.log.refuse = None;
    bench.send(GIVE_UP_MS + 1);
    assert_eq!(bench.log.appended, vec![(0, vec![b"b".to_vec()])]);
    bench.ack(GIVE_UP_MS + 2, 0, Ok(()));
    assert_eq!(bench.told(), vec![(2, true)]);
    assert!(bench.is_empty());
}

#[test]
fn what_nobody_waits_for_any_more_is_not_sealed_with_the_rest() {
    let slow = Policy::Linger(Linger { linger_ms: GIVE_UP_MS + 100, ..Linger::default() });
    let mut bench = Bench::new(slow, one_leader());
    bench.offer(0, 1, &[(0, b"a")]);
    bench.offer(600, 2, &[(0, b"b")]);
    assert_eq!(bench.send(600), Some(GIVE_UP_MS + 100));
    bench.send(GIVE_UP_MS + 100);
    assert_eq!(bench.told(), vec![(1, false)]);
    assert_eq!(bench.log.appended, vec![(0, vec![b"b".to_vec()])]);
}

#[test]
fn a_change_of_policy_reaches_what_waits() {
    let mut bench = Bench::new(fixed(), one_leader());
    bench.offer(0, 1, &[(0, b"a")]);
    assert_eq!(bench.send(1), Some(100));
    assert!(bench.log.appended.is_empty());
    bench.lanes.set(Wish { policy: Policy::default(), caps: Caps::default(), bytes_max: 1 << 20 });
    bench.send(2);
    assert_eq!(bench.log.appended.len(), 1);
}

#[test]
fn a_drain_lets_everything_leave_at_once() {
    let mut bench = Bench::new(fixed(), one_leader());
    bench.offer(0, 1, &[(0, b"a")]);
    bench.send(0);
    bench.lanes.drain();
    bench.send(1);
    bench.offer(2, 2, &[(0, b"b")]);
    bench.send(2);
    assert_eq!(bench.log.appended.len(), 2);
}

#[test]
fn past_the_budget_a_request_is_refused_whole() {
    let mut bench = Bench::new(fixed(), Log::default());
    let large = vec![0; 700_000];
    bench.offer(0, 1, &[(0, &large)]);
    bench.offer(0, 2, &[(0, b"a"), (1, &large)]);
    assert_eq!(bench.told, vec![Ack { ticket: 2, result: Err(AppendError::Full) }]);
    bench.offer(0, 3, &[]);
    assert_eq!(bench.told(), vec![(2, false), (3, true)]);
}

#[test]
fn a_request_above_the_largest_send_leaves_in_several() {
    let mut bench = Bench::new(Policy::default(), one_leader());
    let caps = Caps { bytes_per_send_max: 1_000, ..Caps::default() };
    let policy = Policy::Linger(Linger { linger_ms: 0, ..Linger::default() });
    bench.lanes.set(Wish { policy, caps, bytes_max: 1 << 20 });
    // The last record alone is above the cap, which the service's own limits allowed.
    bench.offer(0, 1, &[(0, &[1; 600]), (1, &[2; 600]), (2, &[3; 300]), (3, &[4; 1_500])]);
    bench.send(0);
    let sizes: Vec<usize> = bench.log.appended.iter().map(|(_, values)| values.len()).collect();
    assert_eq!(sizes, vec![1, 2, 1]);
    for ticket in 0..3 {
        assert_eq!(bench.told(), vec![]);
        bench.ack(1, ticket, Ok(()));
    }
    assert_eq!(bench.told(), vec![(1, true)]);
    assert!(bench.is_empty());
}
