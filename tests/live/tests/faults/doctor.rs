//! `evenkeel doctor` over real servers: what is well, and one fault at a time, each with its kind and exit code.

use crate::site::Site;
use evenkeel_live::parts::kafka::{LocalBroker, Secure};
use serde_json::Value;
use std::collections::BTreeSet;

/// The exit code, and (severity, kind) of what was found.
#[track_caller]
fn doctor(site: &Site, more: &[&str]) -> (Option<i32>, BTreeSet<(String, String)>, Value) {
    doctor_of(site, &[], more)
}

/// The same, with arguments.
#[track_caller]
fn doctor_of(site: &Site, args: &[&str], more: &[&str]) -> (Option<i32>, BTreeSet<(String, String)>, Value) {
    let output = site.run(&[&["doctor", "--json"], args].concat(), more);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr));
    });
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let found = report["findings"].as_array().unwrap().iter();
    let found = found.map(|finding| (word(&finding["severity"]), word(&finding["kind"])));
    assert_eq!(report["exit"].as_i64(), output.status.code().map(i64::from), "{report}");
    (output.status.code(), found.collect(), report)
}

/// The kinds of the errors.
fn errors(found: &BTreeSet<(String, String)>) -> Vec<&str> {
    found.iter().filter(|(severity, _)| severity == "error").map(|(_, kind)| kind.as_str()).collect()
}

#[test]
fn the_doctor_finds_nothing_wrong_where_services_would_start() {
    let site = Site::whole("doctor");
    let (code, found, report) = doctor(&site, &["coalescer.memory-budget=128MiB"]);
    assert_eq!((code, errors(&found)), (Some(0), vec![]), "{report:#}");
    let known = ["one-broker", "not-announced"];
    assert!(found.iter().all(|(_, kind)| known.contains(&kind.as_str())), "{report:#}");
    assert!(found.contains(&("warning".into(), "one-broker".into())), "{report:#}");
    let seen = report["seen"].to_string();
    for want in
        ["Kafka 4.0 or later", "topics: 9 of 9", "store: Cassandra", "data centre datacenter1", "base 2"]
    {
        assert!(seen.contains(want), "{want}: {seen}");
    }
    // What was not asked cannot have been found: rights, the brokers' clock and the write probe have answers.
    let text = String::from_utf8(site.run(&["doctor"], &[]).stdout).unwrap();
    assert!(text.contains("seen     Kafka") && text.contains("0 errors"), "{text}");
}

#[test]
fn the_doctor_names_a_topic_that_is_missing_or_has_other_partitions() {
    let site = Site::whole("doctor-topics");
    let missing = format!("kafka.topic-names.marks={}.nowhere", site.prefix);
    let (code, found, report) = doctor(&site, &[&missing]);
    assert_eq!((code, errors(&found)), (Some(3), vec!["topic-missing"]), "{report:#}");
    assert!(report.to_string().contains("evenkeel topics create"), "{report:#}");

    let other = Site::at("doctor-other", &site.brokers, &site.cql);
    let made = other.run(&["topics", "create", "--one-broker", "--partitions", "3"], &[]);
    assert!(made.status.success());
    let windows = format!("kafka.topic-names.windows={}.windows", other.prefix);
    let (code, found, report) = doctor(&site, &[&windows]);
    assert_eq!((code, errors(&found)), (Some(4), vec!["partitions-differ"]), "{report:#}");
    // A topic that is compacted where it must not be.
    let compacted = format!("kafka.topic-names.dlq={}.marks", site.prefix);
    let (code, found, report) = doctor(&site, &[&compacted]);
    assert_eq!((code, errors(&found)), (Some(4), vec!["vital-setting"]), "{report:#}");
}

