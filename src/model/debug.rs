//! Logits, loss and adapter gradients of a given batch, for comparing with another implementation.

use std::path::Path;

use safetensors::Dtype;

use super::adapter::write_safetensors_f32;
use super::decoder::{Decoder, LossOut, Policy, StepOptions};
use super::error::{Error, Result};
use super::weights::Shards;
use crate::data::PackedBatch;

/// What was compared.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct GradientReport {
    /// Mean loss over the targets.
    pub loss: f64,
    /// Targets.
    pub tokens: u64,
    /// Gradients written.
    pub gradients: usize,
}

/// Integers `[batch, seq]` of a safetensors file.
fn integers(file: &Shards, name: &str) -> Result<(Vec<i64>, usize, usize)> {
    let bad = |message: String| Error::tensor(file.path_of(name), name, message);
    let (shape, dtype) = file.info(name).ok_or_else(|| bad("is missing".into()))?;
    let &[batch, seq] = shape else { return Err(bad(format!("has shape {shape:?}, expected [batch, seq]"))) };
    let bytes = file.bytes(name)?;
    let values = match dtype {
        Dtype::I64 => bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
        Dtype::I32 => bytes.as_chunks::<4>().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect(),
        other => return Err(bad(format!("has dtype {other:?}, expected I64"))),
    };
    Ok((values, batch, seq))
}

/// Reads `input_ids` and labels (`labels` names their tensor; -100 is ignored; shifted here) and runs one pass without
/// dropout: writes `logits` f32 `[batch, seq, vocab]`, `loss` (mean over the targets) and the gradient of that mean for
/// each trainable tensor, under its name.
///
/// # Errors
/// When the input does not fit, nothing trains, or the output cannot be written.
pub fn gradients(decoder: &Decoder, input: &Path, output: &Path, labels: &str) -> Result<GradientReport> {
    let file = Shards::open_files(&[input.to_path_buf()])?;
    let (ids, batch, seq) = integers(&file, "input_ids")?;
    let (labels_values, lb, ls) = integers(&file, labels)?;
    if (lb, ls) != (batch, seq) {
        return Err(Error::tensor(input, labels, format!("has shape [{lb}, {ls}], input_ids has [{batch}, {seq}]")));
    }
    let input_ids = ids.iter().map(|id| u32::try_from(*id)).collect::<Result<Vec<_>, _>>();
    let input_ids = input_ids.map_err(|_| Error::tensor(input, "input_ids", "holds an id below 0"))?;
    let targets = labels_values.chunks(seq).flat_map(|row| row[1..].iter().copied().chain([-100])).collect();
    let cu_seqlens = (0..=batch).map(|i| (i * seq) as u32).collect();
    let packed = PackedBatch { input_ids, targets, cu_seqlens, token_weights: None };
    let logits = decoder.logits(&packed.input_ids, &packed.cu_seqlens)?.reshape((batch, seq, decoder.spec().vocab_size))?;
    let (loss, grads) = mean_gradients(decoder, &packed)?;
    let mean = loss.loss_sum / loss.tokens.max(1) as f64;
    let loss_tensor = candle_core::Tensor::new(&[mean as f32], &candle_core::Device::Cpu)?.reshape(())?;
    let named = decoder.params().iter().map(|p| p.name.as_str()).zip(&grads.tensors);
    let all = [("logits", &logits), ("loss", &loss_tensor)].into_iter().chain(named);
    write_safetensors_f32(output, all)?;
    Ok(GradientReport { loss: mean, tokens: loss.tokens, gradients: grads.tensors.len() })
}

/// Gradients of the mean loss over a batch's targets.
fn mean_gradients(decoder: &Decoder, batch: &PackedBatch) -> Result<(LossOut, super::params::Grads)> {
    if decoder.params().is_empty() {
        return Err(Error::Value("nothing trains: give an adapter".into()));
    }
    let mut grads = decoder.zero_grads()?;
    let grad_scale = 1.0 / batch.target_tokens().max(1) as f32;
    let options = StepOptions { grad_scale, dropout_seed: None, policy: Policy::KeepAll };
    let loss = decoder.loss_and_grads(batch, &options, &mut grads)?;
    Ok((loss, grads))
}
