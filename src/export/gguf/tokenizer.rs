//! The tokenizer as llama.cpp expects it, from `tokenizer.json`.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::{tokens, unigram};
use crate::base::error::Fault;
use crate::base::files;
use crate::data::TextTokenizer;
use crate::model::gguf::Value;
use crate::model::spec::DecoderSpec;

const NORMAL: i32 = 1;
pub(super) const CONTROL: i32 = 3;
pub(super) const USER_DEFINED: i32 = 4;
pub(super) const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// The splitting of Llama 3 and of GPT-4, with digits in threes.
pub(super) const THREES: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// That of Qwen2, with digits one by one.
pub(super) const ONES: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// That of Mistral's Tekken.
pub(super) const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// That of GPT-4o.
pub(super) const OMNI: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

fn refuse(texts: &TextTokenizer, message: &str) -> Fault {
    Fault::new("export_tokenizer", format!("{}: {message}", texts.origin().join("tokenizer.json").display()))
        .hint("export merged safetensors instead: --format safetensors")
}

/// All `tokenizer.*` pairs, and for which texts llama.cpp makes other tokens.
pub(super) fn metadata(texts: &TextTokenizer, spec: &DecoderSpec) -> Result<(Vec<(String, Value)>, Vec<String>), Fault> {
    let text = texts.inner().to_string(false).map_err(|e| refuse(texts, &e.to_string()))?;
    let json: Json = serde_json::from_str(&text).map_err(|e| refuse(texts, &e.to_string()))?;
    if json["model"]["type"] != "BPE" {
        return Err(refuse(texts, &format!("llama.cpp reads BPE tokenizers; this one is {}", json["model"]["type"])));
    }
    let mut pairs = Vec::new();
    let mut put = |key: &str, v: Value| {
        // Templates alone have no `ggml` in their names.
        let key = if key.starts_with("chat_template") { format!("tokenizer.{key}") } else { format!("tokenizer.ggml.{key}") };
        pairs.push((key, v));
    };
    let byte_level = json["pre_tokenizer"].to_string().contains("ByteLevel");
    let merges = merges(&json);
    let pieces = pieces(&json, spec.vocab_size, byte_level);
    put("model", Value::String(if byte_level { "gpt2" } else { "llama" }.into()));
    let pre = match byte_level {
        true => splitting(&json).ok_or_else(|| refuse(texts, "llama.cpp has no pre-tokenizer that splits text as this one does"))?,
        false if unigram::is_like_sentencepiece(&json, &merges) => "default",
        false => return Err(refuse(texts, "it is neither byte-level nor made from SentencePiece, so llama.cpp cannot follow it")),
    };
    put("pre", Value::String(pre.into()));
    put("tokens", Value::Array(pieces.iter().map(|p| Value::String(p.text.clone())).collect()));
    put("token_type", Value::Array(pieces.iter().map(|p| Value::I32(p.kind)).collect()));
    if byte_level {
        put("merges", Value::Array(merges.iter().map(|(a, b)| Value::String(format!("{a} {b}"))).collect()));
    } else {
        let names: Vec<&str> = pieces.iter().map(|p| p.text.as_str()).collect();
        put("scores", Value::Array(unigram::scores(&names, &merges).into_iter().map(Value::F32).collect()));
        put("add_space_prefix", Value::Bool(unigram::adds_space(&json)));
    }
    special(texts, spec, &mut put)?;
    let mut notes = notes(&json, byte_level);
    if !byte_level {
        notes.extend(settle_space(texts, &mut pairs));
    }
    notes.extend(tokens::notes(texts, &pairs));
    Ok((pairs, notes))
}

/// llama.cpp puts a space before a text and after every special token, or nowhere. Of the two the
/// one stays that gives more chats the tokens of the model.
fn settle_space(texts: &TextTokenizer, pairs: &mut [(String, Value)]) -> Option<String> {
    let as_it_is = tokens::different_chats(texts, pairs)?;
    let at = pairs.iter().position(|(k, _)| k == "tokenizer.ggml.add_space_prefix")?;
    let held = pairs[at].1.clone();
    pairs[at].1 = Value::Bool(held != Value::Bool(true));
    let other = tokens::different_chats(texts, pairs)?;
    if other >= as_it_is {
        pairs[at].1 = held;
        return None;
    }
    let word = if held == Value::Bool(true) { "no space" } else { "a space" };
    Some(format!("llama.cpp is told to put {word} before texts: so {} more chats get the model's own tokens", as_it_is - other))
}

