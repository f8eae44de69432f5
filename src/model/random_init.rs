//! A model folder with random weights, made from a config.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use safetensors::Dtype;
use tallow_kernels::quant::{Absmax, Nf4, dynamic_map};

use super::adapter::write_atomically;
use super::error::{Error, Result};
use super::merge::{SHARD_BYTES, StagedFolder};
use super::seed::{Random, derive, stream};
use super::spec::{DecoderSpec, Role, TensorSpec};
use super::weights::{PlannedTensor, ShardWriter, TensorSource};

/// How weights are drawn.
#[derive(Debug, Clone)]
pub struct RandomInit {
    /// Seed; each tensor draws from its own stream.
    pub seed: u64,
    /// F32, BF16 or F16.
    pub dtype: Dtype,
    /// Standard deviation of matrices.
    pub std: f64,
    /// Also draw norm weights (around 1) and biases (around 0), for tests that must notice them; else they are 1 and 0.
    pub jitter: f64,
    /// Where shards are cut.
    pub max_shard_bytes: u64,
}

impl Default for RandomInit {
    fn default() -> Self {
        Self { seed: 0, dtype: Dtype::F32, std: 0.02, jitter: 0.0, max_shard_bytes: SHARD_BYTES }
    }
}

/// Elements that share one random stream, so that they can be drawn in parallel.
const CHUNK: usize = 1 << 14;

fn draw(t: &TensorSpec, o: &RandomInit) -> Vec<f32> {
    let (mean, std) = match t.role {
        Role::Norm => (1.0, o.jitter),
        Role::Bias => (0.0, o.jitter),
        Role::Embedding | Role::Head | Role::Linear => (0.0, o.std),
    };
    let mut values = vec![mean as f32; t.shape.iter().product()];
    if std > 0.0 {
        let seed = derive(o.seed, stream(&t.name));
        values.par_chunks_mut(CHUNK).enumerate().for_each(|(i, chunk)| {
            let mut random = Random::new(derive(seed, i as u64));
            chunk.iter_mut().for_each(|v| *v = (mean + std * random.normal()) as f32);
        });
    }
    values
}

/// Writes `config` and random weights that fit it into the new folder `out`.
///
/// # Errors
/// When the config does not fit the decoder, or the folder exists or cannot be written.
pub fn write_random_model(out: &Path, config: &str, options: &RandomInit) -> Result<DecoderSpec> {
    let spec = DecoderSpec::from_config_json(Path::new("config.json"), config)?;
    let tensors = spec.tensors();
    let folder = StagedFolder::new(out)?;
    let plan = tensors.iter().map(|t| PlannedTensor { name: t.name.clone(), dtype: options.dtype, shape: t.shape.clone() }).collect();
    let mut writer = ShardWriter::new(folder.path(), plan, options.max_shard_bytes);
    for t in &tensors {
        writer.write_f32(&t.name, &draw(t, options))?;
    }
    writer.finish()?;
    write_atomically(&folder.path().join("config.json"), config.as_bytes())?;
    folder.commit()?;
    Ok(spec)
}

/// Tensors of random values made where they are to lie, for measuring models that need not exist as files. In NF4 the codes
/// themselves are random: nothing is quantised.
#[derive(Debug, Clone)]
pub struct RandomSource {
    tensors: Vec<TensorSpec>,
    device: Device,
    nf4: bool,
}

impl RandomSource {
    /// The tensors of `spec`; the linear layers' matrices in NF4 where asked for.
    pub fn new(spec: &DecoderSpec, device: Device, nf4: bool) -> Self {
        Self { tensors: spec.tensors(), device, nf4 }
    }

    fn tensor(&self, name: &str) -> Result<&TensorSpec> {
        self.tensors.iter().find(|t| t.name == name).ok_or_else(|| Error::Value(format!("the model has no tensor `{name}`")))
    }

    /// Bytes of every value.
    fn bytes(&self, n: usize) -> Result<Tensor> {
        Ok(Tensor::rand(0f32, 255.99, n, &self.device)?.to_dtype(DType::U8)?)
    }
}

impl TensorSource for RandomSource {
    fn float(&self, name: &str, dtype: DType) -> Result<Tensor> {
        let t = self.tensor(name)?;
        let shape = t.shape.as_slice();
        Ok(match t.role {
            Role::Norm => Tensor::ones(shape, dtype, &self.device)?,
            Role::Bias => Tensor::zeros(shape, dtype, &self.device)?,
            // Uniform, with the deviation of an initial weight.
            Role::Embedding | Role::Head | Role::Linear => Tensor::rand(-0.035f32, 0.035, shape, &self.device)?.to_dtype(dtype)?,
        })
    }

    fn is_nf4(&self, name: &str) -> bool {
        self.nf4 && self.tensor(name).is_ok_and(|t| t.role == Role::Linear)
    }

    fn nf4(&self, name: &str, want: &[usize]) -> Result<Nf4> {
        let &[out, inp] = want else { return Err(Error::Value(format!("`{name}` is not a matrix"))) };
        let blocks = (out * inp).div_ceil(64);
        let absmax = Absmax::Double {
            codes: self.bytes(blocks)?,
            nested_absmax: (Tensor::ones(blocks.div_ceil(256), DType::F32, &self.device)? * 0.01)?,
            map: Tensor::new(&dynamic_map(true), &self.device)?,
            offset: 0.05,
        };
        Ok(Nf4::from_parts(self.bytes((out * inp).div_ceil(2))?, absmax, out, inp)?)
    }
}
