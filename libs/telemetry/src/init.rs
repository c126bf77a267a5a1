//! Start and end of telemetry in a process: the log's form, OTLP where an endpoint is given, the last flush.
//!
//! Owns: the global tracing subscriber (set once, by the main). Never: a credential in an endpoint's address
//! (it would end in a log), an unbounded wait at the end, a failure of the collector that stops the service.

use crate::Emitter;
use crate::names::process::BUILD_INFO;
use crate::registry::{Metrics, MetricsError};
use crate::tail::LogTail;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use opentelemetry_semantic_conventions::resource::{SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION};
use std::io::IsTerminal;
use std::sync::mpsc;
use std::time::Duration;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// Spans that wait for export; beyond, new ones are dropped (and counted by the SDK).
const SPAN_QUEUE_MAX: usize = 4096;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For a reader on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For a reader.
    Human,
    /// One JSON object per line.
    Json,
}

/// Where log lines go.
#[derive(Debug, Clone, Default)]
pub enum LogTo {
    /// Standard error.
    #[default]
    Stderr,
    /// The last lines, kept in memory: for a process whose terminal shows something else.
    Tail(LogTail),
}

/// Traces and metrics to an OTLP collector (gRPC).
#[derive(Debug, Clone)]
pub struct Otlp {
    /// `http://host:4317`. Must not hold credentials.
    pub endpoint: String,
    /// Time between two exports of metrics.
    pub metrics_interval: Duration,
    /// Time one export may take.
    pub timeout: Duration,
    /// Share of new traces that are recorded, 0 … 1. A trace that came with a parent follows it.
    pub sample_ratio: f64,
}

/// How a process reports on itself.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `service.name`, e.g. `evenkeel-coalescer`.
    pub service: String,
    /// Version of the build.
    pub version: String,
    /// Commit of the build; empty = not known.
    pub commit: String,
    /// `service.instance.id`, e.g. the pod's name; empty = left out.
    pub instance: String,
    /// Filter directives, e.g. `info` or `info,evenkeel_ingest=debug`.
    pub filter: String,
    /// Form of log lines.
    pub format: LogFormat,
    /// Where they go.
    pub to: LogTo,
    /// OTLP, if wanted.
    pub otlp: Option<Otlp>,
}

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter does not parse.
    #[error(
        "the log filter {filter:?} is not valid: {error}; expected e.g. `info` or `info,evenkeel_ingest=debug`"
    )]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong.
        error: String,
    },
    /// The endpoint holds a user or password.
    #[error("the OTLP endpoint must not hold credentials: it is written to logs")]
    EndpointCredentials,
    /// The sample ratio is not between 0 and 1.
    #[error("the sample ratio {0} is not between 0 and 1")]
    SampleRatio(f64),
    /// The exporter could not be made.
    #[error("no OTLP exporter for {endpoint}: {error}")]
    Otlp {
        /// The endpoint.
        endpoint: String,
        /// What is wrong.
        error: String,
    },
    /// The metrics could not be made.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A subscriber was set before.
    #[error("logging was set up before in this process")]
    AlreadySet,
}

/// Running telemetry. Keep it for the life of the process and end it with [`Telemetry::shutdown`].
#[derive(Debug)]
pub struct Telemetry {
    emitter: Emitter,
    tracer: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sets the global subscriber and starts the exporters. With `otlp`, call it inside a Tokio runtime of
    /// several threads (gRPC needs one). A collector that is away is not an error: exports fail and are
    /// tried again.
    pub fn start(settings: &Settings) -> Result<Self, InitError> {
        let filter = EnvFilter::builder().parse(&settings.filter).map_err(|error| InitError::Filter {
            filter: settings.filter.clone(),
            error: error.to_string(),
        })?;
        let resource = resource(settings);
        let mut meters = SdkMeterProvider::builder().with_resource(resource.clone());
        let mut tracer = None;
        if let Some(otlp) = &settings.otlp {
            meters = meters.with_reader(metrics_out(otlp)?);
            tracer = Some(traces_out(otlp, resource)?);
        }
        let spans = tracer.as_ref().map(|provider| {
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("evenkeel"));
            layer.with_filter(filter_fn(|span| !exports_itself(span.target())))
        });
        let metrics = Metrics::with(meters)?;
        tracing_subscriber::registry()
            .with(log_lines(settings))
            .with(filter)
            .with(spans)
            .try_init()
            .map_err(|_| InitError::AlreadySet)?;
        let commit = if settings.commit.is_empty() { "unknown" } else { &settings.commit };
        metrics.gauge(&BUILD_INFO, [&settings.version, commit, &settings.service]).set(1.0);
        let emitter = Emitter::new(metrics).with_traces(tracer.is_some());
        Ok(Self { emitter, tracer })
    }

    /// Where events go.
    pub fn emitter(&self) -> &Emitter {
        &self.emitter
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        self.emitter.metrics()
    }

    /// Sends what is still held, for at most `bound`. `false` = the bound was reached, or the collector did
    /// not take it.
    pub fn shutdown(self, bound: Duration) -> bool {
        let (done, wait) = mpsc::sync_channel(1);
        let (tracer, metrics) = (self.tracer, self.emitter.metrics().clone());
        // The SDK's own time limits do not cover every wait, so the wait itself is limited: the thread may
        // outlive it, the process is about to end.
        let flush = std::thread::Builder::new().name("telemetry-flush".to_owned()).spawn(move || {
            let traces = tracer.is_none_or(|tracer| tracer.shutdown_with_timeout(bound).is_ok());
            let metrics = metrics.provider().shutdown_with_timeout(bound).is_ok();
            // Nobody may be waiting any more.
            let _ = done.send(traces && metrics);
        });
        flush.is_ok() && wait.recv_timeout(bound).unwrap_or(false)
    }
}

