//! Tapes between forward and backward: which of them are on the device when. Mirrors `decoder::tapes`.

use tallow_kernels::offload::buffer_bytes;

use super::layer::LayerTape;
use crate::model::decoder::tape::Waits;

#[derive(Default)]
pub(super) struct Tapes<'l> {
    slots: Vec<(LayerTape<'l>, Place)>,
    /// Bytes in host memory.
    pub(super) host: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Here,
    Leaving,
    Parked,
}

impl<'l> Tapes<'l> {
    pub(super) fn push(&mut self, tape: LayerTape<'l>, waits: Waits) {
        let leaves = waits == Waits::InHostMemory && !matches!(tape, LayerTape::Nothing);
        if leaves {
            self.land();
            self.host += buffer_bytes(tape.held().iter().map(|h| h.bytes())).next_multiple_of(4096);
        }
        self.slots.push((tape, if leaves { Place::Leaving } else { Place::Here }));
    }

    /// The tape on its way out has left.
    pub(super) fn land(&mut self) {
        for (tape, place) in self.slots.iter_mut().filter(|s| s.1 == Place::Leaving) {
            tape.held().iter().for_each(|h| h.leave());
            *place = Place::Parked;
        }
    }

    pub(super) fn pop(&mut self) -> Option<LayerTape<'l>> {
        let top = self.slots.pop()?;
        top.0.held().iter().for_each(|h| h.come());
        if let Some((tape, _)) = self.slots.iter().rev().find(|s| s.1 == Place::Parked) {
            tape.held().iter().for_each(|h| h.come());
        }
        Some(top.0)
    }
}
