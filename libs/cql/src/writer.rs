//! [`CqlRows`]: the sink's store. One thread holds the driver; actions go in, outcomes come out.
//!
//! Owns: the queue in front of the store and how many actions are in flight. Never: the order per key (the
//! caller submits the next action of a key after the last one's result), whether to try again.
//!
//! ```text
//! submit ─► queue (≤ queue-max with what is in flight) ─► ≤ limit in flight ─► done
//!              └─ full: Unavailable at once
//! ```

use crate::config::CqlConfig;
use crate::connect::{ConnectError, ServerKind};
use crate::inflight::InFlight;
use crate::store::{Outcome, Store};
use evenkeel_seam::{RowAction, RowResult, Rows};
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc as results;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc as jobs, oneshot};

/// A store of window rows on ScyllaDB or Cassandra.
///
/// At most `queue-max` actions are submitted and not yet handed out by [`Rows::done`]; one more is answered
/// `Unavailable` at once. Dropping it gives up what is in flight: outcome unknown, to be submitted again by
/// the next owner.
pub struct CqlRows {
    jobs: jobs::UnboundedSender<(u64, RowAction)>,
    /// Dropped = the thread ends at once.
    stop: Option<oneshot::Sender<()>>,
    results: results::Receiver<(u64, RowResult)>,
    /// Submitted to the thread, not yet handed out.
    outstanding: BTreeSet<u64>,
    /// Answered without the thread.
    answered: Vec<(u64, RowResult)>,
    queue_max: usize,
    gauges: Arc<Gauges>,
    about: About,
    thread: Option<JoinHandle<()>>,
}

/// Which cluster it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Which server.
    pub server: ServerKind,
    /// Its release.
    pub release: String,
    /// The data centre in use.
    pub local_dc: String,
    /// Shards (ScyllaDB) or nodes (Cassandra) in it.
    pub targets: u32,
}

#[derive(Debug, Default)]
struct Gauges {
    in_flight: AtomicU32,
    limit: AtomicU32,
}

impl CqlRows {
    /// Connects, checks the schema and prepares, within `start-timeout`; else says what is wrong and what to
    /// do about it.
    pub fn open(config: &CqlConfig) -> Result<Self, ConnectError> {
        let (jobs, job_receiver) = jobs::unbounded_channel(); // bounded by queue-max in submit
        let (stop, stopped) = oneshot::channel();
        let (result_sender, results) = results::channel();
        let (ready_sender, ready) = results::sync_channel(1);
        let gauges = Arc::new(Gauges::default());
        let (thread_gauges, thread_config) = (Arc::clone(&gauges), config.clone());
        let thread = std::thread::Builder::new().name("cql".to_owned()).spawn(move || {
            let runtime = match crate::blocking::runtime() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready_sender.send(Err(ConnectError::Thread(error)))),
            };
            runtime.block_on(async {
                match Store::open(&thread_config).await {
                    Ok(store) => {
                        let _ = ready_sender.send(Ok(About::of(&store)));
                        let in_flight = start_window(&thread_config, &store);
                        Pump { store, in_flight, results: result_sender, gauges: thread_gauges }
                            .run(job_receiver, stopped)
                            .await;
                    }
                    Err(error) => drop(ready_sender.send(Err(error))),
                }
            });
        })?;
        let about = ready.recv().unwrap_or_else(|_| {
            Err(ConnectError::Thread(std::io::Error::other("the CQL thread ended before it was ready")))
        })?;
        Ok(Self {
            jobs,
            stop: Some(stop),
            results,
            outstanding: BTreeSet::new(),
            answered: Vec::new(),
            queue_max: config.queue_max as usize,
            gauges,
            about,
            thread: Some(thread),
        })
    }

    /// Which cluster it is.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Actions in flight at the store now.
    pub fn in_flight(&self) -> u32 {
        self.gauges.in_flight.load(Ordering::Relaxed)
    }

    /// How many may be in flight now.
    pub fn in_flight_limit(&self) -> u32 {
        self.gauges.limit.load(Ordering::Relaxed)
    }

    fn take(&mut self, id: u64, result: RowResult, out: &mut Vec<(u64, RowResult)>) {
        self.outstanding.remove(&id);
        out.push((id, result));
    }
}

impl Rows for CqlRows {
    fn submit(&mut self, id: u64, action: RowAction) {
        if self.outstanding.len() >= self.queue_max {
            let text = format!("{} actions wait for the store (cql.queue-max)", self.queue_max);
            return self.answered.push((id, RowResult::Unavailable(text)));
        }
        match self.jobs.send((id, action)) {
            Ok(()) => drop(self.outstanding.insert(id)),
            Err(_) => self.answered.push((id, RowResult::Unavailable("the CQL thread has ended".to_owned()))),
        }
    }

    fn done(&mut self, wait: Duration, out: &mut Vec<(u64, RowResult)>) {
        let wait = if self.answered.is_empty() { wait } else { Duration::ZERO };
        out.append(&mut self.answered);
        match self.results.recv_timeout(wait) {
            Ok((id, result)) => self.take(id, result, out),
            Err(results::RecvTimeoutError::Timeout) => return,
            Err(results::RecvTimeoutError::Disconnected) => {
                // The thread is gone (a bug in it): every action it held has an unknown outcome.
                let lost = std::mem::take(&mut self.outstanding).into_iter();
                return out
                    .extend(lost.map(|id| (id, RowResult::Unavailable("the CQL thread has ended".into()))));
            }
        }
        while let Ok((id, result)) = self.results.try_recv() {
            self.take(id, result, out);
        }
    }
}

impl Drop for CqlRows {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl About {
    fn of(store: &Store) -> Self {
        let cluster = &store.cluster;
        Self {
            server: cluster.server,
            release: cluster.release.clone(),
            local_dc: cluster.local_dc.clone(),
            targets: cluster.targets,
        }
    }
}

/// One window over all targets: the driver spreads the actions by token, so each gets about its share.
fn start_window(config: &CqlConfig, store: &Store) -> InFlight {
    let targets = store.cluster.targets;
    InFlight::new(
        config.in_flight_start.saturating_mul(targets),
        config.in_flight_max.saturating_mul(targets),
    )
}

/// The thread's loop.
struct Pump {
    store: Store,
    in_flight: InFlight,
    results: results::Sender<(u64, RowResult)>,
    gauges: Arc<Gauges>,
}

impl Pump {
    /// Until the owner drops its end.
    async fn run(
        self,
        mut jobs: jobs::UnboundedReceiver<(u64, RowAction)>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let Self { store, mut in_flight, results, gauges } = self;
        let mut running = FuturesUnordered::new();
        loop {
            gauges.limit.store(in_flight.limit(), Ordering::Relaxed);
            gauges.in_flight.store(running.len() as u32, Ordering::Relaxed);
            let room = running.len() < in_flight.limit() as usize;
            tokio::select! {
                job = jobs.recv(), if room => match job {
                    Some((id, action)) => running.push(perform(&store, id, action, in_flight.round())),
                    None => return,
                },
                Some((id, round, outcome)) = running.next() => {
                    let Outcome { result, signal } = outcome;
                    in_flight.answered(round, signal);
                    if results.send((id, result)).is_err() {
                        return;
                    }
                }
                _ = &mut stopped => return,
            }
        }
    }
}

async fn perform(store: &Store, id: u64, action: RowAction, round: u64) -> (u64, u64, Outcome) {
    let outcome = store.perform(&action).await;
    (id, round, outcome)
}
