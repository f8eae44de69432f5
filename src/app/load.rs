//! Opening a model with its tokenizer and adapter, as several use cases do.

use std::path::{Path, PathBuf};

use candle_core::DType;

use super::models;
use crate::base::error::Fault;
use crate::base::files;
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
    let tokenizer = tokenizer_for(&folder, request.adapter.as_deref())?;
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

/// The tokenizer of a model as it is served: with the chat template that its adapter was trained with, which stands
/// beside the adapter. Generation, evaluation and every export take it from here.
///
/// # Errors
/// When a file is missing or broken.
pub(super) fn tokenizer_for(folder: &Path, adapter: Option<&Path>) -> Result<TextTokenizer, Fault> {
    let mut tokenizer = tokenizer_at(folder)?;
    let Some(adapter) = adapter else { return Ok(tokenizer) };
    if !tokenizer.take_templates(adapter)?
        && let Some(run) = adapter.ancestors().skip(1).take(4).find(|f| f.join("run-manifest.json").is_file())
    {
        // A checkpoint of a run that is not done: the run's folder has what it is trained with.
        tokenizer.take_templates(&run.join(RUN_TOKENIZER))?;
    }
    Ok(tokenizer)
}

/// The folder of a run's tokenizer in its own.
pub(super) const RUN_TOKENIZER: &str = "tokenizer";

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

/// Ids that end an answer: the token that the chat template writes after one, the tokenizer's end of text, and
/// `eos_token_id` of generation_config.json and config.json.
pub(super) fn stop_ids(tokenizer: &TextTokenizer, folder: &Path) -> Vec<u32> {
    let mut ids = declared_ends(tokenizer, folder);
    ids.extend(tokenizer.turn_end());
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// What to know when answers end by a token that the model's own files do not name as an end.
pub(super) fn turn_end_note(tokenizer: &TextTokenizer, folder: &Path) -> Option<String> {
    let end = tokenizer.turn_end()?;
    let declared = declared_ends(tokenizer, folder);
    if declared.contains(&end) {
        return None;
    }
    let text = |id: u32| format!("`{}`", tokenizer.inner().id_to_token(id).unwrap_or_else(|| id.to_string()));
    let named: Vec<String> = declared.iter().map(|id| text(*id)).collect();
    let named = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
    Some(format!(
        "answers end with {}, which the model's own files do not name as an end (they name {named}): this program stops there, \
         and writes it into what it exports; another program that runs the base must be told",
        text(end)
    ))
}

/// Ends that the model's own files name.
fn declared_ends(tokenizer: &TextTokenizer, folder: &Path) -> Vec<u32> {
    let mut ids: Vec<u32> = tokenizer.eos_id().into_iter().collect();
    if crate::model::gguf::is_gguf(folder) {
        // The file was read a moment ago; if it is gone now, the tokenizer's own end still holds.
        ids.extend(crate::export::gguf::end_ids(folder).unwrap_or_default());
    }
    for name in ["generation_config.json", "config.json"] {
        let Ok(text) = files::read_text(&folder.join(name)) else { continue };
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
