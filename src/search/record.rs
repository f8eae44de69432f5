//! A search on disk: what it is about and its trials, in one file that is written whole each time
//! it changes.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::propose::{Method, Past};
use super::prune::{Point, Prune};
use super::space::{Settings, Space};
use crate::base::atomic;
use crate::base::error::Fault;
use crate::base::files;

/// What trials are judged by, on the validation rows of the last stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Mean loss over the trained tokens; lower is better.
    Loss,
    /// Share of tokens that are predicted right; higher is better.
    Accuracy,
}

impl Metric {
    /// The value as a cost, of which the lowest is the best; and back.
    pub fn cost(self, value: f64) -> f64 {
        if self == Self::Accuracy { -value } else { value }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Accuracy => "accuracy",
        }
    }
}

/// How a trial stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Under way, or broken off: it goes on with the search.
    Running,
    /// Trained to its end.
    Complete,
    /// Ended early, since others were better.
    Pruned,
    /// It could not be trained: it diverged, or does not fit into memory.
    Failed,
}

impl State {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Pruned => "pruned",
            Self::Failed => "failed",
        }
    }
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// From 1; the first one has the configuration's own settings.
    pub number: u64,
    /// How it stands.
    pub state: State,
    /// Its settings of the space.
    pub settings: Settings,
    /// Its run, once there is a folder.
    pub run: Option<String>,
    /// The metric: of what the run gave, or of the last evaluation where it ended early.
    pub value: Option<f64>,
    /// Steps of the last stage that it made.
    pub steps: u64,
    /// The metric after each evaluation of the last stage: step and value.
    pub curve: Vec<Point>,
    /// Why it ended early or failed.
    pub reason: Option<String>,
}

/// A whole search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Of this file's layout.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// What may vary.
    pub space: Space,
    /// How settings are chosen.
    pub method: Method,
    /// How poor trials are told.
    pub prune: Prune,
    /// What trials are judged by.
    pub metric: Metric,
    /// What proposals are drawn from.
    pub seed: u64,
    /// Hash of the settings and the rows that all trials share.
    pub base: String,
    /// Trials that were asked for.
    pub wanted: u64,
    /// Whether every setting of the space has been tried.
    pub exhausted: bool,
    /// In the order in which they began.
    pub trials: Vec<Trial>,
}

/// The layout that is written.
const VERSION: u32 = 1;
/// The file in a search's folder.
const FILE: &str = "search.json";

impl Record {
    /// A search without trials.
    pub fn new(name: &str, space: Space, method: Method, prune: Prune, metric: Metric, seed: u64, base: String) -> Self {
        Self {
            version: VERSION,
            name: name.to_owned(),
            space,
            method,
            prune,
            metric,
            seed,
            base,
            wanted: 0,
            exhausted: false,
            trials: Vec::new(),
        }
    }

