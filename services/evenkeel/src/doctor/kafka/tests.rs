//! A healthy cluster of three brokers, and one change of it per kind of finding.

use super::super::trial::{Trial, try_all};
use super::*;
use crate::doctor::Told;
use crate::doctor::facts::Part;
use evenkeel_chassis::exit::Exit;
use evenkeel_kafka::topics::{DECLARED, TopicsSpec};
use evenkeel_kafka::{ClockReading, Survey, TopicFacts, TopicRights, TopicState, TopicSurvey};

const NOW: i64 = 1_772_366_400_000;

/// Three brokers, everything as declared.
fn healthy() -> Cluster {
    let spec = TopicsSpec::parse(DECLARED).unwrap();
    let topics = Topic::ALL.iter().map(|topic| Some(*topic)).chain([None]).map(|topic| {
        let declared = topic.map_or(&spec.clock, |topic| spec.of(topic));
        let mut settings = declared.config.clone();
        settings.insert("min.insync.replicas".into(), "2".into());
        let name = topic.map_or("ek.clock".to_owned(), |topic| format!("ek.{topic}"));
        let facts = TopicFacts {
            partitions: declared.partitions,
            replicas: 3,
            in_sync: 3,
            leaderless: 0,
            settings: Some(settings),
            rights: Some(TopicRights { read: true, write: true }),
        };
        TopicSurvey { topic, name, state: TopicState::There(facts) }
    });
    let survey = Survey {
        brokers: 3,
        apis: [(28, (0, 5)), (68, (0, 1))].into(),
        topics: topics.collect(),
        clock: Some(Ok(ClockReading { asked_ms: NOW, heard_ms: NOW + 20, server_ms: NOW + 10 })),
    };
    let (survey, parts) = (Ok(survey), Part::ALL.to_vec());
    Cluster {
        survey,
        spec,
        asks_kip_848: true,
        gateway_partition: 0,
        stores_scores: true,
        slack_ms: 60_000,
        parts,
    }
}

fn survey(cluster: &mut Cluster) -> &mut Survey {
    cluster.survey.as_mut().unwrap()
}

fn topic(cluster: &mut Cluster, which: Option<Topic>) -> &mut TopicSurvey {
    survey(cluster).topics.iter_mut().find(|t| t.topic == which).unwrap()
}

fn facts(cluster: &mut Cluster, which: Topic) -> &mut TopicFacts {
    match &mut topic(cluster, Some(which)).state {
        TopicState::There(facts) => facts,
        other => panic!("{other:?}"),
    }
}

fn set(cluster: &mut Cluster, which: Topic, key: &str, value: &str) {
    facts(cluster, which).settings.as_mut().unwrap().insert(key.into(), value.into());
}

fn clock(cluster: &mut Cluster, server_ms: i64) {
    survey(cluster).clock = Some(Ok(ClockReading { asked_ms: NOW, heard_ms: NOW, server_ms }));
}

fn told(cluster: &Cluster) -> Vec<Told> {
    judge(cluster).iter().map(Finding::told).collect()
}

#[test]
fn every_kind_has_a_cause_and_health_has_none() {
    let trials: [Trial<Cluster>; 28] = [
        ("no-kafka", |c| {
            c.survey =
                Err(Trouble { exit: Exit::Unreachable, message: "no broker answers; check it".into() });
        }),
        ("kafka-too-old", |c| {
            survey(c).apis.insert(28, (0, 2));
        }),
        ("kafka-too-old", |c| {
            survey(c).apis.remove(&28);
        }),
        ("kafka-version-unknown", |c| survey(c).apis.clear()),
        ("no-kip-848", |c| {
            survey(c).apis.remove(&68);
        }),
        ("one-broker", |c| survey(c).brokers = 1),
        ("topic-missing", |c| topic(c, Some(Topic::Events)).state = TopicState::Missing),
        ("topic-missing", |c| topic(c, None).state = TopicState::Missing),
        ("topic-forbidden", |c| topic(c, Some(Topic::Marks)).state = TopicState::Forbidden),
        ("partitions-differ", |c| facts(c, Topic::Windows).partitions = 11),
        ("partitions-differ", |c| facts(c, Topic::Dlq).partitions = 11),
        ("no-frames-partition", |c| c.gateway_partition = 32),
        ("leaderless", |c| facts(c, Topic::Events).leaderless = 1),
        ("below-minimum", |c| facts(c, Topic::Events).in_sync = 1),
        ("under-replicated", |c| facts(c, Topic::Events).in_sync = 2),
        ("one-copy", |c| {
            (facts(c, Topic::Events).replicas, facts(c, Topic::Events).in_sync) = (1, 1);
            set(c, Topic::Events, "min.insync.replicas", "1");
        }),
        ("acked-once", |c| set(c, Topic::Events, "min.insync.replicas", "1")),
        ("none-to-spare", |c| set(c, Topic::Events, "min.insync.replicas", "3")),
        ("vital-setting", |c| set(c, Topic::Marks, "cleanup.policy", "delete")),
        ("setting", |c| set(c, Topic::Events, "retention.ms", "1000")),
        ("setting", |c| drop(facts(c, Topic::Marks).settings.as_mut().unwrap().remove("segment.ms"))),
        ("settings-hidden", |c| facts(c, Topic::Events).settings = None),
        ("no-right", |c| facts(c, Topic::Windows).rights = Some(TopicRights { read: true, write: false })),
        ("no-right", |c| facts(c, Topic::Events).rights = Some(TopicRights::default())),
        ("rights-unknown", |c| facts(c, Topic::Events).rights = None),
        ("clock-wrong", |c| clock(c, NOW + 60_001)),
        ("clock-drifts", |c| clock(c, NOW - 30_001)),
        ("clock-unknown", |c| survey(c).clock = Some(Err("no LogAppendTime".into()))),
    ];
    let kinds = [
        "no-kafka",
        "kafka-too-old",
        "kafka-version-unknown",
        "no-kip-848",
        "one-broker",
        "topic-missing",
        "topic-forbidden",
        "partitions-differ",
        "no-frames-partition",
        "leaderless",
        "below-minimum",
        "under-replicated",
        "one-copy",
        "acked-once",
        "none-to-spare",
        "vital-setting",
        "setting",
        "settings-hidden",
        "no-right",
        "rights-unknown",
        "clock-wrong",
        "clock-drifts",
        "clock-unknown",
    ];
    try_all(healthy, told, &trials, &kinds);
}

