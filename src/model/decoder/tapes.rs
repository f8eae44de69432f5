//! The tapes of a pass between forward and backward, of which some wait in host memory.
//!
//! One tape is on its way out at a time, beside the next layers' forward pass, and one on its way back, beside the backward
//! pass of the layers above it. So the device holds two tapes of those that wait in host memory, however many there are.

use super::engine::Engine;
use super::tape::{LayerTape, Waits};
use crate::model::error::{Error, Result};

enum Slot<E: Engine> {
    Here(LayerTape<E::Value>),
    /// With placeholders for the values.
    Leaving(LayerTape<E::Value>, E::Leaving),
    Parked(LayerTape<E::Value>, E::Parked),
    Coming(LayerTape<E::Value>, E::Coming),
    /// A step failed half way.
    Lost,
}

pub(super) struct Tapes<'e, E: Engine> {
    engine: &'e E,
    slots: Vec<Slot<E>>,
    /// Bytes on the device, of those that stay there.
    kept: u64,
}

impl<'e, E: Engine> Tapes<'e, E> {
    pub(super) fn new(engine: &'e E) -> Self {
        Self { engine, slots: Vec::new(), kept: 0 }
    }

    /// The next layer's.
    pub(super) fn push(&mut self, mut tape: LayerTape<E::Value>, waits: Waits) -> Result<()> {
        if waits == Waits::OnDevice || matches!(tape, LayerTape::Nothing) {
            // Values that share memory are counted once each where they stand.
            self.kept += tape.values_mut().into_iter().map(|v| self.engine.bytes(v)).sum::<u64>();
            self.slots.push(Slot::Here(tape));
            return Ok(());
        }
        self.land()?;
        let mut values = Vec::new();
        for value in tape.values_mut() {
            values.push(std::mem::replace(value, self.engine.nothing()?));
        }
        self.slots.push(Slot::Leaving(tape, self.engine.send(values)?));
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
            *slot = Slot::Parked(tape, self.engine.settle(leaving)?);
        }
        Ok(())
    }

    /// The tape of the highest layer that is left. The next one below that is in host memory is on its way then.
    pub(super) fn pop(&mut self) -> Result<LayerTape<E::Value>> {
        let lost = || Error::Value("a layer has no tape".into());
        if let Some(top @ Slot::Parked(..)) = self.slots.last_mut() {
            fetch(self.engine, top)?;
        }
        let top = self.slots.pop().ok_or_else(lost)?;
        if let Some(next @ Slot::Parked(..)) = self.slots.iter_mut().rev().find(|s| !matches!(s, Slot::Here(_))) {
            fetch(self.engine, next)?;
        }
        match top {
            Slot::Here(tape) => Ok(tape),
            Slot::Coming(mut tape, coming) => {
                for (value, here) in tape.values_mut().into_iter().zip(self.engine.arrive(coming)?) {
                    *value = here;
                }
                Ok(tape)
            }
            Slot::Leaving(..) | Slot::Parked(..) | Slot::Lost => Err(lost()),
        }
    }
}

fn fetch<E: Engine>(engine: &E, slot: &mut Slot<E>) -> Result<()> {
    if let Slot::Parked(tape, parked) = std::mem::replace(slot, Slot::Lost) {
        *slot = Slot::Coming(tape, engine.fetch(parked)?);
    }
    Ok(())
}
