//! What a run leaves: the adapter or the whole model, with what a reader needs beside it, and on disk once.

use std::path::Path;

use crate::base::atomic::AtomicDir;
use crate::base::error::Fault;
use crate::data::TextTokenizer;
use crate::model::merge::SHARD_BYTES;
use crate::model::{Decoder, Trainable};

/// Files of a base model that say how text becomes ids and when an answer ends.
const TOKENIZER_FILES: [&str; 9] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "generation_config.json",
];

/// The adapter, or after full fine-tuning the whole model in the type that the base has on disk, as a folder that is
/// whole or absent. The tokenizer lies beside either, with the chat
/// template that was trained.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn save(model: &Decoder, tokenizer: &TextTokenizer, target: &Path) -> Result<(), Fault> {
    remove(target)?;
    if *model.trainable() == Trainable::Full {
        model.save_model(target, None, SHARD_BYTES)?;
        return tokenizer.save(target);
    }
    let folder = AtomicDir::new(target)?;
    model.save_adapter(folder.path())?;
    for name in TOKENIZER_FILES {
        let (from, to) = (model.source().join(name), folder.path().join(name));
        // A GGUF file has its tokenizer inside; what the adapter wrote itself stays.
        if from.is_file() && !to.exists() {
            std::fs::copy(&from, &to).map_err(|e| Fault::io("copy", &from, &e))?;
        }
    }
    // With the chat template that was trained, which need not be the base's.
    tokenizer.save(folder.path())?;
    folder.commit()
}

/// The same folder under a second name. Its files are linked where the disk can do that, so they take their space once.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn again(from: &Path, target: &Path) -> Result<(), Fault> {
    remove(target)?;
    let folder = AtomicDir::new(target)?;
    for entry in std::fs::read_dir(from).map_err(|e| Fault::io("read", from, &e))? {
        let path = entry.map_err(|e| Fault::io("read", from, &e))?.path();
        let (Some(name), true) = (path.file_name(), path.is_file()) else { continue };
        let to = folder.path().join(name);
        if std::fs::hard_link(&path, &to).is_err() {
            std::fs::copy(&path, &to).map_err(|e| Fault::io("copy", &path, &e))?;
        }
    }
    folder.commit()
}

fn remove(target: &Path) -> Result<(), Fault> {
    if target.exists() {
        std::fs::remove_dir_all(target).map_err(|e| Fault::io("replace", target, &e))?;
    }
    Ok(())
}
