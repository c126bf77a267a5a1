//! Two readings of `/metrics` in, the view out.

use super::*;

const BEFORE: &str = "\
evenkeel_build_info{service=\"evenkeel-ingest\",version=\"0\"} 1
evenkeel_process_ready{condition=\"ingest\"} 1
evenkeel_process_ready{condition=\"clock\"} 0
evenkeel_ingest_events_total{outcome=\"accepted\",protocol=\"http\"} 100
evenkeel_ingest_events_total{outcome=\"malformed\",protocol=\"http\"} 3
evenkeel_ingest_ack_duration_seconds_bucket{le=\"0.1\"} 1000
evenkeel_ingest_ack_duration_seconds_bucket{le=\"0.5\"} 1000
evenkeel_ingest_ack_duration_seconds_bucket{le=\"+Inf\"} 1000
evenkeel_ingest_queue_depth_bytes 10
evenkeel_ingest_queue_limit_bytes 100
process_memory_usage_bytes 1000
";

fn now() -> String {
    let text = BEFORE.replace("\"accepted\",protocol=\"http\"} 100", "\"accepted\",protocol=\"http\"} 300");
    let text = text.replace("\"malformed\",protocol=\"http\"} 3", "\"malformed\",protocol=\"http\"} 7");
    text.replace("le=\"0.1\"} 1000", "le=\"0.1\"} 1098").replace("} 1000\n", "} 1100\n")
}

fn reading(before: Option<&str>, now: &str) -> Reading {
    Reading { address: "a:1".into(), before: before.map(Scrape::parse), now: Ok(Scrape::parse(now)) }
}

fn figure<'v>(figures: &'v [Figure], name: &str) -> &'v Option<f64> {
    &figures.iter().find(|figure| figure.name == name).unwrap().value
}

#[test]
fn two_readings_make_rates_levels_bounds_and_drops() {
    let view = View::of(&[reading(Some(BEFORE), &now())], 2.0, Some(77));
    assert_eq!(*figure(&view.rates, "events accepted"), Some(100.0));
    assert_eq!(*figure(&view.rates, "rows written"), None, "nobody tells it");
    // 98 of 100 were acknowledged within 0.1 s.
    assert_eq!(*figure(&view.levels, "acknowledged within, p99"), Some(0.5));
    assert_eq!(view.services[0].state, "not ready: clock");
    assert_eq!(view.services[0].name, "evenkeel-ingest");
    let bound = &view.bounds[0];
    assert_eq!((bound.name, bound.used, bound.limit), ("in flight", 10.0, 100.0));
    let malformed = Drop { place: "ingest", reason: "malformed".into(), rate: 2.0, total: 7.0 };
    assert_eq!(view.drops, [malformed]);
    assert_eq!((view.memory.planned, view.memory.resident), (Some(77.0), 1000.0));
}

#[test]
fn services_add_up_and_one_that_began_anew_or_is_new_makes_no_jump() {
    let twice = [reading(Some(BEFORE), &now()), reading(Some(BEFORE), &now())];
    assert_eq!(*figure(&View::of(&twice, 2.0, None).rates, "events accepted"), Some(200.0));
    // Counted 100, then began anew and counted 40.
    let anew = now().replace("\"accepted\",protocol=\"http\"} 300", "\"accepted\",protocol=\"http\"} 40");
    let view = View::of(&[reading(Some(BEFORE), &anew)], 2.0, None);
    assert_eq!(*figure(&view.rates, "events accepted"), Some(20.0));
    let first = View::of(&[reading(None, &now())], 2.0, None);
    assert_eq!(*figure(&first.rates, "events accepted"), Some(0.0));
    assert_eq!(*figure(&first.levels, "acknowledged within, p99"), None);
    assert_eq!((first.drops[0].rate, first.drops[0].total), (0.0, 7.0));
}

#[test]
fn every_size_sees_every_event_once() {
    let text = |n: u32| {
        let sizes = ["5000", "60000"].map(|size| {
            let line = |outcome: &str, n: u32| {
                format!("evenkeel_coalescer_events_total{{outcome=\"{outcome}\",size=\"{size}\"}} {n}\n")
            };
            line("counted", 10 * n) + &line("duplicate", n)
        });
        sizes.concat()
    };
    let view = View::of(&[reading(Some(&text(1)), &text(3))], 1.0, None);
    assert_eq!(*figure(&view.rates, "events counted"), Some(20.0));
    assert_eq!((view.drops[0].rate, view.drops[0].total), (2.0, 3.0));
}

#[test]
fn a_service_that_is_away_is_shown_and_counts_nothing() {
    let away = Reading { address: "b:2".into(), before: None, now: Err("refused".into()) };
    let view = View::of(&[away.clone(), reading(Some(BEFORE), &now())], 2.0, None);
    assert_eq!(view.services[0].state, "away: refused");
    assert!(view.any() && !View::of(&[away], 2.0, None).any());
    assert_eq!(*figure(&view.rates, "events accepted"), Some(100.0));
}
