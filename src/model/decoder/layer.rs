//! One block's weights and its forward pass.
//!
//! ```text
//!   Pre:   mid = x + attention(norm1(x))      out = mid + mlp(norm2(mid))
//!   Post:  mid = x + norm1(attention(x))      out = mid + norm2(mlp(mid))
//! ```

use candle_core::Tensor;
use tallow_kernels::activation::swiglu;
use tallow_kernels::attention::{attention, attention_cached};
use tallow_kernels::elementwise::{add_inplace, write_rows};
use tallow_kernels::rope::{RopeTable, rope};

use super::needs::Needs;
use super::tape::{AttentionTape, LayerTape, MlpTape, Policy, PreRotation, Tape};
use crate::model::error::Result;
use crate::model::linear::Linear;
use crate::model::norm::Norm;
use crate::model::params::Params;
use crate::model::spec::{LinearKind, NormPlacement};

/// What one pass over a batch shares between layers.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) params: &'a Params,
    pub(super) positions: &'a [u32],
    pub(super) cu_seqlens: &'a [u32],
    pub(super) rope: &'a RopeTable,
    pub(super) dropout_seed: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Layer {
    pub(super) placement: NormPlacement,
    pub(super) norm1: Norm,
    pub(super) norm2: Norm,
    pub(super) q: Linear,
    pub(super) k: Linear,
    pub(super) v: Linear,
    pub(super) o: Linear,
    pub(super) gate: Linear,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) q_norm: Option<Norm>,
    pub(super) k_norm: Option<Norm>,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) clip_qkv: Option<f64>,
    pub(super) window: Option<usize>,
    pub(super) needs: Needs,
}

/// Keys and values of the tokens seen so far: `[capacity, kv_heads, head_dim]` each.
#[derive(Debug)]
pub(super) struct LayerCache {
    pub(super) k: Tensor,
    pub(super) v: Tensor,
}

/// Queries, keys and values after the rotation, and what their backward pass needs.
pub(super) struct Projected {
    pub(super) q: Tensor, // [T, heads, head_dim]
    pub(super) k: Tensor, // [T, kv_heads, head_dim]
    pub(super) v: Tensor, // [T, kv_heads, head_dim]
    pub(super) hq: Option<Tensor>,
    pub(super) hk: Option<Tensor>,
    pub(super) hv: Option<Tensor>,
    pub(super) unclipped: Option<[Tensor; 3]>,
    pub(super) before: Option<PreRotation>,
}

impl Layer {
    pub(super) fn linear(&self, kind: LinearKind) -> &Linear {
        match kind {
            LinearKind::Q => &self.q,
            LinearKind::K => &self.k,
            LinearKind::V => &self.v,
            LinearKind::O => &self.o,
            LinearKind::Gate => &self.gate,
            LinearKind::Up => &self.up,
            LinearKind::Down => &self.down,
        }
    }

    pub(super) fn linear_mut(&mut self, kind: LinearKind) -> &mut Linear {
        match kind {
            LinearKind::Q => &mut self.q,
            LinearKind::K => &mut self.k,
            LinearKind::V => &mut self.v,
            LinearKind::O => &mut self.o,
            LinearKind::Gate => &mut self.gate,
            LinearKind::Up => &mut self.up,
            LinearKind::Down => &mut self.down,
        }
    }

    pub(super) fn scale(&self) -> f32 {
        (1.0 / (self.head_dim as f64).sqrt()) as f32
    }

    /// Without anything for a backward pass, with the pass's dropout. x `[T, hidden]` is consumed.
    pub(super) fn forward_plain(&self, x: Tensor, pass: &Pass) -> Result<Tensor> {
        self.forward_seen(x, pass, &mut |_, _| Ok(()))
    }

