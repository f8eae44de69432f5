//! Training and comparing tokenizers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::tokenizer::{self, TokenizerRequest};
use crate::app::tokenizer_compare::{self, CompareRequest};
use crate::base::error::Fault;
use crate::data::tokenizer_compare::{Group, MOST_BYTES, Piece, Side};
use crate::data::tokenizer_train::Kind;
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TrainTokenizerIn {
    /// Text file, .jsonl with `text`, or folder of them.
    corpus_path: String,
    /// Folder to make; must not exist.
    output_path: String,
    /// Default 50000.
    #[schemars(range(min = 257, max = 16_777_216))]
    vocab_size: Option<u64>,
    /// Merges of stage one. Default 0.8 of vocab_size.
    #[schemars(range(min = 1, max = 16_777_216))]
    num_inherit_merges: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TrainTokenizerOut {
    success: bool,
    path: String,
    vocab_size: usize,
    /// Merges inside words.
    word_merges: usize,
    /// Merges of stage two.
    phrase_merges: usize,
    /// Tokens that reach across a space, and some of them.
    superwords: usize,
    examples: Vec<String>,
    seconds: f64,
}

/// train_superbpe_tokenizer
pub(super) struct TrainTokenizer;

impl Tool for TrainTokenizer {
    const NAME: &'static str = "train_superbpe_tokenizer";
    const TITLE: &'static str = "Train a SuperBPE tokenizer";
    const ABOUT: &'static str = "Train a byte-level tokenizer on text: merges inside words first, then across spaces.";
    const HINTS: Hints = Hints::MAKE;
    const LANE: Lane = Lane::Model;
    type In = TrainTokenizerIn;
    type Out = TrainTokenizerOut;

    fn call(input: TrainTokenizerIn, shared: &Shared, _: &Call) -> Result<TrainTokenizerOut, Fault> {
        let sized = |name, value: u64, least| within(name, value, least, 1 << 24).map(|n| n as usize);
        let report = tokenizer::run(&TokenizerRequest {
            corpus: vec![shared.roots.allow(&input.corpus_path)?],
            out: shared.roots.allow(&input.output_path)?,
            kind: Kind::SuperBpe,
            vocab_size: sized("vocab_size", input.vocab_size.unwrap_or(50_000), 257)?,
            inherit_merges: input.num_inherit_merges.map(|n| sized("num_inherit_merges", n, 1)).transpose()?,
            min_frequency: 2,
            special: Vec::new(),
            chat_template: None,
            memory_bytes: 1 << 30,
        })?;
        Ok(TrainTokenizerOut {
            success: true,
            path: report.path.display().to_string(),
            vocab_size: report.figures.vocab_size,
            word_merges: report.figures.word_merges,
            phrase_merges: report.figures.phrase_merges,
            superwords: report.figures.superwords,
            examples: report.examples,
            seconds: report.seconds,
        })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompareTokenizersIn {
    /// Folder, tokenizer.json, GGUF file, Hub id or `embedded`.
    tokenizer_a: String,
    /// The same.
    tokenizer_b: String,
    /// Texts as they are.
    #[serde(default)]
    texts: Vec<String>,
    /// Files and folders of text.
    #[serde(default)]
    files: Vec<String>,
    /// Picture to write, .svg.
    picture_path: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct GroupOut {
    name: String,
    texts: u64,
    bytes: u64,
    tokens_a: u64,
    tokens_b: u64,
    bytes_per_token_a: f64,
    bytes_per_token_b: f64,
    tokens_per_word_a: f64,
    tokens_per_word_b: f64,
    /// Tokens of b over those of a, less one.
    change: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PieceOut {
    text: String,
    used: u64,
    /// Tokens of the other one, less its own.
    saved: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SideOut {
    vocabulary: usize,
    used: usize,
    megabytes_per_second: f64,
    longest: Vec<PieceOut>,
    saving: Vec<PieceOut>,
    round_trip_failures: u64,
    /// Place, text and what it became.
    failures: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CompareTokenizersOut {
    /// All texts, then by kind, then by language.
    groups: Vec<GroupOut>,
    a: SideOut,
    b: SideOut,
    tokens_in_both: usize,
    only_a: usize,
    only_b: usize,
    /// Some of the files was left out.
    is_cut: bool,
    picture_path: Option<String>,
}

/// compare_tokenizers
pub(super) struct CompareTokenizers;

/// Texts that are given as they are, and their bytes.
const MOST_TEXTS: usize = 1000;
const MOST_TEXT_BYTES: usize = 1 << 20;

impl Tool for CompareTokenizers {
    const NAME: &'static str = "compare_tokenizers";
    const TITLE: &'static str = "Compare two tokenizers";
    const ABOUT: &'static str = "Tokens of two tokenizers on the same texts by kind and language, overlap, round trips, speed.";
    const HINTS: Hints = Hints::MAKE.reaching_out();
    const LANE: Lane = Lane::Model;
    type In = CompareTokenizersIn;
    type Out = CompareTokenizersOut;

    fn call(input: CompareTokenizersIn, shared: &Shared, _: &Call) -> Result<CompareTokenizersOut, Fault> {
        within("texts (their number)", input.texts.len(), 0, MOST_TEXTS)?;
        within("texts (their length)", input.texts.iter().map(String::len).sum(), 0, MOST_TEXT_BYTES)?;
        let files = input.files.iter().map(|f| shared.roots.allow(f)).collect::<Result<Vec<_>, _>>()?;
        let report = tokenizer_compare::run(&CompareRequest {
            a: tokenizer_path(shared, &input.tokenizer_a)?,
            b: tokenizer_path(shared, &input.tokenizer_b)?,
            texts: input.texts,
            files,
            most_bytes: MOST_BYTES,
            picture: input.picture_path.as_ref().map(|p| shared.roots.allow(p)).transpose()?,
        })?;
        let c = report.comparison;
        let groups = std::iter::once(c.all).chain(c.kinds).chain(c.languages).map(group).collect();
        Ok(CompareTokenizersOut {
            groups,
            a: side(c.a),
            b: side(c.b),
            tokens_in_both: c.vocabulary.both,
            only_a: c.vocabulary.only_a,
            only_b: c.vocabulary.only_b,
            is_cut: report.is_cut,
            picture_path: report.picture.map(|p| p.display().to_string()),
        })
    }
}

/// A tokenizer as a client names it: a file of its own, or as a model.
fn tokenizer_path(shared: &Shared, name: &str) -> Result<String, Fault> {
    if name.ends_with(".json") {
        return Ok(shared.roots.allow(name)?.display().to_string());
    }
    shared.roots.model(name)
}

fn group(g: Group) -> GroupOut {
    GroupOut {
        name: g.name,
        texts: g.texts,
        bytes: g.bytes,
        tokens_a: g.a.tokens,
        tokens_b: g.b.tokens,
        bytes_per_token_a: g.a.bytes_per_token,
        bytes_per_token_b: g.b.bytes_per_token,
        tokens_per_word_a: g.a.tokens_per_word,
        tokens_per_word_b: g.b.tokens_per_word,
        change: g.change,
    }
}

fn side(s: Side) -> SideOut {
    let pieces = |all: Vec<Piece>| all.into_iter().map(|p| PieceOut { text: p.text, used: p.used, saved: p.saved }).collect();
    SideOut {
        vocabulary: s.vocabulary,
        used: s.used,
        megabytes_per_second: s.megabytes_per_second,
        longest: pieces(s.longest),
        saving: pieces(s.saving),
        round_trip_failures: s.round_trip_failures,
        failures: s.failures.into_iter().map(|f| format!("{}: {:?} became {:?}", f.place, f.text, f.back)).collect(),
    }
}
