//! Adapters on disk, in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use serde_json::{Value, json};

use super::decoder::{Decoder, LoraConfig, Trainable, short_names};
use super::error::{Error, Result};
use super::hub;
use super::limits::LARGEST_SCALE;
use super::spec::DecoderSpec;
use super::weights::Shards;
use crate::base::files;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// Writes a file under a temporary name, syncs it and puts it in place.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(Error::io(path))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(Error::io(path))?;
    file.persist(path).map_err(|e| Error::Io { path: path.to_path_buf(), source: e.error })?;
    Ok(())
}

/// Writes f32 tensors as a safetensors file, synced and in place whole. One tensor at a time is copied, so that the peak
/// of memory is not in saving.
pub(super) fn write_safetensors_f32<'a>(path: &Path, tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<()> {
    let named = tensors.into_iter().map(|(name, t)| Ok((name, t.to_dtype(DType::F32)?)));
    let named: Vec<(&str, Tensor)> = named.collect::<Result<_>>()?;
    let dir = path.parent().unwrap_or(Path::new("."));
    let temporary = tempfile::NamedTempFile::new_in(dir).map_err(Error::io(path))?.into_temp_path();
    let format = std::collections::HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(named, Some(format), &temporary).map_err(|e| match e {
        safetensors::SafeTensorError::IoError(source) => Error::Io { path: path.to_path_buf(), source },
        other => Error::Value(format!("cannot write safetensors: {other}")),
    })?;
    std::fs::File::open(&temporary).and_then(|f| f.sync_all()).map_err(Error::io(path))?;
    temporary.persist(path).map_err(|e| Error::Io { path: path.to_path_buf(), source: e.error })
}

/// An adapter read from disk: PEFT path of a linear layer's parent model -> A `[r, in]`, B `[out, r]`.
#[derive(Debug)]
pub struct AdapterFile {
    /// How it was made.
    pub config: LoraConfig,
    /// The base model that it names.
    pub base_model: Option<String>,
    config_path: PathBuf,
    /// Whether `target_modules` alone says which layers have adapters.
    whole: bool,
    tensors: Shards,
}

impl AdapterFile {
    /// Opens an adapter folder and checks its config.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the config asks for something other than plain LoRA.
    pub fn open(dir: &Path) -> Result<Self> {
        let config_path = dir.join(CONFIG);
        if !config_path.is_file() {
            return Err(Error::adapter(dir, format!("there is no {CONFIG} in this folder")));
        }
        let text = files::read_text(&config_path).map_err(Error::io(&config_path))?;
        let json: Value = serde_json::from_str(&text).map_err(|e| Error::adapter(&config_path, format!("not valid JSON: {e}")))?;
        let config = config_from_json(&config_path, &json)?;
        let weights = dir.join(WEIGHTS);
        if !weights.is_file() {
            return Err(Error::adapter(dir, format!("there is no {WEIGHTS} in this folder")));
        }
        let base_model = json["base_model_name_or_path"].as_str().map(str::to_owned);
        let whole = ["exclude_modules", "layers_pattern", "layers_to_transform"].iter().all(|f| is_empty(&json[*f]));
        Ok(Self { config, base_model, config_path, whole, tensors: Shards::open_files(&[weights])? })
    }

    /// How many tensors the file holds.
    pub fn tensor_count(&self) -> usize {
        self.tensors.names().count()
    }

    /// Whether a linear layer has an adapter.
    pub fn has(&self, path: &str) -> bool {
        let (a, b) = super::decoder::peft_names(path);
        self.tensors.has(&a) || self.tensors.has(&b)
    }

