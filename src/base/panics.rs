//! A panic in a use case becomes a fault: the state on disk says how the work ended, and the next
//! call works.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::Once;

use super::cancel;
use super::error::Fault;
use super::time_limit::{self, Library};

thread_local! {
    /// Where this thread panicked last.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether a panic of this thread is expected, and not printed.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Notes the place of a panic before the hook that is there prints it.
fn note_places() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            PLACE.set(info.location().map(ToString::to_string));
            if !IS_QUIET.get() {
                before(info);
            }
        }));
    });
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Does some work; a panic in it is a fault with the code `panic`. A cancellation goes on unwinding.
///
/// # Errors
/// What the work gives, or `panic`.
pub fn caught<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    note_places();
    PLACE.set(None);
    // What the work has changed is not looked at afterwards, except for what is whole on disk.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        if cancel::is_cancellation(&*payload) {
            resume_unwind(payload);
        }
        let place = PLACE.take().map(|p| format!(" ({p})")).unwrap_or_default();
        let text = format!("the program met an error of its own: {}{place}", message(&*payload));
        Err(Fault::new("panic", text).hint("this is a bug in Tallow: please report it with this message and what was asked for"))
    })
}

/// Lets a library work on so many bytes of what others wrote, within the limit on its time. Libraries have been seen to
/// panic on damaged input: that is `None`, and nothing is printed. A cancellation goes on unwinding.
pub fn of_library<T>(library: Library, bytes: usize, work: impl FnOnce() -> T) -> Option<T> {
    note_places();
    let was_quiet = IS_QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(|| time_limit::within(library, bytes, work)));
    IS_QUIET.set(was_quiet);
    match result {
        Ok(value) => Some(value),
        Err(payload) if cancel::is_cancellation(&*payload) => resume_unwind(payload),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_may_panic_and_be_cancelled() {
        assert_eq!(of_library(Library::Template, 0, || 3), Some(3));
        assert_eq!(of_library(Library::Template, 0, || -> u32 { panic!("damaged") }), None);
        assert!(!IS_QUIET.get());
        let asked = cancel::Cancel::default();
        asked.request();
        let looped = asked.within(|| -> Result<(), Fault> {
            of_library(Library::Template, 0, || {
                loop {
                    cancel::checkpoint()
                }
            })
            .unwrap_or(Ok(()))
        });
        assert_eq!(looped.unwrap_err().code, "cancelled");
        assert!(!IS_QUIET.get());
    }

    #[test]
    fn a_panic_is_a_fault_with_its_place() {
        let fault = caught(|| -> Result<(), Fault> { panic!("number {}", 7) }).unwrap_err();
        assert_eq!(fault.code, "panic");
        assert!(fault.message.contains("number 7") && fault.message.contains("panics.rs:"), "{fault}");
        let fault = caught(|| -> Result<(), Fault> { panic!("plain") }).unwrap_err();
        assert!(fault.message.contains("plain"), "{fault}");
        assert_eq!(caught(|| Ok(3)).unwrap(), 3);
    }

    #[test]
    fn a_cancellation_stays_one() {
        let inner = || {
            caught(|| -> Result<(), Fault> {
                loop {
                    cancel::checkpoint()
                }
            })
        };
        let asked = cancel::Cancel::default();
        asked.request();
        assert_eq!(asked.within(inner).unwrap_err().code, "cancelled");
    }
}
