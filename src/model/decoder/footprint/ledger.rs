//! A ledger of live bytes: what is held counts until it is dropped, as a tensor does.

use std::cell::Cell;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    live: Cell<u64>,
    peak: Cell<u64>,
}

/// A tensor's bytes, held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held<'l> {
    ledger: &'l Ledger,
    bytes: u64,
    /// Whether they do not count: they are in host memory, or another handle's.
    away: Cell<bool>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Held<'_> {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Does not count until [`Self::come`].
    pub(super) fn leave(&self) {
        if !self.away.replace(true) {
            self.ledger.live.set(self.ledger.live.get() - self.bytes);
        }
    }

    /// Counts again.
    pub(super) fn come(&self) {
        if self.away.replace(false) {
            self.ledger.live.set(self.ledger.live.get() + self.bytes);
            self.ledger.moment(0);
        }
    }
}

impl Ledger {
    /// Another handle on memory that counts already.
    pub(super) fn share<'l>(&'l self, of: &Held<'l>) -> Held<'l> {
        Held { ledger: self, bytes: of.bytes, away: Cell::new(true) }
    }

    pub(super) fn hold(&self, bytes: u64) -> Held<'_> {
        self.live.set(self.live.get() + bytes);
        self.moment(0);
        Held { ledger: self, bytes, away: Cell::new(false) }
    }

    /// So many bytes more for a moment.
    pub(super) fn moment(&self, bytes: u64) {
        self.peak.set(self.peak.get().max(self.live.get() + bytes));
    }

    #[cfg(test)]
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
        a.leave();
        assert_eq!((ledger.live(), ledger.peak()), (3, 15));
        let c = ledger.hold(8);
        a.come();
        assert_eq!((ledger.live(), ledger.peak()), (21, 21));
        a.leave();
        drop((a, b, c));
        assert_eq!((ledger.live(), ledger.peak()), (0, 21));
    }
}
