//! A fake CQL server: one node, tables in memory, and answers a test plants.
//!
//! It knows statements by their shape (SELECT list FROM table WHERE equalities, INSERT, CREATE), the shapes
//! this crate and the driver use; anything else is a syntax error, loudly.

use crate::frames::{Body, Bound, Reader, op, text_map, type_of};
use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What to answer to one execution of a watched statement.
#[derive(Debug, Clone)]
pub enum Answer {
    /// An ERROR frame: code, what follows the message, the message.
    Error(i32, Vec<u8>, &'static str),
    /// UNPREPARED for the statement that was executed.
    Unprepared,
    /// Nothing, for ever.
    Silence,
    /// The connection is closed.
    Close,
}

/// What the server is.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Number of shards that SUPPORTED announces; 0 = none (Cassandra).
    pub shards: u16,
    /// Whether `system.scylla_local` exists.
    pub scylla_local: bool,
    /// Role and password it wants.
    pub login: Option<(&'static str, &'static str)>,
}

type Row = BTreeMap<String, Vec<u8>>;

#[derive(Default)]
struct State {
    setup: Setup,
    tables: BTreeMap<String, Vec<Row>>,
    prepared: BTreeMap<Vec<u8>, String>,
    planted: VecDeque<Answer>,
    /// Planted for statements that contain a text, prepared or not.
    planted_on: VecDeque<(&'static str, Answer)>,
    for_ever: Option<Answer>,
    /// Statement texts as they came (executions, not preparations), and what they bound.
    seen: Vec<(String, Vec<Bound>)>,
    connections: u16,
}

/// A running fake server; its threads end with the test process.
pub struct Fake {
    pub address: String,
    state: Arc<Mutex<State>>,
}

/// The statements that planted answers are for.
const WATCHED: &str = "windows_5s";

impl Fake {
    pub fn start(setup: Setup) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State { tables: system_tables(&setup), setup, ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, state }
    }

    /// Answers the next executions on the window table so, one each.
    pub fn plant(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state.lock().unwrap().planted.extend(answers);
    }

    /// Answers the next statements that contain `text` so, one each; the others as usual.
    pub fn plant_on(&self, text: &'static str, answers: impl IntoIterator<Item = Answer>) {
        self.state.lock().unwrap().planted_on.extend(answers.into_iter().map(|answer| (text, answer)));
    }

    /// Whether every answer planted with [`Fake::plant_on`] was given.
    pub fn all_planted_was_answered(&self) -> bool {
        self.state.lock().unwrap().planted_on.is_empty()
    }

    /// Answers every execution on the window table so, until `None`.
    pub fn always(&self, answer: Option<Answer>) {
        self.state.lock().unwrap().for_ever = answer;
    }

    /// Adds a row, values as they are on the wire.
    pub fn add(&self, table: &str, row: &[(&str, &[u8])]) {
        let row = row.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        self.state.lock().unwrap().tables.entry(table.to_owned()).or_default().push(row);
    }

    /// Executed statements that contain `text`, with what they bound; takes them off the record.
    pub fn seen(&self, text: &str) -> Vec<(String, Vec<Bound>)> {
        let mut state = self.state.lock().unwrap();
        let (hits, rest) = std::mem::take(&mut state.seen).into_iter().partition(|(t, _)| t.contains(text));
        state.seen = rest;
        hits
    }
}

