//! `bench gateway`: what an idle screen holds, what a delivery costs, and how old it is when there are more screens than
//! the machine can serve; beside nats-server with the same fan-out over its WebSocket.
//!
//! Owns: the turns, each against a fresh process. CPU and memory are the server's alone. The screens share the machine
//! with it, so a multiple of capacity is one of the server's own: as many screens as it could serve with one CPU, times
//! so much. Both send the same bytes per delivery: the peer's messages are as long as our fragments were seen to be.

mod client;
mod serve;
mod servers;

use super::report::{Goal, Machine, Measured, Report, median};
use client::{Screen, Tally};
use serde_json::json;
pub use serve::serve;
use servers::{Beat, Server};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// As the other benches', from any thread.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How much.
#[derive(Debug, Clone)]
pub struct Options {
    /// nats-server's program; `None` = without it.
    pub nats: Option<PathBuf>,
    /// Length of each turn, s.
    pub seconds: u64,
    /// Idle connections that are opened at once.
    pub idle: usize,
    /// Runs; medians count.
    pub runs: usize,
}

/// Frames per second of a topic.
const HZ: u64 = 10;
/// Topics of a screen.
const TOPICS: usize = 10;
/// And in the turns that ask for capacity: more deliveries without more sockets than a process may have.
const TOPICS_MANY: usize = 50;
/// Screens of the turn that capacity is taken from.
const SCREENS: usize = 200;
/// Idle screens whose topics are all their own, at most.
const DISTINCT: usize = 2_000;
/// Most screens: the limit of open files is twice as much.
const SCREENS_MAX: usize = 9_000;
/// One of so many reads slowly in the turns of overload.
const SLOW_OF: usize = 10;
/// Of capacity.
const TIMES: [usize; 3] = [1, 2, 4];

/// Bytes of an idle connection with ten topics, at most.
const IDLE_BYTES: f64 = 8.0 * 1024.0;
/// Deliveries per CPU-second over the peer's, at least.
const DELIVERIES_TIMES: f64 = 3.0;
/// The peer's age over ours, at least.
const AGE_TIMES: f64 = 10.0;

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Ours,
    Nats,
}

impl Who {
    const fn name(self) -> &'static str {
        match self {
            Self::Ours => "gateway",
            Self::Nats => "nats-server",
        }
    }
}

/// What a turn came to.
struct Turn {
    per_cpu_second: f64,
    per_second: f64,
    age_p99_ms: f64,
    bytes: f64,
    cut: u64,
}

/// Runs it all; `say` hears of each turn.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Outcome<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut bench = Bench { options, runtime, figures: BTreeMap::new(), bytes: 300, say };
    for _ in 0..options.runs {
        for who in [Who::Ours, Who::Nats] {
            if who == Who::Nats && options.nats.is_none() {
                continue;
            }
            bench.round(who)?;
        }
    }
    Ok(bench.report())
}

struct Bench<'a> {
    options: &'a Options,
    runtime: Runtime,
    /// Figures of all runs by name, with their unit.
    figures: BTreeMap<String, (&'static str, Vec<f64>)>,
    /// Of a fragment, as it was seen.
    bytes: usize,
    say: &'a mut dyn FnMut(&str),
}

