//! The window store on a real CQL server. One server per run, one keyspace for this binary; the cases run
//! one after another and are named when they start.
//! Proves: EK-LATE-1 on the store's side (the highest revision wins in any order, and reads back equal).

mod cql_rows;

use anyhow::{Context as _, ensure};
use cql_rows::{Dice, Driven, config, now_ms};
use evenkeel_cql::{
    ConnectError, CqlConfig, CqlReader, CqlRows, Millis, SchemaError, WindowQuery, WindowTable, migrate,
    survey,
};
use evenkeel_live::parts::cassandra::Cassandra;
use evenkeel_model::{Score, ScoredEvent, StoredRow, StoredScore, WindowSpan};
use evenkeel_seam::{RowAction, RowKey, RowResult, Rows as _};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

const SEED: u64 = 20_260_301;

type Case = fn(&CqlConfig) -> anyhow::Result<()>;

#[test]
fn the_window_store_on_a_real_server() {
    let server = Cassandra::find().unwrap();
    eprintln!("CQL server: {} at {}; seed {SEED}", server.how(), server.address());
    for skipped in &server.skipped {
        eprintln!("  skipped: {skipped}");
    }
    let keyspace = format!("ek_store_{}", std::process::id());
    let config = config(server.address(), &keyspace);
    let cases: [(&str, Case); 12] = [
        ("migrations: missing, twice at once, again, changed life time", migrations),
        ("random rows read back equal", round_trip),
        ("scores read back equal, each once", scores),
        ("the highest revision wins in any order of landing", last_write_wins),
        ("latest_window only moves forward", latest_is_monotone),
        ("ten thousand writes pipelined, in order per key", pipelined),
        ("questions by stream, range, size and newest", questions),
        ("expired, absent, unknown size, too large", refusals),
        ("more than queue-max is answered at once", queue_bound),
        ("another data centre is refused by name", unknown_dc),
        ("nobody listens: an error with a remedy, in time", dead_server),
        ("survey", surveyed),
    ];
    for (name, case) in cases {
        eprintln!("- {name}");
        case(&config).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
}

fn span(window_id: i64) -> WindowSpan {
    WindowSpan { size_ms: 5_000, window_id }
}

/// The id of the 5 s window that ended last.
fn newest() -> i64 {
    now_ms() / 5_000 - 1
}

fn migrations(config: &CqlConfig) -> anyhow::Result<()> {
    let error = CqlRows::open(config).err().map(|e| e.to_string()).unwrap_or_default();
    ensure!(error.contains("evenkeel cql migrate"), "{error}");

    let mut too_many = config.clone();
    too_many.replication = BTreeMap::from([("datacenter1".to_owned(), 3)]);
    let error = migrate(&too_many).err();
    ensure!(
        matches!(error, Some(ConnectError::Schema(SchemaError::Replication { nodes: 1, .. }))),
        "{error:?}"
    );

    let reports = std::thread::scope(|scope| {
        let both = [scope.spawn(|| migrate(config)), scope.spawn(|| migrate(config))];
        both.map(|thread| thread.join().expect("migrate does not panic"))
    });
    for report in reports {
        ensure!(report?.warnings.is_empty());
    }
    ensure!(migrate(config)?.applied.is_empty());
    CqlRows::open(config)?;

    let mut changed = config.clone();
    changed.tables[2].ttl = Some(Millis::from_days(90));
    changed.tables.push(WindowTable { size: Millis::from_s(10), ttl: None });
    let found = survey(&changed)?;
    ensure!(matches!(found.schema, Err(ConnectError::Schema(SchemaError::Missing { .. }))), "{found:?}");
    ensure!(found.stale.iter().map(|s| s.table.as_str()).eq(["windows_250ms"]), "{found:?}");
    let applied = migrate(&changed)?.applied;
    ensure!(applied.iter().any(|what| what.starts_with("windows_250ms: ttl_s=7776000")), "{applied:?}");
    ensure!(applied.iter().any(|what| what == "windows_10s"), "{applied:?}");
    ensure!(migrate(&changed)?.applied.is_empty());
    migrate(config)?; // back
    Ok(())
}

fn round_trip(config: &CqlConfig) -> anyhow::Result<()> {
    let (mut store, mut dice) = (Driven::open(config)?, Dice(SEED));
    let mut rows = Vec::new();
    for n in 0..300 {
        let size_ms = [5_000, 60_000, 250][n % 3];
        let span = WindowSpan::of(now_ms() - dice.below(86_400_000) as i64, size_ms);
        let revision = if n % 4 == 0 { 0 } else { dice.below(1_000_000) as u32 };
        let stream_id = format!("imu/ß {}/{n}", dice.below(10));
        rows.push(dice.row(&stream_id, span, revision));
    }
    let writes = rows.iter().map(|row| RowAction::Write(Box::new(row.clone()))).collect();
    ensure!(store.all(writes)?.iter().all(|result| *result == RowResult::Written));
    for row in &rows {
        let read = store.read(&row.row.stream_id, row.row.span)?;
        ensure!(read.as_ref() == Some(row), "wrote {row:?}\nread  {read:?}");
    }
    Ok(())
}

fn scores(config: &CqlConfig) -> anyhow::Result<()> {
    let (mut store, first) = (Driven::open(config)?, newest() - 1_200); // two buckets at least
    let of = |stream: &str, n: i64, shadow: bool| Score {
        stream_id: stream.to_owned(),
        span: span(first + n),
        event: None,
        model: "m".to_owned(),
        version: "1".to_owned(),
        shadow,
        score: n as f64 / 3.0,
        threshold: (!shadow).then_some(0.1 + 0.2),
        prediction: n % 2 == 0,
        last_arrival: now_ms(),
    };
    let mut all: Vec<StoredScore> = Vec::new();
    for n in 0..1_200 {
        all.extend([of("sc/ß", n, false), of("sc/ß", n, true)].map(|score| StoredScore::at(7, score)));
    }
    for (offset, seq) in [(8, None), (9, None), (10, Some(u64::MAX))] {
        let event = Some(ScoredEvent { ts: 5, seq });
        all.push(StoredScore::at(offset, Score { event, ..of("sc/ß", 1_200, false) }));
    }
    all.push(StoredScore::at(11, of("sc/other", 0, false)));
    for _ in 0..2 {
        let writes = all.iter().map(|stored| RowAction::Score(Box::new(stored.clone()))).collect();
        ensure!(store.all(writes)?.iter().all(|result| *result == RowResult::Written));
    }
    let mut reader = CqlReader::open(config)?;
    let mut read = |query: &WindowQuery| -> anyhow::Result<Vec<StoredScore>> {
        let mut read = Vec::new();
        reader.scores(query, &mut |score| {
            read.push(score);
            ControlFlow::Continue(())
        })?;
        Ok(read)
    };
    let stream =
        WindowQuery { stream_id: Some("sc/ß".to_owned()), size_ms: Some(5_000), ..WindowQuery::default() };
    ensure!(read(&stream)? == all[..all.len() - 1], "in order of time, whole, each once");
    let from = span(first + 1_199).t_start();
    ensure!(read(&WindowQuery { from_ms: Some(from), ..stream.clone() })?.len() == 2 + 3);
    ensure!(read(&WindowQuery { to_ms: Some(from), ..stream })?.len() == 2 * 1_199);
    ensure!(read(&WindowQuery::default())?.len() == all.len());
    let old = Score { span: span(0), ..of("sc/old", 0, false) };
    let expired = store.one(RowAction::Score(Box::new(StoredScore::at(0, old))))?;
    ensure!(expired == RowResult::Expired, "{expired:?}");
    Ok(())
}

// EK-LATE-1
fn last_write_wins(config: &CqlConfig) -> anyhow::Result<()> {
    let (mut store, mut dice) = (Driven::open(config)?, Dice(SEED + 1));
    for n in 0..40 {
        let (stream_id, span) = (format!("order/{n}"), span(newest() - n));
        let revisions: Vec<StoredRow> = (0..5).map(|revision| dice.row(&stream_id, span, revision)).collect();
        // Each lands somewhere, some twice, a few side by side.
        let mut landing = dice.order(5);
        landing.extend(dice.order(5));
        let writes: Vec<RowAction> =
            landing.iter().map(|i| RowAction::Write(Box::new(revisions[*i].clone()))).collect();
        for pair in writes.chunks(2) {
            ensure!(store.all(pair.to_vec())?.iter().all(|result| *result == RowResult::Written));
        }
        let read = store.read(&stream_id, span)?;
        ensure!(read.as_ref() == revisions.last(), "landed as {landing:?}: {read:?}");
    }
    Ok(())
}

fn latest_is_monotone(config: &CqlConfig) -> anyhow::Result<()> {
    let (mut store, mut dice) = (Driven::open(config)?, Dice(SEED + 2));
    let mut reader = CqlReader::open(config)?;
    let stream_id = "latest/one";
    let mut newest_written = (i64::MIN, 0);
    for i in dice.order(30) {
        let (window_id, revision) = (newest() - 20 + i as i64 / 3, (i % 3) as u32);
        store.write(&dice.row(stream_id, span(window_id), revision))?;
        newest_written = newest_written.max((window_id, revision));
        let query = WindowQuery {
            stream_id: Some(stream_id.into()),
            size_ms: Some(5_000),
            latest: true,
            ..WindowQuery::default()
        };
        let seen = collect(&mut reader, &query)?;
        let seen: Vec<i64> = seen.iter().map(|row| row.row.span.window_id).collect();
        ensure!(seen == [newest_written.0], "{seen:?} after {newest_written:?}");
    }
    Ok(())
}

fn pipelined(config: &CqlConfig) -> anyhow::Result<()> {
    const KEYS: usize = 2_000;
    const REVISIONS: u32 = 5;
    let mut rows = CqlRows::open(config)?;
    let mut dice = Dice(SEED + 3);
    let window_id = newest();
    let mut content: Vec<Vec<StoredRow>> = Vec::new();
    for key in 0..KEYS {
        content.push((0..REVISIONS).map(|r| dice.row(&format!("pipe/{key}"), span(window_id), r)).collect());
    }
    let write = |key: usize, r: u32| RowAction::Write(Box::new(content[key][r as usize].clone()));
    let id = |key: usize, r: u32| key as u64 * u64::from(REVISIONS) + u64::from(r);
    for key in 0..KEYS {
        rows.submit(id(key, 0), write(key, 0));
    }
    let (mut out, mut written) = (Vec::new(), 0);
    let deadline = Instant::now() + cql_rows::DEADLINE;
    while written < KEYS * REVISIONS as usize {
        ensure!(Instant::now() < deadline, "only {written} writes are done");
        rows.done(Duration::from_millis(100), &mut out);
        for (done, result) in out.drain(..) {
            ensure!(result == RowResult::Written, "{result:?}");
            written += 1;
            let (key, revision) =
                ((done / u64::from(REVISIONS)) as usize, (done % u64::from(REVISIONS)) as u32);
            if revision + 1 < REVISIONS {
                rows.submit(id(key, revision + 1), write(key, revision + 1));
            }
        }
        ensure!(rows.in_flight() <= config.in_flight_max, "{} in flight", rows.in_flight());
    }
    ensure!(rows.in_flight_limit() > config.in_flight_start, "the limit never rose");
    drop(rows);
    let mut store = Driven::open(config)?;
    let reads = (0..KEYS).map(|key| RowKey { stream_id: format!("pipe/{key}"), span: span(window_id) });
    let read = store.all(reads.map(RowAction::Read).collect())?;
    for (key, result) in read.iter().enumerate() {
        let want = RowResult::Read(content[key].last().cloned().map(Box::new));
        ensure!(*result == want, "key {key}: {result:?}");
    }
    Ok(())
}

fn collect(reader: &mut CqlReader, query: &WindowQuery) -> anyhow::Result<Vec<StoredRow>> {
    let mut rows = Vec::new();
    let n = reader.windows(query, &mut |row| {
        rows.push(row);
        ControlFlow::Continue(())
    })?;
    ensure!(n == rows.len() as u64);
    Ok(rows)
}

fn questions(config: &CqlConfig) -> anyhow::Result<()> {
    let (mut store, mut dice) = (Driven::open(config)?, Dice(SEED + 4));
    // 700 windows over a bucket's border: more than a page, and two partitions.
    let border = (newest() / 10_000) * 10_000;
    let first = border - 350;
    let rows: Vec<StoredRow> =
        (0..700).filter(|i| first + i <= newest()).map(|i| dice.row("ask/one", span(first + i), 0)).collect();
    let writes = rows.iter().map(|row| RowAction::Write(Box::new(row.clone()))).collect();
    ensure!(store.all(writes)?.iter().all(|result| *result == RowResult::Written));

    let mut reader = CqlReader::open(config)?;
    let mut query =
        WindowQuery { stream_id: Some("ask/one".into()), size_ms: Some(5_000), ..WindowQuery::default() };
    ensure!(collect(&mut reader, &query)? == rows, "all of a stream, in order of time");
    query.from_ms = Some(rows[10].row.span.t_start());
    query.to_ms = Some(rows[rows.len() - 5].row.span.t_start());
    ensure!(collect(&mut reader, &query)? == rows[10..rows.len() - 5], "half-open range");
    query.stream_id = None;
    query.from_ms = Some(rows[0].row.span.t_start());
    let mut of_one = collect(&mut reader, &query)?;
    of_one.retain(|row| row.row.stream_id == "ask/one");
    of_one.sort_by_key(|row| row.row.span.window_id);
    ensure!(of_one == rows[..rows.len() - 5], "every stream, partition by partition");

    let latest = WindowQuery { size_ms: Some(5_000), latest: true, ..WindowQuery::default() };
    let newest_of_one: Vec<StoredRow> =
        collect(&mut reader, &latest)?.into_iter().filter(|row| row.row.stream_id == "ask/one").collect();
    ensure!(newest_of_one == rows[rows.len() - 1..], "newest");

    let mut bare = config.clone();
    bare.tables = vec![WindowTable { size: Millis::from_s(1), ttl: None }]; // knows nothing of this keyspace
    let of_bare = collect(&mut CqlReader::open_as_found(&bare)?, &query)?;
    ensure!(of_bare.iter().filter(|row| row.row.stream_id == "ask/one").count() == of_one.len());

    let mut taken = 0;
    let every = WindowQuery { stream_id: Some("ask/one".into()), ..WindowQuery::default() };
    reader.windows(&every, &mut |_| {
        taken += 1;
        if taken == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    ensure!(taken == 3, "a reader may stop");
    let unknown = WindowQuery { size_ms: Some(7_000), ..WindowQuery::default() };
    ensure!(reader.windows(&unknown, &mut |_| ControlFlow::Continue(())).is_err());
    Ok(())
}

fn refusals(config: &CqlConfig) -> anyhow::Result<()> {
    let (mut store, mut dice) = (Driven::open(config)?, Dice(SEED + 5));
    let old = WindowSpan::of(now_ms() - 31 * 86_400_000, 5_000);
    let row = dice.row("old", old, 0);
    ensure!(store.one(RowAction::Write(Box::new(row)))? == RowResult::Expired);
    ensure!(store.read("old", old)?.is_none());
    ensure!(store.read("nobody", span(newest()))?.is_none());

    let strange = dice.row("s", WindowSpan::of(now_ms(), 7_000), 0);
    let result = store.one(RowAction::Write(Box::new(strange)))?;
    ensure!(matches!(&result, RowResult::Refused(why) if why.contains("cql.tables")), "{result:?}");

    let mut large = dice.row("large", span(newest()), 0);
    let mut events = large.row.events.take().unwrap_or_default();
    events = evenkeel_model::EventBatch {
        stream_id: "large".into(),
        arrival_ms: now_ms(),
        ts: vec![span(newest()).t_start(); 100],
        payloads: vec![Some(vec![7; 60_000]); 100],
        seq: Vec::new(),
        fields: Vec::new(),
        ..events
    };
    large.row.events = Some(events);
    let result = store.one(RowAction::Write(Box::new(large.clone())))?;
    ensure!(matches!(&result, RowResult::Refused(why) if why.contains("row-bytes-max")), "{result:?}");
    // The server's own limit (half a commit log segment, 4 MiB here), when ours is set too high.
    let mut generous = config.clone();
    generous.row_bytes_max = 32 << 20;
    let result = Driven::open(&generous)?.one(RowAction::Write(Box::new(large)))?;
    eprintln!("  beyond the server's limit: {result:?}");
    ensure!(!matches!(result, RowResult::Written));
    Ok(())
}

fn queue_bound(config: &CqlConfig) -> anyhow::Result<()> {
    let mut small = config.clone();
    small.queue_max = 10;
    let (mut store, mut dice) = (Driven::open(&small)?, Dice(SEED + 6));
    let rows = (0..500).map(|n| dice.row(&format!("queue/{n}"), span(newest()), 0));
    let results = store.all(rows.map(|row| RowAction::Write(Box::new(row))).collect())?;
    let full =
        results.iter().filter(|r| matches!(r, RowResult::Unavailable(why) if why.contains("queue-max")));
    let full = full.count();
    ensure!(full > 0 && full + 10 <= 500, "{full} of 500 were answered at once");
    Ok(())
}

fn unknown_dc(config: &CqlConfig) -> anyhow::Result<()> {
    let mut elsewhere = config.clone();
    elsewhere.local_dc = Some("atlantis".into());
    let error = CqlRows::open(&elsewhere).err().map(|e| e.to_string()).unwrap_or_default();
    ensure!(error.contains("atlantis") && error.contains("datacenter1"), "{error}");
    Ok(())
}

fn dead_server(config: &CqlConfig) -> anyhow::Result<()> {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut nowhere = config.clone();
    nowhere.contact_points = vec![closed.to_string()];
    let error = CqlRows::open(&nowhere).err();
    ensure!(matches!(error, Some(ConnectError::Unreachable { .. })), "{error:?}");
    // One that takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    nowhere.contact_points = vec![silent.local_addr()?.to_string()];
    nowhere.start_timeout = Millis::from_ms(500);
    let error = CqlRows::open(&nowhere).err();
    ensure!(matches!(error, Some(ConnectError::TooSlow { .. })), "{error:?}");
    Ok(())
}

fn surveyed(config: &CqlConfig) -> anyhow::Result<()> {
    let found = survey(config)?;
    ensure!(found.schema.is_ok() && found.stale.is_empty() && found.agreed == Some(true), "{found:?}");
    ensure!(found.versions.contains_key("base") && found.versions.contains_key("windows_5s"), "{found:?}");
    ensure!(
        found.nodes.len() == 1 && found.nodes[0].connected && found.nodes[0].rack == "rack1",
        "{found:?}"
    );
    ensure!(found.copies == BTreeMap::from([("datacenter1".to_owned(), 1)]), "{found:?}");
    ensure!((found.rights.read, found.rights.write) == (Some(true), Some(true)), "{found:?}");
    let clock = found.clock.context("the server's clock")?;
    ensure!((clock.asked_ms - 60_000..clock.heard_ms + 60_000).contains(&clock.server_ms), "{clock:?}");
    // The probe for the right to write has written nothing.
    let query = WindowQuery { stream_id: Some("0".into()), ..WindowQuery::default() };
    ensure!(collect(&mut CqlReader::open(config)?, &query)?.is_empty());
    Ok(())
}
