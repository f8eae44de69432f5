//! Cooperative cancellation: one handle for stop requests and for calls that nobody waits for.
//!
//! ```text
//!   cancel.within(work)          work ... loop { checkpoint() ... }
//!        │                                     │ cancel.request() was called
//!        └── Err(cancelled)  <── unwinds ──────┘    half-written files go with their owners
//! ```
//! There are two ways to heed it. A training loop looks with [`Cancel::is_requested`] between steps and ends in good
//! order. Other loops that may take more than a moment call [`checkpoint`], which unwinds; what is passed on the way up
//! is dropped as by any early return, and nothing is printed. Outside of [`Cancel::within`] a checkpoint is one look at
//! an empty variable of the thread. Work that may not be broken off in its middle has no checkpoint in it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::Fault;

thread_local! {
    /// What the work of this thread heeds.
    static CURRENT: RefCell<Option<Cancel>> = const { RefCell::new(None) };
}

struct Cancelled;

/// Whether an unwinding is a cancellation and not a panic.
pub(super) fn is_cancellation(payload: &(dyn std::any::Any + Send)) -> bool {
    payload.is::<Cancelled>()
}

type Asked = Arc<dyn Fn() -> bool + Send + Sync>;

/// A request to end, which a signal handler, a supervisor or another thread makes. Clones share it.
#[derive(Clone, Default)]
pub struct Cancel {
    requested: Arc<AtomicBool>,
    /// Another place where it may have been asked for.
    elsewhere: Option<Asked>,
}

/// Its name where a signal or a supervisor stops a run.
pub type StopFlag = Cancel;
/// Its name where helping threads take it along.
pub type Token = Cancel;

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cancel({})", self.is_requested())
    }
}

/// Does work that ends at its next checkpoint once `asked` says so.
///
/// # Errors
/// What the work gives, or `cancelled`.
pub fn within<T>(asked: impl Fn() -> bool + Send + Sync + 'static, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    Cancel { elsewhere: Some(Arc::new(asked)), ..Cancel::default() }.within(work)
}

impl Cancel {
    /// That of the work at hand, for the threads that help with it; one that nobody requests where there is none.
    pub fn current() -> Self {
        CURRENT.with_borrow(|current| current.clone().unwrap_or_default())
    }

    /// A handle of its own, which counts as requested too when this one is, or when `asked` says so.
    #[must_use]
    pub fn or_when(&self, asked: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let above = self.clone();
        Self { requested: Arc::default(), elsewhere: Some(Arc::new(move || above.is_requested() || asked())) }
    }

    /// Asks the work to end.
    pub fn request(&self) {
        self.requested.store(true, Ordering::SeqCst);
    }

    /// Whether the work has been asked to end.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst) || self.elsewhere.as_ref().is_some_and(|asked| asked())
    }

    /// Ends the work here by unwinding, where that was asked for.
    pub fn checkpoint(&self) {
        // A panic under way goes on as what it is.
        if self.is_requested() && !std::thread::panicking() {
            resume_unwind(Box::new(Cancelled));
        }
    }

    /// Does work on this thread as part of the work that this handle is of.
    pub fn lend<R>(self, work: impl FnOnce() -> R) -> R {
        struct Back(Option<Cancel>);
        impl Drop for Back {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _back = Back(CURRENT.replace(Some(self)));
        work()
    }

    /// Does work that ends at its next checkpoint once that is requested.
    ///
    /// # Errors
    /// What the work gives, or `cancelled`.
    pub fn within<T>(&self, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        // Nothing that the work held is looked at afterwards.
        let result = catch_unwind(AssertUnwindSafe(|| self.clone().lend(work)));
        match result {
            Ok(result) => result,
            Err(payload) if is_cancellation(&*payload) => Err(Fault::new("cancelled", "the call was cancelled")),
            Err(payload) => resume_unwind(payload),
        }
    }
}

/// Ends the work of this thread here, where that was asked for.
pub fn checkpoint() {
    let asked = CURRENT.with_borrow(|current| current.as_ref().is_some_and(Cancel::is_requested));
    if asked && !std::thread::panicking() {
        resume_unwind(Box::new(Cancelled));
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    fn requested() -> Cancel {
        let cancel = Cancel::default();
        cancel.request();
        cancel
    }

    #[test]
    fn work_ends_at_its_next_checkpoint() {
        let cancel = Cancel::default();
        let mut done = 0;
        let result: Result<(), Fault> = cancel.within(|| {
            loop {
                checkpoint();
                done += 1;
                if done == 3 {
                    cancel.request();
                }
            }
        });
        assert_eq!((result.unwrap_err().code, done), ("cancelled", 3));
        // Outside of it nobody asks any more.
        checkpoint();
    }

    #[test]
    fn a_handle_below_another_hears_it_and_is_not_heard_by_it() {
        let (above, elsewhere) = (Cancel::default(), Arc::new(AtomicBool::new(false)));
        let asked = elsewhere.clone();
        let below = [above.or_when(|| false), above.or_when(|| false), above.or_when(move || asked.load(Ordering::SeqCst))];
        let requested = || below.each_ref().map(Cancel::is_requested);
        assert_eq!(requested(), [false, false, false]);
        below[0].request();
        assert_eq!((requested(), above.is_requested()), ([true, false, false], false));
        elsewhere.store(true, Ordering::SeqCst);
        assert_eq!(requested(), [true, false, true]);
        above.request();
        assert_eq!(requested(), [true, true, true]);
    }

    #[test]
    fn helping_threads_end_it_too() {
        let result = requested().within(|| {
            let cancel = Cancel::current();
            (0..100).into_par_iter().for_each(|_| cancel.checkpoint());
            Ok(())
        });
        assert_eq!(result.unwrap_err().code, "cancelled");
    }

    #[test]
    fn work_on_another_thread_is_still_that_work() {
        let result = requested().within(|| {
            let cancel = Cancel::current();
            rayon::scope(|_| cancel.lend(checkpoint));
            Ok(())
        });
        assert_eq!(result.unwrap_err().code, "cancelled");
        // What a thread was lent is taken back.
        rayon::scope(|_| checkpoint());
    }

    #[test]
    fn a_panic_stays_one() {
        let caught = catch_unwind(|| Cancel::default().within(|| -> Result<(), Fault> { panic!("a bug") }));
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"a bug"));
    }

    #[test]
    fn work_without_a_handle_is_never_cancelled() {
        let nobody = Cancel::current();
        nobody.checkpoint();
        requested().within(|| Ok(())).unwrap();
        Cancel::current().checkpoint();
    }
}
