//! The service's time: what is rented is paid for by its clock, and the clock here may be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// Differences up to so many seconds are the way of an answer, and the header's whole seconds.
const NOTHING: i64 = 5;

/// A clock that follows what the service's answers say; the one here until the first of them.
#[derive(Debug, Clone, Default)]
pub struct ServiceClock {
    /// Seconds by which the service is ahead.
    ahead: Arc<AtomicI64>,
}

impl ServiceClock {
    /// The service has just said that it is so late.
    pub(super) fn heard(&self, theirs: Timestamp) {
        let ahead = theirs.duration_since(Timestamp::now()).as_secs();
        self.ahead.store(if ahead.abs() > NOTHING { ahead } else { 0 }, Ordering::Relaxed);
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        let here = Timestamp::now();
        here.saturating_add(SignedDuration::from_secs(self.ahead.load(Ordering::Relaxed))).unwrap_or(here)
    }
}

/// As it is written down: UTC, to the millisecond.
pub(super) fn written(time: Timestamp) -> String {
    format!("{time:.3}")
}
