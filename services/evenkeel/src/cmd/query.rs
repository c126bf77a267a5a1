//! `evenkeel query windows` and `query scores`: what is stored, as it is.

use crate::cli::{ConfigArgs, DataDir};
use crate::config::cql_config;
use crate::failure::Failure;
use crate::show::{Format, Printer, ScorePrinter};
use clap::Subcommand;
use evenkeel_chassis::exit::Exit;
use evenkeel_chassis::units::PositiveMs;
use evenkeel_codec::json::parse_timestamp;
use evenkeel_cql::{CqlReader, WindowQuery};
use evenkeel_local::{RowQuery, StoreReader};
use evenkeel_model::StoredScore;
use std::io::{BufWriter, ErrorKind, Result as Written};
use std::ops::ControlFlow;

/// Ask what is stored
#[derive(Debug, Subcommand)]
pub enum What {
    /// Window rows of the data directory, or of a CQL store
    ///
    /// From a data directory rows come in order of size, stream and time, also beside a process that works
    /// with it. From a CQL store those of one stream and size come in order of time. --latest gives the newest
    /// window of each stream and size, whatever --from and --to say.
    ///
    /// table: one line per window and field, times as dates (UTC). csv: one line per window and field, so that
    /// the columns are the same for any data; times in ms since the epoch. json: one object per line, named as
    /// the row in docs/semantics.md; times in ms since the epoch.
    Windows(Windows),
    /// Scores of a data directory, or of a CQL store
    ///
    /// From a data directory scores come in order of size, stream, time and model; from a CQL store those of one
    /// stream and size come in order of time. One line per score; of a model that scores events the event's time
    /// stands beside the window's. table: times as dates (UTC); csv and json: times in ms since the epoch.
    Scores(Scores),
}

/// Which windows.
#[derive(Debug, clap::Args)]
pub struct Windows {
    #[command(flatten)]
    of: Of,
    /// Only the newest window of each stream and size
    #[arg(long)]
    latest: bool,
}

/// Which scores.
#[derive(Debug, clap::Args)]
pub struct Scores {
    #[command(flatten)]
    of: Of,
    /// Only of this model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
}

/// Where, of which streams and times, and how it is shown.
#[derive(Debug, clap::Args)]
struct Of {
    #[command(flatten)]
    data: DataDir,
    /// Ask this CQL store (ScyllaDB, Cassandra); its other settings are section [cql] of the configuration
    #[arg(long, value_name = "HOST:PORT")]
    cql: Option<String>,
    /// Only this stream
    #[arg(long, value_name = "ID")]
    stream: Option<String>,
    /// Only windows that start at this time or later (ms since the epoch, or RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<i64>,
    /// Only windows that start before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<i64>,
    /// Only windows of this size, e.g. 5s
    #[arg(long, value_name = "SIZE")]
    size: Option<PositiveMs>,
    /// How rows are shown
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Of {
    /// What is asked of a data directory.
    fn of_directory(&self, latest: bool) -> RowQuery {
        RowQuery {
            stream: self.stream.clone(),
            from: self.from.filter(|_| !latest),
            to: self.to.filter(|_| !latest),
            size_ms: self.size.map(|size| size.ms() as i64),
            latest,
        }
    }

    /// What is asked of a CQL store.
    fn of_cql(&self, latest: bool) -> WindowQuery {
        WindowQuery {
            stream_id: self.stream.clone(),
            size_ms: self.size.map(|size| size.ms() as i64),
            from_ms: self.from,
            to_ms: self.to,
            latest,
        }
    }

    fn directory(&self) -> Result<StoreReader, Failure> {
        let dir = &self.data.data_dir;
        if !dir.join("store.db").exists() {
            let message = format!(
                "{}: holds no data; load some with `evenkeel run --input FILE --once`, or name another --data-dir",
                dir.display()
            );
            return Err(Failure::new(Exit::Refused, message));
        }
        Ok(StoreReader::open(dir)?)
    }

    fn cql(&self, address: &str) -> Result<CqlReader, Failure> {
        let config = cql_config(&self.config.overrides()?, address)?;
        Ok(CqlReader::open_as_found(&config)?)
    }
}

/// Shows windows.
pub fn windows(args: &Windows) -> Result<Exit, Failure> {
    let (of, latest) = (&args.of, args.latest);
    let mut out = BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
    let mut printer = Printer::new(of.format, &mut out);
    let printed = match &of.cql {
        None => {
            let store = of.directory()?;
            let mut pages = store.rows(of.of_directory(latest))?;
            printed_pages(|| Ok(pages.next_page()?), |row| printer.row(row))?
        }
        Some(address) => {
            let mut printed = Ok(());
            of.cql(address)?
                .windows(&of.of_cql(latest), &mut |row| go_on(printer.row(&row), &mut printed))?;
            printed
        }
    };
    written(printed.and_then(|()| printer.end()))
}

/// Shows scores.
pub fn scores(args: &Scores) -> Result<Exit, Failure> {
    let (of, model) = (&args.of, args.model.as_deref());
    let mut out = BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
    let mut printer = ScorePrinter::new(of.format, &mut out);
    let mut print = |stored: &StoredScore| match model.is_none_or(|model| stored.score.model == model) {
        true => printer.score(stored),
        false => Ok(()),
    };
    let printed = match &of.cql {
        None => {
            let store = of.directory()?;
            let mut pages = store.scores(of.of_directory(false))?;
            printed_pages(|| Ok(pages.next_page()?), &mut print)?
        }
        Some(address) => {
            let mut printed = Ok(());
            of.cql(address)?.scores(&of.of_cql(false), &mut |score| go_on(print(&score), &mut printed))?;
            printed
        }
    };
    written(printed.and_then(|()| printer.end()))
}

/// Prints page after page until one is empty.
fn printed_pages<T>(
    mut next: impl FnMut() -> Result<Vec<T>, Failure>,
    mut print: impl FnMut(&T) -> Written<()>,
) -> Result<Written<()>, Failure> {
    loop {
        let page = next()?;
        if page.is_empty() {
            return Ok(Ok(()));
        }
        if let Err(error) = page.iter().try_for_each(&mut print) {
            return Ok(Err(error));
        }
    }
}

/// Keeps the error that ends the printing.
fn go_on(printed: Written<()>, kept: &mut Written<()>) -> ControlFlow<()> {
    match printed {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            *kept = Err(error);
            ControlFlow::Break(())
        }
    }
}

fn written(printed: Written<()>) -> Result<Exit, Failure> {
    match printed {
        // Whoever reads our output may leave when it has seen enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Storage, format!("the output cannot be written: {error}")))
        }
        _ => Ok(Exit::Ok),
    }
}

fn time(text: &str) -> Result<i64, String> {
    parse_timestamp(text).map_err(|e| e.to_string())
}
