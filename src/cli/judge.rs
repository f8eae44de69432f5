//! `tallow eval` with metrics, and `tallow compare`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::args::{ComputeDtype, FieldArgs, Quant};
use crate::app::score::{self, Contender, JudgeOptions, ScoreRequest, Scored, Written};
use crate::app::{load, outcome};
use crate::base::error::Fault;
use crate::data::DataOptions;
use crate::eval::Rubric;
use crate::eval::report::Report;
use crate::model::generate::BatchOptions;
use crate::model::{Quantization, Unknown};
use crate::runs;

/// Exit code of an evaluation that missed a threshold.
pub(super) const MISSED: u8 = 6;

/// How answers are judged.
#[derive(Debug, Clone, Args)]
pub struct JudgeArgs {
    /// Judge by this (repeatable): perplexity, accuracy, exact_match, bleu, chrf, rouge_1, rouge_2, rouge_l, numeric_match,
    /// json_valid, length, json_schema:FILE, regex:PATTERN, command:PROGRAM ARGS; tools (or tool_correct, tool_call and their
    /// like) for calls of tools; bfcl, with a file or folder of that leaderboard as --data. Several plain names may stand
    /// between commas.
    #[arg(long, value_name = "NAME")]
    pub metric: Vec<String>,
    /// Fail, with exit code 6, when a figure misses this (repeatable): METRIC>=NUMBER or METRIC<=NUMBER.
    #[arg(long, value_name = "LIMIT")]
    pub threshold: Vec<String>,
    /// A YAML file that weighs metrics into one score.
    #[arg(long, value_name = "FILE")]
    pub rubric: Option<PathBuf>,
    /// Also give figures by this field of the rows (repeatable; dotted for nested fields).
    #[arg(long, value_name = "FIELD")]
    pub by: Vec<String>,
    /// Most new tokens of an answer.
    #[arg(long, default_value_t = 256)]
    pub max_new_tokens: usize,
    /// Answers that are made together.
    #[arg(long, default_value_t = 32, value_name = "N")]
    pub batch: usize,
    /// Most memory for keys and values, in MiB.
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    pub cache_mib: u64,
    /// Rows that the report shows with all answers, the worst first.
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub worst: usize,
    /// Write report.json, report.md, report.html and answers.jsonl into this folder.
    #[arg(long, value_name = "FOLDER")]
    pub report: Option<PathBuf>,
}

/// `tallow compare`.
#[derive(Debug, Args)]
pub struct CompareModelsArgs {
    /// The first model: a folder, a GGUF file, a Hub id, `embedded`, or `run:NAME`.
    pub first: String,
    /// The second one.
    pub second: String,
    /// A PEFT adapter folder over the first.
    #[arg(long, value_name = "FOLDER")]
    pub first_adapter: Option<PathBuf>,
    /// A PEFT adapter folder over the second.
    #[arg(long, value_name = "FOLDER")]
    pub second_adapter: Option<PathBuf>,
    /// The project folder of runs.
    #[arg(long, default_value = ".")]
    pub project: PathBuf,
    /// Hold the weights of both as this.
    #[arg(long, value_enum)]
    pub quantization: Option<Quant>,
    /// Compute in this type.
    #[arg(long, value_enum)]
    pub dtype: Option<ComputeDtype>,
    /// The rows to compare on (JSONL, CSV, Parquet).
    #[arg(long)]
    pub data: PathBuf,
    /// How rows are read.
    #[command(flatten)]
    pub fields: FieldArgs,
    /// Use at most this many rows.
    #[arg(long)]
    pub max_rows: Option<usize>,
    /// How answers are judged; without a metric: perplexity, accuracy, exact_match, chrf and rouge_l.
    #[command(flatten)]
    pub judge: JudgeArgs,
}

/// What is printed: the report, and where it was written.
#[derive(Debug, Serialize)]
pub(super) struct Judgement {
    #[serde(flatten)]
    pub(super) report: Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) files: Option<Written>,
}

impl Judgement {
    /// 0, or [`MISSED`].
    pub(super) fn exit_code(&self) -> u8 {
        if self.report.passed == Some(false) { MISSED } else { 0 }
    }
}

