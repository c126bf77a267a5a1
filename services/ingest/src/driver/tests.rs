//! The driver's rules, input by input, and against random histories.

use super::*;
use evenkeel_limits::Rate;
use evenkeel_model::Topic;
use proptest::prelude::*;

const DEADLINES: Deadlines = Deadlines { body_timeout_ms: 100, ack_timeout_ms: 50 };
const RETRY: RetryHint = RetryHint { base_ms: 1000, spread_ms: 1000 };

fn driver(budget_bytes: u64) -> Driver {
    Driver::new(budget_bytes, Quotas::default(), RETRY, DEADLINES)
}

fn apply(driver: &mut Driver, now_ms: u64, input: Input) -> Vec<Action> {
    let mut out = Vec::new();
    driver.apply(now_ms, input, &mut out);
    out
}

fn start(driver: &mut Driver, now_ms: u64, request: u64, bytes: u64) -> Vec<Action> {
    apply(driver, now_ms, Input::Started { request, bytes, random: request, tenant: "t".into() })
}

fn records() -> Outputs {
    let mut records = Outputs::new();
    records.push(Topic::Events, 0, Some(b"s"), &[], |buf| buf.extend_from_slice(b"value"));
    records
}

fn acked(request: u64, result: Result<(), AppendError>) -> Input {
    Input::Acked { request, result }
}

/// A request whose records are at the log.
fn waiting(driver: &mut Driver, now_ms: u64, request: u64) {
    assert!(matches!(start(driver, now_ms, request, 1000)[..], [Action::Proceed { .. }]));
    let out = apply(driver, now_ms, Input::Submitted { request, records: records(), events: 1 });
    assert!(matches!(out[..], [Action::Append { .. }]));
}