    /// A and B of one linear layer, f32 on the CPU; `None` when it has no adapter.
    ///
    /// # Errors
    /// When a half is missing or a shape does not fit `(out, in)`.
    pub fn pair(&self, path: &str, (out, inp): (usize, usize)) -> Result<Option<(Tensor, Tensor)>> {
        let (name_a, name_b) = super::decoder::peft_names(path);
        if !self.tensors.has(&name_a) && !self.tensors.has(&name_b) {
            return Ok(None);
        }
        let rank = self.config.rank;
        for (name, want) in [(&name_a, [rank, inp]), (&name_b, [out, rank])] {
            let file = self.tensors.path_of(name);
            match self.tensors.info(name) {
                None => return Err(Error::adapter(file, format!("tensor `{name}` is missing, its other half is there"))),
                Some((shape, _)) if shape != want => {
                    let message = format!("tensor `{name}` has shape {shape:?}, this base model and rank {rank} ask for {want:?}");
                    return Err(Error::adapter(file, message));
                }
                Some(_) => {}
            }
        }
        Ok(Some((self.tensors.float(&name_a, DType::F32)?, self.tensors.float(&name_b, DType::F32)?)))
    }

    /// Refuses tensors that have no place in the model, an adapter that fits nowhere, and target modules that are not in
    /// the model or not in the file.
    ///
    /// # Errors
    /// Naming the first such tensor or module.
    pub fn check_places(&self, spec: &DecoderSpec) -> Result<()> {
        let paths: Vec<String> = spec.linears().into_iter().map(|l| l.path).collect();
        let places: BTreeSet<String> = paths.iter().flat_map(|p| <[String; 2]>::from(super::decoder::peft_names(p))).collect();
        if let Some(odd) = self.tensors.names().find(|n| !places.contains(*n)) {
            let message = format!("tensor `{odd}` has no place in this {} of {} layers", spec.architecture, spec.num_layers());
            return Err(Error::adapter(self.tensors.path_of(odd), message));
        }
        if self.tensors.names().next().is_none() {
            return Err(Error::adapter(self.tensors.path_of(""), "the file holds no tensors"));
        }
        for target in &self.config.target_modules {
            let one = LoraConfig { target_modules: vec![target.clone()], ..self.config.clone() };
            let mut hit = paths.iter().filter(|p| one.targets(p)).map(|p| super::decoder::peft_names(p).0).peekable();
            if hit.peek().is_none() {
                let message = format!("field `target_modules`: `{target}` is not in this {}", spec.architecture);
                return Err(Error::adapter(&self.config_path, message));
            }
            if let Some(gone) = hit.find(|name| self.whole && !self.tensors.has(name)) {
                let message = format!("tensor `{gone}` is missing, though {CONFIG} lists `{target}` in `target_modules`");
                return Err(Error::adapter(self.tensors.path_of(&gone), message));
            }
        }
        Ok(())
    }
}

