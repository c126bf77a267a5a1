//! The values behind the declarations: handles for hot paths, and their text for `/metrics`.
//!
//! Owns: one cell per (metric, label values), read when somebody collects. Never: a lock or an allocation in
//! `add`, `set` or `record`; unbounded label values: past [`SERIES_MAX`] of one metric, new ones share the
//! series whose label values are all `other`.
//!
//! Workers of one process are alike and share its names: each has a part of its own of every gauge ([`Metrics::of_part`]),
//! and who collects sees their sum, or the largest.

use crate::declared::{CounterDecl, Declared, GaugeDecl, HistogramDecl};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram as OtelHistogram, Meter, MeterProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{MeterProviderBuilder, SdkMeterProvider};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most series of one metric. Label values come from closed enums and configuration, so this is a guard.
pub const SERIES_MAX: usize = 512;

/// Why the metrics could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The Prometheus collector could not be registered.
    #[error("metrics cannot be collected: {0}")]
    Collector(#[source] opentelemetry_sdk::error::OTelSdkError),
    /// The collected metrics could not be written as text.
    #[error("metrics cannot be written as text: {0}")]
    Encode(#[source] prometheus::Error),
}

/// All metrics of a process. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
    /// Whose gauges these are.
    part: usize,
}

struct Inner {
    provider: SdkMeterProvider,
    meter: Meter,
    registry: prometheus::Registry,
    families: Mutex<BTreeMap<&'static str, Family>>,
}

enum Family {
    Cells(Arc<Cells>),
    Histogram(OtelHistogram<f64>, Mutex<Vec<Arc<[KeyValue]>>>),
}

/// The series of one counter or gauge.
#[derive(Default)]
struct Cells {
    fold: Fold,
    series: Mutex<Vec<Series>>,
}

/// What the parts of a gauge come to.
#[derive(Debug, Clone, Copy, Default)]
enum Fold {
    #[default]
    Sum,
    Largest,
}

struct Series {
    labels: Arc<[KeyValue]>,
    part: usize,
    value: Value,
}

enum Value {
    /// A counter's sum, or the bits of a gauge's `f64`.
    Cell(Arc<AtomicU64>),
    /// Asked when somebody collects; `None` = not known now, the series is left out.
    Asked(Box<dyn Fn() -> Option<f64> + Send + Sync>),
}

impl Value {
    /// The value of a gauge; `None` = not known now.
    fn gauged(&self) -> Option<f64> {
        match self {
            Self::Cell(bits) => Some(f64::from_bits(bits.load(Ordering::Relaxed))),
            Self::Asked(ask) => ask(),
        }
    }
}

/// A handle that adds to one series of a counter.
#[derive(Debug, Clone)]
pub struct Counter {
    sum: Arc<AtomicU64>,
}

