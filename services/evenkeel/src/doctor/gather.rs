//! The edge: asks Kafka, the registry, the store, the files and the machine, and writes down what they say.

use super::facts::{Asked, Budget, Cluster, Facts, FileUse, NamedFile, Part, RegistryFacts, Store, Trouble};
use crate::config::ClusterConfig;
use crate::failure::Failure;
use evenkeel_chassis::memory;
use evenkeel_cql::CqlConsistency;
use evenkeel_kafka::{Survey, TopicState};
use evenkeel_model::Topic;
use evenkeel_plan::{Fleet, plan};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Asks everything. Blocks for a bounded time: each client has its own time-outs.
pub fn gather(asked: Asked<'_>) -> Facts {
    let Asked { config, spec, parts } = asked;
    let slack_ms = config.ingest.clock.slack.ms();
    let survey = evenkeel_kafka::survey(&config.kafka).map_err(|error| trouble(Failure::from(error)));
    let events = survey.as_ref().ok().and_then(partitions_of_events);
    let registry = evenkeel_kafka::survey_registry(&config.kafka);
    let registers = config.kafka.schema_registry.register;
    // The others never ask the store.
    let stores = parts.iter().any(|part| matches!(part, Part::Sink | Part::Gateway));
    let store =
        stores.then(|| evenkeel_cql::survey(&config.cql).map_err(|error| trouble(Failure::from(error))));
    Facts {
        budget: budget(config, &parts, events),
        files: files(config),
        kafka: Some(Cluster {
            survey,
            spec,
            asks_kip_848: config.kafka.group_protocol == evenkeel_kafka::GroupProtocol::Consumer,
            gateway_partition: config.gateway.partition,
            slack_ms,
            parts,
        }),
        registry: registry.map(|answer| RegistryFacts { answer, registers }),
        store: store.map(|survey| Store {
            survey,
            consistency_one: config.cql.consistency == CqlConsistency::One,
            slack_ms,
        }),
    }
}

fn trouble(failure: Failure) -> Trouble {
    Trouble { exit: failure.exit, message: failure.to_string() }
}

fn partitions_of_events(survey: &Survey) -> Option<u32> {
    survey.topics.iter().find(|topic| topic.topic == Some(Topic::Events)).and_then(|t| match &t.state {
        TopicState::There(facts) => Some(facts.partitions),
        _ => None,
    })
}

fn budget(config: &ClusterConfig, parts: &[Part], partitions: Option<u32>) -> Budget {
    let (coalescer, limit) = (&config.coalescer, memory::limit_bytes());
    let workers = match coalescer.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => usize::from(n),
    };
    let mut refused = Vec::new();
    if let Err(error) = config.ingest.check() {
        refused.push(("ingest", format!("ingest.{error}; see docs/configuration.md")));
    }
    if let Err(error) = config.cql.check() {
        refused.push(("cql", format!("{error}; see docs/configuration.md")));
    }
    if let Err(error) = coalescer.options("doctor", workers, limit, 0) {
        refused.push(("coalescer", error.to_string()));
    }
    let resident = coalescer.settings().map_or(0, |settings| {
        let fleet = Fleet { streams: coalescer.streams_expected, ..Fleet::default() };
        let class = settings.classes.last().cloned().unwrap_or_default();
        plan(&fleet, &settings, &class).resident_bytes
    });
    let classes = coalescer.class.iter().filter_map(|class| class.sizes.as_ref()).flatten();
    let stored: Vec<u64> = config.cql.tables.iter().map(|table| table.size.get()).collect();
    let mut homeless: Vec<u64> =
        coalescer.sizes.iter().chain(classes).map(|s| s.ms()).filter(|ms| !stored.contains(ms)).collect();
    homeless.sort_unstable();
    homeless.dedup();
    let refused = refused
        .into_iter()
        .filter(|(service, _)| *service == "cql" || parts.iter().any(|part| part.as_str() == *service));
    Budget {
        parts: parts.to_vec(),
        refused: refused.collect(),
        limit,
        budget: coalescer.memory_budget.bytes(limit),
        buffers: workers as u64 * config.kafka.limits.fetch_memory.bytes() + coalescer.output_max.bytes(),
        in_flight: config.ingest.in_flight_max.bytes(),
        streams: coalescer.streams_expected,
        resident,
        workers: workers as u32,
        partitions,
        homeless_sizes: homeless,
    }
}

