//! One block's backward pass, written by hand. Tensors are dropped as soon as nothing reads them any more.

use candle_core::Tensor;
use tallow_kernels::activation::{swiglu, swiglu_backward_inplace};
use tallow_kernels::attention::attention_backward;
use tallow_kernels::rope::{rope, rope_backward};

use super::layer::{Layer, Pass};
use super::tape::{AttentionTape, LayerTape, MlpTape, PreRotation, Tape};
use crate::model::error::{Error, Result};
use crate::model::linear::Linear;
use crate::model::norm::Norm;
use crate::model::params::Grads;
use crate::model::spec::NormPlacement;

/// A tensor that the forward pass was bound to keep.
fn kept<T>(t: Option<T>, what: &str) -> Result<T> {
    t.ok_or_else(|| Error::Value(format!("the forward pass kept no {what}")))
}

impl Layer {
    /// From the gradient of the output `[T, hidden]`, which is consumed, to that of the input, where it is wanted.
    /// Adds the gradients of what trains here.
    pub(super) fn backward(&self, dy: Tensor, tape: LayerTape, pass: &Pass, grads: &Grads) -> Result<Option<Tensor>> {
        let tape = match tape {
            LayerTape::Nothing => return Ok(None),
            LayerTape::Input(x) => self.rerun(x, pass)?,
            LayerTape::Kept(tape) => *tape,
        };
        match self.placement {
            NormPlacement::Pre => self.backward_pre(dy, tape, pass, grads),
            NormPlacement::Post => self.backward_post(dy, tape, pass, grads),
        }
    }

    fn backward_pre(&self, dy: Tensor, mut tape: Tape, pass: &Pass, grads: &Grads) -> Result<Option<Tensor>> {
        if tape.mlp.input.is_none() && self.reads_mlp_input() {
            tape.mlp.input = Some(self.norm2.forward(kept(tape.mid.as_ref(), "mid")?)?.0);
        }
        let d_input = self.mlp_backward(&dy, tape.mlp, pass, None, grads)?;
        if !self.needs.mlp_input {
            return Ok(None);
        }
        let d_input = kept(d_input, "gradient of the feed-forward input")?;
        let (mid, stats) = (kept(tape.mid, "mid")?, kept(tape.stats2, "norm statistics")?);
        let d_mid = self.norm2.backward(&d_input, &mid, &stats, Some(&dy), grads)?;
        drop((d_input, mid, stats, dy));
        if !self.needs.mid {
            return Ok(None);
        }
        if tape.attention.input.is_none() && self.reads_attention_input() {
            tape.attention.input = Some(self.norm1.forward(kept(tape.x.as_ref(), "input")?)?.0);
        }
        let d_input = self.attention_backward(&d_mid, tape.attention, pass, None, grads)?;
        if !self.needs.attention_input {
            return Ok(None);
        }
        let d_input = kept(d_input, "gradient of the attention input")?;
        let (x, stats) = (kept(tape.x, "input")?, kept(tape.stats1, "norm statistics")?);
        let dx = self.norm1.backward(&d_input, &x, &stats, Some(&d_mid), grads)?;
        Ok(self.needs.dx.then_some(dx))
    }

    fn backward_post(&self, dy: Tensor, mut tape: Tape, pass: &Pass, grads: &Grads) -> Result<Option<Tensor>> {
        let (block2, stats) = (kept(tape.block2, "block output")?, kept(tape.stats2, "norm statistics")?);
        let d_block = self.norm2.backward(&dy, &block2, &stats, None, grads)?;
        drop((block2, stats));
        tape.mlp.input = tape.mid;
        // The residual's gradient is dy itself: the block's is added onto it.
        let d_mid = self.mlp_backward(&d_block, tape.mlp, pass, Some(dy), grads)?;
        drop(d_block);
        if !self.needs.mid {
            return Ok(None);
        }
        let d_mid = kept(d_mid, "gradient between the blocks")?;
        let (block1, stats) = (kept(tape.block1, "block output")?, kept(tape.stats1, "norm statistics")?);
        let d_block = self.norm1.backward(&d_mid, &block1, &stats, None, grads)?;
        drop((block1, stats));
        tape.attention.input = tape.x;
        let dx = self.attention_backward(&d_block, tape.attention, pass, Some(d_mid), grads)?;
        Ok(dx.filter(|_| self.needs.dx))
    }

