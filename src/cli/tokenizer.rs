//! `tallow tokenizer`: its arguments, and its reports as text.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::run::Desk;
use super::show::table;
use super::style::{Paint, bytes, count, duration};
use crate::app::tokenizer::{self, TokenizerReport, TokenizerRequest};
use crate::app::tokenizer_compare::{self, CompareReport, CompareRequest};
use crate::app::tokenizer_extend::{self, ExtendReport, ExtendRequest};
use crate::base::error::Fault;
use crate::data::tokenizer_compare::{Group, MOST_BYTES, Piece, Side};
use crate::data::tokenizer_train::Kind;

/// `tallow tokenizer`.
#[derive(Debug, Subcommand)]
pub enum TokenizerCommand {
    /// Train a byte-level BPE or SuperBPE tokenizer on text.
    Train(TokenizerArgs),
    /// Give a model's tokenizer more tokens, and the model a row for each: the mean of its parts' rows.
    Extend(TokenizerExtendArgs),
    /// Compare two tokenizers on texts: tokens by kind and language, overlap, round trips, speed.
    Compare(TokenizerCompareArgs),
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

/// `tallow tokenizer extend`.
#[derive(Debug, Args)]
pub struct TokenizerExtendArgs {
    /// The model: a folder, a Hub id, or `embedded`. Its tokenizer must be byte-level BPE.
    #[arg(long)]
    pub model: String,
    /// Revision of a Hub model.
    #[arg(long)]
    pub revision: Option<String>,
    /// Text: files (.jsonl: rows with `text`; others: lines) and folders of .txt, .md and .jsonl files.
    #[arg(required = true, value_name = "PATH")]
    pub corpus: Vec<PathBuf>,
    /// Folder to make, with the model in it; must not exist.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// At most so many new tokens.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub new_tokens: usize,
    /// Pairs that occur less often are not merged.
    #[arg(long, default_value_t = 2)]
    pub min_frequency: u64,
    /// Memory to work in, in MiB, about; what does not fit lies beside the output meanwhile.
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    pub memory_mib: usize,
}

/// `tallow tokenizer compare`.
#[derive(Debug, Args)]
pub struct TokenizerCompareArgs {
    /// The first tokenizer: a folder, a tokenizer.json, a GGUF file, a Hub id, or `embedded`.
    pub a: String,
    /// The second.
    pub b: String,
    /// Texts: files (rows with text or messages, source code, others by paragraph) and folders of them.
    #[arg(value_name = "PATH", required_unless_present = "text")]
    pub files: Vec<PathBuf>,
    /// A text as it is (repeatable).
    #[arg(long, value_name = "TEXT")]
    pub text: Vec<String>,
    /// Read at most so much text of the files, in MiB; every file gets its share.
    #[arg(long, value_name = "MIB", default_value_t = MOST_BYTES >> 20)]
    pub max_mib: u64,
    /// Draw bytes per token and the lengths of tokens into this file, .svg.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Does what the arguments say, and prints it.
///
/// # Errors
/// Those of the use case.
pub(super) fn run(desk: &Desk, command: TokenizerCommand) -> Result<u8, Fault> {
    match command {
        TokenizerCommand::Train(a) => {
            let report = train(a)?;
            desk.give(&report, || show(&report, desk.paint))
        }
        TokenizerCommand::Extend(a) => {
            let report = tokenizer_extend::run(&ExtendRequest {
                model: a.model,
                revision: a.revision,
                corpus: a.corpus,
                new_tokens: a.new_tokens,
                min_frequency: a.min_frequency,
                out: a.out,
                memory_bytes: a.memory_mib.saturating_mul(1 << 20),
            })?;
            desk.give(&report, || extended(&report, desk.paint))
        }
        TokenizerCommand::Compare(a) => {
            let report = tokenizer_compare::run(&CompareRequest {
                a: a.a,
                b: a.b,
                texts: a.text,
                files: a.files,
                most_bytes: a.max_mib.saturating_mul(1 << 20),
                picture: a.out,
            })?;
            desk.give(&report, || compared(&report, desk.paint))
        }
    }
}

fn train(a: TokenizerArgs) -> Result<TokenizerReport, Fault> {
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
fn show(r: &TokenizerReport, paint: Paint) -> String {
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

/// An extension as text.
fn extended(r: &ExtendReport, paint: Paint) -> String {
    let some: Vec<String> = r.examples.iter().map(|t| format!("{:?}", t.text)).collect();
    let lines = [
        ("written", r.path.display().to_string()),
        ("corpus", bytes(r.corpus_bytes)),
        ("new tokens", format!("{} by {} merges: {} ...", count(r.new_tokens as u64), count(r.new_merges as u64), some.join(" "))),
        ("vocabulary", format!("{} ids, {} rows of the model", count(r.vocab_size as u64), count(r.rows as u64))),
        ("time", duration(r.seconds)),
    ];
    lines.iter().map(|(name, value)| format!("{} {value}\n", paint.dim(&format!("{name:<12}")))).collect()
}

/// A comparison as text.
fn compared(r: &CompareReport, paint: Paint) -> String {
    let c = &r.comparison;
    let side = |letter: &str, s: &Side| {
        let (ids, used) = (count(s.vocabulary as u64), count(s.used as u64));
        format!("{letter} = {}: {ids} ids, {used} of them used, {:.2} MB/s on one thread\n", s.name, s.megabytes_per_second)
    };
    let mut out = side("a", &c.a) + &side("b", &c.b) + "\n";
    let groups: Vec<Vec<String>> = std::iter::once(&c.all).chain(&c.kinds).chain(&c.languages).map(row).collect();
    let head = ["texts", "bytes", "tokens a", "b", "change", "bytes/token a", "b", "words/token a", "b", "tokens/word a", "b"];
    out += &table(paint, &[&[""], &head[..]].concat(), &groups);
    let v = &c.vocabulary;
    out += &format!(
        "\n{} {} tokens in both, {} in a alone, {} in b alone; {:.1} % of all different tokens\n",
        paint.dim("vocabulary  "),
        count(v.both as u64),
        count(v.only_a as u64),
        count(v.only_b as u64),
        100.0 * v.jaccard
    );
    for (letter, s) in [("a", &c.a), ("b", &c.b)] {
        out += &format!("{} {}\n", paint.dim(&format!("longest {letter}   ")), pieces(&s.longest, |p| p.used as i64));
    }
    for (letter, s) in [("a", &c.a), ("b", &c.b)] {
        out += &format!("{} {}\n", paint.dim(&format!("{letter} saves     ")), pieces(&s.saving, |p| p.saved));
    }
    for (letter, s) in [("a", &c.a), ("b", &c.b)] {
        let all = count(c.all.texts);
        out += &format!("{} {} of {all} texts do not come back\n", paint.dim(&format!("round trip {letter}")), s.round_trip_failures);
        for f in &s.failures {
            out += &format!("  {}: {:?} became {:?}\n", f.place, f.text, f.back);
        }
    }
    if r.is_cut {
        out += "not all of the files was read (--max-mib)\n";
    }
    out + &r.picture.as_ref().map(|p| format!("{} {}\n", paint.dim("picture     "), p.display())).unwrap_or_default()
}

fn row(g: &Group) -> Vec<String> {
    let two = |v: f64| format!("{v:.2}");
    vec![
        g.name.clone(),
        count(g.texts),
        bytes(g.bytes),
        count(g.a.tokens),
        count(g.b.tokens),
        format!("{:+.1} %", 100.0 * g.change),
        two(g.a.bytes_per_token),
        two(g.b.bytes_per_token),
        two(g.a.words_per_token),
        two(g.b.words_per_token),
        two(g.a.tokens_per_word),
        two(g.b.tokens_per_word),
    ]
}

/// Tokens with a number each.
fn pieces(all: &[Piece], number: impl Fn(&Piece) -> i64) -> String {
    if all.is_empty() {
        return "none".into();
    }
    all.iter().map(|p| format!("{:?} {}", p.text, number(p))).collect::<Vec<_>>().join(", ")
}
