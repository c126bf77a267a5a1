//! Which client ids are connected. One id is one connection: the newer one wins, because a device whose link broke
//! comes back before anybody has noticed.
//!
//! Bound: an entry per connection that has said CONNECT, so `mqtt.connections-max`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// A client: the name of its credential and its own id, so that nobody can cut somebody else's devices.
type Name = (String, String);

/// The table.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    next: u64,
    holders: BTreeMap<Name, (u64, Arc<Notify>)>,
}

/// A connection's hold on its name; dropping it gives the name up.
#[derive(Debug)]
pub(super) struct Claim {
    table: Arc<Table>,
    name: Name,
    number: u64,
    cut: Arc<Notify>,
}

impl Table {
    /// Takes the name, and cuts whoever had it. Without an id of its own (`None`) a client gets one.
    pub(super) fn claim(self: &Arc<Self>, credential: &str, client_id: Option<&str>) -> Claim {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = inside.next;
        inside.next += 1;
        let client_id = client_id.map_or_else(|| format!("evenkeel-{number}"), str::to_owned);
        let (name, cut) = ((credential.to_owned(), client_id), Arc::new(Notify::new()));
        if let Some((_, older)) = inside.holders.insert(name.clone(), (number, Arc::clone(&cut))) {
            older.notify_one();
        }
        Claim { table: Arc::clone(self), name, number, cut }
    }
}

impl Claim {
    /// The client id.
    pub(super) fn client_id(&self) -> &str {
        &self.name.1
    }

    /// Waits until another connection takes the name. Cancel-safe.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut inside = self.table.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.holders.get(&self.name).is_some_and(|(number, _)| *number == self.number) {
            inside.holders.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn names(table: &Table) -> usize {
        table.0.lock().unwrap().holders.len()
    }

    #[test]
    fn the_newer_connection_has_the_name_and_the_older_one_is_cut() {
        let table = Arc::new(Table::default());
        let (older, other) = (table.claim("a", Some("d")), table.claim("b", Some("d")));
        assert!(older.cut().now_or_never().is_none());
        let newer = table.claim("a", Some("d"));
        assert!(older.cut().now_or_never().is_some() && other.cut().now_or_never().is_none());
        drop(older);
        assert_eq!(names(&table), 2, "the older one's end does not take the name from the newer one");
        drop((newer, other));
        assert_eq!(names(&table), 0);
    }

    #[test]
    fn a_client_without_an_id_gets_one_of_its_own() {
        let table = Arc::new(Table::default());
        let (one, two) = (table.claim("a", None), table.claim("a", None));
        assert_ne!(one.client_id(), two.client_id());
        assert!(one.cut().now_or_never().is_none());
    }
}