fn system_tables(setup: &Setup) -> BTreeMap<String, Vec<Row>> {
    let row = |pairs: &[(&str, &[u8])]| -> Row {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect()
    };
    let tokens = Body::default().int(1).bytes(Some(b"0")).0;
    let local = row(&[
        ("key", b"local"),
        ("host_id", &[7; 16]),
        ("schema_version", &[8; 16]),
        ("rpc_address", &[127, 0, 0, 1]),
        ("data_center", b"dc1"),
        ("rack", b"r1"),
        ("tokens", &tokens),
        ("cluster_name", b"fake"),
        ("release_version", b"0.0.1"),
    ]);
    let mut tables = vec![row(&[("keyspace_name", b"system"), ("table_name", b"local")])];
    if setup.scylla_local {
        tables.push(row(&[("keyspace_name", b"system"), ("table_name", b"scylla_local")]));
    }
    BTreeMap::from([("system.local".to_owned(), vec![local]), ("system_schema.tables".to_owned(), tables)])
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let shard = {
        let mut state = state.lock().unwrap();
        state.connections += 1;
        state.connections
    };
    let mut header = [0; 9];
    while stream.read_exact(&mut header).is_ok() {
        let mut body = vec![0; u32::from_be_bytes(header[5..9].try_into().unwrap()) as usize];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let reply = state.lock().unwrap().reply(header[4], &body, shard);
        let Some((opcode, body)) = (match reply {
            Reply::Frame(opcode, body) => Some((opcode, body)),
            Reply::Nothing => None,
            Reply::Close => return,
        }) else {
            continue;
        };
        let mut frame = vec![0x84, 0, header[2], header[3], opcode];
        frame.extend((body.0.len() as u32).to_be_bytes());
        frame.extend(body.0);
        if stream.write_all(&frame).is_err() {
            return;
        }
    }
}

enum Reply {
    Frame(u8, Body),
    Nothing,
    Close,
}

fn error(code: i32, extra: &[u8], message: &str) -> Reply {
    Reply::Frame(op::ERROR, Body::default().int(code).string(message).raw(extra))
}

fn void() -> Reply {
    Reply::Frame(op::RESULT, Body::default().int(1))
}

impl State {
    fn reply(&mut self, opcode: u8, body: &[u8], connection: u16) -> Reply {
        let mut reader = Reader(body);
        match opcode {
            op::OPTIONS => Reply::Frame(op::SUPPORTED, self.supported(connection)),
            op::STARTUP if self.setup.login.is_some() => Reply::Frame(
                op::AUTHENTICATE,
                Body::default().string("org.apache.cassandra.auth.PasswordAuthenticator"),
            ),
            op::STARTUP | op::REGISTER => Reply::Frame(op::READY, Body::default()),
            op::AUTH_RESPONSE => {
                let (user, password) = self.setup.login.unwrap_or_default();
                match reader.0.ends_with(format!("\0{user}\0{password}").as_bytes()) {
                    true => Reply::Frame(op::AUTH_SUCCESS, Body::default().int(-1)),
                    false => error(0x0100, &[], "Provided username and/or password are incorrect"),
                }
            }
            op::PREPARE => self.prepare(reader.long_string()),
            op::QUERY => {
                let text = reader.long_string();
                let bound = reader.bound();
                self.execute(&text, bound, &[])
            }
            op::EXECUTE => {
                let id = reader.short_bytes().to_vec();
                let bound = reader.bound();
                let Some(text) = self.prepared.get(&id).cloned() else {
                    return error(
                        0x2500,
                        &Body::default().short(id.len() as u16).raw(&id).0,
                        "unknown statement",
                    );
                };
                self.execute(&text, bound, &id)
            }
            other => error(0x000a, &[], &format!("opcode {other}")),
        }
    }

    fn supported(&self, connection: u16) -> Body {
        let shard = connection.checked_rem(self.setup.shards).unwrap_or(0).to_string();
        let shards = self.setup.shards.to_string();
        let scylla = [
            ("SCYLLA_SHARD", shard.as_str()),
            ("SCYLLA_NR_SHARDS", shards.as_str()),
            ("SCYLLA_SHARDING_IGNORE_MSB", "12"),
            ("SCYLLA_SHARDING_ALGORITHM", "biased-token-round-robin"),
            ("SCYLLA_PARTITIONER", "org.apache.cassandra.dht.Murmur3Partitioner"),
        ];
        let options = if self.setup.shards > 0 { &scylla[..] } else { &[] };
        let mut body = Body::default().short(1 + options.len() as u16);
        for (name, value) in options.iter().chain(&[("CQL_VERSION", "3.4.7")]) {
            body = body.string(name).short(1).string(value);
        }
        body
    }

