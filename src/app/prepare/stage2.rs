//! The second stage's rows: training, validation and test parts of their own, and rows of the first
//! stage replayed among those that are trained.
//!
//! ```text
//!   stage 1's file(s) ──> train ───────────────┐ replay_ratio
//!   stage2_path ──split──> train ──────────────┴──> what stage 2 trains
//!                    └──> validation, test          what its best step and its result are judged by
//! ```

use std::path::Path;

use super::rows::{note, part};
use crate::base::error::Fault;
use crate::config::{DatasetConfig, RunConfig};
use crate::data::{DataOptions, Dataset, RecordSet, Splits, TextTokenizer, read, split};
use crate::runs::StageTwoRecord;

/// The second stage's data.
#[derive(Debug)]
pub(in crate::app) struct StageTwo {
    /// Trained: its own rows and the replayed ones.
    pub(in crate::app) train: Dataset,
    /// Watched.
    pub(in crate::app) validation: Option<Dataset>,
    /// Judged by.
    pub(in crate::app) test: Option<Dataset>,
    /// The figures.
    pub(in crate::app) record: StageTwoRecord,
}

/// The shares of its file: those of the configuration, or, where the first stage's parts are files
/// of their own, only for the parts that the first stage has.
fn shares(d: &DatasetConfig) -> [f64; 3] {
    let held = |share: f64, file: &Option<std::path::PathBuf>| {
        if d.path.is_some() || file.is_some() { share } else { 0.0 }
    };
    let (validation, test) = (held(d.validation_split, &d.validation_path), held(d.test_split, &d.test_path));
    [1.0 - validation - test, validation, test]
}

/// Reads and splits its file.
pub(super) fn read_rows(config: &RunConfig, path: &Path, options: &DataOptions) -> Result<Splits, Fault> {
    let set = read(&[path], options)?;
    Ok(split(set, shares(&config.dataset), config.training.seed)?)
}

/// Tokenises it and mixes rows of the first stage in; what a person should know goes to `warnings`.
pub(super) fn encode(
    config: &RunConfig,
    rows: &Splits,
    earlier: &Dataset,
    (tokenizer, options): (&TextTokenizer, &DataOptions),
    warnings: &mut Vec<String>,
) -> Result<StageTwo, Fault> {
    let some = |set: &RecordSet| (!set.records.is_empty()).then(|| Dataset::encode(set, tokenizer, options)).transpose();
    let own = Dataset::encode(&rows.train, tokenizer, options)?;
    let (validation, test) = (some(&rows.validation)?, some(&rows.test)?);
    for (name, dataset) in [("", Some(&own)), ("validation ", validation.as_ref()), ("test ", test.as_ref())] {
        if let Some(dataset) = dataset {
            let set = match name {
                "" => &rows.train,
                "validation " => &rows.validation,
                _ => &rows.test,
            };
            note(format!("stage 2 {name}").trim_end(), set, dataset, warnings);
        }
    }
    let wanted = shares(&config.dataset);
    for (name, share, part) in [("validation", wanted[1], &validation), ("test", wanted[2], &test)] {
        if share > 0.0 && part.is_none() {
            warnings.push(format!("stage 2 has too few rows for {name} rows of its own: it is not judged by any"));
        }
    }
    let ratio = config.training.stage2.replay_ratio.unwrap_or(0.0);
    let mixed = own.with_replay(earlier, ratio, config.training.seed);
    if mixed.repeated > 1.0 {
        warnings.push(format!(
            "stage 1 has only {} sequences to replay: each is seen {:.1} times an epoch to make the share of {:.0} %",
            mixed.replayed,
            mixed.repeated,
            100.0 * ratio
        ));
    }
    let record = StageTwoRecord {
        train: part(&rows.train, &own),
        validation: validation.as_ref().map(|p| part(&rows.validation, p)),
        test: test.as_ref().map(|p| part(&rows.test, p)),
        replayed: mixed.replayed,
        replayed_share: mixed.share,
    };
    Ok(StageTwo { train: mixed.dataset, validation, test, record })
}
