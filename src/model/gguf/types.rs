//! The element types of GGUF tensors.

/// How a tensor's elements are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // the names are the format's own
pub enum GgmlType {
    F32,
    F16,
    BF16,
    #[serde(rename = "q4_0")]
    Q4_0,
    #[serde(rename = "q4_1")]
    Q4_1,
    #[serde(rename = "q5_0")]
    Q5_0,
    #[serde(rename = "q5_1")]
    Q5_1,
    #[serde(rename = "q8_0")]
    Q8_0,
    #[serde(rename = "q2_k")]
    Q2K,
    #[serde(rename = "q3_k")]
    Q3K,
    #[serde(rename = "q4_k")]
    Q4K,
    #[serde(rename = "q5_k")]
    Q5K,
    #[serde(rename = "q6_k")]
    Q6K,
    #[serde(rename = "iq4_nl")]
    IQ4NL,
    #[serde(rename = "iq4_xs")]
    IQ4XS,
    #[serde(rename = "mxfp4")]
    MXFP4,
    #[serde(rename = "iq2_xxs")]
    IQ2XXS,
    #[serde(rename = "iq2_xs")]
    IQ2XS,
    #[serde(rename = "iq2_s")]
    IQ2S,
    #[serde(rename = "iq3_xxs")]
    IQ3XXS,
    #[serde(rename = "iq3_s")]
    IQ3S,
    #[serde(rename = "tq1_0")]
    TQ1_0,
    #[serde(rename = "tq2_0")]
    TQ2_0,
}

impl GgmlType {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::IQ4NL,
        Self::IQ4XS,
        Self::MXFP4,
        Self::IQ2XXS,
        Self::IQ2XS,
        Self::IQ2S,
        Self::IQ3XXS,
        Self::IQ3S,
        Self::TQ1_0,
        Self::TQ2_0,
    ];

    /// Its number in the file.
    pub fn id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q2K => 10,
            Self::Q3K => 11,
            Self::Q4K => 12,
            Self::Q5K => 13,
            Self::Q6K => 14,
            Self::IQ4NL => 20,
            Self::IQ4XS => 23,
            Self::MXFP4 => 39,
            Self::IQ2XXS => 16,
            Self::IQ2XS => 17,
            Self::IQ2S => 22,
            Self::IQ3XXS => 18,
            Self::IQ3S => 21,
            Self::TQ1_0 => 34,
            Self::TQ2_0 => 35,
            Self::BF16 => 30,
        }
    }

    /// The type with this number.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.id() == id)
    }

    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q5_0 => "q5_0",
            Self::Q5_1 => "q5_1",
            Self::Q8_0 => "q8_0",
            Self::Q2K => "q2_k",
            Self::Q3K => "q3_k",
            Self::Q4K => "q4_k",
            Self::Q5K => "q5_k",
            Self::Q6K => "q6_k",
            Self::IQ4NL => "iq4_nl",
            Self::IQ4XS => "iq4_xs",
            Self::MXFP4 => "mxfp4",
            Self::IQ2XXS => "iq2_xxs",
            Self::IQ2XS => "iq2_xs",
            Self::IQ2S => "iq2_s",
            Self::IQ3XXS => "iq3_xxs",
            Self::IQ3S => "iq3_s",
            Self::TQ1_0 => "tq1_0",
            Self::TQ2_0 => "tq2_0",
        }
    }

    /// Elements in a block.
    pub fn block(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::IQ4NL | Self::MXFP4 => 32,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K => 256,
            Self::IQ4XS | Self::TQ1_0 | Self::TQ2_0 => 256,
            Self::IQ2XXS | Self::IQ2XS | Self::IQ2S | Self::IQ3XXS | Self::IQ3S => 256,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 | Self::IQ4NL => 18,
            Self::MXFP4 => 17,
            Self::IQ4XS => 136,
            Self::IQ2XXS | Self::TQ2_0 => 66,
            Self::IQ2XS => 74,
            Self::IQ2S => 82,
            Self::IQ3XXS => 98,
            Self::TQ1_0 => 54,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2K => 84,
            Self::Q3K | Self::IQ3S => 110,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// The floating-point type whose range its numbers have: beyond it there would be infinities.
    pub fn range(self) -> safetensors::Dtype {
        match self {
            Self::F16 => safetensors::Dtype::F16,
            Self::BF16 => safetensors::Dtype::BF16,
            // A block's scale is fitted to its numbers.
            _ => safetensors::Dtype::F32,
        }
    }

    /// Bytes of this many elements.
    pub fn bytes(self, elements: usize) -> usize {
        elements / self.block() * self.block_bytes()
    }
}
