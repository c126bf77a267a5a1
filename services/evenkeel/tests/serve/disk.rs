//! A disk that is full: a small file system of the test's own, in a mount namespace that goes with the process.
//! Where the machine allows no mounts the byte limit of the log stands in for it, which every machine runs.

use crate::machine::{FLEET, stored, stored_as};
use crate::server::{Server, get, metric, post, post_as, until};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// How this machine lets a test mount something for itself: options of unshare(1), and of nsenter(1) to follow.
struct Way {
    unshare: &'static [&'static str],
    nsenter: &'static [&'static str],
}

/// As root, or in a user namespace.
const WAYS: [Way; 2] = [
    Way { unshare: &["--mount"], nsenter: &["--mount"] },
    Way {
        unshare: &["--user", "--map-root-user", "--mount"],
        nsenter: &["--user", "--preserve-credentials", "--mount"],
    },
];

impl Way {
    fn find() -> Option<&'static Self> {
        WAYS.iter().find(|way| {
            let mut mounts = way.unshare();
            mounts.args(["sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]);
            mounts.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
        })
    }

    /// A command in a mount namespace of its own.
    fn unshare(&self) -> Command {
        let mut command = Command::new("unshare");
        command.args(self.unshare);
        command
    }

    /// The binary among the mounts of a process.
    fn binary_inside(&self, pid: u32) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid.to_string()]).args(self.nsenter).arg(env!("CARGO_BIN_EXE_evenkeel"));
        command
    }
}

/// Says in the output that a test did not run, and why. CI has what it needs: there it is a failure.
fn skipped(test: &str) {
    assert!(std::env::var_os("CI").is_none(), "{test} needs unshare(1) and the right to mount");
    eprintln!("SKIPPED {test}: this machine allows no mounts (unshare --mount)");
}

/// A file of the process's own mounts, seen from outside.
fn inside(pid: u32, path: &Path) -> PathBuf {
    let absolute = path.strip_prefix("/").unwrap();
    Path::new("/proc").join(pid.to_string()).join("root").join(absolute)
}

/// Events of a stream nobody asks for: what fills the log, 240 kB each request.
fn filler(n: u64, now_ms: i64) -> String {
    let payload = "A".repeat(80_000);
    let line = |seq| {
        format!("{{\"stream_id\":\"filler\",\"ts\":{now_ms},\"seq\":{seq},\"payload\":\"{payload}\"}}\n")
    };
    (n * 3..n * 3 + 3).map(line).collect()
}

/// One event at `ts` of each of so many streams that the rows of all need megabytes.
fn crowd(ts: i64) -> String {
    let line =
        |s| format!("{{\"stream_id\":\"crowd/{s}\",\"ts\":{ts},\"seq\":{ts},\"fields\":{{\"v\":1}}}}\n");
    (0..3_000).map(line).collect()
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis() as i64
}

/// Sends until the log is full, then the disk gets room, and everything is as if nothing had happened.
#[test]
fn on_a_full_disk_the_server_answers_503_stays_up_and_goes_on_when_there_is_room() {
    let Some(way) = Way::find() else { return skipped("a full disk under a server") };
    let mut command = way.unshare();
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path();
    let script = "mount -t tmpfs -o size=48m tmpfs \"$0\" && head -c 40000000 /dev/zero >\"$0/ballast\" && exec \"$@\"";
    command.args(["sh", "-c", script]).arg(disk).arg(env!("CARGO_BIN_EXE_evenkeel"));
    let mut server = Server::start_as(command, &disk.join("data"), &["coalescer.interval=5s"]);
    let now = now_ms();
    let start_ms = (now - 120_000) / 5_000 * 5_000;
    assert_eq!(post(&server.ingest, &FLEET.body(0, start_ms)).unwrap().0, 200);
    // Windows of a crowd open and close: their rows are to leave at the next tick, when there is no room any more.
    for ts in [start_ms, start_ms + 100_000] {
        assert_eq!(post(&server.ingest, &crowd(ts)).unwrap().0, 200);
    }
    let refused = (0..1_000).find_map(|n| {
        let reply = post_as(&server.ingest, crate::server::NDJSON, "", filler(n, now).as_bytes()).unwrap();
        (reply.status != 200).then_some(reply)
    });
    let refused = refused.expect("the disk is full at some time");
    assert_eq!((refused.status, &*refused.slug()), (503, "log-unavailable"), "{refused:?}");
    assert!(refused.header("retry-after").is_some_and(|s| s.parse::<u64>().unwrap() >= 1), "{refused:?}");
    assert!(
        refused.body.contains("no room for log.db") && refused.body.contains("free space"),
        "{refused:?}"
    );
    let aborted = "evenkeel_coalescer_commits_total{outcome=\"aborted\"}";
    until("the commit finds no room either, and is tried again", || {
        server.still_runs();
        metric(&server.admin, aborted).is_some_and(|n| n >= 2.0)
    });
    let (status, answer) = post(&server.ingest, &filler(1_000, now)).unwrap();
    assert_eq!(status, 503, "{answer}");
    assert_eq!(get(&server.admin, "/livez").0, 200);

    std::fs::remove_file(inside(server.pid(), &disk.join("ballast"))).unwrap();
    for n in 1..=20 {
        until("there is room again", || post(&server.ingest, &FLEET.body(n, start_ms)).unwrap().0 == 200);
    }
    let last: String = (0..5)
        .map(|s| format!("{{\"stream_id\":\"dev/{s}\",\"ts\":{now},\"seq\":99999,\"fields\":{{\"v\":1}}}}\n"))
        .collect();
    assert_eq!(post(&server.ingest, &last).unwrap().0, 200);
    let want = FLEET.expected(21, start_ms);
    let rows = || {
        let mut rows = stored_as(way.binary_inside(server.pid()), &disk.join("data"), now / 5_000 * 5_000);
        rows.retain(|(stream, _), _| stream.starts_with("dev/"));
        rows
    };
    until("every window is stored once", || rows() == want); // EK-WIN-1, EK-LATE-1
    server.still_runs();
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn at_the_byte_limit_of_the_log_the_server_answers_503_and_a_larger_limit_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &["local.log-max=1MiB"]);
    let now = now_ms();
    let start_ms = (now - 120_000) / 5_000 * 5_000;
    assert_eq!(post(&server.ingest, &FLEET.body(0, start_ms)).unwrap().0, 200);
    let statuses: Vec<u16> = (0..60).map(|n| post(&server.ingest, &filler(n, now)).unwrap().0).collect();
    assert!(statuses.contains(&503) && statuses.iter().all(|s| [200, 503].contains(s)), "{statuses:?}");
    server.still_runs();
    assert_eq!(get(&server.admin, "/livez").0, 200);
    assert_eq!(server.terminate(), Some(0));
    let server = Server::start(dir.path(), &[]);
    let closing = FLEET.body(100, start_ms);
    assert_eq!(post(&server.ingest, &closing).unwrap().0, 200);
    let want = FLEET.expected(1, start_ms);
    let first = || {
        let mut rows = stored(dir.path(), start_ms + 5_000);
        rows.retain(|(stream, _), _| stream.starts_with("dev/"));
        rows
    };
    until("what was acknowledged is stored", || first() == want);
    assert_eq!(server.terminate(), Some(0));
}

