//! What is known about model families, and about one model, without loading it.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::load::load_options;
use super::models;
use crate::base::error::Fault;
use crate::base::files;
use crate::model::hub::{HubOptions, found_model};
use crate::model::weights::weight_files;
use crate::model::{DecoderSpec, LoraConfig, Policy, Quantization, Trainable};
use crate::train::{HeldOut, MemoryRequest, OptimizerKind, PROGRAM_HELD, predict};

/// One way of holding and training a model.
#[derive(Debug, Clone, Serialize)]
pub struct Need {
    /// `lora` or `full`.
    pub method: &'static str,
    /// `none`, `nf4` or `q8`.
    pub quantization: &'static str,
    /// Peak in bytes: one row of 512 tokens a step, rank 16 on all linear layers, activations recomputed.
    pub train_bytes: u64,
}

/// What is known about a model.
#[derive(Debug, Clone, Serialize)]
pub struct ModelInfo {
    /// As asked for.
    pub model: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Its architecture.
    pub architecture: String,
    /// Its family.
    pub family: String,
    /// Number of weights.
    pub parameters: u64,
    /// Blocks.
    pub layers: usize,
    /// Width.
    pub hidden_size: usize,
    /// Tokens it knows.
    pub vocabulary: usize,
    /// Longest sequence it was made for.
    pub context_length: usize,
    /// From the front matter of its README, or as the Hub says.
    pub licence: Option<String>,
    /// Whether its tokenizer renders chats.
    pub has_chat_template: bool,
    /// Whether its weights are on this machine.
    pub weights_here: bool,
    /// Memory at each method and quantisation.
    pub needs: Vec<Need>,
}

/// Tokens of the row that [`Need`] is reckoned for.
const ROW_TOKENS: usize = 512;

/// Looks at a model. Of a model on the Hub that is not in the cache, config and tokenizer alone are fetched.
///
/// # Errors
/// When it is not there, or its config.json cannot be used.
pub fn model(name: &str) -> Result<ModelInfo, Fault> {
    let path = folder_of(name)?;
    let spec = DecoderSpec::from_dir(&path)?;
    let tokenizer = super::load::tokenizer_at(&path)?;
    Ok(ModelInfo {
        model: name.to_owned(),
        architecture: spec.architecture.clone(),
        family: json!(spec.family).as_str().unwrap_or_default().to_owned(),
        parameters: spec.num_parameters(),
        layers: spec.num_layers(),
        hidden_size: spec.hidden_size,
        vocabulary: spec.vocab_size,
        context_length: spec.max_positions,
        licence: licence(&path).or_else(|| licence_on_hub(name)),
        has_chat_template: tokenizer.chat_template().is_some(),
        weights_here: crate::model::gguf::is_gguf(&path) || weight_files(&path).is_ok(),
        needs: needs(&spec),
        path,
    })
}

/// Tokens that a model's context holds.
///
/// # Errors
/// As [`model`].
pub fn context_of(name: &str) -> Result<usize, Fault> {
    Ok(DecoderSpec::from_dir(&folder_of(name)?)?.max_positions)
}

/// The folder of a model. Of a model on the Hub, config and tokenizer are brought into the cache, which are small; never weights.
fn folder_of(name: &str) -> Result<PathBuf, Fault> {
    let is_offline = || models::is_hub_id(name) && HubOptions::from_env().offline;
    models::resolve_without_weights(name, None).map_err(|fault| match is_offline() {
        true => Fault::new("model_not_cached", format!("{name} is not in the Hugging Face cache"))
            .hint("the Hub is switched off (HF_HUB_OFFLINE): unset it, or use a model that is here"),
        false => fault,
    })
}

