//! One layer: its parts, and its forward pass, written once for every engine.
//!
//! ```text
//!   mid = x   + norm?(attention(norm?(x)))
//!   out = mid + norm?(feed_forward(norm?(mid)))
//! ```
//!
//! Each of the four norms is there or not. A value is dropped as soon as nothing reads it any more; the order of these drops
//! is the memory plan.

use super::engine::{Engine, Trains};
use super::needs::Needs;
use super::tape::{AttentionTape, FeedForwardTape, LayerTape, Policy, PreRotation, Stats, Tape};
use crate::model::error::Result;
use crate::model::layer_spec::Product;
use crate::model::spec::{Activation, AttentionSpec, DecoderSpec};

/// A layer of linear layers `L` and norms `N`.
#[derive(Debug, Clone)]
pub(super) struct Block<L, N> {
    pub(super) norms: Norms<N>,
    pub(super) attention: Attention<L, N>,
    pub(super) feed_forward: FeedForward<L>,
    /// What a block's output is multiplied by before the residual is added.
    pub(super) residual_scale: f64,
    pub(super) needs: Needs,
}

#[derive(Debug, Clone)]
pub(super) struct Norms<N> {
    pub(super) before_attention: Option<N>,
    pub(super) after_attention: Option<N>,
    pub(super) before_feed_forward: Option<N>,
    pub(super) after_feed_forward: Option<N>,
}

#[derive(Debug, Clone)]
pub(super) struct Attention<L, N> {
    pub(super) spec: AttentionSpec,
    /// The layer's place from the bottom.
    pub(super) layer: usize,
    pub(super) q: L,
    pub(super) k: L,
    pub(super) v: L,
    pub(super) o: L,
    pub(super) q_norm: Option<N>,
    pub(super) k_norm: Option<N>,
}

#[derive(Debug, Clone)]
pub(super) struct FeedForward<L> {
    pub(super) activation: Activation,
    pub(super) gate: L,
    pub(super) up: L,
    pub(super) down: L,
}

/// What a forward pass keeps for the backward pass.
#[derive(Clone, Copy, PartialEq)]
enum Keep {
    /// Nothing.
    Nothing,
    /// What cannot be made again cheaply.
    Minimal,
    /// All that is read.
    All,
}

impl<L, N> Block<L, N> {
    /// Layer `i` of a model, from what makes its linear layers and its norms (their paths and widths).
    pub(super) fn build(
        spec: &DecoderSpec,
        i: usize,
        mut linear: impl FnMut(Product) -> Result<L>,
        mut norm: impl FnMut(String, usize) -> Result<N>,
    ) -> Result<Self> {
        let (layer, at, hidden) = (&spec.layers[i], spec.layer_path(i), spec.hidden_size);
        let mut named = |name: Option<&str>| name.map(|n| norm(format!("{at}.{n}"), hidden)).transpose();
        let n = &layer.norms;
        let norms = Norms {
            before_attention: named(n.before_attention)?,
            after_attention: named(n.after_attention)?,
            before_feed_forward: named(n.before_feed_forward)?,
            after_feed_forward: named(n.after_feed_forward)?,
        };
        let mut qk = layer.attention.qk_norms().into_iter().map(|(name, width)| norm(format!("{at}.{name}"), width));
        let (q_norm, k_norm) = (qk.next().transpose()?, qk.next().transpose()?);
        let [q, k, v, o, gate, up, down] = layer.products(&at, hidden);
        let (q, k, v, o) = (linear(q)?, linear(k)?, linear(v)?, linear(o)?);
        let attention = Attention { spec: layer.attention.clone(), layer: i, q, k, v, o, q_norm, k_norm };
        let (gate, up, down) = (linear(gate)?, linear(up)?, linear(down)?);
        let feed_forward = FeedForward { activation: layer.feed_forward.activation, gate, up, down };
        Ok(Self { norms, attention, feed_forward, residual_scale: layer.residual_scale, needs: Needs::default() })
    }

    /// The linear layers, in the order of the forward pass.
    pub(super) fn linears(&self) -> [&L; 7] {
        let (a, f) = (&self.attention, &self.feed_forward);
        [&a.q, &a.k, &a.v, &a.o, &f.gate, &f.up, &f.down]
    }

    /// The same, to be changed.
    pub(super) fn linears_mut(&mut self) -> [&mut L; 7] {
        let (a, f) = (&mut self.attention, &mut self.feed_forward);
        [&mut a.q, &mut a.k, &mut a.v, &mut a.o, &mut f.gate, &mut f.up, &mut f.down]
    }

    /// The norms that are there.
    pub(super) fn norms(&self) -> impl Iterator<Item = &N> {
        let (a, n) = (&self.attention, &self.norms);
        let own = [&n.before_attention, &n.after_attention, &n.before_feed_forward, &n.after_feed_forward];
        [&a.q_norm, &a.k_norm].into_iter().chain(own).flatten()
    }

