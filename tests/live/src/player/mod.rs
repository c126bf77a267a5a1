//! Plays a scenario of tests/scenarios over real parts: the binary as separate ingest, coalescer and sink
//! processes, a real Kafka, a real CQL server. The evidence goes to the same judge as the simulator's.
//!
//! What a step becomes: `Send`, `Replay`: a POST to ingest, repeated until it is acknowledged; with `held_ms` or
//! under a `Skew`, and `Garble`, `Misroute`: appended by a foreign producer. `Kill`: kill -9, soon. `Restart`,
//! `Rebalance`: processes start, or leave by SIGTERM. `Freeze`: SIGSTOP. `BrokerDown`: SIGSTOP of the broker.
//! `StoreDown`, `StoreSlow`, `StoreUnknown`: a proxy before the store breaks, delays, cuts. Ingest, which no step
//! names, is killed twice. Left out, and said so in the output, is what real parts do not do on demand:
//! `AbortNext`, `MarkerLag`, `FetchMax`, `Compact`; nor can it be seen from outside what the simulator checks
//! inside a worker (recovered = committed, the live clock, the bound of the replay, every content ever written).

mod commits;
pub mod compare;
mod director;
mod proxy;
mod seats;
mod sender;
mod stage;
mod tail;
mod witness;

use crate::parts::cassandra::Cassandra;
use crate::parts::kafka::KafkaPart;
use director::{Director, now_ms, wait_for};
use evenkeel_model::StoredRow;
use evenkeel_scenarios::{Evidence, Finding, Rule, Scenario, Violation};
use evenkeel_seam::RowKey;
use proxy::Proxy;
use seats::{Counts, Kind, Seats};
use sender::{Senders, Sent};
use stage::Stage;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use witness::{Witness, stored_rows};

/// From the start of the processes to the first step.
const WARM_UP_MS: i64 = 500;
/// So long a start may wait for its windows to lie as told.
const ALIGN_MAX_MS: i64 = 15_000;
/// Everything after the last step is done within this.
const DEADLINE: Duration = Duration::from_secs(120);

/// The servers that some scenarios share: a broker of theirs, since some freeze it, and a store that all share,
/// since each has a door of its own to it.
pub struct Parts {
    kafka: KafkaPart,
    cassandra: Arc<Cassandra>,
    /// How many scenarios want the broker away right now.
    frozen: Mutex<u32>,
}

/// What a play came to.
#[derive(Debug)]
pub struct Played {
    /// What was played: the steps with their real times.
    pub scenario: Scenario,
    /// What the topics held at the end.
    pub evidence: Evidence,
    /// What the store held at the end.
    pub stored: Vec<StoredRow>,
    /// The judge's verdict.
    pub finding: Finding,
    /// Windows that were open when everybody left.
    pub open: BTreeSet<RowKey>,
    /// What was sent.
    pub sent: Sent,
    /// What was done to the processes.
    pub counts: Counts,
    /// Faults carried out.
    pub faults: u64,
    /// Writes of unknown outcome.
    pub unknowns: u32,
    /// Partitions that coalescers recovered, and transactions that were aborted under them.
    pub recovered: usize,
    /// See `recovered`.
    pub aborted: usize,
    /// Steps left out, by name.
    pub left_out: BTreeMap<&'static str, u32>,
    /// How long the end took, from the last step to the verdict.
    pub rest: Duration,
}

impl Parts {
    /// Finds or starts a broker beside a store.
    pub fn beside(cassandra: &Arc<Cassandra>) -> anyhow::Result<Self> {
        let kafka = KafkaPart::find()?;
        eprintln!(
            "Kafka: {} at {}; CQL: {} at {}",
            kafka.how(),
            kafka.address(),
            cassandra.how(),
            cassandra.address()
        );
        Ok(Self { kafka, cassandra: Arc::clone(cassandra), frozen: Mutex::new(0) })
    }

    /// Stops the broker until as many have called `thaw_broker`; `false` = it is not ours to stop.
    fn freeze_broker(&self) -> anyhow::Result<bool> {
        let mut frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        if self.kafka.how() == "given address" {
            return Ok(false);
        }
        if *frozen == 0 {
            self.kafka.freeze()?;
        }
        *frozen += 1;
        Ok(true)
    }

    fn thaw_broker(&self) -> anyhow::Result<()> {
        let mut frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        *frozen = frozen.saturating_sub(1);
        if *frozen == 0 {
            self.kafka.thaw()?;
        }
        Ok(())
    }
}

