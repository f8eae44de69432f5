//! One short file per family: from its config.json to a [`DecoderSpec`].

mod custom;
mod gemma3;
mod granite;
mod llama;
mod mistral;
mod olmo;
mod olmo2;
mod olmo3;
mod phi3;
mod qwen2;
mod qwen3;
mod rope;
mod smollm3;

use serde_json::Value;

use super::config_json::ConfigJson;
use super::error::{Error, Result};
use super::limits;
use super::spec::{
    Activation, AttentionSpec, DecoderSpec, FeedForwardSpec, LayerSpec, NormKind, NormNames, QkNorm, QkvNames, RopeSpec, Unknown,
};

/// The families whose config.json is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Llama 2, 3 and 3.x.
    Llama,
    /// Mistral and Devstral.
    Mistral,
    /// Qwen2 and Qwen2.5.
    Qwen2,
    /// Qwen3 (dense).
    Qwen3,
    /// OLMo 1.
    Olmo,
    /// OLMo 2.
    Olmo2,
    /// OLMo 3.
    Olmo3,
    /// Gemma 3, its text model.
    Gemma3,
    /// Phi-3, Phi-3.5 and Phi-4-mini.
    Phi3,
    /// SmolLM3.
    SmolLM3,
    /// Granite 3 (dense).
    Granite,
    /// Any other config whose fields all fit a Llama, where the user says so.
    Custom,
}

/// How a family is told by its config, and read.
struct Entry {
    /// `architectures[0]`.
    architecture: &'static str,
    /// `model_type`, which is asked where there is no `architectures`.
    model_type: &'static str,
    read: Read,
    /// Fields that its configs leave out, as a JSON object.
    defaults: &'static str,
    /// The model is described by `text_config`, of this `model_type`; the rest of the config is about images.
    text: Option<&'static str>,
}

type Read = fn(&ConfigJson, &str) -> Result<DecoderSpec>;

const fn entry(architecture: &'static str, model_type: &'static str, read: Read, defaults: &'static str) -> Entry {
    Entry { architecture, model_type, read, defaults, text: None }
}

const fn inside(text: &'static str, entry: Entry) -> Entry {
    Entry { text: Some(text), ..entry }
}

