//! What comes of a run: figures, comparisons, exports, text.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::{compare, eval, generate, load, merge, outcome};
use crate::base::error::Fault;
use crate::mcp::tool::{Call, Desk, Hints, Tool, Weight, within};
use crate::runs::RunFolder;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EvaluateIn {
    /// The project folder.
    project_path: String,
    /// The run; its result is evaluated, and the base beside it.
    run_id: String,
    /// The rows to evaluate on.
    test_dataset: String,
    /// Evaluate what this stage gave; left out: the final result.
    #[schemars(range(min = 1, max = 2))]
    stage: Option<u64>,
}

/// Figures on the test rows.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ResultsOut {
    /// Share of the trained tokens that the model predicts right.
    accuracy: f64,
    perplexity: f64,
    /// `loss`, `tokens`, and the same figures of the base as `base_*`.
    custom_metrics: Map<String, Value>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EvaluateOut {
    success: bool,
    run_id: String,
    stage: u64,
    evaluation_results: ResultsOut,
    /// Where they were written.
    results_file: String,
}

/// evaluate_model
pub(super) struct Evaluate;

impl Tool for Evaluate {
    const NAME: &'static str = "evaluate_model";
    const TITLE: &'static str = "Evaluate a run";
    const ABOUT: &'static str = "Loss, perplexity and token accuracy of a run's result on a file of rows, beside those of the base model. \
        The figures are also written into the run's folder.";
    const HINTS: Hints = Hints { idempotent: true, ..Hints::MAKE };
    const WEIGHT: Weight = Weight::Work;
    type In = EvaluateIn;
    type Out = EvaluateOut;

    fn call(input: EvaluateIn, desk: &Desk, call: &Call) -> Result<EvaluateOut, Fault> {
        let run = desk.roots.run(&input.project_path, &input.run_id)?;
        let data = desk.roots.allow(&input.test_dataset)?;
        let found = outcome::of_run(&run, input.stage.map(|s| s as usize))?;
        let options = outcome::data_options(&run)?;
        let request = eval::EvalRequest { model: found.model, data, options, max_rows: None, with_base: true };
        call.tell(0.0, None, "evaluating".into());
        let report = eval::run_while(&request, &|| call.go_on())?;
        let results_file = outcome::write_evaluation(&run, found.stage, &report)?;
        let figures = |prefix: &str, e: &crate::train::Evaluation| {
            [("loss", e.loss), ("perplexity", e.perplexity), ("accuracy", e.accuracy), ("tokens", e.tokens as f64)]
                .map(|(name, value)| (format!("{prefix}{name}"), json!(value)))
        };
        let custom_metrics = figures("", &report.result).into_iter().chain(report.base.iter().flat_map(|b| figures("base_", b))).collect();
        Ok(EvaluateOut {
            success: true,
            run_id: run.id(),
            stage: found.stage as u64,
            evaluation_results: ResultsOut { accuracy: report.result.accuracy, perplexity: report.result.perplexity, custom_metrics },
            results_file: results_file.display().to_string(),
        })
    }
}

/// One side of a comparison: a model, a run's result, or a checkpoint of a run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SideIn {
    /// A base model: folder, Hub id or `embedded`. Not with run_id.
    model: Option<String>,
    /// A run of the project: its final result.
    run_id: Option<String>,
    /// With run_id: this checkpoint instead, by its step.
    checkpoint_step: Option<u64>,
    /// With run_id: true for the base that the run started from.
    #[serde(default)]
    base: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompareIn {
    /// The project folder; needed where a run is named.
    project_path: Option<String>,
    /// The first.
    first: SideIn,
    /// The second.
    second: SideIn,
    /// The rows to compare on.
    test_dataset: String,
    /// At most this many rows. Default 200.
    #[schemars(range(min = 1, max = 10000))]
    max_rows: Option<u64>,
    /// Rows that both answer, greedily. Default 3.
    #[schemars(range(min = 0, max = 20))]
    samples: Option<u64>,
}

