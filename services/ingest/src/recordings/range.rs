//! The header `range` (RFC 9110, 14) for content that may still grow: what is asked for, and what that is of a size.
//!
//! Owns: reading and resolving ranges. Never: waits, reads.

use std::ops::Range;

/// Most ranges of one request; more are refused, as RFC 9110 allows for sets that would cost more than all of it.
pub(crate) const RANGES_MAX: usize = 16;

/// One range as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// `a-b`, both counted in.
    Between(u64, u64),
    /// `a-`
    From(u64),
    /// `-n`: the last so many bytes.
    Last(u64),
}

/// What a request wants of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: there is no range, or one that this server need not understand.
    Whole,
    /// These parts, at least one.
    Parts(Vec<Ask>),
    /// More parts than are served.
    TooMany,
}

/// Reads the header. What is not a set of byte ranges is ignored, as RFC 9110 has it.
pub(crate) fn wanted(header: Option<&[u8]>) -> Wanted {
    let text = header.and_then(|header| std::str::from_utf8(header).ok());
    let Some(set) = text.and_then(bytes_of) else { return Wanted::Whole };
    let mut asks = Vec::new();
    for part in set.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        if asks.len() == RANGES_MAX {
            return Wanted::TooMany;
        }
        let Some(ask) = ask(part) else { return Wanted::Whole };
        asks.push(ask);
    }
    if asks.is_empty() { Wanted::Whole } else { Wanted::Parts(asks) }
}

fn bytes_of(text: &str) -> Option<&str> {
    let (unit, set) = text.split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then_some(set)
}

fn ask(part: &str) -> Option<Ask> {
    let (first, last) = part.split_once('-')?;
    match (first, last) {
        ("", last) => Some(Ask::Last(number(last)?)),
        (first, "") => Some(Ask::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Ask::Between(first, last))
        }
    }
}

/// Digits only; what is beyond 64 bits is as far as can be.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

impl Ask {
    /// The part of content of this size, `[start, end)`; `None` = nothing of it is there.
    pub(crate) fn of(self, size: u64) -> Option<Range<u64>> {
        let (start, end) = match self {
            Self::Between(first, last) => (first, last.saturating_add(1).min(size)),
            Self::From(first) => (first, size),
            Self::Last(bytes) => (size.saturating_sub(bytes), size),
        };
        (start < end).then_some(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(header: &str) -> Wanted {
        wanted(Some(header.as_bytes()))
    }

    #[test]
    fn every_form_of_a_range_is_read() {
        assert_eq!(parts("bytes=0-99"), Wanted::Parts(vec![Ask::Between(0, 99)]));
        assert_eq!(parts("Bytes= 5- , -7,"), Wanted::Parts(vec![Ask::From(5), Ask::Last(7)]));
        assert_eq!(parts("bytes=0-99999999999999999999"), Wanted::Parts(vec![Ask::Between(0, u64::MAX)]));
        assert_eq!(wanted(None), Wanted::Whole);
    }

    #[test]
    fn what_is_no_set_of_ranges_is_ignored_and_a_flood_is_refused() {
        for header in
            ["bytes", "bytes=", "bytes=a-b", "bytes=2-1", "bytes=-", "items=0-1", "bytes=0-1,x", "bytes=+1-2"]
        {
            assert_eq!(parts(header), Wanted::Whole, "{header}");
        }
        let many = |n: usize| parts(&format!("bytes={}", vec!["0-0"; n].join(",")));
        assert!(matches!(many(RANGES_MAX), Wanted::Parts(asks) if asks.len() == RANGES_MAX));
        assert_eq!(many(RANGES_MAX + 1), Wanted::TooMany);
    }

    proptest! {
        /// A range is what indexing the content would give.
        #[test]
        fn a_range_is_a_slice_of_the_content(size in 0u64..50, a in 0u64..60, b in 0u64..60, form in 0..3) {
            let content: Vec<u64> = (0..size).collect();
            let (ask, want): (Ask, Vec<u64>) = match form {
                0 => {
                    let (a, b) = (a.min(b), a.max(b));
                    (Ask::Between(a, b), content.iter().copied().filter(|i| (a..=b).contains(i)).collect())
                }
                1 => (Ask::From(a), content.iter().copied().filter(|i| *i >= a).collect()),
                _ => (Ask::Last(a), content.iter().copied().rev().take(a as usize).rev().collect()),
            };
            let got: Vec<u64> = ask.of(size).map(|range| range.collect()).unwrap_or_default();
            prop_assert_eq!(got, want);
        }
    }
}
