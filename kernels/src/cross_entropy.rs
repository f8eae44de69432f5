//! The output head and the cross-entropy in one, over chunks of tokens: the full logits `[tokens, vocab]` never exist.
//!
//! Rows without a target cost nothing. The gradient with respect to the head's input is made in the same pass, as is the
//! gradient of the head where it trains (cf. Cut Your Losses, arXiv 2411.09009, for the idea of never holding the logits).

use candle_core::{DType, Device, Tensor};

use crate::variants::{self, Variant};
use crate::weight::Weight;
use crate::{Error, Result, backend};

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
    let (tokens, _) = x.dims2()?;
    let vocab = head.out_features();
    if targets.len() != tokens || o.token_weights.is_some_and(|w| w.len() != tokens) {
        return Err(Error::Shape { op: OP, what: "targets", got: targets.len().to_string(), want: tokens.to_string() });
    }
    if let Some((i, t)) = targets.iter().enumerate().find(|&(_, &t)| t != IGNORE && (t < 0 || t >= vocab as i64)) {
        return Err(Error::Value { op: OP, message: format!("target {t} at token {i} is outside the vocabulary of {vocab}") });
    }
    let chosen: Vec<u32> = (0..tokens as u32).filter(|&i| targets[i as usize] != IGNORE).collect();
    backend::of(OP, x)?.linear_cross_entropy(OP, x, head, targets, &chosen, o)
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
