//! `evenkeel fetch`: a recording, or part of one, into a file as it comes.
//!
//! Owns: the file until it is whole, and going on where a connection broke. Never: a file by its final name that is not
//! whole; bytes of two recordings in one file (a part is asked for with the first answer's ETag).

use crate::failure::Failure;
use crate::progress::Progress;
use evenkeel_chassis::exit::Exit;
use evenkeel_chassis::secret::{Secret, SecretFile};
use serde_json::json;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;
use ureq::http::{Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body};

/// Fetch a recording, or part of it, into a file; also while it still arrives
///
/// The file gets its name when all that was asked for is there. A connection that breaks is taken up again where it
/// was. A recording that arrives is followed to its end; of an open range (A-) comes what is there.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Where it is: http://HOST:PORT/v1/streams/STREAM/recordings/ID
    url: String,
    /// Bytes A to B, both counted in; A- = from A on, -N = the last N
    #[arg(long, value_name = "A-B", allow_hyphen_values = true)]
    range: Option<String>,
    /// The file; an older one is replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// File with the token to log in with
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How often a connection is taken up again without a byte in between.
const TRIES: u32 = 5;
/// The pause before that.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for an answer to begin: a range that still has to arrive may take its time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);

/// Runs the command.
pub fn execute(args: &Args) -> Result<Exit, Failure> {
    let range = args.range.as_deref().map(parse).transpose().map_err(|why| Failure::new(Exit::Usage, why))?;
    let token = match &args.token_file {
        Some(path) => Some(SecretFile::new(path).read().map_err(|error| Failure::new(Exit::Usage, error))?),
        None => None,
    };
    let tls =
        TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier).build();
    let agent = Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_recv_response(Some(ANSWER_TIMEOUT))
        .build()
        .new_agent();
    let mut fetch =
        Fetch { agent, url: &args.url, token, range, got: 0, etag: None, progress: Progress::new() };
    let written = fetch.run(&args.out);
    fetch.progress.clear();
    let bytes = written?;
    match args.json {
        true => println!("{}", json!({ "url": args.url, "file": args.out, "bytes": bytes })),
        false => println!("{bytes} bytes in {}", args.out.display()),
    }
    Ok(Exit::Ok)
}

/// Bytes asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    Between(u64, u64),
    From(u64),
    Last(u64),
}

fn parse(text: &str) -> Result<Range, String> {
    let wrong = || format!("--range is {text:?}; give A-B, A- or -N in bytes");
    let number = |digits: &str| digits.parse::<u64>().map_err(|_| wrong());
    match text.split_once('-').ok_or_else(wrong)? {
        ("", last) => Ok(Range::Last(number(last)?)),
        (first, "") => Ok(Range::From(number(first)?)),
        (first, last) => match (number(first)?, number(last)?) {
            (first, last) if first <= last => Ok(Range::Between(first, last)),
            _ => Err(wrong()),
        },
    }
}

struct Fetch<'a> {
    agent: Agent,
    url: &'a str,
    token: Option<Secret>,
    /// What is still to come; it moves on with what has.
    range: Option<Range>,
    /// Bytes in the file.
    got: u64,
    etag: Option<String>,
    progress: Progress,
}

/// Why one answer ended early.
enum Broke {
    /// The connection: it is worth another try.
    Connection(String),
    Final(Failure),
}

