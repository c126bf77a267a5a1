//! WebSocket frames as RFC 6455 has them, written by hand: what a conforming server takes in any cut, and what it must
//! end the connection for. The cases follow the chapters of the Autobahn suite.

use crate::server::{Server, start};
use crate::websocket::Client;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Message};

const TEXT: &str = r#"{"id":7,"events":[{"stream_id":"bowl/1","ts":1,"seq":1}]}"#;

/// A masked frame: first byte (final flag, reserved bits, opcode) and payload.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(0x80 | short as u8),
        length => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

async fn acknowledged(client: &mut Client) {
    let answer = client.json().await;
    assert_eq!((&answer["type"], &answer["id"], &answer["accepted"]), (&"ack".into(), &7.into(), &1.into()));
}

async fn ended(server: &Server, what: &str, bytes: &[u8], code: CloseCode) {
    let mut client = Client::open(server.address).await;
    client.stream().write_all(bytes).await.unwrap();
    assert_eq!(client.closed().await, code, "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_may_come_in_any_cut() {
    let server = start(&[]).await;
    let (head, tail) = TEXT.split_at(20);
    let (middle, tail) = tail.split_at(10);
    let parts = [head, middle, tail].map(str::as_bytes);
    let fragments = [frame(0x01, parts[0]), frame(0x00, parts[1]), frame(0x80, parts[2])];
    let ping = frame(0x89, &[b'p'; 125]);
    let cuts: [(&str, Vec<u8>); 5] = [
        ("one frame", frame(0x81, TEXT.as_bytes())),
        ("three fragments", fragments.concat()),
        ("empty fragments", [frame(0x01, b""), frame(0x00, b""), frame(0x80, TEXT.as_bytes())].concat()),
        ("a pong nobody asked for, first", [frame(0x8a, b"x"), frame(0x81, TEXT.as_bytes())].concat()),
        ("a zero mask", [&[0x81, 0x80 | TEXT.len() as u8, 0, 0, 0, 0][..], TEXT.as_bytes()].concat()),
    ];
    for (what, bytes) in cuts {
        for step in [bytes.len(), 1] {
            let mut client = Client::open(server.address).await;
            for part in bytes.chunks(step) {
                client.stream().write_all(part).await.unwrap();
                client.stream().flush().await.unwrap();
            }
            acknowledged(&mut client).await;
            assert!(client.next_is_quiet(), "{what} by {step} bytes: one answer");
        }
    }
    // A ping between the fragments is answered at once, with what it carried.
    let mut client = Client::open(server.address).await;
    client.stream().write_all(&[fragments[0].as_slice(), &ping].concat()).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong(Bytes::from(vec![b'p'; 125])));
    client.stream().write_all(&fragments[1..].concat()).await.unwrap();
    acknowledged(&mut client).await;
    server.settles().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_protocol_forbids_ends_the_connection_with_its_code() {
    use CloseCode::{Invalid, Protocol, Size};
    let server = start(&[]).await;
    let half = &TEXT.as_bytes()[..20];
    let broken_utf8 = [frame(0x01, b"\xce\xba\xe1"), frame(0x80, b"\xff")].concat();
    for (what, bytes, code) in [
        ("a reserved bit", frame(0x81 | 0x40, b"x"), Protocol),
        ("all reserved bits on a ping", frame(0x89 | 0x70, b""), Protocol),
        ("opcode 3", frame(0x83, b""), Protocol),
        ("opcode 7", frame(0x87, b"x"), Protocol),
        ("control opcode 11", frame(0x8b, b""), Protocol),
        ("control opcode 15", frame(0x8f, b""), Protocol),
        ("a ping of 126 bytes", frame(0x89, &[b'p'; 126]), Protocol),
        ("a fragmented ping", frame(0x09, b"p"), Protocol),
        ("a continuation of nothing", frame(0x80, b"x"), Protocol),
        ("a continuation after a whole message", frame(0x00, b"x"), Protocol),
        ("a message inside a message", [frame(0x01, half), frame(0x81, b"{}")].concat(), Protocol),
        ("text that is no UTF-8", frame(0x81, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80"), Invalid),
        ("no UTF-8 over two fragments", broken_utf8, Invalid),
        ("a length of 2^63", vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Size),
        ("a close of one byte", frame(0x88, b"\x03"), Protocol),
        ("a close with code 999", frame(0x88, &999u16.to_be_bytes()), Protocol),
        ("a close with code 1005", frame(0x88, &1005u16.to_be_bytes()), Protocol),
        ("a close with code 1006", frame(0x88, &1006u16.to_be_bytes()), Protocol),
        ("a close with code 2999", frame(0x88, &2999u16.to_be_bytes()), Protocol),
    ] {
        ended(&server, what, &bytes, code).await;
    }
    // A goodbye that keeps the rules is answered with its own code.
    for code in [1000u16, 1001, 3000, 4999] {
        let bytes = frame(0x88, &[&code.to_be_bytes()[..], b"bye"].concat());
        ended(&server, "a goodbye", &bytes, CloseCode::from(code)).await;
    }
    // And nobody else was disturbed.
    let mut client = Client::open(server.address).await;
    client.stream().write_all(&frame(0x81, TEXT.as_bytes())).await.unwrap();
    acknowledged(&mut client).await;
    server.settles().await;
    server.stop().await;
}
