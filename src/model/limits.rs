//! Sizes and constants that an architecture can have. What a file says is checked against them before anything is
//! allocated or multiplied; a NaN would otherwise pass for a number until the first loss.

use tallow_kernels::rope::RopeScaling;

use super::spec::{DecoderSpec, LayerSpec};

/// Most blocks. The deepest public models have about 130.
pub(super) const MOST_LAYERS: usize = 4096;
/// Widest vector: hidden, query, key, value or feed-forward.
const WIDEST: usize = 1 << 22;
/// Most rows of the embedding.
const MOST_TOKENS: usize = 1 << 24;
/// Longest context.
const LONGEST: usize = 1 << 31;
/// Largest adapter scale (alpha over rank, or over its root).
pub(super) const LARGEST_SCALE: f64 = 1e6;

/// The first field that is out of range, as config.json names it, and why.
pub(super) fn out_of_range(s: &DecoderSpec) -> Finding {
    let counts = [
        ("num_hidden_layers", s.num_layers(), MOST_LAYERS),
        ("vocab_size", s.vocab_size, MOST_TOKENS),
        ("hidden_size", s.hidden_size, WIDEST),
        ("max_position_embeddings", s.max_positions, LONGEST),
    ];
    let multipliers = [("embedding_multiplier", s.embedding_scale), ("logits_scaling", s.logits_scale)];
    first(counts, |(field, value, most)| size(field, value, most))
        .or_else(|| within("rms_norm_eps", s.norm_eps, 0.0, 1.0))
        .or_else(|| first(multipliers, |(field, value)| within(field, value, 1e-9, 1e9)))
        .or_else(|| first(&s.layers, layer))
        .or_else(|| first(&s.ropes, |r| within("rope_theta", r.theta, 1e-6, 1e18)))
        .or_else(|| first(&s.ropes, |r| rope(&r.scaling, |field, value| within(field, value, 1e-6, 1e9))))
}

fn layer(l: &LayerSpec) -> Finding {
    let a = &l.attention;
    let sizes = [
        ("intermediate_size", l.feed_forward.width),
        ("head_dim", a.head_dim),
        ("num_attention_heads", a.heads.saturating_mul(a.head_dim)),
        ("num_key_value_heads", a.kv_heads.saturating_mul(a.head_dim)),
    ];
    first(sizes, |(field, value)| size(field, value, WIDEST))
        .or_else(|| (a.window == Some(0)).then(|| ("sliding_window", "must be at least 1".into())))
        .or_else(|| within("attention_multiplier", a.scale, 1e-9, 1e9))
        .or_else(|| within("residual_multiplier", l.residual_scale, 1e-9, 1e9))
        .or_else(|| a.clip.and_then(|clip| within("clip_qkv", clip, f64::MIN_POSITIVE, 1e30)))
}

fn size(field: &'static str, value: usize, most: usize) -> Finding {
    let outside = value == 0 || value > most;
    outside.then(|| (field, format!("gives {value}: a size lies between 1 and {most}")))
}

fn within(field: &'static str, value: f64, low: f64, high: f64) -> Finding {
    let inside = value.is_finite() && value >= low && value <= high;
    (!inside).then(|| (field, format!("{value} does not lie between {low:e} and {high:e}")))
}

fn first<T>(all: impl IntoIterator<Item = T>, find: impl Fn(T) -> Finding) -> Finding {
    all.into_iter().find_map(find)
}

type Finding = Option<(&'static str, String)>;

fn rope(scaling: &RopeScaling, within: impl Fn(&'static str, f64) -> Finding) -> Finding {
    let first = |all: &[(&'static str, f64)]| all.iter().find_map(|(field, value)| within(field, *value));
    match scaling {
        RopeScaling::None => None,
        RopeScaling::Linear { factor } => within("factor", *factor),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position } => first(&[
            ("factor", *factor),
            ("low_freq_factor", *low_freq_factor),
            ("high_freq_factor", *high_freq_factor),
            ("original_max_position_embeddings", *original_max_position as f64),
        ]),
        RopeScaling::Yarn { factor, original_max_position, beta_fast, beta_slow, attention_factor, .. } => first(&[
            ("factor", *factor),
            ("original_max_position_embeddings", *original_max_position as f64),
            ("beta_fast", *beta_fast),
            ("beta_slow", *beta_slow),
            ("attention_factor", attention_factor.unwrap_or(1.0)),
        ]),
        RopeScaling::Factors { factors, attention_factor } => {
            within("attention_factor", *attention_factor).or_else(|| factors.iter().find_map(|f| within("rope_freqs", f64::from(*f))))
        }
    }
}
