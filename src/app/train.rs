//! Training as a configuration says, in a run of its own or as the continuation of one.

mod hub;
mod result;
mod session;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::outcome::Kept;
use crate::base::atomic;
use crate::base::cancel::Cancel;
use crate::base::error::Fault;
use crate::config::{Resolved, RunConfig, Sources, resolve};
use crate::runs::{EnergyRecord, Project, RunFolder, StageRecord, Status, Verdict, find};
use crate::track;
use crate::train::{Evaluation, Event, MemoryPlan, Observer};

pub(super) use hub::check as check_upload;

/// A request to train.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// A configuration file or a project folder; `None`: flags say everything.
    pub config: Option<PathBuf>,
    /// `key=value` overrides.
    pub set: Vec<String>,
    /// Settings that flags stand for: the flag, the key, the value.
    pub flags: Vec<(String, String, Value)>,
    /// A run to continue, with the settings it was started with.
    pub resume: Option<String>,
    /// Name of a new run.
    pub name: String,
    /// Stop after so many steps, of all stages; the run can go on later.
    pub stop_after: Option<u64>,
    /// Stop when this stage is done; the run can go on later.
    pub until_stage: Option<usize>,
    /// Stops after the step at hand; before the first step at once.
    pub stop: Cancel,
    /// Whether this process has its turn at the device already; otherwise it queues for it.
    pub has_turn: bool,
}

impl TrainRequest {
    /// Training as this configuration says.
    pub fn new(config: Option<PathBuf>) -> Self {
        Self {
            config,
            set: Vec::new(),
            flags: Vec::new(),
            resume: None,
            name: "run".into(),
            stop_after: None,
            until_stage: None,
            stop: Cancel::default(),
            has_turn: false,
        }
    }

    /// The command that goes on with a run.
    fn resume_command(&self, folder: &RunFolder) -> String {
        let quoted = |text: String| if text.contains(' ') { format!("'{text}'") } else { text };
        match &self.config {
            Some(config) => format!("tallow train {} --resume {}", quoted(config.display().to_string()), folder.id()),
            None => format!("tallow train --resume {}", quoted(folder.path().display().to_string())),
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub struct TrainReport {
    /// Its name.
    pub run_id: String,
    /// Its folder.
    pub run: PathBuf,
    /// `finished` or `stopped`.
    pub status: Status,
    /// Its stages.
    pub stages: Vec<StageRecord>,
    /// The base on the test rows.
    pub base: Option<Evaluation>,
    /// The tuned model on the test rows.
    pub tuned: Option<Evaluation>,
    /// What a second stage left of the first one's skill.
    pub kept: Option<Kept>,
    /// Scores that the configuration asks for, and whether they were reached.
    pub verdicts: Vec<Verdict>,
    /// The result: a PEFT adapter, or a whole model after full fine-tuning.
    pub model: Option<PathBuf>,
    /// The page of the result on the Hub, where it was uploaded.
    pub uploaded: Option<String>,
    /// Energy and CO2 of all its sessions, where they were tracked.
    pub energy: Option<EnergyRecord>,
    /// How to go on, when it was stopped.
    pub resume_command: Option<String>,
}

/// Reads the configuration that a file or project names, with overrides and the environment on top.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn configuration(named: &Path, set: &[String]) -> Result<(Project, Resolved), Fault> {
    configuration_of(Some(named), set, &[])
}

/// The same with settings that flags stand for. Without a file they stand on the defaults alone, and runs go into
/// `runs/` of the working folder.
///
/// # Errors
/// As [`configuration`].
pub fn configuration_of(named: Option<&Path>, set: &[String], flags: &[(String, String, Value)]) -> Result<(Project, Resolved), Fault> {
    let working_dir = std::env::current_dir().map_err(|e| Fault::io("open", Path::new("."), &e))?;
    let project = match named {
        Some(named) => Project::locate(named)?,
        None => Project { root: working_dir.clone(), config: PathBuf::new(), runs: working_dir.join("runs") },
    };
    let text = named.map(|_| std::fs::read_to_string(&project.config).map_err(|e| Fault::io("read", &project.config, &e)));
    let text = text.transpose()?;
    let env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
    let file = text.map(|text| (project.config.clone(), text));
    let sources = Sources { file, root: project.root.clone(), working_dir, set: set.to_vec(), env, flags: flags.to_vec() };
    let resolved = resolve(&sources)?;
    Ok((project, resolved))
}

/// Trains to the end, or to a stop.
///
/// # Errors
/// A configuration, model or data that cannot be used: before any folder is made. After that the failure also stands in
/// the run's manifest.
pub fn run(request: &TrainRequest, observer: &mut dyn Observer) -> Result<TrainReport, Fault> {
    let Some(named) = &request.resume else {
        let (project, resolved) = configuration_of(request.config.as_deref(), &request.set, &request.flags)?;
        resolved.warnings.iter().for_each(|w| observer.event(&Event::warning("setting", w.as_str())));
        super::device::Chosen::of(&resolved.config)?;
        track::check(&resolved.config)?;
        check_upload(&resolved.config)?;
        let (config, materials) =
            request.stop.within(|| session::Materials::gather(&resolved.config, Some(&resolved.said), None, observer))?;
        let folder = RunFolder::create(&project.runs_of(&config), &request.name, &config)?;
        return train(request, &config, &folder, materials, observer);
    };
    if !request.set.is_empty() || !request.flags.is_empty() {
        return Err(
            Fault::new("usage", "--set and other settings cannot change a run that is resumed").hint("start a new run for other settings")
        );
    }
    let folder = find_run(request.config.as_deref(), named)?;
    let manifest = folder.manifest()?;
    if manifest.status == Status::Finished {
        // Its trackers may have been killed after it.
        folder.sweep();
        if let Some(plan) = track::energy_plan(&manifest, folder.path(), "") {
            atomic::sweep(&plan.folder);
        }
        return Err(Fault::new("run_finished", format!("{}: the run is finished", folder.path().display()))
            .hint("start a new run; its adapter is in final-model/"));
    }
    super::jobs::only_here(&folder)?;
    super::device::Chosen::of(&manifest.config)?;
    check_upload(&manifest.config)?;
    let earlier = manifest.stages.iter().rev().find_map(|s| serde_json::from_value::<MemoryPlan>(s.memory_plan.clone()?).ok());
    let (_, materials) = request.stop.within(|| session::Materials::gather(&manifest.config, None, earlier.as_ref(), observer))?;
    train(request, &manifest.config, &folder, materials, observer)
}

/// Trains, and uploads a result where the settings ask for it.
fn train(
    request: &TrainRequest,
    config: &RunConfig,
    folder: &RunFolder,
    materials: session::Materials,
    observer: &mut dyn Observer,
) -> Result<TrainReport, Fault> {
    let mut report = session::train(request, config, folder, materials, observer)?;
    if report.status == Status::Finished {
        hub::publish_result(config, folder, &mut report, observer);
    }
    Ok(report)
}

/// A run by name under the project that `config` names; a run's own folder needs no project.
fn find_run(config: Option<&Path>, named: &str) -> Result<RunFolder, Fault> {
    let Some(config) = config else { return find(Path::new("."), named) };
    match Project::locate(config) {
        // Settings that can no longer be read have their runs where they are by default.
        Ok(project) => match configuration(config, &[]).ok().and_then(|(_, resolved)| resolved.config.output_dir) {
            Some(runs) => find(&runs, named),
            None => find(&project.root, named),
        },
        Err(fault) => RunFolder::open(Path::new(named)).map_err(|_| fault),
    }
}