/// Every path that the configuration names.
fn files(config: &ClusterConfig) -> Vec<NamedFile> {
    use FileUse::{Directory, Public, Secret};
    let (kafka, registry) = (&config.kafka.security, &config.kafka.schema_registry);
    let (auth, tls) = (config.cql.auth.as_ref(), config.cql.tls.as_ref());
    let ingest = &config.ingest;
    let named: [(&'static str, FileUse, Option<&Path>); 18] = [
        ("kafka.security.password-file", Secret, kafka.password_file.as_deref()),
        ("kafka.security.ca-file", Public, kafka.ca_file.as_deref()),
        ("kafka.security.cert-file", Public, kafka.cert_file.as_deref()),
        ("kafka.security.key-file", Secret, kafka.key_file.as_deref()),
        ("kafka.security.key-password-file", Secret, kafka.key_password_file.as_deref()),
        ("kafka.schema-registry.password-file", Secret, registry.password_file.as_deref()),
        ("kafka.schema-registry.ca-file", Public, registry.ca_file.as_deref()),
        ("cql.auth.password-file", Secret, auth.map(|auth| auth.password_file.as_path())),
        ("cql.tls.ca-file", Public, tls.map(|tls| tls.ca_file.as_path())),
        ("cql.tls.cert-file", Public, tls.and_then(|tls| tls.cert_file.as_deref())),
        ("cql.tls.key-file", Secret, tls.and_then(|tls| tls.key_file.as_deref())),
        ("ingest.tokens-file", Secret, Some(ingest.tokens_file.path())),
        ("ingest.jwt.jwks-file", Public, Some(&ingest.jwt.jwks_file)),
        ("ingest.jwt.jwks-ca-file", Public, Some(&ingest.jwt.jwks_ca_file)),
        ("ingest.tls.cert-file", Public, Some(&ingest.tls.cert_file)),
        ("ingest.tls.key-file", Secret, Some(&ingest.tls.key_file)),
        ("ingest.tls.client-ca-file", Public, Some(&ingest.tls.client_ca_file)),
        ("ingest.recordings.dir", Directory, Some(&ingest.recordings.dir)),
    ];
    let named = named.into_iter().filter_map(|(key, usage, path)| Some((key, usage, path?)));
    let named = named.filter(|(_, _, path)| !path.as_os_str().is_empty());
    named
        .map(|(key, usage, path)| NamedFile { key, path: path.to_owned(), usage, state: state(path, usage) })
        .collect()
}

/// The mode of a file that can be opened, of a directory that a file can be made in.
fn state(path: &Path, usage: FileUse) -> Result<u32, String> {
    let opened = match usage {
        FileUse::Directory => tempfile::tempfile_in(path).map(drop),
        FileUse::Secret | FileUse::Public => std::fs::File::open(path).map(drop),
    };
    let mode = opened.and_then(|()| std::fs::metadata(path)).map(|meta| meta.permissions().mode() & 0o777);
    mode.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;
    use evenkeel_chassis::config::Sources;

    fn config(text: &str) -> ClusterConfig {
        let mut sources = Sources::default();
        sources.text("test.toml", text).unwrap();
        ClusterConfig::load(&Overrides::checked(sources).unwrap()).unwrap()
    }

    #[test]
    fn files_are_opened_and_directories_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "x").unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
        let found = files(&config(&format!(
            "[kafka.security]\npassword-file = {secret:?}\nca-file = '/no/such'\n[ingest]\nrecordings.dir = {:?}",
            dir.path()
        )));
        let states: Vec<_> = found.iter().map(|file| (file.key, file.state.is_ok())).collect();
        assert_eq!(
            states,
            [
                ("kafka.security.password-file", true),
                ("kafka.security.ca-file", false),
                ("ingest.recordings.dir", true)
            ]
        );
        assert_eq!(found[0].state, Ok(0o644));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
        assert!(state(&dir.path().join("none"), FileUse::Directory).is_err());
    }

    #[test]
    fn sizes_are_compared_with_tables_and_sections_with_their_own_rules() {
        let found =
            budget(&config("[coalescer]\nsizes = ['5s', '10s', '1m']\nworkers = 3"), &Part::ALL, Some(2));
        assert_eq!((found.homeless_sizes, found.workers, found.partitions), (vec![10_000], 3, Some(2)));
        assert_eq!(found.refused, []);
        let found = budget(&config("[coalescer]\nstreams-expected = 900000000000"), &Part::ALL, None);
        assert_eq!(found.refused.len(), 1);
        assert!(found.refused[0].1.contains("streams-expected"), "{found:?}");
        let found = budget(&config("[ingest]\nin-flight-max = '1KiB'"), &[Part::Ingest], None);
        assert_eq!(found.refused[0].0, "ingest");
    }
}