    fn prepare(&mut self, text: String) -> Reply {
        let Some(shape) = Shape::of(&text) else {
            return error(0x2000, &[], &format!("not known here: {text}"));
        };
        if !self.exists(&shape.table) {
            return error(0x2200, &[], &format!("unconfigured table {}", shape.table));
        }
        // As on a real server, one text has one id on every connection.
        let known = self.prepared.iter().find(|(_, t)| **t == text).map(|(id, _)| id.clone());
        let id = known.unwrap_or_else(|| self.prepared.len().to_be_bytes().to_vec());
        let mut body = Body::default().int(4).short(id.len() as u16).raw(&id);
        body = body.int(1).int(shape.markers.len() as i32).int(0);
        body = body.string(shape.keyspace()).string(shape.name());
        for marker in &shape.markers {
            body = body.string(marker).raw(&type_of(marker));
        }
        body = match shape.is_select {
            true => columns(body, &shape),
            false => body.int(4).int(0),
        };
        self.prepared.insert(id, text);
        Reply::Frame(op::RESULT, body)
    }

    /// Tables of `system` and `system_schema` exist unless they are ScyllaDB's; ours when they were created.
    fn exists(&self, table: &str) -> bool {
        match table.split_once('.') {
            Some(("system" | "system_schema", name)) => !name.starts_with("scylla") || self.setup.shards > 0,
            _ => self.tables.contains_key(table),
        }
    }

    /// The answer that was planted for this execution.
    fn planted_for(&mut self, text: &str, id: &[u8]) -> Option<Answer> {
        if let Some(place) = self.planted_on.iter().position(|(part, _)| text.contains(part)) {
            return self.planted_on.remove(place).map(|(_, answer)| answer);
        }
        if !text.contains(WATCHED) || id.is_empty() {
            return None;
        }
        self.planted.pop_front().or_else(|| self.for_ever.clone())
    }

    fn execute(&mut self, text: &str, bound: Vec<Bound>, id: &[u8]) -> Reply {
        self.seen.push((text.to_owned(), bound.clone()));
        if let Some(answer) = self.planted_for(text, id) {
            return match answer {
                Answer::Error(code, extra, message) => error(code, &extra, message),
                Answer::Unprepared => {
                    error(0x2500, &Body::default().short(id.len() as u16).raw(id).0, "gone")
                }
                Answer::Silence => Reply::Nothing,
                Answer::Close => Reply::Close,
            };
        }
        if text.starts_with("CREATE") || text.starts_with("ALTER") {
            return self.change(text);
        }
        let Some(shape) = Shape::of(text) else {
            return error(0x2000, &[], &format!("not known here: {text}"));
        };
        if !self.exists(&shape.table) {
            return error(0x2200, &[], &format!("unconfigured table {}", shape.table));
        }
        if !shape.is_select {
            let named = shape.markers.iter().cloned().zip(bound);
            let row =
                named.filter_map(|(name, b)| if let Bound::Value(v) = b { Some((name, v)) } else { None });
            self.tables.entry(shape.table).or_default().push(row.collect());
            return void();
        }
        let rows = self.tables.get(&shape.table).map_or(&[][..], Vec::as_slice);
        let hits: Vec<&Row> = rows.iter().filter(|row| shape.fits(row, &bound)).collect();
        let mut body = columns(Body::default().int(2), &shape).int(hits.len() as i32);
        for row in hits {
            for column in &shape.columns {
                body = body.bytes(row.get(column).map(Vec::as_slice));
            }
        }
        Reply::Frame(op::RESULT, body)
    }

