//! What trains: adapters on some linear layers, or every weight.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use candle_core::{DType, Tensor};
use tallow_kernels::weight::Weight;

use super::compute::Layer;
use super::needs::Needs;
use super::{Decoder, Trainable};
use crate::model::error::{Error, Result};
use crate::model::linear::LoraSlot;
use crate::model::norm::Norm;
use crate::model::params::Params;
use crate::model::seed::{Random, derive, stream};
use crate::model::spec::{DecoderSpec, LinearSpec};

pub use crate::config::Lora as LoraConfig;

impl LoraConfig {
    /// What the adapter's output is multiplied by.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// Whether a linear layer of this path gets an adapter.
    pub fn targets(&self, path: &str) -> bool {
        let hit = |t: &String| t == "all-linear" || path == t || path.strip_suffix(t.as_str()).is_some_and(|p| p.ends_with('.'));
        self.target_modules.iter().any(hit)
    }

    /// Whether these settings can be used with an architecture.
    ///
    /// # Errors
    /// When a number is out of range, or a target module does not exist.
    pub fn check(&self, spec: &DecoderSpec) -> Result<()> {
        if self.rank == 0 {
            return Err(Error::Value("lora rank must be at least 1".into()));
        }
        if !self.alpha.is_finite() || self.alpha <= 0.0 {
            return Err(Error::Value(format!("lora alpha {} must be above 0", self.alpha)));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::Value(format!("lora dropout {} must be at least 0 and below 1", self.dropout)));
        }
        if self.target_modules.is_empty() {
            return Err(Error::Value("lora target_modules is empty".into()));
        }
        let all = spec.linears();
        for target in &self.target_modules {
            let one = LoraConfig { target_modules: vec![target.clone()], ..self.clone() };
            if !all.iter().any(|l| one.targets(&l.path)) {
                let existing = format!("{} (or all-linear)", short_names(&all).join(", "));
                return Err(Error::TargetModule { name: target.clone(), existing });
            }
        }
        Ok(())
    }
}

/// An adapter that is about to be put in place: A `[r, in]`, B `[out, r]`.
pub(crate) struct NewAdapter {
    pub(crate) of: LinearSpec,
    pub(crate) a: Tensor,
    pub(crate) b: Tensor,
}

/// PEFT's names of an adapter's two tensors.
pub(crate) fn peft_names(path: &str) -> (String, String) {
    (format!("base_model.model.{path}.lora_A.weight"), format!("base_model.model.{path}.lora_B.weight"))
}

impl Decoder {
    /// Puts fresh adapters on the target modules: A uniform in ±1/sqrt(in) from `seed` and its name, B zero. Adapters
    /// that the model has already are replaced.
    ///
    /// # Errors
    /// When the model is being fully fine-tuned, a number is out of range, or a target module does not exist.
    pub fn add_lora(&mut self, config: &LoraConfig, seed: u64) -> Result<()> {
        config.check(&self.spec)?;
        let made = self.collect_lora(|linear| {
            let (path, out, inp) = (&linear.path, linear.out, linear.inp);
            if !config.targets(path) {
                return Ok(None);
            }
            let mut random = Random::new(derive(seed, stream(path)));
            let bound = 1.0 / (inp as f64).sqrt();
            let a: Vec<f32> = (0..config.rank * inp).map(|_| ((2.0 * random.uniform() - 1.0) * bound) as f32).collect();
            let a = Tensor::from_vec(a, (config.rank, inp), &self.device)?;
            Ok(Some((a, Tensor::zeros((out, config.rank), DType::F32, &self.device)?)))
        })?;
        self.install_lora(config, made);
        Ok(())
    }

    /// Paths of all linear layers that can carry an adapter.
    pub fn linear_paths(&self) -> Vec<String> {
        self.spec.linears().into_iter().map(|l| l.path).collect()
    }

    /// Collects the tensors of each adapter without changing the model, so that an error leaves it as it was.
    pub(crate) fn collect_lora(&self, make: impl Fn(&LinearSpec) -> Result<Option<(Tensor, Tensor)>>) -> Result<Vec<NewAdapter>> {
        if self.trainable == Trainable::Full {
            return Err(Error::Value("the model is being fully fine-tuned: load it anew before adding adapters".into()));
        }
        let mut made = Vec::new();
        for of in self.spec.linears() {
            if let Some((a, b)) = make(&of)? {
                made.push(NewAdapter { of, a, b });
            }
        }
        Ok(made)
    }

    /// Puts adapters in place of those that the model has.
    pub(crate) fn install_lora(&mut self, config: &LoraConfig, made: Vec<NewAdapter>) {
        self.params = Params::default();
        let mut slots = HashMap::new();
        for new in made {
            let (name_a, name_b) = peft_names(&new.of.path);
            let (a, b) = (self.params.push(name_a, new.a), self.params.push(name_b, new.b));
            slots.insert(new.of.path, LoraSlot { a, b, scale: config.scale() as f32, dropout: config.dropout as f32 });
        }
        for linear in self.layers.iter_mut().flat_map(Layer::linears_mut) {
            linear.lora = slots.get(&linear.name).copied();
        }
        self.trainable = Trainable::Lora(config.clone());
        self.plan_backward();
    }