#[test]
fn the_doctor_names_a_schema_that_is_missing_and_servers_that_are_away() {
    let site = Site::whole("doctor-schema");
    let (code, found, report) = doctor(&site, &["cql.keyspace=ek_nowhere"]);
    assert_eq!((code, errors(&found)), (Some(4), vec!["schema"]), "{report:#}");
    assert!(report.to_string().contains("evenkeel cql migrate"), "{report:#}");

    let away = ["kafka.brokers=127.0.0.1:1", "kafka.timeouts.connect=1s"];
    let (code, found, report) = doctor(&site, &away);
    assert_eq!((code, errors(&found)), (Some(3), vec!["no-kafka"]), "{report:#}");
    let (code, found, report) = doctor(&site, &["cql.contact-points=[\"127.0.0.1:1\"]"]);
    assert_eq!((code, errors(&found)), (Some(3), vec!["no-store"]), "{report:#}");
}

#[test]
fn the_doctor_looks_at_what_the_scorer_needs() {
    const RULE: &str = "scorer.live.rule=[{ name = \"hot\", field = \"t.max\", above = 90 }]";
    // Without a store: the scorer has none.
    let site = Site::on_kafka("doctor-scorer");
    let scorer = |more: &[&str]| doctor_of(&site, &["--only", "scorer"], more);
    let (code, found, report) = scorer(&[RULE]);
    assert_eq!((code, errors(&found)), (Some(0), vec![]), "{report:#}");
    let missing = format!("kafka.topic-names.scores={}.nowhere", site.prefix);
    let (code, found, report) = scorer(&[RULE, &missing]);
    assert_eq!((code, errors(&found)), (Some(3), vec!["topic-missing"]), "{report:#}");
    let (code, found, report) = scorer(&[]);
    assert_eq!((code, errors(&found)), (Some(2), vec!["config"]), "{report:#}");
    assert_eq!(site.refused("scorer", &[]).0, code, "as the scorer itself");
    let model = tempfile::NamedTempFile::new().unwrap();
    let named = format!("scorer.live.model={}", model.path().display());
    let (code, found, report) = scorer(&[&named]);
    assert_eq!((code, errors(&found)), (Some(4), vec!["config"]), "{report:#}");
    assert_eq!(site.refused("scorer", &[&named]).0, code, "as the scorer itself");
    let (code, found, report) = scorer(&[RULE, "scorer.live.sizes=[\"7s\"]"]);
    assert_eq!((code, errors(&found)), (Some(0), vec![]), "{report:#}");
    assert!(found.contains(&("warning".into(), "unmade-size".into())), "{report:#}");
}

#[test]
fn the_doctor_names_topics_that_a_login_may_not_see() {
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "right\n").unwrap();
    let secure = Secure {
        user: "alice".into(),
        password: "right".into(),
        key_and_certificate: crate::logins::broker_identity(),
        forbids: true,
    };
    let broker = LocalBroker::start_secure(secure).unwrap();
    let site = Site::at("doctor-rights", &broker.address(), "127.0.0.1:1");
    site.make_topics();
    let login = [
        format!("kafka.brokers={}", broker.login_address()),
        "kafka.security.protocol=sasl-plaintext".into(),
        "kafka.security.mechanism=plain".into(),
        "kafka.security.username=alice".into(),
        format!("kafka.security.password-file={}", password.display()),
    ];
    let (code, found, report) = doctor(&site, &login.each_ref().map(String::as_str));
    assert_eq!((code, errors(&found)), (Some(2), vec!["no-store", "topic-forbidden"]), "{report:#}");
    // The one who may everything has nothing to mend.
    let (code, found, report) = doctor(&site, &[]);
    assert_eq!((code, errors(&found)), (Some(3), vec!["no-store"]), "{report:#}");
    let known =
        [("warning".to_owned(), "one-broker".to_owned()), ("note".to_owned(), "not-announced".to_owned())];
    assert!(known.iter().all(|kind| found.contains(kind)), "{report:#}");
    assert!(
        !found.iter().any(|(_, kind)| kind.starts_with("rights") || kind.starts_with("clock")),
        "{report:#}"
    );
}
