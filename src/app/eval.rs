//! Perplexity and token accuracy of a model on a file, base against adapter where there is one.

use std::path::PathBuf;

use serde::Serialize;

use super::load::{ModelRequest, check_vocabulary};
use super::models;
use crate::base::error::Fault;
use crate::base::progress;
use crate::data::{DataOptions, Dataset, read, settle_template};
use crate::model::Decoder;
use crate::train::{EVALUATION_TOKENS, Evaluation, Sft, evaluate, evaluation_passes};

/// A request to evaluate.
#[derive(Debug, Clone)]
pub struct EvalRequest {
    /// The model, with its adapter.
    pub model: ModelRequest,
    /// The rows.
    pub data: PathBuf,
    /// How rows are read.
    pub options: DataOptions,
    /// At most this many rows.
    pub max_rows: Option<usize>,
    /// Also evaluate the base without its adapter.
    pub with_base: bool,
}

/// What an evaluation gave.
#[derive(Debug, Clone, Serialize)]
pub struct EvalReport {
    /// The model as asked for.
    pub model: String,
    /// The adapter.
    pub adapter: Option<PathBuf>,
    /// The file.
    pub data: PathBuf,
    /// Rows evaluated.
    pub rows: usize,
    /// The base alone, when there is an adapter.
    pub base: Option<Evaluation>,
    /// The model as asked for.
    pub result: Evaluation,
    /// What a person should know about how the model's config was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

/// Evaluates.
///
/// # Errors
/// When model, adapter or data cannot be used.
pub fn run(request: &EvalRequest) -> Result<EvalReport, Fault> {
    run_while(request, &|| true)
}

/// The same; `go_on` is asked before each pass.
///
/// # Errors
/// As [`run`], and when `go_on` said no.
pub fn run_while(request: &EvalRequest, go_on: &dyn Fn() -> bool) -> Result<EvalReport, Fault> {
    let m = &request.model;
    let folder = models::resolve(&m.model, m.revision.as_deref())?;
    let mut tokenizer = super::load::tokenizer_for(&folder, m.adapter.as_deref())?;
    let mut set = read(&[&request.data], &request.options)?;
    if let Some(most) = request.max_rows {
        set.records.truncate(most);
    }
    settle_template(&mut tokenizer, None, &request.options.template_variables, &[&set])?;
    let dataset = Dataset::encode(&set, &tokenizer, &request.options)?;
    let mut decoder = Decoder::load(&folder, &m.options())?;
    check_vocabulary(&tokenizer, &decoder)?;
    let measure = |decoder: &Decoder| held_out_while(decoder, &dataset, EVALUATION_TOKENS, go_on);
    let base = match &m.adapter {
        Some(adapter) => {
            let base = request.with_base.then(|| measure(&decoder)).transpose()?;
            decoder.load_adapter(adapter)?;
            base
        }
        None => None,
    };
    let result = measure(&decoder)?;
    Ok(EvalReport {
        model: m.model.clone(),
        adapter: m.adapter.clone(),
        data: request.data.clone(),
        rows: set.records.len(),
        base,
        result,
        remarks: decoder.spec().remarks.clone(),
    })
}

/// Loss, perplexity and accuracy on a dataset, in passes of at most `tokens`; `go_on` is asked before each.
pub(super) fn held_out_while(decoder: &Decoder, dataset: &Dataset, tokens: usize, go_on: &dyn Fn() -> bool) -> Result<Evaluation, Fault> {
    let passes = evaluation_passes(dataset, tokens, &Sft);
    let (done, total) = (std::cell::Cell::new(0), passes.len() as u64);
    let counted = || {
        progress::report("evaluating", "passes", done.get(), total);
        done.set(done.get() + 1);
        go_on()
    };
    let result = evaluate(decoder, &Sft, &passes, &counted)?;
    progress::report("evaluating", "passes", total, total);
    result.ok_or_else(|| Fault::new("cancelled", "the evaluation was broken off"))
}
