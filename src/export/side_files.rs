//! What belongs to a model folder beside its weights: config, tokenizer, chat template, licence.
//!
//! A base in a folder has them. A GGUF file has them inside: they are made from its metadata.

use std::path::Path;

use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::served;
use crate::base::atomic::write_file;
use crate::base::error::Fault;
use crate::data::TextTokenizer;
use crate::model::gguf::is_gguf;
use crate::model::merge::copy_side_files;
use crate::model::spec::{DecoderSpec, Family, RopeScaling};

/// A base model with its tokenizer.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// Its folder or GGUF file.
    pub path: &'a Path,
    /// Its tokenizer.
    pub texts: &'a TextTokenizer,
}

/// Writes them into `to`; what a reader should know of them.
///
/// # Errors
/// When a file cannot be read or written, or a GGUF file holds what config.json cannot express.
pub fn write(base: Base, spec: &DecoderSpec, to: &Path, dtype: Option<Dtype>) -> Result<Vec<String>, Fault> {
    if !is_gguf(base.path) {
        copy_side_files(base.path, to, dtype)?;
        served::write(base, to)?;
        return Ok(renamed_class(base.path, to).into_iter().collect());
    }
    let config = config_of(spec, base.texts, dtype.unwrap_or(Dtype::BF16))?;
    write_file(&to.join("config.json"), format!("{config:#}\n").as_bytes())?;
    let tokenizer = base.texts.inner().to_string(true).map_err(|e| Fault::new("export_tokenizer", e.to_string()))?;
    write_file(&to.join("tokenizer.json"), tokenizer.as_bytes())?;
    let settings = tokenizer_config(base.texts);
    write_file(&to.join("tokenizer_config.json"), format!("{settings:#}\n").as_bytes())?;
    served::write(base, to)?;
    Ok(vec!["the base is a GGUF file: its weights were dequantised, and config and tokenizer were made from its metadata".into()])
}

/// Says that the tokenizer's class was changed so that transformers takes tokenizer.json as it is.
fn renamed_class(from: &Path, to: &Path) -> Option<String> {
    let class = |folder: &Path| {
        let text = std::fs::read_to_string(folder.join("tokenizer_config.json")).ok()?;
        Some(serde_json::from_str::<Value>(&text).ok()?["tokenizer_class"].as_str()?.to_owned())
    };
    let (old, new) = (class(from)?, class(to)?);
    (old != new).then(|| {
        format!("tokenizer_config.json names {new} instead of {old}: transformers 5 would build {old} anew, which makes other tokens of some texts")
    })
}

fn tokenizer_config(texts: &TextTokenizer) -> Value {
    let mut settings = Map::new();
    settings.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
    settings.insert("clean_up_tokenization_spaces".into(), json!(false));
    for name in ["bos_token", "eos_token", "pad_token", "unk_token"] {
        if let Some(text) = texts.special(name) {
            settings.insert(name.into(), json!(text));
        }
    }
    if let Some(template) = texts.chat_template() {
        settings.insert("chat_template".into(), json!(template.source()));
    }
    Value::Object(settings)
}

/// config.json of an architecture whose layers are all alike.
fn config_of(spec: &DecoderSpec, texts: &TextTokenizer, dtype: Dtype) -> Result<Value, Fault> {
    let model_type = match spec.family {
        Family::Llama | Family::Custom => "llama",
        Family::Mistral => "mistral",
        Family::Qwen2 => "qwen2",
        Family::Qwen3 => "qwen3",
        Family::Olmo => "olmo",
        Family::Olmo2 => "olmo2",
        _ => return Err(refuse("layers of several kinds")),
    };
    let (attention, feed_forward, rope) = (&spec.layers[0].attention, &spec.layers[0].feed_forward, &spec.ropes[0]);
    let mut c = json!({
        "architectures": [spec.architecture],
        "model_type": model_type,
        "hidden_size": spec.hidden_size,
        "intermediate_size": feed_forward.width,
        "num_hidden_layers": spec.num_layers(),
        "num_attention_heads": attention.heads,
        "num_key_value_heads": attention.kv_heads,
        "head_dim": attention.head_dim,
        "vocab_size": spec.vocab_size,
        "max_position_embeddings": spec.max_positions,
        "rms_norm_eps": spec.norm_eps,
        "rope_theta": rope.theta,
        "hidden_act": "silu",
        "tie_word_embeddings": spec.tie_word_embeddings,
        "torch_dtype": match dtype { Dtype::F32 => "float32", Dtype::F16 => "float16", _ => "bfloat16" },
        "bos_token_id": texts.bos_id(),
        "eos_token_id": texts.eos_id(),
    });
    if attention.qkv_bias && spec.family != Family::Qwen2 {
        c["attention_bias"] = json!(true);
    }
    if feed_forward.bias {
        c["mlp_bias"] = json!(true);
    }
    if let Some(clip) = attention.clip {
        c["clip_qkv"] = json!(clip);
    }
    c["rope_scaling"] = match &rope.scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Yarn { factor, original_max_position, beta_fast, beta_slow, attention_factor, truncate } => json!({
            "rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original_max_position,
            "beta_fast": beta_fast, "beta_slow": beta_slow, "attention_factor": attention_factor, "truncate": truncate,
        }),
        RopeScaling::Llama3 { .. } | RopeScaling::Factors { .. } => return Err(refuse("a table of rotation frequencies")),
    };
    Ok(c)
}

fn refuse(what: &str) -> Fault {
    Fault::new("export_unsupported", format!("the GGUF file has {what}, which config.json has no words for"))
        .hint("export GGUF, or use the model folder that the file was made from")
}
