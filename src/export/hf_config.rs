//! config.json of a model whose base is a GGUF file, as Hugging Face's libraries name its fields.

use safetensors::Dtype;
use serde_json::{Value, json};

use crate::base::error::Fault;
use crate::data::TextTokenizer;
use crate::model::spec::{DecoderSpec, Family, RopeScaling, RopeSpec};

/// The config.
///
/// # Errors
/// When the file holds what config.json cannot express.
pub(super) fn of(spec: &DecoderSpec, texts: &TextTokenizer, dtype: Dtype) -> Result<Value, Fault> {
    let (attention, feed_forward, rope) = (&spec.layers[0].attention, &spec.layers[0].feed_forward, &spec.ropes[0]);
    let mut c = json!({
        "architectures": [spec.architecture],
        "model_type": model_type(spec.family),
        "hidden_size": spec.hidden_size,
        "intermediate_size": feed_forward.width,
        "num_hidden_layers": spec.num_layers(),
        "num_attention_heads": attention.heads,
        "num_key_value_heads": attention.kv_heads,
        "head_dim": attention.head_dim,
        "vocab_size": spec.vocab_size,
        "max_position_embeddings": rope.long.as_ref().map_or(spec.max_positions, |l| l.max_positions),
        "rms_norm_eps": spec.norm_eps,
        "rope_theta": rope.theta,
        "hidden_act": "silu",
        "tie_word_embeddings": spec.tie_word_embeddings,
        "torch_dtype": match dtype { Dtype::F32 => "float32", Dtype::F16 => "float16", _ => "bfloat16" },
        "bos_token_id": texts.bos_id(),
        "eos_token_id": texts.eos_id(),
        "rope_scaling": scaling(spec, rope)?,
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
    if let Some(local) = spec.ropes.get(1) {
        // Newer versions of transformers read the two rotations from here, older ones the fields above.
        let mut full = c["rope_scaling"].as_object().cloned().unwrap_or_default();
        full.entry("rope_type").or_insert_with(|| json!("default"));
        full.insert("rope_theta".into(), json!(rope.theta));
        let sliding = json!({"rope_type": "default", "rope_theta": local.theta});
        c["rope_parameters"] = json!({"full_attention": full, "sliding_attention": sliding});
    }
    let own = of_family(spec).as_object().cloned().unwrap_or_default();
    own.into_iter().for_each(|(key, v)| c[key] = v);
    Ok(c)
}

fn model_type(family: Family) -> &'static str {
    match family {
        Family::Llama | Family::Custom => "llama",
        Family::Mistral => "mistral",
        Family::Qwen2 => "qwen2",
        Family::Qwen3 => "qwen3",
        Family::Olmo => "olmo",
        Family::Olmo2 => "olmo2",
        Family::Olmo3 => "olmo3",
        Family::Gemma3 => "gemma3_text",
        Family::Phi3 => "phi3",
        Family::SmolLM3 => "smollm3",
        Family::Granite => "granite",
    }
}

/// Fields that only this family has.
fn of_family(spec: &DecoderSpec) -> Value {
    let attention = &spec.layers[0].attention;
    let types = || -> Vec<&str> {
        let kind = |windowed: bool| if windowed { "sliding_attention" } else { "full_attention" };
        spec.layers.iter().map(|l| kind(l.attention.window.is_some())).collect()
    };
    match spec.family {
        Family::Gemma3 => json!({
            "hidden_activation": "gelu_pytorch_tanh",
            "hidden_act": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": (1.0 / attention.scale.powi(2)).round() as u64,
            "sliding_window": spec.shortest_window(),
            "layer_types": types(),
            "rope_local_base_freq": spec.ropes.get(1).map(|r| r.theta),
        }),
        Family::Olmo3 => json!({"sliding_window": spec.shortest_window(), "layer_types": types()}),
        Family::Phi3 => json!({
            "sliding_window": spec.shortest_window(),
            "partial_rotary_factor": spec.ropes[0].dim.map_or(1.0, |d| d as f64 / attention.head_dim as f64),
            "original_max_position_embeddings": spec.max_positions,
            "pad_token_id": null,
        }),
        Family::SmolLM3 => json!({
            "no_rope_layers": spec.layers.iter().map(|l| u8::from(l.attention.rope.is_some())).collect::<Vec<_>>(),
            "use_sliding_window": false,
            "pad_token_id": null,
        }),
        Family::Granite => json!({
            "embedding_multiplier": spec.embedding_scale,
            "attention_multiplier": attention.scale,
            "residual_multiplier": spec.layers[0].residual_scale,
            "logits_scaling": 1.0 / spec.logits_scale,
        }),
        _ => json!({}),
    }
}

fn scaling(spec: &DecoderSpec, rope: &RopeSpec) -> Result<Value, Fault> {
    Ok(match &rope.scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Yarn { factor, original_max_position, beta_fast, beta_slow, attention_factor, truncate } => json!({
            "rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original_max_position,
            "beta_fast": beta_fast, "beta_slow": beta_slow, "attention_factor": attention_factor, "truncate": truncate,
        }),
        RopeScaling::Factors { factors, attention_factor } if spec.family == Family::Phi3 => json!({
            "type": "longrope", "short_factor": factors, "attention_factor": attention_factor,
            "long_factor": rope.long.as_ref().map_or(factors, |l| &l.factors),
        }),
        RopeScaling::Llama3 { .. } | RopeScaling::Factors { .. } => return Err(refuse("a table of rotation frequencies")),
    })
}

fn refuse(what: &str) -> Fault {
    Fault::new("export_unsupported", format!("the GGUF file has {what}, which config.json has no words for"))
        .hint("export GGUF, or use the model folder that the file was made from")
}
