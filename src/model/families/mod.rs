//! One short file per family: from its config.json to a [`DecoderSpec`].

mod custom;
mod llama;
mod mistral;
mod olmo;
mod olmo2;
mod qwen2;
mod qwen3;
mod rope;

use serde_json::Value;

use super::config_json::ConfigJson;
use super::error::{Error, Result};
use super::limits;
use super::spec::{DecoderSpec, Family, NormKind, NormPlacement, QkNorm, Unknown};

/// Fields that change the mathematics in ways this decoder does not have, with the value at which they do nothing.
const REFUSED: &[(&str, Option<f64>)] = &[
    ("num_experts", Some(0.0)),
    ("num_local_experts", Some(0.0)),
    ("n_routed_experts", Some(0.0)),
    ("moe_intermediate_size", None),
    ("attn_logit_softcapping", None),
    ("final_logit_softcapping", None),
    ("query_pre_attn_scalar", None),
    ("partial_rotary_factor", Some(1.0)),
    ("rotary_pct", Some(1.0)),
    ("embedding_multiplier", Some(1.0)),
    ("residual_multiplier", Some(1.0)),
    ("attention_multiplier", None),
    ("logits_scaling", Some(1.0)),
    ("logit_scale", Some(1.0)),
    ("no_rope_layers", None),
    ("alibi", None),
    ("vision_config", None),
    ("text_config", None),
];

/// From a config to a spec.
pub(super) fn read(c: &ConfigJson, unknown: Unknown) -> Result<DecoderSpec> {
    let architecture = architecture(c)?;
    for (field, neutral) in REFUSED {
        let Some(value) = c.get(field) else { continue };
        let does_nothing = match value {
            Value::Bool(b) => !b,
            Value::Array(a) => a.is_empty(),
            v => neutral.is_some() && v.as_f64() == *neutral,
        };
        if !does_nothing {
            return Err(c.bad(field, format!("{value} is not supported")));
        }
    }
    if let Some(act) = c.str("hidden_act")?
        && act != "silu"
    {
        return Err(c.bad("hidden_act", format!("`{act}` is not supported, only silu")));
    }
    quantization(c)?;
    let mut spec = match architecture.as_str() {
        "LlamaForCausalLM" => llama::spec(c, &architecture),
        "MistralForCausalLM" => mistral::spec(c, &architecture),
        "Qwen2ForCausalLM" => qwen2::spec(c, &architecture),
        "Qwen3ForCausalLM" => qwen3::spec(c, &architecture),
        "OlmoForCausalLM" => olmo::spec(c, &architecture),
        "Olmo2ForCausalLM" => olmo2::spec(c, &architecture),
        _ if unknown == Unknown::ReadAsLlama => custom::spec(c, &architecture),
        _ => Err(not_known(c, &architecture)),
    }?;
    spec.remarks.extend(rope::remarks(c)?);
    match limits::out_of_range(&spec) {
        Some((field, message)) => Err(c.bad(field, message)),
        None => Ok(spec),
    }
}

