//! The wall clock: the timestamp of records and what retention and expiry compare it with. Nothing else in
//! this crate decides by time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, ms since the epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