    /// The same; `see` is shown the inputs of the linear layers: that of q, k and v, of o, of gate and up, of down, each
    /// with the first layer that reads it.
    pub(super) fn forward_seen(&self, x: Tensor, pass: &Pass, see: &mut dyn FnMut(LinearKind, &Tensor) -> Result<()>) -> Result<Tensor> {
        let attend = |p: &Projected| Ok(attention(&p.q, &p.k, &p.v, pass.cu_seqlens, self.window, self.scale())?.0);
        self.forward_with(x, pass, attend, see)
    }

    /// With a cache that holds `len` tokens before x's; x's keys and values are appended.
    pub(super) fn forward_cached(&self, x: Tensor, pass: &Pass, cache: &LayerCache, len: usize) -> Result<Tensor> {
        let attend = |p: &Projected| {
            write_rows(&cache.k, len, &p.k)?;
            write_rows(&cache.v, len, &p.v)?;
            let total = len + p.q.dim(0)?;
            Ok(attention_cached(&p.q, &cache.k, &cache.v, total, self.window, self.scale())?)
        };
        self.forward_with(x, pass, attend, &mut |_, _| Ok(()))
    }

    fn forward_with(
        &self,
        x: Tensor,
        pass: &Pass,
        attend: impl Fn(&Projected) -> Result<Tensor>,
        see: &mut dyn FnMut(LinearKind, &Tensor) -> Result<()>,
    ) -> Result<Tensor> {
        let attention_block = |input: &Tensor, see: &mut dyn FnMut(LinearKind, &Tensor) -> Result<()>| -> Result<Tensor> {
            see(LinearKind::Q, input)?;
            let o = attend(&self.project(input, pass)?)?;
            let rows = o.dim(0)?;
            let o = o.reshape((rows, self.heads * self.head_dim))?;
            see(LinearKind::O, &o)?;
            Ok(self.o.forward(&o, pass.params, pass.dropout_seed)?.0)
        };
        let mlp_block = |input: &Tensor, see: &mut dyn FnMut(LinearKind, &Tensor) -> Result<()>| -> Result<Tensor> {
            see(LinearKind::Gate, input)?;
            let (gate, _) = self.gate.forward(input, pass.params, pass.dropout_seed)?;
            let (up, _) = self.up.forward(input, pass.params, pass.dropout_seed)?;
            let act = swiglu(&gate, &up)?;
            drop((gate, up));
            see(LinearKind::Down, &act)?;
            Ok(self.down.forward(&act, pass.params, pass.dropout_seed)?.0)
        };
        match self.placement {
            NormPlacement::Pre => {
                let mid = attention_block(&self.norm1.forward(&x)?.0, see)?;
                let input = self.norm2.forward_sum(&mid, &x)?.0;
                drop(x);
                let out = mlp_block(&input, see)?;
                drop(input);
                add_inplace(&out, &mid)?;
                Ok(out)
            }
            NormPlacement::Post => {
                let mid = self.norm1.forward(&attention_block(&x, see)?)?.0;
                add_inplace(&mid, &x)?;
                drop(x);
                let out = self.norm2.forward(&mlp_block(&mid, see)?)?.0;
                add_inplace(&out, &mid)?;
                Ok(out)
            }
        }
    }

    /// With what the backward pass needs, under `policy`. x `[T, hidden]`.
    pub(super) fn forward(&self, x: Tensor, pass: &Pass, policy: Policy) -> Result<(Tensor, LayerTape)> {
        if !self.needs.any {
            // Nothing trains here or below: no gradient will come.
            return Ok((self.forward_plain(x, pass)?, LayerTape::Nothing));
        }
        if policy == Policy::Recompute {
            let out = self.forward_plain(x.clone(), pass)?;
            return Ok((out, LayerTape::Input(x)));
        }
        let (out, tape) = self.forward_taped(x, pass, policy == Policy::Minimal, true)?;
        Ok((out, LayerTape::Kept(Box::new(tape))))
    }

