//! Training tokenizers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::tokenizer::{self, TokenizerRequest};
use crate::base::error::Fault;
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
