//! The block program over tensors: a pass over one batch.

use std::cell::{Cell, RefCell};

use candle_core::{DType, Device, Tensor};
use tallow_kernels::activation::{swiglu, swiglu_backward_inplace};
use tallow_kernels::attention::{attention, attention_backward, attention_cached};
use tallow_kernels::cross_entropy::{CeOptions, linear_cross_entropy};
use tallow_kernels::elementwise::{add_inplace, write_rows};
use tallow_kernels::offload::{Coming, Leaving, Offload, Parked};
use tallow_kernels::rope::{RopeTable, rope, rope_backward};
use tallow_kernels::weight::Weight;

use super::block::Block;
use super::cached::KvCache;
use super::engine::{Attended, Engine, Saved, Trains};
use super::step::LossOut;
use super::tape::Stats;
use crate::data::PackedBatch;
use crate::model::error::{Error, Result};
use crate::model::linear::Linear;
use crate::model::norm::Norm;
use crate::model::params::{Grads, Params};
use crate::model::spec::{Activation, AttentionSpec, DecoderSpec};

/// A layer with its weights.
pub(super) type Layer = Block<Linear, Norm>;

impl Trains for Linear {
    fn trains(&self) -> bool {
        Self::trains(self)
    }

    fn bias_trains(&self) -> bool {
        self.bias_param.is_some()
    }
}

impl Trains for Norm {
    fn trains(&self) -> bool {
        Self::trains(self)
    }
}

/// Is shown the path and the input of each linear layer.
pub(super) type See<'a> = RefCell<&'a mut dyn FnMut(&str, &Tensor) -> Result<()>>;

/// A pass over one batch.
pub(super) struct Compute<'a> {
    pub(super) params: &'a Params,
    pub(super) positions: &'a [u32],
    pub(super) cu_seqlens: &'a [u32],
    /// The tables of [`DecoderSpec::ropes`].
    pub(super) ropes: &'a [RopeTable],
    pub(super) dropout_seed: Option<u64>,
    /// Keys and values of earlier tokens, one cache for each sequence of the pass; none in a pass
    /// that begins every sequence and keeps nothing.
    pub(super) caches: &'a [&'a mut KvCache],
    pub(super) see: Option<See<'a>>,
    pub(super) training: Option<Training<'a>>,
}

/// What a training pass has beside.
pub(super) struct Training<'a> {
    pub(super) spec: &'a DecoderSpec,
    pub(super) batch: &'a PackedBatch,
    pub(super) head: &'a Weight,
    /// The head's gradient, where it trains.
    pub(super) head_grad: Option<&'a Tensor>,
    pub(super) grad_scale: f32,
    pub(super) grads: &'a Grads,
    pub(super) device: &'a Device,
    pub(super) offload: RefCell<Option<Offload>>,
    /// What the pass lost.
    pub(super) loss: Cell<LossOut>,
}

impl<'a> Compute<'a> {
    /// A pass without gradients.
    pub(super) fn forward(params: &'a Params, positions: &'a [u32], cu_seqlens: &'a [u32], ropes: &'a [RopeTable]) -> Self {
        Self { params, positions, cu_seqlens, ropes, dropout_seed: None, caches: &[], see: None, training: None }
    }

    fn training(&self) -> Result<&Training<'a>> {
        self.training.as_ref().ok_or_else(|| Error::Value("this pass makes no gradients".into()))
    }

    fn by_heads(&self, x: &Tensor, heads: usize, a: &AttentionSpec) -> Result<Tensor> {
        Ok(x.reshape((self.positions.len(), heads, a.head_dim))?)
    }
}

