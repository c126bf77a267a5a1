//! `evenkeel query windows`: stored rows, as they are.

use crate::cli::DataDir;
use crate::failure::Failure;
use crate::show::{Format, Printer};
use clap::Subcommand;
use evenkeel_chassis::exit::Exit;
use evenkeel_chassis::units::PositiveMs;
use evenkeel_codec::json::parse_timestamp;
use evenkeel_local::{RowQuery, StoreReader};
use std::io::{BufWriter, ErrorKind};

/// Ask what is stored
#[derive(Debug, Subcommand)]
pub enum What {
    /// Window rows, in order of size, stream and time
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
}

fn time(text: &str) -> Result<i64, String> {
    parse_timestamp(text).map_err(|e| e.to_string())
}

/// Runs the command.
pub fn windows(args: &Windows) -> Result<Exit, Failure> {
    let query = RowQuery {
        stream: args.stream.clone(),
        from: args.from,
        to: args.to,
        size_ms: args.size.map(|size| size.ms() as i64),
        latest: args.latest,
    };
    let dir = &args.data.data_dir;
    if !dir.join("store.db").exists() {
        let message = format!(
            "{}: holds no data; load some with `evenkeel run --input FILE --once`, or name another --data-dir",
            dir.display()
        );
        return Err(Failure::new(Exit::Refused, message));
    }
    let store = StoreReader::open(dir)?;
    let mut pages = store.rows(query)?;
    let mut out = BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
    let mut printer = Printer::new(args.format, &mut out);
    loop {
        let page = pages.next_page()?;
        if page.is_empty() {
            return written(printer.end());
        }
        for row in &page {
            if let Err(error) = printer.row(row) {
                return written(Err(error));
            }
        }
    }
}

/// Whoever reads our output may leave when it has seen enough.
fn written(result: std::io::Result<()>) -> Result<Exit, Failure> {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Storage, format!("the output cannot be written: {error}")))
        }
        _ => Ok(Exit::Ok),
    }
}
