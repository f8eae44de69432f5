//! The words that settings are made of, as types. Each is defined here once; the rooms below re-export the ones that
//! they compute with, so that no word is parsed a second time.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `base_model.type`: the family that a base must be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // the names are the words themselves
pub enum BaseFamily {
    Olmo,
    Llama,
    Mistral,
    Qwen,
    Gemma,
    Phi,
    Smollm,
    Granite,
    /// Whatever config.json describes; an architecture that is not known is read as a Llama.
    Custom,
}

impl BaseFamily {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Olmo => "olmo",
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen => "qwen",
            Self::Gemma => "gemma",
            Self::Phi => "phi",
            Self::Smollm => "smollm",
            Self::Granite => "granite",
            Self::Custom => "custom",
        }
    }
}

/// How the matrices of the linear layers are held. Embedding, head and norms are never quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantization {
    /// In the compute dtype.
    #[default]
    None,
    /// 4-bit NormalFloat with doubly quantised scales.
    Nf4,
    /// 8-bit integers.
    Q8,
}

impl Quantization {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Nf4 => "nf4",
            Self::Q8 => "q8",
        }
    }
}

/// `training.method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Adapters.
    Lora,
    /// All weights.
    Full,
}

impl Method {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lora => "lora",
            Self::Full => "full",
        }
    }
}

/// `training.objective`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectiveKind {
    /// Supervised fine-tuning.
    Sft,
    /// Preference pairs.
    Dpo,
}

/// `training.dtype`: the type of activations and of unquantised weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComputeType {
    /// bf16 over a quantised base, else f32.
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit brain floats.
    Bf16,
}

/// What the learning rate does after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// It stays.
    #[default]
    Constant,
    /// It falls in a straight line to the floor.
    Linear,
    /// It falls along half a cosine to the floor.
    Cosine,
}

/// In which order an epoch's sequences come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Drawn anew in every epoch.
    #[default]
    Shuffled,
    /// Short ones first.
    Length,
    /// Those of high quality last.
    Quality,
}

impl Order {
    /// Whether nobody said otherwise.
    pub fn is_default(&self) -> bool {
        *self == Self::Shuffled
    }
}

/// How the optimiser's moments are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// f32 moments.
    #[default]
    AdamW,
    /// 8-bit moments in blocks of 256; f32 for tensors under 4096 elements.
    AdamW8bit,
}

/// What happens to a row longer than `max_seq_length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlong {
    /// Keep the first `max_seq_length` tokens (a row with no trained token left is left out). Counted.
    #[default]
    Truncate,
    /// Leave the row out. Counted.
    Drop,
    /// The row is an error.
    Error,
}

/// Which parts of a conversation the loss covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainOn {
    /// Every assistant turn, with its end-of-turn token.
    #[default]
    Assistant,
    /// Only the last assistant turn.
    LastAssistant,
    /// Every token.
    Everything,
}

/// What happens when a file has rows that are errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRow {
    /// Refuse the file, naming every bad row.
    #[default]
    Error,
    /// Leave them out and count them.
    Skip,
}

/// How a file holds its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// One array of JSON objects.
    Json,
    /// Comma-separated with a header line (`.tsv`: tab-separated).
    Csv,
    /// Apache Parquet.
    Parquet,
}

/// What the fields of a row mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `instruction`, optional `input`, `output` (the names can be set).
    Alpaca,
    /// `messages`: a list of `{role, content}`, with tools and tool calls as OpenAI writes them.
    Chat,
    /// `conversations`: a list of `{from, value}`.
    Sharegpt,
    /// `prompt` and `completion` (or `response`).
    Completion,
    /// `text`.
    Text,
}

/// When to stop because the validation loss no longer falls.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopping {
    /// Evaluations on end without gain that end the run.
    pub patience: u32,
    /// How much lower the loss must be to count as gain.
    pub min_delta: f64,
}

/// How adapters are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lora {
    /// Inner width.
    pub rank: usize,
    /// The adapter's output is multiplied by alpha/rank, or alpha/sqrt(rank) with `use_rslora`.
    pub alpha: f64,
    /// Dropout on the adapter's input, in training.
    pub dropout: f64,
    /// Rank-stabilised scale.
    pub use_rslora: bool,
    /// Names of linear layers by their last part (`q_proj`), or a longer end of their path; `all-linear` is all.
    pub target_modules: Vec<String>,
}

/// `device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU that can train, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// An Apple GPU.
    Metal,
    /// The NVIDIA GPU of that number.
    Cuda(usize),
}

impl DeviceChoice {
    /// From its word: auto, cpu, metal, cuda or cuda:N.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "metal" => Some(Self::Metal),
            "cuda" => Some(Self::Cuda(0)),
            _ => {
                let number = word.strip_prefix("cuda:").filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?;
                number.parse().ok().map(Self::Cuda)
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Metal => f.write_str("metal"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

impl Serialize for DeviceChoice {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeviceChoice {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let word = String::deserialize(d)?;
        Self::parse(&word).ok_or_else(|| serde::de::Error::custom(format!("`{word}` is no device")))
    }
}

/// Rows of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BatchSize {
    /// So many.
    Rows(usize),
    /// The most that the memory plan has room for; settled before a run is made.
    Auto(super::Auto),
}

impl BatchSize {
    /// The number; 1 while it is not settled.
    pub fn rows(self) -> usize {
        match self {
            Self::Rows(n) => n,
            Self::Auto(_) => 1,
        }
    }

    /// Whether it is still to be settled.
    pub fn is_auto(self) -> bool {
        matches!(self, Self::Auto(_))
    }
}

/// `auto` beside the words of a type; `None` is `auto`.
pub(super) mod auto_or {
    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    pub fn serialize<T: Serialize, S: Serializer>(value: &Option<T>, s: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => value.serialize(s),
            None => s.serialize_str("auto"),
        }
    }

    pub fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
        match Value::deserialize(d)? {
            Value::String(word) if word == "auto" => Ok(None),
            value => serde_json::from_value(value).map(Some).map_err(serde::de::Error::custom),
        }
    }
}

/// Early stopping without a patience is off.
pub(super) mod early_stopping {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::EarlyStopping;

    #[derive(Serialize, Deserialize)]
    struct Section {
        patience: Option<u32>,
        #[serde(default)]
        min_delta: f64,
    }

    pub fn serialize<S: Serializer>(value: &Option<EarlyStopping>, s: S) -> Result<S::Ok, S::Error> {
        let (patience, min_delta) = (value.map(|v| v.patience), value.map_or(0.0, |v| v.min_delta));
        Section { patience, min_delta }.serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<EarlyStopping>, D::Error> {
        let Section { patience, min_delta } = Section::deserialize(d)?;
        Ok(patience.map(|patience| EarlyStopping { patience, min_delta }))
    }
}