impl Compute<'_> {
    /// Attention of each sequence's tokens over its own cache, which first gets their keys and
    /// values. q `[tokens, heads, head_dim]`, k and v `[tokens, kv_heads, head_dim]`.
    fn attend_kept(&self, a: &AttentionSpec, layer: usize, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let mut outs = Vec::with_capacity(self.caches.len());
        for (cache, rows) in self.caches.iter().zip(self.cu_seqlens.windows(2)) {
            let (at, n) = (rows[0] as usize, (rows[1] - rows[0]) as usize);
            let (kept, len) = cache.layer(layer);
            write_rows(&kept.k, len, &k.narrow(0, at, n)?)?;
            write_rows(&kept.v, len, &v.narrow(0, at, n)?)?;
            outs.push(attention_cached(&q.narrow(0, at, n)?, &kept.k, &kept.v, len + n, a.window, a.scale as f32)?);
        }
        Ok(if outs.len() == 1 { outs.swap_remove(0) } else { Tensor::cat(&outs, 0)? })
    }
}

/// `[tokens, heads, head_dim]` as `[tokens, width]`.
fn flat(x: &Tensor) -> Result<Tensor> {
    let (tokens, heads, dim) = x.dims3()?;
    Ok(x.reshape((tokens, heads * dim))?)
}

