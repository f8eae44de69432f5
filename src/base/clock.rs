//! Time as it is written down. A clock that is set beyond the years that can be written stands at their end.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The system's clock, brought into the range that can be written.
fn now() -> Timestamp {
    at(SystemTime::now())
}

fn at(time: SystemTime) -> Timestamp {
    let end = if time < SystemTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::try_from(time).unwrap_or(end)
}

/// Now, in UTC, to the millisecond: `2026-11-21T10:00:00.123Z`.
pub fn now_utc() -> String {
    format!("{:.3}", now())
}

/// Now, for a folder's name: `20261121-100000`, local time.
pub fn folder_stamp() -> String {
    stamp(now(), TimeZone::system())
}

fn stamp(time: Timestamp, zone: TimeZone) -> String {
    time.to_zoned(zone).strftime("%Y%m%d-%H%M%S").to_string()
}

/// The time in so many seconds, in UTC, to the second.
pub fn utc_in(seconds: f64) -> String {
    later(now(), seconds)
}

fn later(from: Timestamp, seconds: f64) -> String {
    let span = jiff::SignedDuration::try_from_secs_f64(seconds).unwrap_or_default();
    let end = if seconds < 0.0 { Timestamp::MIN } else { Timestamp::MAX };
    format!("{:.0}", from.checked_add(span).unwrap_or(end))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Clocks from the year -250,000,000,000 to the year 250,000,000,000, and the last years that can be written.
    #[test]
    fn no_clock_is_too_far() {
        let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
        let mut state = seed;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 1
        };
        let last_years = 253_370_764_800..253_402_300_800;
        for i in 0..2000 {
            let seconds = match i % 3 {
                0 => draw(),
                1 => last_years.start + draw() % (last_years.end - last_years.start),
                _ => draw() >> (draw() % 40),
            };
            let span = Duration::from_secs(seconds);
            let times = [SystemTime::UNIX_EPOCH.checked_add(span), SystemTime::UNIX_EPOCH.checked_sub(span)];
            for time in times.into_iter().flatten() {
                let here = at(time);
                for zone in [TimeZone::UTC, TimeZone::fixed(jiff::tz::offset(14)), TimeZone::fixed(jiff::tz::offset(-12))] {
                    let text = stamp(here, zone);
                    assert!(text.len() >= 15, "seed {seed}, {seconds} s: {text}");
                }
                for ahead in [0.0, 1e3, 1e18, f64::MAX, f64::NAN, -1e18] {
                    assert!(later(here, ahead).ends_with('Z'), "seed {seed}, {seconds} s");
                }
            }
        }
    }
}
