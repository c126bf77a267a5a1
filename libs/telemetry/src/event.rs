//! Something that happened, declared once: its log line and the metrics it moves.
//!
//! Owns: the `event!` macro and the emitter it writes to. Never: a metric moved at one place and logged at
//! another; a log line per bad input (see `limiter.rs`); a secret among the fields.

use crate::limiter::{LogLimiter, Verdict};
use crate::names::process::LOG_SUPPRESSED;
use crate::registry::Metrics;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where events go: the metrics, and the log through the limiter. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Emitter {
    metrics: Metrics,
    limiter: Arc<LogLimiter>,
    traced: bool,
}

impl Emitter {
    /// An emitter over these metrics.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, limiter: Arc::default(), traced: false }
    }

    /// The same for one of several alike workers of a process; see [`Metrics::of_part`].
    #[must_use]
    pub fn of_worker(&self, index: usize) -> Self {
        Self { metrics: self.metrics.of_part(index), ..self.clone() }
    }

    /// The same in a process whose spans go somewhere.
    pub(crate) fn with_traces(self, traced: bool) -> Self {
        Self { traced, ..self }
    }

    /// Whether spans go anywhere: headers of records need not be read for them otherwise.
    pub fn traced(&self) -> bool {
        self.traced
    }

    /// The metrics, for handles of hot paths.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Asks whether an event may be logged now; `Some(n)` = yes, n like it were left out. Used by `event!`.
    pub fn ask(&self, event: &'static str, key: &str, period: Duration) -> Option<u64> {
        match self.limiter.ask(Instant::now(), event, key, period) {
            Verdict::Write { suppressed } => Some(suppressed),
            Verdict::Quiet => {
                self.metrics.counter(&LOG_SUPPRESSED, [event]).add(1);
                None
            }
        }
    }
}

/// Declares an event. `values` are logged as they are (numbers, booleans, `&str`), `shown` through `Display`;
/// `limit` gives the key (its own line each) and the period in ms, 0 = always; then the metrics it moves,
/// with fields by name: `counts` adds, `sets` sets, `records` records.
///
/// ```
/// use evenkeel_telemetry::{Emitter, Metrics, event, names::ingest};
///
/// event! {
///     /// A batch of a client was refused.
///     pub struct BatchRefused<'a> WARN "ingest.batch.refused" "a batch was refused" {
///         values { protocol: &'a str, events: u64 }
///         shown { error: &'a dyn std::fmt::Display }
///         limit(protocol, 10_000);
///         counts(ingest::EVENTS, [protocol, "malformed"], events);
///     }
/// }
///
/// let emitter = Emitter::new(Metrics::new()?);
/// BatchRefused { protocol: "http", events: 3, error: &"truncated" }.emit(&emitter);
/// assert_eq!(emitter.metrics().counter(&ingest::EVENTS, ["http", "malformed"]).get(), 3);
/// # Ok::<(), evenkeel_telemetry::MetricsError>(())
/// ```
#[macro_export]
macro_rules! event {
    (
        $(#[$doc:meta])*
        $vis:vis struct $name:ident $(<$life:lifetime>)? $level:ident $id:literal $message:literal {
            values { $($value:ident : $value_type:ty),* $(,)? }
            $(shown { $($shown:ident : $shown_type:ty),* $(,)? })?
            limit($key:expr, $period_ms:expr);
            $($verb:ident ( $decl:path , [ $($label:expr),* ] , $by:expr );)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        $vis struct $name $(<$life>)? {
            $(
                #[doc = concat!("`", stringify!($value), "` of the log line.")]
                pub $value: $value_type,
            )*
            $($(
                #[doc = concat!("`", stringify!($shown), "` of the log line.")]
                pub $shown: $shown_type,
            )*)?
        }

        impl $(<$life>)? $name $(<$life>)? {
            /// The name in the field `event` of the log line.
            pub const NAME: &'static str = $id;

            /// Moves the metrics, and writes the log line unless it was written lately.
            #[allow(unused_variables)]
            pub fn emit(self, to: &$crate::Emitter) {
                let Self { $($value,)* $($($shown,)*)? } = self;
                $($crate::event!(@move $verb to $decl, [$($label),*], $by);)*
                let period = std::time::Duration::from_millis($period_ms);
                if let Some(suppressed) = to.ask(Self::NAME, $key, period) {
                    $crate::tracing::event!(
                        $crate::tracing::Level::$level,
                        event = Self::NAME,
                        $($value,)*
                        $($($shown = %$shown,)*)?
                        suppressed,
                        $message
                    );
                }
            }
        }
    };
    (@move counts $to:ident $decl:path, [$($label:expr),*], $by:expr) => {
        $to.metrics().counter(&$decl, [$($label),*]).add($by)
    };
    (@move sets $to:ident $decl:path, [$($label:expr),*], $by:expr) => {
        $to.metrics().gauge(&$decl, [$($label),*]).set($by)
    };
    (@move records $to:ident $decl:path, [$($label:expr),*], $by:expr) => {
        $to.metrics().histogram(&$decl, [$($label),*]).record($by)
    };
}
