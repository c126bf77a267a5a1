//! The edge: asks Kafka, the registry, the store, the files and the machine, and writes down what they say.

use super::facts::{Asked, Budget, Cluster, Facts, FileUse, NamedFile, Part, RegistryFacts, Store, Trouble};
use crate::config::ClusterConfig;
use crate::failure::Failure;
use crate::machine::MachineError;
use evenkeel_chassis::exit::Exit;
use evenkeel_chassis::memory;
use evenkeel_cql::CqlConsistency;
use evenkeel_kafka::{Survey, TopicState};
use evenkeel_model::Topic;
use evenkeel_plan::{Fleet, plan};
use evenkeel_scorer::live::LiveConfig;
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
            stores_scores: config.sink.score_workers > 0,
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
    let workers = workers_of(coalescer.workers);
    let resident = coalescer.settings().map_or(0, |settings| {
        let fleet = Fleet { streams: coalescer.streams_expected, ..Fleet::default() };
        let class = settings.classes.last().cloned().unwrap_or_default();
        plan(&fleet, &settings, &class).resident_bytes
    });
    let classes = coalescer.class.iter().filter_map(|class| class.sizes.as_ref()).flatten();
    let made: Vec<u64> = coalescer.sizes.iter().chain(classes).map(|size| size.ms()).collect();
    let stored: Vec<u64> = config.cql.tables.iter().map(|table| table.size.get()).collect();
    let live = &config.scorer.live;
    let rules = live.rule.iter().filter_map(|rule| rule.size.as_ref());
    let scored: Vec<u64> = live.sizes.iter().chain(rules).map(|size| size.ms()).collect();
    Budget {
        parts: parts.to_vec(),
        refused: refusals(config, parts, limit),
        limit,
        budget: coalescer.memory_budget.bytes(limit),
        buffers: workers as u64 * config.kafka.limits.fetch_memory.bytes() + coalescer.output_max.bytes(),
        in_flight: config.ingest.in_flight_max.bytes(),
        streams: coalescer.streams_expected,
        resident,
        workers: workers as u32,
        scorer_workers: workers_of(live.workers) as u32,
        partitions,
        homeless_sizes: without(&made, &stored),
        unmade_sizes: without(&scored, &made),
    }
}

/// Each of `sizes` that is not among the others, once.
fn without(sizes: &[u64], others: &[u64]) -> Vec<u64> {
    let mut left: Vec<u64> = sizes.iter().copied().filter(|ms| !others.contains(ms)).collect();
    left.sort_unstable();
    left.dedup();
    left
}

/// 0 = one per CPU.
fn workers_of(configured: u16) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => usize::from(n),
    }
}

/// What the services say of their own sections, and the scorer of its models.
fn refusals(config: &ClusterConfig, parts: &[Part], limit: Option<u64>) -> Vec<(&'static str, Trouble)> {
    let usage = |message| Trouble { exit: Exit::Usage, message };
    let documented = |told: String| usage(format!("{told}; see docs/configuration.md"));
    let of = |part: &Part| match part {
        Part::Ingest => config.ingest.check().err().map(|error| documented(format!("ingest.{error}"))),
        Part::Coalescer => {
            let options = config.coalescer.options("doctor", workers_of(config.coalescer.workers), limit, 0);
            options.err().map(|error| usage(error.to_string()))
        }
        Part::Sink => None,
        Part::Gateway => config.gateway.check().err().map(|error| documented(format!("gateway.{error}"))),
        Part::Scorer => scorer(&config.scorer.live).err().map(|error| trouble(Failure::from(error))),
    };
    let of_services = parts.iter().filter_map(|part| Some((part.as_str(), of(part)?)));
    let of_store = config.cql.check().err().map(|error| ("cql", documented(error.to_string())));
    of_services.chain(of_store).collect()
}

/// What the scorer does before it reads its first window.
fn scorer(live: &LiveConfig) -> Result<(), MachineError> {
    let models = live.model_files().load().map_err(MachineError::Model)?;
    live.options("doctor", models.columns).map(drop).map_err(MachineError::ScorerOptions)
}

