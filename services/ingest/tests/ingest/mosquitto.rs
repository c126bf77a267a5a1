//! Mosquitto's broker and publisher as processes: what devices and brokers in the field are.

use crate::client::DEADLINE;
use crate::mqtt::{TOPIC, event, serve, stored};
use crate::server::until;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

/// Finds a program of Mosquitto.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = dirs.map(|dir| dir.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: apt-get install mosquitto mosquitto-clients"))
}

/// A broker on a port of its own, which forgets nothing when it is killed.
pub struct Broker {
    pub port: u16,
    dir: tempfile::TempDir,
    child: Child,
}

impl Broker {
    /// Starts one; `more` are further lines of its configuration.
    pub async fn start(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let root = dir.path().display();
        let anonymous = !more.contains("password_file");
        let lines = format!(
            "listener {port} localhost\n{more}\nallow_anonymous {anonymous}\nuser root\nlog_dest file {root}/log\n\
             persistence true\npersistence_location {root}/\nmax_queued_messages 0\nmax_inflight_messages 0\n"
        );
        fs::write(dir.path().join("conf"), lines).unwrap();
        let child = Self::spawn(dir.path());
        let mut broker = Self { port, dir, child };
        broker.answers().await;
        broker
    }

    fn spawn(dir: &Path) -> Child {
        let mut command = Command::new(program("mosquitto"));
        command.arg("-c").arg(dir.join("conf")).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    async fn answers(&mut self) {
        let (port, child) = (self.port, &mut self.child);
        until("the broker listens", || {
            assert!(child.try_wait().unwrap().is_none(), "mosquitto ended");
            std::net::TcpStream::connect(("localhost", port)).is_ok()
        })
        .await;
    }

    /// Writes a file of users with this one.
    pub fn password(file: &str, user: &str, password: &str) {
        let made =
            Command::new(program("mosquitto_passwd")).args(["-b", "-c", file, user, password]).status();
        assert!(made.unwrap().success(), "mosquitto_passwd");
    }

    /// Writes down what it holds.
    pub async fn save(&self) {
        let file = self.dir.path().join("mosquitto.db");
        let written =
            || fs::metadata(&file).and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let before = written();
        let kill = Command::new("kill").args(["-USR1", &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        until("the broker has saved", || written() > before).await;
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the killed one again.
    pub async fn again(&mut self) {
        self.child = Self::spawn(self.dir.path());
        self.answers().await;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `mosquitto_pub` with these arguments and a message per line; it ends when every message is acknowledged.
pub async fn publish(port: u16, args: &[&str], messages: Vec<Vec<u8>>) {
    let mut command = Command::new(program("mosquitto_pub"));
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-l"]).args(args).stdin(Stdio::piped());
    let publishing = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut lines = child.stdin.take().unwrap();
        for message in messages {
            lines.write_all(&[&message[..], b"\n"].concat()).unwrap();
        }
        drop(lines);
        child.wait().unwrap()
    });
    let status = tokio::time::timeout(DEADLINE, publishing).await.expect("mosquitto_pub ends").unwrap();
    assert!(status.success(), "mosquitto_pub {args:?}: {status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_pub_is_a_device() {
    let (server, address) = serve(&[]).await;
    let mut from = 0;
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1"] {
            let messages = (from..from + 50).map(event).collect();
            publish(address.port(), &["-V", version, "-q", qos, "-t", TOPIC, "-i", "device"], messages).await;
            from += 50;
            // At QoS 0 nobody waits for the log.
            until("all are stored", || stored(&server).len() as u64 == from).await;
        }
    }
    assert_eq!(stored(&server), (0..from).collect::<BTreeSet<_>>());
    server.settles().await;
    server.stop().await;
}