/// A figure with the middle 95 % of what resampled rows give.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FigureOut {
    value: f64,
    low: f64,
    high: f64,
}

/// A metric of both.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MetricOut {
    name: String,
    first: FigureOut,
    second: FigureOut,
    /// Second minus first.
    difference: FigureOut,
    /// Whether the interval of the difference leaves out zero.
    significant: bool,
}

/// A row answered by both.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SampleOut {
    prompt: String,
    wanted: String,
    first: String,
    second: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CompareOut {
    /// What the first is.
    first: String,
    /// What the second is.
    second: String,
    rows: u64,
    metrics: Vec<MetricOut>,
    samples: Vec<SampleOut>,
}

/// compare_models
pub(super) struct Compare;

fn side(desk: &Desk, project: Option<&String>, side: &SideIn) -> Result<(String, load::ModelRequest, Option<RunFolder>), Fault> {
    let bad = |m: &str| {
        Fault::new("invalid_arguments", m).hint("each side is {model}, {run_id}, {run_id, checkpoint_step} or {run_id, base: true}")
    };
    match (&side.model, &side.run_id) {
        (Some(name), None) => Ok((name.clone(), load::ModelRequest::named(&desk.roots.model(name)?), None)),
        (None, Some(id)) => {
            let run = desk.roots.run(project.ok_or_else(|| bad("project_path is missing"))?, id)?;
            let (label, model) = match (side.base, side.checkpoint_step) {
                (true, _) => (format!("base of {}", run.id()), outcome::base_of_run(&run)?),
                (_, Some(step)) => (format!("{} at step {step}", run.id()), outcome::of_checkpoint(&run, step)?),
                _ => (run.id(), outcome::of_run(&run, None)?.model),
            };
            Ok((label, model, Some(run)))
        }
        _ => Err(bad("a side must name a model or a run")),
    }
}

impl Tool for Compare {
    const NAME: &'static str = "compare_models";
    const TITLE: &'static str = "Compare two models";
    const ABOUT: &'static str = "Two of run, checkpoint and base on the same rows: loss, perplexity and accuracy with 95 % confidence \
        intervals (rows resampled together), and answers side by side.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const WEIGHT: Weight = Weight::Work;
    type In = CompareIn;
    type Out = CompareOut;

    fn call(input: CompareIn, desk: &Desk, call: &Call) -> Result<CompareOut, Fault> {
        let sides = [&input.first, &input.second].map(|s| side(desk, input.project_path.as_ref(), s));
        let [first, second] = sides;
        let (first, second) = (first?, second?);
        let options = match first.2.as_ref().or(second.2.as_ref()) {
            Some(run) => outcome::data_options(run)?,
            None => crate::data::DataOptions::default(),
        };
        let labels = [first.0.clone(), second.0.clone()];
        let request = compare::CompareRequest {
            models: [(first.0, first.1), (second.0, second.1)],
            data: desk.roots.allow(&input.test_dataset)?,
            options,
            max_rows: Some(within("max_rows", input.max_rows.unwrap_or(200), 1, 10_000)? as usize),
            samples: within("samples", input.samples.unwrap_or(3), 0, 20)? as usize,
            max_new_tokens: 128,
        };
        call.tell(0.0, None, "comparing".into());
        let report = compare::run(&request, &|| call.go_on())?;
        let figure = |f: compare::Figure| FigureOut { value: f.value, low: f.low, high: f.high };
        let metric = |m: compare::Metric| MetricOut {
            name: m.name.into(),
            significant: m.difference.low > 0.0 || m.difference.high < 0.0,
            first: figure(m.first),
            second: figure(m.second),
            difference: figure(m.difference),
        };
        let sample = |s: compare::Sample| SampleOut { prompt: s.prompt, wanted: s.wanted, first: s.first, second: s.second };
        let [first, second] = labels;
        Ok(CompareOut {
            first,
            second,
            rows: report.rows as u64,
            metrics: report.metrics.into_iter().map(metric).collect(),
            samples: report.samples.into_iter().map(sample).collect(),
        })
    }
}

