//! Prints the simulated comparison: `cargo run --release -p evenkeel-flush --example table [seed]`.

use evenkeel_flush::simulate::{Broker, Outcome, Trace, World, oracle};
use evenkeel_flush::{Linger, Policy, Rate, RateMerged, SelfClocked, Static};

fn main() {
    let seed = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(1);
    let linger = |linger_ms| Policy::Linger(Linger { linger_ms, ..Linger::default() });
    let policies = [
        ("static 256 KiB", Policy::Static(Static::default())),
        ("linger 0", linger(0)),
        ("linger 5 ms", linger(5)),
        ("rate", Policy::Rate(Rate::default())),
        ("rate-merged", Policy::RateMerged(RateMerged::default())),
        ("self-clocked", Policy::SelfClocked(SelfClocked::default())),
    ];
    for broker in [Broker::ordinary(), Broker::slow()] {
        println!(
            "\nbroker {}: added latency in ms, p99 of latency, requests/s, bytes/request\n",
            broker.name
        );
        println!("| trace | policy | mean | p50 | p99 | p99.9 | max | p99 all | req/s | B/req | refused |");
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        for trace in Trace::all(seed) {
            let world = World::new(seed, &trace, &broker);
            for (name, policy) in &policies {
                row(trace.name, name, &world.play(policy), true);
            }
            row(trace.name, "oracle", &oracle(&world), false);
        }
    }
}

fn row(trace: &str, policy: &str, outcome: &Outcome, counts: bool) {
    let (a, all) = (outcome.added(), outcome.latency());
    print!(
        "| {trace} | {policy} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} | {:.2} |",
        a.mean_ms, a.p50_ms, a.p99_ms, a.p999_ms, a.max_ms, all.p99_ms
    );
    if counts {
        print!(" {:.0} | {:.0} |", outcome.requests_per_s(), outcome.bytes_per_request());
    } else {
        print!(" | |");
    }
    println!(" {} |", outcome.refused_events);
}
