//! Which gradients a layer must make, so that nothing is computed for frozen weights.

use super::block::Block;
use super::engine::Trains;

/// The gradients a layer makes, from its output down to its input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Anything at all: the gradient of the layer's output is wanted.
    pub(super) any: bool,
    /// Of gate and up.
    pub(super) gate_up: bool,
    /// Of the feed-forward block's input, behind its norm.
    pub(super) feed_forward_input: bool,
    /// Of the residual stream between the blocks.
    pub(super) mid: bool,
    /// Of q, k and v.
    pub(super) qkv: bool,
    /// Of the attention block's input, behind its norm.
    pub(super) attention_input: bool,
    /// Of the layer's input.
    pub(super) dx: bool,
}

impl Needs {
    /// For a layer, given whether anything below it trains.
    pub(super) fn of<L: Trains, N: Trains>(block: &Block<L, N>, below: bool) -> Self {
        let (a, f, n) = (&block.attention, &block.feed_forward, &block.norms);
        let norm = |norm: &Option<N>| norm.as_ref().is_some_and(Trains::trains);
        let any = |linears: &[&L]| linears.iter().any(|l| l.trains() || l.bias_trains());
        let attention_input = below || norm(&n.before_attention);
        let qkv = attention_input || norm(&a.q_norm) || norm(&a.k_norm) || any(&[&a.q, &a.k, &a.v]);
        let mid = qkv || any(&[&a.o]) || norm(&n.after_attention);
        let feed_forward_input = mid || norm(&n.before_feed_forward);
        let gate_up = feed_forward_input || any(&[&f.gate, &f.up]);
        let any = gate_up || any(&[&f.down]) || norm(&n.after_feed_forward);
        Self { any, gate_up, feed_forward_input, mid, qkv, attention_input, dx: below }
    }

    /// Sets them in all layers, from the bottom; `below`: whether what is under them trains.
    pub(super) fn set<L: Trains, N: Trains>(blocks: &mut [Block<L, N>], mut below: bool) {
        for block in blocks {
            block.needs = Self::of(block, below);
            below = block.needs.any;
        }
    }
}
