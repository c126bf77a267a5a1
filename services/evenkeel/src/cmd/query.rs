//! `evenkeel query windows`: stored rows, as they are.

use crate::cli::{ConfigArgs, DataDir};
use crate::config::cql_config;
use crate::failure::Failure;
use crate::show::{Format, Printer};
use clap::Subcommand;
use evenkeel_chassis::exit::Exit;
use evenkeel_chassis::units::PositiveMs;
use evenkeel_codec::json::parse_timestamp;
use evenkeel_cql::{CqlReader, WindowQuery};
use evenkeel_local::{RowQuery, StoreReader};
use std::io::{BufWriter, ErrorKind, Result as Written};
use std::ops::ControlFlow;
use std::path::Path;

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
}

/// Which windows.
#[derive(Debug, clap::Args)]
pub struct Windows {
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
    /// Only the newest window of each stream and size
    #[arg(long)]
    latest: bool,
    /// How rows are shown
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

fn time(text: &str) -> Result<i64, String> {
    parse_timestamp(text).map_err(|e| e.to_string())
}

/// Runs the command.
pub fn windows(args: &Windows) -> Result<Exit, Failure> {
    let mut out = BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
    let mut printer = Printer::new(args.format, &mut out);
    let printed = match &args.cql {
        None => from_directory(args, &args.data.data_dir, &mut printer)?,
        Some(address) => from_cql(args, address, &mut printer)?,
    };
    match printed.and_then(|()| printer.end()) {
        // Whoever reads our output may leave when it has seen enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Storage, format!("the output cannot be written: {error}")))
        }
        _ => Ok(Exit::Ok),
    }
}

fn from_directory(args: &Windows, dir: &Path, printer: &mut Printer<'_>) -> Result<Written<()>, Failure> {
    if !dir.join("store.db").exists() {
        let message = format!(
            "{}: holds no data; load some with `evenkeel run --input FILE --once`, or name another --data-dir",
            dir.display()
        );
        return Err(Failure::new(Exit::Refused, message));
    }
    let query = RowQuery {
        stream: args.stream.clone(),
        from: args.from.filter(|_| !args.latest),
        to: args.to.filter(|_| !args.latest),
        size_ms: args.size.map(|size| size.ms() as i64),
        latest: args.latest,
    };
    let store = StoreReader::open(dir)?;
    let mut pages = store.rows(query)?;
    loop {
        let page = pages.next_page()?;
        if page.is_empty() {
            return Ok(Ok(()));
        }
        for row in &page {
            if let Err(error) = printer.row(row) {
                return Ok(Err(error));
            }
        }
    }
}

fn from_cql(args: &Windows, address: &str, printer: &mut Printer<'_>) -> Result<Written<()>, Failure> {
    let config = cql_config(&args.config.overrides()?, address)?;
    let query = WindowQuery {
        stream_id: args.stream.clone(),
        size_ms: args.size.map(|size| size.ms() as i64),
        from_ms: args.from,
        to_ms: args.to,
        latest: args.latest,
    };
    let mut printed = Ok(());
    CqlReader::open_as_found(&config)?.windows(&query, &mut |row| match printer.row(&row) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            printed = Err(error);
            ControlFlow::Break(())
        }
    })?;
    Ok(printed)
}
