//! Everything about one run in one report: how it stands, its whole curve, the end of its log, what it left.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::outcome::{Checkpoint, checkpoints};
use crate::base::error::Fault;
use crate::runs::{Manifest, RunFolder};

/// A curve in columns: the n-th of each belongs together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Curve {
    /// 1 or 2.
    pub stage: Vec<u64>,
    /// The last step of each point, which is the mean since the one before.
    pub step: Vec<u64>,
    /// Mean training loss.
    pub loss: Vec<f64>,
    /// At the last step.
    pub learning_rate: Vec<f64>,
    /// Mean, before clipping.
    pub grad_norm: Vec<f64>,
}

/// Evaluations on the validation rows, in columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Evaluations {
    /// 1 or 2.
    pub stage: Vec<u64>,
    /// After this step.
    pub step: Vec<u64>,
    /// The loss.
    pub loss: Vec<f64>,
}

/// What a run is and did.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Overview {
    /// All steps of all stages.
    pub curve: Curve,
    /// All evaluations of all stages.
    pub evaluations: Evaluations,
    /// Newest last.
    pub samples: Vec<Map<String, Value>>,
    /// The newest lines of its log.
    pub log: Vec<String>,
    /// Those that are kept, oldest first.
    pub checkpoints: Vec<Checkpoint>,
    /// As the manifest has them.
    pub exports: Vec<Map<String, Value>>,
    /// Figures on test rows, by file.
    pub test_figures: Map<String, Value>,
    /// Of the model, training, adapters.
    pub settings: Map<String, Value>,
}

/// A row of metrics.jsonl: a step, or an evaluation.
#[derive(Deserialize)]
struct Row {
    stage: u64,
    step: u64,
    loss: Option<f64>,
    learning_rate: Option<f64>,
    grad_norm: Option<f64>,
    eval_loss: Option<f64>,
}

/// A point that is being made: sums over steps.
#[derive(Default)]
struct Sum {
    stage: u64,
    step: u64,
    count: f64,
    loss: f64,
    norm: f64,
    rate: f64,
}

impl Curve {
    fn push(&mut self, sum: Sum) {
        if sum.count > 0.0 {
            self.stage.push(sum.stage);
            self.step.push(sum.step);
            self.loss.push(sum.loss / sum.count);
            self.grad_norm.push(sum.norm / sum.count);
            self.learning_rate.push(sum.rate);
        }
    }
}

/// Reads a run's folder. The curve has at most `points` points.
///
/// # Errors
/// When the manifest or metrics.jsonl cannot be read.
pub fn run(run: &RunFolder, points: usize, log_lines: usize) -> Result<Overview, Fault> {
    let manifest = Manifest::read(&run.manifest_path())?;
    let (curve, evaluations) = curve(run, &manifest, points)?;
    let samples = samples(run)?;
    let config = json!(manifest.config);
    let pick = |section: &str| (section.to_owned(), config[section].clone());
    Ok(Overview {
        curve,
        evaluations,
        samples,
        log: log(run, log_lines),
        checkpoints: checkpoints(run),
        exports: manifest.exports.iter().filter_map(|e| e.as_object().cloned()).collect(),
        test_figures: figures(run, manifest.config.training.num_stages),
        settings: ["base_model", "training", "lora", "dataset"].map(pick).into_iter().collect(),
    })
}

/// Samples that are shown.
const MOST_SAMPLES: usize = 40;

/// The newest answers to the sample prompts, oldest first.
///
/// # Errors
/// When metrics.jsonl cannot be read.
pub fn samples(run: &RunFolder) -> Result<Vec<Map<String, Value>>, Fault> {
    let path = run.path().join("metrics.jsonl");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Fault::io("read", &path, &e)),
    };
    let mut all = std::collections::VecDeque::new();
    for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
        crate::base::cancel::checkpoint();
        // Most rows have none, and need not be parsed: a row begins with its stage, its step and then these.
        if !line[..line.len().min(64)].windows(10).any(|w| w == b"\"samples\":") {
            continue;
        }
        let Ok(row) = serde_json::from_slice::<Value>(&line) else { continue };
        for sample in row["samples"].as_array().into_iter().flatten() {
            let fields = [("stage", &row["stage"]), ("step", &row["step"]), ("prompt", &sample["prompt"]), ("text", &sample["text"])];
            all.push_back(fields.map(|(name, value)| (name.to_owned(), value.clone())).into_iter().collect());
        }
        while all.len() > MOST_SAMPLES {
            all.pop_front();
        }
    }
    Ok(all.into())
}

fn curve(run: &RunFolder, manifest: &Manifest, points: usize) -> Result<(Curve, Evaluations), Fault> {
    let path = run.path().join("metrics.jsonl");
    let (mut curve, mut evaluations) = (Curve::default(), Evaluations::default());
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((curve, evaluations)),
        Err(e) => return Err(Fault::io("read", &path, &e)),
    };
    let training = &manifest.config.training;
    let second = if training.num_stages == 2 { training.stage2.iterations } else { 0 };
    // A point never spans two stages, so one is kept for the rest of each.
    let width = training.stage1.iterations.saturating_add(second).div_ceil(points.saturating_sub(1).max(1) as u64).max(1);
    let mut sum = Sum::default();
    for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
        crate::base::cancel::checkpoint();
        // What does not parse is no row: the last one may still be written.
        let Ok(row) = serde_json::from_slice::<Row>(&line) else { continue };
        if let Some(loss) = row.eval_loss {
            evaluations.stage.push(row.stage);
            evaluations.step.push(row.step);
            evaluations.loss.push(loss);
        }
        let Some(loss) = row.loss else { continue };
        if row.stage != sum.stage {
            curve.push(std::mem::take(&mut sum));
        }
        let rate = row.learning_rate.unwrap_or_default();
        let norm = sum.norm + row.grad_norm.unwrap_or_default();
        sum = Sum { stage: row.stage, step: row.step, count: sum.count + 1.0, loss: sum.loss + loss, norm, rate };
        if row.step.is_multiple_of(width) {
            curve.push(std::mem::take(&mut sum));
        }
    }
    curve.push(sum);
    thin(&mut evaluations, points);
    Ok((curve, evaluations))
}

/// At most so many evaluations, evenly spread, the last one among them.
fn thin(all: &mut Evaluations, points: usize) {
    let n = all.step.len();
    if n <= points.max(1) {
        return;
    }
    let every = n.div_ceil(points.max(1));
    let keep = |i: &usize| (n - 1 - i).is_multiple_of(every);
    let kept: Vec<usize> = (0..n).filter(keep).collect();
    let pick = |column: &[u64]| kept.iter().map(|i| column[*i]).collect();
    *all = Evaluations { stage: pick(&all.stage), step: pick(&all.step), loss: kept.iter().map(|i| all.loss[*i]).collect() };
}

fn log(run: &RunFolder, lines: usize) -> Vec<String> {
    let bytes = std::fs::read(run.path().join("training.log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|l| (*l).to_owned()).collect()
}

/// Figures on test rows: each file that an evaluation wrote, by its path in the run's folder.
pub fn figures(run: &RunFolder, stages: usize) -> Map<String, Value> {
    let files = |stage: usize| {
        let folder = run.stage(stage).join("evaluation");
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path())
    };
    let read = |path: PathBuf| {
        let value = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
        Some((run.relative(&path).display().to_string(), value))
    };
    (1..=stages).flat_map(files).filter_map(read).collect()
}
