//! Opening a model with its tokenizer and adapter, as several use cases do.

use std::path::{Path, PathBuf};

use candle_core::DType;

use super::models;
use crate::base::error::Fault;
use crate::data::TextTokenizer;
use crate::model::{Decoder, LoadOptions, Quantization, Unknown};

/// Which model, how held.
#[derive(Debug, Clone)]
pub struct ModelRequest {
    /// Folder, Hub id or `embedded`.
    pub model: String,
    /// Revision on the Hub.
    pub revision: Option<String>,
    /// PEFT adapter folder.
    pub adapter: Option<PathBuf>,
    /// How the base is held.
    pub quantization: Quantization,
    /// Type of activations; `None`: bf16 over a quantised base, else f32.
    pub compute_dtype: Option<DType>,
    /// What is done with an architecture that is not known by name.
    pub unknown: Unknown,
}

impl ModelRequest {
    /// How it is loaded.
    pub(super) fn options(&self) -> LoadOptions {
        LoadOptions { unknown: self.unknown, ..load_options(self.quantization, self.compute_dtype) }
    }

    /// A model by name, unquantised, without an adapter.
    pub fn named(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            revision: None,
            adapter: None,
            quantization: Quantization::None,
            compute_dtype: None,
            unknown: Unknown::Refuse,
        }
    }
}

/// A model ready to run.
#[derive(Debug)]
pub struct LoadedModel {
    /// The model.
    pub decoder: Decoder,
    /// Its tokenizer.
    pub tokenizer: TextTokenizer,
    /// The folder it came from.
    pub folder: PathBuf,
}

/// Loads model, tokenizer and adapter.
///
/// # Errors
/// When a file is missing or does not fit; the fault names it.
pub fn load(request: &ModelRequest) -> Result<LoadedModel, Fault> {
    let folder = models::resolve(&request.model, request.revision.as_deref())?;
    let tokenizer = tokenizer_at(&folder)?;
    let mut decoder = Decoder::load(&folder, &request.options())?;
    check_vocabulary(&tokenizer, &decoder)?;
    if let Some(adapter) = &request.adapter {
        decoder.load_adapter(adapter)?;
    }
    Ok(LoadedModel { decoder, tokenizer, folder })
}

/// The tokenizer of a model folder or a GGUF file.
pub(super) fn tokenizer_at(folder: &Path) -> Result<TextTokenizer, Fault> {
    if crate::model::gguf::is_gguf(folder) {
        return crate::export::gguf::tokenizer_of(folder);
    }
    Ok(TextTokenizer::load(folder)?)
}

/// How a model is held on the CPU.
pub(super) fn load_options(quantization: Quantization, compute_dtype: Option<DType>) -> LoadOptions {
    let by_base = if quantization == Quantization::None { DType::F32 } else { DType::BF16 };
    LoadOptions { quantization, compute_dtype: compute_dtype.unwrap_or(by_base), ..LoadOptions::default() }
}

/// Refuses a tokenizer that makes ids which the model has no row for.
pub(super) fn check_vocabulary(tokenizer: &TextTokenizer, decoder: &Decoder) -> Result<(), Fault> {
    check_ids(tokenizer, decoder.spec().vocab_size)
}

/// The same for a model that is not loaded.
pub(super) fn check_ids(tokenizer: &TextTokenizer, rows: usize) -> Result<(), Fault> {
    let ids = tokenizer.vocab_size();
    if ids > rows {
        let message = format!("{}: the tokenizer has {ids} ids, the model's embedding {rows} rows", tokenizer.origin().display());
        return Err(Fault::new("tokenizer_mismatch", message).hint("use the tokenizer.json that belongs to this model"));
    }
    Ok(())
}

/// Ids that end an answer: the tokenizer's end of text, and `eos_token_id` of generation_config.json and config.json.
pub(super) fn stop_ids(tokenizer: &TextTokenizer, folder: &Path) -> Vec<u32> {
    let mut ids: Vec<u32> = tokenizer.eos_id().into_iter().collect();
    if crate::model::gguf::is_gguf(folder) {
        // The file was read a moment ago; if it is gone now, the tokenizer's own end still holds.
        ids.extend(crate::export::gguf::end_ids(folder).unwrap_or_default());
    }
    for name in ["generation_config.json", "config.json"] {
        let Ok(text) = std::fs::read_to_string(folder.join(name)) else { continue };
        let Ok(json) = serde_json::from_str::<serde_json::Value>(&text) else { continue };
        match &json["eos_token_id"] {
            serde_json::Value::Array(a) => ids.extend(a.iter().filter_map(|v| v.as_u64()).map(|v| v as u32)),
            v => ids.extend(v.as_u64().map(|v| v as u32)),
        }
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}
