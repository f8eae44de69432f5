//! Every key there is: its kind, its default, its documentation. Nothing else in the program lists keys.

use serde::Serialize;
use serde_json::Value;

use super::kind::Kind::{
    self, AutoBool, AutoInt, Bool, Device, Float, Int, Limit, OneOf, Path, Positive, Template, Text, Texts, Words, WordsOf,
};

/// One key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// Dotted.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    /// JSON text; `null` for a key that may stay unset.
    pub(super) default: &'static str,
    pub(super) doc: &'static str,
    pub(super) effect: Effect,
}

/// What a key does. A test holds each key to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// The program acts on it.
    Acts,
    /// It only stands in the run's manifest and model card.
    Recorded,
    /// Nothing yet; whoever sets it is told why.
    None(&'static str),
}

const fn key(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { path, kind, default, doc, effect: Effect::Acts }
}

impl Key {
    /// A key that only describes the run.
    const fn recorded(self) -> Self {
        Self { effect: Effect::Recorded, ..self }
    }

    /// A key that is accepted and has no effect in this version.
    const fn without_effect(self, why: &'static str) -> Self {
        Self { effect: Effect::None(why), ..self }
    }
}

/// Metrics that a configuration can name.
const METRICS: &[&str] = &[
    "perplexity",
    "accuracy",
    "exact_match",
    "bleu",
    "chrf",
    "rouge_1",
    "rouge_2",
    "rouge_l",
    "numeric_match",
    "json_valid",
    "length",
    "tools",
    "tool_correct",
    "tool_call",
    "tool_task",
    "tool_format",
    "tool_selection",
    "tool_arguments",
    "tool_missing",
    "tool_extra",
    "tool_wrong_type",
    "tool_wrong_value",
    "tool_abstention",
    "tool_order",
];

/// Steps that a run can have.
const MOST_STEPS: u64 = 1_000_000_000;
const STEPS: Kind = Int(0, MOST_STEPS);
const ITERATIONS: Kind = Int(1, MOST_STEPS);
const ROWS: Kind = Int(1, 65_536);
const RATE: Kind = Positive(10.0);
const SHARE: Kind = Float(0.0, 1.0);

