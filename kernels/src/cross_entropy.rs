//! The output head and the cross-entropy in one, over chunks of tokens: the full logits `[tokens, vocab]` never exist.
//!
//! Rows without a target cost nothing. The gradient with respect to the head's input is made in the same pass, as is the
//! gradient of the head where it trains (cf. Cut Your Losses, arXiv 2411.09009, for the idea of never holding the logits).

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::activation::exp;
#[cfg(target_arch = "x86_64")]
use crate::bf16_loops;
use crate::matmul::{matmul, matmul_backward_input, matmul_backward_weight};
use crate::real::{Real, by_dtype};
use crate::simd::{greatest, sum, wide};
use crate::variants::{self, Variant};
use crate::view::{on_device, on_known_device, read, write};
use crate::weight::Weight;
use crate::{Error, Result};

/// The label of a token that is not trained on.
pub const IGNORE: i64 = -100;

/// What to compute besides the loss.
#[derive(Debug, Clone, Copy, Default)]
pub struct CeOptions<'a> {
    /// Make the gradient, `dlogits = (softmax - onehot) * grad_scale * weight`; `None` for evaluation.
    pub grad_scale: Option<f32>,
    /// One factor a token, for weighted objectives.
    pub token_weights: Option<&'a [f32]>,
    /// The head's gradient, f32 `[vocab, hidden]`, added to in place.
    pub dw: Option<&'a Tensor>,
    /// Return every token's loss.
    pub want_token_losses: bool,
    /// Tokens whose logits exist at once; 0 lets the kernel choose.
    pub chunk_tokens: usize,
}

/// What came out.
#[derive(Debug, Clone)]
pub struct CeOut {
    /// Sum over trained tokens of weight * loss, in nats.
    pub loss_sum: f64,
    /// Tokens with a target.
    pub tokens: u64,
    /// Those whose likeliest next token is the target.
    pub correct: u64,
    /// Gradient of the input, `[tokens, hidden]` in its dtype, when asked for.
    pub dx: Option<Tensor>,
    /// One loss a token, 0 where there is no target, when asked for.
    pub token_losses: Option<Vec<f32>>,
}

/// Tokens whose logits exist at once, for a vocabulary: 8 Mi of them, 16 MiB in bf16. Fewer make the head's panels dear, which are packed
/// for every chunk; more gain nothing.
pub fn chunk_tokens(vocab: usize) -> usize {
    ((8 << 20) / vocab.max(1)).clamp(16, 1024)
}

/// The same on a GPU, whose products want many rows at a time: about 256 MiB of bf16.
pub fn gpu_chunk_tokens(vocab: usize) -> usize {
    let tokens = ((128 << 20) / vocab.max(1)).clamp(128, 8192);
    if variants::on(Variant::Logits128) { tokens / 128 * 128 } else { tokens }
}

/// Cross-entropy of `softmax(x headᵀ)` against `targets` (already shifted; -100 is ignored). x `[tokens, hidden]`.
///
/// # Errors
/// On shapes that do not fit, a target outside the vocabulary, dtypes or devices without a kernel.
pub fn linear_cross_entropy(x: &Tensor, head: &Weight, targets: &[i64], o: &CeOptions) -> Result<CeOut> {
    const OP: &str = "linear_cross_entropy";
    let (tokens, hidden) = x.dims2()?;
    let vocab = head.out_features();
    if targets.len() != tokens || o.token_weights.is_some_and(|w| w.len() != tokens) {
        return Err(Error::Shape { op: OP, what: "targets", got: targets.len().to_string(), want: tokens.to_string() });
    }
    if let Some((i, t)) = targets.iter().enumerate().find(|&(_, &t)| t != IGNORE && (t < 0 || t >= vocab as i64)) {
        return Err(Error::Value { op: OP, message: format!("target {t} at token {i} is outside the vocabulary of {vocab}") });
    }
    on_known_device(OP, x)?;
    let chosen: Vec<u32> = (0..tokens as u32).filter(|&i| targets[i as usize] != IGNORE).collect();
    on_device!(x => {
        let step = if o.chunk_tokens == 0 { gpu_chunk_tokens(vocab) } else { o.chunk_tokens };
        crate::cuda::cross_entropy::linear_cross_entropy(OP, x, head, targets, &chosen, step, o)
    });
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
        let xs = gather_rows(OP, x, rows, hidden)?;
        let logits = matmul(&xs, head)?;
        let stats = softmax_rows(OP, &logits, rows, targets, o)?;
        for (&row, s) in rows.iter().zip(&stats) {
            losses[row as usize] = s.loss;
            out.loss_sum += f64::from(s.loss) * o.token_weights.map_or(1.0, |w| f64::from(w[row as usize]));
            out.correct += u64::from(s.correct);
        }
        if let Some(dx) = &dx {
            let part = matmul_backward_input(&logits, head)?;
            scatter_rows(OP, dx, &part, rows, hidden)?;
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

/// The slow form in f64: (mean-free loss sum, gradient of x) for tests.
///
/// # Errors
/// Candle's own.
pub fn reference(x: &Tensor, head: &Weight, targets: &[i64]) -> Result<(f64, Tensor)> {
    let w = head.dequantize(DType::F32)?.to_dtype(DType::F64)?;
    let logits = x.to_dtype(DType::F64)?.matmul(&w.t()?)?;
    let mut rows = logits.to_vec2::<f64>()?;
    let mut loss = 0.0;
    for (row, &t) in rows.iter_mut().zip(targets) {
        if t == IGNORE {
            row.fill(0.0);
            continue;
        }
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|v| (v - max).exp()).sum();
        loss += max + sum.ln() - row[t as usize];
        row.iter_mut().for_each(|v| *v = (*v - max).exp() / sum);
        row[t as usize] -= 1.0;
    }
    Ok((loss, Tensor::new(rows, &Device::Cpu)?.matmul(&w)?))
}
