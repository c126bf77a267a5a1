//! What the tasks and threads of a gateway share: the hall and its lock, who is to be woken, the clock, credentials,
//! terms and pages.

use crate::hall::Hall;
use crate::http::Page;
use crate::meters::Meters;
use crate::protocol::write::Terms;
use evenkeel_auth::{Auth, Credential, Peer, Tls, Unknown};
use evenkeel_fanout::{ConnectionId, Format, drain_hint};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What every connection, thread and tick has at hand.
pub(crate) struct Server {
    hall: Mutex<Hall>,
    /// Who is told to collect: one entry per connection.
    wakers: Mutex<BTreeMap<ConnectionId, Arc<Notify>>>,
    begun: Instant,
    drained: AtomicUsize,
    to_drain: AtomicUsize,
    pub(crate) terms: Terms,
    pub(crate) timing: Timing,
    pub(crate) instance: String,
    pub(crate) origins: Vec<String>,
    pub(crate) pages: Vec<Page>,
    pub(crate) meters: Meters,
    pub(crate) auth: Auth,
    pub(crate) tls: Option<Tls>,
    wall_ms: Clock,
    /// Told when what the ticker waits for has changed.
    pub(crate) stirred: Notify,
}

/// The machine's time, ms since the epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The machine's.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        i64::try_from(wall).unwrap_or(i64::MAX)
    })
}

/// Who may come, by what way, and the clock that says how long.
pub(crate) struct Gate {
    pub(crate) auth: Auth,
    pub(crate) tls: Option<Tls>,
    pub(crate) wall_ms: Clock,
}

/// Times of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) init: Duration,
    pub(crate) ping: Duration,
    pub(crate) write: Duration,
    pub(crate) drain_spread: Duration,
    /// How long before its end a new credential is asked for.
    pub(crate) refresh_before: Duration,
}

impl Server {
    pub(crate) fn new(
        hall: Hall,
        begun: Instant,
        (terms, timing): (Terms, Timing),
        (instance, origins, pages): (String, Vec<String>, Vec<Page>),
        meters: Meters,
        Gate { auth, tls, wall_ms }: Gate,
    ) -> Self {
        let (hall, wakers) = (Mutex::new(hall), Mutex::default());
        let (drained, to_drain) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self {
            hall,
            wakers,
            begun,
            drained,
            to_drain,
            terms,
            timing,
            instance,
            origins,
            pages,
            meters,
            auth,
            tls,
            wall_ms,
            stirred: Notify::new(),
        }
    }

    pub(crate) fn hall(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// ms of the fan-out's clock, and since the epoch.
    pub(crate) fn now(&self) -> (u64, i64) {
        (self.elapsed_ms(), self.wall_ms())
    }

    /// ms since the epoch.
    pub(crate) fn wall_ms(&self) -> i64 {
        (self.wall_ms)()
    }

    /// When the wall clock says so, as far as it goes on like this.
    pub(crate) fn at_wall(&self, ms: i64) -> Instant {
        Instant::now() + Duration::from_millis(u64::try_from(ms.saturating_sub(self.wall_ms())).unwrap_or(0))
    }

    /// Whose this `authorization` is, over a connection of this peer.
    pub(crate) fn authenticate(
        &self,
        authorization: Option<&[u8]>,
        peer: Option<&Peer>,
    ) -> Result<Arc<Credential>, Unknown> {
        self.auth
            .authenticate(authorization, peer, self.wall_ms())
            .inspect_err(|unknown| self.meters.credential_refused(unknown))
    }

    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When the fan-out's clock says so.
    pub(crate) fn at(&self, ms: u64) -> Instant {
        self.begun + Duration::from_millis(ms)
    }

    pub(crate) fn connect(&self, format: Format) -> (ConnectionId, Arc<Notify>) {
        let id = self.hall().fanout.connect(format);
        self.stirred.notify_one();
        let notify = Arc::new(Notify::new());
        self.wakers().insert(id, Arc::clone(&notify));
        (id, notify)
    }

    pub(crate) fn disconnect(&self, id: ConnectionId) {
        self.wakers().remove(&id);
        let now_ms = self.elapsed_ms();
        self.hall().fanout.disconnect(id, now_ms);
    }

    pub(crate) fn wake(&self, ids: &[ConnectionId]) {
        let wakers = self.wakers();
        for id in ids {
            if let Some(waker) = wakers.get(id) {
                waker.notify_one();
            }
        }
    }

    /// When the next connection of a drain is to leave.
    pub(crate) fn drain_turn(&self) -> Duration {
        let turn = self.drained.fetch_add(1, Ordering::Relaxed);
        let spread_ms = u64::try_from(self.timing.drain_spread.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(drain_hint(turn, self.to_drain.load(Ordering::Relaxed), spread_ms))
    }

    /// A drain begins: the places are counted from here.
    pub(crate) fn begin_drain(&self) {
        self.to_drain.store(self.hall().fanout.len(), Ordering::Relaxed);
    }

    fn wakers(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Arc<Notify>>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
