//! One model: its losses and its answers, and what the metrics make of them.

use super::super::load::{check_vocabulary, stop_ids, tokenizer_for};
use super::super::models;
use super::{Contender, Labels, ScoreRequest};
use crate::base::error::Fault;
use crate::base::progress;
use crate::data::{Dataset, Example, IGNORED, PackedBatch, TextTokenizer, read, settle_template};
use crate::eval::report::Cost;
use crate::eval::{Case, Metric, Table};
use crate::model::Decoder;
use crate::model::generate::{Generator, SamplingOptions};
use crate::train::{Sft, evaluate, evaluation_passes};

/// A row as a model is asked it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Its number among the rows judged, from 1.
    pub(super) number: usize,
    /// Its line in the file.
    pub(super) line: u64,
    /// The text before the last answer.
    pub(super) prompt: String,
    /// The last answer.
    pub(super) wanted: String,
    ids: Vec<u32>,
}

/// What a model did.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) quantization: String,
    pub(super) rows: Vec<Asked>,
    /// Rows without a prompt, which are not judged.
    pub(super) without_prompt: usize,
    /// One for each metric.
    pub(super) tables: Vec<Table>,
    /// One for each criterion of the rubric.
    pub(super) rubric: Vec<Table>,
    /// One for each row, or none.
    pub(super) answers: Vec<String>,
    pub(super) cost: Cost,
}

impl Judged {
    /// The lines of the rows judged.
    pub(super) fn lines(&self) -> Vec<u64> {
        self.rows.iter().map(|r| r.line).collect()
    }
}

/// Loads a model and judges it.
pub(super) fn judge(request: &ScoreRequest, contender: &Contender, labels: &Labels, go_on: &dyn Fn() -> bool) -> Result<Judged, Fault> {
    let m = &contender.model;
    let folder = models::resolve(&m.model, m.revision.as_deref())?;
    let asked_as = contender.asked_as.as_deref().or(m.adapter.as_deref());
    let mut tokenizer = tokenizer_for(&folder, asked_as)?;
    let mut set = read(&[&request.data], &request.options)?;
    if let Some(most) = request.max_rows {
        set.records.truncate(most);
    }
    settle_template(&mut tokenizer, None, &request.options.template_variables, &[&set])?;
    let dataset = Dataset::encode(&set, &tokenizer, &request.options)?;
    let mut decoder = Decoder::load(&folder, &m.options())?;
    check_vocabulary(&tokenizer, &decoder)?;
    if let Some(adapter) = &m.adapter {
        decoder.load_adapter(adapter)?;
    }
    let judge = &request.judge;
    let needs_answers = judge.needs_answers();
    let (mut rows, mut examples) = (Vec::new(), Vec::new());
    for (i, e) in dataset.examples.iter().enumerate() {
        let row = asked(i + 1, e, &tokenizer)?;
        if needs_answers && row.ids.is_empty() {
            continue;
        }
        rows.push(row);
        examples.push(e);
    }
    if rows.is_empty() {
        let message = format!("{}: no row has a prompt before its answer", request.data.display());
        return Err(Fault::new("no_prompts", message).hint("judge answers on rows with a question and an answer; plain text has neither"));
    }
    let without_prompt = dataset.examples.len() - rows.len();
    let mut cost = Cost { weight_bytes: decoder.weight_bytes(), ..Cost::default() };
    let answers = if needs_answers { answer(request, &decoder, &tokenizer, &folder, &rows, &mut cost, go_on)? } else { Vec::new() };
    let losses = if judge.metrics.iter().all(Metric::needs_answers) { Vec::new() } else { losses(&decoder, &examples, go_on)? };
    let null = serde_json::Value::Null;
    let case = |(row, answer): (&'_ Asked, &'_ String)| (row.line, answer.clone(), row.prompt.clone(), row.wanted.clone());
    let texts: Vec<_> = rows.iter().zip(&answers).map(case).collect();
    let cases: Vec<Case> = texts
        .iter()
        .map(|(line, answer, prompt, wanted)| Case { prompt, answer, wanted, row: labels.get(line).unwrap_or(&null) })
        .collect();
    let table = |m: &Metric| match m {
        Metric::Perplexity => Ok(Table { metric: m.clone(), rows: losses.iter().map(|l| vec![l.loss, l.tokens]).collect() }),
        Metric::TokenAccuracy => Ok(Table { metric: m.clone(), rows: losses.iter().map(|l| vec![l.right, l.tokens]).collect() }),
        other => Table::of(other, &cases),
    };
    let tables = judge.metrics.iter().map(table).collect::<Result<_, _>>()?;
    let rubric = judge.rubric.iter().flat_map(|r| &r.criteria).map(|c| table(&c.metric)).collect::<Result<_, _>>()?;
    let quantization = decoder.quantization().name().to_owned();
    Ok(Judged { quantization, rows, without_prompt, tables, rubric, answers, cost })
}

