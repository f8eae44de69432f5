//! Logits of a model that is never wholly in memory: one layer is loaded, run and dropped at a time.

use candle_core::{DType, Tensor};
use tallow_kernels::embedding::embedding;
use tallow_kernels::matmul::matmul;
use tallow_kernels::rope::RopeTable;
use tallow_kernels::weight::Weight;

use super::LoadOptions;
use super::layer::Pass;
use super::load::Loader;
use super::step::longest;
use crate::model::adapter::AdapterFile;
use crate::model::error::{Error, Result};
use crate::model::linear::LoraSlot;
use crate::model::params::Params;
use crate::model::spec::{DecoderSpec, LinearKind};
use crate::model::weights::TensorSource;

/// Logits f32 `[T, vocab]` of sequences end to end, computed in f32, with the adapter beside the base as it was trained.
///
/// # Errors
/// When a tensor is missing or damaged, or an id has no row.
pub fn stream_logits(
    spec: &DecoderSpec,
    source: &dyn TensorSource,
    adapter: Option<&AdapterFile>,
    ids: &[u32],
    cu_seqlens: &[u32],
) -> Result<Tensor> {
    if ids.is_empty() || ids.iter().any(|id| *id as usize >= spec.vocab_size) {
        return Err(Error::Value("the ids do not fit the vocabulary".into()));
    }
    let options = LoadOptions::default();
    let loader = Loader { spec, shards: source, options: &options };
    let positions: Vec<u32> = cu_seqlens.windows(2).flat_map(|w| 0..w[1] - w[0]).collect();
    let rope = RopeTable::new(spec.head_dim, spec.rope_theta, &spec.rope_scaling, longest(cu_seqlens), &options.device)?;
    let mut x = embedding(&loader.dense("model.embed_tokens.weight")?, ids, DType::F32)?;
    for i in 0..spec.num_layers {
        crate::base::cancel::checkpoint();
        let mut layer = loader.layer(i)?;
        let mut params = Params::default();
        for kind in LinearKind::ALL {
            let linear = layer.linear_mut(kind);
            let Some(file) = adapter else { continue };
            let Some((a, b)) = file.pair(&linear.name, spec.linear_shape(kind))? else { continue };
            let (a, b) = (params.push(String::new(), a), params.push(String::new(), b));
            linear.lora = Some(LoraSlot { a, b, scale: file.config.scale() as f32, dropout: 0.0 });
        }
        let pass = Pass { params: &params, positions: &positions, cu_seqlens, rope: &rope, dropout_seed: None };
        x = layer.forward_plain(x, &pass)?;
    }
    let y = loader.norm("model.norm")?.forward(&x)?.0;
    let head = if spec.tie_word_embeddings { "model.embed_tokens.weight" } else { "lm_head.weight" };
    Ok(matmul(&y, &Weight::Dense(loader.dense(head)?))?)
}
