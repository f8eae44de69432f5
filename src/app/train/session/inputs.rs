//! What a run stands on, file by file, and the refusal to go on when any of it has changed.
//!
//! A resume with another config.json, template or test rows would give figures that belong to no run.
//! Everything that shapes a result is hashed when the run starts and compared when it goes on:
//! weights, config, tokenizer and template of the base, and the tokenised rows of every part.

use std::collections::BTreeMap;
use std::path::Path;

use super::Materials;
use crate::base::error::Fault;
use crate::base::hash::sha256_file;
use crate::runs::{DatasetRecord, Manifest, PartRecord};

/// Files of a model folder, beside its weights, that shape what it computes or how text reaches it.
const MODEL_FILES: [&str; 11] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "tokenizer.model",
    "tekken.json",
    "model.safetensors.index.json",
];

/// Hashes of those that there are. A GGUF file holds everything itself.
pub(super) fn model_files(model: &Path) -> Result<BTreeMap<String, String>, Fault> {
    let mut files = BTreeMap::new();
    for name in MODEL_FILES {
        let path = model.join(name);
        if path.is_file() {
            files.insert(name.to_owned(), sha256_file(&path)?);
        }
    }
    Ok(files)
}

/// Parts of the data by name.
fn parts(data: &DatasetRecord) -> Vec<(&'static str, Option<&PartRecord>)> {
    let second = data.stage2.as_ref();
    vec![
        ("training rows", Some(&data.train)),
        ("validation rows", data.validation.as_ref()),
        ("test rows", data.test.as_ref()),
        ("stage 2's training rows", second.map(|s| &s.train)),
        ("stage 2's validation rows", second.and_then(|s| s.validation.as_ref())),
        ("stage 2's test rows", second.and_then(|s| s.test.as_ref())),
    ]
}

/// What has changed since the run was started, in words. A record of an earlier version of the
/// program says less, and then only that is compared.
fn changes(before: &Manifest, now: &Materials) -> Vec<String> {
    let mut changed = Vec::new();
    let Some(base) = &before.base_model else { return changed };
    if base.weight_hash != now.base.weight_hash {
        changed.push(format!("the weights of the base model ({})", base.path.display()));
    }
    if !base.files.is_empty() {
        for name in MODEL_FILES {
            let what = match (base.files.get(name), now.base.files.get(name)) {
                (Some(a), Some(b)) if a != b => "has changed",
                (Some(_), None) => "is gone",
                (None, Some(_)) => "is new",
                _ => continue,
            };
            changed.push(format!("{} {what}", base.path.join(name).display()));
        }
    }
    if before.tokenizer_hash.as_deref().is_some_and(|hash| hash != now.tokenizer.sha256()) && changed.is_empty() {
        changed.push("the tokenizer".into());
    }
    for ((name, a), (_, b)) in parts(&before.dataset).into_iter().zip(parts(&now.data.record)) {
        let print = |part: Option<&PartRecord>| part.map(|p| p.fingerprint.clone()).unwrap_or_default();
        // Stage 2 was not recorded by earlier versions.
        let unknown = name.starts_with("stage 2") && before.dataset.stage2.is_none();
        if !unknown && print(a) != print(b) {
            changed.push(format!("the {name}"));
        }
    }
    changed
}

/// Refuses a resume on other ground than the run was started on.
pub(super) fn refuse_changed(before: &Manifest, now: &Materials) -> Result<(), Fault> {
    let changed = changes(before, now);
    if changed.is_empty() {
        return Ok(());
    }
    let message = format!("{}: since the run was started, this has changed: {}", before.run_id, changed.join("; "));
    Err(Fault::new("run_inputs_changed", message).hint("bring the old files back and resume, or start a new run"))
}
