//! What became of each event of a request.
//!
//! Owns: the list of refused events (bounded; the counts are exact) and the answer's body.

use serde::Serialize;

/// Why one event was refused. Admission's other reasons need the stream's history: the coalescer has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It breaks the contract of docs/semantics.md; the same event will be refused again.
    Malformed,
    /// The credential may not write its stream.
    Forbidden,
    /// Its device is over its events per second; later it may pass.
    RateLimited,
    /// Its device is over its bytes per second; later it may pass.
    BytesLimited,
    /// Its tenant is over its events per second; later it may pass.
    TenantLimited,
}

impl Reason {
    /// Every reason.
    pub(crate) const ALL: [Self; 5] =
        [Self::Malformed, Self::Forbidden, Self::RateLimited, Self::BytesLimited, Self::TenantLimited];
}

/// One refused event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// Its position in the request, from 0 (blank lines do not count).
    pub index: u32,
    /// Why.
    pub reason: Reason,
    /// Why, in words.
    pub message: String,
}

/// How many events were accepted and refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Durable in the log.
    pub accepted: u64,
    /// Refused, also those the list had no room for.
    pub rejected_total: u64,
}

/// The refused events of one request.
#[derive(Debug, Default)]
pub(crate) struct Rejected {
    listed_max: usize,
    list: Vec<Rejection>,
    counts: [u64; Reason::ALL.len()],
}

/// Longest message kept, bytes.
const MESSAGE_BYTES_MAX: usize = 300;

impl Rejected {
    /// Lists at most `listed_max` of them.
    pub(crate) fn new(listed_max: usize) -> Self {
        Self { listed_max, ..Self::default() }
    }

    pub(crate) fn push(&mut self, index: u32, reason: Reason, message: impl FnOnce() -> String) {
        self.counts[reason as usize] += 1;
        if self.list.len() < self.listed_max {
            let mut message = message();
            if message.len() > MESSAGE_BYTES_MAX {
                let cut = (0..=MESSAGE_BYTES_MAX).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0);
                message.truncate(cut);
            }
            self.list.push(Rejection { index, reason, message });
        }
    }

    /// How many were refused for this reason.
    pub(crate) fn count(&self, reason: Reason) -> u64 {
        self.counts[reason as usize]
    }

    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The one reason all of them share; `None` if there is none or several.
    pub(crate) fn only_reason(&self) -> Option<Reason> {
        Reason::ALL.into_iter().find(|&reason| self.total() > 0 && self.count(reason) == self.total())
    }

    /// The list, in the order of the request.
    pub(crate) fn into_list(mut self) -> Vec<Rejection> {
        self.list.sort_by_key(|rejection| rejection.index);
        self.list
    }
}

/// The body of a 200.
#[derive(Debug, Serialize)]
pub(crate) struct Answered {
    #[serde(flatten)]
    pub(crate) counts: Counts,
    pub(crate) rejected: Vec<Rejection>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_the_counts_are_not() {
        let mut rejected = Rejected::new(2);
        for index in [5, 3, 4] {
            rejected.push(index, Reason::Malformed, || "é".repeat(400));
        }
        assert_eq!((rejected.total(), rejected.only_reason()), (3, Some(Reason::Malformed)));
        rejected.push(9, Reason::Forbidden, String::new);
        assert_eq!((rejected.only_reason(), rejected.count(Reason::Forbidden)), (None, 1));
        let list = rejected.into_list();
        assert_eq!(list.iter().map(|r| r.index).collect::<Vec<_>>(), [3, 5]);
        assert!(list[0].message.len() <= MESSAGE_BYTES_MAX);
    }
}
