//! `general.*`: what the model is called, how large it is, where it comes from, how it is sampled.

use std::path::Path;

use serde_json::Value as Json;

use crate::base::files;
use crate::export::side_files::Base;
use crate::export::{Merged, card};
use crate::model::gguf::{GgufFile, Value, is_gguf};

/// Keys of generation_config.json and llama.cpp's names for them.
const SAMPLING: [(&str, &str); 5] =
    [("temperature", "temp"), ("top_k", "top_k"), ("top_p", "top_p"), ("min_p", "min_p"), ("repetition_penalty", "penalty_repeat")];

/// The pairs, without the architecture and the type of the file. Nothing in them names a folder of
/// this machine.
pub(super) fn pairs(merged: &Merged, base: Base) -> Vec<(String, Value)> {
    let text = |s: &str| Value::String(s.to_owned());
    let list = |v: &[String]| Value::Array(v.iter().map(|s| text(s)).collect());
    let mut out: Vec<(String, Value)> = Vec::new();
    let mut put = |key: &str, v: Value| out.push((format!("general.{key}"), v));
    let tuned = merged.adapter().is_some() || merged.training().is_some();
    // A GGUF file says itself what it is called.
    let of_file = is_gguf(base.path).then(|| GgufFile::open(base.path).ok()).flatten();
    let said = |key: &str| of_file.as_ref().and_then(|f| f.get(&format!("general.{key}"))).and_then(Value::as_str).map(str::to_owned);
    let id = card::public_name(merged, base.path);
    let base_name = said("name").unwrap_or_else(|| title(&card::base_name(merged, base.path)));
    let name = if tuned { format!("{base_name} tuned") } else { base_name.clone() };
    put("name", text(&harmless(name, base)));
    if let Some(run) = merged.training().map(|t| t.run.as_str()).filter(|r| !r.is_empty()) {
        put("finetune", text(run));
    }
    put("size_label", text(&size_label(merged.spec().num_parameters())));
    let front = FrontMatter::of(base.path);
    if let Some(license) = card::license(base.path).or_else(|| said("license")) {
        put("license", text(&license));
    }
    let organization = id.as_deref().and_then(|i| i.split_once('/')).map(|(owner, _)| title(owner)).or_else(|| said("organization"));
    if let (Some(owner), false) = (&organization, tuned) {
        put("organization", text(owner));
    }
    let mut tags = front.tags;
    for tag in ["text-generation", "tallow"].map(str::to_owned).into_iter().chain(merged.adapter().map(|_| "lora".to_owned())) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    put("tags", list(&tags));
    if !front.languages.is_empty() {
        put("languages", list(&front.languages));
    }
    if tuned {
        put("base_model.count", Value::U32(1));
        put("base_model.0.name", text(&base_name));
        if let Some(owner) = &organization {
            put("base_model.0.organization", text(owner));
        }
        if let Some(id) = &id {
            put("base_model.0.repo_url", text(&format!("https://huggingface.co/{id}")));
        }
    } else if let Some(id) = &id {
        put("repo_url", text(&format!("https://huggingface.co/{id}")));
    }
    let generation = read_json(&base.path.join("generation_config.json"));
    for (key, name) in SAMPLING {
        match &generation[key] {
            Json::Number(n) if name == "top_k" => put("sampling.top_k", Value::I32(n.as_i64().unwrap_or(0) as i32)),
            Json::Number(n) => put(&format!("sampling.{name}"), Value::F32(n.as_f64().unwrap_or(0.0) as f32)),
            _ => {}
        }
    }
    out
}

/// llama.cpp looks up tokens of Phi-3 in every file whose name has `phi3` in it, and fails where the
/// vocabulary is another one.
fn harmless(name: String, base: Base) -> String {
    const LOOKED_UP: [&str; 4] = ["</s>", "<unk>", "<s>", "<|endoftext|>"];
    let known = |token: &&str| base.texts.inner().token_to_id(token).is_some();
    let at = ["phi3", "phi-3"].into_iter().find_map(|mark| Some((name.to_ascii_lowercase().find(mark)?, mark.len())));
    match at {
        Some((at, length)) if !LOOKED_UP.iter().all(known) => harmless(format!("{}Phi 3{}", &name[..at], &name[at + length..]), base),
        _ => name,
    }
}

fn read_json(path: &Path) -> Json {
    files::read_text(path).ok().and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default()
}

/// `SmolLM2-135M-Instruct` as words, without the owner.
fn title(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    let words = last.split(['-', '_', ' ']).filter(|w| !w.is_empty());
    let upper = |w: &str| {
        let mut chars = w.chars();
        chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
    };
    words.map(upper).collect::<Vec<_>>().join(" ")
}

/// The number of parameters with two digits and a unit, as llama.cpp's converter writes it.
fn size_label(parameters: u64) -> String {
    let units = [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")];
    let (unit, suffix) = units.into_iter().find(|(u, _)| parameters as f64 > *u).unwrap_or((1e3, "K"));
    let scaled = parameters as f64 / unit;
    let digits = if scaled.round() >= 10.0 { 0 } else { 1 };
    format!("{scaled:.digits$}{suffix}")
}

/// What the front matter of the base's own card lists.
#[derive(Default)]
struct FrontMatter {
    tags: Vec<String>,
    languages: Vec<String>,
}

impl FrontMatter {
    fn of(model: &Path) -> Self {
        let card = files::read_text(&model.join("README.md")).unwrap_or_default();
        let Some((front, _)) = card.strip_prefix("---").and_then(|t| t.split_once("\n---")) else { return Self::default() };
        Self { tags: items(front, "tags"), languages: items(front, "language") }
    }
}

/// The items of a list in YAML's block or flow form, or a single word.
fn items(front: &str, key: &str) -> Vec<String> {
    let clean = |s: &str| s.trim().trim_matches(['"', '\'']).to_owned();
    let mut lines = front.lines();
    let Some(first) = lines.by_ref().find_map(|l| l.strip_prefix(key).and_then(|r| r.strip_prefix(':'))) else { return Vec::new() };
    let first = first.trim();
    let all: Vec<String> = match first.strip_prefix('[').and_then(|r| r.strip_suffix(']')) {
        Some(flow) => flow.split(',').map(clean).collect(),
        None if !first.is_empty() => vec![clean(first)],
        None => lines.map_while(|l| l.trim_start().strip_prefix("- ")).map(clean).collect(),
    };
    all.into_iter().filter(|s| !s.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_named_as_the_converter_names_them() {
        for (n, label) in [(134_515_008, "135M"), (1_235_814_400, "1.2B"), (70_553_706_496, "71B"), (3_345_984, "3.3M"), (98_000, "98K")] {
            assert_eq!(size_label(n), label);
        }
    }

    #[test]
    fn names_and_lists_are_read() {
        assert_eq!(title("HuggingFaceTB/SmolLM2-135M-Instruct"), "SmolLM2 135M Instruct");
        assert_eq!(items("language:\n- en\n- de\nlicense: mit", "language"), ["en", "de"]);
        assert_eq!(items("tags: [a, 'b']\n", "tags"), ["a", "b"]);
        assert_eq!(items("language: en\n", "language"), ["en"]);
    }
}
