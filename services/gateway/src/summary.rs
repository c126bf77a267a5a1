//! `fleet/summary`: totals, made of what the services say of themselves in `/metrics`.
//!
//! Owns: which metrics make which total. Never: holds up anything: a service that does not answer in time is left out
//! of the next summary.

use crate::content::FleetSummary;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::HOST;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// The metrics of this process, in Prometheus' text.
pub type MetricsText = Box<dyn Fn() -> String + Send + Sync>;

/// Largest answer of a service, bytes.
const TEXT_BYTES_MAX: usize = 4 << 20;
/// Longest wait for one.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most addresses of one name that are asked.
const ADDRESSES_MAX: usize = 256;
/// How far back the largest jitter is looked for, ms.
const JITTER_MS: u64 = 60_000;

/// Sums of one moment.
#[derive(Debug, Clone, Default)]
struct Totals {
    streams: f64,
    accepted: f64,
    closed: f64,
    dropped: BTreeMap<(String, String), f64>,
    lag_s: f64,
    planned: f64,
    accounted: f64,
    resident: f64,
    /// Ticks by the upper bound of their jitter, cumulative; the bound in µs, because floats have no order.
    jitter: BTreeMap<u64, f64>,
}

/// Makes summaries of one moment after the other.
#[derive(Debug, Default)]
pub(crate) struct Summaries {
    last: Option<(u64, Totals)>,
    /// Ticks by jitter, of the last minute.
    jitters: VecDeque<(u64, BTreeMap<u64, f64>)>,
}

impl Summaries {
    /// A summary of what every service said at `now_ms`.
    pub(crate) fn make(&mut self, now_ms: u64, texts: &[String]) -> FleetSummary {
        let mut totals = Totals::default();
        texts.iter().for_each(|text| totals.add(text));
        let rate = |now: f64, of: fn(&Totals) -> f64| match &self.last {
            // A service that began anew counts from 0.
            Some((at_ms, last)) if now_ms > *at_ms => {
                (now - of(last)).max(0.0) * 1000.0 / (now_ms - at_ms) as f64
            }
            _ => 0.0,
        };
        let (events, rows) = (rate(totals.accepted, |t| t.accepted), rate(totals.closed, |t| t.closed));
        let mut dropped = BTreeMap::<String, f64>::new();
        for ((outcome, _), count) in &totals.dropped {
            // Every size sees every event once.
            let most = dropped.entry(outcome.clone()).or_default();
            *most = most.max(*count);
        }
        dropped.retain(|_, count| *count > 0.0);
        let jitter_ms = self.jitter_ms(now_ms, &totals.jitter);
        let summary = FleetSummary {
            streams_active: totals.streams,
            events_per_s: events,
            rows_per_s: rows,
            dropped,
            lag_ms: totals.lag_s.max(0.0) * 1000.0,
            tick_jitter_ms: jitter_ms,
            memory_planned_bytes: totals.planned,
            memory_accounted_bytes: totals.accounted,
            memory_resident_bytes: totals.resident,
            alerts_raised: 0,
        };
        self.last = Some((now_ms, totals));
        summary
    }

    /// The upper bound of the largest jitter since a minute ago, ms.
    fn jitter_ms(&mut self, now_ms: u64, now: &BTreeMap<u64, f64>) -> f64 {
        self.jitters.push_back((now_ms, now.clone()));
        while self.jitters.get(1).is_some_and(|(at_ms, _)| at_ms + JITTER_MS <= now_ms) {
            self.jitters.pop_front();
        }
        let Some((_, before)) = self.jitters.front() else { return 0.0 };
        let (mut below, mut largest_us) = (0.0, 0);
        for (bound_us, count) in now {
            let since = count - before.get(bound_us).copied().unwrap_or(0.0);
            if since > below {
                (below, largest_us) = (since, *bound_us);
            }
        }
        largest_us as f64 / 1000.0
    }
}

impl Totals {
    fn add(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            if !value.is_finite() {
                continue;
            }
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            match name {
                "evenkeel_coalescer_streams_active" => self.streams += value,
                "evenkeel_ingest_events_total" if label(labels, "outcome") == "accepted" => {
                    self.accepted += value
                }
                "evenkeel_coalescer_windows_closed_total" => self.closed += value,
                "evenkeel_coalescer_events_total" if label(labels, "outcome") != "counted" => {
                    let key = (label(labels, "outcome").to_owned(), label(labels, "size").to_owned());
                    *self.dropped.entry(key).or_default() += value;
                }
                "evenkeel_coalescer_watermark_lag_seconds" => self.lag_s = self.lag_s.max(value),
                "evenkeel_coalescer_memory_planned_bytes" => self.planned += value,
                // What is allocated holds the state: together they would count it twice.
                "evenkeel_coalescer_memory_used_bytes" if label(labels, "component") != "allocated" => {
                    self.accounted += value
                }
                "process_memory_usage_bytes" => self.resident += value,
                "evenkeel_coalescer_tick_jitter_seconds_bucket" => {
                    if let Ok(bound_s) = label(labels, "le").parse::<f64>()
                        && bound_s.is_finite()
                    {
                        *self.jitter.entry((bound_s * 1e6) as u64).or_default() += value;
                    }
                }
                _ => {}
            }
        }
    }
}

/// The value of a label; empty = there is none.
fn label<'a>(labels: &'a str, name: &str) -> &'a str {
    let mut parts = labels.trim_end_matches('}').split(',');
    let value = parts.find_map(|part| part.strip_prefix(name)?.strip_prefix("=\""));
    value.map_or("", |value| value.trim_end_matches('"'))
}

