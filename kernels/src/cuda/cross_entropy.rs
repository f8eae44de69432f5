//! The head and the loss over chunks of tokens, with the launchers of `cross_entropy.cu`. The host waits once, for the totals.

use candle_core::{DType, Tensor};

use super::launch::Kernel;
use super::memory::{Span, empty, fill_zero, span, upload};
use super::{embedding, matmul, suffix};
use crate::Result;
use crate::cross_entropy::{CeOptions, CeOut};
use crate::weight::Weight;

/// `rows` elements of `size` bytes each, from the `first` one on.
fn part(all: Span, size: usize, first: usize, rows: usize) -> Span {
    Span { address: all.address + (first * size) as u64, bytes: rows * size }
}

/// The rows `rows` of x: a view where they stand together.
fn chosen_rows(op: &'static str, x: &Tensor, rows: &[u32]) -> Result<Tensor> {
    let together = rows.windows(2).all(|w| w[0] + 1 == w[1]);
    if together { Ok(x.narrow(0, rows[0] as usize, rows.len())?) } else { embedding::gather(op, x, rows) }
}

/// `chosen`: the tokens with a target, in order. All sizes have been checked.
pub(crate) fn linear_cross_entropy(
    op: &'static str,
    x: &Tensor,
    head: &Weight,
    targets: &[i64],
    chosen: &[u32],
    step: usize,
    o: &CeOptions,
) -> Result<CeOut> {
    let ((tokens, hidden), vocab) = (x.dims2()?, head.out_features());
    let (dtype, device, n) = (x.dtype(), x.device(), chosen.len());
    let mut out = CeOut { loss_sum: 0.0, tokens: n as u64, correct: 0, dx: None, token_losses: None };
    let dx = o.grad_scale.map(|_| empty((tokens, hidden), dtype, device)).transpose()?;
    if let Some(dx) = dx.as_ref().filter(|_| n < tokens) {
        let all = span(op, "dx", dx, dtype)?;
        // SAFETY: the tensor is new.
        unsafe { fill_zero(op, device, all)? };
    }
    out.dx = dx;
    out.token_losses = o.want_token_losses.then(|| vec![0.0; tokens]);
    if n == 0 {
        return Ok(out);
    }
    let wanted: Vec<u32> = chosen.iter().map(|&i| targets[i as usize] as u32).collect();
    let weights: Option<Vec<f32>> = o.token_weights.map(|w| chosen.iter().map(|&i| w[i as usize]).collect());
    let (wanted, weights) = (upload(&wanted, device)?, weights.map(|w| upload(&w, device)).transpose()?);
    let (losses, correct) = (empty(n, DType::F32, device)?, empty(n, DType::U8, device)?);
    let totals = Tensor::zeros(3, DType::F64, device)?;
    let (wanted, totals_at) = (span(op, "targets", &wanted, DType::U32)?, span(op, "totals", &totals, DType::F64)?);
    let weights_at = weights.as_ref().map(|w| span(op, "weights", w, DType::F32)).transpose()?;
    let (losses_at, correct_at) = (span(op, "losses", &losses, DType::F32)?, span(op, "correct", &correct, DType::U8)?);
    let name = format!("cross_entropy_{}", suffix(op, "x", x)?);
    for (i, rows) in chosen.chunks(step).enumerate() {
        let (first, count) = (i * step, rows.len());
        let xs = chosen_rows(op, x, rows)?;
        let logits = matmul::forward(op, &xs, head, count)?;
        let args = [
            span(op, "logits", &logits, dtype)?.into(),
            part(wanted, 4, first, count).into(),
            weights_at.map(|w| part(w, 4, first, count)).into(),
            part(losses_at, 4, first, count).into(),
            part(correct_at, 1, first, count).into(),
            (vocab as i32).into(),
            i32::from(o.grad_scale.is_some()).into(),
            o.grad_scale.unwrap_or(0.0).into(),
        ];
        // SAFETY: one block a row; every target is a column, which the caller has checked.
        unsafe { Kernel::new(op, "cross_entropy", name.clone(), count, 512).launch(device, &args)? };
        if let Some(dx) = &out.dx {
            let part = matmul::backward_input(op, &logits, head, count, None)?;
            embedding::scatter(op, &part, rows, dx)?;
            if let Some(dw) = o.dw {
                matmul::backward_weight(op, &logits, &xs, dw)?;
            }
        }
    }
    let args = [losses_at.into(), weights_at.into(), wanted.into(), correct_at.into(), (n as i32).into(), totals_at.into()];
    // SAFETY: n losses, weights, targets and flags, three totals.
    unsafe { Kernel::new(op, "cross_entropy", "cross_entropy_sum", 1, 256).launch(device, &args)? };
    let totals = totals.to_vec1::<f64>()?;
    (out.loss_sum, out.correct) = (totals[0], totals[2] as u64);
    if let Some(all) = &mut out.token_losses {
        for (&i, loss) in chosen.iter().zip(losses.to_vec1::<f32>()?) {
            all[i as usize] = loss;
        }
    }
    Ok(out)
}