    /// From the gradient of the block's output to that of its input, added to `onto` where given.
    fn mlp_backward(&self, dy: &Tensor, tape: MlpTape, pass: &Pass, onto: Option<Tensor>, grads: &Grads) -> Result<Option<Tensor>> {
        let n = &self.needs;
        let act = match (&tape.act, &tape.gate_up) {
            (None, Some((gate, up))) if self.down.trains() => Some(swiglu(gate, up)?),
            (act, _) => act.clone(),
        };
        let back = |l: &Linear, dy: &Tensor, x: Option<&Tensor>, h: Option<&Tensor>, want: bool, onto: Option<Tensor>| {
            l.backward(dy, x, h, pass.params, pass.dropout_seed, want, onto, grads)
        };
        let d_act = back(&self.down, dy, act.as_ref(), tape.hd.as_ref(), n.gate_up, None)?;
        drop((act, tape.act, tape.hd));
        let Some(d_act) = d_act else { return Ok(onto) };
        // Nothing reads gate and up after this: their gradients take their place.
        let (d_gate, d_up) = kept(tape.gate_up, "gate and up")?;
        swiglu_backward_inplace(&d_act, &d_gate, &d_up)?;
        drop(d_act);
        let input = tape.input.as_ref();
        let dx = back(&self.gate, &d_gate, input, tape.hg.as_ref(), n.mlp_input, onto)?;
        drop(d_gate);
        back(&self.up, &d_up, input, tape.hu.as_ref(), n.mlp_input, dx)
    }

    /// As [`Self::mlp_backward`], for the attention block.
    fn attention_backward(
        &self,
        dy: &Tensor,
        tape: AttentionTape,
        pass: &Pass,
        onto: Option<Tensor>,
        grads: &Grads,
    ) -> Result<Option<Tensor>> {
        let n = &self.needs;
        let rows = dy.dim(0)?;
        let back = |l: &Linear, dy: &Tensor, x: Option<&Tensor>, h: Option<&Tensor>, want: bool, onto: Option<Tensor>| {
            l.backward(dy, x, h, pass.params, pass.dropout_seed, want, onto, grads)
        };
        let d_o = back(&self.o, dy, tape.o.as_ref(), tape.ho.as_ref(), n.qkv, None)?;
        let Some(d_o) = d_o else { return Ok(onto) };
        let heads = |t: &Tensor, h: usize| t.reshape((rows, h, self.head_dim));
        let (q, k) = match tape.qk {
            Some(qk) => qk,
            None => self.rotated_again(kept(tape.before.as_ref(), "queries and keys")?, rows, pass)?,
        };
        let (v, o, lse) = (kept(tape.v, "values")?, kept(tape.o, "attention output")?, kept(tape.lse, "softmax sums")?);
        let (o, d_o) = (heads(&o, self.heads)?, heads(&d_o, self.heads)?);
        let (dq, dk, dv) = attention_backward(&d_o, &q, &k, &v, &o, &lse, pass.cu_seqlens, self.window, self.scale())?;
        drop((q, k, v, o, lse, d_o));
        rope_backward(&dq, &dk, pass.positions, pass.rope)?;
        let flat = |t: Tensor, h: usize| t.reshape((rows, h * self.head_dim));
        let (mut dq, mut dk, mut dv) = (flat(dq, self.heads)?, flat(dk, self.kv_heads)?, flat(dv, self.kv_heads)?);
        if let (Some(before), Some(qn), Some(kn)) = (tape.before, &self.q_norm, &self.k_norm) {
            dq = self.qk_norm_backward(dq, &before.q, &before.q_stats, qn, grads)?;
            dk = self.qk_norm_backward(dk, &before.k, &before.k_stats, kn, grads)?;
        }
        if let Some([mq, mk, mv]) = &tape.unclipped {
            let masked = |d: &Tensor, m: &Tensor| m.where_cond(d, &d.zeros_like()?);
            (dq, dk, dv) = (masked(&dq, mq)?, masked(&dk, mk)?, masked(&dv, mv)?);
        }
        let input = tape.input.as_ref();
        let dx = back(&self.q, &dq, input, tape.hq.as_ref(), n.attention_input, onto)?;
        drop(dq);
        let dx = back(&self.k, &dk, input, tape.hk.as_ref(), n.attention_input, dx)?;
        drop(dk);
        back(&self.v, &dv, input, tape.hv.as_ref(), n.attention_input, dx)
    }

    /// Queries and keys after norm and rotation, from before both.
    fn rotated_again(&self, before: &PreRotation, rows: usize, pass: &Pass) -> Result<(Tensor, Tensor)> {
        let (qn, kn) = (kept(self.q_norm.as_ref(), "query norm")?, kept(self.k_norm.as_ref(), "key norm")?);
        let q = qn.forward(&before.q)?.0.reshape((rows, self.heads, self.head_dim))?;
        let k = kn.forward(&before.k)?.0.reshape((rows, self.kv_heads, self.head_dim))?;
        rope(&q, &k, pass.positions, pass.rope)?;
        Ok((q, k))
    }

    fn qk_norm_backward(&self, d: Tensor, x: &Tensor, stats: &crate::model::norm::Stats, norm: &Norm, grads: &Grads) -> Result<Tensor> {
        let rows = self.norm_rows(&d, norm)?;
        Ok(norm.backward(&rows, x, stats, None, grads)?.reshape(d.shape())?)
    }
}