/// Plays a scenario, in real time from now on, until everything that can close has closed and is stored.
pub fn play(parts: &Parts, told: Scenario) -> anyhow::Result<Played> {
    let proxy = Proxy::open(parts.cassandra.address())?;
    let (kafka, cql) = (parts.kafka.address(), parts.cassandra.address());
    let stage = Arc::new(Stage::set_up(&told.name, &told.settings, kafka, cql, proxy.address())?);
    let mut seats = Seats::new(Arc::clone(&stage));
    wait_for("ingest listens", DEADLINE, || {
        seats.turn()?;
        Ok(TcpStream::connect(&stage.ingest).is_ok())
    })?;
    let start_ms = told.aligned_start(now_ms() + WARM_UP_MS, ALIGN_MAX_MS);
    let (scenario, open) = told.starting_at(start_ms).with_last_events();
    let senders = Senders::new(&stage.ingest, &stage.kafka)?;
    let mut director = Director::new(parts, &scenario, seats, senders, proxy.clone());
    director.play()?;
    let ended = Instant::now();
    let evidence = come_to_rest(&stage, &mut director, &proxy, &open)?;
    let stored = stored_rows(&stage)?;
    let mut finding = evidence.judge(&scenario.settings, stored.clone(), &open);
    let seats = &director.seats;
    finding.violations.extend(seats.wrong.iter().map(|what| Violation::new(Rule::Protocol, what.clone())));
    finding.violations.extend(seats.alarms().into_iter().map(|what| Violation::new(Rule::Panic, what)));
    let (counts, sent, faults) = (seats.counts, director.senders.sent(), director.faults);
    let recovered = seats.said(Kind::Coalescer, "coalescer.partition.recovered");
    let aborted = seats.said(Kind::Coalescer, "coalescer.transaction.aborted");
    let left_out = std::mem::take(&mut director.left_out);
    drop(director);
    let (unknowns, rest) = (proxy.unknowns(), ended.elapsed());
    Ok(Played {
        scenario,
        evidence,
        stored,
        finding,
        open,
        sent,
        counts,
        faults,
        unknowns,
        recovered,
        aborted,
        left_out,
        rest,
    })
}

/// Waits until all is coalesced, sends the coalescers away, waits until all is stored, sends the sinks away:
/// then nothing changes any more, and what the topics hold is the whole evidence.
fn come_to_rest(
    stage: &Arc<Stage>,
    director: &mut Director<'_>,
    proxy: &Proxy,
    open: &BTreeSet<RowKey>,
) -> anyhow::Result<Evidence> {
    let mut witness = Witness::join(stage)?;
    let sent = Instant::now();
    let mut missing = String::new();
    let waited = wait_for("all is coalesced", DEADLINE, || {
        director.turn()?;
        witness.look()?;
        missing = match witness.has_seen_all(sent) {
            true => witness.is_coalesced(open).err().unwrap_or_default(),
            false => "the topics are not read".to_owned(),
        };
        Ok(missing.is_empty())
    });
    waited.map_err(|error| error.context(format!("{}: {missing}", stage.name)))?;
    leave(director, &[Kind::Coalescer, Kind::Ingest])?;
    let left = Instant::now();
    let waited = wait_for("all is stored", DEADLINE, || {
        director.turn()?;
        witness.look()?;
        missing = witness.is_sunk().err().unwrap_or_default();
        Ok(witness.has_seen_all(left) && missing.is_empty() && proxy.is_quiet())
    });
    waited.map_err(|error| error.context(format!("{}: {missing}", stage.name)))?;
    leave(director, &[Kind::Sink])?;
    let left = Instant::now();
    wait_for("the topics are read to their end", DEADLINE, || {
        witness.look()?;
        Ok(witness.has_seen_all(left))
    })?;
    witness.conclude()
}

/// SIGTERM, and they are gone.
fn leave(director: &mut Director<'_>, kinds: &[Kind]) -> anyhow::Result<()> {
    kinds.iter().for_each(|kind| director.seats.want(*kind, 0));
    wait_for("services leave in good order", DEADLINE, || {
        director.turn()?;
        Ok(kinds.iter().all(|kind| director.seats.is_gone(*kind)))
    })
}

impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { kills, freezes, drains, unreachable, starts } = self.counts;
        write!(
            f,
            "{}: {} violations; {} batches posted, {} appended, slowest after {} ms, {} streams sent again; \
             {} rows, {} late records, {} commits checked, {} windows compared, {} undetermined; {} faults: \
             kill -9 of ingest {}, coalescer {}, sink {}, {freezes} freezes, {drains} drains, {} unknown writes; \
             {starts} starts, {unreachable} in vain; {} partitions recovered, {} transactions aborted; \
             at rest after {:.1} s",
            self.scenario.name,
            self.finding.violations.len(),
            self.sent.posted,
            self.sent.appended,
            self.sent.slip_ms,
            self.sent.again.len(),
            self.finding.rows,
            self.finding.late,
            self.evidence.commits.len(),
            self.finding.compared,
            self.finding.undetermined.len(),
            self.faults,
            kills[0],
            kills[1],
            kills[2],
            self.unknowns,
            self.recovered,
            self.aborted,
            self.rest.as_secs_f64(),
        )?;
        if !self.left_out.is_empty() {
            write!(f, "; left to the simulator: {:?}", self.left_out)?;
        }
        Ok(())
    }
}