/// Every path that the configuration names.
fn files(config: &ClusterConfig) -> Vec<NamedFile> {
    use FileUse::{Directory, Public, Secret};
    let (kafka, registry) = (&config.kafka.security, &config.kafka.schema_registry);
    let (auth, tls) = (config.cql.auth.as_ref(), config.cql.tls.as_ref());
    let (ingest, gateway, scorer) = (&config.ingest, &config.gateway, &config.scorer.live);
    let named: [(&'static str, FileUse, Option<&Path>); 27] = [
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
        ("gateway.tokens-file", Secret, Some(gateway.tokens_file.path())),
        ("gateway.jwt.jwks-file", Public, Some(&gateway.jwt.jwks_file)),
        ("gateway.jwt.jwks-ca-file", Public, Some(&gateway.jwt.jwks_ca_file)),
        ("gateway.tls.cert-file", Public, Some(&gateway.tls.cert_file)),
        ("gateway.tls.key-file", Secret, Some(&gateway.tls.key_file)),
        ("gateway.tls.client-ca-file", Public, Some(&gateway.tls.client_ca_file)),
        ("scorer.live.model", Public, Some(&scorer.model)),
        ("scorer.live.shadow", Public, Some(&scorer.shadow)),
        ("scorer.live.profile", Public, Some(&scorer.profile)),
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
    fn the_scorer_is_asked_about_its_section_its_models_and_its_sizes() {
        const HOT: &str = "[[scorer.live.rule]]\nname = 'hot'\nfield = 't.max'\nabove = 90\n";
        let asked = |text: &str| budget(&config(text), &[Part::Scorer], Some(2));
        let found = asked(HOT);
        assert_eq!((&found.refused, &found.unmade_sizes), (&vec![], &vec![]));
        let sized =
            asked(&format!("[scorer.live]\nsizes = ['5s', '10s', '7s']\nworkers = 3\n{HOT}size = '7s'"));
        assert_eq!((sized.unmade_sizes, sized.scorer_workers), (vec![7_000, 10_000], 3));
        let told = |text: &str| asked(text).refused.pop().map(|(service, trouble)| (service, trouble.exit));
        assert_eq!(
            told(""),
            Some(("scorer", Exit::Usage)),
            "without a model and a rule it has nothing to do"
        );
        assert_eq!(told("[scorer.live]\nmodel = '/no/such.onnx'"), Some(("scorer", Exit::Usage)));
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("model.onnx");
        std::fs::write(&model, "no model").unwrap();
        let text = format!("[scorer.live]\nmodel = {model:?}");
        assert_eq!(told(&text), Some(("scorer", Exit::Refused)));
        assert_eq!(files(&config(&text))[0].key, "scorer.live.model");
        assert_eq!(budget(&config(&text), &[Part::Sink], None).refused, [], "nobody else needs it");
    }

    #[test]
    fn the_gateway_is_asked_about_its_section() {
        let found = budget(&config("[gateway.session]\ntick = '1ms'"), &[Part::Gateway], None).refused;
        assert!(found[0].1.message.starts_with("gateway.session.tick"), "{found:?}");
    }

    #[test]
    fn sizes_are_compared_with_tables_and_sections_with_their_own_rules() {
        let found = budget(
            &config("[coalescer]\nsizes = ['5s', '10s', '1m']\nworkers = 3"),
            &Part::ALL[..4],
            Some(2),
        );
        assert_eq!((found.homeless_sizes, found.workers, found.partitions), (vec![10_000], 3, Some(2)));
        assert_eq!(found.refused, []);
        let found = budget(&config("[coalescer]\nstreams-expected = 900000000000"), &Part::ALL[..4], None);
        assert_eq!(found.refused.len(), 1);
        assert!(found.refused[0].1.message.contains("streams-expected"), "{found:?}");
        let found = budget(&config("[ingest]\nin-flight-max = '1KiB'"), &[Part::Ingest], None);
        assert_eq!(found.refused[0].0, "ingest");
    }
}
