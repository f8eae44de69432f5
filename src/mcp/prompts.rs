//! Prompts, filled with what is there: devices, plans, and how a run stands.

use rmcp::model::{GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage, Role};
use serde_json::json;

use super::resources::{devices, end_of, find_run, projects};
use super::tool::Shared;
use super::{icon, rented};
use crate::app::{formats, info, jobs};
use crate::base::error::Fault;

/// Name, description, and arguments: name, what it is, whether it must be given.
const ALL: [(&str, &str, &[(&str, &str, bool)]); 8] = [
    (
        "fine_tune_wizard",
        "From a wish to a tuned model, step by step",
        &[("goal", "What the model shall learn", true), ("dataset", "A file of rows, where there is one", false)],
    ),
    (
        "choose_base_model",
        "Which model fits the task and this machine",
        &[("task", "What it is for", true), ("memory", "Memory to stay within, for example 16GiB", false)],
    ),
    (
        "choose_gpu",
        "What a model needs, beside what is here",
        &[
            ("task", "What is to be done: train or generate", true),
            ("framework", "What runs it", false),
            ("model_size", "Parameters, for example 7B", true),
            ("batch_size", "Rows a step", false),
        ],
    ),
    (
        "pod_for_workload",
        "Which rented machine a piece of work needs, and how to use it",
        &[
            ("workload", "The work, for example PyTorch training or an endpoint", true),
            ("project_path", "A project, where it is one's run", false),
        ],
    ),
    ("debug_training", "Why a run goes wrong, from its own figures", &[("run_id", "The run; `latest` is the newest", true)]),
    (
        "prepare_data",
        "From raw files to rows that can be trained",
        &[("dataset", "The file", true), ("task", "What the model shall learn", false)],
    ),
    (
        "write_tool_examples",
        "Training rows for tools, written by you and checked",
        &[("folder", "The folder of the data, with tools.json", true), ("count", "Rows to write; default 20", false)],
    ),
    (
        "export_and_serve",
        "From a finished run to a model in use",
        &[("run_id", "The run; `latest` is the newest", true), ("target", "Where it shall run", false)],
    ),
];

pub(super) fn list() -> Vec<Prompt> {
    let argument =
        |(name, about, required): &(&str, &str, bool)| PromptArgument::new(*name).with_description(*about).with_required(*required);
    let prompt = |(name, about, arguments): &(&str, &str, &[(&str, &str, bool)])| {
        Prompt::new(*name, Some(*about), Some(arguments.iter().map(argument).collect())).with_title(*about).with_icons(vec![icon::tallow()])
    };
    ALL.iter().map(prompt).collect()
}

/// Longest argument, in bytes.
const MOST_ARGUMENT_BYTES: usize = 10_000;

pub(super) fn get(shared: &Shared, name: &str, arguments: &JsonObject) -> Result<GetPromptResult, Fault> {
    let Some((_, about, known)) = ALL.iter().find(|(n, ..)| *n == name) else {
        return Err(Fault::new("unknown_prompt", "there is no such prompt").hint("prompts/list shows them"));
    };
    for (argument, _, required) in *known {
        let given = arguments.get(*argument).and_then(|v| v.as_str()).unwrap_or_default();
        if *required && given.trim().is_empty() {
            return Err(Fault::new("invalid_arguments", format!("`{argument}` is missing")));
        }
        if given.len() > MOST_ARGUMENT_BYTES {
            return Err(Fault::new("invalid_arguments", format!("`{argument}` is too long")));
        }
    }
    let said =
        |key: &str, otherwise: &str| arguments.get(key).and_then(|v| v.as_str()).filter(|v| !v.is_empty()).unwrap_or(otherwise).to_owned();
    let text = match name {
        "fine_tune_wizard" => wizard(shared, &said("goal", ""), &said("dataset", "not named yet: ask for it, or help to write rows")),
        "choose_base_model" => choose_model(&said("task", ""), &said("memory", "what is free here")),
        "choose_gpu" => choose_gpu(shared, &said("task", ""), &said("model_size", ""), &said("batch_size", "4")),
        "pod_for_workload" => rented::workload(shared, &said("workload", ""), &said("project_path", ""))?,
        "debug_training" => debug(shared, &said("run_id", ""))?,
        "write_tool_examples" => write_examples(&said("folder", ""), &said("count", "20")),
        "prepare_data" => prepare(&said("dataset", ""), &said("task", "not said: ask")),
        _ => export(shared, &said("run_id", ""), &said("target", "not said: ask"))?,
    };
    Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, shared.secrets.hide(&text))]).with_description(*about))
}

