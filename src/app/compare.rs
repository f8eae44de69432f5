//! Two models on the same rows: figures with confidence intervals, and answers side by side.

use std::path::PathBuf;

use serde::Serialize;

use super::generate::{Input, Sampling, generate_with};
use super::load::{LoadedModel, ModelRequest, load};
use crate::base::error::Fault;
use crate::data::{DataOptions, Dataset, Example, Rng, TextTokenizer, read, segments, settle_template};
use crate::train::{Sft, evaluate, evaluation_passes};

/// A request to compare.
#[derive(Debug, Clone)]
pub struct CompareRequest {
    /// The two, each with a label.
    pub models: [(String, ModelRequest); 2],
    /// The rows.
    pub data: PathBuf,
    /// How they are read.
    pub options: DataOptions,
    /// At most this many rows.
    pub max_rows: Option<usize>,
    /// Rows that both answer.
    pub samples: usize,
    /// Most new tokens of an answer.
    pub max_new_tokens: usize,
}

/// A figure and the middle 95 % of what resampled rows give.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// On all rows.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// One metric of both.
#[derive(Debug, Clone, Serialize)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Of the first.
    pub first: Figure,
    /// Of the second.
    pub second: Figure,
    /// Second minus first; the rows are resampled together.
    pub difference: Figure,
}

/// One row answered by both.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// What both were given.
    pub prompt: String,
    /// What the row says.
    pub wanted: String,
    /// The first one's answer.
    pub first: String,
    /// The second one's answer.
    pub second: String,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct CompareReport {
    /// Rows compared.
    pub rows: usize,
    /// Metrics.
    pub metrics: Vec<Metric>,
    /// Answers.
    pub samples: Vec<Sample>,
}

/// Summed loss, right tokens and tokens of a row.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    loss: f64,
    right: f64,
    tokens: f64,
}

/// Resamplings.
const DRAWS: usize = 1000;

/// Compares; `go_on` is asked before each row.
///
/// # Errors
/// When a model or the data cannot be used, the two read rows differently, or `go_on` said no.
pub fn run(request: &CompareRequest, go_on: &dyn Fn() -> bool) -> Result<CompareReport, Fault> {
    let mut rows = Vec::new();
    let mut answers = Vec::new();
    let mut prompts = None;
    for (label, model) in &request.models {
        let mut loaded = load(model)?;
        let dataset = encode(request, &mut loaded.tokenizer)?;
        rows.push(measure(&loaded, &dataset, go_on)?);
        let asked = prompts.get_or_insert_with(|| asked(&dataset, &loaded.tokenizer, request.samples));
        if rows[0].len() != rows[rows.len() - 1].len() {
            return Err(Fault::new("not_comparable", format!("{label} reads the rows into another number of sequences"))
                .hint("compare models with the same tokenizer and chat template"));
        }
        answers.push(answer(&loaded, asked, request.max_new_tokens, go_on)?);
    }
    let [first, second] = [&rows[0], &rows[1]];
    let samples = prompts.unwrap_or_default().into_iter().zip(answers[0].iter().zip(&answers[1]));
    Ok(CompareReport {
        rows: first.len(),
        metrics: vec![
            metric("loss", first, second, |r| r.loss / r.tokens),
            metric("perplexity", first, second, |r| (r.loss / r.tokens).exp()),
            metric("accuracy", first, second, |r| r.right / r.tokens),
        ],
        samples: samples.map(|((prompt, wanted), (a, b))| Sample { prompt, wanted, first: a.clone(), second: b.clone() }).collect(),
    })
}

fn encode(request: &CompareRequest, tokenizer: &mut TextTokenizer) -> Result<Dataset, Fault> {
    let mut set = read(&[&request.data], &request.options)?;
    if let Some(most) = request.max_rows {
        set.records.truncate(most);
    }
    settle_template(tokenizer, None, &request.options.template_variables, &[&set])?;
    Ok(Dataset::encode(&set, tokenizer, &request.options)?)
}

fn measure(loaded: &LoadedModel, dataset: &Dataset, go_on: &dyn Fn() -> bool) -> Result<Vec<Row>, Fault> {
    // A pass of its own for each sequence.
    let passes = evaluation_passes(dataset, 1, &Sft);
    let row = |pass| {
        let e = evaluate(&loaded.decoder, &Sft, std::slice::from_ref(pass), go_on)?.ok_or_else(cancelled)?;
        let tokens = e.tokens as f64;
        Ok(Row { loss: e.loss * tokens, right: e.accuracy * tokens, tokens })
    };
    passes.iter().filter(|p| p.target_tokens() > 0).map(row).collect()
}

fn cancelled() -> Fault {
    Fault::new("cancelled", "the comparison was broken off")
}

/// Prompts and wanted answers of the first rows: what stands before the first trained token, and the rest.
fn asked(dataset: &Dataset, tokenizer: &TextTokenizer, most: usize) -> Vec<(String, String)> {
    let cut = |e: &Example| {
        let parts = segments(e, tokenizer);
        let at = parts.iter().position(|p| p.trained)?;
        let text = |range: &[crate::data::Segment]| range.iter().map(|p| p.text.as_str()).collect::<String>();
        (at > 0).then(|| (text(&parts[..at]), text(&parts[at..])))
    };
    dataset.examples.iter().filter_map(cut).take(most).collect()
}

fn answer(loaded: &LoadedModel, asked: &[(String, String)], max_new_tokens: usize, go_on: &dyn Fn() -> bool) -> Result<Vec<String>, Fault> {
    let sampling = Sampling { max_new_tokens, temperature: 0.0, top_p: 1.0, seed: 0 };
    let say = |(prompt, _): &(String, String)| {
        if !go_on() {
            return Err(cancelled());
        }
        let input = Input::Prompt { text: prompt.clone(), raw: true };
        Ok(generate_with(loaded, &input, &sampling, &mut |_| {})?.text)
    };
    asked.iter().map(say).collect()
}

fn total(rows: &[Row], drawn: &[usize]) -> Row {
    drawn.iter().map(|i| rows[*i]).fold(Row::default(), |a, b| Row {
        loss: a.loss + b.loss,
        right: a.right + b.right,
        tokens: a.tokens + b.tokens,
    })
}

fn metric(name: &'static str, first: &[Row], second: &[Row], of: fn(&Row) -> f64) -> Metric {
    let all: Vec<usize> = (0..first.len()).collect();
    let pair = |drawn: &[usize]| [of(&total(first, drawn)), of(&total(second, drawn))];
    let mut random = Rng::for_parts(&[11, first.len() as u64]);
    let draws: Vec<[f64; 2]> =
        (0..DRAWS).map(|_| pair(&all.iter().map(|_| random.below(all.len() as u64) as usize).collect::<Vec<_>>())).collect();
    let figure = |value: f64, f: &dyn Fn(&[f64; 2]) -> f64| {
        let mut values: Vec<f64> = draws.iter().map(f).collect();
        values.sort_by(f64::total_cmp);
        Figure { value, low: values[DRAWS / 40], high: values[DRAWS - 1 - DRAWS / 40] }
    };
    let [a, b] = pair(&all);
    Metric { name, first: figure(a, &|d| d[0]), second: figure(b, &|d| d[1]), difference: figure(b - a, &|d| d[1] - d[0]) }
}
