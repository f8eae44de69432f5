//! How far long work is, for whoever listens on the thread that does it: downloads, evaluations.
//!
//! Like [`super::cancel`] it is a property of the thread at work, so that what reports needs no listener handed through
//! every layer above it. Where nobody listens, a report is one look at an empty variable.

use std::cell::RefCell;
use std::rc::Rc;

/// A moment of long work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment<'a> {
    /// What is being done: `downloading model.safetensors`.
    pub what: &'a str,
    /// What is counted: `MB`, `passes`.
    pub unit: &'static str,
    /// How many are done.
    pub done: u64,
    /// How many there are.
    pub total: u64,
}

type Listener = Rc<dyn Fn(Moment)>;

thread_local! {
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

/// Does work whose reports go to `listener`.
pub fn heard<T>(listener: impl Fn(Moment) + 'static, work: impl FnOnce() -> T) -> T {
    struct Back(Option<Listener>);
    impl Drop for Back {
        fn drop(&mut self) {
            LISTENER.set(self.0.take());
        }
    }
    let _back = Back(LISTENER.replace(Some(Rc::new(listener))));
    work()
}

/// Says how far the work at hand is.
pub fn report(what: &str, unit: &'static str, done: u64, total: u64) {
    let listener = LISTENER.with_borrow(Clone::clone);
    if let Some(listener) = listener {
        listener(Moment { what, unit, done, total });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_reach_the_listener_of_their_work_only() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let into = seen.clone();
        report("before", "things", 1, 2);
        heard(
            move |m| into.borrow_mut().push((m.what.to_owned(), m.done)),
            || {
                report("outer", "things", 1, 2);
                heard(|_| {}, || report("inner", "things", 1, 2));
                report("outer", "things", 2, 2);
            },
        );
        report("after", "things", 1, 2);
        assert_eq!(*seen.borrow(), [("outer".to_owned(), 1), ("outer".to_owned(), 2)]);
    }
}
