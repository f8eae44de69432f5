//! The head with the loss, chunk by chunk: rows with a target are gathered, and their gradients put back.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::activation::exp;
use crate::Result;
#[cfg(target_arch = "x86_64")]
use crate::bf16_loops;
use crate::cross_entropy::{CeOptions, CeOut, chunk_tokens};
use crate::matmul::{matmul, matmul_backward_input, matmul_backward_weight};
use crate::real::{Real, by_dtype};
use crate::simd::{greatest, sum, wide};
use crate::view::{read, write};
use crate::weight::Weight;

pub(super) fn linear_cross_entropy(
    op: &'static str,
    x: &Tensor,
    head: &Weight,
    targets: &[i64],
    chosen: &[u32],
    o: &CeOptions,
) -> Result<CeOut> {
    let ((tokens, hidden), vocab) = (x.dims2()?, head.out_features());
    let mut out = CeOut { loss_sum: 0.0, tokens: chosen.len() as u64, correct: 0, dx: None, token_losses: None };
    let mut losses = vec![0f32; tokens];
    let dx = match o.grad_scale {
        Some(_) => Some(Tensor::zeros((tokens, hidden), x.dtype(), &Device::Cpu)?),
        None => None,
    };
    let most = if o.chunk_tokens == 0 { chunk_tokens(vocab) } else { o.chunk_tokens };
    // Equal parts: a short last one would read the whole head for a few tokens.
    let step = chosen.len().div_ceil(chosen.len().div_ceil(most).max(1)).max(1);
    for rows in chosen.chunks(step) {
        let xs = gather_rows(op, x, rows, hidden)?;
        let logits = matmul(&xs, head)?;
        let stats = softmax_rows(op, &logits, rows, targets, o)?;
        for (&row, s) in rows.iter().zip(&stats) {
            losses[row as usize] = s.loss;
            out.loss_sum += f64::from(s.loss) * o.token_weights.map_or(1.0, |w| f64::from(w[row as usize]));
            out.correct += u64::from(s.correct);
        }
        if let Some(dx) = &dx {
            let part = matmul_backward_input(&logits, head)?;
            scatter_rows(op, dx, &part, rows, hidden)?;
            if let Some(dw) = o.dw {
                matmul_backward_weight(&logits, &xs, dw)?;
            }
        }
    }
    out.dx = dx;
    out.token_losses = o.want_token_losses.then_some(losses);
    Ok(out)
}

struct RowStats {
    loss: f32,
    correct: bool,
}

/// Turns each row of logits into its gradient (when wanted), and returns its loss.
fn softmax_rows(op: &'static str, logits: &Tensor, rows: &[u32], targets: &[i64], o: &CeOptions) -> Result<Vec<RowStats>> {
    let vocab = logits.dims()[1];
    by_dtype!(op, "logits", logits, T => write::<T, _>(op, "logits", logits, |all| {
        all.par_chunks_mut(vocab).zip(rows).map(|(row, &token)| {
            let target = targets[token as usize] as usize;
            let factor = o.grad_scale.map(|g| g * o.token_weights.map_or(1.0, |w| w[token as usize]));
            softmax_row(row, target, factor)
        }).collect()
    }))
}

fn softmax_row<T: Real>(row: &mut [T], target: usize, factor: Option<f32>) -> RowStats {
    #[cfg(target_arch = "x86_64")]
    if bf16_loops::available()
        && let Some(row) = T::bf16_mut(row)
    {
        return softmax_by(row, target, factor, bf16_loops::row_stats, bf16_loops::scaled_exp);
    }
    softmax_by(row, target, factor, row_stats, scaled_exp)
}

fn softmax_by<T: Real>(
    row: &mut [T],
    target: usize,
    factor: Option<f32>,
    row_stats: impl Fn(&[T]) -> (f32, f32),
    scaled_exp: impl Fn(&mut [T], f32, f32),
) -> RowStats {
    let (max, sum) = row_stats(row);
    let wanted = row[target].up();
    // A NaN anywhere reaches the sum, though not the maximum; so does an infinity, as inf - inf.
    let loss = if max == f32::INFINITY { f32::NAN } else { max + sum.ln() - wanted };
    let correct = wanted == max && equal_to(&row[..target], max) == 0;
    if let Some(factor) = factor {
        let inverse = factor / sum;
        scaled_exp(row, max, inverse);
        row[target] = T::down(exp(wanted - max) * inverse - factor);
    }
    RowStats { loss, correct }
}

wide! {
    /// The greatest element, and the sum of `e^(x - greatest)`.
    fn row_stats<T: Real>(row: &[T]) -> (f32, f32) {
        let max = greatest(row, T::up);
        let (mut part, mut total) = ([0f32; 256], 0.0);
        for row in row.chunks(part.len()) {
            for (e, x) in part.iter_mut().zip(row) {
                *e = exp(x.up() - max);
            }
            total += sum(&part[..row.len()], |e| e);
        }
        (max, total)
    }

    /// How many elements equal `x`.
    fn equal_to<T: Real>(row: &[T], x: f32) -> u32 {
        row.iter().map(|v| u32::from(v.up() == x)).sum()
    }

    /// `x = e^(x - max) * inverse`.
    fn scaled_exp<T: Real>(row: &mut [T], max: f32, inverse: f32) {
        for x in row.iter_mut() {
            *x = T::down(exp(x.up() - max) * inverse);
        }
    }
}

fn gather_rows(op: &'static str, x: &Tensor, rows: &[u32], width: usize) -> Result<Tensor> {
    by_dtype!(op, "x", x, T => {
        let out = read::<T, _>(op, "x", x, |x| {
            rows.iter().flat_map(|&r| x[r as usize * width..(r as usize + 1) * width].iter().copied()).collect::<Vec<T>>()
        })?;
        Ok(Tensor::from_vec(out, (rows.len(), width), &Device::Cpu)?)
    })
}

fn scatter_rows(op: &'static str, to: &Tensor, from: &Tensor, rows: &[u32], width: usize) -> Result<()> {
    by_dtype!(op, "dx", to, T => read::<T, _>(op, "dx", from, |from| write::<T, _>(op, "dx", to, |to| {
        for (&r, row) in rows.iter().zip(from.chunks(width)) {
            to[r as usize * width..(r as usize + 1) * width].copy_from_slice(row);
        }
    }))?)
}
