//! Settings that are fine one by one and impossible together.

use super::problem::Problem;
use super::resolve::Said;
use super::run_config::RunConfig;
use super::words::{DeviceChoice, Method, ObjectiveKind, Quantization};

/// One rule: when it is broken, the key to blame, what is wrong, what to do.
struct Rule {
    broken: fn(&RunConfig) -> bool,
    key: &'static str,
    message: &'static str,
    hint: &'static str,
}

/// Most tokens in one optimiser step: beyond it no reckoning of memory or time means anything.
const MOST_TOKENS_A_STEP: u64 = 1 << 32;

/// Most tokens that an optimiser step of any stage can take.
fn tokens_a_step(c: &RunConfig) -> u64 {
    let t = &c.training;
    let batch = t.stage1.batch_size.rows().max(if t.num_stages == 2 { t.stage2.batch_size.rows() } else { 0 });
    let rows = (batch as u64).saturating_mul(t.gradient_accumulation as u64);
    rows.max(t.global_batch_size.unwrap_or(0) as u64).saturating_mul(t.max_seq_length as u64)
}

/// Whether a stage must reach a score.
fn asks_for_scores(c: &RunConfig) -> bool {
    let e = &c.evaluation;
    [e.stage1_threshold, e.stage2_threshold, e.sequential_threshold].iter().any(Option::is_some)
}

