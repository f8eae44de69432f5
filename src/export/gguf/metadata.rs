//! The metadata of a model, as llama.cpp expects them for each architecture, and what it cannot express.

use super::{Settings, tokenizer};
use crate::base::error::Fault;
use crate::export::Merged;
use crate::export::side_files::Base;
use crate::model::gguf::{Arch, FREQUENCIES, LONG_FACTORS, SHORT_FACTORS, Value};
use crate::model::spec::{DecoderSpec, LayerSpec, RopeScaling};

/// Key-value pairs in their order, and remarks for the reader of the report.
pub(super) struct Metadata {
    pub(super) pairs: Vec<(String, Value)>,
    pub(super) notes: Vec<String>,
}

/// YaRN's constants that llama.cpp assumes.
const BETAS: (f64, f64) = (32.0, 1.0);

fn refuse(message: String) -> Fault {
    Fault::new("export_unsupported", message).hint("export merged safetensors instead: --format safetensors")
}

/// Whether llama.cpp's own YaRN does the same.
fn is_usual_yarn(scaling: &RopeScaling) -> bool {
    matches!(scaling, RopeScaling::Yarn { beta_fast, beta_slow, truncate: true, .. } if (*beta_fast, *beta_slow) == BETAS)
}

/// Tables of divisors of the frequencies, by the names of their tensors.
pub(super) fn frequency_tables(spec: &DecoderSpec, arch: Arch) -> Vec<(&'static str, Vec<f32>)> {
    let rope = &spec.ropes[0];
    if let (Arch::Phi3, RopeScaling::Factors { factors, .. }) = (arch, &rope.scaling) {
        // llama.cpp takes the long ones in sequences beyond the first context.
        let long = rope.long.as_ref().map_or(factors, |l| &l.factors);
        return vec![(LONG_FACTORS, long.clone()), (SHORT_FACTORS, factors.clone())];
    }
    frequency_factors(spec, arch).map(|f| (FREQUENCIES, f)).into_iter().collect()
}

/// The divisors of the frequencies, where they cannot be said in words and the architecture reads them.
fn frequency_factors(spec: &DecoderSpec, arch: Arch) -> Option<Vec<f32>> {
    let rope = &spec.ropes[0];
    let needed = match &rope.scaling {
        RopeScaling::Llama3 { .. } | RopeScaling::Factors { .. } => true,
        yarn @ RopeScaling::Yarn { .. } => !is_usual_yarn(yarn),
        RopeScaling::None | RopeScaling::Linear { .. } => false,
    };
    (needed && arch.reads_frequencies()).then(|| rope.scaling.factors(spec.head_dim(), rope.theta).0)
}

/// Refuses what llama.cpp would compute otherwise than the model's config says.
fn check(spec: &DecoderSpec, arch: Arch) -> Result<(), Fault> {
    let name = arch.name();
    let no = |what: &str| Err(refuse(format!("llama.cpp's `{name}` has no {what}, which this model uses")));
    let (layer, rope) = (&spec.layers[0], &spec.ropes[0]);
    let has_biases = matches!(arch, Arch::Llama | Arch::Granite);
    if layer.attention.o_bias && !has_biases {
        return no("bias on the attention output");
    }
    if layer.feed_forward.bias && !has_biases {
        return no("biases in the feed-forward block");
    }
    if matches!(arch, Arch::Qwen2 | Arch::Olmo | Arch::Olmo2 | Arch::Phi3) && layer.attention.q_width() != spec.hidden_size {
        return no("head width other than hidden_size / heads");
    }
    let by_factors = match rope.scaling {
        RopeScaling::Factors { .. } => arch != Arch::Phi3,
        RopeScaling::Llama3 { .. } => true,
        _ => false,
    };
    let odd_yarn = matches!(rope.scaling, RopeScaling::Yarn { .. }) && !is_usual_yarn(&rope.scaling);
    if !arch.reads_frequencies() && (by_factors || odd_yarn) {
        return no("rotation with frequencies of this kind");
    }
    if spec.layers.iter().enumerate().any(|(i, l)| arch.rotates(i) != l.attention.rope.is_some()) {
        return no(if arch == Arch::SmolLm3 { "other layers without rotation than every fourth" } else { "layers without rotation" });
    }
    let usual = 1.0 / (layer.attention.head_dim as f64).sqrt();
    if !arch.has_scales() && (layer.attention.scale / usual - 1.0).abs() > 1e-6 {
        return no("scores divided by something other than the root of the head's width");
    }
    if let Some(pattern) = arch.window_pattern().filter(|_| arch == Arch::Gemma3 || spec.shortest_window().is_some()) {
        let fits = |(i, l): (usize, &LayerSpec)| {
            let windowed = (i + 1) % pattern != 0;
            l.attention.window.is_some() == windowed && l.attention.rope == Some(usize::from(windowed))
        };
        if !spec.layers.iter().enumerate().all(fits) {
            return no(&format!("windows on other layers than {} of {pattern}", pattern - 1));
        }
        let local = &spec.ropes[1];
        if local.scaling != RopeScaling::None || (arch != Arch::Gemma3 && local.theta != rope.theta) {
            return no("other rotation in layers with a window");
        }
    }
    Ok(())
}

/// Where llama.cpp differs from the model's config without being wrong for every input.
pub fn notes(spec: &DecoderSpec) -> Vec<String> {
    let window = spec.shortest_window().filter(|_| Arch::of(spec.family).window_pattern().is_none());
    let text = |w: usize| {
        format!(
            "llama.cpp has no sliding window for this architecture: beyond {w} tokens it attends to all of them, the model's config does not"
        )
    };
    let short = spec.max_positions;
    let long = spec.ropes[0].long.as_ref().map(|_| {
        format!(
            "llama.cpp turns by the long factors, also in short texts, where its context is longer than {short}: start it with -c {short}"
        )
    });
    window.filter(|w| *w < spec.max_positions).map(text).into_iter().chain(long).collect()
}

