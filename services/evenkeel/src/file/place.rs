//! When an event of a file arrived, and which number it has where the file gives none.
//!
//! Without an arrival of its own an event of a file arrives when its stream was at its largest event time so
//! far: the file is replayed in its own time, so that old data is not `too_old`. Numbers go on from file to
//! file; a seq that a file gives moves them on too, so that a later file without seq cannot meet it.

use super::error::LineError;
use evenkeel_codec::json::JsonEvent;
use evenkeel_local::StreamState;
use evenkeel_model::limits::{TS_MAX_MS, TS_MIN_MS};

/// Which arrival an event without one gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The largest event time so far of its stream in the file.
    File,
    /// The clock, ms since the epoch.
    Now(i64),
}

/// Gives `event` its seq and returns its arrival, ms; `state` moves on. Nothing changes on an error.
pub fn place(event: &mut JsonEvent, state: &mut StreamState, rule: Arrival) -> Result<i64, LineError> {
    check_time("ts", event.ts)?;
    let newest = state.max_ts.map_or(event.ts, |max| max.max(event.ts));
    let arrival = match (event.arrival, rule) {
        (Some(given), _) => given,
        (None, Arrival::File) => newest,
        (None, Arrival::Now(now)) => now,
    };
    check_time("arrival", arrival)?;
    let seq = event.seq.unwrap_or(state.next_seq);
    let next_seq = match seq.checked_add(1) {
        Some(after) => state.next_seq.max(after),
        None if event.seq.is_some() => u64::MAX,
        None => return Err(LineError::NumbersUsedUp),
    };
    event.seq = Some(seq);
    *state = StreamState { next_seq, max_ts: Some(newest) };
    Ok(arrival)
}

/// A time that admission would refuse must not become an arrival, which would refuse every later line.
fn check_time(member: &'static str, ms: i64) -> Result<(), LineError> {
    match (TS_MIN_MS..=TS_MAX_MS).contains(&ms) {
        true => Ok(()),
        false => Err(LineError::TimeRange { member, got: ms }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(ts: i64, seq: Option<u64>, arrival: Option<i64>) -> JsonEvent {
        JsonEvent { ts, seq, arrival, ..JsonEvent::default() }
    }

    #[test]
    fn a_file_is_replayed_in_its_own_time() {
        let mut state = StreamState::default();
        let mut arrival = |ts| place(&mut event(ts, None, None), &mut state, Arrival::File).unwrap();
        assert_eq!([arrival(10), arrival(30), arrival(20), arrival(31)], [10, 30, 30, 31]);
        assert_eq!(state, StreamState { next_seq: 4, max_ts: Some(31) });
        let mut given = event(5, None, Some(77));
        assert_eq!(place(&mut given, &mut state, Arrival::Now(9)), Ok(77));
        assert_eq!(place(&mut event(5, None, None), &mut state, Arrival::Now(9)), Ok(9));
    }

    #[test]
    fn numbers_go_on_and_never_meet_a_given_one() {
        let mut state = StreamState { next_seq: 7, max_ts: None };
        let mut number = |seq| {
            let mut event = event(1, seq, None);
            place(&mut event, &mut state, Arrival::File).unwrap();
            event.seq.unwrap()
        };
        assert_eq!(
            [number(None), number(Some(3)), number(None), number(Some(50)), number(None)],
            [7, 3, 8, 50, 51]
        );
        assert_eq!(number(Some(u64::MAX)), u64::MAX);
        let used_up = place(&mut event(1, None, None), &mut state, Arrival::File);
        assert_eq!(used_up, Err(LineError::NumbersUsedUp));
    }

    #[test]
    fn a_time_out_of_range_moves_nothing() {
        let mut state = StreamState { next_seq: 1, max_ts: Some(5) };
        for bad in [event(i64::MAX, None, None), event(-1, None, None), event(5, None, Some(-1))] {
            let error = place(&mut bad.clone(), &mut state, Arrival::File).unwrap_err();
            assert!(error.to_string().contains("between 0 and 253402300799999 ms"), "{error}");
        }
        assert_eq!(state, StreamState { next_seq: 1, max_ts: Some(5) });
    }
}
