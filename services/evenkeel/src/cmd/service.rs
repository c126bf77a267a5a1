//! `evenkeel ingest`, `coalescer`, `sink`, `gateway`, `scorer`: one service of a cluster, over Kafka and the CQL store.

use crate::cli::ConfigArgs;
use crate::cluster::Process;
use crate::config::ClusterConfig;
use crate::failure::Failure;
use evenkeel_chassis::exit::Exit;

/// Of the runtime of a service whose work has threads of its own: the admin endpoints, the store's driver.
const THREADS: usize = 2;

/// Arguments of a service.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Which service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// HTTP in.
    Ingest,
    /// Events to windows.
    Coalescer,
    /// Rows to the store.
    Sink,
    /// Live frames to browsers.
    Gateway,
    /// Windows to scores and alerts.
    Scorer,
}

/// Runs a service until SIGTERM or SIGINT.
pub fn execute(service: Service, args: &Args) -> Result<Exit, Failure> {
    let config = ClusterConfig::load(&args.config.overrides()?)?;
    match service {
        Service::Ingest => {
            let again = args.config.clone();
            let load = move || -> Result<_, Failure> { Ok(ClusterConfig::load(&again.overrides()?)?.ingest) };
            let reread = Box::new(move || load().map_err(|failure| failure.to_string()));
            Process::start("ingest", &config, config.ingest.threads.get().into())?.ingest(&config, reread)
        }
        Service::Coalescer => Process::start("coalescer", &config, THREADS)?.coalescer(&config),
        Service::Sink => Process::start("sink", &config, THREADS)?.sink(&config),
        Service::Gateway => {
            Process::start("gateway", &config, config.gateway.threads.get().into())?.gateway(&config)
        }
        Service::Scorer => Process::start("scorer", &config, THREADS)?.scorer(&config),
    }
}
