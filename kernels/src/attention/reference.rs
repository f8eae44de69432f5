//! The slow attention that the kernel is tested against: every score of every sequence, in f64, over Candle tensors with
//! a gradient.

use candle_core::{D, DType, Tensor};

use crate::Result;

/// `softmax(scale q kᵀ + mask) v` for each sequence; all operands f64, shapes as [`super::attention`].
///
/// # Errors
/// Candle's own.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, cu_seqlens: &[u32], window: Option<usize>, scale: f32) -> Result<Tensor> {
    let (_, heads, _) = q.dims3()?;
    let group = heads / k.dims3()?.1;
    let mut outs = Vec::new();
    for w in cu_seqlens.windows(2) {
        let (start, n) = (w[0] as usize, (w[1] - w[0]) as usize);
        if n == 0 {
            continue;
        }
        let rows = |t: &Tensor, repeat: usize| -> Result<Tensor> {
            let t = t.narrow(0, start, n)?.transpose(0, 1)?.contiguous()?;
            let (h, n, d) = t.dims3()?;
            Ok(t.unsqueeze(1)?.broadcast_as((h, repeat, n, d))?.contiguous()?.reshape((h * repeat, n, d))?)
        };
        let (q, k, v) = (rows(q, 1)?, rows(k, group)?, rows(v, group)?);
        let scores = (q.matmul(&k.transpose(1, 2)?.contiguous()?)? * f64::from(scale))?;
        let seen = |i: usize, j: usize| j <= i && window.is_none_or(|w| i - j < w);
        let mask: Vec<f64> = (0..n * n).map(|x| if seen(x / n, x % n) { 0.0 } else { -1e30 }).collect();
        let scores = scores.broadcast_add(&Tensor::from_vec(mask, (1, n, n), q.device())?.to_dtype(DType::F64)?)?;
        let e = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
        let p = e.broadcast_div(&e.sum_keepdim(D::Minus1)?)?;
        outs.push(p.matmul(&v)?.transpose(0, 1)?.contiguous()?);
    }
    Ok(Tensor::cat(&outs, 0)?)
}
