//! The threads that read the log and ask the store.
//!
//! Owns: their loops. Never: ends because the log or the store is away: it is tried again, with a pause.

use crate::content::devices::GLANCES_MAX;
use crate::server::Server;
use crate::source::{Arrived, Errand, History, Source, SourceError, Teller};
use evenkeel_codec::{decode_alert, decode_frame};
use evenkeel_telemetry::{Emitter, event};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

event! {
    /// The log cannot be read or written.
    struct LogAway<'a> WARN "gateway.log.away" "the log cannot be read or written for now; frames wait, and are said to be stale" {
        values { why: &'a str }
        limit("", 10_000);
    }
}

event! {
    /// The store does not answer.
    struct StoreAway<'a> WARN "gateway.store.away" "the store does not answer; charts begin without their past" {
        values { why: &'a str }
        limit("", 10_000);
    }
}

event! {
    /// A record of the log cannot be read.
    struct Unreadable<'a> WARN "gateway.record.unreadable" "a record of frames or alerts cannot be read; it is passed over" {
        values { why: &'a str }
        limit("", 10_000);
    }
}

/// How long a poll waits: the end of the service is noticed after it.
const WAIT: Duration = Duration::from_millis(250);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// What comes within so long is read together: screens are painted every 100 ms, and each wake-up costs more than
/// the record that it is for.
const GATHER: Duration = Duration::from_millis(25);
/// So many records at once are a log that is behind: it is read on without a pause.
const MANY: usize = 256;

/// Reads the tail until `stop`.
pub(crate) fn read_log(mut source: Box<dyn Source>, shared: &Server, stop: &AtomicBool, emitter: &Emitter) {
    while !stop.load(Ordering::Acquire) {
        let mut records = 0;
        let polled = source.poll(WAIT, &mut |arrived| {
            records += 1;
            take(&arrived, shared, emitter);
        });
        if let Err(error) = polled {
            away(&error, shared, emitter);
            std::thread::sleep(PAUSE);
        } else if (1..MANY).contains(&records) {
            std::thread::sleep(GATHER);
        }
    }
}

/// Says what is watched, where something changed or is about to expire.
pub(crate) fn say(teller: &mut dyn Teller, shared: &Server, emitter: &Emitter) {
    let interests = shared.hall().interests(shared.wall_ms());
    if !interests.is_empty()
        && let Err(error) = teller.tell(&interests)
    {
        away(&error, shared, emitter);
    }
}

fn away(error: &SourceError, shared: &Server, emitter: &Emitter) {
    shared.meters.source_failed();
    LogAway { why: &error.0 }.emit(emitter);
}

fn take(arrived: &Arrived<'_>, shared: &Server, emitter: &Emitter) {
    match *arrived {
        Arrived::Frame { value } => match decode_frame(value) {
            Ok(frame) => shared.hall().frame(&frame, shared.now()),
            Err(error) => Unreadable { why: &error.to_string() }.emit(emitter),
        },
        Arrived::AlertsBegin { partition, offset } => shared.hall().alerts.begin(partition, offset),
        Arrived::Alert { partition, offset, timestamp_ms, value } => match decode_alert(value) {
            Ok(alert) => {
                let now_ms = shared.elapsed_ms();
                shared.hall().alert((partition, offset, timestamp_ms), &alert, now_ms);
            }
            Err(error) => Unreadable { why: &error.to_string() }.emit(emitter),
        },
    }
}

/// Asks the store until nobody sends errands any more. Several threads share them.
pub(crate) fn ask_store(
    mut history: Box<dyn History>,
    errands: &Arc<Mutex<Receiver<Errand>>>,
    shared: &Server,
    emitter: &Emitter,
) {
    loop {
        let next = errands.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(errand) = next else { return };
        if let Err(error) = run_errand(history.as_mut(), &errand, shared) {
            shared.meters.source_failed();
            StoreAway { why: &error.0 }.emit(emitter);
            shared.hall().unanswered(errand, shared.elapsed_ms());
        }
    }
}

fn run_errand(history: &mut dyn History, errand: &Errand, shared: &Server) -> Result<(), SourceError> {
    match errand {
        Errand::Newest(question) => {
            let rows = history.newest(question)?;
            shared.hall().history(question, &rows, shared.now());
        }
        Errand::Streams => {
            let listing = history.streams(GLANCES_MAX)?;
            shared.hall().listing(&listing, shared.now());
        }
    }
    Ok(())
}