/// All of them. A new family is a file and a line here.
const ENTRIES: &[Entry] = &[
    entry("LlamaForCausalLM", "llama", llama::spec, "{}"),
    entry("MistralForCausalLM", "mistral", mistral::spec, "{}"),
    entry("Qwen2ForCausalLM", "qwen2", qwen2::spec, "{}"),
    entry("Qwen3ForCausalLM", "qwen3", qwen3::spec, r#"{"head_dim": 128}"#),
    entry("OlmoForCausalLM", "olmo", olmo::spec, "{}"),
    entry("Olmo2ForCausalLM", "olmo2", olmo2::spec, r#"{"rms_norm_eps": 1e-5}"#),
    entry("Olmo3ForCausalLM", "olmo3", olmo3::spec, olmo3::DEFAULTS),
    entry("Gemma3ForCausalLM", "gemma3_text", gemma3::spec, gemma3::DEFAULTS),
    inside("gemma3_text", entry("Gemma3ForConditionalGeneration", "gemma3", gemma3::spec, gemma3::DEFAULTS)),
    inside("mistral", entry("Mistral3ForConditionalGeneration", "mistral3", mistral::spec, "{}")),
    entry("Phi3ForCausalLM", "phi3", phi3::spec, phi3::DEFAULTS),
    entry("SmolLM3ForCausalLM", "smollm3", smollm3::spec, smollm3::DEFAULTS),
    entry("GraniteForCausalLM", "granite", granite::spec, "{}"),
];

/// Fields that change the mathematics, with the value at which they do nothing. A family that has such a part asks for the
/// field; one that does not ask refuses it.
const CHANGES: &[(&str, Option<f64>)] = &[
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
    ("use_bidirectional_attention", None),
    ("vision_config", None),
    ("text_config", None),
];

/// The `model_type` of the family that an architecture, or without one a model type, is of.
pub(super) fn named(architecture: Option<&str>, model_type: Option<&str>) -> Option<&'static str> {
    let is_it = |e: &&Entry| architecture.map_or(model_type == Some(e.model_type), |name| name == e.architecture);
    ENTRIES.iter().find(is_it).map(|e| e.model_type)
}

/// From a config to a spec.
pub(super) fn read(mut c: ConfigJson, unknown: Unknown) -> Result<DecoderSpec> {
    let architecture = architecture(&c)?;
    quantization(&c)?;
    let Some(entry) = ENTRIES.iter().find(|e| e.architecture == architecture) else {
        if unknown == Unknown::Refuse {
            return Err(not_known(&c, &architecture));
        }
        let spec = custom::spec(&c, &architecture)?;
        return checked(&c, spec);
    };
    if let Some(wanted) = entry.text {
        c = c.object("text_config")?.ok_or_else(|| c.bad("text_config", "is missing"))?;
        let model_type = c.str("model_type")?.unwrap_or(wanted);
        if model_type != wanted {
            return Err(c.bad("model_type", format!("`{model_type}` is not supported inside {architecture}, only {wanted}")));
        }
    }
    c.fill(entry.defaults);
    let mut spec = checked(&c, (entry.read)(&c, &architecture)?)?;
    if entry.text.is_some() {
        spec.sees_images = true;
        spec.remarks.push("the model also sees images; only its text part is used, and exported as an adapter or as GGUF".into());
    }
    Ok(spec)
}

/// Refuses what the family did not ask for, and numbers that no model has.
fn checked(c: &ConfigJson, spec: DecoderSpec) -> Result<DecoderSpec> {
    refuse_changes(c)?;
    match limits::out_of_range(&spec) {
        Some((field, message)) => Err(c.bad(field, message)),
        None => Ok(spec),
    }
}

/// Refuses a field that changes the mathematics and that the family has not asked for.
fn refuse_changes(c: &ConfigJson) -> Result<()> {
    for (field, neutral) in CHANGES {
        let Some(value) = c.not_asked_value(field) else { continue };
        let does_nothing = match value {
            Value::Bool(b) => !b,
            Value::Array(a) => a.is_empty(),
            v => neutral.is_some() && v.as_f64() == *neutral,
        };
        if !does_nothing {
            return Err(c.bad(field, format!("{value} is not supported")));
        }
    }
    Ok(())
}

fn not_known(c: &ConfigJson, architecture: &str) -> Error {
    let names: Vec<&str> = ENTRIES.iter().map(|e| e.architecture.trim_end_matches("ForCausalLM")).collect();
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
    let Some(model_type) = c.str("model_type")? else {
        return Err(c.bad("architectures", "is missing, and so is model_type"));
    };
    Ok(ENTRIES.iter().find(|e| e.model_type == model_type).map_or(model_type, |e| e.architecture).to_owned())
}

/// Checkpoints that are quantised already.
fn quantization(c: &ConfigJson) -> Result<()> {
    let Some(q) = c.object("quantization_config")? else { return Ok(()) };
    let method = q.str("quant_method")?.unwrap_or("bitsandbytes");
    if matches!(method, "compressed-tensors" | "gptq" | "awq") {
        // The weights' own reader says which formats it knows.
        return Ok(());
    }
    if method != "bitsandbytes" {
        return Err(q.bad(
            "quant_method",
            format!("`{method}` is not supported; bitsandbytes, compressed-tensors, gptq and awq are, and unquantised weights"),
        ));
    }
    if q.bool("load_in_8bit")?.unwrap_or(false) {
        return Ok(());
    }
    match q.str("bnb_4bit_quant_type")? {
        None | Some("nf4") => Ok(()),
        Some(other) => Err(q.bad("bnb_4bit_quant_type", format!("`{other}` is not supported, only nf4"))),
    }
}

/// What all families share, with the parts of a Llama.
fn plain(c: &ConfigJson, architecture: &str, family: Family) -> Result<DecoderSpec> {
    with_ropes(c, architecture, family, vec![rope::read_plain(c)?])
}

/// The same, with rotations that are read already.
fn with_ropes(c: &ConfigJson, architecture: &str, family: Family, ropes: Vec<RopeSpec>) -> Result<DecoderSpec> {
    let hidden_size = c.count("hidden_size")?;
    let num_layers = c.count("num_hidden_layers")?;
    if num_layers > limits::MOST_LAYERS {
        return Err(c.bad("num_hidden_layers", format!("{num_layers} is more than {}", limits::MOST_LAYERS)));
    }
    let feed_forward = FeedForwardSpec { width: c.count("intermediate_size")?, activation: activation(c)?, bias: false, fused: false };
    let attention = attention(c, hidden_size)?;
    let layer = LayerSpec { norms: NormNames::BEFORE, attention, feed_forward, residual_scale: 1.0 };
    Ok(DecoderSpec {
        family,
        architecture: architecture.to_owned(),
        prefix: "model".into(),
        vocab_size: c.count("vocab_size")?,
        hidden_size,
        max_positions: max_positions(c)?,
        norm: NormKind::Rms,
        norm_eps: c.f64("rms_norm_eps")?.unwrap_or(1e-6),
        ropes,
        layers: vec![layer; num_layers],
        embedding_scale: 1.0,
        logits_scale: 1.0,
        tie_word_embeddings: c.bool("tie_word_embeddings")?.unwrap_or(false),
        sees_images: false,
        remarks: rope::remarks(c)?.into_iter().collect(),
    })
}

fn max_positions(c: &ConfigJson) -> Result<usize> {
    Ok(c.usize("max_position_embeddings")?.unwrap_or(2048))
}

fn activation(c: &ConfigJson) -> Result<Activation> {
    let (gemma, act) = (c.str("hidden_activation")?, c.str("hidden_act")?);
    let field = if gemma.is_some() { "hidden_activation" } else { "hidden_act" };
    match gemma.or(act).unwrap_or("silu") {
        "silu" => Ok(Activation::Silu),
        "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        other => Err(c.bad(field, format!("`{other}` is not supported; silu and gelu_pytorch_tanh are"))),
    }
}

fn attention(c: &ConfigJson, hidden_size: usize) -> Result<AttentionSpec> {
    let heads = c.count("num_attention_heads")?;
    let head_dim = match c.usize("head_dim")? {
        Some(n) => n,
        None if hidden_size.is_multiple_of(heads) => hidden_size / heads,
        None => return Err(c.bad("num_attention_heads", format!("{heads} does not divide hidden_size {hidden_size}"))),
    };
    if head_dim == 0 || !head_dim.is_multiple_of(2) {
        return Err(c.bad("head_dim", format!("{head_dim} must be even and at least 2")));
    }
    let kv_heads = c.usize("num_key_value_heads")?.unwrap_or(heads);
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        return Err(c.bad("num_key_value_heads", format!("{kv_heads} does not divide num_attention_heads {heads}")));
    }
    Ok(AttentionSpec {
        heads,
        kv_heads,
        head_dim,
        rope: Some(0),
        window: None,
        scale: 1.0 / (head_dim as f64).sqrt(),
        qk_norm: QkNorm::None,
        clip: None,
        qkv_bias: false,
        o_bias: false,
        qkv: QkvNames::Apart,
    })
}

impl DecoderSpec {
    /// Changes every layer.
    fn each(mut self, change: impl Fn(&mut LayerSpec)) -> Self {
        self.layers.iter_mut().for_each(change);
        self
    }

    /// Gives each layer its window.
    fn windows(mut self, windows: Vec<Option<usize>>) -> Self {
        self.layers.iter_mut().zip(windows).for_each(|(l, w)| l.attention.window = w);
        self
    }

    /// Biases on all four projections of attention.
    fn attention_bias(self, bias: bool) -> Self {
        self.each(|l| (l.attention.qkv_bias, l.attention.o_bias) = (bias, bias))
    }
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
