//! The second stream, on the emulator: copies that are made late.
//!
//! The first stream does everything at once. The copies of this one are made when something waits for them (under odd orders at
//! once), so what is read too early is poison, and what is overwritten or given back too early is seen.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use super::emulator::order;
use crate::offload::OP;
use crate::{Error, Result};

#[derive(Debug)]
struct Copy {
    from: u64,
    to: u64,
    bytes: usize,
    /// Whoever keeps the device's tensor for this copy.
    owner: Weak<()>,
}

#[derive(Debug, Default)]
struct Queue {
    copies: VecDeque<Copy>,
    done: u64,
    /// Whether the copies that come wait for what computes.
    ordered: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Side {
    queue: Mutex<Queue>,
}

fn fault(message: &str) -> Error {
    Error::Value { op: OP, message: message.to_owned() }
}

fn poisoned<T>(_: T) -> Error {
    fault("another thread ended in the middle of a copy")
}

impl Side {
    pub(crate) fn after_compute(&self) -> Result<()> {
        self.queue.lock().map_err(poisoned)?.ordered = true;
        Ok(())
    }

    /// One of the addresses is a device tensor's, which lives while `owner` does.
    pub(crate) fn queue(&self, from: u64, to: u64, bytes: usize, owner: &Arc<()>) -> Result<()> {
        let mut q = self.queue.lock().map_err(poisoned)?;
        if !q.ordered {
            return Err(fault("a copy does not wait for the work before it"));
        }
        q.copies.push_back(Copy { from, to, bytes, owner: Arc::downgrade(owner) });
        if order() % 2 == 1 { q.perform(u64::MAX) } else { Ok(()) }
    }

    /// The number of copies up to here.
    pub(crate) fn mark(&self) -> Result<u64> {
        let mut q = self.queue.lock().map_err(poisoned)?;
        q.ordered = false;
        Ok(q.done + q.copies.len() as u64)
    }

    /// Makes the copies up to a mark.
    pub(crate) fn perform(&self, mark: u64) -> Result<()> {
        self.queue.lock().map_err(poisoned)?.perform(mark)
    }
}

impl Queue {
    fn perform(&mut self, mark: u64) -> Result<()> {
        while self.done < mark {
            let Some(c) = self.copies.pop_front() else { break };
            self.done += 1;
            let Some(_owner) = c.owner.upgrade() else {
                return Err(fault("a tensor's memory was given back before its copy was waited for"));
            };
            // SAFETY: the owner keeps the tensor, and a block of host memory outlives the copies that were queued with it: both
            // have as many bytes and lie apart.
            unsafe { std::ptr::copy_nonoverlapping(c.from as *const u8, c.to as *mut u8, c.bytes) };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::emulator::emulated;
    use super::*;

    fn copy(side: &Side, from: &[u8], to: &mut [u8], owner: &Arc<()>) -> Result<u64> {
        side.queue(from.as_ptr() as u64, to.as_mut_ptr() as u64, from.len(), owner)?;
        side.mark()
    }

    #[test]
    fn copies_are_late_unless_the_order_is_odd() {
        for (order, early) in [(0, false), (1, true), (2, false)] {
            emulated(order, || {
                let (side, owner, from, mut to) = (Side::default(), Arc::new(()), [7u8; 4], [0u8; 4]);
                side.after_compute().unwrap();
                let mark = copy(&side, &from, &mut to, &owner).unwrap();
                assert_eq!(to == from, early, "order {order}");
                side.perform(mark).unwrap();
                assert_eq!(to, from);
            });
        }
    }

    #[test]
    fn misuse_is_seen() {
        emulated(0, || {
            let (side, owner, from, mut to) = (Side::default(), Arc::new(()), [7u8; 4], [0u8; 4]);
            let unordered = copy(&side, &from, &mut to, &owner).unwrap_err().to_string();
            assert!(unordered.contains("does not wait"), "{unordered}");
            side.after_compute().unwrap();
            let mark = copy(&side, &from, &mut to, &owner).unwrap();
            drop(owner);
            let early = side.perform(mark).unwrap_err().to_string();
            assert!(early.contains("given back before") && to == [0; 4], "{early}");
        });
    }
}
