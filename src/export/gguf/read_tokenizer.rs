//! The tokenizer inside a GGUF file, so that the file alone is a model.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value as Json, json};
use tokenizers::Tokenizer;

use super::tokenizer::{CONTROL, OMNI, ONES, TEKKEN, THREES, UNUSED, USER_DEFINED};
use crate::base::error::Fault;
use crate::data::TextTokenizer;
use crate::model::gguf::{GgufFile, Value};

/// Reads it.
///
/// # Errors
/// When the file has no tokenizer, or one of a kind that is not known.
pub fn tokenizer_of(path: &Path) -> Result<TextTokenizer, Fault> {
    let file = GgufFile::open(path)?;
    let refuse = |m: String| Fault::new("tokenizer_unsupported", format!("{}: {m}", path.display()));
    let get = |key: &str| file.get(key);
    let parts = Parts::of(&get).ok_or_else(|| refuse("the file holds no tokenizer".into()))?;
    let json = parts.json().map_err(refuse)?;
    let inner = TextTokenizer::parse(json.to_string().as_bytes()).map_err(refuse)?;
    let named = [("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding")];
    let special = named.into_iter().filter_map(|(name, key)| Some((name.to_owned(), parts.named(key)?.to_owned()))).collect();
    let mut texts = TextTokenizer::from_parts(inner, special)?.at(path);
    if let Some(template) = file.get("tokenizer.chat_template").and_then(Value::as_str) {
        texts.set_chat_template(template, &path.display().to_string())?;
    }
    Ok(texts)
}

/// Ids that end an answer, as the file names them.
///
/// # Errors
/// When the file cannot be read.
pub fn end_ids(path: &Path) -> Result<Vec<u32>, Fault> {
    let file = GgufFile::open(path)?;
    let id = |key: &str| file.get(&format!("tokenizer.ggml.{key}_token_id")).and_then(Value::as_u64).map(|n| n as u32);
    Ok(["eos", "eot"].into_iter().filter_map(id).collect())
}

/// The tokenizer that a reader makes of a file with these pairs.
///
/// # Errors
/// When they describe none that is known.
pub(super) fn as_read(pairs: &[(String, Value)]) -> Result<Tokenizer, String> {
    let get = |key: &str| pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v);
    let json = Parts::of(&get).ok_or("there are no tokens")?.json()?;
    TextTokenizer::parse(json.to_string().as_bytes())
}

/// The pairs of a file that tell of its tokenizer.
struct Parts<'a> {
    lookup: &'a dyn Fn(&str) -> Option<&'a Value>,
    pieces: Vec<&'a str>,
    kinds: Vec<i64>,
}

impl<'a> Parts<'a> {
    fn of(lookup: &'a dyn Fn(&str) -> Option<&'a Value>) -> Option<Self> {
        let pieces: Vec<&str> = lookup("tokenizer.ggml.tokens")?.as_array()?.iter().filter_map(Value::as_str).collect();
        let kinds = lookup("tokenizer.ggml.token_type").and_then(Value::as_array).unwrap_or(&[]);
        let mut kinds: Vec<i64> = kinds.iter().map(|v| v.as_u64().map_or(1, |n| n as i64)).collect();
        kinds.resize(pieces.len(), 1);
        Some(Self { lookup, pieces, kinds })
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        (self.lookup)(&format!("tokenizer.ggml.{key}"))
    }

