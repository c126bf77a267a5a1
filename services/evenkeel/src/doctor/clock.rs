//! How far two clocks surely differ. A slow answer makes no clock wrong.

use super::facts::Clocks;

/// What the difference means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They may agree.
    Fits,
    /// More than half of what is borne.
    Drifts {
        /// How far they surely differ, ms.
        by_ms: u64,
    },
    /// More than is borne.
    Wrong {
        /// See above.
        by_ms: u64,
    },
}

/// Judges.
pub fn judge(clocks: &Clocks) -> Verdict {
    let Clocks { asked_ms, heard_ms, server_ms, slack_ms } = *clocks;
    let by_ms = match server_ms {
        early if early < asked_ms => asked_ms.abs_diff(early),
        late if late > heard_ms => late.abs_diff(heard_ms.max(asked_ms)),
        _ => 0,
    };
    match by_ms {
        _ if by_ms > slack_ms => Verdict::Wrong { by_ms },
        _ if by_ms > slack_ms / 2 => Verdict::Drifts { by_ms },
        _ => Verdict::Fits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_surely_differs_counts() {
        let verdict = |server_ms| {
            judge(&Clocks { asked_ms: 1_000_000, heard_ms: 1_050_000, server_ms, slack_ms: 60_000 })
        };
        assert_eq!(verdict(1_020_000), Verdict::Fits);
        assert_eq!([verdict(970_000), verdict(1_080_000)], [Verdict::Fits; 2]);
        assert_eq!([verdict(969_999), verdict(1_080_001)], [Verdict::Drifts { by_ms: 30_001 }; 2]);
        assert_eq!([verdict(940_000), verdict(1_110_000)], [Verdict::Drifts { by_ms: 60_000 }; 2]);
        assert_eq!([verdict(939_999), verdict(1_110_001)], [Verdict::Wrong { by_ms: 60_001 }; 2]);
        assert!(matches!(verdict(i64::MIN), Verdict::Wrong { .. }));
        assert!(matches!(verdict(i64::MAX), Verdict::Wrong { .. }));
    }
}