    fn change(&mut self, text: &str) -> Reply {
        let name =
            text.split_whitespace().find(|w| w.contains('.') || *w == "evenkeel").unwrap_or("evenkeel");
        let row: Row = match name.split_once('.') {
            None => {
                let replication = text_map(&[
                    ("class", "org.apache.cassandra.locator.NetworkTopologyStrategy"),
                    ("dc1", "1"),
                ]);
                let durable = vec![1];
                [
                    ("keyspace_name", b"evenkeel".to_vec()),
                    ("replication", replication),
                    ("durable_writes", durable),
                ]
                .map(|(k, v)| (k.to_owned(), v))
                .into()
            }
            Some((_, table)) => {
                [("keyspace_name", b"evenkeel".to_vec()), ("table_name", table.as_bytes().to_vec())]
                    .map(|(k, v)| (k.to_owned(), v))
                    .into()
            }
        };
        if text.starts_with("CREATE KEYSPACE") {
            self.tables.entry("system_schema.keyspaces".to_owned()).or_default().push(row);
        } else if text.starts_with("CREATE TABLE") {
            self.tables.entry(name.to_owned()).or_default();
            self.tables.entry("system_schema.tables".to_owned()).or_default().push(row);
        }
        let body = Body::default().int(5).string("CREATED").string("TABLE").string("evenkeel").string("t");
        Reply::Frame(op::RESULT, body)
    }
}

fn columns(body: Body, shape: &Shape) -> Body {
    let mut body = body.int(1).int(shape.columns.len() as i32).string(shape.keyspace()).string(shape.name());
    for column in &shape.columns {
        body = body.string(column).raw(&type_of(column));
    }
    body
}

/// A SELECT or INSERT, taken apart.
struct Shape {
    is_select: bool,
    table: String,
    columns: Vec<String>,
    /// Markers in order, by the name of what they bind (`keyspace_name IN` for a list).
    markers: Vec<String>,
}

impl Shape {
    fn of(text: &str) -> Option<Self> {
        let list = |text: &str| -> Vec<String> {
            text.split(',').map(|c| c.trim().trim_matches('"').to_owned()).collect()
        };
        if let Some(rest) = text.strip_prefix("SELECT ") {
            let (names, rest) = rest.split_once(" FROM ")?;
            let names = names.trim_start_matches("DISTINCT ");
            let table = rest.split_whitespace().next()?.to_owned();
            let mut markers = Vec::new();
            let words: Vec<&str> = rest.split_whitespace().collect();
            for w in words.windows(3).filter(|w| w[2].starts_with(['?', ':'])) {
                let name = w[0].trim_matches('"');
                markers.push(if w[1].eq_ignore_ascii_case("in") {
                    format!("{name} IN")
                } else {
                    name.to_owned()
                });
            }
            return Some(Self { is_select: true, table, columns: list(names), markers });
        }
        let rest = text.strip_prefix("INSERT INTO ")?;
        let (table, rest) = rest.split_once(" (")?;
        let (names, rest) = rest.split_once(") VALUES (")?;
        let mut markers = list(names);
        // What is written after the values: the names of the markers of USING.
        let using = rest.split_once(')')?.1;
        markers.extend(using.split_whitespace().filter_map(|w| w.strip_prefix(':')).map(str::to_owned));
        let rename = |name: String| if name == "group" { "in_group".to_owned() } else { name };
        let markers = markers.into_iter().map(rename).collect();
        Some(Self { is_select: false, table: table.to_owned(), columns: Vec::new(), markers })
    }

    fn keyspace(&self) -> &str {
        self.table.split_once('.').map_or("", |(keyspace, _)| keyspace)
    }

    fn name(&self) -> &str {
        self.table.split_once('.').map_or("", |(_, name)| name)
    }

    /// Whether a row has every bound value in its column (rows without the column fit).
    fn fits(&self, row: &Row, bound: &[Bound]) -> bool {
        self.markers.iter().zip(bound).all(|(marker, bound)| {
            let Bound::Value(value) = bound else { return false };
            match marker.strip_suffix(" IN") {
                None => row.get(marker).is_none_or(|v| v == value),
                Some(column) => {
                    let mut reader = Reader(value);
                    let n = reader.int();
                    (0..n).any(|_| {
                        let length = reader.int() as usize;
                        let one = reader.take(length);
                        row.get(column).is_none_or(|v| v == one)
                    })
                }
            }
        })
    }
}
