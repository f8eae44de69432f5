//! Time as it is written down.

use jiff::{Timestamp, Zoned};

/// Now, in UTC, to the millisecond: `2026-11-21T10:00:00.123Z`.
pub fn now_utc() -> String {
    format!("{:.3}", Timestamp::now())
}

/// Now, for a folder's name: `20261121-100000`, local time.
pub fn folder_stamp() -> String {
    Zoned::now().strftime("%Y%m%d-%H%M%S").to_string()
}

/// The time in so many seconds, in UTC, to the second.
pub fn utc_in(seconds: f64) -> String {
    let span = jiff::SignedDuration::try_from_secs_f64(seconds).unwrap_or_default();
    format!("{:.0}", Timestamp::now().checked_add(span).unwrap_or(Timestamp::MAX))
}
