//! What a commit carries beside the offset: the way back. One stored text = this file: fields, format,
//! parser and round trip.
//!
//! Format (version 1): `1;name=value;…`, integers in decimal, lists with `,`. At most
//! [`CommitMeta::BYTES_MAX`] bytes of UTF-8, the broker's default `offset.metadata.max.bytes`.

use crate::ScorerMeta;
use evenkeel_model::{DropReason, Topic};
use std::fmt::Write as _;

/// The ledger of one partition (EK-SUM-1), per window size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Rising by size.
    pub sizes: Vec<SizeLedger>,
    /// Events that the log lost before they were read.
    pub lost: u64,
}

/// The ledger of one size: `consumed = in_rows + in_open + Σ reasons`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SizeLedger {
    /// Window size, ms.
    pub size_ms: i64,
    /// Events consumed (an undecodable record counts 1).
    pub consumed: u64,
    /// Offset from which events count for this size: where it came into the configuration.
    pub since: u64,
    /// Events in sent rows.
    pub in_rows: u64,
    /// Events in open or pending windows.
    pub in_open: u64,
    /// Events by reason, indexed by [`DropReason::index`].
    pub reasons: [u64; DropReason::ALL.len()],
}

impl SizeLedger {
    /// `consumed − (in_rows + in_open + Σ reasons)`: must read 0.
    pub fn imbalance(&self) -> i64 {
        let accounted = self.in_rows + self.in_open + self.reasons.iter().sum::<u64>();
        self.consumed as i64 - accounted as i64
    }
}

/// The metadata of one committed offset (docs/recovery.md).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitMeta {
    /// Smallest offset of any event in an open or pending window.
    pub replay_from: u64,
    /// At or before the newest row of every (stream, size) that no Mark covers.
    pub windows_from: u64,
    /// After the last record this partition's transactions wrote in `windows`.
    pub windows_to: u64,
    /// After the last record this partition's transactions wrote in `marks`.
    pub marks_to: u64,
    /// Final mark of every stream without state, ms.
    pub floor: i64,
    /// Log clock: largest arrival seen, ms.
    pub log_clock: i64,
    /// Log clock just before `replay_from`, ms.
    pub log_clock_at_replay_from: i64,
    /// Live clock, ms.
    pub live_clock: i64,
    /// Counters.
    pub ledger: Ledger,
    /// Partition count of the events topic.
    pub partitions: u32,
    /// Frame epoch: rises with each recovery.
    pub epoch: u64,
    /// The writer's transactional id.
    pub writer: String,
    /// A scorer's, which consumes `windows` and has no ledger.
    pub scorer: Option<ScorerMeta>,
}

/// Why metadata cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// Another version.
    #[error("commit metadata has version {0:?}, this program reads version 1; run the version that wrote it")]
    Version(String),
    /// A field is missing or not a number.
    #[error("commit metadata: field {0} is missing or broken in {1:?}")]
    Field(&'static str, String),
    /// More than the broker takes.
    #[error("commit metadata is {0} bytes, the limit is {max}; configure fewer window sizes", max = CommitMeta::BYTES_MAX)]
    TooLong(usize),
}

impl CommitMeta {
    /// Longest text, bytes.
    pub const BYTES_MAX: usize = 4096;

    /// Where the outputs of the transaction ended: the adapter tells for each topic the offset after the last
    /// record that it wrote to this partition of it; `None` = it wrote none, and the value stays.
    pub fn landed(&mut self, end_of: impl Fn(Topic) -> Option<u64>) {
        self.windows_to = end_of(Topic::Windows).unwrap_or(self.windows_to);
        self.marks_to = end_of(Topic::Marks).unwrap_or(self.marks_to);
        if let Some(scorer) = &mut self.scorer {
            scorer.scores_to = end_of(Topic::Scores).unwrap_or(scorer.scores_to);
            scorer.alerts_to = end_of(Topic::Alerts).unwrap_or(scorer.alerts_to);
        }
    }

    /// The text to store with the offset.
    pub fn encode(&self) -> Result<String, MetaError> {
        let mut text = format!(
            "1;rf={};wf={};wt={};mt={};fl={};lc={};lr={};lv={};pc={};ep={};ls={};tx={}",
            self.replay_from,
            self.windows_from,
            self.windows_to,
            self.marks_to,
            self.floor,
            self.log_clock,
            self.log_clock_at_replay_from,
            self.live_clock,
            self.partitions,
            self.epoch,
            self.ledger.lost,
            self.writer.replace([';', '='], "_"),
        );
        for size in &self.ledger.sizes {
            let _ = write!(
                text,
                ";z={},{},{},{},{}",
                size.size_ms, size.since, size.consumed, size.in_rows, size.in_open
            );
            for n in size.reasons {
                let _ = write!(text, ",{n}");
            }
        }
        if let Some(scorer) = &self.scorer {
            let _ = write!(text, ";sc={}", scorer.encode());
        }
        match text.len() <= Self::BYTES_MAX {
            true => Ok(text),
            false => Err(MetaError::TooLong(text.len())),
        }
    }