fn machine() -> String {
    format!("This machine: {}", json!(devices()))
}

fn wizard(shared: &Shared, goal: &str, dataset: &str) -> String {
    let projects: Vec<String> = projects(shared).iter().map(|p| p.display().to_string()).collect();
    format!(
        "Help me to fine-tune a model with the tallow tools.\nGoal: {goal}\nDataset: {dataset}\n{}\nProjects that exist: {}\n\n\
         Go step by step and show me the result of each before the next:\n1. check_installation.\n2. Choose a base model that fits the memory \
         (get_model_info, list_supported_models).\n3. validate_dataset and dataset_stats; fix what they find.\n4. \
         generate_fine_tuning_project, then configure_training_run: tell me its memory and time.\n5. After I agree, start_training, then wait \
         and get_run.\n6. evaluate_model and compare_models against the base; show answers of both.\n7. generate_text with my \
         own examples, then export_model.",
        machine(),
        if projects.is_empty() { "none".to_owned() } else { projects.join(", ") },
    )
}

fn choose_model(task: &str, memory: &str) -> String {
    format!(
        "Which base model should I fine-tune?\nTask: {task}\nMemory: {memory}\n{}\nFamilies: {}\n\nName two or three candidates, smallest \
         first, with the quantisation and method that fit (get_model_info shows what each takes). Say what would make you choose the larger one.",
        machine(),
        json!(info::FAMILIES),
    )
}

fn choose_gpu(shared: &Shared, task: &str, size: &str, batch: &str) -> String {
    // As the text below reckons, with a half more for what is not weights.
    let rented = rented::parameters(size).map_or_else(String::new, |n| {
        let of = |name: &str, bytes: f64| format!("\n{name}: {}", rented::prices(shared, (n * bytes * 1.5) as u64));
        if rented::is_on(shared) { of("In bf16", 2.0) + &of("In q4", 0.55) } else { String::new() }
    });
    format!(
        "What hardware does this need?\nTask: {task}\nModel size: {size} parameters\nBatch size: {batch}\n{}{rented}\n\nReckon 2 bytes a parameter for \
         bf16 weights, about 0.55 for q4 and 1.1 for q8; adapters and their optimiser are small; activations grow with batch and length \
         (plan_training gives exact figures for a project). Say whether this machine will do, and if not, what would.",
        machine(),
    )
}

fn prepare(dataset: &str, task: &str) -> String {
    format!(
        "Make this dataset ready for fine-tuning.\nFile: {dataset}\nTask: {task}\n\nRun validate_dataset with show: 2 and dataset_stats. \
         Explain every kind of problem with an example line, say which rows you would change, drop or add, and check with me before anything \
         is rewritten. Rows are {{\"instruction\", \"input\", \"output\"}}, or {{\"messages\": [...]}} in the OpenAI form, tools included."
    )
}

fn write_examples(folder: &str, count: &str) -> String {
    format!(
        "Write {count} training rows that teach a small model to call the tools in {folder}/tools.json.\n\nA row is {{\"messages\": [...]}} in the \
         OpenAI form: a user's request as people really write it, then the assistant's `tool_calls` (arguments as objects), or a text where no \
         tool fits, something required is missing, or the request could mean two tools. Some rows go on with a `tool` message and what the \
         assistant does with it, errors included. Vary length, tone, order and values; give every tool its share; say in the request every \
         value that the call holds, and invent none; repeat no request of the files in {folder}.\n\nSend them with generate_tool_dataset \
         (output_dir: {folder}, append_rows: up to 50 at a time). Mend what it refuses, and go on with the tools that have the fewest calls \
         until {count} rows are taken. Show me five of them first."
    )
}

