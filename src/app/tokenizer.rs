//! Training a tokenizer and writing it as a folder that models and other programs read.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use crate::base::atomic::AtomicDir;
use crate::base::error::Fault;
use crate::data::TextTokenizer;
use crate::data::tokenizer_train::{Figures, Kind, Settings, train};

/// Special tokens where none are asked for: end of text, the two of ChatML, padding.
pub const SPECIAL: [&str; 4] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"];

/// A request to train a tokenizer.
#[derive(Debug, Clone)]
pub struct TokenizerRequest {
    /// Files and folders of text.
    pub corpus: Vec<PathBuf>,
    /// The folder to make; it must not exist.
    pub out: PathBuf,
    /// What is trained.
    pub kind: Kind,
    /// Number of ids.
    pub vocab_size: usize,
    /// Merges of stage one; `None`: 0.8 of the vocabulary. For SuperBPE only.
    pub inherit_merges: Option<usize>,
    /// Pairs that occur less often are not merged.
    pub min_frequency: u64,
    /// Special tokens; none: [`SPECIAL`].
    pub special: Vec<String>,
    /// Name or text of a chat template.
    pub chat_template: Option<String>,
    /// Memory to work in, about.
    pub memory_bytes: usize,
}

/// What was trained.
#[derive(Debug, Clone, Serialize)]
pub struct TokenizerReport {
    /// The folder.
    pub path: PathBuf,
    /// What was trained.
    pub kind: Kind,
    /// How it went.
    #[serde(flatten)]
    pub figures: Figures,
    /// Special tokens, in the order of their ids from 0.
    pub special_tokens: Vec<String>,
    /// Some of the first tokens that reach across a space.
    pub examples: Vec<String>,
    /// Time from start to finish.
    pub seconds: f64,
}

/// Trains a tokenizer.
///
/// # Errors
/// When the folder exists, sizes do not fit together, the corpus cannot be read, or the disk refuses; nothing is left then.
pub fn run(request: &TokenizerRequest) -> Result<TokenizerReport, Fault> {
    let started = Instant::now();
    let out = AtomicDir::new(&request.out)?;
    let special = if request.special.is_empty() { SPECIAL.map(str::to_owned).to_vec() } else { request.special.clone() };
    let trained = train(&Settings {
        corpus: request.corpus.clone(),
        kind: request.kind,
        vocab_size: request.vocab_size,
        inherit_merges: request.inherit_merges,
        min_frequency: request.min_frequency,
        special: special.clone(),
        memory_bytes: request.memory_bytes,
        scratch: out.path().to_path_buf(),
    })?;
    let file = trained.tokenizer_json().to_string();
    let inner = TextTokenizer::parse(file.as_bytes())
        .map_err(|e| Fault::new("tokenizer_training", format!("the trained tokenizer cannot be read back: {e}")))?;
    let named = names(&special, request.chat_template.is_some());
    let mut tokenizer = TextTokenizer::from_parts(inner, named)?;
    if let Some(template) = &request.chat_template {
        tokenizer.set_chat_template(template, "chat template")?;
    }
    tokenizer.save(out.path())?;
    out.commit()?;
    Ok(TokenizerReport {
        path: request.out.clone(),
        kind: request.kind,
        examples: trained.superwords(8),
        figures: trained.figures,
        special_tokens: special,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Which special token plays which part: a chat ends a turn by `<|im_end|>`, a text ends by the first token.
fn names(special: &[String], chat: bool) -> Vec<(String, String)> {
    let find = |wanted: &str| special.iter().find(|t| *t == wanted).cloned();
    let end = if chat { find("<|im_end|>") } else { None };
    let end = end.or_else(|| find("<|endoftext|>")).or_else(|| special.first().cloned());
    let pad = find("<|pad|>");
    [("eos_token", end), ("pad_token", pad)].into_iter().filter_map(|(name, token)| Some((name.to_owned(), token?))).collect()
}

/// The text of a chat template: the name of one that comes with the program, or a file's content.
///
/// # Errors
/// When it is neither.
pub fn chat_template(given: &str) -> Result<String, Fault> {
    if crate::data::template_names().contains(&given) {
        return Ok(given.to_owned());
    }
    std::fs::read_to_string(given).map_err(|e| {
        let names = crate::data::template_names().join(", ");
        Fault::io("read the chat template", Path::new(given), &e).hint(format!("give a file, or one of {names}"))
    })
}