/// A script with a small disk at `$DISK`; its parts say on standard output how they ended.
fn on_small_disk(script: &str, dir: &Path) -> Option<Output> {
    let mut command = Way::find()?.unshare();
    let whole = format!("mount -t tmpfs -o size=4m tmpfs \"$DISK\" || exit 99\n{script}");
    command.args(["sh", "-c", &whole]).env("DISK", dir).env("EVENKEEL", env!("CARGO_BIN_EXE_evenkeel"));
    Some(command.current_dir(dir.parent().unwrap()).output().unwrap())
}

#[test]
fn on_a_full_disk_a_load_says_so_and_the_same_command_completes_it() {
    let outside = tempfile::tempdir().unwrap();
    let disk = outside.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mut events = String::new();
    for seq in 0..40_000i64 {
        let ts = 1_700_000_000_000 + seq * 50;
        events += &format!("{{\"stream_id\":\"dev/{}\",\"ts\":{ts},\"fields\":{{\"v\":{seq}}}}}\n", seq % 7);
    }
    std::fs::write(outside.path().join("events.ndjson"), events).unwrap();
    let script = r#"
        load() { "$EVENKEEL" run --input events.ndjson --once --json --data-dir "$DISK/data"; echo "exit $?"; }
        load
        mount -o remount,size=64m "$DISK"
        load
        load
    "#;
    let Some(output) = on_small_disk(script, &disk) else { return skipped("a full disk under a load") };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = out.lines().collect();
    let [first, done, ok, again, still_ok] = lines[..] else { panic!("{out}\n{err}") };
    assert_eq!((first, ok, still_ok), ("exit 5", "exit 0", "exit 0"), "{out}\n{err}");
    assert!(err.contains("no room for") && err.contains("free space on its disk"), "{err}");
    let done: serde_json::Value = serde_json::from_str(done).unwrap();
    assert_eq!((&done["events"]["5000"]["consumed"], &done["ledger"]), (&40_000.into(), &0.into()), "{done}");
    assert_eq!(done["events"]["5000"]["counted"], 40_000);
    let again: serde_json::Value = serde_json::from_str(again).unwrap();
    assert_eq!(again["loaded_before"], true);
}

/// The store is full, the log is not: the load ends with what the store said.
#[test]
fn a_full_store_ends_a_load_with_its_reason_and_the_same_command_completes_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.ndjson");
    let line = |n: i64| {
        format!(
            "{{\"stream_id\":\"dev/{}\",\"ts\":{},\"fields\":{{\"v\":{n}}}}}\n",
            n % 50,
            1_700_000_000_000 + n * 500
        )
    };
    std::fs::write(&path, (0..20_000).map(line).collect::<String>()).unwrap();
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.args(["run", "--once", "--json", "--input"]).arg(&path);
        command.arg("--data-dir").arg(dir.path().join("data")).args(more).output().unwrap()
    };
    let full = run(&["--set", "local.store-max=256KiB"]);
    let text = String::from_utf8_lossy(&full.stderr);
    assert_eq!(full.status.code(), Some(5), "{text}");
    assert!(text.contains("the store takes no rows: no room for store.db"), "{text}");
    let whole = run(&[]);
    assert_eq!(whole.status.code(), Some(0), "{}", String::from_utf8_lossy(&whole.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&whole.stdout).unwrap();
    assert_eq!((&summary["events"]["5000"]["counted"], &summary["ledger"]), (&20_000.into(), &0.into()));
}