impl Fetch<'_> {
    fn run(&mut self, out: &Path) -> Result<u64, Failure> {
        let failed = |error: io::Error| Failure::new(Exit::Storage, format!("{}: {error}", out.display()));
        let dir = out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".fetching-").tempfile_in(dir).map_err(failed)?;
        self.progress.step("fetching");
        let mut tries = 0;
        loop {
            let before = self.got;
            match self.answer(&mut file) {
                Ok(()) => break,
                Err(Broke::Final(failure)) => return Err(failure),
                Err(Broke::Connection(why)) => {
                    tries = if self.got > before { 1 } else { tries + 1 };
                    if tries > TRIES {
                        let message =
                            format!("{}: {why}; {} bytes had come, nothing is kept", self.url, self.got);
                        return Err(Failure::new(Exit::Unreachable, message));
                    }
                    std::thread::sleep(PAUSE);
                }
            }
        }
        file.as_file().sync_data().map_err(failed)?;
        file.persist(out).map_err(|refused| failed(refused.error))?;
        Ok(self.got)
    }

    /// One request, and its answer into the file.
    fn answer(&mut self, file: &mut NamedTempFile) -> Result<(), Broke> {
        if matches!(self.range, Some(Range::Between(first, last)) if first > last) {
            return Ok(()); // it broke behind the last byte
        }
        let mut request = self.agent.get(self.url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {}", token.expose().trim()));
        }
        if let Some(range) = self.range {
            request = request.header("range", header(range));
        }
        if let Some(etag) = &self.etag {
            request = request.header("if-range", etag);
        }
        let response = request.call().map_err(|error| Broke::Connection(error.to_string()))?;
        let mut left = self.check(&response)?;
        let mut body = response.into_body().into_reader();
        let mut step = vec![0; 64 * 1024];
        loop {
            let read = body.read(&mut step).map_err(|error| Broke::Connection(error.to_string()))?;
            if read == 0 {
                return match left {
                    Some(left) if left > 0 => Err(Broke::Connection(format!("{left} bytes are missing"))),
                    _ => Ok(()),
                };
            }
            let write = file.write_all(&step[..read]);
            write.map_err(|error| Broke::Final(Failure::new(Exit::Storage, error)))?;
            self.moved(read as u64);
            left = left.map(|left| left.saturating_sub(read as u64));
            self.progress.set(self.got);
        }
    }

    /// The head of an answer: that it is of the bytes asked for. Answers how many follow, where that is known.
    fn check(&mut self, response: &Response<Body>) -> Result<Option<u64>, Broke> {
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let refused =
            |exit, why: String| Err(Broke::Final(Failure::new(exit, format!("{}: {why}", self.url))));
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let first = text("content-range").and_then(first_of);
                let Some(first) = first else {
                    return refused(Exit::Refused, "a part came without saying which".into());
                };
                match self.range {
                    Some(Range::Between(from, _) | Range::From(from)) if from != first => {
                        return refused(
                            Exit::Refused,
                            format!("bytes from {from} on were asked for, {first} came"),
                        );
                    }
                    Some(Range::Last(_)) => self.range = Some(Range::From(first)), // where to go on
                    _ => {}
                }
            }
            StatusCode::OK if self.got > 0 => {
                return refused(Exit::Refused, "it is another recording now".into());
            }
            StatusCode::OK if self.range.is_none_or(|range| range == Range::From(0)) => {}
            StatusCode::OK => return refused(Exit::Refused, "the server does not serve ranges".into()),
            StatusCode::SERVICE_UNAVAILABLE => {
                return Err(Broke::Connection("the server has no room now (503)".into()));
            }
            StatusCode::RANGE_NOT_SATISFIABLE if self.got > 0 => return Ok(Some(0)), // the end was reached before
            status => return refused(Exit::Refused, format!("the server answers {status}")),
        }
        if self.etag.is_none() {
            self.etag = text("etag").filter(|etag| !etag.starts_with("W/")).map(str::to_owned);
        }
        let length: Option<u64> = text("content-length").and_then(|length| length.parse().ok());
        if let Some(length) = length {
            self.progress.bytes("fetching", self.got + length);
        }
        Ok(length)
    }

    /// So many bytes more are in the file.
    fn moved(&mut self, bytes: u64) {
        self.got += bytes;
        self.range = Some(match self.range {
            None => Range::From(self.got),
            Some(Range::From(first)) => Range::From(first + bytes),
            Some(Range::Between(first, last)) => Range::Between(first + bytes, last),
            Some(Range::Last(n)) => Range::Last(n.saturating_sub(bytes)),
        });
    }
}

fn header(range: Range) -> String {
    match range {
        Range::Between(first, last) => format!("bytes={first}-{last}"),
        Range::From(first) => format!("bytes={first}-"),
        Range::Last(n) => format!("bytes=-{n}"),
    }
}

/// The first byte of `bytes A-B/SIZE`.
fn first_of(content_range: &str) -> Option<u64> {
    content_range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_written() {
        for (text, range) in [("0-99", Range::Between(0, 99)), ("7-", Range::From(7)), ("-5", Range::Last(5))]
        {
            assert_eq!(parse(text), Ok(range));
            assert_eq!(header(range), format!("bytes={text}"));
        }
        for text in ["", "5", "-", "a-b", "9-1", "1-2-3"] {
            assert!(parse(text).unwrap_err().contains("A-B"), "{text}");
        }
        assert_eq!(first_of("bytes 10-19/*"), Some(10));
        assert_eq!(first_of("items 10-19/30"), None);
    }
}
