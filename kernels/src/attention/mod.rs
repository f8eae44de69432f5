//! Causal attention over packed sequences: variable length, grouped query heads, sliding window, O(tokens) memory.
//!
//! The algorithm is FlashAttention-2's (arXiv 2307.08691): tiles of scores with a running maximum and sum, and one
//! log-sum-exp a row kept for the backward pass. A query at position i of a sequence sees the keys j <= i of that
//! sequence only; with a window w, those with i - j < w.

pub(crate) mod cpu;
pub(crate) mod decode;
pub mod reference;

use candle_core::{DType, Tensor};

use crate::{Error, Result, backend};

/// Shapes and options of one call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) dim: usize,
    pub(crate) window: usize,
    pub(crate) scale: f32,
    /// (first query row, first key row, queries, keys) of each sequence; the queries are the last of the keys.
    pub(crate) spans: Vec<(usize, usize, usize, usize)>,
}

/// Bytes that forward and backward need beside their operands and results, for sequences up to `longest`.
pub fn scratch_bytes(longest: usize, dim: usize, threads: usize) -> (u64, u64) {
    cpu::scratch_bytes(longest, dim, threads)
}

fn check(op: &'static str, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<(usize, usize, usize, usize, usize)> {
    let (tq, heads, dim) = q.dims3()?;
    let (tk, kv_heads, kd) = k.dims3()?;
    if kd != dim || v.dims() != k.dims() || kv_heads == 0 || heads % kv_heads != 0 {
        let want = format!("[tokens, a divisor of {heads}, {dim}]");
        return Err(Error::Shape { op, what: "k and v", got: format!("{:?} {:?}", k.dims(), v.dims()), want });
    }
    if k.dtype() != q.dtype() || v.dtype() != q.dtype() {
        return Err(Error::Dtype { op, what: "k and v", got: k.dtype(), want: "the dtype of q" });
    }
    Ok((tq, tk, heads, kv_heads, dim))
}

fn packed(op: &'static str, q: &Tensor, k: &Tensor, v: &Tensor, cu_seqlens: &[u32], window: Option<usize>, scale: f32) -> Result<Call> {
    let (tq, tk, heads, kv_heads, dim) = check(op, q, k, v)?;
    let rising = cu_seqlens.first() == Some(&0) && cu_seqlens.windows(2).all(|w| w[0] <= w[1]);
    if !rising || cu_seqlens.last().map(|&l| l as usize) != Some(tq) || tq != tk {
        let message = format!("cu_seqlens must rise from 0 to the {tq} tokens of q and k ({tk}); it is {cu_seqlens:?}");
        return Err(Error::Value { op, message });
    }
    let spans = cu_seqlens.windows(2).map(|w| (w[0] as usize, w[0] as usize, (w[1] - w[0]) as usize, (w[1] - w[0]) as usize)).collect();
    Ok(Call { heads, kv_heads, dim, window: window.unwrap_or(usize::MAX), scale, spans })
}

/// Attention of q `[tokens, heads, dim]` over k and v `[tokens, kv_heads, dim]`; sequences end at `cu_seqlens`.
/// Returns (o in q's shape and dtype, lse f32 `[heads, tokens]`).
///
/// # Errors
/// On shapes that do not fit, dtypes or devices without a kernel.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, cu_seqlens: &[u32], window: Option<usize>, scale: f32) -> Result<(Tensor, Tensor)> {
    const OP: &str = "attention";
    let call = packed(OP, q, k, v, cu_seqlens, window, scale)?;
    backend::of(OP, q)?.attention(OP, q, k, v, &call)
}

/// Gradients (dq, dk, dv) from dout and what the forward pass took and gave.
///
/// # Errors
/// As [`attention`].
pub fn attention_backward(
    dout: &Tensor,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    o: &Tensor,
    lse: &Tensor,
    cu_seqlens: &[u32],
    window: Option<usize>,
    scale: f32,
) -> Result<(Tensor, Tensor, Tensor)> {
    const OP: &str = "attention_backward";
    let call = packed(OP, q, k, v, cu_seqlens, window, scale)?;
    for (what, t) in [("dout", dout), ("o", o)] {
        if t.dims() != q.dims() || t.dtype() != q.dtype() {
            return Err(Error::Shape { op: OP, what, got: format!("{:?}", t.dims()), want: format!("{:?}", q.dims()) });
        }
    }
    if lse.dtype() != DType::F32 || lse.dims() != [call.heads, q.dims()[0]] {
        return Err(Error::Shape { op: OP, what: "lse", got: format!("{:?}", lse.dims()), want: "f32 [heads, tokens]".into() });
    }
    backend::of(OP, q)?.attention_backward(OP, dout, q, k, v, o, lse, &call)
}

/// Attention of the last n positions q `[n, heads, dim]` over the first `len` rows of the caches `[cap, kv_heads, dim]`.
///
/// # Errors
/// As [`attention`].
pub fn attention_cached(q: &Tensor, k_cache: &Tensor, v_cache: &Tensor, len: usize, window: Option<usize>, scale: f32) -> Result<Tensor> {
    const OP: &str = "attention_cached";
    let (n, cap, heads, kv_heads, dim) = check(OP, q, k_cache, v_cache)?;
    if n > len || len > cap {
        return Err(Error::Value { op: OP, message: format!("{n} queries at the end of {len} keys in a cache of {cap}") });
    }
    let call = Call { heads, kv_heads, dim, window: window.unwrap_or(usize::MAX), scale, spans: vec![(0, 0, n, len)] };
    backend::of(OP, q)?.attention_cached(OP, q, k_cache, v_cache, len, &call)
}
