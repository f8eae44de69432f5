//! One model: its losses and its answers, and what the metrics make of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::super::load::{check_vocabulary, stop_ids, tokenizer_for};
use super::super::models;
use super::turns::{Asked, Reading, Turn, check_form};
use super::{Contender, Labels, ScoreRequest};
use crate::base::error::Fault;
use crate::base::progress;
use crate::data::calls::parse;
use crate::data::{Dataset, Example, PackedBatch, Record, TextTokenizer, read, settle_template};
use crate::eval::report::Cost;
use crate::eval::tools::{ToolAnswers, ToolTurn};
use crate::eval::{Case, Metric, Table};
use crate::model::Decoder;
use crate::model::generate::{Generator, SamplingOptions};
use crate::train::{Sft, evaluate, evaluation_passes};

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
    /// For each row one text a turn, or none at all.
    pub(super) answers: Vec<Vec<String>>,
    /// For each row the name of what is wrong with it, empty where nothing is; or none at all.
    pub(super) faults: Vec<String>,
    pub(super) cost: Cost,
}

impl Judged {
    /// The lines of the rows judged.
    pub(super) fn lines(&self) -> Vec<u64> {
        self.rows.iter().map(|r| r.line).collect()
    }
}

/// A model that is asked.
pub(super) struct Loaded {
    pub(super) decoder: Decoder,
    pub(super) stop: Vec<u32>,
    pub(super) cost: Cost,
}

/// The folder of a contender's model and the tokenizer that it is asked with.
pub(super) fn open(contender: &Contender) -> Result<(PathBuf, TextTokenizer), Fault> {
    let m = &contender.model;
    let folder = models::resolve(&m.model, m.revision.as_deref())?;
    let tokenizer = tokenizer_for(&folder, contender.asked_as.as_deref().or(m.adapter.as_deref()))?;
    Ok((folder, tokenizer))
}

/// Loads a contender's weights.
pub(super) fn load(contender: &Contender, folder: &Path, tokenizer: &TextTokenizer) -> Result<Loaded, Fault> {
    let mut decoder = Decoder::load(folder, &contender.model.options())?;
    check_vocabulary(tokenizer, &decoder)?;
    if let Some(adapter) = &contender.model.adapter {
        decoder.load_adapter(adapter)?;
    }
    let cost = Cost { weight_bytes: decoder.weight_bytes(), ..Cost::default() };
    Ok(Loaded { decoder, stop: stop_ids(tokenizer, folder), cost })
}

