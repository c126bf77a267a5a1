//! The best static setting of each segment, chosen after the fact: what no policy can know.
//!
//! Owns: the settings tried and the choice. Never: a mixture within a segment. The samples of a segment come from the
//! run that was best in it, so the oracle does not even pay for its changes between segments.

use super::{Outcome, World};
use crate::{Linger, Policy};

/// What the oracle may choose from: (linger ms, batch bytes).
pub const ORACLE_POLICIES: &[(u64, u64)] = &[
    (0, 1_000_000),
    (1, 1_000_000),
    (2, 1_000_000),
    (3, 1_000_000),
    (5, 1_000_000),
    (7, 1_000_000),
    (10, 1_000_000),
    (15, 1_000_000),
    (20, 1_000_000),
    (30, 1_000_000),
    (50, 1_000_000),
    (100, 1_000_000),
    (500, 16_384),
    (500, 65_536),
    (500, 262_144),
];

/// Plays every setting of [`ORACLE_POLICIES`] and keeps of each segment the run with the lowest p99 of latency; a run
/// that refused events in a segment is out of the question while another did not.
pub fn oracle(world: &World) -> Outcome {
    let mut best: Option<Outcome> = None;
    for &(linger_ms, bytes_max) in ORACLE_POLICIES {
        let run = world.play(&Policy::Linger(Linger { linger_ms, bytes_max }));
        match &mut best {
            None => best = Some(run),
            Some(best) => keep_better(best, run),
        }
    }
    let mut best = best.unwrap_or_else(|| Outcome::new(0));
    best.refused_events = best.refused.iter().sum();
    best
}

/// Requests are those of whichever run came first: they belong to whole runs.
fn keep_better(best: &mut Outcome, mut run: Outcome) {
    for segment in 0..best.segments.len() {
        let rank = |o: &Outcome| (o.refused[segment], o.segment_latency(segment).p99_ms);
        if rank(&run) < rank(best) {
            best.segments[segment] = std::mem::take(&mut run.segments[segment]);
            best.refused[segment] = run.refused[segment];
        }
    }
}
