//! A panic in a use case becomes a fault: the state on disk says how the work ended, and the next
//! call works.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::Once;

use super::cancel;
use super::error::Fault;

thread_local! {
    /// Where this thread panicked last.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes the place of a panic before the hook that is there prints it.
fn note_places() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            PLACE.set(info.location().map(ToString::to_string));
            before(info);
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

#[cfg(test)]
mod tests {
    use super::*;

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
