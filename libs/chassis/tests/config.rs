//! The layers of a configuration, and every message about a wrong one.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use evenkeel_chassis::config::{Loaded, Origin, Sources};
use evenkeel_chassis::exit::Exit;
use evenkeel_chassis::memory::MemoryBudget;
use evenkeel_chassis::secret::SecretFile;
use evenkeel_chassis::units::{Bytes, Ms, PositiveMs};
use serde::Deserialize;
use std::collections::BTreeMap;

const DEFAULT: &str = r#"
lateness = "2s"
interval = "1s"
workers = 2
name = "default"
sizes = ["5s", "1m"]
memory-budget = "60%"
password-file = "/run/secrets/password"

[http]
listen = "127.0.0.1:8080"
body-max = "1MiB"
"#;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Config {
    lateness: Ms,
    interval: PositiveMs,
    workers: u16,
    name: String,
    sizes: Vec<PositiveMs>,
    memory_budget: MemoryBudget,
    password_file: SecretFile,
    #[serde(default)]
    password: u8,
    #[serde(default)]
    class: Vec<Class>,
    #[serde(default)]
    overrides: BTreeMap<String, Ms>,
    http: Http,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Class {
    #[serde(rename = "match")]
    pattern: String,
    lateness: Option<Ms>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Http {
    listen: std::net::SocketAddr,
    body_max: Bytes,
}

fn sources(file: &str, env: &[(&str, &str)], sets: &[&str]) -> Sources {
    let mut sources = Sources::default();
    sources.text("evenkeel.toml", file).unwrap();
    sources.env(env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))).unwrap();
    for set in sets {
        sources.set(set).unwrap();
    }
    sources
}

fn load(file: &str, env: &[(&str, &str)], sets: &[&str]) -> Loaded<Config> {
    sources(file, env, sets).load("coalescer", DEFAULT).unwrap()
}

fn refused(file: &str, env: &[(&str, &str)], sets: &[&str]) -> String {
    let error = sources(file, env, sets).load::<Config>("coalescer", DEFAULT).unwrap_err();
    assert_eq!(Exit::from(&error).code(), 2);
    error.to_string()
}

#[test]
fn each_layer_wins_over_the_one_before() {
    let file = "[coalescer]\nlateness = \"3s\"\ninterval = \"2s\"\nworkers = 3\n[coalescer.http]\nbody-max = \"2MiB\"\n";
    let env = [
        ("EVENKEEL_COALESCER__INTERVAL", "4s"),
        ("EVENKEEL_COALESCER__WORKERS", "4"),
        ("EVENKEEL_COALESCER__HTTP__BODY_MAX", "4MiB"),
        ("EVENKEEL_SINK__WORKERS", "9"),
        ("EVENKEEL_HOME", "not ours: no __"),
        ("PATH", "/bin"),
    ];
    let loaded = load(file, &env, &["coalescer.workers=5", "coalescer.workers = 6", "sink.workers=10"]);
    let config = &loaded.config;
    assert_eq!(config.name, "default");
    assert_eq!(config.lateness.ms(), 3000);
    assert_eq!(config.interval.ms(), 4000);
    assert_eq!(config.workers, 6);
    assert_eq!(config.http.body_max.bytes(), 4 << 20);
    assert_eq!(config.http.listen.port(), 8080);
    assert_eq!(config.memory_budget, MemoryBudget::Percent(60));
    assert_eq!(config.password_file.path().to_str(), Some("/run/secrets/password"));

    assert_eq!(loaded.origin("name"), Origin::Default);
    assert_eq!(loaded.origin("lateness").to_string(), "evenkeel.toml line 2");
    assert_eq!(loaded.origin("interval").to_string(), "environment variable EVENKEEL_COALESCER__INTERVAL");
    assert_eq!(loaded.origin("workers"), Origin::Set);
}

#[test]
fn overrides_are_read_as_what_they_replace() {
    // Text stays text even if it looks like a number; lists and tables may be given as TOML.
    let sets = [
        "coalescer.name=12",
        "coalescer.sizes=[\"10s\"]",
        "coalescer.overrides.imu=1s",
        "coalescer.class=[{ match = \"imu/*\", lateness = \"9s\" }]",
    ];
    let config = load("", &[], &sets).config;
    assert_eq!(config.name, "12");
    assert_eq!(config.sizes.iter().map(|s| s.ms()).collect::<Vec<_>>(), [10_000]);
    assert_eq!(config.overrides["imu"].ms(), 1000);
    assert_eq!(config.class[0].pattern, "imu/*");
    assert_eq!(config.class[0].lateness.unwrap().ms(), 9000);
    // A value cannot smuggle in a second key.
    assert_eq!(load("", &[], &["coalescer.name=a\nworkers = 9"]).config.workers, 2);
}

#[test]
fn wrong_values_name_the_place_the_key_and_what_is_allowed() {
    let line = "\n\n[coalescer]\nlateness = \"5 weeks\"\n";
    assert_eq!(
        refused(line, &[], &[]),
        r#"evenkeel.toml line 4: coalescer.lateness: "5 weeks" has no known unit; allowed: ms, s, m, h, d"#
    );
    assert_eq!(
        refused("[coalescer]\nlateness = 5\n", &[], &[]),
        "evenkeel.toml line 2: coalescer.lateness: invalid type: integer `5`, expected a time with its unit, \
         e.g. \"200ms\", \"5s\", \"10m\", \"7d\""
    );
    assert_eq!(
        refused("", &[("EVENKEEL_COALESCER__INTERVAL", "0s")], &[]),
        r#"environment variable EVENKEEL_COALESCER__INTERVAL: coalescer.interval: "0s" must be more than zero"#
    );
    assert_eq!(
        refused("", &[], &["coalescer.workers=-1"]),
        "--set: coalescer.workers: invalid value: integer `-1`, expected u16"
    );
    let class =
        "[[coalescer.class]]\nmatch = \"a\"\n\n[[coalescer.class]]\nmatch = \"b\"\nlateness = \"x\"\n";
    assert!(refused(class, &[], &[]).starts_with("evenkeel.toml line 6: coalescer.class[1].lateness: "));
    // What makes no sense only together is refused with the same form.
    let loaded = load("[coalescer]\ninterval = \"3s\"\n", &[], &[]);
    assert_eq!(
        loaded.refuse("interval", "is longer than lateness (2s)").to_string(),
        "evenkeel.toml line 2: coalescer.interval: is longer than lateness (2s)"
    );
}