fn needs(spec: &DecoderSpec) -> Vec<Need> {
    let all = [("lora", "none"), ("lora", "q8"), ("lora", "nf4"), ("full", "none")];
    let need = |(method, quantization): (&'static str, &'static str)| {
        let held = match quantization {
            "nf4" => Quantization::Nf4,
            "q8" => Quantization::Q8,
            _ => Quantization::None,
        };
        let lora = LoraConfig { rank: 16, alpha: 32.0, dropout: 0.0, use_rslora: false, target_modules: vec!["all-linear".into()] };
        let trainable = if method == "full" { Trainable::Full } else { Trainable::Lora(lora) };
        let request = MemoryRequest {
            spec,
            quantization: held,
            compute_dtype: load_options(held, None).compute_dtype,
            trainable: &trainable,
            optimizer: OptimizerKind::AdamW,
            window_tokens: ROW_TOKENS,
            longest: ROW_TOKENS,
            held_out: HeldOut::default(),
            tokens_per_pass: Some(ROW_TOKENS),
            policy: Some(Policy::Recompute),
            budget: Some(u64::MAX),
            held: PROGRAM_HELD,
            gpu: false,
            host_budget: None,
        };
        Need { method, quantization, train_bytes: predict(&request, Policy::Recompute, ROW_TOKENS).peak_bytes }
    };
    all.map(need).into()
}

/// `license:` between the dashes at the top of README.md.
fn licence(folder: &Path) -> Option<String> {
    let text = files::read_text(&folder.join("README.md")).ok()?;
    let front = text.strip_prefix("---\n")?.split("\n---").next()?;
    front.lines().find_map(|l| l.strip_prefix("license:")).map(|l| l.trim().to_owned())
}

/// As the Hub says, where it can be asked: a model's card is not fetched.
fn licence_on_hub(name: &str) -> Option<String> {
    let options = HubOptions::from_env();
    (models::is_hub_id(name) && !options.offline).then(|| found_model(&options, name).ok()?.licence)?
}

/// A family that config.json files are understood of.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct FamilyInfo {
    /// What `base_model.type` calls it.
    pub family: &'static str,
    /// Its models.
    pub models: &'static str,
    /// Ids on the Hub to begin with.
    pub examples: &'static [&'static str],
}

/// The families.
pub const FAMILIES: [FamilyInfo; 9] = [
    FamilyInfo {
        family: "llama",
        models: "Llama 2, 3, 3.1, 3.2, 3.3 and everything with LlamaForCausalLM (SmolLM, TinyLlama, ...)",
        examples: &["HuggingFaceTB/SmolLM2-135M-Instruct", "meta-llama/Llama-3.2-1B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"],
    },
    FamilyInfo { family: "mistral", models: "Mistral 7B and its kin", examples: &["mistralai/Mistral-7B-Instruct-v0.3"] },
    FamilyInfo {
        family: "qwen",
        models: "Qwen2, Qwen2.5 and Qwen3 (dense)",
        examples: &["Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen3-0.6B", "Qwen/Qwen3-8B"],
    },
    FamilyInfo { family: "olmo", models: "OLMo, OLMo 2 and OLMo 3", examples: &["allenai/OLMo-2-0425-1B-Instruct"] },
    FamilyInfo { family: "gemma", models: "Gemma 3, text only (270M, 1B)", examples: &["google/gemma-3-270m-it", "google/gemma-3-1b-it"] },
    FamilyInfo {
        family: "phi",
        models: "Phi-3, Phi-3.5, Phi-4 and Phi-4-mini",
        examples: &["microsoft/Phi-4-mini-instruct", "microsoft/Phi-3.5-mini-instruct"],
    },
    FamilyInfo { family: "smollm", models: "SmolLM3 (SmolLM 1 and 2 are of the llama family)", examples: &["HuggingFaceTB/SmolLM3-3B"] },
    FamilyInfo { family: "granite", models: "Granite 3, dense", examples: &["ibm-granite/granite-3.3-2b-instruct"] },
    FamilyInfo {
        family: "custom",
        models: "another architecture, read as a Llama if every field of its config.json fits one; the answer says what was assumed",
        examples: &["embedded"],
    },
];