/// Names that are read.
const ARCHITECTURES: [&str; 6] =
    ["LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "OlmoForCausalLM", "Olmo2ForCausalLM"];

fn not_known(c: &ConfigJson, architecture: &str) -> Error {
    let names: Vec<&str> = ARCHITECTURES.iter().map(|n| n.trim_end_matches("ForCausalLM")).collect();
    let message = format!(
        "`{architecture}` is not known; {} are. If it computes as a Llama does, say so: `base_model.type: custom` in a project, \
         --custom on the command line",
        names.join(", ")
    );
    c.bad("architectures", message)
}

fn architecture(c: &ConfigJson) -> Result<String> {
    if let Some(list) = c.strings("architectures")?
        && let Some(first) = list.first()
    {
        return Ok((*first).to_owned());
    }
    let name = match c.str("model_type")? {
        Some("llama") => "LlamaForCausalLM",
        Some("mistral") => "MistralForCausalLM",
        Some("qwen2") => "Qwen2ForCausalLM",
        Some("qwen3") => "Qwen3ForCausalLM",
        Some("olmo") => "OlmoForCausalLM",
        Some("olmo2") => "Olmo2ForCausalLM",
        Some(other) => other,
        None => return Err(c.bad("architectures", "is missing, and so is model_type")),
    };
    Ok(name.to_owned())
}

/// Checkpoints that are quantised already: only bitsandbytes NF4 is read.
fn quantization(c: &ConfigJson) -> Result<()> {
    let Some(q) = c.object("quantization_config")? else { return Ok(()) };
    let method = q.str("quant_method")?.unwrap_or("bitsandbytes");
    if method != "bitsandbytes" {
        return Err(q.bad("quant_method", format!("`{method}` is not supported; bitsandbytes 4-bit is, and unquantised weights")));
    }
    if q.bool("load_in_8bit")?.unwrap_or(false) {
        return Err(q.bad("load_in_8bit", "8-bit bitsandbytes checkpoints are not supported; 4-bit NF4 ones are"));
    }
    match q.str("bnb_4bit_quant_type")? {
        None | Some("nf4") => Ok(()),
        Some(other) => Err(q.bad("bnb_4bit_quant_type", format!("`{other}` is not supported, only nf4"))),
    }
}

/// What all families share, with the values of the plain Llama block.
fn plain(c: &ConfigJson, family: Family, architecture: &str, default_eps: f64) -> Result<DecoderSpec> {
    let (hidden_size, num_heads) = (c.count("hidden_size")?, c.count("num_attention_heads")?);
    let num_layers = c.count("num_hidden_layers")?;
    if num_layers > limits::MOST_LAYERS {
        return Err(c.bad("num_hidden_layers", format!("{num_layers} is more than {}", limits::MOST_LAYERS)));
    }
    let head_dim = match c.usize("head_dim")? {
        Some(n) => n,
        None if hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
        None => return Err(c.bad("num_attention_heads", format!("{num_heads} does not divide hidden_size {hidden_size}"))),
    };
    if head_dim == 0 || !head_dim.is_multiple_of(2) {
        return Err(c.bad("head_dim", format!("{head_dim} must be even and at least 2")));
    }
    let num_kv_heads = c.usize("num_key_value_heads")?.unwrap_or(num_heads);
    if num_kv_heads == 0 || !num_heads.is_multiple_of(num_kv_heads) {
        return Err(c.bad("num_key_value_heads", format!("{num_kv_heads} does not divide num_attention_heads {num_heads}")));
    }
    let max_positions = c.usize("max_position_embeddings")?.unwrap_or(2048);
    let (rope_theta, rope_scaling) = rope::read(c, max_positions)?;
    Ok(DecoderSpec {
        family,
        architecture: architecture.to_owned(),
        vocab_size: c.count("vocab_size")?,
        hidden_size,
        intermediate_size: c.count("intermediate_size")?,
        num_layers,
        num_heads,
        num_kv_heads,
        head_dim,
        norm: NormKind::Rms,
        norm_placement: NormPlacement::Pre,
        norm_eps: c.f64("rms_norm_eps")?.unwrap_or(default_eps),
        qk_norm: QkNorm::None,
        qkv_bias: false,
        o_bias: false,
        mlp_bias: false,
        clip_qkv: None,
        rope_theta,
        rope_scaling,
        max_positions,
        windows: vec![None; num_layers],
        tie_word_embeddings: c.bool("tie_word_embeddings")?.unwrap_or(false),
        remarks: Vec::new(),
    })
}

/// Windows of the Qwen families: `layer_types` where given, else layers from `max_window_layers` upward.
fn qwen_windows(c: &ConfigJson, num_layers: usize) -> Result<Vec<Option<usize>>> {
    let window = if c.bool("use_sliding_window")?.unwrap_or(false) { c.usize("sliding_window")? } else { None };
    let first = c.usize("max_window_layers")?.unwrap_or(28);
    let by_index = (0..num_layers).map(|i| window.filter(|_| i >= first)).collect();
    layer_types(c, num_layers, window).map(|w| w.unwrap_or(by_index))
}

/// Reads `layer_types`: full_attention or sliding_attention for each layer.
fn layer_types(c: &ConfigJson, num_layers: usize, window: Option<usize>) -> Result<Option<Vec<Option<usize>>>> {
    const FIELD: &str = "layer_types";
    let Some(types) = c.strings(FIELD)? else { return Ok(None) };
    if types.len() != num_layers {
        return Err(c.bad(FIELD, format!("has {} entries for {num_layers} layers", types.len())));
    }
    let one = |t: &&str| match *t {
        "full_attention" => Ok(None),
        "sliding_attention" => match window {
            Some(w) => Ok(Some(w)),
            None => Err(c.bad(FIELD, "says sliding_attention but sliding_window is not set")),
        },
        other => Err(c.bad(FIELD, format!("`{other}` is not supported"))),
    };
    types.iter().map(one).collect::<Result<Vec<_>>>().map(Some)
}
