//! Only what ScyllaDB and Cassandra both know: every word, option and name of all CQL texts is on a list, so
//! an addition is a decision. Scylla-only clauses live in the overlay alone.

use evenkeel_cql::{schema, statements};
use std::collections::BTreeSet;

/// Words of the language, in the texts always in capitals.
const WORDS: &str = "ADD ALTER AND ASC BY CLUSTERING CREATE DESC DISTINCT EXISTS FROM IF INSERT INTO KEY KEYSPACE \
                     NOT ORDER PRIMARY SELECT TABLE TIMESTAMP TTL TYPE USING VALUES WHERE WITH";
/// Types and type constructors.
const TYPES: &str = "bigint blob boolean double frozen int map text timestamp";
/// Functions of a SELECT; a row's content never comes of one.
const FUNCTIONS: &str = "now";
/// Table and keyspace options both servers take.
const OPTIONS: &str = "comment compaction default_time_to_live durable_writes gc_grace_seconds replication";
/// Keys and values of option maps both servers take ('dc1' is the example data centre).
const MAP_TEXTS: &str = "class NetworkTopologyStrategy TimeWindowCompactionStrategy compaction_window_unit \
                         compaction_window_size MINUTES HOURS DAYS dc1";
/// Options of the overlay.
const OVERLAY: &str = "tombstone_gc mode timeout";

fn set(words: &str) -> BTreeSet<&str> {
    words.split_whitespace().collect()
}

#[derive(Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Quoted(&'a str),
    Marker,
    Sign(char),
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some(c) = rest.chars().next() {
        let word = |s: &str, from: usize| {
            let end = s[from..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            end.map_or(s.len(), |end| from + end)
        };
        match c {
            c if c.is_whitespace() => rest = &rest[c.len_utf8()..],
            '\'' | '"' => {
                let end = rest[1..].find(c).expect("closed quote") + 1;
                if c == '\'' {
                    out.push(Token::Quoted(&rest[1..end]));
                } else {
                    out.push(Token::Word(&rest[1..end]));
                }
                rest = &rest[end + 1..];
            }
            ':' if rest[1..].starts_with(|c: char| c.is_ascii_alphabetic()) => {
                out.push(Token::Marker);
                rest = &rest[word(rest, 1)..];
            }
            c if c.is_ascii_alphanumeric() || c == '_' => {
                let end = word(rest, 0);
                out.push(Token::Word(&rest[..end]));
                rest = &rest[end..];
            }
            c => {
                out.push(Token::Sign(c));
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

/// What of a text is not on the lists.
fn strangers(text: &str, overlay: bool) -> Vec<String> {
    let (words, types) = (set(WORDS), set(TYPES));
    let (mut options, mut texts) = (set(OPTIONS), set(MAP_TEXTS));
    if overlay {
        options.extend(set(OVERLAY));
        texts.extend(set(OVERLAY));
    }
    let tokens = tokens(text);
    let with = tokens.iter().position(|t| *t == Token::Word("WITH")).unwrap_or(tokens.len());
    let mut strangers = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let next = tokens.get(i + 1);
        let known = match token {
            Token::Word(w) if w.starts_with(|c: char| c.is_ascii_digit()) => true,
            Token::Word(w) if w.chars().any(|c| c.is_ascii_uppercase()) => words.contains(w),
            // An option is a word before '=' behind WITH.
            Token::Word(w) if i > with && next == Some(&Token::Sign('=')) => options.contains(w),
            // A call is a word before '(' that is no table ("INTO t (", "EXISTS t (").
            Token::Word(w) if next == Some(&Token::Sign('(')) => {
                types.contains(w)
                    || matches!(tokens[i.saturating_sub(1)], Token::Sign('.'))
                    || (text.starts_with("SELECT ") && set(FUNCTIONS).contains(w))
            }
            // A type constructor.
            Token::Word(w) if next == Some(&Token::Sign('<')) && text.starts_with("CREATE") => {
                types.contains(w)
            }
            Token::Word(w) => w.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
            // A comment's text is free; maps are not.
            Token::Quoted(q) => {
                tokens[..i].ends_with(&[Token::Word("comment"), Token::Sign('=')])
                    || q.parse::<u64>().is_ok()
                    || texts.contains(q)
                    || text.starts_with("SELECT ") // a value
            }
            Token::Marker => true,
            Token::Sign(c) => "(){}<>=,.;:?".contains(*c),
        };
        if !known {
            strangers.push(format!("{token:?}"));
        }
    }
    strangers
}

#[test]
fn every_text_is_in_the_common_subset() {
    let (common, overlay) = schema::all_texts();
    for text in common.iter().chain(&statements::all_texts()).chain(&statements::survey_texts()) {
        assert_eq!(strangers(text, false), Vec::<String>::new(), "{text}");
    }
    for text in &overlay {
        assert_eq!(strangers(text, true), Vec::<String>::new(), "{text}");
        assert_ne!(strangers(text, false), Vec::<String>::new(), "belongs to the common files: {text}");
    }
}

#[test]
fn what_only_one_server_knows_is_refused() {
    let with = |option: &str| format!("ALTER TABLE ks.t WITH {option}");
    let refused = [
        with("tablets = {'enabled': true}"),
        with("compression = {'sstable_compression': 'LZ4Compressor'}"),
        with("compaction = {'class': 'IncrementalCompactionStrategy'}"),
        with("compaction = {'class': 'UnifiedCompactionStrategy'}"),
        with("cdc = {'enabled': true}"),
        with("tombstone_gc = {'mode': 'repair'}"),
        with("per_partition_rate_limit = {'max_writes_per_second': 1}"),
        with("allow_auto_snapshot = true"),
        with("replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"),
        "SELECT a FROM ks.t BYPASS CACHE".to_owned(),
        "SELECT a FROM ks.t USING TIMEOUT 5s".to_owned(),
        "ATTACH SERVICE LEVEL gold TO role".to_owned(),
        "SELECT a FROM ks.t WHERE b = 1 ALLOW FILTERING".to_owned(),
        "SELECT mintimeuuid(a) FROM ks.t".to_owned(),
        "SELECT to_date(a) FROM ks.t".to_owned(),
        "CREATE TABLE ks.t (a vector<float, 3>)".to_owned(),
        "DELETE FROM ks.t WHERE a = 1".to_owned(),
        "UPDATE ks.t SET a = 1 WHERE b = 2".to_owned(),
        "CREATE MATERIALIZED VIEW ks.v AS SELECT a FROM ks.t".to_owned(),
        "INSERT INTO ks.t (a) VALUES (now())".to_owned(),
    ];
    for text in &refused {
        assert!(!strangers(text, false).is_empty(), "passed: {text}");
    }
}

#[test]
fn the_data_path_has_no_deletes_conditions_or_counters() {
    for text in statements::all_texts() {
        for word in [" IF ", "DELETE", "UPDATE", "BATCH", "COUNTER", "null"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
        if text.starts_with("INSERT") && !text.contains("schema_version") {
            assert!(text.contains("USING TIMESTAMP :written_us AND TTL :ttl_s"), "{text}");
        }
    }
}

#[test]
fn cql_is_written_in_two_files_alone() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in std::fs::read_dir(source).unwrap().flatten() {
        let name = file.file_name().into_string().unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        for word in ["SELECT", "INSERT", "CREATE", "ALTER", "UPDATE", "DELETE", "DROP", "TRUNCATE"] {
            let found = text.contains(&format!("\"{word} "));
            assert!(!found || ["statements.rs", "schema.rs"].contains(&name.as_str()), "{word} in {name}");
        }
    }
}
