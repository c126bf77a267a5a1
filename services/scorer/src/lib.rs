//! The scorer: models and rules over windows of the log ([`live`]), and a model over files of rows, in the three
//! modes of source C.
//!
//! Owns: reading rows and model, the threads of the asynchronous mode, the files that come out. Never: what a
//! score is (libs/scoring, libs/onnx), a file that looks complete and is not: each is written beside its name and
//! renamed at the end.
//!
//! ```text
//! CSV | Parquet ─► Frame ─┬─► batch: all rows ─────────────────────────► batch_inference.csv
//!                         ├─► stream: row by row ──────────────────────► stream_inference.jsonl
//!                         └─► async: arrivals ─► bounded queue ─► workers ► stream_inference_async.jsonl,
//!                                                                           streaming_metrics.json
//! ```

mod config;
mod error;
mod input;
pub mod live;
mod modes;
mod monitor;
mod output;
mod overrides;
mod pool;
mod profile;
mod run;
mod runtime;

pub use config::{Config, DEFAULT_TOML, Mode, Plan, PlanError, SERVICE, TestMode};
pub use error::{InputError, OutputError, RunError};
pub use evenkeel_scoring::{Memory, Policy, Report};
pub use input::read_rows;
pub use monitor::Clock;
pub use overrides::{Overrides, read_overrides};
pub use pool::{Pace, PoolError, Scored, score_through_queue};
pub use profile::write_profile;
pub use run::{Counted, Prepared, Progress, Summary, prepare, run};
pub use runtime::{RuntimeChoice, RuntimeError, RuntimeName};
