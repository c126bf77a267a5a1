//! Logins and outages of a real Cassandra that this binary starts for itself, because it freezes and kills
//! it. Local processes only: a given server or a container is not ours to kill.
//! Proves: an outage comes back as `Unavailable`, the same submits succeed after it, and what was
//! acknowledged before a kill -9 is there after it.

mod cql_rows;

use anyhow::ensure;
use cql_rows::{DEADLINE, Dice, Driven, config, now_ms};
use evenkeel_cql::{AuthConfig, ConnectError, CqlConfig, CqlRows, Millis, migrate};
use evenkeel_live::parts::cassandra::{LocalServer, Login};
use evenkeel_model::{StoredRow, WindowSpan};
use evenkeel_seam::{RowAction, RowResult};
use std::time::Instant;

const SEED: u64 = 20_260_302;

#[test]
fn logins_and_outages_of_a_real_server() {
    let mut server = LocalServer::start(Login::Password).unwrap();
    eprintln!("CQL server: local process with passwords at {}; seed {SEED}", server.address());
    let secrets = tempfile::tempdir().unwrap();
    let password_file = secrets.path().join("password");
    std::fs::write(&password_file, "cassandra\n").unwrap();
    let mut config = config(&server.address(), "ek_faults");
    config.auth = Some(AuthConfig { user: "cassandra".into(), password_file });
    config.request_timeout = Millis::from_ms(1_000);
    config.attempts_max = 2;
    migrate(&config).unwrap();

    for (name, case) in [
        ("no login and a wrong password are refused with the keys to check", logins as Case),
        ("frozen: Unavailable, after it written", frozen),
        ("killed: Unavailable, after it written, and nothing acknowledged is lost", killed),
    ] {
        eprintln!("- {name}");
        case(&mut server, &config).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
}

type Case = fn(&mut LocalServer, &CqlConfig) -> anyhow::Result<()>;

fn rows(dice: &mut Dice, name: &str, n: usize) -> Vec<StoredRow> {
    let span = WindowSpan::of(now_ms() - 10_000, 5_000);
    (0..n).map(|i| dice.row(&format!("{name}/{i}"), span, 0)).collect()
}

fn writes(rows: &[StoredRow]) -> Vec<RowAction> {
    rows.iter().map(|row| RowAction::Write(Box::new(row.clone()))).collect()
}

fn logins(_: &mut LocalServer, config: &CqlConfig) -> anyhow::Result<()> {
    let mut nobody = config.clone();
    nobody.auth = None;
    let error = CqlRows::open(&nobody).err();
    ensure!(matches!(&error, Some(ConnectError::Login { .. })), "{error:?}");

    let wrong_file = tempfile::NamedTempFile::new()?;
    std::fs::write(wrong_file.path(), "not the password")?;
    let mut wrong = config.clone();
    wrong.auth = Some(AuthConfig { user: "cassandra".into(), password_file: wrong_file.path().to_owned() });
    let error = CqlRows::open(&wrong).err();
    ensure!(matches!(&error, Some(ConnectError::Login { .. })), "{error:?}");
    let text = error.map(|e| e.to_string()).unwrap_or_default();
    ensure!(text.contains("cql.auth.user") && text.contains("\"cassandra\""), "{text}");
    eprintln!("  {text}");
    Ok(())
}

fn frozen(server: &mut LocalServer, config: &CqlConfig) -> anyhow::Result<()> {
    let (mut store, mut dice) = (Driven::open(config)?, Dice(SEED));
    let rows = rows(&mut dice, "frozen", 60);
    ensure!(all_written(&store.all(writes(&rows[..20]))?));
    server.freeze()?;
    let results = store.all(writes(&rows[20..]))?;
    let mut soon = config.clone();
    soon.start_timeout = Millis::from_ms(700);
    let start = CqlRows::open(&soon).err();
    server.thaw()?;
    ensure!(results.iter().all(|r| matches!(r, RowResult::Unavailable(_))), "{results:?}");
    ensure!(
        matches!(start, Some(ConnectError::TooSlow { .. } | ConnectError::Unreachable { .. })),
        "{start:?}"
    );
    ensure!(store.rows.in_flight_limit() < config.in_flight_start, "the limit did not fall");
    submit_until_written(&mut store, &rows[20..])?;
    read_back(&mut store, &rows)
}

fn killed(server: &mut LocalServer, config: &CqlConfig) -> anyhow::Result<()> {
    let (mut store, mut dice) = (Driven::open(config)?, Dice(SEED + 1));
    let rows = rows(&mut dice, "killed", 60);
    ensure!(all_written(&store.all(writes(&rows[..20]))?));
    server.kill()?;
    let results = store.all(writes(&rows[20..]))?;
    ensure!(results.iter().all(|r| matches!(r, RowResult::Unavailable(_))), "{results:?}");
    server.launch()?;
    submit_until_written(&mut store, &rows[20..])?;
    read_back(&mut store, &rows)
}

fn all_written(results: &[RowResult]) -> bool {
    results.iter().all(|result| *result == RowResult::Written)
}

/// As a sink does: what is `Unavailable` is submitted again.
fn submit_until_written(store: &mut Driven, rows: &[StoredRow]) -> anyhow::Result<()> {
    let deadline = Instant::now() + DEADLINE;
    let mut left = rows.to_vec();
    while !left.is_empty() {
        ensure!(Instant::now() < deadline, "{} rows are still not written", left.len());
        let results = store.all(writes(&left))?;
        ensure!(!results.iter().any(|r| matches!(r, RowResult::Refused(_))), "{results:?}");
        let mut results = results.iter();
        left.retain(|_| results.next() != Some(&RowResult::Written));
    }
    Ok(())
}

fn read_back(store: &mut Driven, rows: &[StoredRow]) -> anyhow::Result<()> {
    for row in rows {
        let read = store.read(&row.row.stream_id, row.row.span)?;
        ensure!(read.as_ref() == Some(row), "wrote {row:?}\nread  {read:?}");
    }
    Ok(())
}