const RULES: &[Rule] = &[
    Rule {
        broken: |c| c.base_model.model_id.is_none() && c.base_model.local_path.is_none(),
        key: "base_model.model_id",
        message: "no base model is named",
        hint: "set base_model.local_path to a model folder, or base_model.model_id to a Hub id or `embedded`",
    },
    Rule {
        broken: |c| c.dataset.path.is_none() && c.dataset.train_path.is_none(),
        key: "dataset.path",
        message: "no dataset is named",
        hint: "set dataset.path to one file that is split, or dataset.train_path",
    },
    Rule {
        broken: |c| c.dataset.path.is_some() && c.dataset.train_path.is_some(),
        key: "dataset.train_path",
        message: "stands beside dataset.path: only one of them can be the training data",
        hint: "remove one of the two",
    },
    Rule {
        broken: |c| c.dataset.train_path.is_none() && (c.dataset.validation_path.is_some() || c.dataset.test_path.is_some()),
        key: "dataset.validation_path",
        message: "is only read together with dataset.train_path",
        hint: "rename dataset.path to dataset.train_path",
    },
    Rule {
        broken: |c| (c.dataset.train_split + c.dataset.validation_split + c.dataset.test_split - 1.0).abs() > 1e-6,
        key: "dataset.train_split",
        message: "train_split, validation_split and test_split do not add up to 1",
        hint: "for example 0.8, 0.1 and 0.1",
    },
    Rule {
        broken: |c| c.dataset.train_split <= 0.0 && c.dataset.path.is_some(),
        key: "dataset.train_split",
        message: "leaves no row to train on",
        hint: "set it above 0",
    },
    Rule {
        broken: |c| c.training.method == Method::Full && c.base_model.quantization != Quantization::None,
        key: "training.method",
        message: "a quantised base cannot be fully fine-tuned",
        hint: "set training.method: lora, or base_model.quantization: none",
    },
    Rule {
        broken: |c| c.training.objective == ObjectiveKind::Dpo,
        key: "training.objective",
        message: "preference training is not in this version",
        hint: "set training.objective: sft",
    },
    Rule {
        broken: |c| c.training.num_stages == 2 && c.dataset.stage2_path.is_none(),
        key: "training.num_stages",
        message: "a second stage has no rows of its own",
        hint: "set dataset.stage2_path",
    },
    Rule {
        broken: |c| c.training.num_stages == 2 && c.training.stage2.replay_ratio.is_some_and(|r| r >= 1.0),
        key: "training.stage2.replay_ratio",
        message: "is the share of replayed rows in stage 2: a share of 1 leaves no room for its own rows",
        hint: "set it below 1, for example 0.15",
    },
    Rule {
        broken: |c| c.training.num_stages == 1 && [c.evaluation.stage2_threshold, c.evaluation.sequential_threshold] != [None; 2],
        key: "evaluation.stage2_threshold",
        message: "asks for a score after stage 2, and there is one stage",
        hint: "set training.num_stages: 2, or unset evaluation.stage2_threshold and evaluation.sequential_threshold",
    },
    Rule {
        broken: |c| !c.evaluation.enabled && asks_for_scores(c),
        key: "evaluation.enabled",
        message: "is off, and scores are asked for that only an evaluation can give",
        hint: "set evaluation.enabled: true, or unset the thresholds of the stages",
    },
    Rule {
        broken: |c| c.huggingface.save_checkpoints && !c.huggingface.enabled,
        key: "huggingface.save_checkpoints",
        message: "is on, and nothing is uploaded",
        hint: "set huggingface.enabled: true, too",
    },
    Rule {
        broken: |c| tokens_a_step(c) > MOST_TOKENS_A_STEP,
        key: "training.gradient_accumulation",
        message: "batch_size * gradient_accumulation * max_seq_length is more than 2^32 tokens an optimiser step",
        hint: "make one of the three smaller",
    },
    Rule {
        broken: |c| has_auto_batch(c) && c.training.gradient_accumulation > 1,
        key: "training.gradient_accumulation",
        message: "batch_size: auto works out how many batches are accumulated",
        hint: "remove it, and set training.global_batch_size for the rows of a step",
    },
    Rule {
        broken: |c| !has_auto_batch(c) && c.training.global_batch_size.is_some(),
        key: "training.global_batch_size",
        message: "only means something with batch_size: auto",
        hint: "set training.stage1.batch_size: auto, or remove it",
    },
    Rule {
        broken: |c| c.lora.target_modules.is_empty() && c.training.method == Method::Lora,
        key: "lora.target_modules",
        message: "is empty: nothing would train",
        hint: "for example [q_proj, v_proj], or all-linear",
    },
    Rule {
        broken: |c| c.mlflow.tracking_uri.as_deref().is_some_and(|uri| !is_server(uri)),
        key: "mlflow.tracking_uri",
        message: "is not the address of a server",
        hint: "it begins with http:// or https:// and holds no password, for example http://127.0.0.1:5000",
    },
    Rule {
        broken: |c| c.mlx.enabled && !matches!(c.device, DeviceChoice::Auto | DeviceChoice::Metal),
        key: "mlx.enabled",
        message: "means `device: metal`, but another device is named",
        hint: "remove one of the two",
    },
];

/// Whether a text is the address of a server, without a user or a password in it.
pub fn is_server(uri: &str) -> bool {
    let rest = uri.strip_prefix("http://").or_else(|| uri.strip_prefix("https://"));
    let host = rest.map(|r| r.split(['/', '?', '#']).next().unwrap_or(r));
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control();
    host.is_some_and(|h| !h.is_empty() && !h.contains('@')) && uri.chars().all(is_plain) && !uri.contains(['?', '#'])
}

fn has_auto_batch(c: &RunConfig) -> bool {
    let t = &c.training;
    t.stage1.batch_size.is_auto() || (t.num_stages == 2 && t.stage2.batch_size.is_auto())
}

/// All broken rules, each placed where its key was said.
pub(super) fn check(config: &RunConfig, said: &Said) -> Vec<Problem> {
    let broken = RULES.iter().filter(|rule| (rule.broken)(config));
    let problem = |rule: &Rule| Problem {
        origin: said.origin(rule.key),
        key: rule.key.to_owned(),
        message: rule.message.to_owned(),
        hint: Some(rule.hint.to_owned()),
    };
    broken.map(problem).collect()
}