impl Engine for Compute<'_> {
    type Value = Tensor;
    type Linear = Linear;
    type Norm = Norm;
    type Leaving = Leaving;
    type Parked = Parked;
    type Coming = Coming;

    fn bytes(&self, x: &Tensor) -> u64 {
        (x.elem_count() * x.dtype().size_in_bytes()) as u64
    }

    fn share(&self, x: &Tensor) -> Tensor {
        x.clone()
    }

    fn nothing(&self) -> Result<Tensor> {
        Ok(Tensor::zeros(0, DType::U8, &Device::Cpu)?)
    }

    fn norm(&self, norm: &Norm, x: &Tensor) -> Result<(Tensor, Stats<Tensor>)> {
        norm.forward(x)
    }

    fn add_norm(&self, norm: &Norm, x: &Tensor, residual: &Tensor) -> Result<(Tensor, Stats<Tensor>)> {
        norm.forward_sum(x, residual)
    }

    fn norm_backward(&self, norm: &Norm, dy: &Tensor, x: &Tensor, stats: &Stats<Tensor>, residual: Option<&Tensor>) -> Result<Tensor> {
        norm.backward(dy, x, stats, residual, self.training()?.grads)
    }

    fn linear(&self, linear: &Linear, x: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        // The parts of a fused layer read the same input: it is shown once.
        if let (Some(see), 0) = (&self.see, linear.rows.start) {
            (see.borrow_mut())(&linear.name, x)?;
        }
        linear.forward(x, self.params, self.dropout_seed)
    }

    fn adapter_inner(&self, linear: &Linear, x: &Tensor) -> Result<Option<Tensor>> {
        linear.adapter_inner(x, self.params, self.dropout_seed)
    }

    fn linear_backward(
        &self,
        linear: &Linear,
        dy: &Tensor,
        saved: Saved<Tensor>,
        want: bool,
        onto: Option<Tensor>,
    ) -> Result<Option<Tensor>> {
        linear.backward(dy, saved.x, saved.h, self.params, self.dropout_seed, want, onto, self.training()?.grads)
    }

    fn clip(&self, x: Tensor, limit: f64) -> Result<(Tensor, Tensor)> {
        Ok((x.clamp(-limit, limit)?, x.abs()?.le(limit)?))
    }

    fn clip_backward(&self, d: Tensor, within: &Tensor) -> Result<Tensor> {
        Ok(within.where_cond(&d, &d.zeros_like()?)?)
    }

    fn rotate(&self, a: &AttentionSpec, q: Tensor, k: Tensor) -> Result<(Tensor, Tensor)> {
        let (q, k) = (self.by_heads(&q, a.heads, a)?, self.by_heads(&k, a.kv_heads, a)?);
        if let Some(table) = a.rope {
            rope(&q, &k, self.positions, &self.ropes[table])?;
        }
        Ok((q, k))
    }

    fn rotate_backward(&self, a: &AttentionSpec, dq: Tensor, dk: Tensor) -> Result<(Tensor, Tensor)> {
        if let Some(table) = a.rope {
            rope_backward(&dq, &dk, self.positions, &self.ropes[table])?;
        }
        Ok((flat(&dq)?, flat(&dk)?))
    }

    fn attend(&self, a: &AttentionSpec, layer: usize, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let v = self.by_heads(v, a.kv_heads, a)?;
        let (o, lse) = if self.caches.is_empty() {
            attention(q, k, &v, self.cu_seqlens, a.window, a.scale as f32)?
        } else {
            (self.attend_kept(a, layer, q, k, &v)?, self.nothing()?)
        };
        Ok((flat(&o)?, lse))
    }

    fn attend_backward(&self, a: &AttentionSpec, d_o: &Tensor, kept: Attended<Tensor>) -> Result<(Tensor, Tensor, Tensor)> {
        let Attended { q, k, v, o, lse } = kept;
        let (v, o, d_o) = (self.by_heads(&v, a.kv_heads, a)?, self.by_heads(&o, a.heads, a)?, self.by_heads(d_o, a.heads, a)?);
        let (dq, dk, dv) = attention_backward(&d_o, &q, &k, &v, &o, &lse, self.cu_seqlens, a.window, a.scale as f32)?;
        Ok((dq, dk, flat(&dv)?))
    }

    fn gate(&self, activation: Activation, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        Ok(match activation {
            Activation::Silu => swiglu(gate, up)?,
            Activation::GeluTanh => tallow_kernels::geglu::geglu(gate, up)?,
        })
    }

    fn gate_backward(&self, activation: Activation, d: &Tensor, gate: &Tensor, up: &Tensor) -> Result<()> {
        match activation {
            Activation::Silu => swiglu_backward_inplace(d, gate, up)?,
            Activation::GeluTanh => tallow_kernels::geglu::geglu_backward_inplace(d, gate, up)?,
        }
        Ok(())
    }

    fn add(&self, to: &Tensor, x: &Tensor) -> Result<()> {
        Ok(add_inplace(to, x)?)
    }

    fn scale(&self, x: &Tensor, by: f64) -> Result<()> {
        Ok(tallow_kernels::scale::scale_inplace(x, by as f32)?)
    }

    fn scaled(&self, x: &Tensor, by: f64) -> Result<Tensor> {
        Ok(tallow_kernels::scale::scaled(x, by as f32)?)
    }

    fn send(&self, values: Vec<Tensor>) -> Result<Leaving> {
        let training = self.training()?;
        let mut offload = training.offload.borrow_mut();
        if offload.is_none() {
            *offload = Some(Offload::new(training.device)?);
        }
        let offload = offload.as_mut().ok_or_else(|| Error::Value("no copies to host memory".into()))?;
        Ok(offload.send(values)?)
    }

    fn settle(&self, leaving: Leaving) -> Result<Parked> {
        Ok(leaving.settle()?)
    }

    fn fetch(&self, parked: Parked) -> Result<Coming> {
        Ok(parked.fetch()?)
    }

    fn arrive(&self, coming: Coming) -> Result<Vec<Tensor>> {
        Ok(coming.arrive()?)
    }

    fn loss(&self, y: Tensor, want: bool) -> Result<Option<Tensor>> {
        let t = self.training()?;
        let scale = t.spec.logits_scale;
        if scale != 1.0 {
            self.scale(&y, scale)?;
        }
        let options = CeOptions {
            grad_scale: Some(t.grad_scale),
            token_weights: t.batch.token_weights.as_deref(),
            dw: t.head_grad,
            want_token_losses: false,
            chunk_tokens: 0,
        };
        let ce = linear_cross_entropy(&y, t.head, &t.batch.targets, &options)?;
        drop(y);
        t.loss.set(LossOut { loss_sum: ce.loss_sum, tokens: ce.tokens, correct: ce.correct });
        let Some(dx) = ce.dx.filter(|_| want) else { return Ok(None) };
        if scale != 1.0 {
            self.scale(&dx, scale)?;
        }
        Ok(Some(dx))
    }
}