fn refused(out: &[Action]) -> &Refusal {
    match out {
        [Action::Refuse { refusal, .. }] => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn acknowledges_after_the_log_and_only_then() {
    let mut driver = driver(10_000);
    waiting(&mut driver, 0, 1);
    assert!(apply(&mut driver, 10, Input::Tick).is_empty());
    assert_eq!(driver.usage().used_bytes, records().allocated() as u64);
    assert!(matches!(apply(&mut driver, 20, acked(1, Ok(())))[..], [Action::Acknowledge { request: 1 }]));
    assert!(apply(&mut driver, 20, acked(1, Ok(()))).is_empty());
    assert_eq!((driver.usage().used_bytes, driver.next_due_ms()), (0, None));
}

#[test]
fn past_the_budget_a_request_is_refused_with_its_own_hint() {
    let mut driver = driver(1000);
    start(&mut driver, 0, 1, 600);
    let out = start(&mut driver, 0, 7, 600);
    assert!(matches!(
        out[..],
        [Action::Refuse { request: 7, refusal: Refusal::OverBudget, retry_after_ms: 1007 }]
    ));
    assert_eq!(
        refused(&apply(&mut driver, 0, Input::Grew { request: 1, bytes: 1001 })),
        &Refusal::OverBudget
    );
    // The refused request holds nothing any more.
    assert!(matches!(start(&mut driver, 0, 2, 1000)[..], [Action::Proceed { .. }]));
}

#[test]
fn one_tenant_cannot_keep_the_others_out() {
    let quotas = Quotas { tenant_bytes: Some(TenantBytes::new(1000, 8)), ..Quotas::default() };
    let mut driver = Driver::new(10_000, quotas, RETRY, DEADLINES);
    let start = |driver: &mut Driver, request, bytes, tenant: &str| {
        apply(driver, 0, Input::Started { request, bytes, random: 7, tenant: tenant.into() })
    };
    start(&mut driver, 1, 600, "a");
    let full = start(&mut driver, 2, 600, "a");
    let hint = Action::Refuse { request: 2, refusal: Refusal::TenantFull, retry_after_ms: 1007 };
    assert_eq!(format!("{full:?}"), format!("{:?}", [hint]));
    assert!(matches!(start(&mut driver, 3, 600, "b")[..], [Action::Proceed { request: 3 }]));
    let grew = apply(&mut driver, 0, Input::Grew { request: 3, bytes: 1001 });
    assert_eq!(refused(&grew), &Refusal::TenantFull);
    assert_eq!((driver.usage().used_bytes, driver.usage().limited_tenants), (600, 1));
    // What the log still holds is the tenant's too, when nobody waits any more.
    let submit = Input::Submitted { request: 1, records: records(), events: 1 };
    assert!(matches!(apply(&mut driver, 0, submit)[..], [Action::Append { .. }]));
    apply(&mut driver, 0, Input::Gone { request: 1 });
    assert_eq!(refused(&start(&mut driver, 4, 1000, "a")), &Refusal::TenantFull);
    apply(&mut driver, 0, acked(1, Ok(())));
    assert!(matches!(start(&mut driver, 5, 1000, "a")[..], [Action::Proceed { request: 5 }]));
    apply(&mut driver, 0, Input::Gone { request: 5 });
    assert_eq!((driver.usage().used_bytes, driver.usage().limited_tenants), (0, 0));
}

#[test]
fn a_silent_log_keeps_its_bytes_after_the_client_was_refused() {
    let mut driver = driver(10_000);
    waiting(&mut driver, 0, 1);
    assert_eq!(driver.next_due_ms(), Some(50));
    assert!(apply(&mut driver, 49, Input::Tick).is_empty());
    assert_eq!(refused(&apply(&mut driver, 50, Input::Tick)), &Refusal::LogSilent);
    let usage = driver.usage();
    assert_eq!((usage.active, usage.abandoned), (0, 1));
    assert!(usage.used_bytes > 0);
    assert!(apply(&mut driver, 60, acked(1, Ok(()))).is_empty()); // nobody waits: no second answer
    assert_eq!(driver.usage().used_bytes, 0);
}

#[test]
fn a_slow_body_and_a_client_that_left_give_their_bytes_back() {
    let mut driver = driver(10_000);
    start(&mut driver, 0, 1, 100);
    start(&mut driver, 5, 2, 100);
    assert_eq!(refused(&apply(&mut driver, 100, Input::Tick)), &Refusal::SlowBody);
    assert!(apply(&mut driver, 100, Input::Gone { request: 2 }).is_empty());
    assert_eq!((driver.usage().used_bytes, driver.next_due_ms()), (0, None));
    waiting(&mut driver, 200, 3);
    apply(&mut driver, 200, Input::Gone { request: 3 });
    assert!(driver.usage().used_bytes > 0, "the log still holds its records");
    apply(&mut driver, 200, acked(3, Err(AppendError::Full)));
    assert_eq!(driver.usage().used_bytes, 0);
}

#[test]
fn the_logs_refusals_reach_the_client() {
    let mut driver = driver(10_000);
    waiting(&mut driver, 0, 1);
    waiting(&mut driver, 0, 2);
    assert_eq!(refused(&apply(&mut driver, 1, acked(1, Err(AppendError::Full)))), &Refusal::OverBudget);
    let failed = Err(AppendError::Failed("fenced".into()));
    assert_eq!(refused(&apply(&mut driver, 1, acked(2, failed))), &Refusal::LogFailed("fenced".into()));
}

#[test]
fn devices_over_their_rate_get_the_first_events_and_a_time() {
    let rates = Some(Rates::new(Rate { per_s: 10, burst: 5 }, 10));
    let quotas = Quotas { device_events: rates, ..Quotas::default() };
    let mut driver = Driver::new(10_000, quotas, RETRY, DEADLINES);
    start(&mut driver, 0, 1, 100);
    let ask = |events| DeviceAsk { stream_id: "s".into(), events, bytes: 0, whole: false };
    let out = apply(&mut driver, 0, Input::Parsed { request: 1, asks: vec![ask(3), ask(4)] });
    let [Action::Allow { admitted, retry_after_ms, .. }] = &out[..] else { panic!("{out:?}") };
    let events: Vec<u32> = admitted.iter().map(|ask| ask.events).collect();
    assert_eq!((&events[..], *retry_after_ms), (&[3, 2][..], 1001));
    assert_eq!(admitted[1].refused_by, Some(Limit::DeviceEvents));
    assert_eq!(driver.usage().limited_devices, 1);
}

#[test]
fn a_drain_finishes_what_is_there_and_takes_nothing_new() {
    let mut driver = driver(10_000);
    waiting(&mut driver, 0, 1);
    start(&mut driver, 0, 2, 100);
    assert!(apply(&mut driver, 10, Input::Drain { within_ms: 1000 }).is_empty());
    assert_eq!(refused(&start(&mut driver, 11, 3, 100)), &Refusal::Draining);
    assert!(matches!(apply(&mut driver, 12, acked(1, Ok(())))[..], [Action::Acknowledge { request: 1 }]));
    let out = apply(&mut driver, 13, Input::Submitted { request: 2, records: records(), events: 1 });
    assert!(matches!(out[..], [Action::Append { request: 2, .. }]));
    let out = apply(&mut driver, 14, acked(2, Ok(())));
    assert!(matches!(out[..], [Action::Acknowledge { request: 2 }, Action::Stop]));
    assert_eq!(refused(&start(&mut driver, 15, 4, 100)), &Refusal::Draining);
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let mut driver = driver(10_000);
    waiting(&mut driver, 0, 1);
    start(&mut driver, 0, 2, 100);
    apply(&mut driver, 10, Input::Drain { within_ms: 20 });
    assert_eq!(driver.next_due_ms(), Some(30));
    let out = apply(&mut driver, 30, Input::Tick);
    let draining = |action: &Action| matches!(action, Action::Refuse { refusal: Refusal::Draining, .. });
    assert!(out[..2].iter().all(draining) && matches!(out[2..], [Action::Stop]), "{out:?}");
    let mut idle = self::driver(1000);
    assert!(matches!(apply(&mut idle, 0, Input::Drain { within_ms: 5 })[..], [Action::Stop]));
}

#[derive(Debug, Clone)]
enum Step {
    Start(u64),
    Grow(u64, u64),
    Submit(u64),
    Gone(u64),
    Ack(u64, bool),
    Tick(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let request = || 0u64..12;
    prop_oneof![
        (0u64..900).prop_map(Step::Start),
        (request(), 0u64..900).prop_map(|(r, bytes)| Step::Grow(r, bytes)),
        request().prop_map(Step::Submit),
        request().prop_map(Step::Gone),
        (request(), any::<bool>()).prop_map(|(r, ok)| Step::Ack(r, ok)),
        (0u64..60).prop_map(Step::Tick),
    ]
}

proptest! {
    // Every request gets at most one final answer; "acknowledged" only after the log's own; and when
    // every request has ended and every append is answered, every byte is back.
    #[test]
    fn no_history_leaks_bytes_or_answers_twice(steps in prop::collection::vec(step(), 0..120)) {
        let mut driver = driver(2000);
        let (mut now_ms, mut next, mut started) = (0, 0u64, Vec::new());
        let (mut answered, mut at_log) = (BTreeSet::new(), BTreeSet::new());
        let mut out = Vec::new();
        for step in steps {
            let pick = |n: u64| started.get(n as usize % started.len().max(1)).copied().unwrap_or(n);
            let mut durable = None;
            let input = match step {
                Step::Start(bytes) => {
                    next += 1;
                    started.push(next);
                    Input::Started { request: next, bytes, random: 0, tenant: format!("t{}", next % 3).into() }
                }
                Step::Grow(n, bytes) => Input::Grew { request: pick(n), bytes },
                Step::Submit(n) => Input::Submitted { request: pick(n), records: records(), events: 1 },
                Step::Gone(n) => Input::Gone { request: pick(n) },
                Step::Ack(n, ok) => {
                    let request = pick(n);
                    if !at_log.remove(&request) { continue }
                    durable = ok.then_some(request);
                    acked(request, if ok { Ok(()) } else { Err(AppendError::Full) })
                }
                Step::Tick(ms) => { now_ms += ms; Input::Tick }
            };
            driver.apply(now_ms, input, &mut out);
            for action in out.drain(..) {
                match action {
                    Action::Append { request, .. } => prop_assert!(at_log.insert(request)),
                    Action::Acknowledge { request } => {
                        prop_assert_eq!(durable, Some(request));
                        prop_assert!(answered.insert(request));
                    }
                    Action::Refuse { request, .. } => prop_assert!(answered.insert(request)),
                    _ => {}
                }
            }
            prop_assert!(driver.usage().used_bytes <= 2000);
        }
        for &request in &started {
            driver.apply(now_ms, Input::Gone { request }, &mut out);
        }
        for request in at_log {
            driver.apply(now_ms, acked(request, Ok(())), &mut out);
        }
        prop_assert_eq!((driver.usage().used_bytes, driver.usage().active, driver.usage().abandoned), (0, 0, 0));
        prop_assert_eq!(driver.next_due_ms(), None);
    }
}
