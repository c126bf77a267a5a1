//! `evenkeel demo`: the whole pipeline with a simulated fleet, in a minute, on a laptop.

use crate::cli::ConfigArgs;
use crate::config::ServerConfig;
use crate::demo::{self, DemoOptions, LOG_LINES, Screen, Stage, Verdict};
use crate::failure::Failure;
use crate::human::count;
use crate::server::Server;
use evenkeel_chassis::exit::Exit;
use evenkeel_chassis::units::PositiveMs;
use evenkeel_plan::{Fleet, plan};
use evenkeel_telemetry::{LogTail, LogTo};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

/// Everything in one process with a simulated fleet, and a live view
///
/// Bowls send 10 events a second, wearables 40. Every twelve seconds a third of them loses its connection and
/// comes back at once; every five seconds one sends its past again; one clock is an hour ahead. The water of a few
/// bowls warms and cools, which a rule sees: alerts are raised and cleared. At the end the readings that were acknowledged are counted against the rows that are stored.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Time it runs, e.g. 30s; without it, until q or Ctrl-C
    #[arg(long = "for", value_name = "TIME")]
    runs_for: Option<PositiveMs>,
    /// Smart bowls of the fleet
    #[arg(long, value_name = "N", default_value_t = 60)]
    bowls: u32,
    /// Wearables of the fleet
    #[arg(long, value_name = "N", default_value_t = 40)]
    wearables: u32,
    /// Seed of everything random in the fleet
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Keep the data here; without it, in a directory that goes at the end
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// One line a second instead of the live view (the default when the output is not a terminal)
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub fn execute(args: &Args) -> Result<Exit, Failure> {
    let config = ServerConfig::of_demo(&args.config.overrides()?)?;
    let storage =
        |e: std::io::Error| Failure::new(Exit::Storage, format!("no place for the demo's data: {e}"));
    let scratch = match &args.data_dir {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(storage)?),
    };
    let dir = args.data_dir.clone().or_else(|| Some(scratch.as_ref()?.path().to_owned())).unwrap_or_default();
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let live = std::io::stdout().is_terminal() && !dumb && !args.plain;
    let tail = live.then(|| LogTail::new(LOG_LINES));
    let logs = tail.clone().map_or(LogTo::Stderr, LogTo::Tail);
    let server = Server::start(&config, &dir, logs, None)?;
    let options = DemoOptions {
        bowls: args.bowls,
        wearables: args.wearables,
        runs_for: args.runs_for.map(PositiveMs::duration),
        seed: args.seed,
    };
    let settings = config.services.coalescer.settings().map_err(|e| Failure::new(Exit::Usage, e))?;
    let class = settings.classes.last().cloned().unwrap_or_default();
    let streams = u64::from(args.bowls + args.wearables);
    let planned = plan(&Fleet { streams, ..Fleet::default() }, &settings, &class);
    let stage = Stage {
        local: &server.local,
        machine: &server.machine,
        ingest: server.ingest,
        gateway: server.gateway,
        admin: server.admin,
        log: tail,
        drain: server.drain.clone(),
        planned_bytes: planned.steady_bytes,
        base_size_ms: class.sizes_ms.first().copied().unwrap_or(5_000),
    };
    let mut view = View::new(live);
    let outcome = demo::run(&stage, &options, &server.runtime, &mut |screen| view.show(screen));
    view.end();
    let stopped = server.stop();
    let verdict = outcome.map_err(|e| Failure::new(Exit::Internal, e))?;
    stopped?;
    conclude(&verdict)
}

fn conclude(verdict: &Verdict) -> Result<Exit, Failure> {
    let counts = format!(
        "\n{} readings acknowledged, {} in stored 5 s windows; {} of the clock an hour ahead are in dlq",
        count(verdict.acknowledged),
        count(verdict.stored),
        count(verdict.wrong_clock),
    );
    // Whoever read our output may have left: the exit code says it too.
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{counts}");
    if verdict.differing.is_empty() {
        let _ = writeln!(out, "exact: nothing lost, nothing double");
        return Ok(Exit::Ok);
    }
    let (id, acknowledged, stored) = &verdict.differing[0];
    Err(Failure::new(
        Exit::Internal,
        format!(
            "{} streams differ, e.g. {id}: {acknowledged} acknowledged, {stored} stored; please report it",
            verdict.differing.len()
        ),
    ))
}

/// Prints a line; whether nobody reads any more.
fn tell(line: &str) -> std::io::Result<bool> {
    match writeln!(std::io::stdout(), "{line}") {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(error),
    }
}

/// The live view, or a line a second.
struct View {
    terminal: Option<ratatui::DefaultTerminal>,
    told_s: u64,
    told_where: bool,
}

impl View {
    fn new(live: bool) -> Self {
        Self { terminal: live.then(ratatui::init), told_s: 0, told_where: false }
    }

    /// Shows a screen; whether somebody wants to end.
    fn show(&mut self, screen: &Screen) -> std::io::Result<bool> {
        let Some(terminal) = &mut self.terminal else {
            if !std::mem::replace(&mut self.told_where, true) && tell(&screen.addresses)? {
                return Ok(true);
            }
            if screen.elapsed.as_secs() > self.told_s {
                self.told_s = screen.elapsed.as_secs();
                return tell(&screen.line());
            }
            return Ok(false);
        };
        terminal.draw(|frame| screen.draw(frame))?;
        while event::poll(Duration::ZERO)? {
            if let Event::Key(key) = event::read()? {
                let interrupt =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if interrupt || key.code == KeyCode::Char('q') {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn end(&mut self) {
        if self.terminal.take().is_some() {
            ratatui::restore();
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.end();
    }
}
