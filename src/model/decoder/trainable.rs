//! What trains: adapters on some linear layers, or every weight.

use candle_core::{DType, Tensor};
use tallow_kernels::weight::Weight;

use super::needs::Needs;
use super::{Decoder, Trainable};
use crate::model::error::{Error, Result};
use crate::model::linear::LoraSlot;
use crate::model::norm::Norm;
use crate::model::params::Params;
use crate::model::seed::{Random, derive, stream};
use crate::model::spec::{DecoderSpec, LinearKind};

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
        let layers = 0..spec.num_layers;
        let all: Vec<String> = layers.flat_map(|i| LinearKind::ALL.map(|k| format!("model.layers.{i}.{}", k.path()))).collect();
        for target in &self.target_modules {
            let one = LoraConfig { target_modules: vec![target.clone()], ..self.clone() };
            if !all.iter().any(|path| one.targets(path)) {
                return Err(Error::TargetModule { name: target.clone(), existing: existing() });
            }
        }
        Ok(())
    }
}

/// An adapter that is about to be put in place: A `[r, in]`, B `[out, r]`.
pub(crate) struct NewAdapter {
    pub(crate) layer: usize,
    pub(crate) kind: LinearKind,
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
        let made = self.collect_lora(|path, kind| {
            if !config.targets(path) {
                return Ok(None);
            }
            let (out, inp) = self.spec.linear_shape(kind);
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
        self.layers.iter().flat_map(|l| LinearKind::ALL.map(|k| l.linear(k).name.clone())).collect()
    }

    /// Collects the tensors of each adapter without changing the model, so that an error leaves it as it was.
    pub(crate) fn collect_lora(&self, make: impl Fn(&str, LinearKind) -> Result<Option<(Tensor, Tensor)>>) -> Result<Vec<NewAdapter>> {
        if self.trainable == Trainable::Full {
            return Err(Error::Value("the model is being fully fine-tuned: load it anew before adding adapters".into()));
        }
        let mut made = Vec::new();
        for (layer, l) in self.layers.iter().enumerate() {
            for kind in LinearKind::ALL {
                if let Some((a, b)) = make(&l.linear(kind).name, kind)? {
                    made.push(NewAdapter { layer, kind, a, b });
                }
            }
        }
        Ok(made)
    }

    /// Puts adapters in place of those that the model has.
    pub(crate) fn install_lora(&mut self, config: &LoraConfig, made: Vec<NewAdapter>) {
        self.params = Params::default();
        for layer in &mut self.layers {
            LinearKind::ALL.iter().for_each(|k| layer.linear_mut(*k).lora = None);
        }
        for new in made {
            let linear = self.layers[new.layer].linear_mut(new.kind);
            let (name_a, name_b) = peft_names(&linear.name);
            let slot = LoraSlot {
                a: self.params.push(name_a, new.a),
                b: self.params.push(name_b, new.b),
                scale: config.scale() as f32,
                dropout: config.dropout as f32,
            };
            linear.lora = Some(slot);
        }
        self.trainable = Trainable::Lora(config.clone());
        self.plan_backward();
    }

    /// Makes every weight trainable, with f32 master copies. In f32 the master copies are the weights themselves.
    ///
    /// # Errors
    /// When something trains already, or weights are quantised.
    pub fn enable_full_finetuning(&mut self) -> Result<()> {
        if self.trainable != Trainable::Nothing {
            return Err(Error::Value("the model trains already: load it anew before full fine-tuning".into()));
        }
        if self.layers.iter().any(|l| LinearKind::ALL.iter().any(|k| !matches!(l.linear(*k).weight, Weight::Dense(_)))) {
            return Err(Error::Value("quantised weights cannot be trained: use LoRA, or load the model unquantised".into()));
        }
        let params = &mut self.params;
        self.embedding_param = Some(params.push("model.embed_tokens.weight".into(), self.embedding.to_dtype(DType::F32)?));
        for layer in &mut self.layers {
            for kind in LinearKind::ALL {
                let l = layer.linear_mut(kind);
                if let Weight::Dense(w) = &l.weight {
                    l.weight_param = Some(params.push(format!("{}.weight", l.name), w.to_dtype(DType::F32)?));
                }
                if let Some(bias) = &l.bias {
                    l.bias_param = Some(params.push(format!("{}.bias", l.name), bias.clone()));
                }
            }
            for norm in [layer.q_norm.as_mut(), layer.k_norm.as_mut(), Some(&mut layer.norm1), Some(&mut layer.norm2)] {
                if let Some(Norm::Rms { name, weight, param, .. }) = norm {
                    *param = Some(params.push(name.clone(), weight.clone()));
                }
            }
        }
        if let Norm::Rms { name, weight, param, .. } = &mut self.final_norm {
            *param = Some(params.push(name.clone(), weight.clone()));
        }
        if let (false, Weight::Dense(w)) = (self.spec.tie_word_embeddings, &self.head) {
            self.head_param = Some(params.push("lm_head.weight".into(), w.to_dtype(DType::F32)?));
        }
        self.trainable = Trainable::Full;
        self.plan_backward();
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
            for kind in LinearKind::ALL {
                let l = layer.linear_mut(kind);
                if let Some(id) = l.weight_param {
                    l.weight = Weight::Dense(params.get(id).to_dtype(dtype)?);
                }
                if let Some(id) = l.bias_param {
                    l.bias = Some(params.get(id).clone());
                }
            }
            for norm in [layer.q_norm.as_mut(), layer.k_norm.as_mut(), Some(&mut layer.norm1), Some(&mut layer.norm2)] {
                if let Some(Norm::Rms { weight, param: Some(id), .. }) = norm {
                    *weight = params.get(*id).clone();
                }
            }
        }
        if let Norm::Rms { weight, param: Some(id), .. } = &mut self.final_norm {
            *weight = params.get(*id).clone();
        }
        Ok(())
    }

    /// Decides which gradients each layer makes.
    fn plan_backward(&mut self) {
        let mut below = self.embedding_param.is_some();
        for layer in &mut self.layers {
            layer.needs = Needs::of(layer, below);
            below = layer.needs.any;
        }
    }
}

fn existing() -> String {
    let names: Vec<&str> = LinearKind::ALL.iter().map(|k| k.short()).collect();
    format!("{} (or all-linear)", names.join(", "))
}
