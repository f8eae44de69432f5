//! What belongs to a model folder beside its weights: config, tokenizer, chat template, licence.
//!
//! A base in a folder has them. A GGUF file has them inside: they are made from its metadata.

use std::path::Path;

use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::{hf_config, served};
use crate::base::atomic::write_file;
use crate::base::error::Fault;
use crate::base::files;
use crate::data::TextTokenizer;
use crate::model::gguf::is_gguf;
use crate::model::merge::copy_side_files;
use crate::model::spec::DecoderSpec;

/// A base model with its tokenizer.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// Its folder or GGUF file.
    pub path: &'a Path,
    /// Its tokenizer.
    pub texts: &'a TextTokenizer,
}

/// Writes them into `to`; what a reader should know of them.
///
/// # Errors
/// When a file cannot be read or written, or a GGUF file holds what config.json cannot express.
pub fn write(base: Base, spec: &DecoderSpec, to: &Path, dtype: Option<Dtype>) -> Result<Vec<String>, Fault> {
    if !is_gguf(base.path) {
        copy_side_files(base.path, to, dtype)?;
        served::write(base, to)?;
        return Ok(renamed_class(base.path, to).into_iter().collect());
    }
    let config = hf_config::of(spec, base.texts, dtype.unwrap_or(Dtype::BF16))?;
    write_file(&to.join("config.json"), format!("{config:#}\n").as_bytes())?;
    let tokenizer = base.texts.inner().to_string(true).map_err(|e| Fault::new("export_tokenizer", e.to_string()))?;
    write_file(&to.join("tokenizer.json"), tokenizer.as_bytes())?;
    let settings = tokenizer_config(base.texts);
    write_file(&to.join("tokenizer_config.json"), format!("{settings:#}\n").as_bytes())?;
    served::write(base, to)?;
    Ok(vec!["the base is a GGUF file: its weights were dequantised, and config and tokenizer were made from its metadata".into()])
}

/// Says that the tokenizer's class was changed so that transformers takes tokenizer.json as it is.
fn renamed_class(from: &Path, to: &Path) -> Option<String> {
    let class = |folder: &Path| {
        let text = files::read_text(&folder.join("tokenizer_config.json")).ok()?;
        Some(serde_json::from_str::<Value>(&text).ok()?["tokenizer_class"].as_str()?.to_owned())
    };
    let (old, new) = (class(from)?, class(to)?);
    (old != new).then(|| {
        format!("tokenizer_config.json names {new} instead of {old}: transformers 5 would build {old} anew, which makes other tokens of some texts")
    })
}

fn tokenizer_config(texts: &TextTokenizer) -> Value {
    let mut settings = Map::new();
    settings.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
    settings.insert("clean_up_tokenization_spaces".into(), json!(false));
    for name in ["bos_token", "eos_token", "pad_token", "unk_token"] {
        if let Some(text) = texts.special(name) {
            settings.insert(name.into(), json!(text));
        }
    }
    if let Some(template) = texts.chat_template() {
        settings.insert("chat_template".into(), json!(template.source()));
    }
    Value::Object(settings)
}