/// Loads a model and judges it.
pub(super) fn judge(request: &ScoreRequest, contender: &Contender, labels: &Labels, go_on: &dyn Fn() -> bool) -> Result<Judged, Fault> {
    let (folder, mut tokenizer) = open(contender)?;
    let mut set = read(&[&request.data], &request.options)?;
    if let Some(most) = request.max_rows {
        set.records.truncate(most);
    }
    settle_template(&mut tokenizer, None, &request.options.template_variables, &[&set])?;
    let dataset = Dataset::encode(&set, &tokenizer, &request.options)?;
    let mut loaded = load(contender, &folder, &tokenizer)?;
    let judge = &request.judge;
    let (needs_answers, calls) = (judge.needs_answers(), judge.needs_turns());
    let records: HashMap<u64, &Record> = set.records.iter().map(|r| (r.at.line, r)).collect();
    let stop = loaded.stop.clone();
    let reading = Reading { tokenizer: &tokenizer, calls, stop: &stop, data: &request.data };
    let (mut rows, mut examples) = (Vec::new(), Vec::new());
    for (i, e) in dataset.examples.iter().enumerate() {
        let row = reading.row(i + 1, e, records.get(&e.source.line).copied())?;
        if needs_answers && row.turns.is_empty() {
            continue;
        }
        rows.push(row);
        examples.push(e);
    }
    if rows.is_empty() {
        let message = format!("{}: no row has a prompt before its answer", request.data.display());
        return Err(Fault::new("no_prompts", message).hint("judge answers on rows with a question and an answer; plain text has neither"));
    }
    if calls {
        check_form(&rows, &set.records, &request.data)?;
    }
    let without_prompt = dataset.examples.len() - rows.len();
    let answers = if needs_answers { answer(request, &mut loaded, &reading, &rows, go_on)? } else { Vec::new() };
    let losses = if judge.metrics.iter().all(Metric::needs_answers) { Vec::new() } else { losses(&loaded.decoder, &examples, go_on)? };
    let null = serde_json::Value::Null;
    let turns: Vec<ToolAnswers> = if calls { rows.iter().zip(&answers).map(tool_answers).collect() } else { Vec::new() };
    let cases: Vec<Case> = rows
        .iter()
        .zip(&answers)
        .enumerate()
        .filter_map(|(i, (row, answers))| {
            let (answer, turn) = (answers.last()?, row.turns.last()?);
            let label = labels.get(&row.line).unwrap_or(&null);
            Some(Case { prompt: &turn.prompt, answer, wanted: &turn.wanted, row: label, tools: turns.get(i) })
        })
        .collect();
    let table = |m: &Metric| match m {
        Metric::Perplexity => Ok(Table { metric: m.clone(), rows: losses.iter().map(|l| vec![l.loss, l.tokens]).collect() }),
        Metric::TokenAccuracy => Ok(Table { metric: m.clone(), rows: losses.iter().map(|l| vec![l.right, l.tokens]).collect() }),
        other => Table::of(other, &cases),
    };
    let tables = judge.metrics.iter().map(table).collect::<Result<_, _>>()?;
    let rubric = judge.rubric.iter().flat_map(|r| &r.criteria).map(|c| table(&c.metric)).collect::<Result<_, _>>()?;
    let quantization = loaded.decoder.quantization().name().to_owned();
    Ok(Judged { quantization, rows, without_prompt, tables, rubric, answers, faults: Vec::new(), cost: loaded.cost })
}

/// What the metrics of tool calls read of a row.
fn tool_answers((row, answers): (&Asked, &Vec<String>)) -> ToolAnswers {
    let turn = |(turn, answer): (&Turn, &String)| ToolTurn { answer: parse(answer), expected: turn.expected.clone() };
    ToolAnswers { turns: row.turns.iter().zip(answers).map(turn).collect(), tools: row.tools.clone() }
}

/// Answers every turn of the rows, many at once.
pub(super) fn answer(
    request: &ScoreRequest,
    loaded: &mut Loaded,
    reading: &Reading,
    rows: &[Asked],
    go_on: &dyn Fn() -> bool,
) -> Result<Vec<Vec<String>>, Fault> {
    let context = loaded.decoder.spec().max_positions;
    for row in rows {
        if let Some(long) = row.turns.iter().find(|t| t.ids.len() >= context) {
            let message =
                format!("{}:{}: the prompt has {} tokens, the model's context {context}", request.data.display(), row.line, long.ids.len());
            return Err(Fault::new("prompt_too_long", message).hint("take long rows out, or use a model with a longer context"));
        }
    }
    let judge = &request.judge;
    let options = SamplingOptions { max_new_tokens: judge.max_new_tokens, stop: loaded.stop.clone(), ..Default::default() };
    let prompts: Vec<Vec<u32>> = rows.iter().flat_map(|r| &r.turns).map(|t| t.ids.clone()).collect();
    let total = prompts.len() as u64;
    let mut asked_to_end = false;
    let out = Generator::new(&loaded.decoder).run_batch(&prompts, &options, &judge.batch, &mut |done| {
        progress::report("answering", "turns", done as u64, total);
        asked_to_end = !go_on();
        !asked_to_end
    })?;
    if asked_to_end {
        return Err(cancelled());
    }
    progress::report("answering", "turns", total, total);
    let f = out.figures;
    let cost = &mut loaded.cost;
    cost.cache_bytes = f.peak_cache_bytes;
    cost.answer_seconds = f.seconds;
    cost.new_tokens = f.new_tokens;
    cost.tokens_per_second = if f.seconds > 0.0 { f.new_tokens as f64 / f.seconds } else { 0.0 };
    let mut texts = out.answers.iter().map(|a| reading.answer(&a.tokens));
    rows.iter().map(|r| texts.by_ref().take(r.turns.len()).collect()).collect()
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
