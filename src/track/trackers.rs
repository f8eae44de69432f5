//! All trackers of a run: started with it, woken by its events, ended with it.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::feed::{Feed, Pace, Tracker, finish};
use super::mlflow::Mlflow;
use super::of_run::facts;
use super::settings::Chosen;
use super::tail::Tail;
use super::tensorboard::Events;
use super::wandb::OfflineRun;
use super::{Facts, Place};
use crate::base::error::Fault;
use crate::runs::{Manifest, RunFolder};
use crate::train::{Event, Observer};

const FILES: Pace = pace(1000);
const SERVER: Pace = pace(2000);
/// How long the end of a run waits for a server that answers.
const PATIENCE: Duration = Duration::from_secs(60);

const fn pace(between_ms: u64) -> Pace {
    let (first_wait, longest_wait) = (Duration::from_secs(1), Duration::from_secs(60));
    Pace { between: Duration::from_millis(between_ms), first_wait, longest_wait }
}

/// The trackers of a run under way.
#[derive(Debug, Default)]
pub struct Trackers {
    feeds: Vec<Feed>,
}

type Opened = Result<Box<dyn Tracker>, Fault>;
type Open = Box<dyn FnOnce() -> Opened + Send>;

/// The trackers of a run, not opened yet: name, pace, and how to open.
fn chosen(chosen: Chosen, facts: &Facts) -> Vec<(&'static str, Pace, Open)> {
    let mut all: Vec<(&'static str, Pace, Open)> = Vec::new();
    if let Some(folder) = chosen.tensorboard {
        let facts = facts.clone();
        all.push(("tensorboard", FILES, Box::new(move || Ok(Box::new(Events::open(facts, &folder)?)))));
    }
    if let Some(project) = chosen.wandb {
        let facts = facts.clone();
        all.push(("wandb", FILES, Box::new(move || Ok(Box::new(OfflineRun::open(facts, project)?)))));
    }
    if let Some((address, experiment)) = chosen.mlflow {
        let facts = facts.clone();
        all.push(("mlflow", SERVER, Box::new(move || Ok(Box::new(Mlflow::open(facts, &address, &experiment)?)))));
    }
    all
}

impl Trackers {
    /// Starts the trackers that the run's settings ask for.
    ///
    /// # Errors
    /// `config_tracker`, or when the system gives no thread.
    pub fn start(manifest: &Manifest, run: &Path) -> Result<Self, Fault> {
        let facts = facts(manifest, run);
        let start = |(name, pace, open): (&'static str, Pace, Open)| Feed::start(name, pace, Tail::new(run, facts.started_ms), open);
        let feeds = chosen(Chosen::of(&manifest.config, run)?, &facts).into_iter().map(start);
        Ok(Self { feeds: feeds.collect::<Result<_, _>>()? })
    }

    /// Delivers what is left and how the run stands, as its manifest on disk says.
    ///
    /// Gives why something could not be delivered; it stays on disk.
    pub fn end(self, run: &RunFolder) -> Vec<Fault> {
        if self.feeds.is_empty() {
            return Vec::new();
        }
        let facts = match Manifest::read(&run.manifest_path()) {
            Ok(manifest) => facts(&manifest, run.path()),
            Err(fault) => return vec![fault],
        };
        let ended = self.feeds.into_iter().filter_map(|feed| feed.end(facts.clone(), PATIENCE).err());
        ended.collect()
    }
}

impl Observer for Trackers {
    fn event(&mut self, event: &Event) {
        if matches!(event, Event::Step { .. } | Event::Eval { .. } | Event::Samples { .. } | Event::Started { .. }) {
            self.feeds.iter().for_each(Feed::look);
        }
    }
}

/// What a tracker has of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Synced {
    /// Its word.
    pub tracker: &'static str,
    /// Stage and step up to which it has everything.
    pub up_to: Option<(usize, u64)>,
    /// Why it has not everything.
    pub error: Option<Fault>,
}

/// Brings a run's trackers up to date, and tells them how the run stands. What they have already is
/// not sent again.
///
/// # Errors
/// `no_tracker` when the settings of the run ask for none; what is wrong with them.
pub fn sync(run: &RunFolder) -> Result<Vec<Synced>, Fault> {
    let manifest = run.manifest()?;
    let facts = facts(&manifest, run.path());
    let trackers = chosen(Chosen::of(&manifest.config, run.path())?, &facts);
    if trackers.is_empty() {
        return Err(Fault::new("no_tracker", format!("{}: its settings ask for no tracker", run.id()))
            .hint("set tensorboard.enabled, mlflow.enabled or wandb.enabled before a run is made"));
    }
    let sync = |(name, _, open): (&'static str, Pace, Open)| {
        let mut up_to = None;
        let result = open().and_then(|mut tracker| {
            let result = finish(tracker.as_mut(), &mut Tail::new(run.path(), facts.started_ms), &facts);
            up_to = tracker.reached().map(|Place(stage, step, _)| (stage, step));
            result
        });
        Synced { tracker: name, up_to, error: result.err() }
    };
    Ok(trackers.into_iter().map(sync).collect())
}
