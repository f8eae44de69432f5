//! The model card: what the model is, how it was made, and the figures of its proof.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::{Merged, Proof};
use crate::model::hub;

/// Text of README.md for an exported folder.
pub fn model_card(merged: &Merged, model: &Path, library: &str, kind: &str, proof: &Proof) -> String {
    let spec = merged.spec();
    let base = hub::model_of(model).map_or_else(|| folder_name(model), |(id, _)| id);
    let mut out = String::from("---\n");
    // Writing to a String cannot fail.
    let _ = writeln!(out, "library_name: {library}\nbase_model: {base}");
    if let Some(license) = license(model) {
        let _ = writeln!(out, "license: {license}");
    }
    out.push_str("pipeline_tag: text-generation\ntags:\n- tallow\n");
    if merged.adapter().is_some() {
        out.push_str("- lora\n");
    }
    let _ = writeln!(out, "---\n\n# {base}{}\n", if merged.adapter().is_some() { ", fine-tuned" } else { "" });
    let _ = writeln!(
        out,
        "- Architecture: `{}`, {} parameters, {} layers, context of {} tokens",
        spec.architecture,
        spec.num_parameters(),
        spec.num_layers,
        spec.max_positions
    );
    let _ = writeln!(out, "- Stored as: {kind}");
    if let Some(a) = merged.adapter() {
        let c = &a.config;
        let rule = if c.use_rslora { ", rank-stabilised" } else { "" };
        let targets = if c.target_modules.is_empty() { "by pattern".to_owned() } else { c.target_modules.join(", ") };
        let _ = writeln!(out, "- Method: LoRA of rank {}, alpha {}{rule}, dropout {}, on {targets}", c.rank, c.alpha, c.dropout);
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
