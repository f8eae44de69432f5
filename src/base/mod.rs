//! What every row may use: faults, whole files, hashes, the clock, cancellation, panics as faults, a limit on the time of libraries.

pub mod atomic;
pub mod cancel;
pub mod clock;
pub mod error;
pub mod files;
pub mod hash;
pub mod panics;
pub mod progress;
pub mod time_limit;