/// All keys, section by section.
pub(super) const KEYS: &[Key] = &[
    key("project.name", Text, "\"tallow\"", "Name of the project.").recorded(),
    key("project.description", Text, "\"\"", "A sentence about it.").recorded(),
    key("project.version", Text, "\"0.1.0\"", "Its version.").recorded(),
    key(
        "base_model.type",
        OneOf(&["olmo", "llama", "mistral", "qwen", "gemma", "phi", "smollm", "granite", "custom"], &[]),
        "null",
        "Family the base must be of; unset: whatever config.json says.",
    ),
    key("base_model.model_id", Text, "null", "Hugging Face Hub id, or `embedded` for the model inside the program."),
    key("base_model.revision", Text, "\"main\"", "Branch, tag or commit on the Hub."),
    key("base_model.local_path", Path, "null", "Folder of the base model; goes before `model_id`."),
    key(
        "base_model.quantization",
        OneOf(&["none", "nf4", "q8"], &[("q4", "nf4")]),
        "\"none\"",
        "How the frozen base is held; `q4` means nf4.",
    ),
    key(
        "training.method",
        OneOf(&["lora", "full"], &[("qlora", "lora")]),
        "\"lora\"",
        "Train an adapter, or every weight. QLoRA is `lora` over a quantised base.",
    ),
    key("training.objective", OneOf(&["sft", "dpo"], &[]), "\"sft\"", "Supervised fine-tuning, or preference pairs."),
    key("training.num_stages", Int(1, 2), "1", "One stage, or two in a row."),
    key("training.stage1.iterations", ITERATIONS, "100", "Optimiser steps."),
    key("training.stage1.num_epochs", Positive(1e6), "null", "Passes over the rows, instead of `iterations`; the later one said counts."),
    key("training.stage1.learning_rate", RATE, "2e-4", "Peak learning rate."),
    key(
        "training.stage1.batch_size",
        AutoInt(1, 65_536),
        "4",
        "Rows in a batch; with packing a row holds `max_seq_length` tokens. `auto`: the most that one pass has room for.",
    ),
    key("training.stage1.warmup_steps", STEPS, "10", "Steps over which the learning rate rises."),
    key("training.stage2.iterations", ITERATIONS, "150", "As stage 1."),
    key("training.stage2.num_epochs", Positive(1e6), "null", "As stage 1."),
    key("training.stage2.learning_rate", RATE, "1e-4", "As stage 1."),
    key("training.stage2.batch_size", AutoInt(1, 65_536), "4", "As stage 1."),
    key("training.stage2.warmup_steps", STEPS, "0", "As stage 1."),
    key(
        "training.stage2.replay_ratio",
        SHARE,
        "0.15",
        "Share of replayed stage 1 rows in what stage 2 trains, against forgetting; below 1.",
    ),
    key(
        "training.quality_weight_multiplier",
        Float(0.0, 100.0),
        "2.5",
        "How much more often a row of high quality is seen (needs `dataset.quality_field`).",
    ),
    key(
        "training.global_batch_size",
        ROWS,
        "null",
        "Rows an optimiser step under `batch_size: auto`, which accumulates what does not fit at once; unset: 16.",
    ),
    key("training.gradient_accumulation", ROWS, "1", "Batches in one optimiser step, weighted by their tokens: equal to one big batch."),
    key("training.max_seq_length", Int(2, 1 << 24), "2048", "Longest row in tokens."),
    key("training.packing", Bool, "true", "Put several sequences into a row. They never see each other."),
    key(
        "training.order",
        OneOf(&["shuffled", "length", "quality"], &[]),
        "\"shuffled\"",
        "Order of an epoch's sequences: drawn anew, short ones first, or those of high quality last (a curriculum).",
    ),
    key("training.schedule", OneOf(&["constant", "linear", "cosine"], &[]), "\"cosine\"", "Learning rate after warm-up."),
    key("training.optimizer", OneOf(&["adamw", "adamw8bit"], &[]), "\"adamw\"", "AdamW with 32-bit or 8-bit moments."),
    key("training.weight_decay", Float(0.0, 1e3), "0.01", "Decoupled decay of matrices (never of norms and biases)."),
    key("training.max_grad_norm", Limit(1e9), "1.0", "Gradients are scaled down to this norm; 0 or .inf: left as they are."),
    key("training.save_steps", STEPS, "50", "A checkpoint every so many steps; 0: only at the end."),
    key("training.keep_checkpoints", STEPS, "3", "Newest checkpoints kept, beside the best; 0: all."),
    key("training.eval_steps", STEPS, "25", "An evaluation on the validation rows every so many steps; 0: only at the end."),
    key("training.early_stopping.patience", Int(1, 1_000_000), "null", "Evaluations on end without gain that end the run; unset: off."),
    key("training.early_stopping.min_delta", Float(0.0, 1e6), "0.0", "How much lower the validation loss must be to count as gain."),
    key(
        "training.gradient_checkpointing",
        AutoBool,
        "\"auto\"",
        "Recompute activations in the backward pass; `auto`: the memory plan decides.",
    ),
    key(
        "training.dtype",
        OneOf(&["auto", "f32", "bf16"], &[]),
        "\"auto\"",
        "Type of activations and unquantised weights; `auto`: bf16 over a quantised base, else f32.",
    ),
    key("training.seed", Int(0, i64::MAX as u64), "42", "Seed of adapter, order, dropout and split."),
    key("lora.rank", Int(1, 4096), "16", "Inner width of the adapters."),
    key("lora.alpha", Positive(1e5), "32.0", "Scale: alpha/rank, or alpha/sqrt(rank) with rsLoRA."),
    key("lora.dropout", Float(0.0, 0.99), "0.05", "Dropout on the adapters' input while training."),
    key("lora.use_rslora", Bool, "false", "Rank-stabilised scale."),
    key("lora.target_modules", Words, "[\"all-linear\"]", "Linear layers that get an adapter; `all-linear` is every one."),
    key("dataset.path", Path, "null", "One file, split by the shares below."),
    key("dataset.train_path", Path, "null", "Rows to train on, instead of `path`."),
    key("dataset.validation_path", Path, "null", "Rows to watch while training, with `train_path`."),
    key("dataset.test_path", Path, "null", "Rows to judge the result, with `train_path`."),
    key("dataset.stage2_path", Path, "null", "Rows of the second stage."),
    key("dataset.format", OneOf(&["jsonl", "csv", "parquet"], &[]), "null", "File format; unset: by the file's name."),
    key("dataset.layout", OneOf(&["auto", "alpaca", "chat", "sharegpt", "completion", "text"], &[]), "\"auto\"", "How a row is laid out."),
    key("dataset.quality_field", Text, "null", "Field with a quality score or grade."),
    key("dataset.quality_threshold", SHARE, "0.7", "Share of the scale from which a row is of high quality."),
    key("dataset.instruction_field", Text, "\"instruction\"", "Field of the instruction (alpaca)."),
    key("dataset.input_field", Text, "\"input\"", "Field of further input (alpaca); may be absent from rows."),
    key("dataset.output_field", Text, "\"output\"", "Field of the answer (alpaca)."),
    key("dataset.system_field", Text, "\"system\"", "Field of a system prompt; may be absent from rows."),
    key("dataset.prompt_field", Text, "\"prompt\"", "Field of the prompt (completion)."),
    key("dataset.completion_field", Text, "\"completion\"", "Field of the completion (completion)."),
    key("dataset.text_field", Text, "\"text\"", "Field of the text (text)."),
    key("dataset.messages_field", Text, "\"messages\"", "Field of the messages (chat)."),
    key("dataset.metadata_field", Words, "[\"metadata\"]", "Fields that are left out on purpose: never trained on, never warned of."),
    key(
        "dataset.chat_template",
        Template,
        "\"auto\"",
        "Chat template: auto (the model's own), chatml, hermes (tools and reasoning; also qwen), llama3, mistral, gemma, phi, zephyr, \
         alpaca, a file, or the template itself.",
    ),
    key(
        "dataset.template_variables",
        Words,
        "[]",
        "Variables of the chat template, for example `enable_thinking=false`; they are saved with the result.",
    ),
    key(
        "dataset.overlong",
        OneOf(&["truncate", "drop", "error"], &[]),
        "\"truncate\"",
        "What happens to a row longer than `max_seq_length`.",
    ),
    key(
        "dataset.on_bad_row",
        OneOf(&["error", "skip"], &[]),
        "\"error\"",
        "Refuse a file with bad rows, or leave them out and count them.",
    ),
    key("dataset.train_on", OneOf(&["assistant", "last_assistant", "everything"], &[]), "\"assistant\"", "What the loss covers."),
    key("dataset.train_split", SHARE, "0.8", "Share of `path` to train on."),
    key("dataset.validation_split", SHARE, "0.1", "Share of `path` to watch."),
    key("dataset.test_split", SHARE, "0.1", "Share of `path` to judge by."),
    key("device", Device, "\"auto\"", "Where to train."),
    key("output_dir", Path, "null", "Folder in which the folders of runs are made; unset: `runs/` of the project."),
    key("mlx.enabled", Bool, "false", "Accepted for old files: means `device: metal`."),
    key("mlx.memory_efficient", Bool, "false", "Accepted for old files; the memory plan decides.")
        .without_effect("the memory plan decides what is kept and what is computed again"),
    key("carbon_tracking.enabled", Bool, "true", "Energy and CO2 of the run, measured or estimated."),
    key("carbon_tracking.project_name", Text, "null", "Name in the emissions file; unset: the project's."),
    key("carbon_tracking.country_iso_code", Text, "\"USA\"", "Country whose grid intensity counts (ISO 3166-1 alpha-3)."),
    key("carbon_tracking.pue", Float(1.0, 5.0), "1.0", "All energy of the data centre for each unit that the machine takes (PUE)."),
    key("carbon_tracking.output_dir", Path, "null", "Folder of the file of all runs' emissions; unset: `emissions/` beside `runs/`."),
    key("mlflow.enabled", Bool, "false", "Send figures, settings and the adapter to an MLflow server."),
    key("mlflow.tracking_uri", Text, "null", "Its address (`http://host:port`); unset: the variable `MLFLOW_TRACKING_URI`."),
    key("mlflow.experiment_name", Text, "null", "Experiment to log to; unset: `MLFLOW_EXPERIMENT_NAME`, or the project's name."),
    key("wandb.enabled", Bool, "false", "Write an offline Weights & Biases run, for `wandb sync`."),
    key("wandb.project", Text, "null", "Project of that run; unset: the project's name."),
    key("tensorboard.enabled", Bool, "false", "Write TensorBoard event files."),
    key("tensorboard.log_dir", Path, "null", "Folder in which they get a folder of the run's name; unset: `tensorboard/` of the run."),
    key("huggingface.enabled", Bool, "false", "Upload the result to the Hub when the run is finished (`HF_TOKEN`)."),
    key("huggingface.repo_prefix", Text, "null", "`OWNER/NAME`; a run's repository is that, a dash, and the run's name."),
    key("huggingface.private_repos", Bool, "true", "Make repositories private."),
    key("huggingface.save_checkpoints", Bool, "false", "Upload what was trained so far at each checkpoint, too."),
    key("evaluation.enabled", Bool, "true", "Evaluate base and tuned on the test rows after training."),
    key(
        "evaluation.metrics",
        WordsOf(METRICS),
        "[\"perplexity\", \"accuracy\"]",
        "What `tallow eval --run` and `evaluate_model` measure of a run's result.",
    ),
    key("evaluation.thresholds", Words, "[]", "Limits on these metrics that decide whether the result passes, for example `bleu>=20`."),
    key("evaluation.sample_prompts", Texts, "[]", "Prompts that the model answers while it is trained; kept in the run."),
    key("evaluation.sample_every", Int(1, 1_000_000), "1", "They are answered at every so many evaluations, and at a stage's end."),
    key("evaluation.sample_tokens", Int(1, 4096), "64", "Most new tokens of such an answer."),
    key(
        "evaluation.stage1_threshold",
        SHARE,
        "null",
        "Token accuracy that stage 1 must reach on its test rows; missed: stage 2 does not begin. Unset: any.",
    ),
    key("evaluation.stage2_threshold", SHARE, "null", "Token accuracy that stage 2 must reach on its test rows. Unset: any."),
    key(
        "evaluation.sequential_threshold",
        SHARE,
        "null",
        "Token accuracy that must be left on stage 1's test rows after stage 2. Unset: any.",
    ),
];