    /// The same, to be changed.
    pub(super) fn norms_mut(&mut self) -> impl Iterator<Item = &mut N> {
        let (a, n) = (&mut self.attention, &mut self.norms);
        let own = [&mut n.before_attention, &mut n.after_attention, &mut n.before_feed_forward, &mut n.after_feed_forward];
        [&mut a.q_norm, &mut a.k_norm].into_iter().chain(own).flatten()
    }
}

impl<L: Trains, N: Trains> Block<L, N> {
    /// True when a backward pass reads the input of q, k and v.
    pub(super) fn reads_attention_input(&self) -> bool {
        let a = &self.attention;
        self.needs.qkv && [&a.q, &a.k, &a.v].into_iter().any(Trains::trains)
    }

    /// True when a backward pass reads the input of gate and up.
    pub(super) fn reads_feed_forward_input(&self) -> bool {
        let f = &self.feed_forward;
        self.needs.gate_up && [&f.gate, &f.up].into_iter().any(Trains::trains)
    }

    /// The layer's output, and what its backward pass needs under `policy`. x `[tokens, hidden]` is consumed.
    pub(super) fn forward<E>(&self, e: &E, x: E::Value, policy: Policy) -> Result<(E::Value, LayerTape<E::Value>)>
    where
        E: Engine<Linear = L, Norm = N>,
    {
        if !self.needs.any {
            // Nothing trains here or below: no gradient will come.
            return Ok((self.forward_only(e, x)?, LayerTape::Nothing));
        }
        if policy == Policy::Recompute {
            let out = self.forward_only(e, e.share(&x))?;
            return Ok((out, LayerTape::Input(x)));
        }
        let keep = if policy == Policy::Minimal { Keep::Minimal } else { Keep::All };
        let (out, tape) = self.run(e, x, keep, true)?;
        Ok((super::backward::kept(out, "output")?, LayerTape::Kept(Box::new(tape))))
    }

    /// Without anything for a backward pass.
    pub(super) fn forward_only<E: Engine<Linear = L, Norm = N>>(&self, e: &E, x: E::Value) -> Result<E::Value> {
        super::backward::kept(self.run(e, x, Keep::Nothing, true)?.0, "output")
    }

    /// The layer once more from its input, for its tape only.
    pub(super) fn rerun<E: Engine<Linear = L, Norm = N>>(&self, e: &E, x: E::Value) -> Result<Tape<E::Value>> {
        Ok(self.run(e, x, Keep::All, false)?.1)
    }

    /// Without `want_out` what only the output needs is left out.
    fn run<E>(&self, e: &E, x: E::Value, keep: Keep, want_out: bool) -> Result<(Option<E::Value>, Tape<E::Value>)>
    where
        E: Engine<Linear = L, Norm = N>,
    {
        let (n, norms) = (&self.needs, &self.norms);
        let keeps = keep != Keep::Nothing;
        let mut tape = Tape::default();
        let block = match &norms.before_attention {
            Some(norm) => {
                let (input, stats) = e.norm(norm, &x)?;
                tape.stats[0] = (keeps && n.attention_input).then_some(stats);
                let (block, attention) = self.attention(e, &input, keep)?;
                tape.attention = attention;
                tape.attention.input = (keep == Keep::All && self.reads_attention_input()).then_some(input);
                block
            }
            None => {
                let (block, attention) = self.attention(e, &x, keep)?;
                tape.attention = attention;
                block
            }
        };
        let after = (&mut tape.attention_out, &mut tape.stats[1]);
        let mid = self.after(e, norms.after_attention.as_ref(), block, keeps && n.mid, after)?;
        let input = match &norms.before_feed_forward {
            Some(norm) => {
                let (input, stats) = e.add_norm(norm, &mid, &x)?;
                tape.stats[2] = (keeps && n.feed_forward_input).then_some(stats);
                Some(input)
            }
            None => {
                e.add(&mid, &x)?;
                None
            }
        };
        let reads = self.reads_attention_input();
        tape.x = keeps_input(keep, norms.before_attention.is_some(), n.attention_input, reads).then_some(x);
        let want_block = want_out || (norms.after_feed_forward.is_some() && n.any);
        let (block, feed_forward) = self.feed_forward(e, input.as_ref().unwrap_or(&mid), keep, want_block)?;
        tape.feed_forward = feed_forward;
        let reads = self.reads_feed_forward_input();
        tape.feed_forward.input = input.filter(|_| keep == Keep::All && reads);
        let out = match block {
            Some(block) => {
                let after = (&mut tape.feed_forward_out, &mut tape.stats[3]);
                let out = self.after(e, norms.after_feed_forward.as_ref(), block, keeps && n.any, after)?;
                if want_out {
                    e.add(&out, &mid)?;
                }
                Some(out)
            }
            None => None,
        };
        tape.mid = keeps_input(keep, norms.before_feed_forward.is_some(), n.feed_forward_input, reads).then_some(mid);
        Ok((out, tape))
    }

