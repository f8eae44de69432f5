//! The tapes of a pass between forward and backward, of which some wait in host memory.
//!
//! One tape is on its way out at a time, beside the next layers' forward pass, and one on its way back, beside the backward pass of
//! the layers above it. So the device holds two tapes of those that wait in host memory, however many there are.

use candle_core::{DType, Device, Tensor};
use tallow_kernels::offload::{Coming, Leaving, Offload, Parked};

use super::tape::{LayerTape, Waits};
use crate::model::error::{Error, Result};

enum Slot {
    Here(LayerTape),
    /// With placeholders for the tensors.
    Leaving(LayerTape, Leaving),
    Parked(LayerTape, Parked),
    Coming(LayerTape, Coming),
    /// A step failed half way.
    Lost,
}

pub(super) struct Tapes<'d> {
    device: &'d Device,
    slots: Vec<Slot>,
    offload: Option<Offload>,
    /// Bytes on the device, of those that stay there.
    kept: u64,
}

impl<'d> Tapes<'d> {
    pub(super) fn new(device: &'d Device) -> Self {
        Self { device, slots: Vec::new(), offload: None, kept: 0 }
    }

    /// The next layer's.
    pub(super) fn push(&mut self, mut tape: LayerTape, waits: Waits) -> Result<()> {
        if waits == Waits::OnDevice || matches!(tape, LayerTape::Nothing) {
            self.kept += tape.bytes();
            self.slots.push(Slot::Here(tape));
            return Ok(());
        }
        self.land()?;
        let offload = match self.offload.take() {
            Some(offload) => offload,
            None => Offload::new(self.device)?,
        };
        let nothing = Tensor::zeros(0, DType::U8, &Device::Cpu)?;
        let tensors = tape.tensors_mut().into_iter().map(|t| std::mem::replace(t, nothing.clone())).collect();
        let leaving = offload.send(tensors)?;
        self.offload = Some(offload);
        self.slots.push(Slot::Leaving(tape, leaving));
        Ok(())
    }

    /// The forward pass is over: nothing is on its way any more. Bytes of the tapes that stay on the device.
    pub(super) fn settle(&mut self) -> Result<u64> {
        self.land()?;
        Ok(self.kept)
    }

    /// Ends the way out of the tape that is on it.
    fn land(&mut self) -> Result<()> {
        let Some(slot) = self.slots.iter_mut().rev().find(|s| matches!(s, Slot::Leaving(..))) else { return Ok(()) };
        if let Slot::Leaving(tape, leaving) = std::mem::replace(slot, Slot::Lost) {
            *slot = Slot::Parked(tape, leaving.settle()?);
        }
        Ok(())
    }

    /// The tape of the highest layer that is left. The one of the next layer below whose tape is in host memory is on its way then.
    pub(super) fn pop(&mut self) -> Result<LayerTape> {
        let lost = || Error::Value("a layer has no tape".into());
        if let Some(top @ Slot::Parked(..)) = self.slots.last_mut() {
            fetch(top)?;
        }
        let top = self.slots.pop().ok_or_else(lost)?;
        if let Some(next @ Slot::Parked(..)) = self.slots.iter_mut().rev().find(|s| !matches!(s, Slot::Here(_))) {
            fetch(next)?;
        }
        match top {
            Slot::Here(tape) => Ok(tape),
            Slot::Coming(mut tape, coming) => {
                for (t, here) in tape.tensors_mut().into_iter().zip(coming.arrive()?) {
                    *t = here;
                }
                Ok(tape)
            }
            Slot::Leaving(..) | Slot::Parked(..) | Slot::Lost => Err(lost()),
        }
    }
}

fn fetch(slot: &mut Slot) -> Result<()> {
    if let Slot::Parked(tape, parked) = std::mem::replace(slot, Slot::Lost) {
        *slot = Slot::Coming(tape, parked.fetch()?);
    }
    Ok(())
}
