//! What a layer keeps between its forward and its backward pass.

use candle_core::Tensor;

use crate::model::norm::Stats;

/// Which activations are kept for the backward pass. Gradients are the same to the last bit under each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Everything that the backward pass reads.
    KeepAll,
    /// All but the outputs of norms, of SwiGLU and of the rotation after a q/k norm, which are made again.
    Minimal,
    /// Only the layer's input; its forward pass is run again.
    Recompute,
    /// So many layers from the bottom as [`Self::Recompute`], the others as [`Self::Minimal`].
    Mixed(usize),
}

impl Policy {
    /// What one layer, counted from the bottom, does: never [`Self::Mixed`].
    pub(super) fn of_layer(self, layer: usize) -> Self {
        match self {
            Self::Mixed(recomputed) if layer < recomputed => Self::Recompute,
            Self::Mixed(_) => Self::Minimal,
            all => all,
        }
    }
}

/// What one layer left behind.
pub(super) enum LayerTape {
    /// No gradient will come here.
    Nothing,
    /// Only the input `[T, hidden]`.
    Input(Tensor),
    /// What [`Tape`] lists.
    Kept(Box<Tape>),
}

/// Each tensor is there only when something reads it; see `Layer::forward_taped`.
#[derive(Default)]
pub(super) struct Tape {
    /// The layer's input `[T, hidden]`.
    pub(super) x: Option<Tensor>,
    /// The residual stream between the blocks `[T, hidden]`.
    pub(super) mid: Option<Tensor>,
    pub(super) stats1: Option<Stats>,
    pub(super) stats2: Option<Stats>,
    /// With norms behind the blocks: the blocks' outputs before them.
    pub(super) block1: Option<Tensor>,
    pub(super) block2: Option<Tensor>,
    pub(super) attention: AttentionTape,
    pub(super) mlp: MlpTape,
}

#[derive(Default)]
pub(super) struct AttentionTape {
    /// Output of the norm in front `[T, hidden]`.
    pub(super) input: Option<Tensor>,
    pub(super) before: Option<PreRotation>,
    /// U8 masks of q, k, v: 1 where not clipped.
    pub(super) unclipped: Option<[Tensor; 3]>,
    pub(super) qk: Option<(Tensor, Tensor)>,
    pub(super) v: Option<Tensor>,
    pub(super) o: Option<Tensor>,
    pub(super) lse: Option<Tensor>,
    pub(super) hq: Option<Tensor>,
    pub(super) hk: Option<Tensor>,
    pub(super) hv: Option<Tensor>,
    pub(super) ho: Option<Tensor>,
}

/// Queries and keys before their norm, in the norm's rows.
pub(super) struct PreRotation {
    pub(super) q: Tensor,
    pub(super) k: Tensor,
    pub(super) q_stats: Stats,
    pub(super) k_stats: Stats,
}

#[derive(Default)]
pub(super) struct MlpTape {
    /// Output of the norm in front `[T, hidden]`.
    pub(super) input: Option<Tensor>,
    /// `[T, intermediate]` each.
    pub(super) gate_up: Option<(Tensor, Tensor)>,
    /// SwiGLU's output `[T, intermediate]`.
    pub(super) act: Option<Tensor>,
    pub(super) hg: Option<Tensor>,
    pub(super) hu: Option<Tensor>,
    pub(super) hd: Option<Tensor>,
}

fn bytes<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> u64 {
    tensors.into_iter().map(|t| (t.elem_count() * t.dtype().size_in_bytes()) as u64).sum()
}

impl LayerTape {
    /// Bytes of the tensors kept. Tensors that share storage with one another are counted once each where they stand.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Input(x) => bytes([x]),
            Self::Kept(tape) => tape.bytes(),
        }
    }
}

impl Tape {
    fn bytes(&self) -> u64 {
        let (a, m) = (&self.attention, &self.mlp);
        let own = bytes([&self.x, &self.mid, &self.block1, &self.block2].into_iter().flatten());
        let stats = bytes([&self.stats1, &self.stats2].into_iter().flatten().flat_map(Stats::tensors));
        let attention = bytes([&a.input, &a.v, &a.o, &a.lse, &a.hq, &a.hk, &a.hv, &a.ho].into_iter().flatten());
        let rotated = a.qk.iter().map(|(q, k)| bytes([q, k])).sum::<u64>();
        let before = a.before.iter().map(|p| bytes([&p.q, &p.k]) + bytes(p.q_stats.tensors()) + bytes(p.k_stats.tensors())).sum::<u64>();
        let masks = a.unclipped.iter().map(|m| bytes(m.iter())).sum::<u64>();
        let mlp = bytes([&m.input, &m.act, &m.hg, &m.hu, &m.hd].into_iter().flatten());
        own + stats + attention + rotated + before + masks + mlp + m.gate_up.iter().map(|(g, u)| bytes([g, u])).sum::<u64>()
    }
}