/// What can be written: both are a folder for transformers, with merged weights, config and tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ExportName {
    Huggingface,
    Safetensors,
}

/// Type of merged weights.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ExportDtype {
    F32,
    F16,
    Bf16,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportIn {
    /// The project folder.
    project_path: String,
    /// The run.
    run_id: String,
    /// What this stage gave; left out: the final result.
    #[schemars(range(min = 1, max = 2))]
    stage: Option<u64>,
    /// Format of the export.
    export_format: ExportName,
    /// Where it goes; must not exist.
    export_path: String,
    /// true (default): adapter and base as one model. false: the adapter alone, as PEFT reads it.
    merge_adapters: Option<bool>,
    /// Type of merged weights; left out: the base's own.
    dtype: Option<ExportDtype>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ExportOut {
    success: bool,
    export_path: String,
    export_format: ExportName,
    /// Whether adapter and base were merged.
    merged: bool,
    model_size_mb: f64,
    usage_instructions: String,
}

/// export_model
pub(super) struct Export;

impl Tool for Export {
    const NAME: &'static str = "export_model";
    const TITLE: &'static str = "Export a run's result";
    const ABOUT: &'static str = "Write a run's result to a new folder: merged with its base as a transformers model in safetensors, or the \
        adapter alone in PEFT format. GGUF, MLX, Ollama and uploading are not in this version.";
    const HINTS: Hints = Hints::MAKE;
    const WEIGHT: Weight = Weight::Work;
    type In = ExportIn;
    type Out = ExportOut;

    fn call(input: ExportIn, desk: &Desk, _: &Call) -> Result<ExportOut, Fault> {
        use safetensors::Dtype;
        let run = desk.roots.run(&input.project_path, &input.run_id)?;
        let out: PathBuf = desk.roots.allow(&input.export_path)?;
        let found = outcome::of_run(&run, input.stage.map(|s| s as usize))?;
        let merged = input.merge_adapters.unwrap_or(true);
        let (bytes, usage) = match found.model.adapter {
            Some(adapter) if merged => {
                let dtype = input.dtype.map(|d| match d {
                    ExportDtype::F32 => Dtype::F32,
                    ExportDtype::F16 => Dtype::F16,
                    ExportDtype::Bf16 => Dtype::BF16,
                });
                let request =
                    merge::MergeRequest { model: found.model.model, revision: found.model.revision, adapter, out: out.clone(), dtype };
                (
                    merge::run(&request)?.bytes,
                    format!("tallow generate --model {} --prompt ... ; transformers loads the folder", out.display()),
                )
            }
            Some(adapter) => {
                let usage = format!(
                    "tallow generate --model {} --adapter {} --prompt ... ; peft loads the folder",
                    found.model.model,
                    out.display()
                );
                (outcome::copy_folder(&adapter, &out)?, usage)
            }
            // After full fine-tuning the result is a model already.
            None => (
                outcome::copy_folder(std::path::Path::new(&found.model.model), &out)?,
                format!("tallow generate --model {} --prompt ... ; transformers loads the folder", out.display()),
            ),
        };
        Ok(ExportOut {
            success: true,
            export_path: out.display().to_string(),
            export_format: input.export_format,
            merged,
            model_size_mb: bytes as f64 / 1e6,
            usage_instructions: usage,
        })
    }
}

/// A chat message.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageIn {
    /// system, user or assistant.
    role: String,
    content: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GenerateIn {
    /// Folder, Hub id or `embedded`. This, or project_path and run_id.
    model: Option<String>,
    /// A PEFT adapter folder over the model.
    adapter: Option<String>,
    /// The project folder of run_id.
    project_path: Option<String>,
    /// A run: its final result.
    run_id: Option<String>,
    /// The prompt. With a chat template it becomes a user message. This, or messages.
    prompt: Option<String>,
    /// Chat messages.
    messages: Option<Vec<MessageIn>>,
    /// Default 256.
    #[schemars(range(min = 1, max = 8192))]
    max_new_tokens: Option<u64>,
    /// 0 takes the likeliest token each time. Default 0.7.
    #[schemars(range(min = 0))]
    temperature: Option<f64>,
    /// Sample from the smallest set of tokens with this much probability. Default 0.9.
    top_p: Option<f64>,
    /// Seed of the sampling. Default 42.
    seed: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct GenerateOut {
    text: String,
    prompt_tokens: u64,
    tokens: u64,
    tokens_per_second: f64,
    /// stop_token or max_new_tokens.
    stop_reason: String,
}

/// generate_text
pub(super) struct Generate;

/// Longest prompt, in bytes.
const MOST_PROMPT_BYTES: usize = 1 << 20;

fn prompt(input: &GenerateIn) -> Result<generate::Input, Fault> {
    match (&input.prompt, &input.messages) {
        (Some(text), None) => {
            within("prompt (its length)", text.len(), 1, MOST_PROMPT_BYTES)?;
            Ok(generate::Input::Prompt { text: text.clone(), raw: false })
        }
        (None, Some(messages)) => {
            within("messages (their number)", messages.len(), 1, 1000)?;
            within("messages (their length)", messages.iter().map(|m| m.content.len()).sum(), 0, MOST_PROMPT_BYTES)?;
            Ok(generate::Input::Messages { messages: json!(messages), tools: Value::Null })
        }
        _ => Err(Fault::new("invalid_arguments", "give either `prompt` or `messages`")),
    }
}

impl Tool for Generate {
    const NAME: &'static str = "generate_text";
    const TITLE: &'static str = "Generate text";
    const ABOUT: &'static str = "Let a model, or a run's result, answer a prompt or chat messages.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const WEIGHT: Weight = Weight::Work;
    type In = GenerateIn;
    type Out = GenerateOut;

    fn call(input: GenerateIn, desk: &Desk, call: &Call) -> Result<GenerateOut, Fault> {
        let text = prompt(&input)?;
        let model = match (&input.model, &input.run_id, &input.project_path) {
            (Some(name), None, None) => {
                let adapter = input.adapter.as_ref().map(|a| desk.roots.allow(a)).transpose()?;
                load::ModelRequest { adapter, ..load::ModelRequest::named(&desk.roots.model(name)?) }
            }
            (None, Some(run), Some(project)) if input.adapter.is_none() => outcome::of_run(&desk.roots.run(project, run)?, None)?.model,
            _ => return Err(Fault::new("invalid_arguments", "give either `model`, or `project_path` and `run_id`")),
        };
        let sampling = generate::Sampling {
            max_new_tokens: within("max_new_tokens", input.max_new_tokens.unwrap_or(256), 1, 8192)? as usize,
            temperature: within("temperature", input.temperature.unwrap_or(0.7), 0.0, 100.0)?,
            top_p: within("top_p", input.top_p.unwrap_or(0.9), f64::MIN_POSITIVE, 1.0)?,
            seed: input.seed.unwrap_or(42),
        };
        let most = sampling.max_new_tokens as f64;
        let mut made = 0.0;
        let mut go_on = || {
            made += 1.0;
            call.tell(made, Some(most), "tokens".into());
            call.go_on()
        };
        let report = generate::run_while(&generate::GenerateRequest { model, input: text, sampling }, &mut go_on)?;
        if report.stop_reason == "cancelled" {
            return Err(Fault::new("cancelled", "the call was cancelled"));
        }
        Ok(GenerateOut {
            text: report.text,
            prompt_tokens: report.prompt_tokens as u64,
            tokens: report.tokens as u64,
            tokens_per_second: report.tokens_per_second,
            stop_reason: report.stop_reason.into(),
        })
    }
}
