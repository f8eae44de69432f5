//! The whole way on the embedded model: rows, training, base against tuned on rows that were never trained.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::generate::{Input, Sampling, generate_with};
use super::load::{LoadedModel, ModelRequest, load};
use super::recipe::{Part, demo_rows, is_right};
use super::train::{TrainReport, TrainRequest, run as train};
use crate::base::atomic::write_file;
use crate::base::cancel::Cancel;
use crate::base::error::Fault;
use crate::train::{Event, Observer};

/// Rows that are trained.
const TRAIN_ROWS: usize = 600;
/// Rows that are watched, and rows that are judged by.
const HELD_OUT_ROWS: usize = 60;
/// Rows that both models answer.
const ANSWERED_ROWS: usize = 40;
/// Seed of the rows.
const SEED: u64 = 7;

const CONFIG: &str = "\
project: {name: tallow-demo, description: teach the embedded model to turn requests into tool calls}
base_model: {model_id: embedded}
training:
  method: lora
  stage1: {iterations: 120, learning_rate: 5.0e-3, batch_size: 4, warmup_steps: 10}
  max_seq_length: 256
  schedule: cosine
  save_steps: 40
  eval_steps: 40
lora: {rank: 16, alpha: 32, dropout: 0.0, target_modules: all-linear}
dataset: {train_path: data/train.jsonl, validation_path: data/validation.jsonl, test_path: data/test.jsonl}
";

/// One row answered by both models.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// What was asked.
    pub prompt: String,
    /// What the row says.
    pub wanted: String,
    /// What the base says.
    pub base: String,
    /// What the tuned model says.
    pub tuned: String,
    /// Whether the base is right.
    pub base_right: bool,
    /// Whether the tuned model is right.
    pub tuned_right: bool,
}

/// What the demo gave.
#[derive(Debug, Clone, Serialize)]
pub struct DemoReport {
    /// The project folder.
    pub project: PathBuf,
    /// The run.
    pub train: TrainReport,
    /// Rows that both models answered; none of them was trained.
    pub answered: usize,
    /// Right answers of the base.
    pub base_right: usize,
    /// Right answers of the tuned model.
    pub tuned_right: usize,
    /// All of them.
    pub answers: Vec<Answer>,
}

/// Writes rows and configuration into `out`, trains, and lets both models answer held-out requests.
///
/// # Errors
/// When the folder cannot be written, or training fails.
pub fn run(out: &Path, stop: Cancel, observer: &mut dyn Observer) -> Result<DemoReport, Fault> {
    let held_out = demo_rows(SEED, Part::HeldOut, 2 * HELD_OUT_ROWS);
    let (validation, test) = held_out.split_at(HELD_OUT_ROWS);
    for (name, rows) in [("train", demo_rows(SEED, Part::Train, TRAIN_ROWS).as_slice()), ("validation", validation), ("test", test)] {
        write_rows(&out.join("data").join(format!("{name}.jsonl")), rows)?;
    }
    write_file(&out.join("config/fine_tuning_config.yaml"), CONFIG.as_bytes())?;
    let report = train(&TrainRequest { name: "demo".into(), stop, ..TrainRequest::new(Some(out.to_path_buf())) }, observer)?;
    let Some(adapter) = report.model.clone() else {
        return Ok(DemoReport {
            project: out.to_path_buf(),
            train: report,
            answered: 0,
            base_right: 0,
            tuned_right: 0,
            answers: Vec::new(),
        });
    };
    observer.event(&Event::doing("letting both models answer held-out requests"));
    let base = load(&ModelRequest::named(super::models::EMBEDDED))?;
    let tuned = load(&ModelRequest { adapter: Some(adapter), ..ModelRequest::named(super::models::EMBEDDED) })?;
    let answers = test.iter().take(ANSWERED_ROWS).map(|row| answer(row, &base, &tuned)).collect::<Result<Vec<_>, _>>()?;
    let right = |f: fn(&Answer) -> bool| answers.iter().filter(|a| f(a)).count();
    let (base_right, tuned_right) = (right(|a| a.base_right), right(|a| a.tuned_right));
    Ok(DemoReport { project: out.to_path_buf(), train: report, answered: answers.len(), base_right, tuned_right, answers })
}

fn write_rows(path: &Path, rows: &[Value]) -> Result<(), Fault> {
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    write_file(path, text.as_bytes())
}

fn answer(row: &Value, base: &LoadedModel, tuned: &LoadedModel) -> Result<Answer, Fault> {
    let content = |i: usize| row["messages"][i]["content"].as_str().unwrap_or_default().to_owned();
    let (prompt, wanted) = (content(0), content(1));
    let sampling = Sampling { max_new_tokens: 64, temperature: 0.0, top_p: 1.0, seed: 0 };
    let say = |model: &LoadedModel| {
        let input = Input::Prompt { text: prompt.clone(), raw: false };
        generate_with(model, &input, &sampling, &mut |_| {}).map(|g| g.text.trim().to_owned())
    };
    let (base, tuned) = (say(base)?, say(tuned)?);
    Ok(Answer { base_right: is_right(&base, &wanted), tuned_right: is_right(&tuned, &wanted), prompt, wanted, base, tuned })
}
