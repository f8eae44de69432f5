//! The model card: what the model is, how it was made, and the figures of its proof.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::{Merged, Proof};
use crate::model::hub;

/// How a model was trained, as its card tells it.
#[derive(Debug, Clone, Default)]
pub struct Training {
    /// The run.
    pub run: String,
    /// The base as the run's configuration named it.
    pub base: Option<String>,
    /// LoRA or full fine-tuning.
    pub method: String,
    /// How the base was held while training: none, nf4 or q8.
    pub quantization: String,
    /// Optimiser steps.
    pub steps: u64,
    /// Sequences trained in all steps, where they were counted.
    pub sequences: Option<u64>,
    /// Peak of the first stage.
    pub learning_rate: f64,
    /// Tokens through the model.
    pub tokens: u64,
    /// Those of them that were trained.
    pub trained_tokens: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// What it ran on.
    pub machine: String,
    /// The files.
    pub data: Vec<TrainingData>,
    /// Best loss on the validation rows.
    pub best_validation_loss: Option<f64>,
    /// The base on the test rows.
    pub base_test: Option<Figures>,
    /// The tuned model on them.
    pub tuned_test: Option<Figures>,
    /// Kilowatt hours, where they were measured.
    pub energy_kwh: Option<f64>,
}

/// A data file.
#[derive(Debug, Clone)]
pub struct TrainingData {
    /// Its name.
    pub file: String,
    /// Its rows.
    pub rows: usize,
    /// SHA-256 of its content.
    pub sha256: String,
}

/// Figures on the test rows.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Mean loss.
    pub loss: f64,
    /// `exp(loss)`.
    pub perplexity: f64,
    /// Share of tokens that were the likeliest.
    pub accuracy: f64,
}

/// Text of README.md for an exported folder.
pub fn model_card(merged: &Merged, model: &Path, library: &str, kind: &str, proof: &Proof) -> String {
    let spec = merged.spec();
    let named = merged.training().and_then(|t| t.base.clone());
    let base = hub::model_of(model).map_or_else(|| named.map_or_else(|| folder_name(model), |b| last_part(&b)), |(id, _)| id);
    let license = license(model);
    let mut out = String::from("---\n");
    // Writing to a String cannot fail.
    let _ = writeln!(out, "library_name: {library}");
    if hub::model_of(model).is_some() {
        // Only a name that the Hub knows may stand here: it is made a link.
        let _ = writeln!(out, "base_model: {base}");
    }
    if let Some(license) = &license {
        let _ = writeln!(out, "license: {license}");
    }
    out.push_str("pipeline_tag: text-generation\ntags:\n- tallow\n");
    if merged.adapter().is_some() {
        out.push_str("- lora\n");
    }
    let tuned = merged.adapter().is_some() || merged.training().is_some();
    let _ = writeln!(out, "---\n\n# {base}{}\n", if tuned { ", fine-tuned" } else { "" });
    let _ = writeln!(out, "- Base: `{base}`, licence: {}", license.as_deref().unwrap_or("not stated in the base's files"));
    let _ = writeln!(
        out,
        "- Architecture: `{}`, {} parameters, {} layers, context of {} tokens",
        spec.architecture,
        spec.num_parameters(),
        spec.num_layers(),
        spec.max_positions
    );
    let _ = writeln!(out, "- Stored as: {kind}");
    if let Some(a) = merged.adapter() {
        let c = &a.config;
        let rule = if c.use_rslora { ", rank-stabilised" } else { "" };
        let targets = if c.target_modules.is_empty() { "by pattern".to_owned() } else { c.target_modules.join(", ") };
        let _ = writeln!(out, "- Method: LoRA of rank {}, alpha {}{rule}, dropout {}, on {targets}", c.rank, c.alpha, c.dropout);
    } else if let Some(t) = merged.training() {
        let _ = writeln!(out, "- Method: {}", t.method);
    }
    if let Some(t) = merged.training() {
        training_part(&mut out, t);
    }
    let _ = writeln!(
        out,
        "\n## Proof\n\nThe files were opened again and their logits compared with the live model on {} prompts ({} positions):\n\
         mean KL divergence {:.2e} nats (at most {:.0e}), largest difference of a logit {:.2e}, same likeliest token at {:.1} %.",
        proof.prompts,
        proof.tokens,
        proof.mean_kl,
        proof.bounds.kl,
        proof.max_abs,
        100.0 * proof.same_top
    );
    out
}

