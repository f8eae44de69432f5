//! Which gradients a layer must make, so that nothing is computed for frozen weights.

use super::layer::Layer;
use crate::model::spec::{LinearKind, NormPlacement};

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

/// What trains in a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Trains {
    pub(super) norm1: bool,
    pub(super) norm2: bool,
    pub(super) qk_norm: bool,
    /// By [`LinearKind`]: the matrix or an adapter.
    pub(super) linear: [bool; 7],
    /// By [`LinearKind`].
    pub(super) bias: [bool; 7],
}

impl Trains {
    fn of(l: &Layer) -> Self {
        Self {
            norm1: l.norm1.trains(),
            norm2: l.norm2.trains(),
            qk_norm: [&l.q_norm, &l.k_norm].into_iter().flatten().any(|n| n.trains()),
            linear: LinearKind::ALL.map(|k| l.linear(k).trains()),
            bias: LinearKind::ALL.map(|k| l.linear(k).bias_param.is_some()),
        }
    }

    pub(super) fn any_linear(&self, kinds: &[LinearKind]) -> bool {
        kinds.iter().any(|k| self.linear[*k as usize])
    }

    fn any(&self, kinds: &[LinearKind]) -> bool {
        kinds.iter().any(|k| self.linear[*k as usize] || self.bias[*k as usize])
    }
}

impl Needs {
    /// For a layer, given whether anything below it trains.
    pub(super) fn of(l: &Layer, below: bool) -> Self {
        Self::from_trains(l.placement, &Trains::of(l), below)
    }

    /// The same, from what trains in it.
    pub(super) fn from_trains(placement: NormPlacement, t: &Trains, below: bool) -> Self {
        use LinearKind::{Down, Gate, K, O, Q, Up, V};
        let mut n = Self { dx: below, ..Self::default() };
        match placement {
            NormPlacement::Pre => {
                n.attention_input = below || t.norm1;
                n.norm1 = n.attention_input;
                n.qkv = n.attention_input || t.qk_norm || t.any(&[Q, K, V]);
                n.mid = n.qkv || t.any(&[O]);
                n.mlp_input = n.mid || t.norm2;
                n.norm2 = n.mlp_input;
                n.gate_up = n.mlp_input || t.any(&[Gate, Up]);
                n.any = n.gate_up || t.any(&[Down]);
            }
            NormPlacement::Post => {
                n.attention_input = below;
                n.qkv = below || t.qk_norm || t.any(&[Q, K, V]);
                n.norm1 = n.qkv || t.any(&[O]) || t.norm1;
                n.mid = n.norm1;
                n.mlp_input = n.mid;
                n.gate_up = n.mlp_input || t.any(&[Gate, Up]);
                n.norm2 = n.gate_up || t.any(&[Down]) || t.norm2;
                n.any = n.norm2;
            }
        }
        n
    }
}