    /// The layer once more from its input, for its tape only.
    pub(super) fn rerun(&self, x: Tensor, pass: &Pass) -> Result<Tape> {
        Ok(self.forward_taped(x, pass, false, false)?.1)
    }

    /// `minimal` drops what is cheap to make again. Without `want_out` the last matrix product is left out and the
    /// returned tensor has no meaning.
    fn forward_taped(&self, x: Tensor, pass: &Pass, minimal: bool, want_out: bool) -> Result<(Tensor, Tape)> {
        let n = &self.needs;
        match self.placement {
            NormPlacement::Pre => {
                let (input, stats1) = self.norm1.forward(&x)?;
                let (mid, mut attention) = self.attention_taped(&input, pass, minimal)?;
                attention.input = (self.reads_attention_input() && !minimal).then_some(input);
                let keep_x = n.norm1 || (self.reads_attention_input() && minimal);
                let (input, stats2) = self.norm2.forward_sum(&mid, &x)?;
                let x = keep_x.then_some(x);
                let (out, mut mlp) = self.mlp_taped(&input, pass, minimal, want_out)?;
                mlp.input = (self.reads_mlp_input() && !minimal).then_some(input);
                if want_out {
                    add_inplace(&out, &mid)?;
                }
                let keep_mid = n.norm2 || (self.reads_mlp_input() && minimal);
                let tape = Tape {
                    x,
                    mid: keep_mid.then_some(mid),
                    stats1: n.norm1.then_some(stats1),
                    stats2: n.norm2.then_some(stats2),
                    block1: None,
                    block2: None,
                    attention,
                    mlp,
                };
                Ok((out, tape))
            }
            NormPlacement::Post => {
                let (block1, attention) = self.attention_taped(&x, pass, minimal)?;
                let (mid, stats1) = self.norm1.forward(&block1)?;
                add_inplace(&mid, &x)?;
                let x = self.reads_attention_input().then_some(x);
                let block1 = n.norm1.then_some(block1);
                let (block2, mlp) = self.mlp_taped(&mid, pass, minimal, true)?;
                let (out, stats2) = self.norm2.forward(&block2)?;
                add_inplace(&out, &mid)?;
                let tape = Tape {
                    x,
                    mid: self.reads_mlp_input().then_some(mid),
                    stats1: n.norm1.then_some(stats1),
                    stats2: n.norm2.then_some(stats2),
                    block1,
                    block2: n.norm2.then_some(block2),
                    attention,
                    mlp,
                };
                Ok((out, tape))
            }
        }
    }

    /// True when a backward pass reads the input of q, k and v.
    pub(super) fn reads_attention_input(&self) -> bool {
        self.needs.qkv && (self.q.trains() || self.k.trains() || self.v.trains())
    }

    /// True when a backward pass reads the input of gate and up.
    pub(super) fn reads_mlp_input(&self) -> bool {
        self.needs.gate_up && (self.gate.trains() || self.up.trains())
    }

    /// q, k, v of input `[T, hidden]`: projected, clipped, normalised and rotated as the family does.
    pub(super) fn project(&self, input: &Tensor, pass: &Pass) -> Result<Projected> {
        let rows = input.dim(0)?;
        let (mut q, hq) = self.q.forward(input, pass.params, pass.dropout_seed)?;
        let (mut k, hk) = self.k.forward(input, pass.params, pass.dropout_seed)?;
        let (mut v, hv) = self.v.forward(input, pass.params, pass.dropout_seed)?;
        let mut unclipped = None;
        if let Some(clip) = self.clip_qkv {
            let inside = |t: &Tensor| t.abs()?.le(clip);
            unclipped = Some([inside(&q)?, inside(&k)?, inside(&v)?]);
            (q, k, v) = (q.clamp(-clip, clip)?, k.clamp(-clip, clip)?, v.clamp(-clip, clip)?);
        }
        let mut before = None;
        if let (Some(qn), Some(kn)) = (&self.q_norm, &self.k_norm) {
            let (q_in, k_in) = (self.norm_rows(&q, qn)?, self.norm_rows(&k, kn)?);
            let ((qy, q_stats), (ky, k_stats)) = (qn.forward(&q_in)?, kn.forward(&k_in)?);
            before = Some(PreRotation { q: q_in, k: k_in, q_stats, k_stats });
            (q, k) = (qy, ky);
        }
        let q = q.reshape((rows, self.heads, self.head_dim))?;
        let k = k.reshape((rows, self.kv_heads, self.head_dim))?;
        let v = v.reshape((rows, self.kv_heads, self.head_dim))?;
        rope(&q, &k, pass.positions, pass.rope)?;
        Ok(Projected { q, k, v, hq, hk, hv, unclipped, before })
    }

