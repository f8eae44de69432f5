//! From a model folder to a decoder, one tensor at a time.

use std::path::Path;
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Tensor};
use tallow_kernels::quant::{Nf4, Q8};
use tallow_kernels::weight::Weight;

use super::compute::Layer;
use super::{Decoder, Trainable};
use crate::model::error::{Error, Result};
use crate::model::gguf::{GgufFile, GgufSource, is_gguf};
use crate::model::layer_spec::Product;
use crate::model::linear::Linear;
use crate::model::norm::Norm;
use crate::model::params::Params;
use crate::model::seed;
use crate::model::spec::{DecoderSpec, NormKind, Unknown};
use crate::model::weights::compressed::CompressedSource;
use crate::model::weights::mlx::MlxSource;
use crate::model::weights::packed::PackedSource;
use crate::model::weights::{Shards, TensorSource};

pub use crate::config::Quantization;

/// How to hold a model.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// How the linear layers' matrices are held. A checkpoint stored in NF4 stays in NF4 whatever this says.
    pub quantization: Quantization,
    /// The dtype of activations, and of weights that are not quantised: F32 or BF16.
    pub compute_dtype: DType,
    /// Where.
    pub device: Device,
    /// What is done with an architecture that is not known by name.
    pub unknown: Unknown,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { quantization: Quantization::None, compute_dtype: DType::F32, device: Device::Cpu, unknown: Unknown::Refuse }
    }
}

/// Whether a tensor repeats what the model has already: the rotation's frequencies, which old checkpoints of Llama store
/// for each layer, or a head that is tied to the embedding. One that says something else is not passed over.
fn repeats(spec: &DecoderSpec, shards: &Shards, name: &str) -> Result<bool> {
    if name.ends_with(".rotary_emb.inv_freq") {
        let stored: Vec<f32> = shards.float(name, DType::F32)?.flatten_all()?.to_vec1()?;
        let Some(rope) = spec.ropes.first() else { return Ok(false) };
        let dim = spec.head_dim();
        let plain: Vec<f64> = (0..dim / 2).map(|i| rope.theta.powf(-2.0 * i as f64 / dim as f64)).collect();
        let (divisors, _) = rope.scaling.factors(dim, rope.theta);
        // They may be stored in bf16; and as they were before the scaling.
        let near = |a: f32, b: f64| (f64::from(a) - b).abs() <= 0.01 * b;
        let scaled = |i: usize| plain[i] / f64::from(divisors[i]);
        let same = |i: usize, v: &f32| near(*v, plain[i]) || near(*v, scaled(i));
        return Ok(stored.len() == plain.len() && stored.iter().enumerate().all(|(i, v)| same(i, v)));
    }
    let tied = spec.tie_word_embeddings && name == spec.own_head_name();
    Ok(tied && shards.bytes(name)? == shards.bytes(&spec.embedding_name())?)
}

/// Compares the names in the files with those that the config asks for.
///
/// # Errors
/// Naming the first tensor that is missing, has another shape, or has no place.
pub fn check_names(spec: &DecoderSpec, shards: &Shards) -> Result<()> {
    let wanted = spec.tensors();
    for t in &wanted {
        if !shards.has(&t.name) {
            let message = format!("is missing from the weights ({} asks for it)", spec.architecture);
            return Err(Error::tensor(shards.path_of(&t.name), &t.name, message));
        }
        if !shards.is_nf4(&t.name) {
            shards.check_shape(&t.name, &t.shape)?;
        }
    }
    let names: std::collections::HashSet<&str> = wanted.iter().map(|t| t.name.as_str()).collect();
    for name in shards.names() {
        if !names.contains(name) && !spec.is_of_images(name) && !shards.is_quantization_part(name) && !repeats(spec, shards, name)? {
            let message = match name == spec.own_head_name() {
                true => "is not the embedding, though the config ties them (tie_word_embeddings)".to_owned(),
                false => format!("is in the weights but the config ({}) has no place for it", spec.architecture),
            };
            return Err(Error::tensor(shards.path_of(name), name, message));
        }
    }
    Ok(())
}

/// The architecture and tensors of a model folder or a GGUF file.
///
/// # Errors
/// When a file is missing or damaged, or does not fit the architecture.
pub fn open_source(path: &Path, unknown: Unknown) -> Result<(DecoderSpec, Box<dyn TensorSource>)> {
    if is_gguf(path) {
        let source = GgufSource::new(GgufFile::open(path)?)?;
        return Ok((source.spec().clone(), Box::new(source)));
    }
    let spec = DecoderSpec::open(path, unknown)?;
    if let Some(source) = CompressedSource::open(path, &spec)? {
        return Ok((spec, Box::new(source)));
    }
    if let Some(source) = PackedSource::open(path, &spec)? {
        return Ok((spec, Box::new(source)));
    }
    if let Some(source) = MlxSource::open(path, &spec)? {
        return Ok((spec, Box::new(source)));
    }
    let shards = Shards::open(path)?;
    check_names(&spec, &shards)?;
    Ok((spec, Box::new(shards)))
}

pub(super) struct Loader<'a> {
    pub(super) spec: &'a DecoderSpec,
    pub(super) shards: &'a dyn TensorSource,
    pub(super) options: &'a LoadOptions,
}