/// A key as it is described to people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyInfo {
    /// Dotted.
    pub path: &'static str,
    /// What it accepts, in words.
    pub accepts: String,
    /// JSON text; `null` where it may stay unset.
    pub default: &'static str,
    /// What it means.
    pub about: &'static str,
    /// Whether the program acts on it.
    pub acts: bool,
    /// Why it has no effect, where it has none.
    pub no_effect: Option<&'static str>,
}

impl KeyInfo {
    /// Whether its numbers are whole ones.
    pub fn is_whole(&self) -> bool {
        self.accepts.starts_with("whole number")
    }
}

/// All keys, section by section.
pub fn keys() -> Vec<KeyInfo> {
    let info = |k: &Key| KeyInfo {
        path: k.path,
        accepts: k.kind.describe(),
        default: k.default,
        about: k.doc,
        acts: k.effect == Effect::Acts,
        no_effect: match k.effect {
            Effect::None(why) => Some(why),
            _ => None,
        },
    };
    KEYS.iter().map(info).collect()
}

impl Key {
    /// The default as a value.
    pub(super) fn default_value(&self) -> Value {
        // The table is checked by a test.
        serde_json::from_str(self.default).unwrap_or(Value::Null)
    }
}

/// The key of that path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.path == path)
}

/// Whether keys stand below this path.
pub(super) fn is_section(path: &str) -> bool {
    KEYS.iter().any(|k| k.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// Longest path that a suggestion is looked for; the work grows with its length.
const LONGEST_SLIP: usize = 100;

/// What the user may have meant by a path that is no key.
pub fn suggest(path: &str) -> Option<String> {
    if path.len() > LONGEST_SLIP {
        return None;
    }
    let last = |p: &str| p.rsplit('.').next().unwrap_or(p).to_owned();
    let score = |candidate: &&str| {
        let whole = similarity(path, candidate);
        // The right word in the wrong section is the commonest slip.
        let word = if last(path) == last(candidate) { 0.9 } else { 0.0 };
        f64::max(whole, word)
    };
    let sections = KEYS.iter().flat_map(|k| k.path.match_indices('.').map(|(i, _)| &k.path[..i]));
    let best = KEYS.iter().map(|k| k.path).chain(sections).max_by(|a, b| score(a).total_cmp(&score(b)))?;
    (score(&best) >= 0.75).then(|| best.to_owned())
}

/// 1 for equal texts, falling with the edit distance.
fn similarity(a: &str, b: &str) -> f64 {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let here = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], here);
        }
    }
    1.0 - row[b.len()] as f64 / a.len().max(b.len()).max(1) as f64
}

