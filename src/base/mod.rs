//! What every row may use: faults, whole files, hashes, the clock.

pub mod atomic;
pub mod clock;
pub mod error;
pub mod hash;
