//! One service in a process of its own, which a bench may look at and kill.

use super::super::cpu;
use super::Outcome;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running service; killed when dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a service of this very program.
    pub fn start(service: &str, sets: &[String]) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(service).stdin(Stdio::null()).stdout(Stdio::null());
        for set in sets {
            command.args(["--set", set]);
        }
        Ok(Self { child: command.spawn()? })
    }

    /// Resident bytes now.
    pub fn resident(&mut self) -> Outcome<u64> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("the service ended: {status}").into());
        }
        Ok(cpu::resident(&self.child.id().to_string()).ok_or("no VmRSS")?)
    }

    /// kill -9.
    pub fn kill(mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for its end.
    pub fn terminate(mut self) -> Outcome<()> {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        if !sent.success() {
            return Err("SIGTERM could not be sent".into());
        }
        let until = Instant::now() + Duration::from_secs(60);
        while self.child.try_wait()?.is_none() {
            if Instant::now() > until {
                return Err("the service did not end within 60 s of SIGTERM".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
