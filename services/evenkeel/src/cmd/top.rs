//! `evenkeel top`: what all services do at this moment.

use crate::cli::ConfigArgs;
use crate::config::ServerConfig;
use crate::failure::Failure;
use crate::top::{self, Reading, Scrape, View};
use evenkeel_chassis::exit::Exit;
use evenkeel_chassis::units::PositiveMs;
use evenkeel_plan::{Fleet, plan};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};
use ureq::Agent;

/// Largest answer read, bytes.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// Longest wait for one.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most services: each is asked by a thread of its own.
const SERVICES_MAX: usize = 64;
/// How often the keyboard is looked at.
const KEYS_EVERY: Duration = Duration::from_millis(100);

/// Show what services do, live: rates, lag, freshness, memory, bounds, drops
///
/// On a terminal a live view (q ends); elsewhere a table per interval. Numbers are made of two readings of /metrics.
/// Exit 3 with --once if no service answered.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Where services serve /metrics, HOST:PORT; without any, where `evenkeel run` does
    #[arg(value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// Time between two readings
    #[arg(long, value_name = "TIME", default_value = "1s")]
    interval: PositiveMs,
    /// One table, after one interval
    #[arg(long)]
    once: bool,
    /// Print a JSON object per interval
    #[arg(long)]
    json: bool,
    /// Streams of the fleet: memory is then compared with the plan
    #[arg(long, value_name = "N")]
    streams: Option<u64>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub fn execute(args: &Args) -> Result<Exit, Failure> {
    let config = ServerConfig::of_run(&args.config.overrides()?)?;
    let settings = config.services.coalescer.settings().map_err(|e| Failure::new(Exit::Usage, e))?;
    let class = settings.classes.last().cloned().unwrap_or_default();
    let planned = args
        .streams
        .map(|streams| plan(&Fleet { streams, ..Fleet::default() }, &settings, &class).steady_bytes);
    let mut addresses = args.addresses.clone();
    if addresses.is_empty() {
        addresses.push(config.process.admin.listen.to_string());
    }
    if addresses.len() > SERVICES_MAX {
        let message = format!("{} addresses; at most {SERVICES_MAX} are asked at once", addresses.len());
        return Err(Failure::new(Exit::Usage, message));
    }
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let live = std::io::stdout().is_terminal() && !dumb && !args.once && !args.json;
    let mut show = Show { terminal: live.then(ratatui::init), json: args.json };
    let ended = watch(args, &addresses, planned, &mut show);
    show.end();
    let any = ended.map_err(|error| Failure::new(Exit::Internal, format!("the view: {error}")))?;
    match args.once && !any {
        true => Err(Failure::new(
            Exit::Unreachable,
            format!("no service answered at {}; name where their /metrics are", addresses.join(", ")),
        )),
        false => Ok(Exit::Ok),
    }
}

/// Reads and shows until somebody ends it; whether any service answered last.
fn watch(args: &Args, addresses: &[String], planned: Option<u64>, show: &mut Show) -> std::io::Result<bool> {
    let agent = agent();
    let (mut last, mut read_at) = (ask_all(&agent, addresses), Instant::now());
    loop {
        if show.wait(args.interval.duration().saturating_sub(read_at.elapsed()))? {
            return Ok(true);
        }
        let (now, seconds) = (ask_all(&agent, addresses), read_at.elapsed().as_secs_f64());
        read_at = Instant::now();
        let readings = addresses.iter().zip(&last).zip(&now).map(|((address, before), now)| Reading {
            address: address.clone(),
            before: before.as_ref().ok().cloned(),
            now: now.clone(),
        });
        let view = View::of(&readings.collect::<Vec<_>>(), seconds, planned);
        let over = show.show(&view)?;
        if over || args.once {
            return Ok(view.any());
        }
        last = now;
    }
}

fn agent() -> Agent {
    let config = Agent::config_builder().timeout_global(Some(PATIENCE)).max_redirects(0).build();
    config.new_agent()
}

/// All at once, so that one which does not answer holds up none.
fn ask_all(agent: &Agent, addresses: &[String]) -> Vec<Result<Scrape, String>> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = addresses.iter().map(|address| scope.spawn(|| ask(agent, address))).collect();
        asked.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a defect".into()))).collect()
    })
}

fn ask(agent: &Agent, address: &str) -> Result<Scrape, String> {
    let host = address.strip_prefix("http://").unwrap_or(address);
    let host = host.strip_suffix("/metrics").unwrap_or(host);
    let mut answer = agent.get(format!("http://{host}/metrics")).call().map_err(|error| error.to_string())?;
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    body.read_to_string().map(|text| Scrape::parse(&text)).map_err(|error| error.to_string())
}

/// The terminal, or standard output.
struct Show {
    terminal: Option<DefaultTerminal>,
    json: bool,
}

impl Show {
    /// Shows a view; whether nobody looks any more.
    fn show(&mut self, view: &View) -> std::io::Result<bool> {
        if let Some(terminal) = &mut self.terminal {
            terminal.draw(|frame| top::draw(view, frame, "q or Ctrl-C ends"))?;
            return Ok(false);
        }
        let text = match self.json {
            true => format!("{}\n", serde_json::json!(view)),
            false => top::table(view),
        };
        let mut out = std::io::stdout();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Waits; whether somebody pressed a key that ends it.
    fn wait(&self, time: Duration) -> std::io::Result<bool> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.terminal.is_none() {
                std::thread::sleep(left);
            } else if event::poll(left.min(KEYS_EVERY))?
                && let Event::Key(key) = event::read()?
            {
                let interrupt =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if interrupt || key.code == KeyCode::Char('q') {
                    return Ok(true);
                }
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    fn end(&mut self) {
        if self.terminal.take().is_some() {
            ratatui::restore();
        }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        self.end();
    }
}
