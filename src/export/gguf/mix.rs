//! Which type each tensor gets: llama.cpp's own choices for its named mixes.

use super::Settings;
use crate::export::Bounds;
use crate::export::proof::bounds;
use crate::model::gguf::{Arch, GgmlType};
use crate::model::spec::DecoderSpec;

/// A type of file, as llama.cpp names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // the names are the format's own
pub enum Preset {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q2K,
    Q3KS,
    Q3KM,
    Q3KL,
    Q4KS,
    Q4KM,
    Q5KS,
    Q5KM,
    Q6K,
    Iq4Nl,
    Iq4Xs,
    Mxfp4,
    Iq3M,
    Iq3S,
    Iq3Xs,
    Iq3Xxs,
    Iq2M,
    Iq2S,
    Iq2Xs,
    Iq2Xxs,
    Tq2_0,
    Tq1_0,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q8_0,
        Self::Q6K,
        Self::Q5KM,
        Self::Q5KS,
        Self::Q5_1,
        Self::Q5_0,
        Self::Q4KM,
        Self::Q4KS,
        Self::Q4_1,
        Self::Q4_0,
        Self::Iq4Nl,
        Self::Mxfp4,
        Self::Iq4Xs,
        Self::Q3KL,
        Self::Q3KM,
        Self::Iq3M,
        Self::Q3KS,
        Self::Iq3S,
        Self::Iq3Xs,
        Self::Iq3Xxs,
        Self::Q2K,
        Self::Iq2M,
        Self::Iq2S,
        Self::Iq2Xs,
        Self::Iq2Xxs,
        Self::Tq2_0,
        Self::Tq1_0,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// The one of that name; `q3_k`, `q4_k` and `q5_k` mean the medium mix.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let name = match name.as_str() {
            "q3_k" => "q3_k_m",
            "q4_k" => "q4_k_m",
            "q5_k" => "q5_k_m",
            other => other,
        };
        Self::ALL.into_iter().find(|p| p.name() == name)
    }

    /// Name, number in `general.file_type`, and the type of most tensors.
    fn facts(self) -> (&'static str, u32, GgmlType) {
        match self {
            Self::F32 => ("f32", 0, GgmlType::F32),
            Self::F16 => ("f16", 1, GgmlType::F16),
            Self::Bf16 => ("bf16", 32, GgmlType::BF16),
            Self::Q8_0 => ("q8_0", 7, GgmlType::Q8_0),
            Self::Q4_0 => ("q4_0", 2, GgmlType::Q4_0),
            Self::Q4_1 => ("q4_1", 3, GgmlType::Q4_1),
            Self::Q5_0 => ("q5_0", 8, GgmlType::Q5_0),
            Self::Q5_1 => ("q5_1", 9, GgmlType::Q5_1),
            Self::Q2K => ("q2_k", 10, GgmlType::Q2K),
            Self::Q3KS => ("q3_k_s", 11, GgmlType::Q3K),
            Self::Q3KM => ("q3_k_m", 12, GgmlType::Q3K),
            Self::Q3KL => ("q3_k_l", 13, GgmlType::Q3K),
            Self::Q4KS => ("q4_k_s", 14, GgmlType::Q4K),
            Self::Q4KM => ("q4_k_m", 15, GgmlType::Q4K),
            Self::Q5KS => ("q5_k_s", 16, GgmlType::Q5K),
            Self::Q5KM => ("q5_k_m", 17, GgmlType::Q5K),
            Self::Q6K => ("q6_k", 18, GgmlType::Q6K),
            Self::Iq4Nl => ("iq4_nl", 25, GgmlType::IQ4NL),
            Self::Iq4Xs => ("iq4_xs", 30, GgmlType::IQ4XS),
            Self::Mxfp4 => ("mxfp4", 38, GgmlType::MXFP4),
            Self::Iq3M => ("iq3_m", 27, GgmlType::IQ3S),
            Self::Iq3S => ("iq3_s", 26, GgmlType::IQ3S),
            Self::Iq3Xs => ("iq3_xs", 22, GgmlType::IQ3S),
            Self::Iq3Xxs => ("iq3_xxs", 23, GgmlType::IQ3XXS),
            Self::Iq2M => ("iq2_m", 29, GgmlType::IQ2S),
            Self::Iq2S => ("iq2_s", 28, GgmlType::IQ2XS),
            Self::Iq2Xs => ("iq2_xs", 20, GgmlType::IQ2XS),
            Self::Iq2Xxs => ("iq2_xxs", 19, GgmlType::IQ2XXS),
            Self::Tq2_0 => ("tq2_0", 37, GgmlType::TQ2_0),
            Self::Tq1_0 => ("tq1_0", 36, GgmlType::TQ1_0),
        }
    }

    pub(super) fn file_type(self) -> u32 {
        self.facts().1
    }

    /// The type of most tensors.
    pub fn base(self) -> GgmlType {
        self.facts().2
    }

    /// Whether it stores most matrices in grids of two bits.
    fn is_two_bits(self) -> bool {
        matches!(self, Self::Iq2Xxs | Self::Iq2Xs | Self::Iq2S | Self::Iq2M)
    }

    /// What the proof allows of the logits.
    pub fn bounds(self) -> Bounds {
        match self.base() {
            GgmlType::F32 => bounds::EXACT,
            GgmlType::F16 => bounds::F16,
            GgmlType::BF16 => bounds::BF16,
            GgmlType::Q8_0 => bounds::EIGHT,
            GgmlType::Q6K => bounds::SIX,
            GgmlType::Q5K | GgmlType::Q5_0 | GgmlType::Q5_1 => bounds::FIVE,
            GgmlType::Q4K | GgmlType::Q4_0 | GgmlType::Q4_1 | GgmlType::IQ4NL | GgmlType::IQ4XS | GgmlType::MXFP4 => bounds::FOUR,
            GgmlType::Q3K | GgmlType::IQ3S | GgmlType::IQ3XXS => bounds::THREE,
            GgmlType::Q2K | GgmlType::IQ2S | GgmlType::IQ2XS | GgmlType::IQ2XXS | GgmlType::TQ1_0 | GgmlType::TQ2_0 => bounds::TWO,
        }
    }
}