/// Fields that are read, or that say nothing about how the adapter is applied.
const READ: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "corda_config",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "megatron_config",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// What a field holds when it asks for nothing.
fn is_empty(v: &Value) -> bool {
    match v {
        Value::Null | Value::Bool(false) => true,
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}

fn config_from_json(path: &Path, json: &Value) -> Result<LoraConfig> {
    let bad = |field: &str, message: String| Error::adapter(path, format!("field `{field}`: {message}"));
    if let Some(kind) = json["peft_type"].as_str().filter(|k| *k != "LORA") {
        return Err(bad("peft_type", format!("`{kind}` is not supported, only LORA")));
    }
    if let Some(bias) = json["bias"].as_str().filter(|b| *b != "none") {
        return Err(bad("bias", format!("`{bias}` is not supported, only none")));
    }
    if let Some(init) = json["init_lora_weights"].as_str().filter(|i| !matches!(*i, "gaussian" | "eva" | "orthogonal")) {
        return Err(bad("init_lora_weights", format!("`{init}` changes the base weights, which is not supported")));
    }
    for (field, value) in json.as_object().into_iter().flatten() {
        if !READ.contains(&field.as_str()) && !is_empty(value) {
            return Err(bad(field, format!("{value} is not supported")));
        }
    }
    let rank = json["r"].as_u64().filter(|r| *r > 0).ok_or_else(|| bad("r", format!("expected a rank, got {}", json["r"])))?;
    let alpha = json["lora_alpha"].as_f64().ok_or_else(|| bad("lora_alpha", format!("expected a number, got {}", json["lora_alpha"])))?;
    if rank > MOST_RANK {
        return Err(bad("r", format!("{rank} is more than {MOST_RANK}")));
    }
    let target_modules = match &json["target_modules"] {
        Value::Array(a) => a.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        // One text is a pattern over paths: what the file holds says which.
        _ => Vec::new(),
    };
    let config = LoraConfig {
        rank: rank as usize,
        alpha,
        dropout: json["lora_dropout"].as_f64().unwrap_or(0.0),
        use_rslora: json["use_rslora"].as_bool().unwrap_or(false),
        target_modules,
    };
    if config.scale().is_nan() || config.scale().abs() > LARGEST_SCALE {
        let message = format!("{alpha} gives a scale of {}: more than {LARGEST_SCALE:e} is no adapter", config.scale());
        return Err(bad("lora_alpha", message));
    }
    if !(0.0..1.0).contains(&config.dropout) {
        return Err(bad("lora_dropout", format!("{} must be at least 0 and below 1", config.dropout)));
    }
    Ok(config)
}

/// Largest rank of an adapter file.
const MOST_RANK: u64 = 1 << 16;

impl Decoder {
    /// Loads a PEFT adapter. Adapters that the model has already are replaced.
    ///
    /// # Errors
    /// When the adapter was made for another base model; the model stays as it was.
    pub fn load_adapter(&mut self, dir: &Path) -> Result<()> {
        let file = AdapterFile::open(dir)?;
        file.check_places(self.spec())?;
        let made = self.collect_lora(|linear| {
            let pair = file.pair(&linear.path, (linear.out, linear.inp))?;
            Ok(match pair {
                Some((a, b)) => Some((a.to_device(self.device())?, b.to_device(self.device())?)),
                None => None,
            })
        })?;
        // What the file holds is the truth: `target_modules` may also be a pattern. A module that not every layer has is
        // named by its paths.
        let all = self.spec().linears();
        let names = |short: &'static str| {
            let of: Vec<String> = made.iter().filter(|m| m.of.short() == short).map(|m| m.of.path.clone()).collect();
            match of.len() == all.iter().filter(|l| l.short() == short).count() {
                true => vec![short.to_owned()],
                false => of,
            }
        };
        let target_modules = short_names(&all).into_iter().flat_map(names).collect();
        self.install_lora(&LoraConfig { target_modules, ..file.config }, made);
        Ok(())
    }

    /// Writes the adapters into a folder, which is made where it is missing. Each file is put in place whole, the
    /// config last.
    ///
    /// # Errors
    /// When the model has no adapters, or the disk refuses.
    pub fn save_adapter(&self, dir: &Path) -> Result<()> {
        let Trainable::Lora(config) = self.trainable() else {
            return Err(Error::Value("the model has no adapters to save".into()));
        };
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        write_safetensors_f32(&dir.join(WEIGHTS), self.params().iter().map(|p| (p.name.as_str(), &p.tensor)))?;
        let text = format!("{:#}\n", self.adapter_config(config));
        write_atomically(&dir.join(CONFIG), text.as_bytes())
    }

    fn adapter_config(&self, config: &LoraConfig) -> Value {
        let target_modules: Vec<&str> = match config.target_modules.iter().any(|t| t == "all-linear") {
            true => short_names(&self.spec().linears()),
            false => config.target_modules.iter().map(String::as_str).collect(),
        };
        let (base, revision) = match hub::model_of(self.source()) {
            Some((id, revision)) => (id, Some(revision)),
            None => (self.source().display().to_string(), None),
        };
        json!({
            "alpha_pattern": {},
            "auto_mapping": null,
            "base_model_name_or_path": base,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "layers_pattern": null,
            "layers_to_transform": null,
            "lora_alpha": number(config.alpha),
            "lora_dropout": config.dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": config.rank,
            "rank_pattern": {},
            "revision": revision,
            "target_modules": target_modules,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": config.use_rslora,
        })
    }
}

/// A whole number as one, as PEFT writes alpha.
fn number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e15 { json!(x as i64) } else { json!(x) }
}
