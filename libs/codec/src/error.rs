//! Why bytes are not a record of ours.

use evenkeel_model::{BatchError, StreamIdError};

/// Why a record cannot be decoded. Each message says what was found and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Framed for a schema registry.
    #[error(
        "the record is framed for a schema registry (00, schema id {schema_id}) that does not explain it: \
         kafka.schema-registry.url names none, or its schema of this id is not one that fits here (the log says \
         why); or send Avro single-object encoding (C3 01 and the schema's fingerprint)"
    )]
    RegistryFraming {
        /// The registry's id of the writer's schema.
        schema_id: u32,
    },
    /// Not framed as a single object.
    #[error(
        "the record starts with {found}, not with C3 01: it is not Avro single-object encoding; encode it with \
         a schema of schemas/avro, fingerprint included"
    )]
    UnknownFraming {
        /// The first bytes, in hex.
        found: String,
    },
    /// The fingerprint names no schema that is read here.
    #[error(
        "schema fingerprint {fingerprint:016x}{named} is not one this program reads here (it reads {reads}); \
         upgrade readers before writers, or encode with that schema from schemas/avro"
    )]
    UnknownSchema {
        /// CRC-64-AVRO of the writer's schema.
        fingerprint: u64,
        /// ` (Name)` if it is one of ours that does not belong here, else empty.
        named: &'static str,
        /// The names of the schemas that are read here.
        reads: &'static str,
    },
    /// The bytes end too early.
    #[error("{member}: the record ends at byte {at}, in the middle of it")]
    Truncated {
        /// Where in the schema.
        member: &'static str,
        /// Length of the record after its header, bytes.
        at: usize,
    },
    /// A variable-length integer of more than 64 bits, or of more than 32 where the schema says int.
    #[error("{member}: integer of more than {bits} bits")]
    Integer {
        /// Where in the schema.
        member: &'static str,
        /// The width the schema allows.
        bits: u32,
    },
    /// A count, length or size that is negative or beyond its limit.
    #[error("{member}: {got} given; the limit here is {max}")]
    Limit {
        /// Where in the schema.
        member: &'static str,
        /// What the record says.
        got: i64,
        /// The most that is allowed (or that the remaining bytes can hold).
        max: usize,
    },
    /// Text that is not UTF-8.
    #[error("{member}: not UTF-8")]
    Utf8 {
        /// Where in the schema.
        member: &'static str,
    },
    /// A stream id or a field name that breaks a limit.
    #[error("{member} {source}")]
    Text {
        /// Where in the schema.
        member: &'static str,
        /// Which limit.
        source: StreamIdError,
    },
    /// A value the schema does not have: a union branch, an enum symbol, a boolean.
    #[error("{member}: {got} is no value of the schema; {want}")]
    Choice {
        /// Where in the schema.
        member: &'static str,
        /// What the record says.
        got: i64,
        /// What the schema allows.
        want: &'static str,
    },
    /// A value that contradicts another one.
    #[error("{member}: {why}")]
    Contradiction {
        /// Where in the schema.
        member: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// The columns do not fit together.
    #[error(transparent)]
    Shape(#[from] BatchError),
    /// Bytes follow the record.
    #[error("{0} bytes follow the record")]
    Trailing(usize),
}