/// Cuts a row before its last answer. Without one, or with nothing before it, there are no ids.
fn asked(number: usize, e: &Example, tokenizer: &TextTokenizer) -> Result<Asked, Fault> {
    let trained = |i: usize| e.labels[i] != IGNORED;
    let end = (0..e.len()).rev().find(|i| trained(*i)).map_or(0, |i| i + 1);
    let begin = (0..end).rev().find(|i| !trained(*i)).map_or(0, |i| i + 1);
    let text = |ids: &[u32], bare: bool| Ok::<_, Fault>(tokenizer.decode(ids, bare)?);
    Ok(Asked {
        number,
        line: e.source.line,
        prompt: text(&e.input_ids[..begin], false)?,
        wanted: text(&e.input_ids[begin..end], true)?,
        ids: e.input_ids[..begin].to_vec(),
    })
}

fn answer(
    request: &ScoreRequest,
    decoder: &Decoder,
    tokenizer: &TextTokenizer,
    folder: &std::path::Path,
    rows: &[Asked],
    cost: &mut Cost,
    go_on: &dyn Fn() -> bool,
) -> Result<Vec<String>, Fault> {
    let context = decoder.spec().max_positions;
    if let Some(long) = rows.iter().find(|r| r.ids.len() >= context) {
        let message =
            format!("{}:{}: the prompt has {} tokens, the model's context {context}", request.data.display(), long.line, long.ids.len());
        return Err(Fault::new("prompt_too_long", message).hint("take long rows out, or use a model with a longer context"));
    }
    let judge = &request.judge;
    let options = SamplingOptions { max_new_tokens: judge.max_new_tokens, stop: stop_ids(tokenizer, folder), ..Default::default() };
    let prompts: Vec<Vec<u32>> = rows.iter().map(|r| r.ids.clone()).collect();
    let total = prompts.len() as u64;
    let mut asked_to_end = false;
    let out = Generator::new(decoder).run_batch(&prompts, &options, &judge.batch, &mut |done| {
        progress::report("answering", "rows", done as u64, total);
        asked_to_end = !go_on();
        !asked_to_end
    })?;
    if asked_to_end {
        return Err(cancelled());
    }
    progress::report("answering", "rows", total, total);
    let f = out.figures;
    cost.cache_bytes = f.peak_cache_bytes;
    cost.answer_seconds = f.seconds;
    cost.new_tokens = f.new_tokens;
    cost.tokens_per_second = if f.seconds > 0.0 { f.new_tokens as f64 / f.seconds } else { 0.0 };
    out.answers.iter().map(|a| Ok(tokenizer.decode(&a.tokens, true)?)).collect()
}

/// Summed loss, right tokens and tokens of a row.
#[derive(Debug, Clone, Copy, Default)]
struct Loss {
    loss: f64,
    right: f64,
    tokens: f64,
}

fn losses(decoder: &Decoder, examples: &[&Example], go_on: &dyn Fn() -> bool) -> Result<Vec<Loss>, Fault> {
    let total = examples.len() as u64;
    let one = |(i, e): (usize, &&Example)| {
        progress::report("evaluating", "rows", i as u64, total);
        let alone = Dataset { examples: vec![(*e).clone()], ..Dataset::default() };
        let passes: Vec<PackedBatch> = evaluation_passes(&alone, 1, &Sft);
        let e = evaluate(decoder, &Sft, &passes, go_on)?.ok_or_else(cancelled)?;
        let tokens = e.tokens as f64;
        Ok(Loss { loss: e.loss * tokens, right: e.accuracy * tokens, tokens })
    };
    examples.iter().enumerate().map(one).collect()
}

fn cancelled() -> Fault {
    Fault::new("cancelled", "the evaluation was broken off")
}
