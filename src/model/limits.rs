//! Sizes and constants that an architecture can have. What a file says is checked against them before anything is
//! allocated or multiplied; a NaN would otherwise pass for a number until the first loss.

use tallow_kernels::rope::RopeScaling;

use super::spec::DecoderSpec;

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
pub(super) fn out_of_range(s: &DecoderSpec) -> Option<(&'static str, String)> {
    let counts = [
        ("num_hidden_layers", s.num_layers, MOST_LAYERS),
        ("vocab_size", s.vocab_size, MOST_TOKENS),
        ("hidden_size", s.hidden_size, WIDEST),
        ("intermediate_size", s.intermediate_size, WIDEST),
        ("head_dim", s.head_dim, WIDEST),
        ("num_attention_heads", s.num_heads.saturating_mul(s.head_dim), WIDEST),
        ("num_key_value_heads", s.num_kv_heads.saturating_mul(s.head_dim), WIDEST),
        ("max_position_embeddings", s.max_positions, LONGEST),
    ];
    for (field, value, most) in counts {
        if value == 0 || value > most {
            return Some((field, format!("gives {value}: a size lies between 1 and {most}")));
        }
    }
    if s.windows.iter().flatten().any(|w| *w == 0) {
        return Some(("sliding_window", "must be at least 1".into()));
    }
    let within = |field, value: f64, low: f64, high: f64| {
        let inside = value.is_finite() && value >= low && value <= high;
        (!inside).then(|| (field, format!("{value} does not lie between {low:e} and {high:e}")))
    };
    let positive = f64::MIN_POSITIVE;
    within("rms_norm_eps", s.norm_eps, 0.0, 1.0)
        .or_else(|| within("rope_theta", s.rope_theta, 1e-6, 1e18))
        .or_else(|| s.clip_qkv.and_then(|clip| within("clip_qkv", clip, positive, 1e30)))
        .or_else(|| rope(&s.rope_scaling, |field, value| within(field, value, 1e-6, 1e9)))
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
