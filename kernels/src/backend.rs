//! What a back end owes: every operation, once. The public functions of this crate check their operands
//! and hand them to the back end of the tensors' device; a new back end is one folder that implements
//! [`Backend`], and one line of [`of`].
//!
//! A method with a body is one that a back end may lack or make better: it refuses by name, or is composed
//! of others.
//!
//! Operands have been checked: their shapes fit, and they lie on the back end's device. `op` is the name
//! that a person knows, for errors. "In place" means that every tensor that shares the storage sees it.

use candle_core::{DType, Device, Tensor};

use crate::Result;
use crate::attention::Call;
use crate::cross_entropy::{CeOptions, CeOut};
use crate::lora::{InputGradient, Lora};
use crate::optim::{Adam8State, AdamW};
use crate::quant::{Nf4, Q8};
use crate::rope::RopeTable;
use crate::view::no_kernel;
use crate::weight::Weight;

/// An operation's name.
pub(crate) type Op = &'static str;

/// A tensor, and the reciprocal standard deviations of its rows.
pub(crate) type Normed = (Tensor, Tensor);

/// A tensor's gradient, with the weight's in a tensor that is added to.
pub(crate) type WeightGradient<'a> = Option<&'a Tensor>;

/// One parameter of an optimiser's step: itself, its gradient, its moments, its weight decay.
pub(crate) type Stepped<'a> = (&'a Tensor, &'a Tensor, &'a Adam8State, f64);

/// Every operation.
pub(crate) trait Backend: Sync {
    // Elementwise.
    fn add(&self, op: Op, a: &Tensor, b: &Tensor) -> Result<Tensor>;
    /// `a += b`.
    fn add_inplace(&self, op: Op, a: &Tensor, b: &Tensor) -> Result<()>;
    /// `y += bias` on every row; bias f32 `[n]`.
    fn add_bias_inplace(&self, op: Op, y: &Tensor, bias: &Tensor) -> Result<()>;
    /// `db += sum over rows of dy`; db f32.
    fn sum_rows_add(&self, op: Op, dy: &Tensor, db: &Tensor) -> Result<()>;
    /// Copies src into dst from its element `first` on.
    fn write_rows(&self, op: Op, dst: &Tensor, first: usize, src: &Tensor) -> Result<()>;

    /// `x *= by`, rounded once.
    fn times_inplace(&self, op: Op, x: &Tensor, _by: f32) -> Result<()> {
        Err(no_kernel(op, x))
    }
    /// `x * by`, rounded once.
    fn times(&self, op: Op, x: &Tensor, _by: f32) -> Result<Tensor> {
        Err(no_kernel(op, x))
    }

    // GEGLU and SwiGLU.
    fn geglu(&self, op: Op, gate: &Tensor, _up: &Tensor) -> Result<Tensor> {
        Err(no_kernel(op, gate))
    }
    /// gate becomes dgate and up becomes dup.
    fn geglu_backward_inplace(&self, op: Op, _dact: &Tensor, gate: &Tensor, _up: &Tensor) -> Result<()> {
        Err(no_kernel(op, gate))
    }
    fn swiglu(&self, op: Op, gate: &Tensor, up: &Tensor) -> Result<Tensor>;
    /// (dgate, dup).
    fn swiglu_backward(&self, op: Op, dact: &Tensor, gate: &Tensor, up: &Tensor) -> Result<(Tensor, Tensor)>;
    /// gate becomes dgate and up becomes dup.
    fn swiglu_backward_inplace(&self, op: Op, dact: &Tensor, gate: &Tensor, up: &Tensor) -> Result<()>;