impl JudgeArgs {
    /// The names given, or these; and likewise the thresholds.
    pub(super) fn options(&self, metrics: &[String], thresholds: &[String]) -> Result<JudgeOptions, Fault> {
        let given: Vec<String> = self.metric.iter().flat_map(|m| split(m)).collect();
        let or = |own: Vec<String>, else_: &[String]| if own.is_empty() { else_.to_vec() } else { own };
        let options = score::options_of(&or(given, metrics), &or(self.threshold.clone(), thresholds), Path::new("."))?;
        let rubric = self.rubric.as_deref().map(Rubric::read).transpose()?;
        if self.batch == 0 || self.cache_mib == 0 {
            return Err(Fault::new("usage", "--batch and --cache-mib must be at least 1"));
        }
        Ok(JudgeOptions {
            rubric,
            by: self.by.clone(),
            max_new_tokens: self.max_new_tokens,
            batch: BatchOptions { max_sequences: self.batch, cache_bytes: self.cache_mib << 20 },
            worst: self.worst,
            ..options
        })
    }

    /// Whether anything beyond losses is asked for.
    pub(super) fn is_asked(&self) -> bool {
        !self.metric.is_empty() || !self.threshold.is_empty() || self.rubric.is_some() || !self.by.is_empty() || self.report.is_some()
    }

    /// Judges, and writes the report where that is asked for.
    pub(super) fn judge(&self, request: &ScoreRequest) -> Result<Judgement, Fault> {
        let scored: Scored = score::run(request, &|| true)?;
        let files = self.report.as_deref().map(|folder| score::write(&scored, folder)).transpose()?;
        Ok(Judgement { report: scored.report, files })
    }
}

/// The leaderboard's files say themselves how they are read.
pub(super) fn check_fields(judge: &JudgeOptions, fields: &FieldArgs) -> Result<(), Fault> {
    if judge.is_leaderboard() && *fields != FieldArgs::default() {
        return Err(Fault::new("usage", "the metric `bfcl` reads the leaderboard's own files, without flags that say how rows are read"));
    }
    Ok(())
}

/// Names between commas; an argument after a colon may hold commas itself.
fn split(text: &str) -> Vec<String> {
    if text.contains(':') {
        return vec![text.to_owned()];
    }
    text.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

/// The request of `tallow compare`.
pub(super) fn comparison(a: &CompareModelsArgs, options: DataOptions) -> Result<ScoreRequest, Fault> {
    let side = |name: &str, adapter: &Option<PathBuf>| -> Result<Contender, Fault> {
        let mut model = match name.strip_prefix("run:") {
            Some(_) if adapter.is_some() => return Err(Fault::new("usage", format!("`{name}` brings its own adapter"))),
            Some(run) => outcome::of_run(&runs::find(&a.project, run)?, None)?.model,
            None => load::ModelRequest { adapter: adapter.clone(), unknown: Unknown::Refuse, ..load::ModelRequest::named(name) },
        };
        model.quantization = a.quantization.map_or(model.quantization, level);
        model.compute_dtype = a.dtype.map(super::run::compute_dtype).or(model.compute_dtype);
        let label = adapter.as_ref().map_or_else(|| name.to_owned(), |f| format!("{name} with {}", f.display()));
        Ok(Contender { label, model, asked_as: None })
    };
    let contenders = vec![side(&a.first, &a.first_adapter)?, side(&a.second, &a.second_adapter)?];
    let usual = ["perplexity", "accuracy", "exact_match", "chrf", "rouge_l"].map(str::to_owned);
    let judge = a.judge.options(&usual, &[])?;
    check_fields(&judge, &a.fields)?;
    Ok(ScoreRequest {
        title: format!("{} and {}", contenders[0].label, contenders[1].label),
        contenders,
        data: a.data.clone(),
        options,
        max_rows: a.max_rows,
        judge,
    })
}

/// A level of quantisation.
pub(super) fn level(q: Quant) -> Quantization {
    match q {
        Quant::None => Quantization::None,
        Quant::Nf4 => Quantization::Nf4,
        Quant::Q8 => Quantization::Q8,
    }
}

/// Levels from words between commas.
pub(super) fn levels(words: &[String]) -> Result<Vec<Quantization>, Fault> {
    let one = |w: &String| {
        Quant::from_str(w, true).map(level).map_err(|_| Fault::new("usage", format!("--levels: `{w}` is not none, q8 or nf4")))
    };
    words.iter().map(one).collect()
}
