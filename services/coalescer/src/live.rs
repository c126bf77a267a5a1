//! Live frames: what gateways ask of this worker's partitions, and the frames they get.
//!
//! Beside everything else the driver does: interest is heard once a partition is live, frames leave outside every
//! transaction, and nothing here reads or moves a position. One send is on its way at a time; while it is, frames stay
//! due, so that a slow log gets fewer frames and always the newest.

use crate::driver::{Action, Driver};
use crate::event::Event;
use evenkeel_codec::{decode_interest, encode_frame};
use evenkeel_model::Topic;
use evenkeel_seam::{LogAction, Outputs, RecordRef};
use evenkeel_window::FrameInput;

/// How many records of `interest` a partition's new owner reads back: above what gateways say of it between two
/// repetitions. What is missed is said again within seconds.
const INTEREST_TAIL: u64 = 4_096;
/// Bytes of one send. What is due beyond waits for the next.
const SEND_BYTES_MAX: usize = 1 << 20;

/// The frames of one worker.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// A send is on its way.
    sending: bool,
    spare: Outputs,
    record: Vec<u8>,
    /// Which partition's turn is first.
    turn: usize,
}

impl Driver {
    /// A partition is live: its gateways are heard from now on.
    pub(crate) fn follow(&self, partition: u32, out: &mut Vec<Action>) {
        if self.options.settings.watch.streams_max > 0 {
            let (topic, tail) = (Topic::Interest, INTEREST_TAIL);
            out.push(Action::Log(LogAction::Follow { partition, topic, tail }));
        }
    }

    /// Gateways say what they look at.
    pub(crate) fn hear(
        &mut self,
        now_ms: i64,
        partition: u32,
        records: &[RecordRef<'_>],
        out: &mut Vec<Action>,
    ) {
        let Some(held) = self.held.get_mut(&partition).filter(|held| held.recovery.is_none()) else { return };
        for record in records {
            match decode_interest(record.value.unwrap_or_default()) {
                Ok(interest) => {
                    held.core.hear(now_ms, &interest);
                }
                Err(error) => {
                    let (offset, error) = (record.offset, error.to_string());
                    out.push(Action::Say(Event::InterestUnreadable { partition, offset, error }));
                }
            }
        }
    }

    /// Every frame that is due, in one send.
    pub(crate) fn frames(&mut self, now_ms: i64, out: &mut Vec<Action>) {
        if self.live.sending || !self.is_watched() {
            return;
        }
        let Live { spare, record, turn, .. } = &mut self.live;
        *turn = turn.wrapping_add(1);
        let mut outputs = std::mem::take(spare);
        let partitions = self.held.len();
        for at in 0..partitions {
            let held = self.held.values_mut().nth((at + *turn) % partitions);
            let Some(held) = held.filter(|held| held.recovery.is_none()) else { continue };
            if outputs.bytes() >= SEND_BYTES_MAX {
                break;
            }
            let input = FrameInput { now_ms, live: held.caught_up };
            held.core.frames(&input, &mut |frame, to| {
                record.clear();
                encode_frame(frame, record);
                for partition in to {
                    let key = Some(frame.stream_id.as_bytes());
                    outputs.push(Topic::Frames, *partition, key, &[], |buf| buf.extend_from_slice(record));
                }
                outputs.bytes() < SEND_BYTES_MAX
            });
        }
        if outputs.is_empty() {
            *spare = outputs;
            return;
        }
        self.live.sending = true;
        out.push(Action::Log(LogAction::Send(outputs)));
    }

    /// The last send is over.
    pub(crate) fn sent(&mut self, outputs: Outputs, dropped: usize, out: &mut Vec<Action>) {
        self.live.spare = outputs;
        self.live.spare.clear();
        self.live.sending = false;
        if dropped > 0 {
            out.push(Action::Say(Event::FramesDropped(dropped)));
        }
    }
}
