//! What came of a search, so far.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::search::{Method, Metric, Record, Settings, State, Trial, importance};

/// The configuration with the best settings, in the search's folder.
pub(super) const BEST: &str = "best.yaml";
/// The picture.
pub(super) const PICTURE: &str = "search.svg";

/// How a search stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// A process is at it.
    Running,
    /// It can go on.
    Stopped,
    /// All trials have ended.
    Finished,
}

impl Standing {
    /// Of a record, and whether a process holds it.
    pub(super) fn of(record: &Record, busy: bool) -> Self {
        match (busy, record.is_finished()) {
            (true, _) => Self::Running,
            (false, true) => Self::Finished,
            (false, false) => Self::Stopped,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Finished => "finished",
        }
    }
}

/// One trial.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// From 1; the first has the configuration's own settings.
    pub trial: u64,
    /// How it stands.
    pub state: State,
    /// The metric on the validation rows.
    pub value: Option<f64>,
    /// Steps of the last stage.
    pub steps: u64,
    /// Its run.
    pub run_id: Option<String>,
    /// What it varied.
    pub settings: Settings,
    /// Why it ended early or failed.
    pub reason: Option<String>,
}

/// The best trial.
#[derive(Debug, Clone, Serialize)]
pub struct Winner {
    /// Its number.
    pub trial: u64,
    /// The metric.
    pub value: f64,
    /// Its run.
    pub run_id: Option<String>,
    /// What it varied.
    pub settings: Settings,
    /// A configuration with them.
    pub config: PathBuf,
}

/// A search.
#[derive(Debug, Clone, Serialize)]
pub struct SearchReport {
    /// Its name.
    pub search: String,
    /// Its folder.
    pub folder: PathBuf,
    /// How it stands.
    pub status: Standing,
    /// How settings are chosen.
    pub method: Method,
    /// What trials are judged by.
    pub metric: Metric,
    /// What proposals are drawn from.
    pub seed: u64,
    /// Trials that were asked for.
    pub wanted: u64,
    /// Trials that have ended.
    pub ended: u64,
    /// Whether every setting of the space has been tried.
    pub exhausted: bool,
    /// The best trial.
    pub best: Option<Winner>,
    /// The metric with the configuration's own settings.
    pub own_value: Option<f64>,
    /// Share of the variance of the trials' ranks that each setting explains alone; of few trials
    /// nothing is known.
    pub importance: Option<Map<String, Value>>,
    /// All trials.
    pub trials: Vec<Row>,
    /// The picture, once a trial has ended.
    pub picture: Option<PathBuf>,
}

pub(super) fn of(record: &Record, folder: &Path, status: Standing) -> SearchReport {
    let row = |t: &Trial| Row {
        trial: t.number,
        state: t.state,
        value: t.value,
        steps: t.steps,
        run_id: t.run.clone(),
        settings: t.settings.clone(),
        reason: t.reason.clone(),
    };
    let winner = |t: &Trial| {
        let value = t.value?;
        let (run_id, settings) = (t.run.clone(), t.settings.clone());
        Some(Winner { trial: t.number, value, run_id, settings, config: folder.join(BEST) })
    };
    let own = record.trials.first().filter(|t| t.state == State::Complete);
    let picture = folder.join(PICTURE);
    SearchReport {
        search: record.name.clone(),
        folder: folder.to_path_buf(),
        status,
        method: record.method,
        metric: record.metric,
        seed: record.seed,
        wanted: record.wanted,
        ended: record.ended().count() as u64,
        exhausted: record.exhausted,
        best: record.best().and_then(winner),
        own_value: own.and_then(|t| t.value),
        importance: shares(record),
        trials: record.trials.iter().map(row).collect(),
        picture: picture.is_file().then_some(picture),
    }
}

/// The importance of each setting, by its key.
pub(in crate::app) fn shares(record: &Record) -> Option<Map<String, Value>> {
    let past = record.past();
    let places: Vec<Vec<Option<f64>>> = past.iter().map(|p| record.space.places(p.settings)).collect();
    let ranks: Vec<usize> = past.iter().map(|p| p.rank).collect();
    let shares = importance(&places, &ranks)?;
    let round = |share: f64| (share * 1e4).round() / 1e4;
    Some(record.space.parameters.iter().zip(shares).map(|(p, share)| (p.key.clone(), round(share).into())).collect())
}
