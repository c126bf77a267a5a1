//! A client that writes its bytes itself, so that it can also write the wrong ones.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub const JSON: &str = "application/json";
pub const NDJSON: &str = "application/x-ndjson";
pub const AVRO: &str = "application/vnd.evenkeel.batch+avro";
/// Longest wait for anything: a hang is a failure.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// One answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The value of a header, in lower case names.
    pub fn header(&self, name: &str) -> Option<&str> {
        let line =
            self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
        Some(line[name.len() + 1..].trim())
    }

    /// The problem's slug; panics if the answer is no problem.
    pub fn slug(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let value = self.json();
        assert_eq!(value["status"], self.status);
        value["type"].as_str().unwrap().strip_prefix("urn:evenkeel:problem:").unwrap().to_owned()
    }
}

/// What a connection can go over.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A kept connection.
pub struct Connection {
    stream: Box<dyn Io>,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    pub fn over(stream: impl Io + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new() }
    }

    /// Writes; a server that has closed already is not an error here, its answer may still be readable.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Writes all of it while reading one byte at a time, until the server ends the connection.
    pub async fn send_and_trickle(&mut self, bytes: &[u8]) {
        let (mut read, mut write) = tokio::io::split(&mut self.stream);
        let reading = async {
            let mut byte = [0; 1];
            while matches!(read.read(&mut byte).await, Ok(1)) {
                tokio::time::sleep(Duration::from_millis(1)).await; // the pace, not a wait for something
            }
        };
        let writing = async {
            let _ = write.write_all(bytes).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = reading => {}
            () = writing => {}
        }
    }

    pub async fn post(
        &mut self,
        path: &str,
        content_type: &str,
        headers: &str,
        body: &[u8],
    ) -> Option<Reply> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        self.send(&[head.as_bytes(), body].concat()).await;
        self.reply().await
    }

    /// The next answer; `None` if the connection ends without one.
    pub async fn reply(&mut self) -> Option<Reply> {
        self.reply_to("any").await
    }

    /// The same, to a request whose method may mean that there is no body (HEAD).
    pub async fn reply_to(&mut self, method: &str) -> Option<Reply> {
        let reading = self.read_reply(method == "HEAD");
        tokio::time::timeout(DEADLINE, reading).await.expect("no answer before the deadline")
    }

    async fn read_reply(&mut self, head_only: bool) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
        let mut reply = Reply { status: head[9..12].parse().unwrap(), head, body: Vec::new() };
        if !head_only && reply.header("transfer-encoding") == Some("chunked") {
            self.buffer.drain(..end + 4);
            reply.body = self.read_chunks().await?;
            return Some(reply);
        }
        let length = reply.header("content-length").filter(|_| !head_only);
        let length: usize = length.map_or(0, |text| text.parse().unwrap());
        while self.buffer.len() < end + 4 + length {
            self.more().await?;
        }
        reply.body = self.buffer[end + 4..end + 4 + length].to_vec();
        self.buffer.drain(..end + 4 + length);
        Some(reply)
    }

    async fn read_chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                    break at;
                }
                self.more().await?;
            };
            let size = std::str::from_utf8(&self.buffer[..end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            while self.buffer.len() < end + 2 + size + 2 {
                self.more().await?;
            }
            body.extend_from_slice(&self.buffer[end + 2..end + 2 + size]);
            self.buffer.drain(..end + 2 + size + 2);
            if size == 0 {
                return Some(body);
            }
        }
    }

    async fn more(&mut self) -> Option<()> {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece).await {
            Ok(0) | Err(_) => None,
            Ok(n) => {
                self.buffer.extend_from_slice(&piece[..n]);
                Some(())
            }
        }
    }
}

/// One request on a connection of its own.
pub async fn post(address: SocketAddr, path: &str, content_type: &str, body: impl AsRef<[u8]>) -> Reply {
    post_with(address, path, content_type, "", body).await
}

/// As [`post`], with more header lines.
pub async fn post_with(
    address: SocketAddr,
    path: &str,
    content_type: &str,
    headers: &str,
    body: impl AsRef<[u8]>,
) -> Reply {
    let mut connection = Connection::open(address).await;
    connection.post(path, content_type, headers, body.as_ref()).await.expect("an answer")
}