    /// From a block's output to what is added to the residual stream.
    fn after<E: Engine<Linear = L, Norm = N>>(
        &self,
        e: &E,
        norm: Option<&N>,
        block: E::Value,
        keeps: bool,
        (kept, kept_stats): (&mut Option<E::Value>, &mut Option<Stats<E::Value>>),
    ) -> Result<E::Value> {
        let out = match norm {
            Some(norm) => {
                let (out, stats) = e.norm(norm, &block)?;
                if keeps {
                    (*kept, *kept_stats) = (Some(block), Some(stats));
                }
                out
            }
            None => block,
        };
        if self.residual_scale != 1.0 {
            e.scale(&out, self.residual_scale)?;
        }
        Ok(out)
    }

    /// The attention block `[tokens, hidden]`; the caller keeps its input.
    fn attention<E>(&self, e: &E, input: &E::Value, keep: Keep) -> Result<(E::Value, AttentionTape<E::Value>)>
    where
        E: Engine<Linear = L, Norm = N>,
    {
        let a = &self.attention;
        let (mut q, hq) = e.linear(&a.q, input)?;
        let (mut k, hk) = e.linear(&a.k, input)?;
        let (mut v, hv) = e.linear(&a.v, input)?;
        let mut within = None;
        if let Some(limit) = a.spec.clip {
            let ((cq, wq), (ck, wk), (cv, wv)) = (e.clip(q, limit)?, e.clip(k, limit)?, e.clip(v, limit)?);
            (q, k, v) = (cq, ck, cv);
            within = Some([wq, wk, wv]);
        }
        let mut before = None;
        if let (Some(q_norm), Some(k_norm)) = (&a.q_norm, &a.k_norm) {
            let ((qy, q_stats), (ky, k_stats)) = (e.norm(q_norm, &q)?, e.norm(k_norm, &k)?);
            before = Some(PreRotation { q, k, q_stats, k_stats });
            (q, k) = (qy, ky);
        }
        let (q, k) = e.rotate(&a.spec, q, k)?;
        let (o, lse) = e.attend(&a.spec, a.layer, &q, &k, &v)?;
        let mut tape = AttentionTape::default();
        if keep != Keep::Nothing && self.needs.qkv {
            let again = keep == Keep::Minimal && before.is_some();
            tape.qk = (!again).then_some((q, k));
            (tape.before, tape.v, tape.lse, tape.within) = (before, Some(v), Some(lse), within);
            tape.h = [hq, hk, hv, None];
        } else {
            drop((q, k, v, lse, before, within, hq, hk, hv));
        }
        let (out, ho) = e.linear(&a.o, &o)?;
        if keep != Keep::Nothing {
            tape.h[3] = ho;
            tape.o = (self.needs.qkv || a.o.trains()).then_some(o);
        }
        Ok((out, tape))
    }

    /// The feed-forward block `[tokens, hidden]`, without its last product where it is not wanted; the caller keeps its input.
    fn feed_forward<E>(&self, e: &E, input: &E::Value, keep: Keep, want_out: bool) -> Result<(Option<E::Value>, FeedForwardTape<E::Value>)>
    where
        E: Engine<Linear = L, Norm = N>,
    {
        let (f, needs, keeps) = (&self.feed_forward, &self.needs, keep != Keep::Nothing);
        let (gate, hg) = e.linear(&f.gate, input)?;
        let (up, hu) = e.linear(&f.up, input)?;
        let mut tape = FeedForwardTape::default();
        if keeps && needs.gate_up {
            (tape.h[0], tape.h[1]) = (hg, hu);
        }
        if !want_out && !f.down.trains() {
            tape.gate_up = (keeps && needs.gate_up).then_some((gate, up));
            return Ok((None, tape));
        }
        let act = e.gate(f.activation, &gate, &up)?;
        // What the activation is made from is kept where it has a gradient, or where it must be made again.
        let keep_gate_up = keeps && (needs.gate_up || (keep == Keep::Minimal && f.down.trains()));
        tape.gate_up = keep_gate_up.then_some((gate, up));
        let (out, hd) = match want_out {
            true => {
                let (out, hd) = e.linear(&f.down, &act)?;
                (Some(out), hd)
            }
            false => (None, e.adapter_inner(&f.down, &act)?),
        };
        tape.h[2] = hd.filter(|_| keeps);
        tape.act = (keep == Keep::All && f.down.trains()).then_some(act);
        Ok((out, tape))
    }
}

/// Whether a block's input on the residual stream is kept: for its norm's backward pass, to make the norm's output again, or
/// because the block reads it itself.
fn keeps_input(keep: Keep, has_norm: bool, norm_backward: bool, block_reads: bool) -> bool {
    match (keep, has_norm) {
        (Keep::Nothing, _) => false,
        (_, false) => block_reads,
        (_, true) => norm_backward || (block_reads && keep == Keep::Minimal),
    }
}
