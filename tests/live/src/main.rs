//! Starts real parts, then a command with their addresses in its environment (`EVENKEEL_KAFKA`,
//! `EVENKEEL_CQL`), and ends them with it: `evenkeel-parts kafka cassandra -- COMMAND …`. For benches and
//! for trying things by hand.

use anyhow::{Context as _, bail};
use evenkeel_live::parts::cassandra::Cassandra;
use evenkeel_live::parts::kafka::KafkaPart;
use std::process::{Command, ExitCode};

fn main() -> anyhow::Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(cut) = args.iter().position(|arg| arg == "--").filter(|cut| *cut + 1 < args.len()) else {
        bail!("usage: evenkeel-parts [kafka] [cassandra] -- COMMAND [ARGUMENT]…");
    };
    let mut command = Command::new(&args[cut + 1]);
    command.args(&args[cut + 2..]);
    let (mut kafka, mut cassandra) = (None, None);
    for part in &args[..cut] {
        match part.as_str() {
            "kafka" => {
                let part = kafka.insert(KafkaPart::find()?);
                eprintln!("kafka at {} ({})", part.address(), part.how());
                command.env("EVENKEEL_KAFKA", part.address());
            }
            "cassandra" => {
                let part = cassandra.insert(Cassandra::find()?);
                eprintln!("cassandra at {} ({})", part.address(), part.how());
                command.env("EVENKEEL_CQL", part.address());
            }
            other => bail!("no part named {other}: kafka, cassandra"),
        }
    }
    let status = command.status().with_context(|| format!("starting {}", args[cut + 1]))?;
    drop((kafka, cassandra)); // not before the command has ended
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