/// `OTEL_RESOURCE_ATTRIBUTES` is read by the SDK's own detectors, as users of OpenTelemetry expect.
fn resource(settings: &Settings) -> Resource {
    let mut builder = Resource::builder()
        .with_attribute(KeyValue::new(SERVICE_NAME, settings.service.clone()))
        .with_attribute(KeyValue::new(SERVICE_VERSION, settings.version.clone()));
    if !settings.instance.is_empty() {
        builder = builder.with_attribute(KeyValue::new(SERVICE_INSTANCE_ID, settings.instance.clone()));
    }
    builder.build()
}

/// Spans of what carries spans out: exported, each export would make new ones.
fn exports_itself(target: &str) -> bool {
    ["h2", "hyper", "tonic", "tower", "opentelemetry"].iter().any(|carrier| target.starts_with(carrier))
}

fn log_lines(settings: &Settings) -> Box<dyn Layer<Registry> + Send + Sync> {
    let (writer, terminal) = match &settings.to {
        LogTo::Stderr => (BoxMakeWriter::new(std::io::stderr), std::io::stderr().is_terminal()),
        LogTo::Tail(tail) => (BoxMakeWriter::new(tail.clone()), false),
    };
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Human => false,
        LogFormat::Auto => !terminal && matches!(settings.to, LogTo::Stderr),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(terminal);
    if json { lines.json().flatten_event(true).boxed() } else { lines.boxed() }
}

fn check(otlp: &Otlp) -> Result<(), InitError> {
    if otlp.endpoint.contains('@') {
        return Err(InitError::EndpointCredentials);
    }
    if !(0.0..=1.0).contains(&otlp.sample_ratio) {
        return Err(InitError::SampleRatio(otlp.sample_ratio));
    }
    Ok(())
}

fn metrics_out(otlp: &Otlp) -> Result<PeriodicReader<MetricExporter>, InitError> {
    check(otlp)?;
    let exporter = MetricExporter::builder()
        .with_tonic()
        .with_endpoint(otlp.endpoint.clone())
        .with_timeout(otlp.timeout)
        .build()
        .map_err(|error| InitError::Otlp { endpoint: otlp.endpoint.clone(), error: error.to_string() })?;
    Ok(PeriodicReader::builder(exporter).with_interval(otlp.metrics_interval).build())
}

fn traces_out(otlp: &Otlp, resource: Resource) -> Result<SdkTracerProvider, InitError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(otlp.endpoint.clone())
        .with_timeout(otlp.timeout)
        .build()
        .map_err(|error| InitError::Otlp { endpoint: otlp.endpoint.clone(), error: error.to_string() })?;
    let queue = BatchConfigBuilder::default().with_max_queue_size(SPAN_QUEUE_MAX).build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(otlp.sample_ratio)));
    Ok(SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(queue).build())
        .with_sampler(sampler)
        .with_resource(resource)
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn otlp(endpoint: &str, sample_ratio: f64) -> Otlp {
        let second = Duration::from_secs(1);
        Otlp { endpoint: endpoint.to_owned(), metrics_interval: second, timeout: second, sample_ratio }
    }

    #[test]
    fn an_endpoint_with_credentials_and_a_wrong_ratio_are_refused() {
        let error = check(&otlp("http://user:secret@host:4317", 1.0)).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        assert!(matches!(check(&otlp("http://host:4317", 1.5)), Err(InitError::SampleRatio(_))));
        assert!(matches!(check(&otlp("http://host:4317", f64::NAN)), Err(InitError::SampleRatio(_))));
        assert!(check(&otlp("http://host:4317", 0.1)).is_ok());
    }
}
