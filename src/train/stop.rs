//! A word from outside that the run shall end after the step it is in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that a signal handler, a supervisor or another thread raises. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag over one that already exists.
    pub fn from_shared(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }

    /// The shared flag itself, for a signal handler.
    pub fn shared(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }

    /// Asks the run to end: it finishes its step, writes a checkpoint and returns.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the run has been asked to end.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