    /// Reads a stored text.
    pub fn decode(text: &str) -> Result<Self, MetaError> {
        let (version, rest) = text.split_once(';').unwrap_or((text, ""));
        if version != "1" {
            return Err(MetaError::Version(version.to_owned()));
        }
        let get = |name: &'static str| {
            rest.split(';')
                .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
                .ok_or_else(|| MetaError::Field(name, text.to_owned()))
        };
        fn number<T: std::str::FromStr>(name: &'static str, value: &str, text: &str) -> Result<T, MetaError> {
            value.parse().map_err(|_| MetaError::Field(name, text.to_owned()))
        }
        macro_rules! num {
            ($name:literal) => {
                number($name, get($name)?, text)?
            };
        }
        let mut sizes = Vec::new();
        for list in rest.split(';').filter_map(|part| part.strip_prefix("z=")) {
            sizes.push(decode_size(list).ok_or_else(|| MetaError::Field("z", text.to_owned()))?);
        }
        let scorer = rest.split(';').find_map(|part| part.strip_prefix("sc="));
        let scorer = scorer
            .map(|part| ScorerMeta::decode(part).ok_or_else(|| MetaError::Field("sc", text.to_owned())))
            .transpose()?;
        Ok(Self {
            scorer,
            replay_from: num!("rf"),
            windows_from: num!("wf"),
            windows_to: num!("wt"),
            marks_to: num!("mt"),
            floor: num!("fl"),
            log_clock: num!("lc"),
            log_clock_at_replay_from: num!("lr"),
            live_clock: num!("lv"),
            ledger: Ledger { sizes, lost: num!("ls") },
            partitions: num!("pc"),
            epoch: num!("ep"),
            writer: get("tx")?.to_owned(),
        })
    }
}

fn decode_size(list: &str) -> Option<SizeLedger> {
    let mut numbers = list.split(',');
    let mut size = SizeLedger { size_ms: numbers.next()?.parse().ok()?, ..SizeLedger::default() };
    let mut next = || numbers.next()?.parse::<u64>().ok();
    (size.since, size.consumed, size.in_rows, size.in_open) = (next()?, next()?, next()?, next()?);
    for n in &mut size.reasons {
        *n = next()?;
    }
    numbers.next().is_none().then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> CommitMeta {
        let size = |size_ms| SizeLedger {
            size_ms,
            since: 2,
            consumed: 60,
            in_rows: 30,
            in_open: 9,
            reasons: [1, 2, 3, 4, 5, 6, 0],
        };
        CommitMeta {
            replay_from: 12,
            floor: i64::MIN,
            ledger: Ledger { sizes: vec![size(5_000), size(60_000)], lost: 1 },
            partitions: 3,
            writer: "evenkeel-coalescer-0-1".into(),
            ..CommitMeta::default()
        }
    }

    #[test]
    fn golden_text_of_version_1() {
        assert_eq!(
            example().encode().unwrap(),
            "1;rf=12;wf=0;wt=0;mt=0;fl=-9223372036854775808;lc=0;lr=0;lv=0;pc=3;ep=0;ls=1;\
             tx=evenkeel-coalescer-0-1;z=5000,2,60,30,9,1,2,3,4,5,6,0;z=60000,2,60,30,9,1,2,3,4,5,6,0"
        );
        assert_eq!(example().ledger.sizes[0].imbalance(), 0);
    }

    #[test]
    fn other_versions_and_broken_fields_are_refused_with_what_is_wrong() {
        assert_eq!(CommitMeta::decode("2;rf=1"), Err(MetaError::Version("2".into())));
        assert!(matches!(CommitMeta::decode("1;rf=x"), Err(MetaError::Field("rf", _))));
        assert!(matches!(CommitMeta::decode(""), Err(MetaError::Version(_))));
        let mut long = example();
        long.writer = "x".repeat(5000);
        assert!(matches!(long.encode(), Err(MetaError::TooLong(_))));
    }

    #[test]
    fn eight_sizes_with_huge_counters_fit() {
        let mut meta = example();
        let huge = SizeLedger {
            size_ms: 300_000,
            since: u64::MAX,
            consumed: u64::MAX,
            in_rows: u64::MAX,
            in_open: u64::MAX,
            reasons: [u64::MAX; 7],
        };
        meta.ledger.sizes = vec![huge; 8];
        assert!(meta.encode().unwrap().len() < CommitMeta::BYTES_MAX);
    }

    #[test]
    fn a_scorers_commit_has_its_own_part_and_adapters_fill_it_in() {
        let scorer = ScorerMeta {
            scores_from: 4,
            scores_to: 5,
            moving: Some(0.5_f64.to_bits()),
            ..ScorerMeta::default()
        };
        let mut meta = CommitMeta { scorer: Some(scorer), marks_to: 3, ..CommitMeta::default() };
        meta.landed(|topic| (topic == Topic::Scores).then_some(9));
        assert_eq!(
            (meta.scorer.unwrap().scores_to, meta.scorer.unwrap().alerts_to, meta.marks_to),
            (9, 0, 3)
        );
        let text = meta.encode().unwrap();
        assert!(text.ends_with(";tx=;sc=4,0,9,0,0,3fe0000000000000"), "{text}");
        assert_eq!(CommitMeta::decode(&text), Ok(meta));
        assert!(matches!(CommitMeta::decode(&text.replace("sc=4", "sc=x")), Err(MetaError::Field("sc", _))));
    }

    proptest! {
        #[test]
        fn round_trip(a in any::<u64>(), b in any::<i64>(), c in any::<u32>(), w in "[a-z0-9._-]{0,60}") {
            let mut meta = example();
            (meta.replay_from, meta.windows_from, meta.windows_to, meta.marks_to) = (a, a / 2, a / 3, a / 5);
            (meta.floor, meta.log_clock, meta.live_clock) = (b, b / 2, b / 3);
            (meta.partitions, meta.epoch, meta.writer) = (c, a / 7, w);
            prop_assert_eq!(CommitMeta::decode(&meta.encode().unwrap()), Ok(meta));
        }

        #[test]
        fn decode_never_panics(text in ".{0,200}") {
            let _ = CommitMeta::decode(&text);
        }
    }
}