    fn named(&self, key: &str) -> Option<&'a str> {
        let id = self.get(&format!("{key}_token_id"))?.as_u64()?;
        self.pieces.get(id as usize).copied()
    }

    fn json(&self) -> Result<Json, String> {
        let model = self.get("model").and_then(Value::as_str).unwrap_or("");
        let pre = self.get("pre").and_then(Value::as_str).unwrap_or("default");
        let mut json = match model {
            "gpt2" => self.byte_level(pre)?,
            "llama" => self.sentencepiece(),
            other => return Err(format!("a tokenizer of the kind `{other}` is not read; gpt2 and llama are")),
        };
        let special = |kind: i64| kind == i64::from(CONTROL);
        let listed = self.kinds.iter().enumerate().filter(|(_, k)| special(**k) || **k == i64::from(USER_DEFINED));
        let added: Vec<Json> = listed
            .map(|(id, k)| {
                json!({"id": id, "content": self.pieces[id], "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": special(*k)})
            })
            .collect();
        json["added_tokens"] = added.into();
        if self.get("add_bos_token") == Some(&Value::Bool(true))
            && let Some(bos) = self.named("bos")
        {
            let id = self.pieces.iter().position(|p| *p == bos);
            json["post_processor"] = json!({
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {bos: {"id": bos, "ids": [id], "tokens": [bos]}},
            });
        }
        Ok(json)
    }

    fn vocabulary(&self) -> Map<String, Json> {
        let known = self.pieces.iter().zip(&self.kinds).enumerate().filter(|(_, (_, k))| **k != i64::from(UNUSED));
        known.map(|(id, (text, _))| ((*text).to_owned(), json!(id))).collect()
    }

    fn byte_level(&self, pre: &str) -> Result<Json, String> {
        let bytes = |split: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": split});
        let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
        let digits = json!({"type": "Digits", "individual_digits": true});
        let steps = match pre {
            "gpt-2" | "olmo" | "default" => vec![bytes(true)],
            "smollm" | "starcoder" => vec![digits, bytes(true)],
            "llama-bpe" | "dbrx" | "smaug-bpe" => vec![split(THREES), bytes(false)],
            "qwen2" | "stablelm2" => vec![split(ONES), bytes(false)],
            "tekken" => vec![split(TEKKEN), bytes(false)],
            "gpt-4o" => vec![split(OMNI), bytes(false)],
            other => return Err(format!("the pre-tokenizer `{other}` is not known")),
        };
        let merges: Vec<Json> = self.get("merges").and_then(Value::as_array).unwrap_or(&[]).iter().map(|m| json!(m.as_str())).collect();
        Ok(json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
            "decoder": bytes(true),
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": matches!(pre, "llama-bpe" | "tekken"), "vocab": self.vocabulary(), "merges": merges},
        }))
    }

    /// Merges from scores: every way to put a piece together, the best-scored piece first.
    fn sentencepiece(&self) -> Json {
        let scores: Vec<f64> = self.get("scores").and_then(Value::as_array).unwrap_or(&[]).iter().map(signed).collect();
        let ids: HashMap<&str, usize> = self.pieces.iter().enumerate().map(|(i, p)| (*p, i)).collect();
        let mut merges = Vec::new();
        for (i, piece) in self.pieces.iter().enumerate().filter(|(i, _)| self.kinds[*i] == 1) {
            for (at, _) in piece.char_indices().skip(1) {
                let (a, b) = piece.split_at(at);
                if let (Some(x), Some(y)) = (ids.get(a), ids.get(b)) {
                    merges.push((scores.get(i).copied().unwrap_or(0.0), *x, *y, a, b));
                }
            }
        }
        merges.sort_by(|l, r| r.0.total_cmp(&l.0).then(l.1.cmp(&r.1)).then(l.2.cmp(&r.2)));
        let merges: Vec<Json> = merges.into_iter().map(|(_, _, _, a, b)| json!([a, b])).collect();
        let space = "\u{2581}";
        let mut normalizers = vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": space})];
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": space}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        // The space that is put before a text is taken away again.
        if self.get("add_space_prefix") != Some(&Value::Bool(false)) {
            normalizers.insert(0, json!({"type": "Prepend", "prepend": space}));
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        json!({
            "version": "1.0", "truncation": null, "padding": null, "post_processor": null, "pre_tokenizer": null,
            "normalizer": {"type": "Sequence", "normalizers": normalizers},
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": {"type": "BPE", "dropout": null, "unk_token": self.named("unknown"), "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
                "vocab": self.vocabulary(), "merges": merges},
        })
    }
}

fn signed(v: &Value) -> f64 {
    match v {
        Value::F32(v) => f64::from(*v),
        other => other.as_f64().unwrap_or(0.0),
    }
}