    // Norms; weights and biases f32 `[d]`.
    fn rms_norm(&self, op: Op, x: &Tensor, weight: &Tensor, eps: f64) -> Result<Normed>;
    /// (x + residual, its norm, rstd).
    fn add_rms_norm(&self, op: Op, x: &Tensor, residual: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor, Tensor)>;
    /// `x += residual`, and the norm of x.
    fn add_inplace_rms_norm(&self, op: Op, x: &Tensor, residual: &Tensor, weight: &Tensor, eps: f64) -> Result<Normed>;
    fn rms_norm_backward(
        &self,
        op: Op,
        dy: &Tensor,
        x: &Tensor,
        weight: &Tensor,
        rstd: &Tensor,
        residual: Option<&Tensor>,
        dw: WeightGradient,
    ) -> Result<Tensor>;
    /// (y, mean, rstd).
    fn layer_norm(&self, op: Op, x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Result<(Tensor, Tensor, Tensor)>;
    fn layer_norm_backward(
        &self,
        op: Op,
        dy: &Tensor,
        x: &Tensor,
        weight: Option<&Tensor>,
        mean: &Tensor,
        rstd: &Tensor,
        residual: Option<&Tensor>,
        dw: WeightGradient,
        db: WeightGradient,
    ) -> Result<Tensor>;

    /// Rotates q and k in place; the other way round where `sign` is -1.
    fn rope(&self, op: Op, q: &Tensor, k: &Tensor, positions: &[u32], table: &RopeTable, sign: f32) -> Result<()>;

    // Embedding.
    /// The rows `ids` in `dtype`.
    fn embedding(&self, op: Op, table: &Tensor, ids: &[u32], dtype: DType) -> Result<Tensor>;
    /// Adds the rows of dy to the rows of dtable, f32; `order` holds (id, row of dy), sorted.
    fn embedding_backward(&self, op: Op, dy: &Tensor, order: &[(u32, u32)], dtable: &Tensor) -> Result<()>;

    // Products with a weight, and the weight itself.
    fn matmul(&self, op: Op, x: &Tensor, w: &Weight, tokens: usize) -> Result<Tensor>;
    fn matmul_backward_input(&self, op: Op, dy: &Tensor, w: &Weight, tokens: usize) -> Result<Tensor>;
    /// `dx += dy W`.
    fn matmul_backward_input_add(&self, op: Op, dy: &Tensor, w: &Weight, tokens: usize, dx: &Tensor) -> Result<()>;
    /// `dW += dyᵀ x`; dW f32.
    fn matmul_backward_weight(&self, op: Op, dy: &Tensor, x: &Tensor, dw: &Tensor) -> Result<()>;
    fn decode_nf4(&self, op: Op, w: &Nf4, dtype: DType) -> Result<Tensor>;
    fn decode_q8(&self, op: Op, w: &Q8, dtype: DType) -> Result<Tensor>;

    // LoRA.
    /// `y += scale * drop(x) Aᵀ Bᵀ`; returns `h = drop(x) Aᵀ`.
    fn lora_forward(&self, op: Op, x: &Tensor, l: &Lora, y: &Tensor) -> Result<Tensor>;
    /// Only h.
    fn lora_inner(&self, op: Op, x: &Tensor, l: &Lora) -> Result<Tensor>;
    /// Adds to dA, dB and, where given, dx.
    fn lora_backward(
        &self,
        op: Op,
        dy: &Tensor,
        x: &Tensor,
        h: &Tensor,
        l: &Lora,
        dx: Option<&Tensor>,
        da: &Tensor,
        db: &Tensor,
    ) -> Result<()>;
    /// (the base's product and the adapter's in one, h); a back end may sum them before anything is rounded.
    fn lora_matmul(&self, op: Op, x: &Tensor, w: &Weight, l: &Lora) -> Result<(Tensor, Tensor)> {
        let y = self.matmul(op, x, w, x.dims()[0])?;
        let h = self.lora_forward(op, x, l, &y)?;
        Ok((y, h))
    }
    /// The gradients of both; the input's is returned where it is new.
    fn lora_matmul_backward(
        &self,
        op: Op,
        dy: &Tensor,
        x: &Tensor,
        h: &Tensor,
        w: &Weight,
        l: &Lora,
        dx: InputGradient,
        da: &Tensor,
        db: &Tensor,
    ) -> Result<Option<Tensor>> {
        composed_backward(self, op, dy, x, h, w, l, dx, da, db)
    }

    // Attention.
    /// (o, lse f32 `[heads, tokens]`).
    fn attention(&self, op: Op, q: &Tensor, k: &Tensor, v: &Tensor, call: &Call) -> Result<(Tensor, Tensor)>;
    /// (dq, dk, dv).
    fn attention_backward(
        &self,
        op: Op,
        dout: &Tensor,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        o: &Tensor,
        lse: &Tensor,
        call: &Call,
    ) -> Result<(Tensor, Tensor, Tensor)>;
    /// Of the last queries over the first `length` rows of the caches.
    fn attention_cached(&self, op: Op, q: &Tensor, k: &Tensor, v: &Tensor, length: usize, call: &Call) -> Result<Tensor>;

    /// The head with the loss; `chosen` are the tokens with a target, in order.
    fn linear_cross_entropy(&self, op: Op, x: &Tensor, head: &Weight, targets: &[i64], chosen: &[u32], o: &CeOptions) -> Result<CeOut>;

    // Gradients and parameters, all f32.
    fn global_norm(&self, op: Op, grads: &[&Tensor]) -> Result<f64>;
    fn scale_inplace(&self, op: Op, t: &Tensor, factor: f32) -> Result<()>;
    fn zero_inplace(&self, op: Op, t: &Tensor) -> Result<()>;
    /// One step of AdamW for all of them.
    fn adamw_step(&self, op: Op, tensors: &[Stepped], o: &AdamW) -> Result<()>;
}

/// The gradients of a layer with an adapter, one product after the other.
pub(crate) fn composed_backward<B: Backend + ?Sized>(
    backend: &B,
    op: Op,
    dy: &Tensor,
    x: &Tensor,
    h: &Tensor,
    w: &Weight,
    l: &Lora,
    dx: InputGradient,
    da: &Tensor,
    db: &Tensor,
) -> Result<Option<Tensor>> {
    let tokens = dy.dims()[0];
    let made = match dx {
        InputGradient::New => Some(backend.matmul_backward_input(op, dy, w, tokens)?),
        InputGradient::Onto(dx) => {
            backend.matmul_backward_input_add(op, dy, w, tokens, dx)?;
            None
        }
        InputGradient::No => None,
    };
    let onto = if let InputGradient::Onto(dx) = dx { Some(dx) } else { made.as_ref() };
    backend.lora_backward(op, dy, x, h, l, onto, da, db)?;
    Ok(made)
}

/// The back end of a tensor's device.
///
/// # Errors
/// When this build has none for it.
pub(crate) fn of(op: Op, t: &Tensor) -> Result<&'static dyn Backend> {
    match t.device() {
        #[cfg(emulator)]
        Device::Cpu if crate::cuda::emulator::is_on() => Ok(&crate::cuda::Launchers),
        Device::Cpu => Ok(&crate::cpu::Cpu),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => Ok(&crate::cuda::Launchers),
        _ => Err(no_kernel(op, t)),
    }
}
