//! The output head with its cross-entropy: products by cuBLAS, `cross_entropy.cu` between them.

use candle_core::{DType, Tensor};

use super::launch::{Arg, Kernel};
use super::memory::{empty, fill_zero, span, upload};
use super::{embedding, suffix};
use crate::Result;
use crate::cross_entropy::{CeOptions, CeOut};
use crate::matmul::{matmul, matmul_backward_input, matmul_backward_input_add, matmul_backward_weight};
use crate::weight::Weight;

/// `chosen` are the rows of x that have a target, rising, with their targets and weights beside them; `step` of them make
/// one chunk of logits. The host waits once, at the end.
pub(crate) fn run(
    op: &'static str,
    x: &Tensor,
    head: &Weight,
    chosen: &[u32],
    targets: &[u32],
    weights: Option<&[f32]>,
    o: &CeOptions,
    step: usize,
) -> Result<CeOut> {
    let (device, dtype, (tokens, hidden)) = (x.device(), x.dtype(), x.dims2()?);
    let dx = match o.grad_scale {
        Some(_) => {
            let dx = empty((tokens, hidden), dtype, device)?;
            // SAFETY: a new tensor.
            unsafe { fill_zero(op, device, span(op, "dx", &dx, dtype)?)? };
            Some(dx)
        }
        None => None,
    };
    let n = chosen.len();
    let mut out = CeOut { loss_sum: 0.0, tokens: n as u64, correct: 0, dx, token_losses: o.want_token_losses.then(|| vec![0.0; tokens]) };
    if n == 0 {
        return Ok(out);
    }
    let (losses, correct) = (empty(n, DType::F32, device)?, empty(n, DType::U8, device)?);
    let targets = upload(targets, device)?;
    let weights = weights.map(|w| upload(w, device)).transpose()?;
    for first in (0..n).step_by(step) {
        let count = step.min(n - first);
        let rows = &chosen[first..first + count];
        let run = (rows[count - 1] - rows[0]) as usize + 1 == count;
        let xs = if run { x.narrow(0, rows[0] as usize, count)? } else { embedding::gather(op, x, rows)? };
        let logits = matmul(&xs, head)?;
        let part = |t: &Tensor, dtype| span(op, "statistics", &t.narrow(0, first, count)?, dtype);
        let args = [
            span(op, "logits", &logits, dtype)?.into(),
            part(&targets, DType::U32)?.into(),
            weights.as_ref().map(|w| part(w, DType::F32)).transpose()?.into(),
            part(&losses, DType::F32)?.into(),
            part(&correct, DType::U8)?.into(),
            Arg::I32(head.out_features() as i32),
            Arg::I32(i32::from(o.grad_scale.is_some())),
            Arg::F32(o.grad_scale.unwrap_or(0.0)),
        ];
        let kernel = Kernel::new(op, "cross_entropy", format!("cross_entropy_{}", suffix(op, "logits", &logits)?), count, 512);
        // SAFETY: one block a row of logits; the other tensors have one element a row, and targets lie in the vocabulary.
        unsafe { kernel.launch(device, &args)? };
        if let Some(dx) = &out.dx {
            if run {
                matmul_backward_input_add(&logits, head, &dx.narrow(0, rows[0] as usize, count)?)?;
            } else {
                embedding::scatter(op, &matmul_backward_input(&logits, head)?, rows, dx)?;
            }
            if let Some(dw) = o.dw {
                matmul_backward_weight(&logits, &xs, dw)?;
            }
        }
    }
    let totals = empty(3, DType::F64, device)?;
    let args = [
        span(op, "losses", &losses, DType::F32)?.into(),
        weights.as_ref().map(|w| span(op, "weights", w, DType::F32)).transpose()?.into(),
        span(op, "targets", &targets, DType::U32)?.into(),
        span(op, "correct", &correct, DType::U8)?.into(),
        Arg::I32(n as i32),
        span(op, "totals", &totals, DType::F64)?.into(),
    ];
    // SAFETY: n elements each, and three totals.
    unsafe { Kernel::new(op, "cross_entropy", "cross_entropy_sum", 1, 256).launch(device, &args)? };
    let totals = totals.to_vec1::<f64>()?;
    (out.loss_sum, out.correct) = (totals[0], totals[2] as u64);
    if let Some(all) = &mut out.token_losses {
        for (&row, loss) in chosen.iter().zip(losses.to_vec1::<f32>()?) {
            all[row as usize] = loss;
        }
    }
    Ok(out)
}
