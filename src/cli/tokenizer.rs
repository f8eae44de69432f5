//! `tallow tokenizer`: its arguments, and its report as text.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::style::{Paint, bytes, count, duration};
use crate::app::tokenizer::{self, TokenizerReport, TokenizerRequest};
use crate::base::error::Fault;
use crate::data::tokenizer_train::Kind;

/// `tallow tokenizer`.
#[derive(Debug, Subcommand)]
pub enum TokenizerCommand {
    /// Train a byte-level BPE or SuperBPE tokenizer on text.
    Train(TokenizerArgs),
}

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindName {
    /// Tokens inside words.
    Bpe,
    /// Tokens inside words, then tokens of up to four words.
    Superbpe,
}

/// `tallow tokenizer train`.
#[derive(Debug, Args)]
pub struct TokenizerArgs {
    /// Text: files (.jsonl: rows with `text`; others: lines) and folders of .txt, .md and .jsonl files.
    #[arg(required = true, value_name = "PATH")]
    pub corpus: Vec<PathBuf>,
    /// Folder to make; must not exist.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// What to train.
    #[arg(long, value_enum, default_value = "superbpe")]
    pub kind: KindName,
    /// Number of ids, special tokens and the 256 bytes among them.
    #[arg(long, default_value_t = 50_000)]
    pub vocab_size: usize,
    /// Merges of stage one of superbpe; by default 0.8 of the vocabulary.
    #[arg(long, value_name = "N")]
    pub inherit_merges: Option<usize>,
    /// Pairs that occur less often are not merged.
    #[arg(long, default_value_t = 2)]
    pub min_frequency: u64,
    /// A special token (repeatable, ids from 0); by default <|endoftext|>, <|im_start|>, <|im_end|>, <|pad|>.
    #[arg(long, value_name = "TOKEN")]
    pub special_token: Vec<String>,
    /// Chat template to save with it: chatml, another built-in one, or a file.
    #[arg(long, value_name = "NAME|FILE")]
    pub chat_template: Option<String>,
    /// Memory to work in, in MiB, about; what does not fit lies beside the output meanwhile.
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    pub memory_mib: usize,
}

/// Does what the arguments say.
///
/// # Errors
/// Those of the use case.
pub fn run(command: TokenizerCommand) -> Result<TokenizerReport, Fault> {
    let TokenizerCommand::Train(a) = command;
    tokenizer::run(&TokenizerRequest {
        corpus: a.corpus,
        out: a.out,
        kind: if a.kind == KindName::Bpe { Kind::Bpe } else { Kind::SuperBpe },
        vocab_size: a.vocab_size,
        inherit_merges: a.inherit_merges,
        min_frequency: a.min_frequency,
        special: a.special_token,
        chat_template: a.chat_template.as_deref().map(tokenizer::chat_template).transpose()?,
        memory_bytes: a.memory_mib.saturating_mul(1 << 20),
    })
}

/// The report as text.
pub fn show(r: &TokenizerReport, paint: Paint) -> String {
    let f = &r.figures;
    let mut lines = vec![
        ("written", r.path.display().to_string()),
        ("corpus", format!("{}, {} different words", bytes(f.corpus_bytes), count(f.distinct_words))),
        ("vocabulary", format!("{} ids, {} of them special", count(f.vocab_size as u64), r.special_tokens.len())),
        ("merges", format!("{} inside words, {} after them", count(f.word_merges as u64), count(f.phrase_merges as u64))),
    ];
    if f.superwords > 0 {
        let some: Vec<String> = r.examples.iter().map(|t| format!("{t:?}")).collect();
        lines.push(("superwords", format!("{}: {} ...", count(f.superwords as u64), some.join(" "))));
    }
    if f.spilled_bytes > 0 || f.spills > 0 {
        lines.push(("disk", format!("{} of sequences, {} tables; {} phases", bytes(f.spilled_bytes), f.spills, f.phases)));
    }
    lines.push(("time", duration(r.seconds)));
    lines.iter().map(|(name, value)| format!("{} {value}\n", paint.dim(&format!("{name:<12}")))).collect()
}
