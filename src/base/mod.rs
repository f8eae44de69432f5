//! What every row may use: faults, whole files, hashes, the clock, cancellation, panics as faults.

pub mod atomic;
pub mod cancel;
pub mod clock;
pub mod error;
pub mod hash;
pub mod panics;
pub mod progress;