    /// The search in a folder; `None` where there is none.
    ///
    /// # Errors
    /// When its file cannot be read, or a newer program wrote it.
    pub fn read(folder: &Path) -> Result<Option<Self>, Fault> {
        let path = folder.join(FILE);
        let text = match files::read_text(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Fault::io("read", &path, &e)),
        };
        let damaged = |e: &dyn std::fmt::Display| {
            Fault::new("search_unreadable", format!("{}: {e}", path.display()))
                .hint("bring the file back from a copy, or begin a search of another name")
        };
        let tree: serde_json::Value = serde_json::from_str(&text).map_err(|e| damaged(&e))?;
        match tree["version"].as_u64() {
            Some(version) if version > u64::from(VERSION) => {
                Err(damaged(&format!("version {version} is of a newer tallow; this one reads up to {VERSION}")))
            }
            _ => serde_json::from_value(tree).map(Some).map_err(|e| damaged(&e)),
        }
    }

    /// Writes it whole.
    ///
    /// # Errors
    /// When the folder cannot be written; then the old file still stands.
    pub fn write(&self, folder: &Path) -> Result<(), Fault> {
        let path = folder.join(FILE);
        let text = serde_json::to_string_pretty(self).map_err(|e| Fault::new("io", format!("{}: {e}", path.display())))?;
        atomic::write_file(&path, text.as_bytes())
    }

    /// Whether there is nothing left to do.
    pub fn is_finished(&self) -> bool {
        let ended = self.ended().count();
        ended == self.trials.len() && (self.exhausted || ended as u64 >= self.wanted)
    }

    /// Trials that have ended.
    pub fn ended(&self) -> impl Iterator<Item = &Trial> {
        self.trials.iter().filter(|t| t.state != State::Running)
    }

    /// The best trial that was trained to its end.
    pub fn best(&self) -> Option<&Trial> {
        let complete = self.trials.iter().filter(|t| t.state == State::Complete && t.value.is_some());
        complete.min_by(|a, b| self.order(a).total_cmp(&self.order(b)).then(a.number.cmp(&b.number)))
    }

    fn order(&self, trial: &Trial) -> f64 {
        trial.value.map_or(f64::INFINITY, |value| self.metric.cost(value))
    }

    /// All trials with their places: the complete ones by their values, then those that ended
    /// early, those that came furthest first, then those that failed or are under way: what is
    /// tried beside those is something else. Equal ones share a place.
    pub fn past(&self) -> Vec<Past<'_>> {
        let key = |t: &Trial| match t.state {
            State::Complete => (0, 0, self.order(t)),
            State::Pruned => (1, u64::MAX - t.steps, self.order(t)),
            State::Running | State::Failed => (2, 0, 0.0),
        };
        let before = |a: &Trial, b: &Trial| {
            let ((a0, a1, a2), (b0, b1, b2)) = (key(a), key(b));
            (a0, a1).cmp(&(b0, b1)).then(a2.total_cmp(&b2)).is_lt()
        };
        self.trials
            .iter()
            .map(|t| Past { settings: &t.settings, rank: self.trials.iter().filter(|other| before(other, t)).count() })
            .collect()
    }

    /// The costs of the evaluations of all other trials that were not broken off by a failure.
    pub fn other_curves(&self, number: u64) -> Vec<Vec<Point>> {
        let others = self.ended().filter(|t| t.number != number && t.state != State::Failed);
        others.map(|t| self.costs(&t.curve)).collect()
    }

    /// A curve of values as costs.
    pub fn costs(&self, curve: &[Point]) -> Vec<Point> {
        curve.iter().map(|(step, value)| (*step, self.metric.cost(*value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(number: u64, state: State, value: Option<f64>, steps: u64) -> Trial {
        let mut settings = Settings::new();
        settings.insert("lora.rank".into(), number.into());
        Trial { number, state, settings, run: None, value, steps, curve: vec![(steps, value.unwrap_or(9.0))], reason: None }
    }

    fn record(metric: Metric) -> Record {
        let space = Space::from_arguments(&["lora.rank=1..99".into()]).unwrap();
        let mut record = Record::new("s", space, Method::Tpe, Prune::Median, metric, 7, "x".into());
        record.trials = vec![
            trial(1, State::Complete, Some(0.5), 40),
            trial(2, State::Failed, None, 3),
            trial(3, State::Pruned, Some(0.1), 10),
            trial(4, State::Complete, Some(0.25), 40),
            trial(5, State::Pruned, Some(0.9), 20),
            trial(6, State::Complete, Some(0.5), 40),
            trial(7, State::Running, None, 0),
        ];
        record
    }

    #[test]
    fn places_are_by_state_then_by_value() {
        let ranks = |metric| record(metric).past().iter().map(|p| p.rank).collect::<Vec<_>>();
        assert_eq!(ranks(Metric::Loss), [1, 5, 4, 0, 3, 1, 5]);
        assert_eq!(ranks(Metric::Accuracy), [0, 5, 4, 2, 3, 0, 5]);
        assert_eq!(record(Metric::Loss).best().unwrap().number, 4);
        assert_eq!(record(Metric::Accuracy).best().unwrap().number, 1);
        assert_eq!(record(Metric::Accuracy).other_curves(1)[0], [(10, -0.1)]);
    }

    #[test]
    fn what_is_written_is_read_and_what_is_newer_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(dir.path()).unwrap(), None);
        let record = record(Metric::Loss);
        record.write(dir.path()).unwrap();
        assert_eq!(Record::read(dir.path()).unwrap(), Some(record));
        let path = dir.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to, word) in
            [("\"version\": 1", "\"version\": 2", "newer"), ("\"trials\"", "\"tri\"", "missing field"), ("{", "", "line")]
        {
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let fault = Record::read(dir.path()).unwrap_err();
            assert!(fault.code == "search_unreadable" && fault.message.contains(word), "{fault}");
        }
    }
}
