//! A page of training examples, token by token, as training will see them.

use serde::Serialize;

use super::{load, prepare};
use crate::base::error::Fault;
use crate::config::RunConfig;
use crate::data::{Dataset, Piece, RecordSet, pieces};

/// Which rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExamplesRequest {
    /// `train`, `validation`, `test` or the parts of a second stage; `None` is `train`.
    pub part: Option<String>,
    /// Rows of the part that are passed over.
    pub from: usize,
    /// Most rows of the page.
    pub count: usize,
}

/// A part and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartSize {
    /// Its name.
    pub name: &'static str,
    /// Its rows that can be read.
    pub rows: usize,
    /// Its rows that cannot.
    pub bad_rows: usize,
}

/// One training sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExampleTokens {
    /// File and line of its row.
    pub at: String,
    /// Tokens.
    pub tokens: usize,
    /// Tokens that the loss covers.
    pub trained_tokens: usize,
    /// The tokens in order, at most [`MOST_PIECES`] of them.
    pub pieces: Vec<Piece>,
}

/// Tokens of one example that are given.
pub const MOST_PIECES: usize = 4096;

/// A page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExamplesPage {
    /// The model whose tokenizer is used.
    pub model: String,
    /// The chat template, `own` for the model's.
    pub template: String,
    /// Longest sequence in tokens.
    pub max_seq_length: usize,
    /// All parts.
    pub parts: Vec<PartSize>,
    /// The part that the page is of.
    pub part: &'static str,
    /// Its rows that were passed over.
    pub from: usize,
    /// Its examples. A row can give several, or none.
    pub examples: Vec<ExampleTokens>,
    /// Rows of the page that give no example, and the first bad rows of the part.
    pub problems: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Problems that are told.
const MOST_PROBLEMS: usize = 20;

/// A page of what these settings train on. All rows are read, only those of the page are tokenised.
///
/// # Errors
/// When the model, the tokenizer or a file cannot be read, or there is no such part.
pub fn of_config(config: &RunConfig, request: &ExamplesRequest) -> Result<ExamplesPage, Fault> {
    let (model, folder, spec) = prepare::base_model(config, false)?;
    // Training takes no more than the model's context.
    let most = config.training.max_seq_length.min(spec.max_positions);
    let mut tokenizer = load::tokenizer_at(&folder)?;
    let options = prepare::data_options(&config.dataset, most, config.training.quality_weight_multiplier);
    let sets = prepare::Sets::read(config, &options)?;
    let template = prepare::settle(config, &mut tokenizer, &sets)?;
    let parts = sets.parts();
    let wanted = request.part.as_deref().unwrap_or("train");
    let (name, set) = parts.iter().copied().find(|(name, _)| *name == wanted).ok_or_else(|| {
        let names: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
        Fault::new("no_such_part", format!("the data has no part `{}`", wanted.escape_debug())).hint(format!("it has {}", names.join(", ")))
    })?;
    let begin = request.from.min(set.records.len());
    let end = begin.saturating_add(request.count).min(set.records.len());
    let page = RecordSet { records: set.records[begin..end].to_vec(), has_quality: set.has_quality, ..RecordSet::default() };
    let dataset = Dataset::encode_all(&page, &tokenizer, &options)?;
    let example = |e: &crate::data::Example| ExampleTokens {
        at: e.source.to_string(),
        tokens: e.input_ids.len(),
        trained_tokens: e.trained_tokens() as usize,
        pieces: pieces(e, &tokenizer).take(MOST_PIECES).collect(),
    };
    let problems = dataset.problems.iter().chain(&set.problems).take(MOST_PROBLEMS);
    Ok(ExamplesPage {
        model,
        template: template.name,
        max_seq_length: most,
        parts: parts.iter().map(|(name, s)| PartSize { name, rows: s.records.len(), bad_rows: s.problems.len() }).collect(),
        part: name,
        from: begin,
        examples: dataset.examples.iter().map(example).collect(),
        problems: problems.map(|p| format!("{}: {}", p.at, p.message)).collect(),
        notes: tokenizer.notes().iter().cloned().chain(template.notes).collect(),
    })
}
