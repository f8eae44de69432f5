//! Which type each tensor gets: llama.cpp's own choices for its named mixes.

use super::Settings;
use crate::export::Bounds;
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
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 17] = [
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
        Self::Q3KL,
        Self::Q3KM,
        Self::Q3KS,
        Self::Q2K,
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
        }
    }

    pub(super) fn file_type(self) -> u32 {
        self.facts().1
    }

    /// The type of most tensors.
    pub fn base(self) -> GgmlType {
        self.facts().2
    }

    /// What the proof allows of the logits: some times what random models, which forgive least, were seen to lose. For
    /// few bits that is much; there it is the comparison of each tensor that catches a wrong file.
    pub fn bounds(self) -> Bounds {
        let (kl, max_abs) = match self.base() {
            GgmlType::F32 => (1e-6, 0.005),
            GgmlType::F16 => (1e-4, 0.05),
            GgmlType::BF16 => (2e-3, 0.3),
            GgmlType::Q8_0 => (5e-3, 0.5),
            GgmlType::Q6K => (0.1, 2.0),
            GgmlType::Q5K | GgmlType::Q5_0 | GgmlType::Q5_1 => (0.4, 4.0),
            GgmlType::Q4K | GgmlType::Q4_0 | GgmlType::Q4_1 => (1.5, 8.0),
            GgmlType::Q3K => (3.0, 12.0),
            GgmlType::Q2K => (6.0, 16.0),
        };
        Bounds { kl, max_abs }
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
        GgmlType::F32 => 0.0,
        GgmlType::F16 => 1e-3,
        GgmlType::BF16 => 4e-3,
        GgmlType::Q8_0 => 0.015,
        GgmlType::Q6K => 0.045,
        GgmlType::Q5K | GgmlType::Q5_0 | GgmlType::Q5_1 => 0.11,
        GgmlType::Q4K | GgmlType::Q4_0 | GgmlType::Q4_1 => 0.22,
        GgmlType::Q3K => 0.35,
        GgmlType::Q2K => 0.5,
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
        "output.weight" => head(base, width),
        "token_embd.weight" if tied => head(base, width),
        "token_embd.weight" => base,
        _ => in_layer(settings, spec, arch, name),
    };
    fit(wanted, width)
}

fn head(base: GgmlType, width: usize) -> GgmlType {
    if base == GgmlType::Q8_0 || !width.is_multiple_of(base.block()) { GgmlType::Q8_0 } else { GgmlType::Q6K }
}

fn in_layer(settings: Settings, spec: &DecoderSpec, arch: Arch, name: &str) -> GgmlType {
    let preset = settings.preset;
    let mut parts = name.split('.').skip(1);
    let layer: usize = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let (part, n, base) = (parts.next().unwrap_or(""), spec.num_layers(), preset.base());
    let attention = &spec.layers[0].attention;
    let shared = attention.heads / attention.kv_heads;
    match (part, preset) {
        ("attn_v", _) => {
            let kind = match preset {
                Preset::Q2K if shared >= 4 => GgmlType::Q4K,
                Preset::Q2K => GgmlType::Q3K,
                Preset::Q3KM if layer < 2 => GgmlType::Q5K,
                Preset::Q3KM => GgmlType::Q4K,
                Preset::Q3KL => GgmlType::Q5K,
                Preset::Q4KM | Preset::Q5KM if more_bits(layer, n) => GgmlType::Q6K,
                Preset::Q4KS if layer < 4 => GgmlType::Q5K,
                _ => base,
            };
            // The 70-billion models share each value head among eight: more bits there cost next to nothing.
            let large = n == 80 && matches!(arch, Arch::Llama | Arch::Qwen2 | Arch::Olmo) && (arch != Arch::Llama || shared > 1);
            if large && matches!(kind, GgmlType::Q3K | GgmlType::Q4K) { GgmlType::Q5K } else { kind }
        }
        ("ffn_down", Preset::Q2K) => GgmlType::Q3K,
        ("ffn_down", Preset::Q3KM) => {
            if layer < n / 16 {
                GgmlType::Q5K
            } else {
                GgmlType::Q4K
            }
        }
        ("ffn_down", Preset::Q3KL) => GgmlType::Q5K,
        ("ffn_down", Preset::Q4KM | Preset::Q5KM) if more_bits(layer, n) => GgmlType::Q6K,
        // llama.cpp found that these go astray in the first layers under an importance matrix.
        ("ffn_down", Preset::Q4_0) if settings.importance.is_some() && layer < n / 8 => GgmlType::Q4_1,
        ("ffn_down", Preset::Q5_0) if settings.importance.is_some() && layer < n / 8 => GgmlType::Q5_1,
        ("ffn_down", Preset::Q4KS) if layer < n / 8 => GgmlType::Q5K,
        ("attn_output", Preset::Q2K) => GgmlType::Q3K,
        ("attn_output", Preset::Q3KM) => GgmlType::Q4K,
        ("attn_output", Preset::Q3KL) => GgmlType::Q5K,
        _ => base,
    }
}

/// The type that stands in where rows do not divide into blocks.
fn fit(wanted: GgmlType, width: usize) -> GgmlType {
    if width.is_multiple_of(wanted.block()) {
        return wanted;
    }
    let smaller = match wanted {
        GgmlType::Q2K | GgmlType::Q3K => GgmlType::Q4_0,
        GgmlType::Q4K => GgmlType::Q5_0,
        GgmlType::Q5K => GgmlType::Q5_1,
        GgmlType::Q6K => GgmlType::Q8_0,
        other => other,
    };
    if width.is_multiple_of(smaller.block()) { smaller } else { GgmlType::F16 }
}