/// The most that may be left of a tensor whose errors are weighed.
const WEIGHED: f64 = 0.8;

/// The relative error that a tensor of a type may have: that of a block with all its weight in one element, which is
/// the worst there is. A wrong order or a wrong scale makes it about 1.
///
/// Under an importance matrix errors are weighed, and a block may have large elements in columns that hardly count beside
/// small ones that do: then even the best scale may leave much. What is wrong altogether is beyond [`WEIGHED`] still.
pub(super) fn loss(kind: GgmlType, weighed: bool) -> f64 {
    let even: f64 = match kind {
        // Gemma's norms are stored with one added.
        GgmlType::F32 => 1e-6,
        GgmlType::F16 => 1e-3,
        GgmlType::BF16 => 4e-3,
        GgmlType::Q8_0 => 0.015,
        GgmlType::Q6K => 0.045,
        GgmlType::Q5K | GgmlType::Q5_0 | GgmlType::Q5_1 => 0.11,
        GgmlType::Q4K | GgmlType::Q4_0 | GgmlType::Q4_1 | GgmlType::IQ4NL | GgmlType::IQ4XS | GgmlType::MXFP4 => 0.22,
        GgmlType::Q3K | GgmlType::IQ3S | GgmlType::IQ3XXS => 0.35,
        GgmlType::Q2K | GgmlType::IQ2S | GgmlType::IQ2XS | GgmlType::IQ2XXS => 0.5,
        // Made for weights that have three values; of others they leave little.
        GgmlType::TQ1_0 | GgmlType::TQ2_0 => 0.95,
    };
    if weighed && even > 0.0 { even.max(WEIGHED) } else { even }
}

