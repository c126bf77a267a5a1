//! Where one scenario is played: its topics, its keyspace, its configuration, its directory.
//!
//! Owns: a scenario's settings as a configuration file of the binary. Never: a running process (seats.rs).

use crate::parts::kafka::fresh_prefix;
use anyhow::{Context, ensure};
use evenkeel_cql::{CqlConfig, CqlConsistency, Millis as CqlMillis, WindowTable};
use evenkeel_kafka::{KafkaConfig, Millis};
use evenkeel_scenarios::{Class, Settings};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// One scenario's place.
#[derive(Debug)]
pub struct Stage {
    /// Where it is in sentences: the scenario's name.
    pub name: String,
    /// What the services are configured with.
    pub settings: Settings,
    /// The log.
    pub kafka: KafkaConfig,
    /// The store, without the proxy.
    pub cql: CqlConfig,
    /// `host:port` of ingest.
    pub ingest: String,
    dir: tempfile::TempDir,
}

impl Stage {
    /// Makes topics and tables. The services reach the store through `proxy`.
    pub fn set_up(
        name: &str,
        settings: &Settings,
        kafka: &str,
        cql: &str,
        proxy: &str,
    ) -> anyhow::Result<Self> {
        static STAGES: AtomicU32 = AtomicU32::new(0);
        let number = STAGES.fetch_add(1, Ordering::Relaxed);
        let mut config =
            KafkaConfig { brokers: kafka.to_owned(), prefix: fresh_prefix("played"), ..Default::default() };
        config.timeouts.connect = Millis::new(60_000);
        let sizes = settings.sizes_ms().into_iter();
        let table =
            |ms| WindowTable { size: CqlMillis::from_ms(ms as u64), ttl: Some(CqlMillis::from_days(30)) };
        let cql = CqlConfig {
            contact_points: vec![cql.to_owned()],
            keyspace: format!("ek_played_{}_{number}", std::process::id()),
            replication: BTreeMap::from([("datacenter1".to_owned(), 1)]),
            consistency: CqlConsistency::One,
            tables: sizes.map(table).collect(),
            start_timeout: CqlMillis::from_s(60),
            ..CqlConfig::default()
        };
        let stage = Self {
            name: name.to_owned(),
            settings: settings.clone(),
            kafka: config,
            cql,
            ingest: format!("127.0.0.1:{}", free_port()?),
            dir: tempfile::Builder::new().prefix("evenkeel-played-").tempdir()?,
        };
        fs::write(stage.config(), stage.configuration(proxy))?;
        let partitions = settings.partitions.to_string();
        for args in
            [&["topics", "create", "--one-broker", "--partitions", &partitions][..], &["cql", "migrate"][..]]
        {
            let output = Command::new(binary()?).args(args).arg("--config").arg(stage.config()).output()?;
            ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(stage)
    }

    /// The command that runs a service. `seat`: its place, which names it in transactional ids.
    pub fn command(&self, service: &str, seat: usize) -> anyhow::Result<Command> {
        let mut command = Command::new(binary()?);
        let instance = format!("process.telemetry.instance={}-{seat}", self.kafka.prefix);
        command.arg(service).arg("--config").arg(self.config()).args(["--set", &instance]);
        Ok(command)
    }

    /// Where the output of a seat goes.
    pub fn log(&self, service: &str, seat: usize) -> PathBuf {
        self.dir.path().join(format!("{service}-{seat}.log"))
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("evenkeel.toml")
    }

    fn configuration(&self, proxy: &str) -> String {
        let settings = &self.settings;
        let mut text = format!(
            "[process]\nlog.filter = \"info\"\nlog.format = \"json\"\nadmin.listen = \"127.0.0.1:0\"\n\
             [kafka]\nbrokers = \"{}\"\nprefix = \"{}\"\n\
             timeouts = {{ session = \"2s\", heartbeat = \"200ms\" }}\n\
             [cql]\ncontact-points = [\"{proxy}\"]\nkeyspace = \"{}\"\nreplication = {{ datacenter1 = 1 }}\n\
             consistency = \"one\"\nstart-timeout = \"60s\"\nrequest-timeout = \"2s\"\ntables = [{}]\n\
             [ingest]\nlisten = \"{}\"\n\
             [sink]\nworkers = 1\ninterval = \"250ms\"\nin-flight-max = 16\nseq-intervals-max = {}\n",
            self.kafka.brokers,
            self.kafka.prefix,
            self.cql.keyspace,
            self.cql
                .tables
                .iter()
                .map(|t| format!("{{ size = \"{}\", ttl = \"30d\" }}", t.size))
                .collect::<Vec<_>>()
                .join(", "),
            self.ingest,
            settings.seq_intervals_max,
        );
        let (default, classes) = match settings.classes.split_last() {
            Some((last, others)) => (last.clone(), others),
            None => (Settings::product().classes.remove(0), &[][..]),
        };
        let _ = write!(
            text,
            "[coalescer]\nworkers = 1\ninterval = \"{}ms\"\nidle-evict = \"{}ms\"\nopen-age-max = \"{}ms\"\n\
             outage-max = \"{}ms\"\nclock-slack = \"{}ms\"\nmax-future = \"{}ms\"\nmax-age = \"{}ms\"\n\
             open-windows-max = {}\nrows-per-tick-max = {}\nseq-intervals-max = {}\nmark-refresh = \"{}ms\"\n\
             memory-budget = \"{}B\"\noutput-max = \"1MiB\"\n{}",
            settings.interval_ms,
            settings.idle_evict_ms,
            settings.open_age_max_ms,
            settings.outage_max_ms,
            settings.clock_slack_ms,
            settings.max_future_ms,
            settings.max_age_ms,
            default.open_windows_max,
            settings.rows_per_tick_max,
            settings.seq_intervals_max,
            settings.mark_refresh_ms,
            settings.memory_budget_bytes,
            class_keys(&default),
        );
        for class in classes {
            let _ = write!(text, "[[coalescer.class]]\nmatch = \"{}*\"\n{}", class.prefix, class_keys(class));
        }
        text
    }
}

fn class_keys(class: &Class) -> String {
    let sizes: Vec<String> = class.sizes_ms.iter().map(|ms| format!("\"{ms}ms\"")).collect();
    format!(
        "sizes = [{}]\nlateness = \"{}ms\"\nidle-timeout = \"{}ms\"\ntime = \"{}\"\n",
        sizes.join(", "),
        class.lateness_ms,
        class.idle_timeout_ms,
        if class.by_arrival { "arrival" } else { "event" },
    )
}

fn binary() -> anyhow::Result<PathBuf> {
    let binary =
        std::env::var_os("EVENKEEL_BIN").context("EVENKEEL_BIN names the built binary (make live)")?;
    Ok(binary.into())
}

/// A port nobody listens on; the service keeps it over restarts.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