impl Bench<'_> {
    fn round(&mut self, who: Who) -> Outcome<()> {
        let name = who.name();
        let one = self.turn(who, (1, TOPICS), 0, false)?;
        if who == Who::Ours {
            self.bytes = one.bytes as usize;
        }
        self.put(format!("{name}, one socket, ten topics"), "deliveries per CPU-second", one.per_cpu_second);
        let own = self.turn(who, (1, TOPICS), 0, true)?;
        let what = format!("{name}, one socket, ten topics, each at its own time");
        self.put(what, "deliveries per CPU-second", own.per_cpu_second);
        let many = self.turn(who, (SCREENS, TOPICS_MANY), 0, false)?;
        let what = format!("{name}, {SCREENS} sockets, {TOPICS_MANY} topics");
        self.put(what, "deliveries per CPU-second", many.per_cpu_second);
        let capacity = many.per_cpu_second / (TOPICS_MANY as u64 * HZ) as f64;
        for times in TIMES {
            let screens = (capacity * times as f64) as usize;
            let turn = self.turn(who, (screens.clamp(10, SCREENS_MAX), TOPICS_MANY), SLOW_OF, false)?;
            let what = format!("{name}, {times}x capacity");
            self.put(format!("{what}: sockets"), "", screens.clamp(10, SCREENS_MAX) as f64);
            self.put(format!("{what}: deliveries"), "per second", turn.per_second);
            self.put(format!("{what}: age p99"), "ms", turn.age_p99_ms);
            self.put(format!("{what}: cut by the server"), "", turn.cut as f64);
        }
        let idle = self.idle(who, self.options.idle, false)?;
        self.put(format!("{name}, idle, ten shared topics"), "bytes per connection", idle);
        if who == Who::Ours {
            let idle = self.idle(who, self.options.idle.min(DISTINCT), true)?;
            self.put(format!("{name}, idle, ten topics of its own"), "bytes per connection", idle);
        }
        Ok(())
    }

    fn put(&mut self, name: String, unit: &'static str, value: f64) {
        (self.say)(&format!("{name}: {value:.0} {unit}"));
        self.figures.entry(name).or_insert((unit, Vec::new())).1.push(value);
    }

    fn server(&self, who: Who, beat: Beat) -> Outcome<Server> {
        match (who, &self.options.nats) {
            (Who::Nats, Some(program)) => Server::nats(program, beat),
            _ => Server::ours(beat),
        }
    }

    /// So many screens look at the same topics; one in `slow_of` reads slowly. `spread`: no two topics beat at the same
    /// time.
    fn turn(
        &self,
        who: Who,
        (screens, topics): (usize, usize),
        slow_of: usize,
        spread: bool,
    ) -> Outcome<Turn> {
        let server = self.server(who, Beat { topics, hz: HZ, bytes: self.bytes, spread })?;
        let tally = Arc::new(Tally::new());
        let screen = |n: usize| Screen {
            address: server.address,
            topics: (0..topics).map(|topic| name_of(who, topic)).collect(),
            slow: slow_of > 0 && n.is_multiple_of(slow_of),
            nats: who == Who::Nats,
        };
        let seconds = Duration::from_secs(self.options.seconds);
        self.runtime.block_on(async {
            let _looking = open(&tally, (0..screens).map(screen)).await?;
            sleep(Duration::from_secs(1)).await; // the first frames of all are over
            let (cpu, bytes, ended) = (server.cpu_seconds(), load(&tally.bytes), load(&tally.ended));
            let began = Instant::now();
            tally.counting.store(true, Ordering::Relaxed);
            sleep(seconds).await;
            tally.counting.store(false, Ordering::Relaxed);
            let (took_s, cpu_s) = (began.elapsed().as_secs_f64(), server.cpu_seconds() - cpu);
            let deliveries = load(&tally.deliveries) as f64;
            Ok(Turn {
                per_cpu_second: deliveries / cpu_s.max(1e-9),
                per_second: deliveries / took_s,
                age_p99_ms: tally.age_ms(0.99),
                bytes: (load(&tally.bytes) - bytes) as f64 / deliveries.max(1.0),
                cut: load(&tally.ended) - ended,
            })
        })
    }

    /// Resident bytes per connection that looks at topics without news.
    fn idle(&self, who: Who, count: usize, distinct: bool) -> Outcome<f64> {
        let server = self.server(who, Beat { topics: TOPICS, hz: 0, bytes: self.bytes, spread: false })?;
        let tally = Arc::new(Tally::new());
        let screen = |n: usize| Screen {
            address: server.address,
            topics: (0..TOPICS).map(|t| name_of(who, if distinct { n * TOPICS + t } else { t })).collect(),
            slow: false,
            nats: who == Who::Nats,
        };
        self.runtime.block_on(async {
            let _first = open(&tally, (0..16).map(screen)).await?; // what the first of all makes is nobody's
            sleep(Duration::from_secs(2)).await;
            let before = server.resident()?;
            let _looking = open(&tally, (16..16 + count).map(screen)).await?;
            sleep(Duration::from_secs(3)).await;
            Ok(server.resident()?.saturating_sub(before) as f64 / count as f64)
        })
    }

    fn report(mut self) -> Report {
        let mut median_of = |name: &str| self.figures.get_mut(name).map(|(_, values)| median(values));
        let mut goals = Vec::new();
        if let Some(bytes) = median_of("gateway, idle, ten shared topics") {
            goals.push(Goal::at_most(
                "bytes of an idle connection with ten shared topics",
                bytes,
                IDLE_BYTES,
            ));
        }
        let mut ratio = |ours: &str, theirs: &str| Some(median_of(ours)? / median_of(theirs)?.max(1e-9));
        for when in ["", ", each at its own time"] {
            let one = |who: Who| format!("{}, one socket, ten topics{when}", who.name());
            if let Some(times) = ratio(&one(Who::Ours), &one(Who::Nats)) {
                goals.push(Goal::at_least(
                    format!("deliveries per CPU-second at one socket over nats-server's{when}"),
                    times,
                    DELIVERIES_TIMES,
                ));
            }
        }
        for times in TIMES {
            let age = |who: Who| format!("{}, {times}x capacity: age p99", who.name());
            if let Some(over) = ratio(&age(Who::Nats), &age(Who::Ours)).filter(|_| times > 1) {
                goals.push(Goal::at_least(
                    format!("nats-server's age p99 over ours at {times}x"),
                    over,
                    AGE_TIMES,
                ));
            }
        }
        let settings = json!({
            "seconds": self.options.seconds, "idle": self.options.idle, "runs": self.options.runs, "hz": HZ,
            "fragment_bytes": self.bytes, "slow_clients": format!("1 in {SLOW_OF}"), "topics": "shared unless said",
        });
        let results = self.figures.iter_mut().map(|(name, (unit, values))| Measured {
            name: name.clone(),
            value: median(values),
            unit,
        });
        Report { bench: "gateway", machine: Machine::here(), settings, results: results.collect(), goals }
    }
}

fn load(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// What a topic is called there.
fn name_of(who: Who, topic: usize) -> String {
    match who {
        Who::Ours => format!("s{topic}"),
        Who::Nats => format!("t{topic}"),
    }
}

/// Opens all of them, a few at a time: the server's backlog is not what is measured. They look until what comes back
/// is dropped.
async fn open(tally: &Arc<Tally>, screens: impl Iterator<Item = Screen>) -> Outcome<JoinSet<()>> {
    const AT_ONCE: u64 = 64;
    let mut looking = JoinSet::new();
    let (base, mut asked) = (load(&tally.begun), 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut screens = screens.peekable();
    loop {
        let begun = load(&tally.begun) - base;
        if screens.peek().is_none() && begun == asked {
            return Ok(looking);
        }
        if Instant::now() > deadline {
            return Err(format!("{begun} of {asked} screens were opened within a minute").into());
        }
        while asked < begun + AT_ONCE
            && let Some(screen) = screens.next()
        {
            asked += 1;
            let tally = Arc::clone(tally);
            looking.spawn(async move {
                if let Err(error) = screen.look(&tally).await {
                    eprintln!("a screen went dark: {error}");
                }
            });
        }
        sleep(Duration::from_millis(1)).await;
    }
}
