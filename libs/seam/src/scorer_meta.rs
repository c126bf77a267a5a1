//! The scorer's part of a commit's metadata: where what it remembers lies in `scores` and `alerts`, and the
//! one number that no bounded stretch of a topic tells. One stored text = this file.

/// What a scorer's commit carries beside `replay_from` (docs/scoring.md, "After a crash").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScorerMeta {
    /// Where reading `scores` begins: at or before every score that a threshold remembers.
    pub scores_from: u64,
    /// Largest arrival of the scores before `scores_from`, ms since the epoch.
    pub scores_clock: i64,
    /// After the last record this partition's transactions wrote in `scores`.
    pub scores_to: u64,
    /// Where reading `alerts` begins: at or before a record of every alert that stands.
    pub alerts_from: u64,
    /// After the last record this partition's transactions wrote in `alerts`.
    pub alerts_to: u64,
    /// The threshold that moves with each score since the beginning of time (`rule = "target-rate"`), if there is
    /// one: the bits of the double, so that it comes back as it was.
    pub moving: Option<u64>,
}

impl ScorerMeta {
    /// The value of the text's member `sc`: numbers with `,`, the bits in hexadecimal.
    pub(crate) fn encode(&self) -> String {
        let moving = self.moving.map_or(String::new(), |m| format!("{m:016x}"));
        let Self { scores_from, scores_clock, scores_to, alerts_from, alerts_to, .. } = self;
        format!("{scores_from},{scores_clock},{scores_to},{alerts_from},{alerts_to},{moving}")
    }

    /// Reads what [`ScorerMeta::encode`] wrote.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let scores_from = parts.next()?.parse().ok()?;
        let scores_clock = parts.next()?.parse().ok()?;
        let mut next = || parts.next()?.parse::<u64>().ok();
        let (scores_to, alerts_from, alerts_to) = (next()?, next()?, next()?);
        let moving = match parts.next()? {
            "" => None,
            bits => Some(u64::from_str_radix(bits, 16).ok()?),
        };
        parts.next().is_none().then_some(Self {
            scores_from,
            scores_clock,
            scores_to,
            alerts_from,
            alerts_to,
            moving,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_to_the_last_bit() {
        let moving = Some(0.1_f64.to_bits());
        let meta = ScorerMeta {
            scores_from: 1,
            scores_clock: i64::MIN,
            scores_to: 22,
            alerts_from: 0,
            alerts_to: 7,
            moving,
        };
        assert_eq!(meta.encode(), "1,-9223372036854775808,22,0,7,3fb999999999999a");
        assert_eq!(ScorerMeta::decode(&meta.encode()), Some(meta));
        let none = ScorerMeta { moving: None, ..meta };
        assert_eq!(ScorerMeta::decode(&none.encode()), Some(none));
        for broken in ["", "1,2,3,4,5", "1,2,3,4,5,x", "1,2,3,4,5,,6", "-1,2,3,4,5,", "1,2,3,-4,5,"] {
            assert_eq!(ScorerMeta::decode(broken), None, "{broken}");
        }
    }
}
