//! Where a test's processes run: topics and keyspace of its own, services of the real binary, what they say.

use evenkeel_kafka::KafkaConfig;
use evenkeel_kafka::faults::settled;
use evenkeel_live::parts::cassandra::Cassandra;
use evenkeel_live::parts::kafka::{KafkaPart, fresh_prefix};
use evenkeel_model::Topic;
use evenkeel_scenarios::{Fleet, Rows};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nothing in these tests takes near as long.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// Partitions of a test's topics.
pub const PARTITIONS: u32 = 2;

pub fn binary() -> PathBuf {
    let named = std::env::var_os("EVENKEEL_BIN");
    named.map(PathBuf::from).expect("EVENKEEL_BIN names the built binary (make live)")
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// `host:port` of the one Cassandra of this test process.
pub fn shared_cql() -> &'static str {
    static SHARED: OnceLock<Cassandra> = OnceLock::new();
    SHARED.get_or_init(|| Cassandra::find().unwrap()).address()
}

/// Topics, a keyspace, and the settings that lead there.
pub struct Site {
    pub brokers: String,
    pub prefix: String,
    pub cql: String,
    pub settings: Vec<String>,
}

impl Site {
    /// On the shared broker, with topics; without a store.
    pub fn on_kafka(test: &str) -> Self {
        let site = Self::at(test, KafkaPart::shared().unwrap().address(), "127.0.0.1:1");
        site.make_topics();
        site
    }

    /// On the shared broker and the shared store, with topics and tables.
    pub fn whole(test: &str) -> Self {
        let site = Self::at(test, KafkaPart::shared().unwrap().address(), shared_cql());
        site.make_topics();
        site.make_tables();
        site
    }

    /// At these addresses; nothing is made.
    pub fn at(test: &str, brokers: &str, cql: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let prefix = fresh_prefix(test);
        let keyspace = format!("ek_faults_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let settings = [
            format!("kafka.brokers={brokers}"),
            format!("kafka.prefix={prefix}"),
            format!("cql.contact-points=[\"{cql}\"]"),
            format!("cql.keyspace={keyspace}"),
            "cql.replication={ datacenter1 = 1 }".to_owned(),
            "cql.consistency=one".to_owned(),
            "coalescer.interval=200ms".to_owned(),
            "coalescer.workers=1".to_owned(),
            "sink.interval=200ms".to_owned(),
            "sink.workers=1".to_owned(),
            "ingest.listen=127.0.0.1:0".to_owned(),
            "process.admin.listen=127.0.0.1:0".to_owned(),
            "process.log.filter=info,librdkafka=error".to_owned(),
        ];
        let (brokers, cql) = (brokers.to_owned(), cql.to_owned());
        Self { brokers, prefix, cql, settings: settings.to_vec() }
    }

