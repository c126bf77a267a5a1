//! The processes of one scenario, each in its seat: started, killed, frozen, sent away, and started again as
//! a supervisor would.
//!
//! Owns: the children. They die with this value. Never: what a process is for.

use super::stage::Stage;
use anyhow::Context;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a supervisor waits before it starts a process again that ended by itself.
const RESTART_AFTER: Duration = Duration::from_secs(1);
const SIGTERM: i32 = 15;
/// The exit code of a process that could not reach what it depends on at its start.
const UNREACHABLE: i32 = 3;

/// A service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// HTTP in.
    Ingest,
    /// Windows.
    Coalescer,
    /// Rows.
    Sink,
}

/// What was done to the processes, how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// kill -9, by [`Kind`].
    pub kills: [u32; 3],
    /// Stopped and let go on.
    pub freezes: u32,
    /// Sent away in good order.
    pub drains: u32,
    /// Ended by themselves because something was away at their start.
    pub unreachable: u32,
    /// Starts.
    pub starts: u32,
}

/// Every seat of a scenario.
#[derive(Debug)]
pub struct Seats {
    stage: Arc<Stage>,
    seats: BTreeMap<(Kind, usize), Seat>,
    wanted: BTreeMap<Kind, usize>,
    /// What was done so far.
    pub counts: Counts,
    /// Processes that ended as none should.
    pub wrong: Vec<String>,
}

#[derive(Debug, Default)]
struct Seat {
    child: Option<Child>,
    /// Dead by the scenario's will.
    killed: bool,
    leaving: bool,
    not_before: Option<Instant>,
}

impl Kind {
    fn service(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Coalescer => "coalescer",
            Self::Sink => "sink",
        }
    }
}

impl Seats {
    /// One ingest, up to three coalescers, up to two sinks; one of each to begin with.
    pub fn new(stage: Arc<Stage>) -> Self {
        let of = |kind, n| (0..n).map(move |seat| ((kind, seat), Seat::default()));
        let seats = of(Kind::Ingest, 1).chain(of(Kind::Coalescer, 3)).chain(of(Kind::Sink, 2)).collect();
        let wanted = [Kind::Ingest, Kind::Coalescer, Kind::Sink].map(|kind| (kind, 1)).into();
        Self { stage, seats, wanted, counts: Counts::default(), wrong: Vec::new() }
    }

    /// From here on a service has so many processes.
    pub fn want(&mut self, kind: Kind, n: usize) {
        let most = self.seats.keys().filter(|(of, _)| *of == kind).count();
        self.wanted.insert(kind, n.min(most));
    }

    /// kill -9. It stays dead until `restart`.
    pub fn kill(&mut self, kind: Kind, seat: usize) -> anyhow::Result<()> {
        let Some(found) = self.seats.get_mut(&(kind, seat)) else { return Ok(()) };
        found.killed = true;
        if let Some(mut child) = found.child.take() {
            child.kill()?;
            child.wait()?;
            self.counts.kills[kind as usize] += 1;
        }
        Ok(())
    }

    /// A killed one may live again.
    pub fn restart(&mut self, kind: Kind, seat: usize) {
        if let Some(seat) = self.seats.get_mut(&(kind, seat)) {
            (seat.killed, seat.not_before) = (false, None);
        }
    }

    /// Nobody is dead by the scenario's will any more.
    pub fn restart_all(&mut self) {
        self.seats.values_mut().for_each(|seat| seat.killed = false);
    }

    /// Every thread of it stands still; whether there is such a process.
    pub fn freeze(&mut self, kind: Kind, seat: usize) -> anyhow::Result<bool> {
        let found = self.signal(kind, seat, "-STOP")?;
        self.counts.freezes += u32::from(found);
        Ok(found)
    }

    /// It goes on.
    pub fn thaw(&mut self, kind: Kind, seat: usize) -> anyhow::Result<()> {
        self.signal(kind, seat, "-CONT").map(|_| ())
    }