/// The table of keys for docs/configuration.md.
///
/// A key that has no effect says so, and one that only describes the run, too.
pub fn reference_markdown() -> String {
    let mut out = String::new();
    let mut section = "";
    for k in KEYS {
        let (head, _) = k.path.rsplit_once('.').unwrap_or(("", k.path));
        let top = head.split('.').next().unwrap_or("");
        if out.is_empty() || top != section {
            section = top;
            let title = if top.is_empty() { "Top level".to_owned() } else { format!("`{top}`") };
            out.push_str(&format!("\n### {title}\n\n| key | accepts | default | |\n|---|---|---|---|\n"));
        }
        let default = match k.default {
            "null" => "unset".to_owned(),
            d => format!("`{}`", d.trim_matches('"')),
        };
        let default = if default == "``" { "empty".to_owned() } else { default };
        let note = match k.effect {
            Effect::Acts => "",
            Effect::Recorded => " Recorded only.",
            Effect::None(_) => " **No effect yet.**",
        };
        out.push_str(&format!("| `{}` | {} | {default} | {}{note} |\n", k.path, k.kind.describe(), k.doc));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_one_that_its_key_accepts() {
        for k in KEYS {
            let value: Value = serde_json::from_str(k.default).unwrap_or_else(|e| panic!("{}: {e}", k.path));
            assert!(value.is_null() || k.kind.accept(&value).as_ref() == Ok(&value), "{}", k.path);
        }
    }

    #[test]
    fn no_key_twice_and_none_is_a_section() {
        for (i, k) in KEYS.iter().enumerate() {
            assert!(KEYS[..i].iter().all(|o| o.path != k.path), "{}", k.path);
            assert!(!is_section(k.path), "{}", k.path);
        }
    }

    #[test]
    fn slips_are_recognised() {
        assert_eq!(suggest("training.stage1.learning_rat").as_deref(), Some("training.stage1.learning_rate"));
        assert_eq!(suggest("training.rank").as_deref(), Some("lora.rank"));
        assert_eq!(suggest("lora.target_module").as_deref(), Some("lora.target_modules"));
        assert_eq!(suggest("zebra.stripes"), None);
    }
}