    /// One more setting, over all others.
    pub fn set(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args).stdin(Stdio::null());
        for set in &self.settings {
            command.args(["--set", set]);
        }
        command
    }

    /// Runs a command to its end, which must come.
    pub fn run(&self, args: &[&str], more: &[&str]) -> Output {
        let mut command = self.command(args);
        more.iter().for_each(|set| {
            command.args(["--set", set]);
        });
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id().to_string();
        let (ended, output) = std::sync::mpsc::channel();
        std::thread::spawn(move || ended.send(child.wait_with_output()));
        output.recv_timeout(DEADLINE).map(Result::unwrap).unwrap_or_else(|_| {
            let killed = Command::new("kill").args(["-9", &pid]).status();
            panic!("{args:?} does not end ({killed:?})")
        })
    }

    /// Runs a service that must give up: its exit code, and what it said last.
    pub fn refused(&self, service: &str, more: &[&str]) -> (Option<i32>, String) {
        let output = self.run(&[service], more);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = text.lines().rfind(|line| line.starts_with("evenkeel: ")).unwrap_or(&text).to_owned();
        (output.status.code(), last)
    }

    pub fn make_topics(&self) {
        let partitions = PARTITIONS.to_string();
        let output = self.run(&["topics", "create", "--one-broker", "--partitions", &partitions], &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn make_tables(&self) {
        let output = self.run(&["cql", "migrate"], &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Waits until the commits of coalescer and sink are over, markers and all.
    pub fn settle(&self) {
        let config =
            KafkaConfig { brokers: self.brokers.clone(), prefix: self.prefix.clone(), ..Default::default() };
        for (service, topic) in [("coalescer", Topic::Events), ("sink", Topic::Windows)] {
            for partition in 0..PARTITIONS {
                settled(&config, &config.group_of(service), topic, partition).unwrap();
            }
        }
    }

    /// Starts a service and waits until it says where its admin endpoints are.
    pub fn start(&self, service: &str, more: &[&str]) -> Service {
        let mut command = self.command(&[service]);
        more.iter().for_each(|set| {
            command.args(["--set", set]);
        });
        Service::start(service, command)
    }

    /// Starts all of it in one process, on a data directory instead of servers.
    pub fn start_in(&self, data_dir: &std::path::Path) -> Service {
        let mut command = self.command(&["run"]);
        command.arg("--data-dir").arg(data_dir);
        Service::start("run", command)
    }

    /// Stored (count, sum of `v`) per stream and 5 s window that starts before `to`.
    pub fn stored(&self, to: i64) -> Rows {
        let to = to.to_string();
        let args = ["query", "windows", "--cql", &self.cql, "--size", "5s", "--format", "json", "--to", &to];
        let output = self.run(&args, &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut rows = Rows::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let key = (row["stream_id"].as_str().unwrap().to_owned(), row["t_start"].as_i64().unwrap());
            let value =
                (row["count"].as_u64().unwrap(), row["stats"]["v"]["sum"].as_f64().unwrap_or_default());
            assert!(rows.insert(key, value).is_none(), "two rows for one window: {line}");
        }
        rows
    }
}

/// A running service.
pub struct Service {
    pub name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// Where its admin endpoints are.
    admin: String,
}

impl Service {
    fn start(name: &str, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let lines = lines.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    lines.lock().unwrap().push(line);
                }
            });
        }
        let mut service = Self { name: name.to_owned(), child, lines, admin: String::new() };
        service.admin = service.wait_for_line("its admin endpoints", |line| {
            if let Some(rest) = line.strip_prefix("metrics  http://") {
                return Some(rest.split_once('/')?.0.to_owned());
            }
            let line: Value = serde_json::from_str(line).ok()?;
            (line["message"] == "admin endpoints").then(|| line["address"].as_str().unwrap().to_owned())
        });
        service
    }

    /// What it has written so far.
    pub fn said(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The last lines, for a failure.
    fn tail(&self) -> String {
        let said = self.said();
        format!("{} says:\n{}", self.name, said[said.len().saturating_sub(25)..].join("\n"))
    }

    /// Waits for a line.
    #[track_caller]
    pub fn wait_for_line<T>(&mut self, what: &str, fits: impl Fn(&str) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = self.said().iter().find_map(|line| fits(line)) {
                return found;
            }
            assert!(began.elapsed() < DEADLINE, "no line about {what}; {}", self.tail());
            if let Some(status) = self.child.try_wait().unwrap() {
                std::thread::sleep(Duration::from_millis(100)); // the last lines
                panic!("ended ({status}) before a line about {what}; {}", self.tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a log line whose field `event` is this; the line.
    #[track_caller]
    pub fn wait_for_event(&mut self, event: &str) -> Value {
        self.wait_for_line(event, |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["event"] == event).then_some(line)
        })
    }

    /// Where ingest listens.
    pub fn address(&mut self) -> String {
        self.wait_for_line("its address", |line| {
            let rest = line.strip_prefix("ingest   http://")?;
            Some(rest.split_once('/')?.0.to_owned())
        })
    }

    /// Waits for a condition while the service must not end by itself.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            assert!(began.elapsed() < DEADLINE, "not in time: {what}; {}", self.tail());
            self.still_runs();
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    #[track_caller]
    pub fn still_runs(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("ended by itself ({status}); {}", self.tail());
        }
    }

    /// Status and text of an admin endpoint.
    pub fn get(&self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let reply = exchange(&self.admin, request.as_bytes()).unwrap();
        (reply.status, reply.body)
    }

    /// A metric by the beginning of its line.
    pub fn metric(&self, line: &str) -> Option<f64> {
        self.get("/metrics").1.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok())
    }

    /// Resident memory, bytes.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.ended().0
    }

    /// Waits for its end; the code and what it said last.
    pub fn ended(&mut self) -> (Option<i32>, String) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                std::thread::sleep(Duration::from_millis(100)); // the last lines
                let said = self.said();
                let last = said.iter().rfind(|line| line.starts_with("evenkeel: "));
                return (status.code(), last.cloned().unwrap_or_default());
            }
            assert!(began.elapsed() < DEADLINE, "does not end; {}", self.tail());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

fn exchange(address: &str, request: &[u8]) -> Option<Reply> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    stream.write_all(request).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split_whitespace().nth(1)?.parse().ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some(Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// Posts NDJSON. `headers`: whole lines.
pub fn post_with(address: &str, headers: &str, body: &str) -> Option<Reply> {
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\
         {headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(address, head.as_bytes())
}

/// Sends until it is acknowledged, as a device does.
#[track_caller]
pub fn deliver(address: &str, body: &str) {
    let began = Instant::now();
    loop {
        let reply = post_with(address, "", body);
        if reply.as_ref().is_some_and(|reply| reply.status == 200) {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "never acknowledged: {reply:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Who sends.
pub const FLEET: Fleet = Fleet { streams: 5 };
