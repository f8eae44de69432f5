//! What a reading program needs to serve the model as it was trained: the chat template, and the
//! token that ends an answer.

use std::path::Path;

use serde_json::{Value, json};

use super::side_files::Base;
use crate::base::atomic::write_file;
use crate::base::error::Fault;
use crate::base::files;
use crate::data::TextTokenizer;

/// Writes both into a folder that has the base's own side files.
///
/// # Errors
/// When a file is damaged or cannot be written.
pub(super) fn write(base: Base, folder: &Path) -> Result<(), Fault> {
    write_template(base, folder)?;
    write_ends(base, folder)
}

/// The template that was trained takes the place of the base's own.
fn write_template(base: Base, folder: &Path) -> Result<(), Fault> {
    let Some(template) = base.texts.chat_template() else { return Ok(()) };
    let own = TextTokenizer::load(folder)?;
    if own.chat_template().is_some_and(|t| t.source() == template.source()) {
        return Ok(());
    }
    write_file(&folder.join("chat_template.jinja"), template.source().as_bytes())?;
    let path = folder.join("tokenizer_config.json");
    let mut config = read(&path).unwrap_or_else(|| json!({"tokenizer_class": "PreTrainedTokenizerFast"}));
    config["chat_template"] = template.source().into();
    write_file(&path, format!("{config:#}\n").as_bytes())
}

/// generation_config.json names the token that ends an answer among those that end one.
fn write_ends(base: Base, folder: &Path) -> Result<(), Fault> {
    let Some(end) = base.texts.turn_end() else { return Ok(()) };
    let path = folder.join("generation_config.json");
    let (generation, config) = (read(&path), read(&folder.join("config.json")).unwrap_or_default());
    let listed = |v: &Value| v.as_array().cloned().unwrap_or_else(|| vec![v.clone()]);
    let own = generation.as_ref().map_or(&Value::Null, |g| &g["eos_token_id"]);
    let mut ends: Vec<u64> = listed(own).iter().chain(&listed(&config["eos_token_id"])).filter_map(Value::as_u64).collect();
    if ends.contains(&u64::from(end)) {
        return Ok(());
    }
    ends.extend(base.texts.eos_id().map(u64::from));
    ends.insert(0, end.into());
    ends.dedup();
    let mut generation = generation.unwrap_or_else(|| json!({"_from_model_config": true}));
    generation["eos_token_id"] = json!(ends);
    write_file(&path, format!("{generation:#}\n").as_bytes())
}

fn read(path: &Path) -> Option<Value> {
    serde_json::from_str(&files::read_text(path).ok()?).ok()
}
