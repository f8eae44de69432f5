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
    /// Some layers keep less on the device than [`Self::Minimal`].
    Mixed {
        /// So many layers from the bottom as [`Self::Recompute`].
        recomputed: usize,
        /// So many of the others, or all, spread evenly among them, with what they keep in host memory.
        offloaded: usize,
    },
    /// As [`Self::Recompute`], with the layers' inputs in host memory.
    HostInputs,
}

/// Where a layer's tape waits for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    OnDevice,
    InHostMemory,
}

impl Policy {
    /// What one of `layers` layers, counted from the bottom, does: [`Self::KeepAll`], [`Self::Minimal`] or
    /// [`Self::Recompute`], and where that waits.
    pub(super) fn of_layer(self, layer: usize, layers: usize) -> (Self, Waits) {
        match self {
            Self::Mixed { recomputed, .. } if layer < recomputed => (Self::Recompute, Waits::OnDevice),
            Self::Mixed { recomputed, offloaded } => {
                // Every so many-th from the lowest on. The highest go last: their copies would be wanted back at once.
                let (at, of) = (layer - recomputed, layers.saturating_sub(recomputed));
                let leaves = (at * offloaded.min(of)) % of.max(1) < offloaded;
                (Self::Minimal, if leaves { Waits::InHostMemory } else { Waits::OnDevice })
            }
            Self::HostInputs => (Self::Recompute, Waits::InHostMemory),
            all => (all, Waits::OnDevice),
        }
    }

    /// The layers, counted from the bottom, whose activations wait in host memory in a model of `layers` layers.
    pub fn offloaded_layers(self, layers: usize) -> Vec<usize> {
        (0..layers).filter(|i| self.of_layer(*i, layers).1 == Waits::InHostMemory).collect()
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

    /// All tensors, in an order of their own.
    pub(super) fn tensors_mut(&mut self) -> Vec<&mut Tensor> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Input(x) => vec![x],
            Self::Kept(tape) => tape.tensors_mut(),
        }
    }
}

impl Tape {
    fn tensors_mut(&mut self) -> Vec<&mut Tensor> {
        let (a, m) = (&mut self.attention, &mut self.mlp);
        let before = a.before.iter_mut().flat_map(|p| {
            let stats = p.q_stats.tensors_mut().chain(p.k_stats.tensors_mut());
            [&mut p.q, &mut p.k].into_iter().chain(stats)
        });
        let own = [&mut self.x, &mut self.mid, &mut self.block1, &mut self.block2].into_iter().flatten();
        own.chain([&mut self.stats1, &mut self.stats2].into_iter().flatten().flat_map(Stats::tensors_mut))
            .chain([&mut a.input, &mut a.v, &mut a.o, &mut a.lse, &mut a.hq, &mut a.hk, &mut a.hv, &mut a.ho].into_iter().flatten())
            .chain(a.qk.iter_mut().flat_map(|(q, k)| [q, k]))
            .chain(before)
            .chain(a.unclipped.iter_mut().flatten())
            .chain([&mut m.input, &mut m.act, &mut m.hg, &mut m.hu, &mut m.hd].into_iter().flatten())
            .chain(m.gate_up.iter_mut().flat_map(|(g, u)| [g, u]))
            .collect()
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_leave_are_spread() {
        let of = |recomputed, offloaded| Policy::Mixed { recomputed, offloaded }.offloaded_layers(8);
        assert_eq!(of(0, 2), [0, 4]);
        assert_eq!(of(0, 3), [0, 3, 6]);
        assert_eq!(of(2, 3), [2, 4, 6]);
        for n in 0..=8 {
            assert_eq!(of(0, n).len(), n);
        }
        assert_eq!(of(3, usize::MAX), [3, 4, 5, 6, 7]);
        assert_eq!(of(9, 1), [] as [usize; 0]);
        assert_eq!(Policy::HostInputs.offloaded_layers(3), [0, 1, 2]);
    }
}
