//! What a delivery report says of a record.
//!
//! Owns: the one reading of a report that everything else asks. Never: takes the client library's word for a record
//! whose offset it does not know.
//!
//! librdkafka calls a record delivered once a later batch of its partition was ("implicit ack"), because a broker
//! takes a producer's batches in sequence only. It does not when it knows nothing of the producer: then it takes a
//! batch of any sequence number. A first batch that is refused (its broker was not the leader yet), with a second one
//! under way that is taken, is so reported delivered and lies nowhere. Only an offset is proof.

use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::DeliveryResult;

/// What became of a record.
#[derive(Debug, PartialEq)]
pub(crate) enum Delivered {
    /// It lies at this offset.
    At(u64),
    /// Reported as delivered without an offset: it may lie in the log, or nowhere.
    Unproven,
    /// It was refused or lost.
    Failed(KafkaError),
}

impl Delivered {
    /// What the report says.
    pub fn of(result: &DeliveryResult<'_>) -> Self {
        match result {
            Ok(record) => Self::at(record.offset()),
            Err((error, _)) => Self::Failed(error.clone()),
        }
    }

    fn at(offset: i64) -> Self {
        u64::try_from(offset).map_or(Self::Unproven, Self::At)
    }

    /// Why it cannot be counted on; none = it can.
    pub fn failed(&self) -> Option<String> {
        match self {
            Self::At(_) => None,
            Self::Unproven => Some(
                "the broker took a later batch and said nothing of this one: it may not be in the log"
                    .to_owned(),
            ),
            Self::Failed(error) => Some(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_offset_is_proof() {
        assert_eq!(Delivered::at(0), Delivered::At(0));
        for unknown in [-1, -1001] {
            assert_eq!(Delivered::at(unknown), Delivered::Unproven);
            assert!(Delivered::at(unknown).failed().is_some());
        }
        assert_eq!(Delivered::At(7).failed(), None);
    }
}
