//! A model whose tokenizer has more tokens: tokenizer and weights together, as a folder to be tuned.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

use super::models;
use crate::base::atomic::{AtomicDir, write_file};
use crate::base::error::Fault;
use crate::base::files;
use crate::data::TextTokenizer;
use crate::data::tokenizer_train::{Extension, NewToken, extend};
use crate::model::gguf::is_gguf;
use crate::model::merge::copy_side_files;
use crate::model::resize::{NewRow, resized_weights};

/// A request to extend a model's tokenizer.
#[derive(Debug, Clone)]
pub struct ExtendRequest {
    /// The model.
    pub model: String,
    /// Its revision on the Hub.
    pub revision: Option<String>,
    /// Files and folders of text.
    pub corpus: Vec<PathBuf>,
    /// At most so many new tokens.
    pub new_tokens: usize,
    /// Pairs that occur less often are not merged.
    pub min_frequency: u64,
    /// The folder to make; it must not exist.
    pub out: PathBuf,
    /// Memory to work in, about.
    pub memory_bytes: usize,
}

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct ExtendReport {
    /// The folder.
    pub path: PathBuf,
    /// New tokens.
    pub new_tokens: usize,
    /// New merges; more than new tokens where two pairs give the same one.
    pub new_merges: usize,
    /// Number of ids, new ones among them.
    pub vocab_size: usize,
    /// Rows of the model's embedding.
    pub rows: usize,
    /// The first new tokens.
    pub examples: Vec<NewToken>,
    /// Size of the corpus.
    pub corpus_bytes: u64,
    /// Time from start to finish.
    pub seconds: f64,
}

/// New tokens that a report shows.
const SHOWN: usize = 8;
/// Files that hold the vocabulary in older ways, which would say something else than `tokenizer.json`.
const OLDER: [&str; 4] = ["vocab.json", "merges.txt", "vocab.txt", "tokenizer.model"];

/// Extends a model's tokenizer and its rows.
///
/// # Errors
/// When the folder exists, the model is a GGUF file, its tokenizer is not byte-level BPE, the corpus has nothing
/// to merge, or a file cannot be read or written; nothing is left then.
pub fn run(request: &ExtendRequest) -> Result<ExtendReport, Fault> {
    let started = Instant::now();
    let out = AtomicDir::new(&request.out)?;
    if request.new_tokens == 0 {
        return Err(Fault::new("bad_vocab_size", "no new tokens are asked for").hint("ask for at least one"));
    }
    let folder = models::resolve(&request.model, request.revision.as_deref())?;
    if is_gguf(&folder) {
        return Err(Fault::new("bad_base_model", format!("{}: a GGUF file's rows are not extended", folder.display()))
            .hint("use the folder that the file was made from"));
    }
    let base = TextTokenizer::load(&folder)?;
    let extended = extend(
        &base,
        &Extension {
            corpus: request.corpus.clone(),
            new_tokens: request.new_tokens,
            min_frequency: request.min_frequency,
            memory_bytes: request.memory_bytes,
            scratch: out.path().to_path_buf(),
        },
    )?;
    if extended.tokens.is_empty() {
        return Err(Fault::new("nothing_to_merge", "no pair of tokens is frequent enough in the corpus")
            .hint("give more text, or allow rarer pairs"));
    }
    let file = extended.tokenizer_json.to_string();
    let tokenizer = TextTokenizer::parse(file.as_bytes())
        .map_err(|e| Fault::new("tokenizer_training", format!("the extended tokenizer cannot be read back: {e}")))?;
    let new: Vec<NewRow> = extended.tokens.iter().map(|t| (t.id, t.parts.clone())).collect();
    let rows = resized_weights(&folder, &new, out.path())?;
    copy_side_files(&folder, out.path(), None)?;
    write_file(&out.path().join("tokenizer.json"), file.as_bytes())?;
    for name in OLDER {
        let old = out.path().join(name);
        if old.exists() {
            std::fs::remove_file(&old).map_err(|e| Fault::io("remove", &old, &e))?;
        }
    }
    set_rows(&out.path().join("config.json"), rows)?;
    out.commit()?;
    Ok(ExtendReport {
        path: request.out.clone(),
        new_tokens: extended.tokens.len(),
        new_merges: extended.new_merges,
        vocab_size: tokenizer.get_vocab_size(true),
        rows,
        examples: extended.tokens.into_iter().take(SHOWN).collect(),
        corpus_bytes: extended.corpus_bytes,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Writes the number of rows into `config.json`.
fn set_rows(path: &std::path::Path, rows: usize) -> Result<(), Fault> {
    let text = files::read_text(path).map_err(|e| Fault::io("read", path, &e))?;
    let mut config: Value = serde_json::from_str(&text).map_err(|e| Fault::new("bad_config", format!("{}: {e}", path.display())))?;
    let inner = if config["text_config"].is_object() { &mut config["text_config"] } else { &mut config };
    inner["vocab_size"] = rows.into();
    let text = format!("{config:#}\n");
    std::fs::remove_file(path).map_err(|e| Fault::io("write", path, &e))?;
    write_file(path, text.as_bytes())
}
