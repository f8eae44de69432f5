//! From files to token ids: source -> layout -> rendering -> tokens -> packing -> sampling.
//!
//! This module knows no tensors. The path of one row:
//!
//! ```text
//!   file ── source ──> Row ── layout/record ──> Record ── render ──> text + trained spans
//!                                                                       │ encode (tokenizer offsets)
//!   PackedBatch <── batch ── Sampler (order, packing) <── Dataset <── Example { input_ids, labels }
//! ```
//!
//! Two rules hold everywhere. Labels come from the structure of the rendering (which message produced which
//! characters), never from searching the text for a marker. The same input and the same seed give the same
//! bytes, whatever the number of threads.

mod alpaca;
mod batch;
mod check;
mod conversation;
mod dataset;
mod encode;
mod error;
mod figures;
mod fingerprint;
mod layout;
mod options;
mod pack;
mod python;
mod random;
mod record;
mod render;
mod replay;
mod sampler;
mod show;
mod source;
mod split;
mod stats;
mod template;
mod tokenizer;

pub use batch::PackedBatch;
pub use check::{CheckReport, FileReport, check};
pub use conversation::{Conversation, Message};
pub use dataset::{Dataset, RecordSet, read};
pub use encode::{Example, IGNORED, RowEncoding};
pub use error::{DataError, Location, RowProblem};
pub use figures::{DataFile, DatasetRecord, PartRecord, StageTwoRecord};
pub use layout::{Detection, Fields, Layout, detect};
pub use options::{DataOptions, OnBadRow, Overlong, TrainOn};
pub use pack::best_fit_decreasing;
pub use random::Rng;
pub use record::{Content, Record};
pub use render::{Rendered, render};
pub use replay::Replay;
pub use sampler::{Cursor, Sampler, SamplerOptions};
pub use show::{Segment, segments};
pub use source::{Format, Row, Table, read_table};
pub use split::{Leakage, Splits, leakage, split};
pub use stats::{Counts, QualitySigns, Spread};
pub use template::{ChatTemplate, TemplateTokens};
pub use tokenizer::TextTokenizer;