fn notes(json: &Json, byte_level: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if json["normalizer"]["type"] == "NFC" {
        notes.push("this tokenizer composes accents first (Unicode's NFC), llama.cpp does not: there texts must come in NFC".into());
    }
    if !byte_level && unigram::skips_spaces(json) {
        notes.push("llama.cpp, like SentencePiece, puts a space before texts that begin with one, too; this tokenizer does not".into());
    }
    notes
}

struct Piece {
    text: String,
    kind: i32,
}

/// Every row of the embedding with its text.
fn pieces(json: &Json, rows: usize, byte_level: bool) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = (0..rows).map(|i| Piece { text: format!("[PAD{i}]"), kind: UNUSED }).collect();
    for (text, id) in json["model"]["vocab"].as_object().into_iter().flatten() {
        if let Some(piece) = id.as_u64().and_then(|id| pieces.get_mut(id as usize)) {
            let is_byte = !byte_level && text.len() == 6 && text.starts_with("<0x") && text.ends_with('>');
            let unknown = !byte_level && json["model"]["unk_token"] == text.as_str();
            *piece = Piece {
                text: text.clone(),
                kind: if is_byte {
                    BYTE
                } else if unknown {
                    2
                } else {
                    NORMAL
                },
            };
        }
    }
    for token in json["added_tokens"].as_array().into_iter().flatten() {
        let (Some(id), Some(text)) = (token["id"].as_u64(), token["content"].as_str()) else { continue };
        if let Some(piece) = pieces.get_mut(id as usize).filter(|p| p.kind != 2) {
            let kind = if token["special"] == true { CONTROL } else { USER_DEFINED };
            *piece = Piece { text: text.to_owned(), kind };
        }
    }
    pieces
}

fn merges(json: &Json) -> Vec<(String, String)> {
    // A space inside a part would be taken for the one between the parts.
    let part = |s: &str| s.replace(' ', "\u{0120}");
    let one = |m: &Json| match m {
        Json::String(s) => s.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())),
        Json::Array(a) => Some((part(a.first()?.as_str()?), part(a.get(1)?.as_str()?))),
        _ => None,
    };
    json["model"]["merges"].as_array().into_iter().flatten().filter_map(one).collect()
}

/// llama.cpp's name for the way a text is split before merging.
fn splitting(json: &Json) -> Option<&'static str> {
    if !json["normalizer"].is_null() && json["normalizer"]["type"] != "NFC" {
        return None;
    }
    let pre = &json["pre_tokenizer"];
    let single = [pre.clone()];
    let steps: &[Json] = pre["pretokenizers"].as_array().map_or(&single, Vec::as_slice);
    let own_split = steps.iter().any(|s| s["type"] == "ByteLevel" && s["use_regex"] != false);
    if steps.iter().any(|s| s["add_prefix_space"] == true) {
        return None;
    }
    let whole = json["model"]["ignore_merges"] == true;
    let others: Vec<&Json> = steps.iter().filter(|s| s["type"] != "ByteLevel").collect();
    match (others.as_slice(), own_split) {
        ([], true) => Some("gpt-2"),
        ([digits], true) if digits["type"] == "Digits" && digits["individual_digits"] == true => Some("smollm"),
        ([split], false) if split["type"] == "Split" && split["invert"] != true => match (split["pattern"]["Regex"].as_str()?, whole) {
            (THREES, true) => Some("llama-bpe"),
            (THREES, false) => Some("dbrx"),
            (ONES, false) => Some("qwen2"),
            (TEKKEN, true) => Some("tekken"),
            (OMNI, false) => Some("gpt-4o"),
            _ => None,
        },
        _ => None,
    }
}

