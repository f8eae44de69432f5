//! A training pass through all layers, written once for every engine.

use super::block::Block;
use super::engine::{Engine, Trains};
use super::tape::Policy;
use super::tapes::Tapes;
use crate::model::error::Result;

/// What a pass goes through between embedding and loss.
pub(super) struct Stack<'a, L, N> {
    pub(super) blocks: &'a [Block<L, N>],
    pub(super) final_norm: &'a N,
    /// Whether the embedding trains.
    pub(super) embedding_trains: bool,
}

/// What a pass gave.
pub(super) struct PassOut<T> {
    /// The gradient of the embeddings, where it is wanted.
    pub(super) dx: Option<T>,
    /// Bytes that were kept on the device between forward and backward.
    pub(super) kept: u64,
}

impl<L: Trains, N: Trains> Stack<'_, L, N> {
    /// Forward, loss and backward, from the embeddings `[tokens, hidden]`.
    pub(super) fn train<E>(&self, e: &E, mut x: E::Value, policy: Policy) -> Result<PassOut<E::Value>>
    where
        E: Engine<Linear = L, Norm = N>,
    {
        let count = self.blocks.len();
        let mut tapes = Tapes::new(e);
        for (i, block) in self.blocks.iter().enumerate() {
            let (policy, waits) = policy.of_layer(i, count);
            let (out, tape) = block.forward(e, x, policy)?;
            tapes.push(tape, waits)?;
            x = out;
        }
        let kept = tapes.settle()?;
        let (y, stats) = e.norm(self.final_norm, &x)?;
        let trains_below = self.embedding_trains || self.blocks.last().is_some_and(|b| b.needs.any);
        let Some(dy) = e.loss(y, trains_below || self.final_norm.trains())? else { return Ok(PassOut { dx: None, kept }) };
        let mut dx = e.norm_backward(self.final_norm, &dy, &x, &stats, None)?;
        drop((dy, x, stats));
        for block in self.blocks.iter().rev() {
            match block.backward(e, dx, tapes.pop()?)? {
                Some(below) => dx = below,
                None => return Ok(PassOut { dx: None, kept }),
            }
        }
        Ok(PassOut { dx: Some(dx), kept })
    }

    /// The last norm's output `[tokens, hidden]`, nothing kept.
    pub(super) fn forward<E>(&self, e: &E, mut x: E::Value) -> Result<E::Value>
    where
        E: Engine<Linear = L, Norm = N>,
    {
        for block in self.blocks {
            crate::base::cancel::checkpoint();
            x = block.forward_only(e, x)?;
        }
        Ok(e.norm(self.final_norm, &x)?.0)
    }
}
