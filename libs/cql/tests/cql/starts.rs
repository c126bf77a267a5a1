//! Starts: what is detected, what is applied, and what is refused with which remedy.

use crate::fake::{Answer, Fake, Setup};
use crate::faults::config;
use crate::frames::text_map;
use evenkeel_cql::{AuthConfig, ConnectError, CqlConfig, CqlRows, SchemaError, ServerKind, migrate, survey};
use std::io::Write as _;

fn open_error(config: &CqlConfig) -> ConnectError {
    CqlRows::open(config).err().expect("refused")
}

#[test]
fn cassandra_gets_no_overlay() {
    let fake = Fake::start(Setup::default());
    let report = migrate(&config(&fake)).unwrap();
    assert_eq!((report.server, report.release.as_str()), (ServerKind::Cassandra, "0.0.1"));
    assert!(fake.seen("tombstone_gc").is_empty());
    assert_eq!(fake.seen("CREATE KEYSPACE").len(), 1);
    let rows = CqlRows::open(&config(&fake)).unwrap();
    assert_eq!((rows.about().targets, rows.about().local_dc.as_str()), (1, "dc1"));
}

#[test]
fn scylla_is_known_by_its_shards_and_gets_the_overlay_once() {
    let fake = Fake::start(Setup { shards: 2, scylla_local: true, ..Setup::default() });
    let report = migrate(&config(&fake)).unwrap();
    assert_eq!(report.server, ServerKind::Scylla);
    assert_eq!(fake.seen("ALTER TABLE evenkeel.windows_5s WITH tombstone_gc").len(), 1);
    assert_eq!(migrate(&config(&fake)).unwrap().applied, Vec::<String>::new());
    assert!(fake.seen("tombstone_gc").is_empty());
    let rows = CqlRows::open(&config(&fake)).unwrap();
    assert_eq!(rows.about().targets, 2);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while rows.in_flight_limit() != 64 {
        assert!(std::time::Instant::now() < deadline, "limit {}", rows.in_flight_limit());
        std::thread::yield_now();
    }
}

#[test]
fn scylla_behind_a_proxy_is_known_by_its_tables() {
    let fake = Fake::start(Setup { scylla_local: true, ..Setup::default() });
    assert_eq!(migrate(&config(&fake)).unwrap().server, ServerKind::Scylla);
}

/// Somebody else migrates at the same time: a table is in the schema before the server can use it.
#[test]
fn a_table_that_the_server_is_just_creating_is_asked_for_again() {
    let unknown = || Answer::Error(0, vec![], "java.lang.IllegalArgumentException: Unknown CF 95494200");
    let fake = Fake::start(Setup::default());
    fake.plant_on("INSERT INTO evenkeel.schema_version", [unknown(), unknown()]);
    fake.plant_on("FROM evenkeel.schema_version", [unknown()]);
    migrate(&config(&fake)).unwrap();
    assert!(fake.all_planted_was_answered());
    assert_eq!(migrate(&config(&fake)).unwrap().applied, Vec::<String>::new());
}

#[test]
fn a_keyspace_is_made_only_where_that_is_allowed_and_completed_everywhere() {
    let fake = Fake::start(Setup::default());
    let given = CqlConfig { create_keyspace: false, ..config(&fake) };
    let error = migrate(&given).unwrap_err();
    assert!(matches!(error, ConnectError::Schema(SchemaError::NoKeyspace { .. })), "{error}");
    assert!(error.to_string().contains("create it, or set the key"), "{error}");
    migrate(&config(&fake)).unwrap();
    assert_eq!(migrate(&given).unwrap().applied, Vec::<String>::new(), "a keyspace that is there is used");
}

#[test]
fn a_newer_schema_is_refused_with_a_remedy() {
    let fake = Fake::start(Setup::default());
    migrate(&config(&fake)).unwrap();
    let version = 99i32.to_be_bytes();
    fake.add("evenkeel.schema_version", &[("part", b"windows_5s"), ("version", &version), ("options", b"")]);
    for error in [open_error(&config(&fake)), migrate(&config(&fake)).unwrap_err()] {
        assert!(
            matches!(error, ConnectError::Schema(SchemaError::Newer { found: 99, known: 1, .. })),
            "{error}"
        );
        assert!(error.to_string().contains("run the newer evenkeel"), "{error}");
    }
    let survey = survey(&config(&fake)).unwrap();
    assert!(matches!(survey.schema, Err(ConnectError::Schema(SchemaError::Newer { .. }))), "{survey:?}");
}

