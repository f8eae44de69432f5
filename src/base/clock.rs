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