impl Loader<'_> {
    pub(super) fn dense(&self, name: &str) -> Result<Tensor> {
        Ok(self.shards.float(name, self.options.compute_dtype)?.to_device(&self.options.device)?)
    }

    /// Norm weights and biases stay f32: they are small, and their master copies are then the same tensors.
    fn small(&self, name: &str) -> Result<Tensor> {
        Ok(self.shards.float(name, DType::F32)?.to_device(&self.options.device)?)
    }

    pub(super) fn norm(&self, path: &str) -> Result<Norm> {
        let eps = self.spec.norm_eps;
        if !self.spec.norm.has_weight() {
            return Ok(Norm::LayerNormPlain { eps });
        }
        let (name, plus_one) = (format!("{path}.weight"), self.spec.norm == NormKind::RmsPlusOne);
        Ok(Norm::Rms { weight: Norm::factor(&self.small(&name)?, plus_one)?, plus_one, name, eps, param: None })
    }

    /// Rows of a stored matrix as f32, or all of it.
    fn matrix(&self, product: &Product, key: &str) -> Result<Tensor> {
        if product.is_whole() {
            return self.shards.float(key, DType::F32);
        }
        let rows = &product.rows;
        let values = self.shards.rows(key, rows.start, rows.len())?;
        Ok(Tensor::from_vec(values, (rows.len(), product.of.inp), &Device::Cpu)?)
    }

    fn linear(&self, product: Product) -> Result<Linear> {
        let name = product.of.path.clone();
        let key = format!("{name}.weight");
        let whole = product.is_whole();
        let device = &self.options.device;
        let weight = if self.shards.is_nf4(&key) {
            if !whole {
                return Err(Error::Value(format!("`{key}` is stored in NF4 and holds several layers in one, which is not supported")));
            }
            Weight::Nf4(self.shards.nf4(&key, &[product.of.out, product.of.inp])?).to_device(device)?
        } else {
            match self.options.quantization {
                Quantization::None if whole => Weight::Dense(self.dense(&key)?),
                Quantization::None => Weight::Dense(self.matrix(&product, &key)?.to_dtype(self.options.compute_dtype)?.to_device(device)?),
                // One matrix at a time is widened: the peak is the quantised model and one matrix.
                Quantization::Nf4 => Weight::Nf4(Nf4::quantize(&self.matrix(&product, &key)?, true)?).to_device(device)?,
                Quantization::Q8 => Weight::Q8(Q8::quantize(&self.matrix(&product, &key)?)?).to_device(device)?,
            }
        };
        let stream = seed::stream(&name);
        let (rows, mut linear_bias) = (product.rows.clone(), None);
        if product.of.bias {
            linear_bias = Some(self.small(&format!("{name}.bias"))?.narrow(0, rows.start, rows.len())?.contiguous()?);
        }
        Ok(Linear { name, rows, whole, stream, weight, bias: linear_bias, weight_param: None, bias_param: None, lora: None })
    }

    pub(super) fn layer(&self, i: usize) -> Result<Layer> {
        crate::base::cancel::checkpoint();
        Layer::build(self.spec, i, |product| self.linear(product), |path, _| self.norm(&path))
    }
}

impl Decoder {
    /// Loads a model folder (`config.json` and safetensors) or a GGUF file, quantising each matrix as it is read.
    ///
    /// # Errors
    /// When a file is missing or damaged, or does not fit the config; the error names file and tensor or field.
    pub fn load(dir: &Path, options: &LoadOptions) -> Result<Self> {
        if !matches!(options.compute_dtype, DType::F32 | DType::BF16) {
            return Err(Error::Value(format!("compute dtype {:?} is not supported: f32 and bf16 are", options.compute_dtype)));
        }
        let (spec, source) = open_source(dir, options.unknown)?;
        tallow_kernels::alloc::allow_huge_pages();
        let decoder = Self::from_source(dir, spec, source.as_ref(), options)?;
        drop(source);
        tallow_kernels::alloc::keep_freed_pages();
        Ok(decoder)
    }

    /// Builds a decoder from tensors in any form; `origin` is where they came from.
    ///
    /// # Errors
    /// When a tensor is missing or damaged.
    pub fn from_source(origin: &Path, spec: DecoderSpec, source: &dyn TensorSource, options: &LoadOptions) -> Result<Self> {
        let loader = Loader { spec: &spec, shards: source, options };
        let embedding = loader.dense(&spec.embedding_name())?;
        let head = if spec.tie_word_embeddings { embedding.clone() } else { loader.dense(&spec.own_head_name())? };
        let final_norm = loader.norm(&spec.final_norm_path())?;
        let layers: Vec<Layer> = (0..spec.num_layers()).map(|i| loader.layer(i)).collect::<Result<_>>()?;
        let stored = layers.first().is_some_and(|l| matches!(l.attention.q.weight, Weight::Nf4(_)));
        let quantization = if stored { Quantization::Nf4 } else { options.quantization };
        Ok(Self {
            source: origin.to_path_buf(),
            compute_dtype: options.compute_dtype,
            quantization,
            device: options.device.clone(),
            embedding,
            embedding_param: None,
            head: Weight::Dense(head),
            head_param: None,
            final_norm,
            layers,
            params: Params::default(),
            trainable: Trainable::Nothing,
            ropes: Mutex::new((0, Arc::new([]))),
            spec,
        })
    }
}
