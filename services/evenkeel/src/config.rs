//! The configuration of one machine: every section, and what a file run sets otherwise.
//!
//! Owns: section `[local]`. Never: a section of a service (they own theirs).

use crate::machine::Services;
use evenkeel_chassis::config::{ConfigError, Sources};
use evenkeel_chassis::process::{self, ProcessConfig};
use evenkeel_chassis::units::{Bytes, Ms, PositiveMs};
use evenkeel_coalescer as coalescer;
use evenkeel_cql::CqlConfig;
use evenkeel_kafka::KafkaConfig;
use evenkeel_local::{Durability, LocalOptions, Retention, TopicRetention};
use evenkeel_sink as sink;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// Name of the section of the embedded log and store.
const LOCAL: &str = "local";
/// Its defaults, a why per key.
const LOCAL_TOML: &str = include_str!("local.toml");
/// Name of the section of the cluster's log.
const KAFKA: &str = "kafka";
/// Name of the section of the CQL store.
const CQL: &str = "cql";
/// Every section a configuration file may have.
const SECTIONS: [&str; 9] = [
    process::SECTION,
    LOCAL,
    evenkeel_ingest::SERVICE,
    coalescer::SERVICE,
    sink::SERVICE,
    evenkeel_scorer::SERVICE,
    evenkeel_gateway::SERVICE,
    KAFKA,
    CQL,
];

