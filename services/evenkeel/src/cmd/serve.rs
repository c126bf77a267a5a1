//! `evenkeel run` without a file: one machine, durable, for real use.

use crate::cli::{ConfigArgs, DataDir};
use crate::config::ServerConfig;
use crate::failure::Failure;
use crate::server::Server;
use evenkeel_chassis::exit::Exit;
use evenkeel_telemetry::LogTo;
use std::io::Write as _;
use std::path::Path;

/// Serves until SIGTERM or SIGINT.
pub fn execute(data: &DataDir, config: &ConfigArgs) -> Result<Exit, Failure> {
    let again = (config.clone(), data.data_dir.clone());
    let load = move || Ok(configured(&again.0, &again.1)?.ingest);
    let reread = Box::new(move || load().map_err(|failure: Failure| failure.to_string()));
    let config = configured(config, &data.data_dir)?;
    let server = Server::start(&config, &data.data_dir, LogTo::Stderr, Some(reread))?;
    // Whoever started this may have stopped reading: no reason to end.
    let _ = write!(
        std::io::stdout(),
        "ingest   http://{}/v1/events\nlive     http://{}/\nmetrics  http://{}/metrics\ndata     {}   (evenkeel query windows --data-dir {3})\n",
        server.ingest,
        server.gateway,
        server.admin,
        data.data_dir.display()
    );
    server.serve()
}

/// Recordings lie beside the log, unless they are to lie elsewhere.
fn configured(config: &ConfigArgs, data_dir: &Path) -> Result<ServerConfig, Failure> {
    let mut config = ServerConfig::of_run(&config.overrides()?)?;
    let dir = &mut config.ingest.recordings.dir;
    if dir.as_os_str().is_empty() {
        *dir = data_dir.join("recordings");
    }
    Ok(config)
}