#[test]
fn unknown_keys_and_services_list_the_known_ones() {
    let unknown = refused("[coalescer]\nlatenes = \"5s\"\n", &[], &[]);
    assert!(
        unknown.starts_with(
            "evenkeel.toml line 2: coalescer.latenes is not known; expected one of `lateness`, "
        ),
        "{unknown}"
    );
    let nested = refused("", &[("EVENKEEL_COALESCER__HTTP__PORT", "1")], &[]);
    assert_eq!(
        nested,
        "environment variable EVENKEEL_COALESCER__HTTP__PORT: coalescer.http.port is not known; \
         expected `listen` or `body-max`"
    );
    let class = refused("[[coalescer.class]]\nmatch = \"a\"\nsize = 1\n", &[], &[]);
    assert!(class.starts_with("evenkeel.toml line 3: coalescer.class[0].size is not known; "), "{class}");

    let known = ["coalescer", "sink"];
    let check = |s: Sources| s.check_services(&known).unwrap_err().to_string();
    let file = check(sources("[sink]\n[colaescer]\nlateness = \"5s\"\n", &[], &[]));
    assert_eq!(file, r#"evenkeel.toml line 2: "colaescer" is no service here; allowed: coalescer, sink"#);
    let env = check(sources("", &[("EVENKEEL_SNIK__A", "1")], &[]));
    assert_eq!(
        env,
        r#"environment variable EVENKEEL_SNIK__A: "snik" is no service here; allowed: coalescer, sink"#
    );
    assert_eq!(
        check(sources("", &[], &["x.y=1"])),
        r#"--set: "x" is no service here; allowed: coalescer, sink"#
    );
    sources("[sink]\n", &[("EVENKEEL_SINK__A", "1")], &["sink.a=1"]).check_services(&known).unwrap();
}

#[test]
fn broken_files_and_overrides_say_how_to_write_them() {
    let mut sources = Sources::default();
    let syntax = sources.text("evenkeel.toml", "[coalescer]\nlateness = 5s\n").unwrap_err().to_string();
    assert!(syntax.starts_with("evenkeel.toml line 2 column "), "{syntax}");
    for given in ["coalescer.lateness", "lateness=5s", ".a=1", "coalescer.=1", "coalescer.a..b=1", ""] {
        let error = sources.set(given).unwrap_err().to_string();
        let name = given.split('=').next().unwrap();
        assert_eq!(error, format!("--set {name:?}: write service.key=value, e.g. coalescer.lateness=5s"));
    }
    for variable in ["EVENKEEL_COALESCER__", "EVENKEEL_COALESCER____A", "EVENKEEL_COALESCER__a"] {
        let error = sources.env([(variable.to_owned(), "hunter2".to_owned())]).unwrap_err().to_string();
        let form = "write EVENKEEL_COALESCER__A__B for the key a.b";
        assert_eq!(error, format!("environment variable {variable}: {form}"));
    }
    assert_eq!(
        refused("coalescer = 5\n", &[], &[]),
        "evenkeel.toml line 1: coalescer is a value; write a section [coalescer]"
    );
    assert_eq!(
        refused("", &[], &["coalescer.http.listen.port=1"]),
        "--set: coalescer.http.listen.port cannot be set: http.listen is a value, not a section"
    );
    let broken = Sources::default().load::<Config>("coalescer", "lateness = ").unwrap_err().to_string();
    assert!(broken.starts_with("the embedded default of coalescer is broken: "), "{broken}");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evenkeel.toml");
    let missing = sources.file(&path).unwrap_err().to_string();
    assert!(missing.starts_with(&format!("the configuration file {} cannot be read: ", path.display())));
    std::fs::write(&path, "#".repeat(1_048_577)).unwrap();
    let large = sources.file(&path).unwrap_err().to_string();
    assert!(large.ends_with("is larger than 1048576 bytes"), "{large}");
    std::fs::write(&path, "[coalescer]\nworkers = 7\n").unwrap();
    sources.file(&path).unwrap();
    assert_eq!(sources.load::<Config>("coalescer", DEFAULT).unwrap().config.workers, 7);
}

#[test]
fn no_secret_in_messages_or_in_the_effective_configuration() {
    let error = refused("", &[], &["coalescer.password=hunter2"]);
    assert_eq!(error, "--set: coalescer.password: the value does not fit (not shown)");
    let loaded = load("[coalescer]\npassword = 77\n", &[], &[]);
    assert_eq!(loaded.config.password, 77);
    let shown = loaded.render();
    assert!(shown.contains(r#"password = "***""#) && !shown.contains("77"), "{shown}");
    // Apart from secrets it can be used as a file, and gives the same.
    let shown = load("[coalescer]\nlateness = \"4s\"\n", &[], &["coalescer.http.body-max=3MiB"]).render();
    let again = load(&shown, &[], &[]);
    assert_eq!(again.config.lateness.ms(), 4000);
    assert_eq!(again.render(), shown);
}
