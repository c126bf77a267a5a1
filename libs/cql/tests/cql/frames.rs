//! As much of the CQL binary protocol, version 4, as a driver needs to believe in a server.

/// Opcodes of requests.
pub mod op {
    pub const STARTUP: u8 = 0x01;
    pub const OPTIONS: u8 = 0x05;
    pub const QUERY: u8 = 0x07;
    pub const PREPARE: u8 = 0x09;
    pub const EXECUTE: u8 = 0x0a;
    pub const REGISTER: u8 = 0x0b;
    pub const AUTH_RESPONSE: u8 = 0x0f;
    pub const ERROR: u8 = 0x00;
    pub const READY: u8 = 0x02;
    pub const AUTHENTICATE: u8 = 0x03;
    pub const SUPPORTED: u8 = 0x06;
    pub const RESULT: u8 = 0x08;
    pub const AUTH_SUCCESS: u8 = 0x10;
}

/// A body being written.
#[derive(Default)]
pub struct Body(pub Vec<u8>);

impl Body {
    pub fn byte(mut self, n: u8) -> Self {
        self.0.push(n);
        self
    }

    pub fn short(mut self, n: u16) -> Self {
        self.0.extend(n.to_be_bytes());
        self
    }

    pub fn int(mut self, n: i32) -> Self {
        self.0.extend(n.to_be_bytes());
        self
    }

    pub fn string(self, text: &str) -> Self {
        self.short(text.len() as u16).raw(text.as_bytes())
    }

    pub fn bytes(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            Some(bytes) => self.int(bytes.len() as i32).raw(bytes),
            None => self.int(-1),
        }
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
}

/// A body being read. Ends of input are bugs of the test, so they panic.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(n);
        self.0 = tail;
        head
    }

    pub fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    pub fn int(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    pub fn long_string(&mut self) -> String {
        let n = self.int() as usize;
        String::from_utf8(self.take(n).to_vec()).unwrap()
    }

    pub fn short_bytes(&mut self) -> &'a [u8] {
        let n = self.short() as usize;
        self.take(n)
    }

    /// Consistency, flags and bound values; what follows them is not looked at.
    pub fn bound(&mut self) -> Vec<Bound> {
        let (_consistency, flags) = (self.short(), self.byte());
        let values = if flags & 1 == 0 { 0 } else { self.short() };
        (0..values)
            .map(|_| match self.int() {
                -1 => Bound::Null,
                -2 => Bound::Unset,
                n => Bound::Value(self.take(n as usize).to_vec()),
            })
            .collect()
    }
}

/// One bound value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    Null,
    Unset,
    Value(Vec<u8>),
}

/// The type of a column or marker, by its name: each name has one type in every table.
pub fn type_of(name: &str) -> Vec<u8> {
    let simple = |id: u16| id.to_be_bytes().to_vec();
    let text = || simple(0x0d);
    let map = |value: Vec<u8>| [simple(0x21), text(), value].concat();
    match name {
        "host_id" | "schema_version" => simple(0x0c),
        "rpc_address" => simple(0x10),
        "tokens" => [simple(0x22), text()].concat(),
        "replication" => map(text()),
        "durable_writes" | "shadow" | "prediction" => simple(0x04),
        "score" | "threshold" => simple(0x07),
        "version" | "revision" | "salt" | "late_merged" | "ttl_s" | "initial_tablets" => simple(0x09),
        "place" | "bucket" | "size_ms" | "count" | "missing" | "late_offset" | "seq_min" | "seq_max"
        | "written_us" => simple(0x02),
        "t_start" | "t_end" | "max_ts" | "first_arrival" | "last_arrival" | "applied_at" | "t_from"
        | "t_to" => simple(0x0b),
        "seq_ranges" | "events" => simple(0x03),
        "dropped" | "event" => map(simple(0x02)),
        "stats" => map(field_stats()),
        "keyspace_name IN" => [simple(0x20), text()].concat(),
        _ => text(),
    }
}

fn field_stats() -> Vec<u8> {
    const FIELDS: [(&str, u16); 13] = [
        ("count", 2),
        ("min", 7),
        ("max", 7),
        ("sum", 7),
        ("sum_lo", 7),
        ("mean", 7),
        ("m2", 7),
        ("first", 7),
        ("first_ts", 2),
        ("first_seq", 2),
        ("last", 7),
        ("last_ts", 2),
        ("last_seq", 2),
    ];
    let mut body = Body::default().short(0x30).string("evenkeel").string("field_stats").short(13);
    for (name, id) in FIELDS {
        body = body.string(name).short(id);
    }
    body.0
}

/// A text map as a value.
pub fn text_map(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Body::default().int(pairs.len() as i32);
    for (key, value) in pairs {
        body = body.bytes(Some(key.as_bytes())).bytes(Some(value.as_bytes()));
    }
    body.0
}