/// Special ids, and what the tokenizer puts around a text.
fn special(texts: &TextTokenizer, spec: &DecoderSpec, put: &mut impl FnMut(&str, Value)) -> Result<(), Fault> {
    let config = config(texts);
    let (ends, begins) = (ids(&config, "eos_token_id"), ids(&config, "bos_token_id"));
    let eos = texts.eos_id().or(ends.first().copied());
    // Without this key llama.cpp takes id 11 for the beginning of a text.
    let bos = texts.bos_id().or(begins.first().copied()).or(eos);
    let all = [
        ("bos", bos),
        ("eos", eos),
        ("unknown", texts.unk_id()),
        ("padding", texts.pad_id().or_else(|| ids(&config, "pad_token_id").first().copied())),
    ];
    for (name, id) in all.into_iter().filter_map(|(n, id)| Some((n, id?))).filter(|(_, id)| (*id as usize) < spec.vocab_size) {
        put(&format!("{name}_token_id"), Value::U32(id));
    }
    let end = texts.turn_end().into_iter().chain(ends.iter().copied()).find(|id| Some(*id) != eos);
    if let Some(end) = end.filter(|id| (*id as usize) < spec.vocab_size) {
        put("eot_token_id", Value::U32(end));
    }
    let (bare, full) = (texts.encode("a", false)?, texts.encode("a", true)?);
    let at = full.windows(bare.len().max(1)).position(|w| w == bare).unwrap_or(0);
    put("add_bos_token", Value::Bool(at > 0));
    put("add_eos_token", Value::Bool(full.len() > at + bare.len()));
    if let Some(template) = texts.chat_template() {
        put("chat_template", Value::String(template.source().to_owned()));
    }
    let named = named_templates(texts);
    if !named.is_empty() {
        put("chat_templates", Value::Array(named.iter().map(|(name, _)| Value::String(name.clone())).collect()));
    }
    for (name, template) in named {
        put(&format!("chat_template.{name}"), Value::String(template));
    }
    Ok(())
}

/// Templates for other purposes, such as `tool_use`, by their names.
fn named_templates(texts: &TextTokenizer) -> Vec<(String, String)> {
    let read = |name: &str| files::read_text(&texts.origin().join(name)).ok();
    let config: Json = read("tokenizer_config.json").and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default();
    let listed = config["chat_template"].as_array().into_iter().flatten();
    let mut all: Vec<(String, String)> = listed
        .filter_map(|t| Some((t["name"].as_str()?.to_owned(), t["template"].as_str()?.to_owned())))
        .filter(|(name, _)| name != "default")
        .collect();
    let folder = std::fs::read_dir(texts.origin().join("additional_chat_templates")).into_iter().flatten().flatten();
    for path in folder.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "jinja")) {
        let (Some(name), Ok(text)) = (path.file_stem(), files::read_text(&path)) else { continue };
        let name = name.to_string_lossy().into_owned();
        if !all.iter().any(|(n, _)| *n == name) {
            all.push((name, text));
        }
    }
    // As llama.cpp's converter writes them: letters, digits and underscores.
    for (name, _) in &mut all {
        *name = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    }
    all.sort();
    all
}

/// The token that this tokenizer, and so llama.cpp with its file, puts before every text.
///
/// # Errors
/// When the tokenizer refuses a text.
pub fn added_start(texts: &TextTokenizer) -> Result<Option<String>, Fault> {
    let (bare, full) = (texts.encode("a", false)?, texts.encode("a", true)?);
    let added = full.len() > bare.len() && full.ends_with(&bare);
    Ok(full.first().filter(|_| added).and_then(|id| texts.inner().id_to_token(*id)))
}

fn config(texts: &TextTokenizer) -> HashMap<String, Json> {
    let read = |name: &str| files::read_text(&texts.origin().join(name)).ok();
    let parse = |text: String| serde_json::from_str::<HashMap<String, Json>>(&text).ok();
    let mut all = read("config.json").and_then(parse).unwrap_or_default();
    // What generation says goes before what the architecture says.
    all.extend(read("generation_config.json").and_then(parse).unwrap_or_default());
    all
}

fn ids(config: &HashMap<String, Json>, key: &str) -> Vec<u32> {
    let one = |v: &Json| v.as_u64().map(|n| n as u32);
    match config.get(key) {
        Some(Json::Array(a)) => a.iter().filter_map(one).collect(),
        Some(v) => one(v).into_iter().collect(),
        None => Vec::new(),
    }
}
