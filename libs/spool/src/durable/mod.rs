//! Recordings: content that must survive, in a file of its own with a journal of checksums beside it.
//!
//! Owns: append at an offset, what is known to be on stable storage, recovery. Never: accepts bytes whose place
//! is not the end, or serves bytes whose checksum is in doubt after a recovery.

mod journal;
mod recording;
mod recovery;

pub use recording::{AppendError, Recording, RecordingOptions, SyncPolicy};
pub use recovery::{RecoverError, Recovered, Verify};