/// Data, training, figures and emissions.
fn training_part(out: &mut String, t: &Training) {
    let _ = writeln!(out, "\n## Training\n");
    let held = if t.quantization == "none" { String::new() } else { format!(", over a base held in {}", t.quantization) };
    let per_step = |n: u64| format!(" over {n} sequences ({:.1} a step)", n as f64 / t.steps.max(1) as f64);
    let seen = t.sequences.map(per_step).unwrap_or_default();
    let _ = writeln!(out, "- Run `{}`: {}{held}, {} steps{seen}, learning rate {:e}", t.run, t.method, t.steps, t.learning_rate);
    let _ = writeln!(out, "- {} tokens ({} of them trained) in {:.0} s on {}", t.tokens, t.trained_tokens, t.seconds, t.machine);
    for d in &t.data {
        let _ = writeln!(out, "- Data: `{}`, {} rows, SHA-256 `{}`", d.file, d.rows, d.sha256);
    }
    match t.energy_kwh {
        Some(kwh) => {
            let _ = writeln!(out, "- Energy: {kwh:.4} kWh");
        }
        None => out.push_str("- Energy and emissions: not measured\n"),
    }
    let figures = [("base", t.base_test), ("fine-tuned", t.tuned_test)];
    if figures.iter().any(|(_, f)| f.is_some()) {
        out.push_str(
            "\n## Figures\n\nOn the test rows, which were not trained:\n\n| | loss | perplexity | token accuracy |\n|---|---|---|---|\n",
        );
        for (name, f) in figures.into_iter().filter_map(|(n, f)| Some((n, f?))) {
            let _ = writeln!(out, "| {name} | {:.4} | {:.3} | {:.1} % |", f.loss, f.perplexity, 100.0 * f.accuracy);
        }
    } else if let Some(loss) = t.best_validation_loss {
        let _ = writeln!(out, "\n## Figures\n\nBest loss on the validation rows: {loss:.4}");
    }
}

/// `org/name` as it is; of a path the last part, since the rest tells of somebody's disk.
fn last_part(base: &str) -> String {
    let is_path = base.starts_with(['.', '/', '~']) || base.matches('/').count() != 1;
    if is_path { folder_name(Path::new(base)) } else { base.to_owned() }
}

fn folder_name(path: &Path) -> String {
    path.file_name().map_or_else(|| "model".into(), |n| n.to_string_lossy().into_owned())
}

/// The licence that the base's own card or config names.
fn license(model: &Path) -> Option<String> {
    let card = std::fs::read_to_string(model.join("README.md")).unwrap_or_default();
    let front = card.strip_prefix("---").and_then(|t| t.split_once("\n---")).map(|(f, _)| f.to_owned()).unwrap_or_default();
    let from_card = front.lines().find_map(|l| l.strip_prefix("license:")).map(|l| l.trim().trim_matches(['"', '\'']).to_owned());
    let config = || {
        let text = std::fs::read_to_string(model.join("config.json")).ok()?;
        Some(serde_json::from_str::<Value>(&text).ok()?["license"].as_str()?.to_owned())
    };
    from_card.filter(|l| !l.is_empty()).or_else(config)
}

/// The Modelfile that lets Ollama serve `file`.
pub fn modelfile(file: &str, template: Option<&str>, stops: &[String], context: usize) -> String {
    let mut out = format!("FROM ./{file}\n");
    if let Some(text) = template.and_then(go_template) {
        let _ = writeln!(out, "TEMPLATE \"\"\"{text}\"\"\"");
    }
    for stop in stops {
        let _ = writeln!(out, "PARAMETER stop \"{}\"", stop.replace('"', "\\\""));
    }
    let _ = writeln!(out, "PARAMETER num_ctx {}", context.min(8192));
    out
}

/// The same prompts in Ollama's template language, for the forms that are known by their marks.
fn go_template(jinja: &str) -> Option<&'static str> {
    if jinja.contains("<|im_start|>") {
        return Some(concat!(
            "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}",
            "<|im_start|>assistant\n"
        ));
    }
    if jinja.contains("<|start_header_id|>") {
        return Some(concat!(
            "{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>{{ end }}",
            "<|start_header_id|>assistant<|end_header_id|>\n\n"
        ));
    }
    if jinja.contains("[INST]") {
        return Some(
            "{{- range .Messages }}{{ if eq .Role \"assistant\" }} {{ .Content }}</s>{{ else }}[INST] {{ .Content }} [/INST]{{ end }}{{ end }}",
        );
    }
    None
}