pub(super) fn of_model(merged: &Merged, base: Base, settings: Settings) -> Result<Metadata, Fault> {
    let spec = merged.spec();
    let arch = Arch::of(spec.family);
    check(spec, arch)?;
    let mut pairs = vec![
        ("general.architecture".to_owned(), Value::String(arch.name().into())),
        ("general.type".to_owned(), Value::String("model".into())),
        ("general.file_type".to_owned(), Value::U32(settings.preset.file_type())),
        ("general.quantization_version".to_owned(), Value::U32(2)),
    ];
    pairs.extend(super::general::pairs(merged, base));
    if let Some(importance) = settings.importance {
        let text = |s: &str| Value::String(s.into());
        pairs.push(("quantize.imatrix.file".to_owned(), text("made by tallow")));
        pairs.push(("quantize.imatrix.dataset".to_owned(), text(&file_name(&importance.source.data))));
        pairs.push(("quantize.imatrix.entries_count".to_owned(), Value::U32(importance.matrices() as u32)));
        pairs.push(("quantize.imatrix.chunks_count".to_owned(), Value::U32(importance.source.rows as u32)));
    }
    let mut put = |key: &str, v: Value| pairs.push((format!("{}.{key}", arch.name()), v));
    let count = |n: usize| Value::U32(n as u32);
    let (attention, rope_spec) = (&spec.layers[0].attention, &spec.ropes[0]);
    put("block_count", count(spec.num_layers()));
    put("context_length", count(rope_spec.long.as_ref().map_or(spec.max_positions, |l| l.max_positions)));
    put("embedding_length", count(spec.hidden_size));
    put("feed_forward_length", count(spec.layers[0].feed_forward.width));
    put("attention.head_count", count(attention.heads));
    put("attention.head_count_kv", count(attention.kv_heads));
    put("attention.key_length", count(attention.head_dim));
    put("attention.value_length", count(attention.head_dim));
    let epsilon = if arch == Arch::Olmo { "attention.layer_norm_epsilon" } else { "attention.layer_norm_rms_epsilon" };
    put(epsilon, Value::F32(spec.norm_eps as f32));
    if let Some(clip) = attention.clip {
        put("attention.clamp_kqv", Value::F32(clip as f32));
    }
    put("vocab_size", count(spec.vocab_size));
    put("rope.dimension_count", count(rope_spec.dim.unwrap_or(attention.head_dim)));
    put("rope.freq_base", Value::F32(rope_spec.theta as f32));
    if arch.has_scales() {
        let number = |v: f64| Value::F32(v as f32);
        put("embedding_scale", number(spec.embedding_scale));
        put("attention.scale", number(attention.scale));
        put("residual_scale", number(spec.layers[0].residual_scale));
        put("logit_scale", number(1.0 / spec.logits_scale));
    }
    if arch == Arch::Phi3 {
        // Said of every file, since none means a window of llama.cpp's own in older versions.
        put("attention.sliding_window", count(spec.shortest_window().unwrap_or(0)));
        put("rope.scaling.original_context_length", count(spec.max_positions));
    }
    if let (Some(window), Some(_), Some(local)) = (spec.shortest_window(), arch.window_pattern(), spec.ropes.get(1)) {
        put("attention.sliding_window", count(window));
        put("rope.freq_base_swa", Value::F32(local.theta as f32));
    }
    for (key, v) in rope(spec, arch) {
        put(key, v);
    }
    let (tokenizer, of_texts) = tokenizer::metadata(base.texts, spec)?;
    pairs.extend(tokenizer);
    Ok(Metadata { pairs, notes: notes(spec).into_iter().chain(of_texts).collect() })
}

fn rope(spec: &DecoderSpec, arch: Arch) -> Vec<(&'static str, Value)> {
    let text = |s: &str| Value::String(s.into());
    let number = |v: f64| Value::F32(v as f32);
    let by_factors = !frequency_tables(spec, arch).is_empty();
    let rope = &spec.ropes[0];
    let attention = rope.scaling.factors(spec.head_dim(), rope.theta).1;
    match &rope.scaling {
        RopeScaling::Linear { factor } => vec![("rope.scaling.type", text("linear")), ("rope.scaling.factor", number(*factor))],
        RopeScaling::Yarn { factor, original_max_position, .. } if !by_factors => {
            let mut pairs = vec![
                ("rope.scaling.type", text("yarn")),
                ("rope.scaling.factor", number(*factor)),
                ("rope.scaling.original_context_length", Value::U32(*original_max_position as u32)),
            ];
            // llama.cpp multiplies by 0.1 ln(factor) + 1 itself.
            let beside = f64::from(attention) / (0.1 * factor.ln() + 1.0);
            if (beside - 1.0).abs() > 1e-6 {
                pairs.push(("rope.scaling.attn_factor", number(beside)));
            }
            pairs
        }
        _ if (attention - 1.0).abs() > 1e-6 => {
            vec![("rope.scaling.type", text("none")), ("rope.scaling.attn_factor", number(f64::from(attention)))]
        }
        _ => Vec::new(),
    }
}

/// The last part of a path: the rest tells of somebody's disk.
fn file_name(path: &str) -> String {
    std::path::Path::new(path).file_name().map_or_else(|| path.to_owned(), |n| n.to_string_lossy().into_owned())
}
