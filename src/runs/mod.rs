//! Runs on disk. Disk is truth: a run is a folder, and everything about it can be read from there.
//!
//! ```text
//!   project/config/fine_tuning_config.yaml
//!   project/models/         its models by content, and which one is promoted (see `versions`)
//!   project/runs/<name>-<time>/
//!     run-manifest.json   what it is and how it stands, written whole each time it changes
//!     run.lock            held by the process that works on it: a crash lets go of it
//!     events.jsonl        everything that happened, appended and flushed
//!     metrics.jsonl       one row a step, without gaps or repeats even after a resume
//!     training.log        the same for people
//!     stage1/{adapters,training-data,evaluation,checkpoints}/  stage2/...  final-model/
//! ```

mod folder;
mod journal;
mod list;
mod machine;
mod manifest;
mod project;
mod versions;

pub use crate::data::{ChatTemplateRecord, DataFile, DatasetRecord, PartRecord, StageTwoRecord};
pub use folder::{RunFolder, RunLock, is_name_letter, not_plain, only_plain};
pub use journal::Journal;
pub use list::{RunSummary, find, list};
pub use machine::Machine;
pub use manifest::{BaseModelRecord, EnergyRecord, Lineage, MANIFEST_VERSION, Manifest, PeakMemory, StageRecord, Status, Verdict};
pub use project::Project;
pub use versions::{Kind, Listed, Move, Promotions, State, Version, Versions};