    /// The rows over which a q or k norm runs: whole tokens, or heads where its weight is as wide as one.
    pub(super) fn norm_rows(&self, t: &Tensor, norm: &Norm) -> Result<Tensor> {
        let width = match norm {
            Norm::Rms { weight, .. } => weight.elem_count(),
            Norm::LayerNormPlain { .. } => t.dim(1)?,
        };
        Ok(t.reshape((t.elem_count() / width, width))?)
    }

    /// The attention block `[T, hidden]`; the caller keeps its input.
    fn attention_taped(&self, input: &Tensor, pass: &Pass, minimal: bool) -> Result<(Tensor, AttentionTape)> {
        let rows = input.dim(0)?;
        let p = self.project(input, pass)?;
        let (o, lse) = attention(&p.q, &p.k, &p.v, pass.cu_seqlens, self.window, self.scale())?;
        let o = o.reshape((rows, self.heads * self.head_dim))?;
        let mut tape = AttentionTape::default();
        if self.needs.qkv {
            let again = minimal && p.before.is_some();
            tape.qk = (!again).then_some((p.q, p.k));
            tape.before = p.before;
            tape.v = Some(p.v);
            tape.lse = Some(lse);
            tape.unclipped = p.unclipped;
            (tape.hq, tape.hk, tape.hv) = (p.hq, p.hk, p.hv);
        } else {
            drop((p, lse));
        }
        let (out, ho) = self.o.forward(&o, pass.params, pass.dropout_seed)?;
        tape.ho = ho;
        tape.o = (self.needs.qkv || self.o.trains()).then_some(o);
        Ok((out, tape))
    }

    /// The feed-forward block `[T, hidden]`; the caller keeps its input.
    fn mlp_taped(&self, input: &Tensor, pass: &Pass, minimal: bool, want_out: bool) -> Result<(Tensor, MlpTape)> {
        let (gate, hg) = self.gate.forward(input, pass.params, pass.dropout_seed)?;
        let (up, hu) = self.up.forward(input, pass.params, pass.dropout_seed)?;
        let mut tape = MlpTape::default();
        if !want_out && !self.down.trains() {
            tape.gate_up = self.needs.gate_up.then_some((gate, up));
            (tape.hg, tape.hu) = (hg, hu);
            return Ok((input.clone(), tape));
        }
        let act = swiglu(&gate, &up)?;
        // What the activation is made from is kept where it has a gradient, or where it must be made again.
        let keep_gate_up = self.needs.gate_up || (minimal && self.down.trains());
        tape.gate_up = keep_gate_up.then_some((gate, up));
        if self.needs.gate_up {
            (tape.hg, tape.hu) = (hg, hu);
        }
        let out = if want_out {
            let (out, hd) = self.down.forward(&act, pass.params, pass.dropout_seed)?;
            tape.hd = hd;
            out
        } else {
            tape.hd = self.down.adapter_inner(&act, pass.params, pass.dropout_seed)?;
            input.clone()
        };
        tape.act = (self.down.trains() && !minimal).then_some(act);
        Ok((out, tape))
    }
}
