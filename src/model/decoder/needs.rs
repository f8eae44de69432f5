//! Which gradients a layer must make, so that nothing is computed for frozen weights.

use super::layer::Layer;
use crate::model::spec::NormPlacement;

/// The gradients a layer makes, from its output down to its input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Anything at all: the gradient of the layer's output is wanted.
    pub(super) any: bool,
    /// Of the feed-forward norm's input.
    pub(super) norm2: bool,
    /// Of gate and up.
    pub(super) gate_up: bool,
    /// Of the feed-forward block's input.
    pub(super) mlp_input: bool,
    /// Of the residual stream between the blocks.
    pub(super) mid: bool,
    /// Of the attention norm's input.
    pub(super) norm1: bool,
    /// Of q, k and v.
    pub(super) qkv: bool,
    /// Of the attention block's input.
    pub(super) attention_input: bool,
    /// Of the layer's input.
    pub(super) dx: bool,
}

impl Needs {
    /// For a layer, given whether anything below it trains.
    pub(super) fn of(l: &Layer, below: bool) -> Self {
        let qk_norm = [&l.q_norm, &l.k_norm].into_iter().flatten().any(|n| n.trains());
        let biased = |ls: &[&crate::model::linear::Linear]| ls.iter().any(|x| x.trains() || x.bias_param.is_some());
        let mut n = Self { dx: below, ..Self::default() };
        match l.placement {
            NormPlacement::Pre => {
                n.attention_input = below || l.norm1.trains();
                n.norm1 = n.attention_input;
                n.qkv = n.attention_input || qk_norm || biased(&[&l.q, &l.k, &l.v]);
                n.mid = n.qkv || biased(&[&l.o]);
                n.mlp_input = n.mid || l.norm2.trains();
                n.norm2 = n.mlp_input;
                n.gate_up = n.mlp_input || biased(&[&l.gate, &l.up]);
                n.any = n.gate_up || biased(&[&l.down]);
            }
            NormPlacement::Post => {
                n.attention_input = below;
                n.qkv = below || qk_norm || biased(&[&l.q, &l.k, &l.v]);
                n.norm1 = n.qkv || biased(&[&l.o]) || l.norm1.trains();
                n.mid = n.norm1;
                n.mlp_input = n.mid;
                n.gate_up = n.mlp_input || biased(&[&l.gate, &l.up]);
                n.norm2 = n.gate_up || biased(&[&l.down]) || l.norm2.trains();
                n.any = n.norm2;
            }
        }
        n
    }
}
