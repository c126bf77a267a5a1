//! The wall clock, for expiry and for the record of migrations; nothing else here asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

/// Ms since the epoch; 0 on a clock set before it.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
