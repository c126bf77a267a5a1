//! The real binary as separate processes (ingest, two coalescers, sink, scorer) over a real Kafka and a real CQL
//! server; every service is killed with -9 in mid-flight, again and again. At the end each acknowledged event is in
//! exactly one stored row, each row that was sent has exactly one score, and the alerts are those of the rows.
//! Proves, live: EK-WIN-1 and EK-LATE-1 across crashes, rebalances and fencing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "cluster/scored.rs"]
mod scored;

use anyhow::{Context, bail, ensure};
use evenkeel_kafka::KafkaConfig;
use evenkeel_live::parts::cassandra::Cassandra;
use evenkeel_live::parts::kafka::{KafkaPart, fresh_prefix};
use evenkeel_scenarios::{Fleet, Rows};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const DEADLINE: Duration = Duration::from_secs(240);
const REQUESTS: u64 = 120;
const KILLS: usize = 20; // one every fifth request; every service four times
const FLEET: Fleet = Fleet { streams: 7 };

fn binary() -> PathBuf {
    std::env::var_os("EVENKEEL_BIN")
        .map(PathBuf::from)
        .expect("EVENKEEL_BIN names the built binary (make live)")
}

/// Everything that runs, and how to start it again.
struct Cluster {
    prefix: String,
    settings: Vec<String>,
    processes: BTreeMap<&'static str, Child>,
    ingest: String,
}

impl Cluster {
    fn new(kafka: &str, cql: &str) -> Self {
        let prefix = fresh_prefix("cluster");
        let keyspace = format!("ek_cluster_{}", std::process::id());
        let settings = [
            format!("kafka.brokers={kafka}"),
            format!("kafka.prefix={prefix}"),
            format!("cql.contact-points=[\"{cql}\"]"),
            format!("cql.keyspace={keyspace}"),
            "cql.replication={ datacenter1 = 1 }".to_owned(),
            "cql.consistency=one".to_owned(),
            "coalescer.interval=250ms".to_owned(),
            "coalescer.workers=1".to_owned(),
            "sink.interval=250ms".to_owned(),
            "sink.workers=1".to_owned(),
            "ingest.listen=127.0.0.1:0".to_owned(),
            "process.admin.listen=127.0.0.1:0".to_owned(),
            "process.log.filter=warn".to_owned(),
        ];
        let settings = settings.into_iter().chain(scored::settings());
        Self { prefix, settings: settings.collect(), processes: BTreeMap::new(), ingest: String::new() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args);
        for set in &self.settings {
            command.args(["--set", set]);
        }
        command
    }