fn export(shared: &Shared, run_id: &str, target: &str) -> Result<String, Fault> {
    let run = find_run(shared, run_id)?;
    let progress = jobs::progress(&run)?;
    let formats: Vec<String> = formats::all().iter().map(|f| format!("- {}: {}", f.name, f.about)).collect();
    let rented = if rented::is_on(shared) { " To serve it on rented GPUs: runpod_serve_run, which asks with the costs first." } else { "" };
    Ok(format!(
        "Take this run's result into use.\nRun: {} ({}), in {}\nTarget: {target}\n\nCheck with evaluate_model that it is better than its base. \
         Then export_model, in the format that the target reads:\n{}\nThe answer holds a comparison with the live model: show me its figures. Try \
         what was exported with generate_text where Tallow reads it (safetensors, GGUF, PEFT), and show me three answers.{rented}",
        run.id(),
        progress.state.name(),
        run.path().display(),
        formats.join("\n"),
    ))
}

/// Signs that a run's own rows show.
fn signs(metrics: &str, progress: &jobs::Progress, learning_rate: f64) -> Vec<String> {
    let rows: Vec<serde_json::Value> = metrics.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let series = |key: &str| rows.iter().filter_map(|r| r[key].as_f64()).collect::<Vec<f64>>();
    let (loss, eval, norm) = (series("loss"), series("eval_loss"), series("grad_norm"));
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
    let mut found = Vec::new();
    if let Some(reason) = &progress.reason {
        found.push(format!("it ended with {}: {}", reason.code, reason.message));
        if ["out_of_memory_plan", "worker_gone"].contains(&reason.code.as_str()) {
            found.push("a worker that vanishes is often one that the system killed for its memory: plan_training with less, a smaller batch_size or max_seq_length, or quantization q4".into());
        }
    }
    if loss.len() >= 10 {
        let quarter = (loss.len() / 4).max(2);
        let (begin, end) = (mean(&loss[..quarter]), mean(&loss[loss.len() - quarter..]));
        if (begin - end).abs() < 0.01 * begin {
            found.push(format!("the loss is flat ({begin:.4} -> {end:.4}): the learning rate {learning_rate:e} may be too low, or too few layers have adapters"));
        } else if end > 1.1 * begin {
            found.push(format!("the loss rises ({begin:.4} -> {end:.4}): the learning rate {learning_rate:e} is likely too high"));
        }
    }
    if let (Some(best), Some(last)) = (eval.iter().copied().reduce(f64::min), eval.last())
        && *last > 1.02 * best
    {
        found.push(format!("the validation loss has risen from {best:.4} to {last:.4} while training goes on: overfitting; fewer steps, early_stopping, or more rows"));
    }
    if norm.len() >= 10 && norm.last().is_some_and(|n| *n > 20.0 * mean(&norm[..norm.len() - 1])) {
        found.push("the gradient norm has jumped: look at the rows of that step, or lower the learning rate".into());
    }
    if found.is_empty() {
        found.push("none of the usual ones".into());
    }
    found
}

fn debug(shared: &Shared, run_id: &str) -> Result<String, Fault> {
    let run = find_run(shared, run_id)?;
    let (progress, manifest) = (jobs::progress(&run)?, run.manifest()?);
    let metrics = end_of(shared, &run, "metrics.jsonl");
    let log = end_of(shared, &run, "training.log");
    let last = |text: &str, n: usize| {
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(n)..].join("\n")
    };
    let signs = signs(&metrics, &progress, manifest.config.training.stage1.learning_rate);
    Ok(format!(
        "Find out what is wrong with this training run and what to change.\nRun: {}\nStatus: {}\nSettings: {}\nSigns: {}\n\nNewest metrics:\n{}\n\nEnd of \
         the log:\n{}\n\nName the likeliest cause first, the evidence for it, and the smallest change that would test it. Use \
         monitor_training_progress, plan_training and dataset_stats to check. Do not start a new run before I agree.",
        run.id(),
        json!(progress),
        json!({"training": manifest.config.training, "lora": manifest.config.lora, "base_model": manifest.config.base_model}),
        signs.join("; "),
        last(&metrics, 20),
        last(&log, 20),
    ))
}
