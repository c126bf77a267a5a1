//! The commands of README and docs are run as they are written: each line of a block of `sh`, with its directory and
//! port put in place of the document's. A line that cannot be run here names who runs it.

use crate::server::{DEADLINE, Server, get};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Lines that begin so are not run here, and why.
const ELSEWHERE: [(&str, &str); 15] = [
    ("make ", "tests/tidy finds the target; CI runs `make test`, the demo is tests/serve/machine.rs"),
    ("cargo build --release", "this test is built by cargo; release is `make image`"),
    ("export PATH=", "the path of this test has the binary"),
    (
        "docker compose ",
        "`make compose` runs it, over stand-ins where no image can be pulled; tests/chart judges the file",
    ),
    ("kubectl ", "a cluster: tests/chart/cluster/run.py, `make chart-cluster`"),
    ("helm ", "a cluster: tests/chart/cluster/run.py, `make chart-cluster`"),
    ("evenkeel topics create", "Kafka: tests/live/tests/cluster.rs"),
    ("evenkeel cql migrate", "a CQL store: tests/live/tests/cluster.rs"),
    ("evenkeel ingest ", "Kafka: tests/live/tests/cluster.rs"),
    ("evenkeel coalescer ", "Kafka: tests/live/tests/cluster.rs"),
    ("evenkeel sink ", "Kafka and a CQL store: tests/live/tests/cluster.rs"),
    ("evenkeel gateway ", "Kafka and a CQL store: tests/live/tests/faults/gateway.rs"),
    ("evenkeel scorer ", "Kafka: tests/live/tests/cluster.rs"),
    ("evenkeel query scores", "a scorer with a model: tests/serve/machine.rs, tests/live/tests/cluster.rs"),
    ("evenkeel doctor", "Kafka and a CQL store: tests/live/tests/faults/doctor.rs"),
];

/// A command that runs until it is ended: this test runs it as its server.
const SERVES: &str = "evenkeel run --data-dir ";

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The commands of a document's blocks of `sh`, continued lines joined.
fn commands(document: &str) -> Vec<String> {
    let (mut found, mut inside, mut open) = (Vec::<String>::new(), false, false);
    for line in document.lines() {
        if let Some(language) = line.strip_prefix("```") {
            inside = language == "sh" && !inside;
            continue;
        }
        if !inside || line.trim().is_empty() {
            continue;
        }
        let text = line.trim_end_matches('\\').trim_end();
        match found.last_mut().filter(|_| open) {
            Some(last) => *last += &format!(" {}", text.trim_start()),
            None => found.push(text.to_owned()),
        }
        // Continued by a backslash, or by a text in quotes that is not at its end.
        let quotes = |text: &str| text.replace("\\\"", "").matches('"').count();
        open = line.ends_with('\\') || found.last().is_some_and(|all| quotes(all) % 2 == 1);
    }
    found
}

/// What is run in a directory of its own, with the documents' place and port replaced.
struct Stage {
    dir: tempfile::TempDir,
    server: Option<Server>,
    ran: usize,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        let link = |from: &Path, to: &str| std::os::unix::fs::symlink(from, dir.path().join(to)).unwrap();
        link(Path::new(env!("CARGO_BIN_EXE_evenkeel")), "bin/evenkeel");
        link(&Path::new(ROOT).join("tests"), "tests");
        std::fs::write(dir.path().join("walk.csv"), "ts,v\n1772366400000,1\n1772366401000,2\n").unwrap();
        Self { dir, server: None, ran: 0 }
    }

    fn data_dir(&self) -> String {
        self.dir.path().join("data").display().to_string()
    }

    fn server(&mut self) -> &Server {
        let data_dir = self.dir.path().join("data");
        self.server.get_or_insert_with(|| Server::start(&data_dir, &[]))
    }

    #[track_caller]
    fn run(&mut self, document: &str, command: &str) {
        if command.starts_with(SERVES) {
            self.server();
            return;
        }
        let (ingest, admin) = (self.server().ingest.clone(), self.server().admin.clone());
        let tour = self.dir.path().join("tour").display().to_string();
        let line = command
            .replace("/var/lib/evenkeel", &self.data_dir())
            .replace("/tmp/tour", &tour)
            .replace("127.0.0.1:8080", &ingest)
            .replace("evenkeel top", &format!("evenkeel top {admin}"));
        let path = format!("{}/bin:{}", self.dir.path().display(), std::env::var("PATH").unwrap());
        let script =
            format!("set -o pipefail\ncurl() {{ command curl --fail-with-body -sS \"$@\"; }}\n{line}\n");
        let output = self.ask(&script, &path, document, command);
        // `| head` ends early, and who writes then hears of it.
        let fine = output.status.success() || (line.contains("| head") && !output.stdout.is_empty());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            fine,
            "{document}: `{command}`: {}\n{text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        self.ran += 1;
    }

    /// Runs a script; a question for the row of an event that was just sent again and again, because the row is there
    /// a tick later.
    #[track_caller]
    fn ask(&self, script: &str, path: &str, document: &str, command: &str) -> Output {
        let awaited = command.starts_with("evenkeel query") && command.contains("/var/lib/evenkeel");
        let began = Instant::now();
        loop {
            let mut bash = Command::new("bash");
            bash.args(["-c", script]).env("PATH", path).current_dir(self.dir.path());
            let output = bash.output().unwrap();
            if !awaited || String::from_utf8_lossy(&output.stdout).contains("bowl/7") {
                return output;
            }
            assert!(began.elapsed() < DEADLINE, "{document}: `{command}` never shows the row: {output:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn every_command_in_a_block_of_the_documents_runs() {
    let docs = std::fs::read_dir(format!("{ROOT}/docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut documents: Vec<_> = docs.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    documents.push(format!("{ROOT}/README.md").into());
    documents.push(format!("{ROOT}/helm/evenkeel/README.md").into());
    documents.sort();
    let (mut ran, mut used) = (0, std::collections::BTreeSet::new());
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        let mut stage = Stage::new();
        for command in commands(&text) {
            match ELSEWHERE.iter().find(|(start, _)| command.starts_with(start)) {
                Some((start, _)) => drop(used.insert(*start)),
                None => stage.run(&document.display().to_string(), &command),
            }
        }
        ran += stage.ran;
        if let Some(server) = stage.server {
            assert_eq!(get(&server.admin, "/livez").0, 200);
            assert_eq!(server.terminate(), Some(0));
        }
    }
    assert!(ran >= 12, "only {ran} commands were run");
    let unused: Vec<_> = ELSEWHERE.iter().filter(|(start, _)| !used.contains(start)).collect();
    assert!(unused.is_empty(), "no document has these any more: {unused:?}");
}

#[test]
fn blocks_are_read_and_continued_lines_joined() {
    let text =
        "x\n```sh\na 1\nb \\\n  -c\n\nd\n```\ne\n```toml\nf = 1\n```\n```sh\ng \"h\\\"\n  i\"\nj\n```\n";
    assert_eq!(commands(text), ["a 1", "b -c", "d", "g \"h\\\" i\"", "j"]);
}
