//! What a policy achieved: exact quantiles over events, and what the broker had to do for it.
//!
//! Owns: the samples of one run, per segment. Never: an estimate; a run is small enough to sort.

/// One answered item.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub latency_us: u64,
    pub added_us: u64,
    pub events: u32,
}

/// Quantiles over events, ms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// Mean.
    pub mean_ms: f64,
    /// Median.
    pub p50_ms: f64,
    /// 99 of 100 events are at or below.
    pub p99_ms: f64,
    /// 999 of 1000 events are at or below.
    pub p999_ms: f64,
    /// The worst event.
    pub max_ms: f64,
}

/// The outcome of one run.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub(super) segments: Vec<Vec<Event>>,
    pub(super) refused: Vec<u64>,
    /// Events that the admission budget refused.
    pub refused_events: u64,
    /// Requests made of the broker.
    pub requests: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Length of the run until the last answer, s.
    pub seconds: f64,
}

impl Outcome {
    pub(super) fn new(segments: usize) -> Self {
        Self {
            segments: vec![Vec::new(); segments],
            refused: vec![0; segments],
            refused_events: 0,
            requests: 0,
            bytes: 0,
            seconds: 0.0,
        }
    }

    pub(super) fn add(&mut self, segment: usize, event: Event) {
        self.segments[segment].push(event);
    }

    pub(super) fn refuse(&mut self, segment: usize, events: u32) {
        self.refused[segment] += u64::from(events);
        self.refused_events += u64::from(events);
    }

    pub(super) fn sent(&mut self, requests: u32, bytes: u64) {
        self.requests += u64::from(requests);
        self.bytes += bytes;
    }

    pub(super) fn finish(&mut self, end_us: u64) {
        self.seconds = end_us as f64 / 1e6;
    }

    /// Events answered.
    pub fn events(&self) -> u64 {
        self.segments.iter().flatten().map(|e| u64::from(e.events)).sum()
    }

    /// Latency from arrival to acknowledgement.
    pub fn latency(&self) -> Latency {
        quantiles(self.segments.iter().flatten().map(|e| (e.latency_us, e.events)).collect())
    }

    /// Latency above that of a lone item at the same moment.
    pub fn added(&self) -> Latency {
        quantiles(self.segments.iter().flatten().map(|e| (e.added_us, e.events)).collect())
    }

    /// Latency of one segment, from arrival to acknowledgement.
    pub fn segment_latency(&self, segment: usize) -> Latency {
        quantiles(self.segments[segment].iter().map(|e| (e.latency_us, e.events)).collect())
    }

    /// Requests per second.
    pub fn requests_per_s(&self) -> f64 {
        self.requests as f64 / self.seconds.max(1e-6)
    }

    /// Mean size of a request, bytes.
    pub fn bytes_per_request(&self) -> f64 {
        self.bytes as f64 / self.requests.max(1) as f64
    }
}

fn quantiles(mut values: Vec<(u64, u32)>) -> Latency {
    values.sort_unstable();
    let total: u64 = values.iter().map(|(_, n)| u64::from(*n)).sum();
    let sum: f64 = values.iter().map(|(v, n)| *v as f64 * f64::from(*n)).sum();
    let (mut seen, mut at) = (0, [0u64; 3]);
    for (value, events) in &values {
        let before = seen;
        seen += u64::from(*events);
        for (slot, part) in at.iter_mut().zip([0.5, 0.99, 0.999]) {
            let rank = ((total as f64 * part).ceil() as u64).max(1);
            if before < rank && rank <= seen {
                *slot = *value;
            }
        }
    }
    let ms = |us: u64| us as f64 / 1000.0;
    Latency {
        mean_ms: sum / total.max(1) as f64 / 1000.0,
        p50_ms: ms(at[0]),
        p99_ms: ms(at[1]),
        p999_ms: ms(at[2]),
        max_ms: ms(values.last().map_or(0, |(v, _)| *v)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_count_events_not_items() {
        let latency = quantiles(vec![(9000, 1), (1000, 989), (5000, 10)]);
        assert_eq!((latency.p50_ms, latency.p99_ms, latency.p999_ms, latency.max_ms), (1.0, 5.0, 5.0, 9.0));
        assert!((latency.mean_ms - 1.048).abs() < 1e-9);
        assert_eq!(quantiles(Vec::new()).max_ms, 0.0);
    }
}
