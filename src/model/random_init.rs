//! A model folder with random weights, made from a config.

use std::path::Path;

use rayon::prelude::*;
use safetensors::Dtype;

use super::adapter::write_atomically;
use super::error::Result;
use super::merge::{SHARD_BYTES, StagedFolder};
use super::seed::{Random, derive, stream};
use super::spec::{DecoderSpec, Role, TensorSpec};
use super::weights::{PlannedTensor, ShardWriter};

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