/// Another default: (section, path of the key, value).
type Change = (&'static str, &'static [&'static str], &'static str);

/// What a file run sets otherwise than `default.toml`, unless the user sets it.
const FILE_RUN: [Change; 4] = [
    // Files may be old, and may be sorted by stream: then one stream's data is older than the log clock by
    // all the time the file spans. 100 years.
    (coalescer::SERVICE, &["max-age"], "36525d"),
    // Nobody waits for a beat: rows leave as soon as they can, and the end is reached sooner.
    (coalescer::SERVICE, &["interval"], "100ms"),
    (sink::SERVICE, &["interval"], "100ms"),
    // The summary says what happened; a line per start and recovery would only stand before it.
    (process::SECTION, &["log", "filter"], "warn"),
];

/// What the user set: file, environment, command line; their sections exist.
#[derive(Debug)]
pub struct Overrides(Sources);

/// The configuration of one machine.
#[derive(Debug, Clone)]
pub struct Config {
    /// Section `[process]`.
    pub process: ProcessConfig,
    /// Section `[local]`.
    pub local: LocalOptions,
    /// The services' sections.
    pub services: Services,
}

/// The configuration of one machine that serves.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Section `[process]`.
    pub process: ProcessConfig,
    /// Section `[local]`.
    pub local: LocalOptions,
    /// Section `[ingest]`.
    pub ingest: evenkeel_ingest::Config,
    /// Section `[gateway]`.
    pub gateway: evenkeel_gateway::Config,
    /// The other services' sections.
    pub services: Services,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct LocalConfig {
    partitions: u32,
    durability: DurabilityName,
    keep_events: PositiveMs,
    keep_windows: PositiveMs,
    keep_dlq: PositiveMs,
    row_ttl: Ms,
    log_max: Bytes,
    store_max: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DurabilityName {
    Process,
    Power,
}

impl Overrides {
    /// Refuses sections nobody reads.
    pub fn checked(sources: Sources) -> Result<Self, ConfigError> {
        sources.check_services(&SECTIONS)?;
        Ok(Self(sources))
    }
}

/// The configuration of the scorer.
pub fn scorer_config(Overrides(sources): &Overrides) -> Result<evenkeel_scorer::Config, ConfigError> {
    Ok(sources.load(evenkeel_scorer::SERVICE, evenkeel_scorer::DEFAULT_TOML)?.config)
}

/// The configuration of the CQL store at `address`, `host:port`.
pub fn cql_config(overrides: &Overrides, address: &str) -> Result<CqlConfig, ConfigError> {
    let Overrides(sources) = overrides;
    // A default that had no text form would be said to lack its keys; a test sees to it that it has one.
    let default = toml::to_string(&CqlConfig::default()).unwrap_or_default();
    let config = sources.load::<CqlConfig>(CQL, &default)?.config;
    Ok(CqlConfig { contact_points: vec![address.to_owned()], ..config })
}

impl Config {
    /// The configuration of a file run.
    pub fn of_file_run(overrides: &Overrides) -> Result<Self, ConfigError> {
        let Overrides(sources) = overrides;
        let default = |section, text| default_with(&FILE_RUN, section, text);
        let process = sources
            .load::<ProcessConfig>(process::SECTION, &default(process::SECTION, process::DEFAULT_TOML))?;
        Ok(Self {
            process: process.config,
            local: sources.load::<LocalConfig>(LOCAL, LOCAL_TOML)?.config.options(),
            services: Services {
                coalescer: sources
                    .load(coalescer::SERVICE, &default(coalescer::SERVICE, coalescer::DEFAULT_TOML))?
                    .config,
                sink: sources.load(sink::SERVICE, &default(sink::SERVICE, sink::DEFAULT_TOML))?.config,
                scorer: None, // a file's rows go to the store; `evenkeel score` scores files
            },
        })
    }
}

/// What a demo sets otherwise: ports nobody else has, no line per start above the view, a rule that something
/// happens to.
const DEMO: [Change; 6] = [
    (process::SECTION, &["admin", "listen"], "127.0.0.1:0"),
    (process::SECTION, &["log", "filter"], "warn"),
    (evenkeel_ingest::SERVICE, &["listen"], "127.0.0.1:0"),
    (evenkeel_gateway::SERVICE, &["listen"], "127.0.0.1:0"),
    // Nobody waits for the end of a demo; its pages find no other instance.
    (evenkeel_gateway::SERVICE, &["drain-spread"], "100ms"),
    // The water of some bowls of the fleet warms to 23 degrees, and cools.
    (
        evenkeel_scorer::SERVICE,
        &["live", "rule"],
        r#"[{ name = "warm-water", match = "bowl/*", field = "temp.mean", above = 21.0, hysteresis = 1.5, size = "5s" }]"#,
    ),
];

impl ServerConfig {
    /// The configuration of `run`.
    pub fn of_run(overrides: &Overrides) -> Result<Self, ConfigError> {
        Self::with(overrides, &[])
    }

    /// The configuration of `demo`.
    pub fn of_demo(overrides: &Overrides) -> Result<Self, ConfigError> {
        Self::with(overrides, &DEMO)
    }

    fn with(Overrides(sources): &Overrides, changes: &[Change]) -> Result<Self, ConfigError> {
        let default = |section, text| default_with(changes, section, text);
        let process = default(process::SECTION, process::DEFAULT_TOML);
        let ingest = default(evenkeel_ingest::SERVICE, evenkeel_ingest::DEFAULT_TOML);
        let gateway = default(evenkeel_gateway::SERVICE, evenkeel_gateway::DEFAULT_TOML);
        let local = sources.load::<LocalConfig>(LOCAL, LOCAL_TOML)?.config.options();
        let scorer = default(evenkeel_scorer::SERVICE, evenkeel_scorer::DEFAULT_TOML);
        let scorer: evenkeel_scorer::Config = sources.load(evenkeel_scorer::SERVICE, &scorer)?.config;
        Ok(Self {
            process: sources.load::<ProcessConfig>(process::SECTION, &process)?.config,
            local: LocalOptions { wait_for_room: true, ..local },
            ingest: sources.load(evenkeel_ingest::SERVICE, &ingest)?.config,
            gateway: sources.load(evenkeel_gateway::SERVICE, &gateway)?.config,
            services: Services {
                coalescer: sources.load(coalescer::SERVICE, coalescer::DEFAULT_TOML)?.config,
                sink: sources.load(sink::SERVICE, sink::DEFAULT_TOML)?.config,
                scorer: Some(scorer.live).filter(evenkeel_scorer::live::LiveConfig::is_on),
            },
        })
    }
}

/// The configuration of one service of a cluster.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// Section `[process]`.
    pub process: ProcessConfig,
    /// Section `[kafka]`.
    pub kafka: KafkaConfig,
    /// Section `[cql]`.
    pub cql: CqlConfig,
    /// Section `[ingest]`.
    pub ingest: evenkeel_ingest::Config,
    /// Section `[gateway]`.
    pub gateway: evenkeel_gateway::Config,
    /// Section `[coalescer]`.
    pub coalescer: coalescer::Config,
    /// Section `[sink]`.
    pub sink: sink::Config,
    /// Section `[scorer]`.
    pub scorer: evenkeel_scorer::Config,
}

impl ClusterConfig {
    /// Every section, whichever service runs.
    pub fn load(Overrides(sources): &Overrides) -> Result<Self, ConfigError> {
        let kafka = toml::to_string(&KafkaConfig::default()).unwrap_or_default();
        let cql = toml::to_string(&CqlConfig::default()).unwrap_or_default();
        Ok(Self {
            process: sources.load::<ProcessConfig>(process::SECTION, process::DEFAULT_TOML)?.config,
            kafka: sources.load(KAFKA, &kafka)?.config,
            cql: sources.load(CQL, &cql)?.config,
            ingest: sources.load(evenkeel_ingest::SERVICE, evenkeel_ingest::DEFAULT_TOML)?.config,
            gateway: sources.load(evenkeel_gateway::SERVICE, evenkeel_gateway::DEFAULT_TOML)?.config,
            coalescer: sources.load(coalescer::SERVICE, coalescer::DEFAULT_TOML)?.config,
            sink: sources.load(sink::SERVICE, sink::DEFAULT_TOML)?.config,
            scorer: sources.load(evenkeel_scorer::SERVICE, evenkeel_scorer::DEFAULT_TOML)?.config,
        })
    }
}

/// A section's default with other values. A text that does not parse is handed on as it is: the
/// loader says what is wrong with it.
fn default_with(changes: &[Change], section: &str, text: &str) -> String {
    let Ok(mut table) = text.parse::<Table>() else { return text.to_owned() };
    for (_, path, value) in changes.iter().filter(|(of, ..)| *of == section) {
        let Some((key, parents)) = path.split_last() else { continue };
        let mut at = Some(&mut table);
        for parent in parents {
            at = at.and_then(|table| table.get_mut(*parent)).and_then(Value::as_table_mut);
        }
        if let Some(at) = at {
            at.insert((*key).to_owned(), value_of(value));
        }
    }
    table.to_string()
}

/// A list, or a text.
fn value_of(text: &str) -> Value {
    let list = text.starts_with('[').then(|| format!("v = {text}").parse::<Table>().ok()).flatten();
    list.and_then(|mut table| table.remove("v")).unwrap_or_else(|| Value::String(text.to_owned()))
}

impl LocalConfig {
    fn options(&self) -> LocalOptions {
        let days = |age: PositiveMs| TopicRetention { age_ms: Some(age.ms() as i64), bytes: None };
        let limit = |bytes: Bytes| Some(bytes.bytes()).filter(|n| *n > 0);
        LocalOptions {
            partitions: Some(self.partitions).filter(|n| *n > 0),
            durability: match self.durability {
                DurabilityName::Process => Durability::Process,
                DurabilityName::Power => Durability::Power,
            },
            retention: Retention {
                events: days(self.keep_events),
                windows: days(self.keep_windows),
                dlq: days(self.keep_dlq),
                ..Retention::default()
            },
            row_ttl_ms: Some(self.row_ttl.ms() as i64).filter(|ms| *ms > 0),
            log_bytes_max: limit(self.log_max),
            store_bytes_max: limit(self.store_max),
            ..LocalOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_run(sets: &[&str]) -> Config {
        let mut sources = Sources::default();
        sets.iter().for_each(|set| sources.set(set).unwrap());
        Config::of_file_run(&Overrides::checked(sources).unwrap()).unwrap()
    }

    #[test]
    fn a_file_run_has_its_own_defaults_and_every_key_can_be_set() {
        let config = file_run(&[]);
        assert_eq!(config.services.coalescer.max_age.to_string(), "36525d");
        assert_eq!(config.services.coalescer.lateness.to_string(), "2s");
        assert_eq!(config.services.sink.interval.to_string(), "100ms");
        assert_eq!(config.process.log.filter, "warn");
        let config = file_run(&["coalescer.max-age=7d", "coalescer.lateness=5s", "local.partitions=2"]);
        assert_eq!(config.services.coalescer.max_age.to_string(), "7d");
        assert_eq!(config.services.coalescer.lateness.to_string(), "5s");
        assert_eq!(config.local.partitions, Some(2));
    }

    #[test]
    fn a_demo_has_a_rule_unless_it_is_taken_away() {
        let rules = |set: Option<&str>| {
            let mut sources = Sources::default();
            set.iter().for_each(|set| sources.set(set).unwrap());
            let config = ServerConfig::of_demo(&Overrides::checked(sources).unwrap()).unwrap();
            config.services.scorer.map_or(0, |scorer| scorer.rule.len())
        };
        assert_eq!((rules(None), rules(Some("scorer.live.rule=[]"))), (1, 0));
    }

    #[test]
    fn the_embedded_defaults_are_those_of_the_library() {
        assert_eq!(file_run(&[]).local, LocalOptions::default());
    }

    #[test]
    fn the_cql_section_has_its_librarys_defaults_and_can_be_set() {
        let mut sources = Sources::default();
        sources.set("cql.keyspace=other").unwrap();
        let config = cql_config(&Overrides::checked(sources).unwrap(), "h:1").unwrap();
        let (contact_points, keyspace) = (vec!["h:1".to_owned()], "other".to_owned());
        assert_eq!(config, CqlConfig { contact_points, keyspace, ..CqlConfig::default() });
    }

    #[test]
    fn a_cluster_takes_brokers_and_contact_points_as_people_write_them() {
        let mut sources = Sources::default();
        for set in [
            "kafka.brokers=127.0.0.1:9093",
            "kafka.prefix=acme",
            "kafka.timeouts.session=7s",
            "cql.contact-points=[\"127.0.0.1:9043\"]",
            "cql.consistency=one",
        ] {
            sources.set(set).unwrap();
        }
        let config = ClusterConfig::load(&Overrides::checked(sources).unwrap()).unwrap();
        assert_eq!((config.kafka.brokers.as_str(), config.kafka.prefix.as_str()), ("127.0.0.1:9093", "acme"));
        assert_eq!(config.cql.contact_points, ["127.0.0.1:9043"]);
        assert_eq!(config.kafka.timeouts.session.to_string(), "7s");
    }

    /// The files of the chart's golden renders, by the name of the render.
    fn renders() -> Vec<(String, String)> {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/chart/golden");
        let mut files = Vec::new();
        for entry in std::fs::read_dir(golden).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            for after in text.split("\n  evenkeel.toml: |\n").skip(1) {
                let lines = after.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
                let toml: Vec<&str> = lines.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
                files.push((path.display().to_string(), toml.join("\n")));
            }
        }
        files
    }

    #[test]
    fn every_file_that_the_helm_chart_makes_is_taken() {
        let files = renders();
        assert!(files.len() > 20, "{}", files.len());
        for (name, text) in files {
            let mut sources = Sources::default();
            sources.text(&name, &text).unwrap();
            let overrides = match Overrides::checked(sources) {
                // A service of the chart that this build does not have.
                Err(ConfigError::Service { name, .. }) if name == "gateway" => continue,
                checked => checked.unwrap(),
            };
            let config = ClusterConfig::load(&overrides).unwrap();
            config.cql.check().unwrap();
            config.coalescer.settings().unwrap();
            assert!(config.kafka.brokers.contains(":909"), "{name}");
        }
    }

    #[test]
    fn a_section_that_nobody_reads_is_refused() {
        let mut sources = Sources::default();
        sources.set("coalesce.lateness=5s").unwrap();
        let error = Overrides::checked(sources).unwrap_err().to_string();
        assert!(
            error.contains("coalesce")
                && error.contains("process, local, ingest, coalescer, sink, scorer, gateway, kafka, cql"),
            "{error}"
        );
    }
}
