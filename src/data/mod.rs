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

mod batch;
mod builtin;
pub mod calls;
mod check;
mod choose;
mod columns;
mod conversation;
mod dataset;
mod encode;
mod error;
mod figures;
mod fingerprint;
mod flags;
mod guard;
pub mod guide;
mod layout;
pub mod make_tools;
mod options;
mod pack;
mod parts;
pub mod prepare;
mod profile;
mod prompt;
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
pub mod tokenizer_compare;
pub mod tokenizer_train;
mod tokens;
mod tools;

pub use batch::PackedBatch;
pub use builtin::names as template_names;
pub use check::{CheckReport, FileReport, PartCounts, check, check_sets};
pub use choose::{TemplateReport, is_inline, settle_template};
pub use columns::Unread;
pub use conversation::{Conversation, Message};
pub use dataset::{Dataset, RecordSet, read};
pub use encode::{Example, IGNORED, RowEncoding};
pub use error::{DataError, Location, RowProblem};
pub use figures::{ChatTemplateRecord, DataFile, DatasetRecord, PartRecord, StageTwoRecord};
pub use layout::{Detection, Fields, Layout, detect};
pub use options::{DataOptions, OnBadRow, Overlong, TrainOn};
pub use pack::best_fit_decreasing;
pub use profile::{Bin, NEAR, Profile, ToolUse};
pub use prompt::{Prompt, prompt_of};
pub use random::Rng;
pub use record::{Content, Record};
pub use render::{Rendered, render};
pub use replay::Replay;
pub use sampler::{Cursor, Order, Sampler, SamplerOptions};
pub use show::{Piece, Segment, pieces, segments};
pub use source::{Format, Row, Table, read_table};
pub use split::{Leakage, Splits, leakage, split};
pub use stats::{Counts, QualitySigns, Sign, Spread};
pub use template::{ChatTemplate, TemplateTokens};
pub use tokenizer::TextTokenizer;