#[test]
fn more_than_is_declared_and_what_nobody_asked_for_is_no_finding() {
    let mut cluster = healthy();
    set(&mut cluster, Topic::Events, "retention.ms", "-1");
    set(&mut cluster, Topic::Windows, "retention.ms", "604800001");
    facts(&mut cluster, Topic::Dlq).partitions = 20;
    survey(&mut cluster).apis.remove(&68);
    cluster.asks_kip_848 = false;
    // The gateway neither reads nor writes `events`.
    facts(&mut cluster, Topic::Events).rights = Some(TopicRights::default());
    cluster.parts = vec![Part::Gateway];
    assert_eq!(told(&cluster), []);
}

#[test]
fn a_lack_of_rights_names_who_needs_what() {
    let mut cluster = healthy();
    facts(&mut cluster, Topic::Events).rights = Some(TopicRights::default());
    let whys: Vec<String> = told(&cluster).into_iter().map(|told| told.why).collect();
    assert_eq!(whys.len(), 2, "{whys:?}");
    assert!(
        whys[0].starts_with("ingest needs Write") && whys[1].starts_with("coalescer needs Read"),
        "{whys:?}"
    );
}

#[test]
fn the_scorer_reads_back_what_it_writes_and_the_sink_reads_scores_where_it_stores_them() {
    let whys = |cluster: &Cluster| told(cluster).into_iter().map(|told| told.why).collect::<Vec<_>>();
    let mut cluster = healthy();
    for topic in [Topic::Windows, Topic::Scores, Topic::Alerts] {
        facts(&mut cluster, topic).rights = Some(TopicRights::default());
    }
    cluster.parts = vec![Part::Scorer];
    let found = whys(&cluster);
    let wanted = ["Read", "Read", "Write", "Read", "Write"];
    assert_eq!(found.len(), wanted.len(), "{found:?}");
    for (why, right) in found.iter().zip(wanted) {
        assert!(why.starts_with(&format!("scorer needs {right} here")), "{found:?}");
    }
    let places: Vec<String> = told(&cluster).into_iter().map(|told| told.place).collect();
    let [windows, scores, alerts] = ["windows", "scores", "alerts"].map(|topic| format!("topic ek.{topic}"));
    assert_eq!(places, [&windows, &scores, &scores, &alerts, &alerts].map(String::clone));
    // The gateway only reads alerts; who has no scores to store need not read them.
    facts(&mut cluster, Topic::Windows).rights = Some(TopicRights { read: true, write: true });
    cluster.parts = vec![Part::Sink];
    assert!(whys(&cluster)[0].starts_with("sink needs Read"), "{:?}", whys(&cluster));
    cluster.stores_scores = false;
    assert_eq!(whys(&cluster), Vec::<String>::new());
}

#[test]
fn what_was_seen_names_the_protocol() {
    let mut cluster = healthy();
    assert_eq!(seen(&cluster)[0], "Kafka: 3 broker(s), the protocol of Kafka 4.0 or later");
    survey(&mut cluster).apis.remove(&68);
    assert_eq!(seen(&cluster)[0], "Kafka: 3 broker(s), a protocol before Kafka 4.0");
    survey(&mut cluster).apis.clear();
    assert_eq!(seen(&cluster)[0], "Kafka: 3 broker(s), an unknown version");
    assert_eq!(seen(&cluster)[1..], ["topics: 9 of 9", "events: 12 partitions, 3 replica(s)"]);
}
