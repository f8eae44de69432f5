//! A model with more rows in its vocabulary: each new row is the mean of rows that are there.

use std::path::Path;

use candle_core::DType;
use safetensors::Dtype;

use super::decoder::check_names;
use super::error::{Error, Result};
use super::merge::{SHARD_BYTES, merged_f32};
use super::spec::{DecoderSpec, Role, Unknown};
use super::weights::{PlannedTensor, ShardWriter, Shards, check_finite_bytes};

/// A row to fill: its id, and the ids whose mean it gets.
pub type NewRow = (u32, Vec<u32>);

/// Writes a model's weights into the folder `out`, with the rows of embedding and head that `rows` name.
/// Ids beyond the model's rows lengthen them; others take rows that nothing uses. Gives the number of rows.
///
/// # Errors
/// When the model cannot be read, a row is named that is not there, or the disk refuses.
pub fn resized_weights(model: &Path, rows: &[NewRow], out: &Path) -> Result<usize> {
    let spec = DecoderSpec::open(model, Unknown::Refuse)?;
    let shards = Shards::open(model)?;
    check_names(&spec, &shards)?;
    let last = rows.iter().map(|(id, _)| *id as usize + 1).max().unwrap_or(0);
    let all = spec.vocab_size.max(last);
    let tensors = spec.tensors();
    let grows = |role: Role| matches!(role, Role::Embedding | Role::Head);
    let plan = tensors.iter().map(|t| {
        let dtype = match shards.info(&t.name) {
            Some((_, d @ (Dtype::F32 | Dtype::F16))) => d,
            _ => Dtype::BF16,
        };
        let mut shape = t.shape.clone();
        if grows(t.role) {
            shape[0] = all;
        }
        PlannedTensor { dtype, name: t.name.clone(), shape }
    });
    let plan: Vec<PlannedTensor> = plan.collect();
    let mut writer = ShardWriter::new(out, plan.clone(), SHARD_BYTES);
    for (t, planned) in tensors.iter().zip(&plan) {
        crate::base::cancel::checkpoint();
        if grows(t.role) {
            let old = shards.float(&t.name, DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            writer.write_f32(&t.name, &with_rows(&old, spec.hidden_size, all, rows)?)?;
        } else if shards.info(&t.name).map(|i| i.1) == Some(planned.dtype) {
            let bytes = shards.bytes(&t.name)?;
            check_finite_bytes(&t.name, bytes, planned.dtype)?;
            writer.write_bytes(&t.name, bytes)?;
        } else {
            let w = merged_f32(&shards, None, &t.name, &t.shape)?;
            writer.write_f32(&t.name, &w.flatten_all()?.to_vec1::<f32>()?)?;
        }
        shards.release(&t.name);
    }
    writer.finish()?;
    Ok(all)
}

/// A matrix `[rows, width]` with `all` rows, of which the named ones are means of old ones. A row that
/// is neither old nor named is zero.
fn with_rows(old: &[f32], width: usize, all: usize, rows: &[NewRow]) -> Result<Vec<f32>> {
    let mut new = old.to_vec();
    new.resize(all * width, 0.0);
    for (id, parts) in rows {
        let mut sum = vec![0f64; width];
        for part in parts {
            let from = *part as usize * width;
            let row = old.get(from..from + width).ok_or_else(|| Error::Value(format!("the model has no row {part}")))?;
            sum.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v));
        }
        let into = &mut new[*id as usize * width..][..width];
        into.iter_mut().zip(sum).for_each(|(v, s)| *v = (s / parts.len().max(1) as f64) as f32);
    }
    Ok(new)
}
