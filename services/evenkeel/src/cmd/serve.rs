//! `evenkeel run` without a file: one machine, durable, for real use.

use crate::cli::{ConfigArgs, DataDir};
use crate::config::ServerConfig;
use crate::failure::Failure;
use crate::server::Server;
use evenkeel_chassis::exit::Exit;
use evenkeel_telemetry::LogTo;
use std::io::Write as _;

/// Serves until SIGTERM or SIGINT.
pub fn execute(data: &DataDir, config: &ConfigArgs) -> Result<Exit, Failure> {
    let again = config.clone();
    let load = move || -> Result<_, Failure> { Ok(ServerConfig::of_run(&again.overrides()?)?.ingest) };
    let reread = Box::new(move || load().map_err(|failure| failure.to_string()));
    let config = ServerConfig::of_run(&config.overrides()?)?;
    let server = Server::start(&config, &data.data_dir, LogTo::Stderr, Some(reread))?;
    // Whoever started this may have stopped reading: no reason to end.
    let _ = write!(
        std::io::stdout(),
        "ingest   http://{}/v1/events\nmetrics  http://{}/metrics\ndata     {}   (evenkeel query windows --data-dir {2})\n",
        server.ingest,
        server.admin,
        data.data_dir.display()
    );
    server.serve()
}
