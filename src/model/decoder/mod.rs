//! The decoder: loading, what trains, and the passes over a batch.

mod backward;
mod block;
mod cached;
mod compute;
mod engine;
pub mod footprint;
mod load;
mod needs;
mod pass;
mod step;
mod stream;
mod tape;
mod tapes;
mod trainable;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Tensor};
use tallow_kernels::rope::RopeTable;
use tallow_kernels::weight::Weight;

pub(crate) use cached::{KvCache, Next};
use compute::Layer;
pub use footprint::{Hardware, PassBytes, PassShape, Resident, Sketch};
pub use load::{LoadOptions, Quantization, check_names, open_source};
pub use step::{LossOut, StepOptions};
pub use stream::{Packed, stream_inputs, stream_logits};
pub use tape::Policy;
pub(crate) use tape::Stats;
pub use trainable::LoraConfig;
pub(crate) use trainable::{peft_names, short_names};

use super::error::{Error, Result};
use super::norm::Norm;
use super::params::{Grads, ParamId, Params};
use super::spec::DecoderSpec;

/// What trains.
#[derive(Debug, Clone, PartialEq)]
pub enum Trainable {
    /// Nothing.
    Nothing,
    /// Adapters.
    Lora(LoraConfig),
    /// Every weight.
    Full,
}

/// A decoder-only transformer with its weights.
#[derive(Debug)]
pub struct Decoder {
    spec: DecoderSpec,
    source: PathBuf,
    compute_dtype: DType,
    quantization: Quantization,
    device: Device,
    embedding: Tensor, // [vocab, hidden]
    embedding_param: Option<ParamId>,
    head: Weight, // shares the embedding's storage when tied
    head_param: Option<ParamId>,
    final_norm: Norm,
    layers: Vec<Layer>,
    params: Params,
    trainable: Trainable,
    ropes: Mutex<(usize, Arc<[RopeTable]>)>,
}

impl Decoder {
    /// The architecture.
    pub fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    /// The folder it was loaded from.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// The dtype of activations: F32 or BF16.
    pub fn compute_dtype(&self) -> DType {
        self.compute_dtype
    }

    /// How the linear layers' weights are held.
    pub fn quantization(&self) -> Quantization {
        self.quantization
    }

    /// Where it lives.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What trains.
    pub fn trainable(&self) -> &Trainable {
        &self.trainable
    }

    /// The trainable tensors.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The trainable tensors, to be changed; call [`Self::sync_params`] afterwards.
    pub fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// Gradients of zero for all that trains.
    ///
    /// # Errors
    /// When the device has no memory for them.
    pub fn zero_grads(&self) -> Result<Grads> {
        self.params.zero_grads()
    }

    /// SHA-256 over the weight files it was loaded from, as hex.
    ///
    /// # Errors
    /// When a file cannot be read any more.
    pub fn weight_hash(&self) -> Result<String> {
        super::weights::weight_hash(&self.source)
    }

    /// Bytes of all weights held, without adapters; a tied head counts once.
    pub fn weight_bytes(&self) -> u64 {
        let tensor = |t: &Tensor| (t.elem_count() * t.dtype().size_in_bytes()) as u64;
        let norm = |n: &Norm| match n {
            Norm::Rms { weight, .. } => tensor(weight),
            Norm::LayerNormPlain { .. } => 0,
        };
        let layer = |l: &Layer| {
            l.norms().map(norm).sum::<u64>() + l.linears().iter().map(|x| x.weight.bytes() + x.bias.as_ref().map_or(0, tensor)).sum::<u64>()
        };
        let head = if self.spec.tie_word_embeddings { 0 } else { self.head.bytes() };
        tensor(&self.embedding) + head + norm(&self.final_norm) + self.layers.iter().map(layer).sum::<u64>()
    }

    /// The rotations' tables for `positions` positions or more. They grow by doubling, since the longest sequence that
    /// a model allows is often far longer than any it meets.
    fn rope_tables(&self, positions: usize) -> Result<Arc<[RopeTable]>> {
        let mut held = self.ropes.lock().map_err(|_| Error::Value("the rotation tables' lock is poisoned".into()))?;
        if held.0 < positions {
            let size = positions.next_power_of_two().max(128);
            *held = (size, rope_tables(&self.spec, size, &self.device)?);
        }
        Ok(held.1.clone())
    }
}

/// The tables of a model's rotations.
fn rope_tables(spec: &DecoderSpec, positions: usize, device: &Device) -> Result<Arc<[RopeTable]>> {
    let dim = spec.head_dim();
    spec.ropes.iter().map(|r| Ok(RopeTable::new(r.dim.unwrap_or(dim), r.theta, &r.scaling, positions, device)?)).collect()
}
