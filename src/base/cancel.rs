//! Work that nobody waits for any more ends where it stands.
//!
//! ```text
//!   within(asked, work)          work ... loop { checkpoint() ... }
//!        │                                     │ asked() is true
//!        └── Err(cancelled)  <── unwinds ──────┘    half-written files go with their owners
//! ```
//! A loop that may take more than a moment comes by a [`checkpoint`]. Outside of [`within`] that is one look at an empty
//! variable of the thread, so training and the shell pay nothing. What is passed on the way up is dropped as by any
//! early return; nothing is printed. Work that may not be broken off in its middle has no checkpoint in it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use super::error::Fault;

type Asked = Arc<dyn Fn() -> bool + Send + Sync>;

thread_local! {
    static ASKED: RefCell<Option<Asked>> = const { RefCell::new(None) };
}

struct Cancelled;

/// Whether an unwinding is a cancellation and not a panic.
pub(super) fn is_cancellation(payload: &(dyn std::any::Any + Send)) -> bool {
    payload.is::<Cancelled>()
}

/// What to look at: for the threads that help with the work at hand.
#[derive(Clone, Default)]
pub struct Token(Option<Asked>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({})", self.0.is_some())
    }
}

impl Token {
    /// That of the work at hand.
    pub fn current() -> Self {
        Self(ASKED.with_borrow(Clone::clone))
    }

    /// Does work on this thread as part of the work that the token is of.
    pub fn lend<R>(self, work: impl FnOnce() -> R) -> R {
        struct Back(Option<Asked>);
        impl Drop for Back {
            fn drop(&mut self) {
                ASKED.set(self.0.take());
            }
        }
        let _back = Back(ASKED.replace(self.0));
        work()
    }

    /// Ends the work here, where that was asked for.
    pub fn checkpoint(&self) {
        // A panic under way goes on as what it is.
        if self.0.as_ref().is_some_and(|asked| asked()) && !std::thread::panicking() {
            resume_unwind(Box::new(Cancelled));
        }
    }
}

/// Ends the work of this thread here, where that was asked for.
pub fn checkpoint() {
    Token::current().checkpoint();
}

/// Does work that ends at its next checkpoint once `asked` says so.
///
/// # Errors
/// What the work gives, or `cancelled`.
pub fn within<T>(asked: impl Fn() -> bool + Send + Sync + 'static, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let before = ASKED.replace(Some(Arc::new(asked)));
    // Nothing that the work held is looked at afterwards.
    let result = catch_unwind(AssertUnwindSafe(work));
    ASKED.set(before);
    match result {
        Ok(result) => result,
        Err(payload) if is_cancellation(&*payload) => Err(Fault::new("cancelled", "the call was cancelled")),
        Err(payload) => resume_unwind(payload),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rayon::prelude::*;

    use super::*;

    #[test]
    fn work_ends_at_its_next_checkpoint() {
        let looks = Arc::new(AtomicU32::new(0));
        let counted = looks.clone();
        let done = Cell::new(0);
        let result: Result<(), Fault> = within(
            move || counted.fetch_add(1, Ordering::SeqCst) >= 3,
            || loop {
                checkpoint();
                done.set(done.get() + 1);
            },
        );
        assert_eq!((result.unwrap_err().code, done.get()), ("cancelled", 3));
        // Nobody asks any more.
        checkpoint();
        assert_eq!(looks.load(Ordering::SeqCst), 4);
    }

    #[test]
    fn helping_threads_end_it_too() {
        let result = within(
            || true,
            || {
                let token = Token::current();
                (0..100).into_par_iter().for_each(|_| token.checkpoint());
                Ok(())
            },
        );
        assert_eq!(result.unwrap_err().code, "cancelled");
    }

    #[test]
    fn work_on_another_thread_is_still_that_work() {
        let result = within(
            || true,
            || {
                let token = Token::current();
                rayon::scope(|_| token.lend(checkpoint));
                Ok(())
            },
        );
        assert_eq!(result.unwrap_err().code, "cancelled");
        // What a thread was lent is taken back.
        rayon::scope(|_| checkpoint());
    }

    #[test]
    fn a_panic_stays_one() {
        let caught = catch_unwind(|| within(|| false, || -> Result<(), Fault> { panic!("a bug") }));
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"a bug"));
    }
}