impl Counter {
    /// Adds `n`. One atomic addition: count a batch, not its events one by one.
    pub fn add(&self, n: u64) {
        self.sum.fetch_add(n, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}

/// A handle that sets one series of a gauge.
#[derive(Debug, Clone)]
pub struct Gauge {
    bits: Arc<AtomicU64>,
}

impl Gauge {
    /// Sets the value, in the declared unit.
    pub fn set(&self, value: f64) {
        self.bits.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Sets a count. Exact up to 2^53.
    pub fn set_count(&self, value: u64) {
        self.set(value as f64);
    }

    /// The value as last set; 0 before.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.bits.load(Ordering::Relaxed))
    }
}

/// A handle that records into one series of a histogram.
#[derive(Debug, Clone)]
pub struct Histogram {
    instrument: OtelHistogram<f64>,
    labels: Arc<[KeyValue]>,
}

impl Histogram {
    /// Records one value, in the declared unit. Values that are not finite are left out.
    pub fn record(&self, value: f64) {
        if value.is_finite() {
            self.instrument.record(value, &self.labels);
        }
    }

    /// Records a duration into a histogram of seconds.
    pub fn record_duration(&self, duration: Duration) {
        self.record(duration.as_secs_f64());
    }
}

impl Metrics {
    /// Metrics with the Prometheus text as the only way out.
    pub fn new() -> Result<Self, MetricsError> {
        Self::with(SdkMeterProvider::builder().with_resource(Resource::builder_empty().build()))
    }

    /// Metrics on a prepared provider (its resource, its push exporter).
    pub(crate) fn with(builder: MeterProviderBuilder) -> Result<Self, MetricsError> {
        let registry = prometheus::Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()
            .map_err(MetricsError::Collector)?;
        let provider = builder.with_reader(exporter).build();
        let meter = provider.meter("evenkeel");
        let inner = Inner { provider, meter, registry, families: Mutex::new(BTreeMap::new()) };
        Ok(Self { inner: Arc::new(inner), part: 0 })
    }

    /// The same metrics for one of several alike workers of a process: its gauges are apart from theirs until somebody
    /// collects. Counters and histograms are shared.
    #[must_use]
    pub fn of_part(&self, part: usize) -> Self {
        Self { part, ..self.clone() }
    }

    /// The handle of one series. The same values give the same series.
    pub fn counter<const L: usize>(&self, decl: &CounterDecl<L>, values: [&str; L]) -> Counter {
        let cells = self.cells(decl.name, Fold::Sum, |cells| {
            let (meter, reading) = (&self.inner.meter, cells);
            meter
                .u64_observable_counter(decl.name)
                .with_unit(decl.unit)
                .with_description(decl.description)
                .with_callback(move |observer| {
                    reading.each(&mut |labels, value| {
                        if let Value::Cell(sum) = value {
                            observer.observe(sum.load(Ordering::Relaxed), labels);
                        }
                    });
                })
                .build();
        });
        Counter { sum: cells.cell(0, pairs(&decl.labels, &values)) }
    }

    /// The handle of one series. Parts of a process are added up.
    pub fn gauge<const L: usize>(&self, decl: &GaugeDecl<L>, values: [&str; L]) -> Gauge {
        Gauge { bits: self.gauge_cells(decl, Fold::Sum).cell(self.part, pairs(&decl.labels, &values)) }
    }

    /// The handle of one series. Of the parts of a process the largest counts; all of them must ask for it so.
    pub fn gauge_of_largest<const L: usize>(&self, decl: &GaugeDecl<L>, values: [&str; L]) -> Gauge {
        Gauge { bits: self.gauge_cells(decl, Fold::Largest).cell(self.part, pairs(&decl.labels, &values)) }
    }

    /// A series whose value is asked for when somebody collects. `None` leaves it out. The first
    /// registration of a series stays. `ask` must be quick and must not touch these metrics.
    pub fn gauge_asked<const L: usize>(
        &self,
        decl: &GaugeDecl<L>,
        values: [&str; L],
        ask: Box<dyn Fn() -> Option<f64> + Send + Sync>,
    ) {
        self.gauge_cells(decl, Fold::Sum).asked(self.part, pairs(&decl.labels, &values), ask);
    }

    /// The handle of one series.
    pub fn histogram<const L: usize>(&self, decl: &HistogramDecl<L>, values: [&str; L]) -> Histogram {
        let build = || {
            self.inner
                .meter
                .f64_histogram(decl.name)
                .with_unit(decl.unit)
                .with_description(decl.description)
                .with_boundaries(decl.bounds.to_vec())
                .build()
        };
        let wanted = pairs(&decl.labels, &values);
        let mut families = lock(&self.inner.families);
        let family =
            families.entry(decl.name).or_insert_with(|| Family::Histogram(build(), Mutex::new(Vec::new())));
        let Family::Histogram(instrument, series) = family else {
            twice(decl.name);
            return Histogram { instrument: build(), labels: wanted.into() };
        };
        let mut series = lock(series);
        let labels = match series.iter().find(|known| ***known == *wanted) {
            Some(known) => known.clone(),
            None if series.len() >= SERIES_MAX => others(&wanted).into(),
            None => {
                let labels: Arc<[KeyValue]> = wanted.into();
                series.push(labels.clone());
                labels
            }
        };
        Histogram { instrument: instrument.clone(), labels }
    }

    /// Everything in the Prometheus text format (0.0.4).
    pub fn render(&self) -> Result<String, MetricsError> {
        let families = self.inner.registry.gather();
        prometheus::TextEncoder::new().encode_to_string(&families).map_err(MetricsError::Encode)
    }

    /// Which of the declared metrics nobody asked a handle of: what a component forgot.
    pub fn unregistered(&self, declared: &[Declared]) -> Vec<&'static str> {
        let families = lock(&self.inner.families);
        declared.iter().map(|d| d.name).filter(|name| !families.contains_key(name)).collect()
    }

    pub(crate) fn provider(&self) -> &SdkMeterProvider {
        &self.inner.provider
    }

    fn gauge_cells<const L: usize>(&self, decl: &GaugeDecl<L>, fold: Fold) -> Arc<Cells> {
        self.cells(decl.name, fold, |cells| {
            self.inner
                .meter
                .f64_observable_gauge(decl.name)
                .with_unit(decl.unit)
                .with_description(decl.description)
                .with_callback(move |observer| {
                    cells.each_folded(&mut |labels, value| observer.observe(value, labels));
                })
                .build();
        })
    }

    /// The cells of a metric; `register` makes its instrument the first time.
    fn cells(&self, name: &'static str, fold: Fold, register: impl FnOnce(Arc<Cells>)) -> Arc<Cells> {
        let mut families = lock(&self.inner.families);
        match families.get(name) {
            Some(Family::Cells(cells)) => cells.clone(),
            Some(Family::Histogram(..)) => {
                twice(name);
                Arc::new(Cells::default())
            }
            None => {
                let cells = Arc::new(Cells { fold, ..Cells::default() });
                families.insert(name, Family::Cells(cells.clone()));
                register(cells.clone());
                cells
            }
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("families", &lock(&self.inner.families).len()).finish()
    }
}

impl Cells {
    fn cell(&self, part: usize, labels: Vec<KeyValue>) -> Arc<AtomicU64> {
        let mut series = lock(&self.series);
        let labels = Self::bounded(&series, labels);
        if let Some(known) = series.iter().find(|s| s.part == part && *s.labels == *labels) {
            return match &known.value {
                Value::Cell(cell) => cell.clone(),
                // Asked for already: what is set here could not be seen.
                Value::Asked(_) => Arc::new(AtomicU64::new(0)),
            };
        }
        let cell = Arc::new(AtomicU64::new(0));
        series.push(Series { labels: labels.into(), part, value: Value::Cell(cell.clone()) });
        cell
    }

    fn asked(&self, part: usize, labels: Vec<KeyValue>, ask: Box<dyn Fn() -> Option<f64> + Send + Sync>) {
        let mut series = lock(&self.series);
        let labels = Self::bounded(&series, labels);
        if !series.iter().any(|s| s.part == part && *s.labels == *labels) {
            series.push(Series { labels: labels.into(), part, value: Value::Asked(ask) });
        }
    }

    fn bounded(series: &[Series], labels: Vec<KeyValue>) -> Vec<KeyValue> {
        let full = series.len() >= SERIES_MAX && !series.iter().any(|s| *s.labels == *labels);
        if full { others(&labels) } else { labels }
    }

    fn each(&self, see: &mut dyn FnMut(&[KeyValue], &Value)) {
        for series in lock(&self.series).iter() {
            see(&series.labels, &series.value);
        }
    }

    /// Each series once, its parts put together. Label values are few, and so is who collects.
    fn each_folded(&self, see: &mut dyn FnMut(&[KeyValue], f64)) {
        let series = lock(&self.series);
        for (at, first) in series.iter().enumerate() {
            if series[..at].iter().any(|before| before.labels == first.labels) {
                continue;
            }
            let parts = series[at..].iter().filter(|part| part.labels == first.labels);
            let values = parts.filter_map(|part| part.value.gauged());
            let folded = match self.fold {
                Fold::Sum => values.reduce(|sum, value| sum + value),
                Fold::Largest => values.reduce(f64::max),
            };
            if let Some(value) = folded {
                see(&first.labels, value);
            }
        }
    }
}

fn pairs(names: &[&'static str], values: &[&str]) -> Vec<KeyValue> {
    names.iter().zip(values).map(|(name, value)| KeyValue::new(*name, (*value).to_owned())).collect()
}

fn others(labels: &[KeyValue]) -> Vec<KeyValue> {
    labels.iter().map(|label| KeyValue::new(label.key.clone(), "other")).collect()
}

fn twice(name: &'static str) {
    tracing::error!(
        metric = name,
        "a metric is declared twice with different kinds; one of them is not exported"
    );
}

/// A poisoned lock only says that a reader of numbers panicked; the numbers are still right.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{coalescer, ingest, process};

    #[test]
    fn handles_show_up_as_prometheus_text() {
        let metrics = Metrics::new().unwrap();
        let accepted = metrics.counter(&ingest::EVENTS, ["http", "accepted"]);
        accepted.add(50);
        metrics.counter(&ingest::EVENTS, ["http", "accepted"]).add(7);
        metrics.counter(&ingest::EVENTS, ["http", "malformed"]).add(1);
        metrics.gauge(&ingest::QUEUE_DEPTH, []).set_count(4096);
        metrics.gauge(&coalescer::LEDGER_IMBALANCE, ["5s"]).set(-3.0);
        metrics.histogram(&coalescer::TICK_DURATION, []).record_duration(Duration::from_millis(3));
        metrics.histogram(&coalescer::TICK_DURATION, []).record(f64::NAN);

        let text = metrics.render().unwrap();
        for line in [
            r#"evenkeel_ingest_events_total{outcome="accepted",protocol="http"} 57"#,
            r#"evenkeel_ingest_events_total{outcome="malformed",protocol="http"} 1"#,
            "# TYPE evenkeel_ingest_events_total counter",
            "evenkeel_ingest_queue_depth_bytes 4096",
            r#"evenkeel_coalescer_ledger_imbalance{size="5s"} -3"#,
            r#"evenkeel_coalescer_tick_duration_seconds_bucket{le="0.0025"} 0"#,
            r#"evenkeel_coalescer_tick_duration_seconds_bucket{le="0.005"} 1"#,
            "evenkeel_coalescer_tick_duration_seconds_count 1",
        ] {
            assert!(text.contains(line), "missing {line} in\n{text}");
        }
        assert_eq!(accepted.get(), 57);
    }

    #[test]
    fn what_was_never_registered_is_listed() {
        let metrics = Metrics::new().unwrap();
        for metric in ingest::ALL {
            assert!(metrics.unregistered(ingest::ALL).contains(&metric.name));
        }
        metrics.counter(&ingest::EVENTS, ["http", "accepted"]);
        assert!(!metrics.unregistered(ingest::ALL).contains(&"evenkeel.ingest.events"));
        assert_eq!(metrics.unregistered(ingest::ALL).len(), ingest::ALL.len() - 1);
    }

    #[test]
    fn series_are_bounded_and_the_rest_shares_one() {
        let metrics = Metrics::new().unwrap();
        for i in 0..SERIES_MAX + 100 {
            metrics.counter(&ingest::REQUESTS, ["http", &i.to_string()]).add(1);
            metrics.histogram(&ingest::ACK_DURATION, [&i.to_string()]).record(0.1);
        }
        let text = metrics.render().unwrap();
        assert!(text.contains(r#"evenkeel_ingest_requests_total{protocol="other",status="other"} 100"#));
        assert!(text.contains(r#"evenkeel_ingest_ack_duration_seconds_count{protocol="other"} 100"#));
        let series = text.lines().filter(|l| l.starts_with("evenkeel_ingest_requests_total{")).count();
        assert_eq!(series, SERIES_MAX + 1);
    }

    #[test]
    fn the_workers_of_a_process_add_up() {
        let metrics = Metrics::new().unwrap();
        let workers = [metrics.of_part(0), metrics.of_part(1), metrics.of_part(2)];
        for (n, worker) in workers.iter().enumerate() {
            worker.gauge(&coalescer::STREAMS_ACTIVE, []).set_count(10 + n as u64);
            worker.gauge(&coalescer::LEDGER_IMBALANCE, ["5s"]).set(if n == 1 { -3.0 } else { 0.0 });
            worker.gauge_of_largest(&coalescer::WATERMARK_LAG, []).set(n as f64);
            worker.counter(&coalescer::TICK_MERGED, []).add(1);
        }
        // Each sets its own again.
        workers[1].gauge(&coalescer::STREAMS_ACTIVE, []).set_count(1);
        let text = metrics.render().unwrap();
        for line in [
            "evenkeel_coalescer_streams_active 23",
            r#"evenkeel_coalescer_ledger_imbalance{size="5s"} -3"#,
            "evenkeel_coalescer_watermark_lag_seconds 2",
            "evenkeel_coalescer_tick_merged_total 3",
        ] {
            assert!(text.lines().any(|found| found == line), "missing {line} in\n{text}");
        }
        assert_eq!(workers[2].gauge(&coalescer::STREAMS_ACTIVE, []).get(), 12.0);
    }

    #[test]
    fn asked_gauges_are_read_when_collected_and_left_out_when_unknown() {
        let metrics = Metrics::new().unwrap();
        metrics.gauge_asked(&process::MEMORY_RESIDENT, [], Box::new(|| Some(1234.0)));
        metrics.gauge_asked(&process::MEMORY_LIMIT, [], Box::new(|| None));
        let text = metrics.render().unwrap();
        assert!(text.contains("process_memory_usage_bytes 1234"));
        assert!(!text.contains("evenkeel_process_memory_limit_bytes "));
    }
}
