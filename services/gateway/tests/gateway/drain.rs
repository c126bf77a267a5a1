//! A drain: everybody is told when to come back, one after the other.

use crate::server::{Client, Server};

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
