//! The model card: what the model is, how it was made, and the figures of its proof.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::{Merged, Proof};
use crate::base::files;
use crate::model::gguf::{GgufFile, Value as GgufValue};
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
    /// Energy and CO2, where they were tracked.
    pub energy: Option<Energy>,
}

/// What the training took.
#[derive(Debug, Clone)]
pub struct Energy {
    /// Kilowatt hours.
    pub kwh: f64,
    /// Kilograms of CO2 equivalents.
    pub emissions_kg: f64,
    /// The country whose grid was counted.
    pub country: String,
    /// Of that grid.
    pub grams_per_kwh: f64,
    /// How the energy is known, in words.
    pub source: String,
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
    let base = base_name(merged, model);
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
         mean KL divergence {:.2e} nats (usually below {:.0e}), largest difference of a logit {:.2e}, same likeliest token at {:.1} %.",
        proof.prompts,
        proof.tokens,
        proof.mean_kl,
        proof.bounds.usual_kl,
        proof.max_abs,
        100.0 * proof.same_top
    );
    for warning in &proof.warnings {
        let _ = writeln!(out, "Weak: {warning}.");
    }
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
    match &t.energy {
        Some(e) => {
            let (kwh, kg, grid) = (e.kwh, e.emissions_kg, e.grams_per_kwh);
            let _ = writeln!(out, "- Energy: {kwh:.6} kWh ({})", e.source);
            let _ = writeln!(out, "- Emissions: {kg:.6} kg CO2 equivalents ({}, {grid:.0} g/kWh)", e.country);
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

/// The base's id on the Hub, where it has one; never a path of this machine.
pub(super) fn public_name(merged: &Merged, model: &Path) -> Option<String> {
    let named = merged.training().and_then(|t| t.base.clone()).filter(|b| is_id(b));
    hub::model_of(model).map(|(id, _)| id).or(named)
}

/// What the base is called, by its id or by the last part of its path.
pub(super) fn base_name(merged: &Merged, model: &Path) -> String {
    public_name(merged, model).unwrap_or_else(|| {
        let named = merged.training().and_then(|t| t.base.clone());
        named.map_or_else(|| folder_name(model), |b| folder_name(Path::new(&b)))
    })
}

/// `owner/name`.
fn is_id(text: &str) -> bool {
    let part = |p: &str| !p.is_empty() && p.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) && !p.starts_with('.');
    text.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

fn folder_name(path: &Path) -> String {
    path.file_name().map_or_else(|| "model".into(), |n| n.to_string_lossy().into_owned())
}

/// A card for a GGUF file that is uploaded alone: what its metadata say.
pub fn card_of_gguf(path: &Path) -> Option<String> {
    let file = GgufFile::open(path).ok()?;
    let said = |key: &str| file.get(&format!("general.{key}")).and_then(GgufValue::as_str).map(str::to_owned);
    let name = said("name").unwrap_or_else(|| folder_name(path));
    let mut out = String::from("---\nlibrary_name: gguf\n");
    let repo = |key: &str| said(key).and_then(|url| url.strip_prefix("https://huggingface.co/").map(str::to_owned));
    for (key, value) in [("base_model", repo("base_model.0.repo_url")), ("license", said("license"))] {
        if let Some(value) = value {
            let _ = writeln!(out, "{key}: {value}");
        }
    }
    let base = said("base_model.0.name").map(|b| format!("- Base: {b}\n")).unwrap_or_default();
    let size = said("size_label").map(|s| format!(", {s} parameters")).unwrap_or_default();
    let architecture = said("architecture").unwrap_or_default();
    let _ = write!(out, "pipeline_tag: text-generation\ntags:\n- gguf\n---\n\n# {name}\n\n{base}- Architecture: `{architecture}`{size}\n");
    let types: std::collections::BTreeSet<&str> = file.tensors().values().map(|t| t.kind.name()).collect();
    let _ = writeln!(out, "- Types of tensors: {}", types.into_iter().collect::<Vec<_>>().join(", "));
    Some(out)
}

/// The licence that the base's own card or config names.
pub(super) fn license(model: &Path) -> Option<String> {
    let card = files::read_text(&model.join("README.md")).unwrap_or_default();
    let front = card.strip_prefix("---").and_then(|t| t.split_once("\n---")).map(|(f, _)| f.to_owned()).unwrap_or_default();
    let from_card = front.lines().find_map(|l| l.strip_prefix("license:")).map(|l| l.trim().trim_matches(['"', '\'']).to_owned());
    let config = || {
        let text = files::read_text(&model.join("config.json")).ok()?;
        Some(serde_json::from_str::<Value>(&text).ok()?["license"].as_str()?.to_owned())
    };
    from_card.filter(|l| !l.is_empty()).or_else(config)
}
