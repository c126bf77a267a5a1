//! Against a registry that answers what a test tells it to.

use super::*;
use evenkeel_codec::{decode_batch, encode_batch};
use evenkeel_model::EventBatch;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What it answers to a request line and a body: status and text.
type Answers = dyn Fn(&str, &str) -> (u16, String) + Send + Sync;

struct Fake {
    config: KafkaConfig,
    asked: Arc<AtomicUsize>,
}

/// A server of one request per connection, until the test process ends.
fn fake(answers: Box<Answers>) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/apis/v7/", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::SeqCst);
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut first, mut length) = (String::new(), 0);
            reader.read_line(&mut first).unwrap();
            let mut head = first.clone();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = n.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let (status, text) = answers(&head, &String::from_utf8(body).unwrap());
            let length = text.len();
            let answer =
                format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let mut config = KafkaConfig::default();
    config.schema_registry.url = url;
    config.timeouts.connect = crate::Millis::new(600);
    Fake { config, asked }
}

/// Ids from 11 on in the order of our topics, and the schemas given by id.
fn registry_of(schemas: &'static [(u32, &'static str)]) -> Fake {
    fake(Box::new(move |head, body| {
        let line = head.lines().next().unwrap();
        let path = line.split(' ').nth(1).unwrap().strip_prefix("/apis/v7").unwrap();
        if let Some(id) = path.strip_prefix("/schemas/ids/") {
            let found = schemas.iter().find(|(of, _)| of.to_string() == id);
            return match found {
                Some((_, text)) => (200, serde_json::json!({ "schema": text }).to_string()),
                None => (404, r#"{"error_code": 40403, "message": "Schema not found"}"#.into()),
            };
        }
        let asked: serde_json::Value = serde_json::from_str(body).unwrap();
        let written = [("events", &EVENT_BATCH), ("windows", &WINDOW_ROW), ("marks", &MARK)];
        let at = written.iter().position(|(topic, schema)| {
            path.trim_end_matches("/versions") == format!("/subjects/evenkeel.{topic}-value")
                && asked["schema"] == schema.text
        });
        (200, format!(r#"{{"id": {}}}"#, 11 + at.unwrap()))
    }))
}

fn batch() -> EventBatch {
    EventBatch { stream_id: "bowl/7".into(), ts: vec![5], ..EventBatch::default() }
}

fn outputs() -> Outputs {
    let mut records = Outputs::new();
    for topic in [Topic::Events, Topic::Dlq] {
        records.push(topic, 0, Some(b"bowl/7"), &[], |buf| encode_batch(&batch(), buf));
    }
    records.push(Topic::Events, 0, None, &[], |buf| buf.extend_from_slice(b"{}"));
    records
}

#[test]
fn our_records_carry_the_registrys_id_and_come_back_as_ours() {
    let fake = registry_of(&[]);
    let registry = Registry::connect(&fake.config).unwrap().unwrap();
    let (plain, mut framed) = (outputs(), outputs());
    registry.frame(&mut framed);
    let value = |of: &Outputs, n: usize| of.value(&of.records()[n]).unwrap().to_vec();
    assert_eq!(value(&framed, 0), [&[0, 0, 0, 0, 11], &value(&plain, 0)[10..]].concat());
    assert_eq!(value(&framed, 1), value(&plain, 1), "dlq is left as it is");
    assert_eq!(value(&framed, 2), b"{}");
    let mut arena = vec![7];
    let span = registry.unframe(&value(&framed, 0), &mut arena).unwrap().unwrap();
    assert_eq!(arena[span], value(&plain, 0));
    for other in [&value(&plain, 0)[..], b"{}", b"", &[0, 0, 0, 11]] {
        assert_eq!(registry.unframe(other, &mut arena).unwrap(), None);
    }
    assert_eq!(fake.asked.load(Ordering::SeqCst), 3, "our own ids are never asked for");
}

#[test]
fn an_id_is_asked_for_once_and_what_cannot_be_read_stays_as_it_was() {
    const LATER: &str = r#"{"type": "record", "name": "Event", "fields": [
        {"name": "stream_id", "type": "string"}, {"name": "x", "type": "double"}]}"#;
    let fake = registry_of(&[(70, EVENT_BATCH.text), (71, LATER)]);
    let registry = Registry::connect(&fake.config).unwrap().unwrap();
    let mut ours = Vec::new();
    encode_batch(&batch(), &mut ours);
    let of = |id: u8| [&[0, 0, 0, 0, id], &ours[10..]].concat();
    let (mut arena, mut read) = (Vec::new(), EventBatch::default());
    for _ in 0..3 {
        let span = registry.unframe(&of(70), &mut arena).unwrap().unwrap();
        decode_batch(&arena[span], &mut read).unwrap();
        assert_eq!(read, batch());
        let before = arena.len();
        assert_eq!(registry.unframe(&of(71), &mut arena).unwrap(), None, "no Event: it lacks a time");
        assert_eq!(registry.unframe(&of(72), &mut arena).unwrap(), None, "no such id");
        assert_eq!(arena.len(), before);
    }
    assert_eq!(fake.asked.load(Ordering::SeqCst), 3 + 3);
}

#[test]
fn every_refusal_says_what_to_do() {
    let error_of = |config: &KafkaConfig| Registry::connect(config).err().unwrap();
    let refused = fake(Box::new(|_, _| (409, r#"{"message": "incompatible"}"#.into())));
    let error = error_of(&refused.config);
    assert!(error.to_string().contains("/subjects/evenkeel.events-value/versions: 409"), "{error}");
    assert!(error.to_string().contains("incompatible"), "{error}");
    assert_eq!(refused.asked.load(Ordering::SeqCst), 1, "it would be refused again");

    let login = fake(Box::new(|_, _| (401, String::new())));
    assert!(error_of(&login.config).to_string().contains("password-file"));

    let mut missing = fake(Box::new(|_, _| (404, "{}".into())));
    missing.config.schema_registry.register = false;
    let error = error_of(&missing.config).to_string();
    assert!(
        error.contains("register schemas/avro/EventBatch.avsc") && error.contains("register = true"),
        "{error}"
    );

    let broken = fake(Box::new(|_, _| (500, "oops".into())));
    assert!(matches!(error_of(&broken.config), RegistryError::Refused { status: 500, .. }));
    assert!(broken.asked.load(Ordering::SeqCst) > 1, "a fault of the server may pass");

    let mut nobody = broken.config;
    nobody.schema_registry.url = "http://127.0.0.1:1".into();
    assert!(error_of(&nobody).to_string().contains("no schema registry answered at http://127.0.0.1:1"));
    nobody.schema_registry.ca_file = Some("/no/such.pem".into());
    assert!(error_of(&nobody).to_string().contains("/no/such.pem"));
    nobody.schema_registry.url.clear();
    assert!(Registry::connect(&nobody).unwrap().is_none());
}

#[test]
fn a_login_is_sent_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "sesame\n").unwrap();
    let mut fake = fake(Box::new(|head, _| match head.contains("authorization: Basic dTpzZXNhbWU=") {
        true => (200, r#"{"id": 1}"#.into()),
        false => (401, String::new()),
    }));
    fake.config.schema_registry.username = Some("u".into());
    fake.config.schema_registry.password_file = Some(file);
    assert!(Registry::connect(&fake.config).unwrap().is_some());
    assert!(!format!("{:?}", fake.config).contains("sesame"));
}