/// llama.cpp gives more bits to the first and last eighth of the layers and to every third between.
fn more_bits(layer: usize, layers: usize) -> bool {
    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2
}

/// The type of one tensor. `tied`: the embedding serves as the head.
pub(super) fn choose(settings: Settings, spec: &DecoderSpec, arch: Arch, tied: bool, name: &str, shape: &[usize]) -> GgmlType {
    let base = settings.preset.base();
    if shape.len() < 2 {
        return GgmlType::F32;
    }
    let width = shape[shape.len() - 1];
    if base.block() == 1 {
        return base;
    }
    let wanted = match name {
        "output.weight" => head(settings.preset, width),
        "token_embd.weight" if tied => head(settings.preset, width),
        "token_embd.weight" => match base {
            _ if matches!(settings.preset, Preset::Iq2Xxs | Preset::Iq2Xs) => GgmlType::Q2K,
            _ if matches!(settings.preset, Preset::Iq2S | Preset::Iq2M | Preset::Iq3Xxs) => GgmlType::IQ3S,
            GgmlType::TQ1_0 | GgmlType::TQ2_0 => GgmlType::Q4K,
            _ => base,
        },
        _ => in_layer(settings, spec, arch, name),
    };
    fit(wanted, width)
}

fn head(preset: Preset, width: usize) -> GgmlType {
    let base = preset.base();
    if matches!(base, GgmlType::Q8_0 | GgmlType::MXFP4) || !width.is_multiple_of(base.block()) {
        return GgmlType::Q8_0;
    }
    if preset.is_two_bits() || preset == Preset::Iq3Xxs { GgmlType::Q5K } else { GgmlType::Q6K }
}

/// A layer of a model, as the rules ask for it.
struct Place {
    layer: usize,
    layers: usize,
    /// Query heads that share a value head.
    shared: usize,
    weighed: bool,
}

impl Place {
    /// Whether it is in the first eighth.
    fn early(&self) -> bool {
        self.layer < self.layers / 8
    }
}

fn in_layer(settings: Settings, spec: &DecoderSpec, arch: Arch, name: &str) -> GgmlType {
    let preset = settings.preset;
    let mut parts = name.split('.').skip(1);
    let layer: usize = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let (part, n) = (parts.next().unwrap_or(""), spec.num_layers());
    let attention = &spec.layers[0].attention;
    let place = Place { layer, layers: n, shared: attention.heads / attention.kv_heads, weighed: settings.importance.is_some() };
    match (part, preset) {
        ("attn_v", _) => {
            let kind = values(preset, &place);
            // The 70-billion models share each value head among eight: more bits there cost next to nothing.
            let large = n == 80 && matches!(arch, Arch::Llama | Arch::Qwen2 | Arch::Olmo) && (arch != Arch::Llama || place.shared > 1);
            if large && matches!(kind, GgmlType::Q3K | GgmlType::Q4K) { GgmlType::Q5K } else { kind }
        }
        ("ffn_down", _) => down(preset, &place),
        ("attn_qkv", Preset::Q3KM | Preset::Q3KL | Preset::Iq3M) => GgmlType::Q4K,
        ("attn_qkv", Preset::Q4KM) => GgmlType::Q5K,
        ("attn_qkv", Preset::Q5KM) => GgmlType::Q6K,
        ("attn_output", Preset::Q2K) => GgmlType::Q3K,
        ("attn_output", Preset::Q3KM | Preset::Iq3M) => GgmlType::Q4K,
        ("attn_output", Preset::Q3KL) => GgmlType::Q5K,
        ("attn_output", Preset::Iq2S | Preset::Iq2M | Preset::Iq3Xxs) => GgmlType::IQ3S,
        ("attn_q" | "attn_k", Preset::Iq3Xs) => GgmlType::IQ3XXS,
        ("attn_q" | "attn_k", Preset::Iq3Xxs) => GgmlType::IQ2S,
        ("ffn_gate" | "ffn_up", Preset::Iq3Xs) if (n / 8..7 * n / 8).contains(&layer) => GgmlType::IQ3XXS,
        _ => preset.base(),
    }
}