#[test]
fn only_network_topology_strategy() {
    let fake = Fake::start(Setup::default());
    let simple =
        text_map(&[("class", "org.apache.cassandra.locator.SimpleStrategy"), ("replication_factor", "1")]);
    fake.add(
        "system_schema.keyspaces",
        &[("keyspace_name", b"evenkeel"), ("replication", &simple), ("durable_writes", &[1])],
    );
    let error = migrate(&config(&fake)).unwrap_err();
    assert!(matches!(error, ConnectError::Schema(SchemaError::Strategy { .. })), "{error}");
    assert!(error.to_string().contains("ALTER KEYSPACE evenkeel"), "{error}");
}

#[test]
fn what_is_missing_is_named() {
    let fake = Fake::start(Setup::default());
    let error = open_error(&config(&fake)).to_string();
    assert!(error.contains("does not exist") && error.contains("evenkeel cql migrate"), "{error}");
    migrate(&config(&fake)).unwrap();
    let mut more = config(&fake);
    more.tables = CqlConfig::default().tables;
    let error = open_error(&more).to_string();
    assert!(error.contains("windows_1m") && error.contains("evenkeel cql migrate"), "{error}");
}

#[test]
fn logins_are_refused_with_the_keys_to_check() {
    let fake = Fake::start(Setup { login: Some(("writer", "right")), ..Setup::default() });
    let error = open_error(&config(&fake));
    assert!(matches!(error, ConnectError::Login { .. }), "{error}");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut with = config(&fake);
    with.auth = Some(AuthConfig { user: "writer".into(), password_file: file.path().to_owned() });
    writeln!(file, "wrong").unwrap();
    let error = open_error(&with);
    assert!(matches!(error, ConnectError::Login { .. }), "{error}");
    assert!(error.to_string().contains("password-file"), "{error}");
    std::fs::write(file.path(), "right\n").unwrap();
    migrate(&with).unwrap();
}

#[test]
fn another_data_centre_is_refused_by_name() {
    let fake = Fake::start(Setup::default());
    let mut elsewhere = config(&fake);
    elsewhere.local_dc = Some("atlantis".into());
    let error = open_error(&elsewhere).to_string();
    assert!(error.contains("atlantis") && error.contains("dc1"), "{error}");
    let mut far = config(&fake);
    far.replication = [("atlantis".to_owned(), 1)].into();
    let error = migrate(&far).unwrap_err();
    assert!(matches!(error, ConnectError::Schema(SchemaError::Replication { nodes: 0, .. })), "{error}");
}

#[test]
fn unknown_keys_and_units_in_the_configuration_are_refused() {
    let text = r#"
        contact-points = ["10.0.0.1:9042"]
        local-dc = "dc1"
        keyspace = "telemetry"
        consistency = "local-quorum"
        request-timeout = "2s"
        tables = [{ size = "5s", ttl = "7d" }, { size = "1m" }]
        replication = { dc1 = 3 }
        [auth]
        user = "writer"
        password-file = "/run/secrets/cql"
    "#;
    let config: CqlConfig = toml::from_str(text).unwrap();
    config.check().unwrap();
    assert_eq!(config.tables[0].name(), "windows_5s");
    assert_eq!(toml::from_str::<CqlConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
    assert!(toml::from_str::<CqlConfig>("key-space = \"x\"").is_err());
    assert!(toml::from_str::<CqlConfig>("request-timeout = 5").is_err());
    assert!(toml::from_str::<CqlConfig>("consistency = \"any\"").is_err());
}

#[test]
fn a_role_without_modify_is_seen_by_a_write_that_is_never_carried_out() {
    const UNAUTHORIZED: i32 = 0x2100;
    const INVALID: i32 = 0x2200;
    let fake = Fake::start(Setup::default());
    migrate(&config(&fake)).unwrap();
    let probe = "INSERT INTO evenkeel.latest_window";
    for (code, text, want) in [
        (UNAUTHORIZED, "User x has no MODIFY permission on <table evenkeel.latest_window>", Some(false)),
        (INVALID, "ttl is too large. requested (2147483647) maximum (630720000)", Some(true)),
    ] {
        fake.plant_on(probe, [Answer::Error(code, vec![], text)]);
        assert_eq!(survey(&config(&fake)).unwrap().rights.write, want, "{text}");
    }
    assert!(fake.all_planted_was_answered());
}
