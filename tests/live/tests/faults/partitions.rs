//! Topics that have another number of partitions than what was committed: refused, with both numbers and the
//! documented procedure, at the start as in the middle.

use crate::site::{Site, now_ms};
use crate::topics::{batch, config, put};
use evenkeel_kafka::faults::grow;
use evenkeel_model::{Topic, partition_of};

/// A site whose coalescer has committed something in each partition.
fn consumed(test: &str) -> Site {
    let site = Site::whole(test);
    let now = now_ms();
    for partition in 0..2 {
        let id = (0..).map(|n| format!("s/{n}")).find(|id| partition_of(id, 2) == partition).unwrap();
        put(&site, Topic::Events, partition, &[(Some(&id), &batch(&id, now, 0..10, now))]);
    }
    site
}

const COUNTED: &str = "evenkeel_coalescer_events_total{outcome=\"counted\",size=\"5000\"}";

#[test]
fn topics_that_grew_after_a_commit_are_refused_with_the_procedure() {
    let site = consumed("grown");
    let mut coalescer = site.start("coalescer", &[]);
    coalescer.until("all is consumed", |c| c.metric(COUNTED) == Some(20.0));
    assert_eq!(coalescer.terminate(), Some(0)); // the last commit is in

    grow(&config(&site), Topic::Events, 3).unwrap();
    let (code, said) = site.refused("coalescer", &[]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("windows has 2 partitions") && said.contains("events has 3"), "{said}");
    assert!(said.contains("docs/operations.md") && said.contains("Changing the partition count"), "{said}");
    let (code, said) = site.refused("sink", &[]);
    assert_eq!(code, Some(4), "{said}");

    for topic in [Topic::Windows, Topic::Marks] {
        grow(&config(&site), topic, 3).unwrap();
    }
    // As many in dlq: a refused record keeps its partition's number.
    let (code, said) = site.refused("coalescer", &[]);
    assert!(code == Some(4) && said.contains("dlq has 2 partitions"), "{code:?} {said}");
    grow(&config(&site), Topic::Dlq, 3).unwrap();
    let (code, said) = site.refused("coalescer", &[]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("has 3 partitions") && said.contains("made with 2"), "{said}");
    assert!(said.contains("docs/operations.md") && said.contains("Changing the partition count"), "{said}");
}

#[test]
fn topics_that_grow_under_a_running_coalescer_stop_it_with_the_same_words() {
    let site = consumed("growing").set("kafka.timeouts.metadata=1s");
    let mut coalescer = site.start("coalescer", &[]);
    coalescer.until("all is consumed", |c| c.metric(COUNTED) == Some(20.0));
    for topic in [Topic::Dlq, Topic::Marks, Topic::Windows, Topic::Events] {
        grow(&config(&site), topic, 3).unwrap();
    }
    let (code, said) = coalescer.ended();
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("has 3 partitions") && said.contains("made with 2"), "{said}");
}
