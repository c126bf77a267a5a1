//! JSON: one event as an app sends it, one window row as a query prints it.
//!
//! Owns: the names of the members and what a value may be. Never: a limit on the length of a line (the
//! caller cuts lines), an event's plausibility (admission).

mod base64;
mod event;
mod mapped;
mod row;
mod scalar;
mod timestamp;

pub use event::{EventTextError, JsonEvent, check_event, parse_event, read_event};
pub(crate) use event::{renew, set_field};
pub use mapped::{Fields, MappedError, Mapping, Path, TimeUnit};
pub use row::write_row;
pub(crate) use scalar::cut;
pub use timestamp::parse_timestamp;
