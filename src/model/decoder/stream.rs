//! Logits of a model that is never wholly in memory: one layer is loaded, run and dropped at a time.

use std::cell::RefCell;

use candle_core::{DType, Device, Tensor};
use tallow_kernels::embedding::embedding;
use tallow_kernels::matmul::matmul;
use tallow_kernels::scale::scale_inplace;
use tallow_kernels::weight::Weight;

use super::compute::{Compute, Layer};
use super::load::Loader;
use super::step::longest;
use super::{LoadOptions, rope_tables};
use crate::model::adapter::AdapterFile;
use crate::model::error::{Error, Result};
use crate::model::linear::LoraSlot;
use crate::model::params::Params;
use crate::model::spec::{DecoderSpec, LinearSpec};
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
        let rows = source.rows(&spec.head_name(), from, count)?;
        let rows = Tensor::from_vec(rows, (count, spec.hidden_size), &Device::Cpu)?;
        Ok(matmul(&y[0], &Weight::Dense(rows))?)
    });
    let logits = Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 1)?;
    if spec.logits_scale != 1.0 {
        scale_inplace(&logits, spec.logits_scale as f32)?;
    }
    Ok(logits)
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
            let rows = source.rows(&spec.embedding_name(), from, count)?;
            here.iter().for_each(|i| table.extend_from_slice(&rows[i * width..(i + 1) * width]));
        }
    }
    let place: std::collections::BTreeMap<u32, u32> = wanted.iter().zip(0..).map(|(id, at)| (*id, at)).collect();
    let table = Tensor::from_vec(table, (wanted.len(), width), &Device::Cpu)?;
    if spec.embedding_scale != 1.0 {
        scale_inplace(&table, spec.embedding_scale as f32)?;
    }
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
        see(spec.head_name().trim_end_matches(".weight"), &y)?;
    }
    Ok(())
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
    let ropes = rope_tables(spec, most, &options.device)?;
    let positions: Vec<Vec<u32>> = passes.iter().map(|p| p.cu_seqlens.windows(2).flat_map(|w| 0..w[1] - w[0]).collect()).collect();
    let mut xs = embed(spec, source, passes)?;
    for i in 0..spec.num_layers() {
        crate::base::cancel::checkpoint();
        let mut layer = loader.layer(i)?;
        let params = adapt(&mut layer, spec.layer_linears(i), adapter)?;
        for (x, (p, positions)) in xs.iter_mut().zip(passes.iter().zip(&positions)) {
            let forward = Compute::forward(&params, positions, p.cu_seqlens, &ropes);
            let engine = Compute { see: Some(RefCell::new(&mut *see)), ..forward };
            *x = layer.forward_only(&engine, x.clone())?;
        }
    }
    let norm = loader.norm(&spec.final_norm_path())?;
    xs.iter().map(|x| Ok(norm.forward(x)?.0)).collect()
}

/// Puts the adapter beside one layer.
fn adapt(layer: &mut Layer, linears: Vec<LinearSpec>, adapter: Option<&AdapterFile>) -> Result<Params> {
    let mut params = Params::default();
    let Some(file) = adapter else { return Ok(params) };
    for linear in linears {
        let Some((a, b)) = file.pair(&linear.path, (linear.out, linear.inp))? else { continue };
        let (a, b) = (params.push(String::new(), a), params.push(String::new(), b));
        let slot = LoraSlot { a, b, scale: file.config.scale() as f32, dropout: 0.0 };
        layer.linears_mut().into_iter().filter(|l| l.name == linear.path).for_each(|l| l.lora = Some(slot));
    }
    Ok(params)
}
