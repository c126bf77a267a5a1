//! `evenkeel run` without a file: one machine, durable, for real use.

use crate::cli::{ConfigArgs, DataDir};
use crate::config::ServerConfig;
use crate::failure::Failure;
use crate::server::Server;
use evenkeel_chassis::exit::Exit;
use evenkeel_telemetry::LogTo;

/// Serves until SIGTERM or SIGINT.
pub fn execute(data: &DataDir, config: &ConfigArgs) -> Result<Exit, Failure> {
    let config = ServerConfig::of_run(&config.overrides()?)?;
    let server = Server::start(&config, &data.data_dir, LogTo::Stderr)?;
    println!("ingest   http://{}/v1/events", server.ingest);
    println!("metrics  http://{}/metrics", server.admin);
    println!("data     {}   (evenkeel query windows --data-dir {0})", data.data_dir.display());
    server.serve()
}