    /// The same base over the same storage, without adapters: it takes adapters of its own, and costs no weights.
    ///
    /// # Errors
    /// When the base itself trains.
    pub fn sharing(&self) -> Result<Self> {
        if self.trainable == Trainable::Full {
            return Err(Error::Value("the model is being fully fine-tuned: its weights cannot be shared".into()));
        }
        let ropes = self.ropes.lock().map_err(|_| Error::Value("the rotation tables' lock is poisoned".into()))?.clone();
        let mut layers = self.layers.clone();
        layers.iter_mut().flat_map(Layer::linears_mut).for_each(|linear| linear.lora = None);
        let mut made = Self {
            spec: self.spec.clone(),
            source: self.source.clone(),
            compute_dtype: self.compute_dtype,
            quantization: self.quantization,
            device: self.device.clone(),
            embedding: self.embedding.clone(),
            embedding_param: None,
            head: self.head.clone(),
            head_param: None,
            final_norm: self.final_norm.clone(),
            layers,
            params: Params::default(),
            trainable: Trainable::Nothing,
            ropes: Mutex::new(ropes),
        };
        made.plan_backward();
        Ok(made)
    }

    /// Makes every weight trainable, with f32 master copies. In f32 the master copies are the weights themselves.
    ///
    /// # Errors
    /// When something trains already, or weights are quantised.
    pub fn enable_full_finetuning(&mut self) -> Result<()> {
        if self.trainable != Trainable::Nothing {
            return Err(Error::Value("the model trains already: load it anew before full fine-tuning".into()));
        }
        if self.layers.iter().flat_map(Layer::linears).any(|l| !matches!(l.weight, Weight::Dense(_))) {
            return Err(Error::Value("quantised weights cannot be trained: use LoRA, or load the model unquantised".into()));
        }
        let params = &mut self.params;
        self.embedding_param = Some(params.push(self.spec.embedding_name(), self.embedding.to_dtype(DType::F32)?));
        for layer in &mut self.layers {
            let mut linears = layer.linears_mut();
            // The parts of a fused matrix follow one another and share one parameter.
            for same in linears.chunk_by_mut(|a, b| a.name == b.name) {
                let dense = same.iter().filter_map(|l| if let Weight::Dense(w) = &l.weight { Some(w) } else { None });
                let weight = one(&dense.collect::<Vec<_>>())?.to_dtype(DType::F32)?;
                let weight = params.push(format!("{}.weight", same[0].name), weight);
                let biases: Vec<&Tensor> = same.iter().filter_map(|l| l.bias.as_ref()).collect();
                let bias = match biases.is_empty() {
                    true => None,
                    false => Some(params.push(format!("{}.bias", same[0].name), one(&biases)?)),
                };
                same.iter_mut().for_each(|l| (l.weight_param, l.bias_param) = (Some(weight), bias));
            }
            layer.norms_mut().try_for_each(|norm| train_norm(norm, params))?;
        }
        train_norm(&mut self.final_norm, params)?;
        if let (false, Weight::Dense(w)) = (self.spec.tie_word_embeddings, &self.head) {
            self.head_param = Some(params.push(self.spec.own_head_name(), w.to_dtype(DType::F32)?));
        }
        self.trainable = Trainable::Full;
        self.plan_backward();
        // The parts of a fused matrix become rows of their one parameter.
        if self.layers.iter().flat_map(Layer::linears).any(|l| !l.whole) {
            self.sync_params()?;
        }
        Ok(())
    }

    /// Takes over the trained master copies into the weights that passes read. Adapters, and weights in f32, are read
    /// from the same storage that the optimiser writes; only their replaced tensors are picked up.
    ///
    /// # Errors
    /// When the device has no memory for a copy.
    pub fn sync_params(&mut self) -> Result<()> {
        let (params, dtype) = (&self.params, self.compute_dtype);
        if let Some(id) = self.embedding_param {
            self.embedding = params.get(id).to_dtype(dtype)?;
            if self.spec.tie_word_embeddings {
                self.head = Weight::Dense(self.embedding.clone());
            }
        }
        if let Some(id) = self.head_param {
            self.head = Weight::Dense(params.get(id).to_dtype(dtype)?);
        }
        for layer in &mut self.layers {
            for l in layer.linears_mut() {
                if let Some(id) = l.weight_param {
                    l.weight = Weight::Dense(l.part(params.get(id))?.to_dtype(dtype)?);
                }
                if let Some(id) = l.bias_param {
                    l.bias = Some(l.part(params.get(id))?);
                }
            }
            layer.norms_mut().try_for_each(|norm| sync_norm(norm, params))?;
        }
        sync_norm(&mut self.final_norm, params)
    }

    /// Decides which gradients each layer makes.
    fn plan_backward(&mut self) {
        let below = self.embedding_param.is_some();
        Needs::set(&mut self.layers, below);
    }
}

/// The parts of a stored tensor, one after the other.
fn one(parts: &[&Tensor]) -> Result<Tensor> {
    Ok(match parts {
        [whole] => (*whole).clone(),
        parts => Tensor::cat(parts, 0)?,
    })
}

fn train_norm(norm: &mut Norm, params: &mut Params) -> Result<()> {
    if let Norm::Rms { name, weight, plus_one, param, .. } = norm {
        let stored = if *plus_one { (&*weight - 1.0)? } else { weight.clone() };
        *param = Some(params.push(name.clone(), stored));
    }
    Ok(())
}

fn sync_norm(norm: &mut Norm, params: &Params) -> Result<()> {
    if let Norm::Rms { weight, plus_one, param: Some(id), .. } = norm {
        *weight = Norm::factor(params.get(*id), *plus_one)?;
    }
    Ok(())
}

/// The last parts of paths, each once, in their order.
pub(crate) fn short_names(linears: &[LinearSpec]) -> Vec<&'static str> {
    let mut seen = HashSet::new();
    linears.iter().map(LinearSpec::short).filter(|n| seen.insert(*n)).collect()
}
