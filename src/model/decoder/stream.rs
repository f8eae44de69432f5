//! Logits of a model that is never wholly in memory: one layer is loaded, run and dropped at a time.

use candle_core::{DType, Device, Tensor};
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

/// Sequences end to end: their ids, and where each begins with the end at last.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    /// All ids.
    pub ids: &'a [u32],
    /// Boundaries, `[sequences + 1]`.
    pub cu_seqlens: &'a [u32],
}

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
    let y = stream(spec, source, adapter, &[Packed { ids, cu_seqlens }], &mut |_, _| Ok(()))?;
    let parts = runs(spec).map(|(from, count)| {
        let rows = source.rows(head(spec), from, count)?;
        let rows = Tensor::from_vec(rows, (count, spec.hidden_size), &Device::Cpu)?;
        Ok(matmul(&y[0], &Weight::Dense(rows))?)
    });
    Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 1)?)
}

/// Rows of embedding or head that are held at once: a large vocabulary has more of them than all layers.
const ROWS: usize = 1 << 13;

/// First row and number of rows of each run over the vocabulary.
fn runs(spec: &DecoderSpec) -> impl Iterator<Item = (usize, usize)> {
    let all = spec.vocab_size;
    (0..all).step_by(ROWS).map(move |from| (from, ROWS.min(all - from)))
}

/// The embeddings of all passes; only rows that are asked for stay.
fn embed(spec: &DecoderSpec, source: &dyn TensorSource, passes: &[Packed]) -> Result<Vec<Tensor>> {
    let wanted: std::collections::BTreeSet<u32> = passes.iter().flat_map(|p| p.ids.iter().copied()).collect();
    let (mut table, width) = (Vec::with_capacity(wanted.len() * spec.hidden_size), spec.hidden_size);
    for (from, count) in runs(spec) {
        let here: Vec<usize> = wanted.range(from as u32..(from + count) as u32).map(|id| *id as usize - from).collect();
        if !here.is_empty() {
            let rows = source.rows("model.embed_tokens.weight", from, count)?;
            here.iter().for_each(|i| table.extend_from_slice(&rows[i * width..(i + 1) * width]));
        }
    }
    let place: std::collections::BTreeMap<u32, u32> = wanted.iter().zip(0..).map(|(id, at)| (*id, at)).collect();
    let table = Tensor::from_vec(table, (wanted.len(), width), &Device::Cpu)?;
    let of = |p: &Packed| Ok(embedding(&table, &p.ids.iter().map(|id| place[id]).collect::<Vec<u32>>(), DType::F32)?);
    passes.iter().map(of).collect()
}

/// Shows `see` the input `[T, in]` of every linear layer, by the layer's path, and that of the head: a layer at a time,
/// all passes through it before the next one is loaded. Layers that read the same input (q, k and v; gate and up) are
/// named each in turn.
///
/// # Errors
/// When a tensor is missing or damaged, an id has no row, or `see` fails.
pub fn stream_inputs(
    spec: &DecoderSpec,
    source: &dyn TensorSource,
    adapter: Option<&AdapterFile>,
    passes: &[Packed],
    see: &mut dyn FnMut(&str, &Tensor) -> Result<()>,
) -> Result<()> {
    for y in stream(spec, source, adapter, passes, see)? {
        see(head(spec).trim_end_matches(".weight"), &y)?;
    }
    Ok(())
}

fn head(spec: &DecoderSpec) -> &'static str {
    if spec.tie_word_embeddings { "model.embed_tokens.weight" } else { "lm_head.weight" }
}

/// Passes through all layers and the last norm.
fn stream(
    spec: &DecoderSpec,
    source: &dyn TensorSource,
    adapter: Option<&AdapterFile>,
    passes: &[Packed],
    see: &mut dyn FnMut(&str, &Tensor) -> Result<()>,
) -> Result<Vec<Tensor>> {
    if passes.iter().any(|p| p.ids.is_empty() || p.ids.iter().any(|id| *id as usize >= spec.vocab_size)) {
        return Err(Error::Value("the ids do not fit the vocabulary".into()));
    }
    let options = LoadOptions::default();
    let loader = Loader { spec, shards: source, options: &options };
    let most = passes.iter().map(|p| longest(p.cu_seqlens)).max().unwrap_or(1);
    let rope = RopeTable::new(spec.head_dim, spec.rope_theta, &spec.rope_scaling, most, &options.device)?;
    let positions: Vec<Vec<u32>> = passes.iter().map(|p| p.cu_seqlens.windows(2).flat_map(|w| 0..w[1] - w[0]).collect()).collect();
    let mut xs = embed(spec, source, passes)?;
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
        for (x, (p, positions)) in xs.iter_mut().zip(passes.iter().zip(&positions)) {
            let pass = Pass { params: &params, positions, cu_seqlens: p.cu_seqlens, rope: &rope, dropout_seed: None };
            let mut show = |kind: LinearKind, input: &Tensor| {
                let readers: &[LinearKind] = match kind {
                    LinearKind::Q => &[LinearKind::Q, LinearKind::K, LinearKind::V],
                    LinearKind::Gate => &[LinearKind::Gate, LinearKind::Up],
                    _ => &[kind],
                };
                readers.iter().try_for_each(|k| see(&format!("model.layers.{i}.{}", k.path()), input))
            };
            *x = layer.forward_seen(x.clone(), &pass, &mut show)?;
        }
    }
    let norm = loader.norm("model.norm")?;
    xs.iter().map(|x| Ok(norm.forward(x)?.0)).collect()
}