/// What the processes behind a target say of themselves: every address of its name is asked, so that one name stands for
/// all pods of a service. Who does not answer as it should is left out.
pub(crate) async fn fetch(target: &str) -> Vec<String> {
    let Ok(uri) = target.parse::<Uri>() else { return Vec::new() };
    let Some(host) = uri.host() else { return Vec::new() };
    let looked = tokio::net::lookup_host((host, uri.port_u16().unwrap_or(80)));
    match tokio::time::timeout(PATIENCE, looked).await {
        Ok(Ok(addresses)) => fetch_of(addresses.take(ADDRESSES_MAX), &uri).await,
        Ok(Err(error)) => {
            tracing::debug!(target, %error, "no metrics");
            Vec::new()
        }
        Err(_) => {
            tracing::debug!(target, "no address in time");
            Vec::new()
        }
    }
}

async fn fetch_of(addresses: impl Iterator<Item = SocketAddr>, uri: &Uri) -> Vec<String> {
    let asking = addresses.map(|address| async move {
        match tokio::time::timeout(PATIENCE, ask(address, uri)).await {
            Ok(Ok(text)) => Some(text),
            Ok(Err(why)) => {
                tracing::debug!(%uri, %address, why, "no metrics");
                None
            }
            Err(_) => {
                tracing::debug!(%uri, %address, "no metrics in time");
                None
            }
        }
    });
    futures::future::join_all(asking).await.into_iter().flatten().collect()
}

async fn ask(address: SocketAddr, uri: &Uri) -> Result<String, String> {
    let host = uri.host().unwrap_or_default();
    let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let path = uri.path_and_query().map_or("/metrics", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, host)
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|e| e.to_string())?;
    let asking = async {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(response.status().to_string());
        }
        let body =
            Limited::new(response.into_body(), TEXT_BYTES_MAX).collect().await.map_err(|e| e.to_string())?;
        String::from_utf8(body.to_bytes().to_vec()).map_err(|e| e.to_string())
    };
    tokio::pin!(asking);
    tokio::select! {
        answer = &mut asking => answer,
        ended = connection => match ended {
            // Who closes behind its answer has answered.
            Ok(()) => asking.await,
            Err(error) => Err(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(accepted: u32, late: u32, jitters: [u32; 3]) -> String {
        format!(
            "# HELP x\n\
             evenkeel_ingest_events_total{{protocol=\"http\",outcome=\"accepted\"}} {accepted}\n\
             evenkeel_ingest_events_total{{protocol=\"http\",outcome=\"malformed\"}} 7\n\
             evenkeel_coalescer_events_total{{outcome=\"late\",size=\"5s\"}} {late}\n\
             evenkeel_coalescer_events_total{{outcome=\"late\",size=\"1m\"}} 1\n\
             evenkeel_coalescer_events_total{{outcome=\"counted\",size=\"5s\"}} 99\n\
             evenkeel_coalescer_streams_active 12\n\
             evenkeel_coalescer_watermark_lag_seconds 1.5\n\
             evenkeel_coalescer_tick_jitter_seconds_bucket{{le=\"0.001\"}} {}\n\
             evenkeel_coalescer_tick_jitter_seconds_bucket{{le=\"0.01\"}} {}\n\
             evenkeel_coalescer_tick_jitter_seconds_bucket{{le=\"+Inf\"}} {}\n\
             evenkeel_coalescer_memory_used_bytes{{component=\"state\"}} 700\n\
             evenkeel_coalescer_memory_used_bytes{{component=\"history\"}} 50\n\
             evenkeel_coalescer_memory_used_bytes{{component=\"allocated\"}} 900\n\
             evenkeel_coalescer_memory_planned_bytes 800\n\
             evenkeel_coalescer_memory_budget_bytes 100000\n\
             process_memory_usage_bytes 1048576\nbroken line\n",
            jitters[0], jitters[1], jitters[2]
        )
    }

    /// Answers every connection with these lines.
    async fn serve(status: &'static str, lines: &'static str) -> SocketAddr {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{lines}", lines.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn every_process_behind_a_name_is_asked_and_who_is_away_is_left_out() {
        let pods = [serve("200 OK", "a 1").await, serve("500 no", "b 1").await, serve("200 OK", "c 1").await];
        let away: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let uri = "http://pods/metrics".parse().unwrap();
        assert_eq!(fetch_of(pods.into_iter().chain([away]), &uri).await, ["a 1", "c 1"]);
        assert_eq!(fetch(&format!("http://localhost:{}/metrics", pods[0].port())).await, ["a 1"]);
        assert_eq!(fetch("http://no-such-host.invalid/metrics").await, Vec::<String>::new());
    }

    #[test]
    fn totals_are_sums_over_the_services_and_rates_of_what_passed() {
        let mut summaries = Summaries::default();
        summaries.make(0, &[text(100, 2, [5, 6, 6]), text(0, 0, [0, 0, 0])]);
        let made = summaries.make(2000, &[text(300, 3, [7, 8, 8]), text(0, 1, [0, 0, 0])]);
        assert_eq!((made.events_per_s, made.streams_active, made.lag_ms), (100.0, 24.0, 1500.0));
        assert_eq!((made.memory_planned_bytes, made.memory_accounted_bytes), (1600.0, 1500.0));
        assert_eq!(made.dropped, BTreeMap::from([("late".to_owned(), 4.0)]));
        assert_eq!((made.tick_jitter_ms, made.memory_resident_bytes), (1.0, 2_097_152.0));
        let made = summaries.make(4000, &[text(50, 3, [8, 10, 10])]);
        assert_eq!((made.events_per_s, made.tick_jitter_ms), (0.0, 10.0), "it began anew; one tick was late");
        assert_eq!(
            summaries.make(64_001, &[text(50, 3, [9, 11, 11])]).tick_jitter_ms,
            1.0,
            "a minute has passed"
        );
    }
}