    fn set_up(&self) -> anyhow::Result<()> {
        for args in [&["topics", "create", "--one-broker", "--partitions", "3"][..], &["cql", "migrate"][..]]
        {
            let output = self.command(args).output()?;
            ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Starts a service under a name; `ingest` says where it listens.
    fn start(&mut self, name: &'static str) -> anyhow::Result<()> {
        let service = name.split('-').next().unwrap_or(name);
        let mut child = self.command(&[service]).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let stdout = child.stdout.take().context("stdout")?;
        self.processes.insert(name, child);
        if service == "ingest" {
            let line = BufReader::new(stdout).lines().next().context("ingest prints its address")??;
            let rest = line.split_once("http://").context("an address")?.1;
            self.ingest = rest.split_once('/').context("a path")?.0.to_owned();
        }
        Ok(())
    }

    /// kill -9.
    fn kill(&mut self, name: &'static str) -> anyhow::Result<()> {
        let mut child = self.processes.remove(name).context("it runs")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Every service still runs: none gave up by itself.
    fn check(&mut self) -> anyhow::Result<()> {
        for (name, child) in &mut self.processes {
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended by itself: {status}");
            }
        }
        Ok(())
    }

    fn post(&self, body: &str) -> anyhow::Result<u64> {
        let mut stream = TcpStream::connect(&self.ingest)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        write!(
            stream,
            "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let json: Value = serde_json::from_str(answer.split_once("\r\n\r\n").context("a body")?.1)?;
        json["accepted"].as_u64().context("accepted")
    }

    /// Sends until it is acknowledged, as a device does.
    fn deliver(&mut self, body: &str) -> anyhow::Result<u64> {
        let began = Instant::now();
        loop {
            match self.post(body) {
                Ok(accepted) => return Ok(accepted),
                Err(error) if began.elapsed() > DEADLINE => return Err(error.context("never acknowledged")),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Stored (count, sum of `v`) per stream and 5 s window that starts before `to`.
    fn stored(&self, cql: &str, to: i64) -> anyhow::Result<Rows> {
        let to = to.to_string();
        let args = ["query", "windows", "--cql", cql, "--size", "5s", "--format", "json", "--to", &to];
        let output = self.command(&args).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut rows = Rows::new();
        for line in String::from_utf8(output.stdout)?.lines() {
            let row: Value = serde_json::from_str(line)?;
            let key =
                (row["stream_id"].as_str().context("id")?.to_owned(), row["t_start"].as_i64().context("t")?);
            let value =
                (row["count"].as_u64().context("count")?, row["stats"]["v"]["sum"].as_f64().context("sum")?);
            ensure!(rows.insert(key, value).is_none(), "two rows for one window: {line}");
        }
        Ok(rows)
    }

    /// Stream and start of the window of each stored score that starts before `to`, sorted.
    fn scores_stored(&self, cql: &str, to: i64) -> anyhow::Result<Vec<(String, i64)>> {
        let to = to.to_string();
        let args = ["query", "scores", "--cql", cql, "--size", "5s", "--format", "json", "--to", &to];
        let output = self.command(&args).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut scores = Vec::new();
        for line in String::from_utf8(output.stdout)?.lines() {
            let score: Value = serde_json::from_str(line)?;
            let stream = score["stream_id"].as_str().context("id")?;
            scores.push((stream.to_owned(), score["t_start"].as_i64().context("t")?));
        }
        scores.sort_unstable();
        Ok(scores)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.processes.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn twenty_kills_lose_nothing_double_nothing_and_break_nothing() -> anyhow::Result<()> {
    let (kafka, cassandra) = (KafkaPart::shared()?, Cassandra::find()?);
    eprintln!(
        "Kafka: {} at {}; CQL: {} at {}",
        kafka.how(),
        kafka.address(),
        cassandra.how(),
        cassandra.address()
    );
    let mut cluster = Cluster::new(kafka.address(), cassandra.address());
    cluster.set_up()?;
    const NAMES: [&str; 5] = ["coalescer-a", "sink", "scorer", "ingest", "coalescer-b"];
    for name in NAMES {
        cluster.start(name)?;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let start_ms = (now - 300_000) / 5_000 * 5_000;
    let (mut kills, mut held_back) = (0, Vec::new());
    // Every seventh request is sent late, and every fifth twice.
    for n in 0..REQUESTS {
        let body = FLEET.body(n, start_ms);
        if n % 7 == 3 {
            held_back.push(body.clone()); // comes minutes of its own time later: the late path
            continue;
        }
        cluster.deliver(&body)?;
        if n % 5 == 0 {
            cluster.deliver(&body)?; // a repetition: seq decides
        }
        if n % 5 == 1 && kills < KILLS {
            let name = NAMES[kills % NAMES.len()];
            kills += 1;
            cluster.kill(name)?;
            cluster.start(name)?;
        }
        cluster.check()?;
    }
    for body in held_back {
        cluster.deliver(&body)?;
    }
    ensure!(kills >= KILLS, "only {kills} kills");
    cluster.deliver(&FLEET.closing(now))?;
    let (want, before) = (FLEET.expected(REQUESTS, start_ms), now / 5_000 * 5_000);
    let began = Instant::now();
    let mut got = cluster.stored(cassandra.address(), before)?;
    while got != want && began.elapsed() < DEADLINE {
        cluster.check()?;
        std::thread::sleep(Duration::from_millis(500));
        got = cluster.stored(cassandra.address(), before)?;
    }
    let wrong: Vec<_> = want.iter().filter(|(k, v)| got.get(*k) != Some(*v)).take(5).collect();
    ensure!(got == want, "{} rows of {}; wrong e.g. {wrong:?}", got.len(), want.len());
    let config = KafkaConfig {
        brokers: kafka.address().to_owned(),
        prefix: cluster.prefix.clone(),
        ..KafkaConfig::default()
    };
    let (scores, alerts) = scored::check(&config, before, DEADLINE)?;
    let began = Instant::now();
    while cluster.scores_stored(cassandra.address(), before)? != scores {
        ensure!(began.elapsed() < DEADLINE, "the store has not the {} scores of the topic", scores.len());
        cluster.check()?;
        std::thread::sleep(Duration::from_millis(500));
    }
    let scores = scores.len();
    cluster.check()?;
    eprintln!("{kills} kills, {} rows, {scores} scores, {alerts} alerts, all exact", want.len());
    Ok(())
}
