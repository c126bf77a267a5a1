//! A healthy store of three racks, and one change of it per kind of finding.

use super::super::trial::{Trial, try_all};
use super::*;
use evenkeel_cql::{About, ClockReading, Node, Rights, SchemaError};

fn healthy() -> Store {
    let node = |rack: &str| Node { dc: "dc1".into(), rack: rack.into(), shards: Some(4), connected: true };
    let about =
        About { server: ServerKind::Scylla, release: "3.0.8".into(), local_dc: "dc1".into(), targets: 12 };
    let survey = Survey {
        about,
        nodes: vec![node("a"), node("b"), node("c")],
        agreed: Some(true),
        copies: [("dc1".to_owned(), 3)].into(),
        versions: [("base".to_owned(), 1)].into(),
        schema: Ok(()),
        stale: Vec::new(),
        rights: Rights { read: Some(true), write: Some(true) },
        clock: Some(ClockReading { asked_ms: 0, heard_ms: 5, server_ms: 2 }),
    };
    Store { survey: Ok(survey), consistency_one: false, slack_ms: 60_000 }
}

fn survey(store: &mut Store) -> &mut Survey {
    store.survey.as_mut().unwrap()
}

fn told(store: &Store) -> Vec<Told> {
    judge(store).iter().map(Finding::told).collect()
}

#[test]
fn every_kind_has_a_cause_and_health_has_none() {
    let trials: [Trial<Store>; 17] = [
        ("no-store", |s| {
            s.survey = Err(Trouble { exit: Exit::Unreachable, message: "nobody answers; check it".into() });
        }),
        ("schema", |s| {
            let missing = SchemaError::Missing { keyspace: "ek".into(), missing: "table x".into() };
            survey(s).schema = Err(missing.into());
        }),
        ("stale-table", |s| {
            let (recorded, wanted) = ("ttl_s=1".into(), "ttl_s=2".into());
            survey(s).stale.push(StaleTable { table: "windows_5s".into(), recorded, wanted });
        }),
        ("old-store", |s| {
            (survey(s).about.server, survey(s).about.release) = (ServerKind::Cassandra, "3.11.9".into());
        }),
        ("no-copy-here", |s| survey(s).about.local_dc = "dc2".into()),
        ("too-many-copies", |s| {
            survey(s).copies.insert("dc1".into(), 4);
        }),
        ("too-many-copies", |s| {
            survey(s).copies.insert("dc9".into(), 1);
        }),
        ("few-copies", |s| {
            survey(s).copies.insert("dc1".into(), 2);
        }),
        ("weak-reads", |s| s.consistency_one = true),
        ("one-rack", |s| survey(s).nodes.iter_mut().for_each(|node| node.rack = "a".into())),
        ("nodes-away", |s| survey(s).nodes[1].connected = false),
        ("schema-disagrees", |s| survey(s).agreed = Some(false)),
        ("no-store-right", |s| survey(s).rights.write = Some(false)),
        ("no-store-right", |s| survey(s).rights.read = Some(false)),
        ("no-store-right", |s| survey(s).schema = Err(ConnectError::Forbidden { reason: "no".into() })),
        ("store-clock", |s| {
            survey(s).clock = Some(ClockReading { asked_ms: 0, heard_ms: 5, server_ms: 60_006 });
        }),
        ("store-clock", |s| {
            survey(s).clock = Some(ClockReading { asked_ms: 0, heard_ms: 5, server_ms: -60_001 });
        }),
    ];
    let kinds = [
        "no-store",
        "schema",
        "stale-table",
        "old-store",
        "no-copy-here",
        "too-many-copies",
        "few-copies",
        "weak-reads",
        "one-rack",
        "nodes-away",
        "schema-disagrees",
        "no-store-right",
        "store-clock",
    ];
    try_all(healthy, told, &trials, &kinds);
}

#[test]
fn one_node_with_one_copy_is_what_it_is_and_what_is_not_known_is_no_finding() {
    let mut store = healthy();
    store.consistency_one = true;
    survey(&mut store).nodes.truncate(1);
    survey(&mut store).copies = [("dc1".to_owned(), 1)].into();
    (survey(&mut store).agreed, survey(&mut store).clock) = (None, None);
    survey(&mut store).rights = Rights::default();
    assert_eq!(told(&store), []);
}

#[test]
fn what_was_seen_names_the_server() {
    let lines = seen(&healthy());
    assert_eq!(lines[0], "store: Scylla 3.0.8, 3 node(s), 12 shards, data centre dc1, 3 rack(s)");
    assert_eq!(lines[1], "schema: base 1");
}
