//! What a layer keeps between its forward and its backward pass.

/// Which activations are kept for the backward pass. Gradients are the same to the last bit under each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Everything that the backward pass reads.
    KeepAll,
    /// All but the outputs of norms before a block, of the gate and of the rotation after a q/k norm, which are made again.
    Minimal,
    /// Only the layer's input; its forward pass is run again.
    Recompute,
    /// Some layers keep less on the device than [`Self::Minimal`].
    Mixed {
        /// Number of layers, from the bottom, that do as [`Self::Recompute`].
        recomputed: usize,
        /// Number of the remaining layers, spread evenly, whose kept activations wait in host memory; more means all.
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

/// What a norm's backward pass needs besides its input: f32 `[rows]` each.
#[derive(Debug, Clone)]
pub(crate) struct Stats<T> {
    pub(crate) mean: Option<T>,
    pub(crate) rstd: T,
}

impl<T> Stats<T> {
    fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.mean.iter_mut().chain(Some(&mut self.rstd))
    }
}

/// What one layer left behind.
pub(super) enum LayerTape<T> {
    /// No gradient will come here.
    Nothing,
    /// Only the input `[T, hidden]`.
    Input(T),
    /// What [`Tape`] lists.
    Kept(Box<Tape<T>>),
}

/// Each value is there only when something reads it; see `Block::run`.
pub(super) struct Tape<T> {
    /// The layer's input `[T, hidden]`.
    pub(super) x: Option<T>,
    /// The residual stream between the blocks `[T, hidden]`.
    pub(super) mid: Option<T>,
    /// The attention block's output before its norm `[T, hidden]`.
    pub(super) attention_out: Option<T>,
    /// The feed-forward block's output before its norm `[T, hidden]`.
    pub(super) feed_forward_out: Option<T>,
    /// Of the norms before and after attention, before and after the feed-forward block.
    pub(super) stats: [Option<Stats<T>>; 4],
    pub(super) attention: AttentionTape<T>,
    pub(super) feed_forward: FeedForwardTape<T>,
}

pub(super) struct AttentionTape<T> {
    /// Output of the norm in front `[T, hidden]`.
    pub(super) input: Option<T>,
    pub(super) before: Option<PreRotation<T>>,
    /// Where q, k and v were within the clip.
    pub(super) within: Option<[T; 3]>,
    pub(super) qk: Option<(T, T)>,
    pub(super) v: Option<T>,
    pub(super) o: Option<T>,
    pub(super) lse: Option<T>,
    /// Inner activations of the adapters on q, k, v and o.
    pub(super) h: [Option<T>; 4],
}

/// Queries and keys before their norm.
pub(super) struct PreRotation<T> {
    pub(super) q: T,
    pub(super) k: T,
    pub(super) q_stats: Stats<T>,
    pub(super) k_stats: Stats<T>,
}

pub(super) struct FeedForwardTape<T> {
    /// Output of the norm in front `[T, hidden]`.
    pub(super) input: Option<T>,
    /// `[T, width]` each.
    pub(super) gate_up: Option<(T, T)>,
    /// The gated activation `[T, width]`.
    pub(super) act: Option<T>,
    /// Inner activations of the adapters on gate, up and down.
    pub(super) h: [Option<T>; 3],
}

impl<T> Default for Tape<T> {
    fn default() -> Self {
        let (attention, feed_forward) = (AttentionTape::default(), FeedForwardTape::default());
        let stats = [const { None }; 4];
        Self { x: None, mid: None, attention_out: None, feed_forward_out: None, stats, attention, feed_forward }
    }
}

impl<T> Default for AttentionTape<T> {
    fn default() -> Self {
        let h = [const { None }; 4];
        Self { input: None, before: None, within: None, qk: None, v: None, o: None, lse: None, h }
    }
}

impl<T> Default for FeedForwardTape<T> {
    fn default() -> Self {
        Self { input: None, gate_up: None, act: None, h: [const { None }; 3] }
    }
}

impl<T> LayerTape<T> {
    /// All values, in an order of their own.
    pub(super) fn values_mut(&mut self) -> Vec<&mut T> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Input(x) => vec![x],
            Self::Kept(tape) => tape.values_mut(),
        }
    }
}

impl<T> Tape<T> {
    fn values_mut(&mut self) -> Vec<&mut T> {
        let (a, f) = (&mut self.attention, &mut self.feed_forward);
        let before = a.before.iter_mut().flat_map(|p| {
            let stats = p.q_stats.values_mut().chain(p.k_stats.values_mut());
            [&mut p.q, &mut p.k].into_iter().chain(stats)
        });
        let own = [&mut self.x, &mut self.mid, &mut self.attention_out, &mut self.feed_forward_out];
        own.into_iter()
            .flatten()
            .chain(self.stats.iter_mut().flatten().flat_map(Stats::values_mut))
            .chain([&mut a.input, &mut a.v, &mut a.o, &mut a.lse].into_iter().flatten())
            .chain(a.h.iter_mut().flatten())
            .chain(a.qk.iter_mut().flat_map(|(q, k)| [q, k]))
            .chain(before)
            .chain(a.within.iter_mut().flatten())
            .chain([&mut f.input, &mut f.act].into_iter().flatten())
            .chain(f.h.iter_mut().flatten())
            .chain(f.gate_up.iter_mut().flat_map(|(g, u)| [g, u]))
            .collect()
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