/// The value projection.
fn values(preset: Preset, at: &Place) -> GgmlType {
    let few = at.shared >= 4;
    match preset {
        Preset::Q2K if few => GgmlType::Q4K,
        Preset::Q2K => GgmlType::Q3K,
        Preset::Q3KM if at.layer < 2 => GgmlType::Q5K,
        Preset::Q3KM | Preset::Iq3M => GgmlType::Q4K,
        Preset::Q3KL => GgmlType::Q5K,
        Preset::Q4KM | Preset::Q5KM if more_bits(at.layer, at.layers) => GgmlType::Q6K,
        Preset::Q4KS if at.layer < 4 => GgmlType::Q5K,
        Preset::Iq4Nl | Preset::Iq4Xs if few => GgmlType::Q5K,
        Preset::Iq3Xs | Preset::Iq3S | Preset::Iq3Xxs if few => GgmlType::Q4K,
        Preset::Iq3Xxs if !at.weighed => GgmlType::IQ3S,
        p if p.is_two_bits() && few => GgmlType::Q4K,
        Preset::Iq2S | Preset::Iq2M => GgmlType::IQ3S,
        Preset::Iq2Xs | Preset::Iq2Xxs => GgmlType::Q2K,
        p => p.base(),
    }
}

/// The last matrix of the feed-forward block.
fn down(preset: Preset, at: &Place) -> GgmlType {
    match preset {
        Preset::Q2K => GgmlType::Q3K,
        Preset::Q3KM if at.layer < at.layers / 16 => GgmlType::Q5K,
        Preset::Q3KM => GgmlType::Q4K,
        Preset::Q3KL => GgmlType::Q5K,
        Preset::Q4KM | Preset::Q5KM if more_bits(at.layer, at.layers) => GgmlType::Q6K,
        // llama.cpp found that these go astray in the first layers under an importance matrix.
        Preset::Q4_0 if at.weighed && at.early() => GgmlType::Q4_1,
        Preset::Q5_0 if at.weighed && at.early() => GgmlType::Q5_1,
        Preset::Q4KS if at.early() => GgmlType::Q5K,
        Preset::Iq4Nl | Preset::Iq4Xs if !at.weighed && at.early() => GgmlType::Q5K,
        Preset::Iq3M if at.early() => GgmlType::Q4K,
        Preset::Iq3Xxs if !at.weighed && at.early() => GgmlType::Q4K,
        Preset::Iq3Xxs if !at.weighed => GgmlType::Q3K,
        Preset::Iq2S | Preset::Iq2M if at.early() => GgmlType::IQ3S,
        Preset::Iq2Xs | Preset::Iq2Xxs if at.early() => GgmlType::Q2K,
        p => p.base(),
    }
}

/// The type that stands in where rows do not divide into blocks.
fn fit(wanted: GgmlType, width: usize) -> GgmlType {
    if width.is_multiple_of(wanted.block()) {
        return wanted;
    }
    let smaller = match wanted {
        GgmlType::Q2K | GgmlType::Q3K | GgmlType::TQ1_0 | GgmlType::TQ2_0 => GgmlType::Q4_0,
        GgmlType::IQ4XS | GgmlType::IQ3S | GgmlType::IQ3XXS | GgmlType::IQ2S | GgmlType::IQ2XS | GgmlType::IQ2XXS => GgmlType::IQ4NL,
        GgmlType::Q4K => GgmlType::Q5_0,
        GgmlType::Q5K => GgmlType::Q5_1,
        GgmlType::Q6K => GgmlType::Q8_0,
        other => other,
    };
    if width.is_multiple_of(smaller.block()) { smaller } else { GgmlType::F16 }
}
