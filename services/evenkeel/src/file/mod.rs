//! Files of events: CSV or NDJSON, plain or gzip, read line by line in bounded memory.
//!
//! Owns: what a line means (docs/semantics.md, "Words"), arrival and numbering of replayed events, the load
//! that resumes where it was cut off. Never: a rule about windows, a whole file in memory.
//!
//! ```text
//! File ─► Source (gunzip, digest) ─► Lines ─► Columns | ndjson ─► place ─► Batcher ─► Loader (one transaction)
//! ```

mod batcher;
mod error;
mod line;
mod lines;
mod load;
mod ndjson;
mod place;
mod source;
mod spool;
mod survey;

pub use error::InputError;
#[cfg(test)]
pub use error::LineError;
pub use load::{Load, LoadFailure, LoadReport, RefusedLine};
pub use source::BytesRead;
pub use spool::{Spool, needs_spool, spool};
pub use survey::{Survey, survey};
