//! Which client ids are connected, and which have a session.
//!
//! One id is one connection: the newer one wins, because a device whose link broke comes back before anybody has
//! noticed. A session holds nothing here (no subscription, nothing on its way to the client), so only its name is
//! kept; but it must be: a client that resumes one and hears that there is none has to forget what was not
//! acknowledged to it, and would lose it.
//! Bounds: an entry per connection that has said CONNECT; `sessions_max` names of clients that left, the one that
//! left first goes first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A client: the name of its credential and its own id, so that nobody can cut somebody else's devices.
type Name = Arc<(String, String)>;

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    inside: Mutex<Inside>,
    sessions_max: usize,
}

#[derive(Debug, Default)]
struct Inside {
    next: u64,
    holders: BTreeMap<Name, Holder>,
    /// Sessions of clients that are away, and the order in which they left.
    away: BTreeMap<Name, Away>,
    order: BTreeMap<u64, Name>,
}

#[derive(Debug)]
struct Holder {
    number: u64,
    cut: Arc<Notify>,
    has_session: bool,
}

#[derive(Debug)]
struct Away {
    number: u64,
    /// `None` = for ever.
    until: Option<Instant>,
}

/// What a client asks of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    /// Begin a new one.
    pub(super) clean: bool,
    /// How long it outlives the connection; zero = not at all.
    pub(super) expiry: Duration,
}

/// A connection's hold on its name; dropping it gives the name up.
#[derive(Debug)]
pub(super) struct Claim {
    table: Arc<Table>,
    name: Name,
    number: u64,
    cut: Arc<Notify>,
    expiry: Duration,
    resumed: bool,
}

impl Inside {
    fn forget(&mut self, name: &Name) -> Option<Away> {
        let away = self.away.remove(name)?;
        self.order.remove(&away.number);
        Some(away)
    }
}

impl Table {
    pub(super) fn new(sessions_max: usize) -> Self {
        Self { inside: Mutex::default(), sessions_max }
    }

    /// Takes the name, and cuts whoever had it. Without an id of its own (`None`) a client gets one.
    pub(super) fn claim(
        self: &Arc<Self>,
        credential: &str,
        client_id: Option<&str>,
        session: Session,
        now: Instant,
    ) -> Claim {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let number = inside.next;
        inside.next += 1;
        let client_id = client_id.map_or_else(|| format!("evenkeel-{number}"), str::to_owned);
        let (name, cut) = (Arc::new((credential.to_owned(), client_id)), Arc::new(Notify::new()));
        let away = inside.forget(&name);
        let mut there = away.is_some_and(|away| away.until.is_none_or(|until| now < until));
        let has_session = session.expiry > Duration::ZERO;
        let holder = Holder { number, cut: Arc::clone(&cut), has_session };
        if let Some(older) = inside.holders.insert(name.clone(), holder) {
            there |= older.has_session;
            older.cut.notify_one();
        }
        let resumed = there && !session.clean;
        Claim { table: Arc::clone(self), name, number, cut, expiry: session.expiry, resumed }
    }
}

impl Claim {
    /// The client id.
    pub(super) fn client_id(&self) -> &str {
        &self.name.1
    }

    /// Whether the client goes on with a session that was there.
    pub(super) fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Waits until another connection takes the name. Cancel-safe.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }

    /// Leaves the name, and the session behind if it is to outlive the connection.
    pub(super) fn leave(mut self, now: Instant) {
        self.leave_at(now);
    }

    fn leave_at(&mut self, now: Instant) {
        let mut inside = self.table.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = inside.holders.get(&self.name).is_some_and(|holder| holder.number == self.number);
        if !holds {
            return;
        }
        inside.holders.remove(&self.name);
        if self.expiry == Duration::ZERO {
            return;
        }
        let number = inside.next;
        inside.next += 1;
        inside.away.insert(self.name.clone(), Away { number, until: now.checked_add(self.expiry) });
        inside.order.insert(number, self.name.clone());
        if inside.away.len() > self.table.sessions_max
            && let Some((_, first)) = inside.order.pop_first()
        {
            inside.away.remove(&first);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // A connection that ends before it was welcomed leaves the session it found, too.
        self.leave_at(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const NONE: Session = Session { clean: true, expiry: Duration::ZERO };
    const RESUME: Session = Session { clean: false, expiry: Duration::from_secs(60) };

    fn table() -> Arc<Table> {
        Arc::new(Table::new(2))
    }

    #[test]
    fn the_newer_connection_has_the_name_and_the_older_one_is_cut() {
        let (table, now) = (table(), Instant::now());
        let older = table.claim("a", Some("d"), NONE, now);
        let other = table.claim("b", Some("d"), NONE, now);
        assert!(older.cut().now_or_never().is_none());
        let newer = table.claim("a", Some("d"), NONE, now);
        assert!(older.cut().now_or_never().is_some() && other.cut().now_or_never().is_none());
        older.leave(now);
        let names = || table.inside.lock().unwrap().holders.len();
        assert_eq!(names(), 2, "the older one's end does not take the name from the newer one");
        drop((newer, other));
        assert_eq!(names(), 0);
    }

    #[test]
    fn a_client_without_an_id_gets_one_of_its_own() {
        let (table, now) = (table(), Instant::now());
        let (one, two) = (table.claim("a", None, NONE, now), table.claim("a", None, NONE, now));
        assert_ne!(one.client_id(), two.client_id());
        assert!(one.cut().now_or_never().is_none());
    }

    #[test]
    fn a_session_is_there_until_it_expires_or_begins_anew() {
        let (table, now) = (table(), Instant::now());
        let first = table.claim("a", Some("d"), RESUME, now);
        assert!(!first.is_resumed());
        // Also when the older connection has not ended yet.
        let second = table.claim("a", Some("d"), RESUME, now);
        assert!(second.is_resumed());
        first.leave(now);
        second.leave(now);
        let late = now + Duration::from_secs(60);
        let third = table.claim("a", Some("d"), RESUME, late - Duration::from_millis(1));
        assert!(third.is_resumed() && !table.claim("b", Some("d"), RESUME, now).is_resumed());
        third.leave(now);
        assert!(!table.claim("a", Some("d"), RESUME, late).is_resumed(), "it has expired");
        table.claim("a", Some("d"), RESUME, now).leave(now);
        table.claim("a", Some("d"), NONE, now).leave(now);
        assert!(!table.claim("a", Some("d"), RESUME, now).is_resumed(), "it began anew");
    }

    #[test]
    fn the_names_of_those_who_left_are_bounded() {
        let (table, now) = (table(), Instant::now());
        for name in ["1", "2", "3"] {
            table.claim("a", Some(name), RESUME, now).leave(now);
        }
        let claims = ["1", "2", "3"].map(|name| table.claim("a", Some(name), RESUME, now));
        assert_eq!(claims.each_ref().map(Claim::is_resumed), [false, true, true]);
        let inside = table.inside.lock().unwrap();
        assert!(inside.away.is_empty() && inside.order.is_empty());
    }

    #[test]
    fn a_connection_that_ends_before_its_welcome_leaves_the_session_it_found() {
        let (table, now) = (table(), Instant::now());
        table.claim("a", Some("d"), RESUME, now).leave(now);
        drop(table.claim("a", Some("d"), RESUME, now));
        assert!(table.claim("a", Some("d"), RESUME, now).is_resumed());
    }
}
