//! Avro, JSON and CSV to and from the model, Avro from the schemas in schemas/avro.
//!
//! Owns: every byte the system puts on the log or into the embedded store, one file per record
//! (encode, decode, golden bytes, round trip), and the text an app sends. Never: a log, a clock, a rule
//! about windows; whether a number is finite or a time plausible is admission's to say, event by event.
//!
//! On the wire a record is in Avro's single-object encoding: `C3 01`, the CRC-64-AVRO fingerprint of its
//! schema (little endian), then the body. The decoders are written by hand over the schemas they know,
//! because resolving a schema per record costs several times the decoding; a general Avro library is the
//! oracle they are tested against (`tests/oracle`). A schema is known by its fingerprint alone:
//! schemas/avro/README.md says how a second version is added.
//!
//! Decoders trust nothing: every count is checked against a limit and against the bytes that are left
//! before anything is allocated, and no input makes them panic.

mod alert;
mod batch;
mod builder;
pub mod csv;
mod error;
mod event;
mod frame;
mod interest;
pub mod json;
mod mark;
mod percent;
mod row;
mod row_parts;
pub mod schema;
mod score;
mod stored;
mod wire;

pub use alert::{decode_alert, encode_alert};
pub use batch::{Sequence, decode_batch, decode_sequence, encode_batch};
pub use builder::{BatchBuilder, BatchLimits};
pub use error::DecodeError;
pub use frame::{decode_frame, encode_frame};
pub use interest::{decode_interest, encode_interest};
pub use mark::{decode_mark, encode_mark};
pub use percent::percent_decode;
pub use row::{RowHead, WindowRecord, decode_row_head, decode_window_record, encode_late, encode_row};
pub use score::{decode_score, encode_score};
pub use stored::{decode_stored, encode_stored};

/// `EventBatch::arrival_ms` of a record whose producer set none: the record's own timestamp stands in.
pub const ARRIVAL_UNSET_MS: i64 = -1;