    fn signal(&self, kind: Kind, seat: usize, signal: &str) -> anyhow::Result<bool> {
        let child = self.seats.get(&(kind, seat)).and_then(|seat| seat.child.as_ref());
        child.map_or(Ok(false), |child| send(child, signal).map(|()| true))
    }

    /// Starts, sends away and starts again whoever it is time for.
    pub fn turn(&mut self) -> anyhow::Result<()> {
        let places: Vec<(Kind, usize)> = self.seats.keys().copied().collect();
        for place in places {
            let wanted = place.1 < self.wanted.get(&place.0).copied().unwrap_or(0);
            self.reap(place)?;
            let Some(seat) = self.seats.get_mut(&place) else { continue };
            match &seat.child {
                Some(child) if !wanted && !seat.leaving => {
                    send(child, "-TERM")?;
                    seat.leaving = true;
                    self.counts.drains += 1;
                }
                None if wanted && !seat.killed && seat.not_before.is_none_or(|at| Instant::now() >= at) => {
                    // Whole: one that was killed while it left must not leave its successor marked as leaving.
                    *seat = Seat { child: Some(start(&self.stage, place)?), ..Seat::default() };
                    self.counts.starts += 1;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Notes how a process ended that did.
    fn reap(&mut self, place: (Kind, usize)) -> anyhow::Result<()> {
        let Some(seat) = self.seats.get_mut(&place) else { return Ok(()) };
        let Some(status) = seat.child.as_mut().map(Child::try_wait).transpose()?.flatten() else {
            return Ok(());
        };
        let leaving = std::mem::take(&mut seat.leaving);
        seat.child = None;
        seat.not_before = Some(Instant::now() + RESTART_AFTER);
        match status.code() {
            Some(0) if leaving => {}
            // Sent away before it had begun: it holds nothing yet, and nobody has told the system to wait.
            None if leaving && status.signal() == Some(SIGTERM) => {}
            Some(UNREACHABLE) => self.counts.unreachable += 1,
            _ => {
                let service = place.0.service();
                let log = fs::read_to_string(self.stage.log(service, place.1)).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                let doing = if leaving { "sent away" } else { "at work" };
                self.wrong.push(format!("{service} {} ended {doing}: {status}; {tail:#?}", place.1));
            }
        }
        Ok(())
    }

    /// Whether a service has no process any more.
    pub fn is_gone(&self, kind: Kind) -> bool {
        self.seats.iter().filter(|((of, _), _)| *of == kind).all(|(_, seat)| seat.child.is_none())
    }

    /// Lines of the logs that no run may have: errors of ours, and panics. (What an operator is woken up for;
    /// an outage is a warning.)
    pub fn alarms(&self) -> Vec<String> {
        let mut found = Vec::new();
        for &(kind, seat) in self.seats.keys() {
            let log = fs::read_to_string(self.stage.log(kind.service(), seat)).unwrap_or_default();
            let ours = |line: &str| line.contains("\"ERROR\"") && line.contains("\"target\":\"evenkeel");
            let loud = |line: &&str| ours(line) || line.contains("panicked at");
            found.extend(log.lines().filter(loud).map(|line| format!("{} {seat}: {line}", kind.service())));
        }
        found
    }

    /// How many lines of a service's logs contain a text.
    pub fn said(&self, kind: Kind, text: &str) -> usize {
        let seats = self.seats.keys().filter(|(of, _)| *of == kind);
        let logs = seats.map(|(_, seat)| fs::read_to_string(self.stage.log(kind.service(), *seat)));
        logs.map(|log| log.unwrap_or_default().lines().filter(|line| line.contains(text)).count()).sum()
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        for child in self.seats.values_mut().filter_map(|seat| seat.child.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start(stage: &Stage, (kind, seat): (Kind, usize)) -> anyhow::Result<Child> {
    let service = kind.service();
    let log = OpenOptions::new().create(true).append(true).open(stage.log(service, seat))?;
    let child = (stage.command(service, seat)?)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("starting {service}"))?;
    Ok(child)
}

fn send(child: &Child, signal: &str) -> anyhow::Result<()> {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status()?;
    anyhow::ensure!(status.success(), "kill {signal} {}: {status}", child.id());
    Ok(())
}
