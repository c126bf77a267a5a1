//! A drain: everybody is told when to come back, one after the other.

use crate::client::Client;
use crate::server::{Server, wait_for};
use futures::StreamExt;
use rustix::process::{Resource, getrlimit, setrlimit};

#[tokio::test]
async fn clients_are_sent_away_one_after_the_other() {
    let server = Server::start(&[("drain-spread", "'400ms'")]).await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(Client::json(server.address).await);
    }
    server.drain();
    let mut hints = Vec::new();
    for client in &mut clients {
        hints.push(client.hear_type("drain").await["retry_after_ms"].as_u64().unwrap());
    }
    hints.sort_unstable();
    // A straight line: the n-th of 40 at n / 40 of the time.
    let line: Vec<u64> = (0..40).map(|n| n * 10).collect();
    assert_eq!(hints, line);
    // Half leave as they should; the server closes the rest.
    let stay = clients.split_off(20);
    drop(clients);
    for mut client in stay {
        assert_eq!(client.closed().await, 4000);
    }
    server.stopped().await;
}

#[tokio::test]
async fn five_thousand_leave_along_the_promised_line() {
    const COUNT: u64 = 5000;
    const SPREAD_MS: u64 = 2000;
    may_open_files(2 * COUNT + 500);
    let server = Server::start(&[("drain-spread", "'2s'")]).await;
    let opened = (0..COUNT).map(|_| Client::json(server.address));
    let clients = futures::stream::iter(opened).buffer_unordered(64).collect::<Vec<_>>().await;
    let all = format!("evenkeel_gateway_connections{{rate_step=\"0\"}} {COUNT}");
    wait_for("all connections", || server.metric(&all)).await;
    server.drain();
    let told = clients.into_iter().map(|mut client| async move {
        let hint_ms = client.hear_type("drain").await["retry_after_ms"].as_u64().unwrap();
        (hint_ms, client)
    });
    let mut told: Vec<(u64, Client)> = futures::future::join_all(told).await;
    // In every tenth of the time a tenth of them come back: no more at once than the others can take.
    for tenth in 0..10 {
        let slice = tenth * SPREAD_MS / 10..(tenth + 1) * SPREAD_MS / 10;
        let count = told.iter().filter(|(hint_ms, _)| slice.contains(hint_ms)).count() as u64;
        assert_eq!(count, COUNT / 10, "{slice:?}");
    }
    // Who stays too long is closed, and none is left.
    let stay = told.split_off(told.len() / 2);
    drop(told);
    let codes = stay.into_iter().map(|(_, mut client)| async move { client.closed().await });
    assert!(futures::future::join_all(codes).await.into_iter().all(|code| code == 4000));
    server.stopped().await;
}

/// Both ends of every connection are here: as many files as the system lets this process open.
fn may_open_files(wanted: u64) {
    let mut limit = getrlimit(Resource::Nofile);
    assert!(
        limit.maximum.is_none_or(|most| most >= wanted),
        "the hard limit of open files is {:?}, and this test needs {wanted}: raise it (ulimit -Hn)",
        limit.maximum
    );
    if limit.current.is_some_and(|now| now < wanted) {
        limit.current = Some(wanted);
        setrlimit(Resource::Nofile, limit).unwrap();
    }
}
