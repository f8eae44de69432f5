//! A ledger of live bytes: what is held counts until it is dropped, as a tensor does.

use std::cell::Cell;

#[derive(Debug, Default)]
pub(super) struct Ledger {
    live: Cell<u64>,
    peak: Cell<u64>,
}

/// A tensor's bytes, held until this is dropped.
#[derive(Debug)]
pub(super) struct Held<'l> {
    ledger: &'l Ledger,
    bytes: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.ledger.live.set(self.ledger.live.get() - self.bytes);
    }
}

impl Held<'_> {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Ledger {
    pub(super) fn hold(&self, bytes: u64) -> Held<'_> {
        self.live.set(self.live.get() + bytes);
        self.moment(0);
        Held { ledger: self, bytes }
    }

    /// So many bytes more for a moment.
    pub(super) fn moment(&self, bytes: u64) {
        self.peak.set(self.peak.get().max(self.live.get() + bytes));
    }

    pub(super) fn live(&self) -> u64 {
        self.live.get()
    }

    pub(super) fn peak(&self) -> u64 {
        self.peak.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_lives_at_once() {
        let ledger = Ledger::default();
        let a = ledger.hold(10);
        drop(ledger.hold(5));
        let b = ledger.hold(3);
        ledger.moment(1);
        assert_eq!((ledger.live(), ledger.peak()), (13, 15));
        drop((a, b));
        assert_eq!((ledger.live(), ledger.peak()), (0, 15));
    }
}
