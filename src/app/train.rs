//! Training as a configuration says, in a run of its own or as the continuation of one.

mod session;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::base::error::Fault;
use crate::config::{Resolved, RunConfig, Said, Sources, resolve};
use crate::runs::{Project, RunFolder, StageRecord, Status, find};
use crate::train::{Evaluation, Event, Observer, StopFlag};

/// A request to train.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// A configuration file or a project folder.
    pub config: PathBuf,
    /// `key=value` overrides.
    pub set: Vec<String>,
    /// A run to continue, with the settings it was started with.
    pub resume: Option<String>,
    /// Name of a new run.
    pub name: String,
    /// Stop after so many steps, of all stages; the run can go on later.
    pub stop_after: Option<u64>,
    /// Stop when this stage is done; the run can go on later.
    pub until_stage: Option<usize>,
    /// Raised to stop after the step at hand.
    pub stop: StopFlag,
    /// Whether this process has its turn at the device already; otherwise it queues for it.
    pub has_turn: bool,
}

impl TrainRequest {
    /// Training as this configuration says.
    pub fn new(config: &Path) -> Self {
        Self {
            config: config.to_path_buf(),
            set: Vec::new(),
            resume: None,
            name: "run".into(),
            stop_after: None,
            until_stage: None,
            stop: StopFlag::default(),
            has_turn: false,
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
    /// The result: a PEFT adapter, or a whole model after full fine-tuning.
    pub model: Option<PathBuf>,
    /// How to go on, when it was stopped.
    pub resume_command: Option<String>,
}

/// Reads the configuration that a file or project names, with overrides and the environment on top.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn configuration(named: &Path, set: &[String]) -> Result<(Project, Resolved), Fault> {
    let project = Project::locate(named)?;
    let text = std::fs::read_to_string(&project.config).map_err(|e| Fault::io("read", &project.config, &e))?;
    let working_dir = std::env::current_dir().map_err(|e| Fault::io("open", Path::new("."), &e))?;
    let env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
    let file = Some((project.config.clone(), text));
    let sources = Sources { file, root: project.root.clone(), working_dir, set: set.to_vec(), env, flags: Vec::new() };
    let resolved = resolve(&sources)?;
    Ok((project, resolved))
}

/// Features that the configuration may ask for and this version does not have.
fn unavailable(config: &RunConfig, said: &Said) -> Vec<String> {
    let wanted = [
        (config.mlflow.enabled, "mlflow.enabled", "MLflow logging"),
        (config.wandb.enabled, "wandb.enabled", "Weights & Biases logging"),
        (config.tensorboard.enabled, "tensorboard.enabled", "TensorBoard logging"),
        (config.huggingface.enabled, "huggingface.enabled", "uploading to the Hub"),
        (config.carbon_tracking.enabled && said.is_said("carbon_tracking.enabled"), "carbon_tracking.enabled", "energy tracking"),
    ];
    let asked = wanted.into_iter().filter(|(on, ..)| *on);
    asked
        .map(|(_, key, what)| format!("{}: `{key}`: {what} is not in this version; metrics.jsonl is always written", said.origin(key)))
        .collect()
}

/// Trains to the end, or to a stop.
///
/// # Errors
/// A configuration, model or data that cannot be used: before any folder is made. After that the failure also stands in
/// the run's manifest.
pub fn run(request: &TrainRequest, observer: &mut dyn Observer) -> Result<TrainReport, Fault> {
    let Some(named) = &request.resume else {
        let (project, resolved) = configuration(&request.config, &request.set)?;
        unavailable(&resolved.config, &resolved.said).iter().for_each(|w| observer.event(&Event::warning("setting", w.as_str())));
        super::device::Chosen::of(&resolved.config)?;
        let materials = session::Materials::gather(&resolved.config, observer)?;
        let folder = RunFolder::create(&project.runs, &request.name, &resolved.config)?;
        return session::train(request, &resolved.config, &folder, materials, observer);
    };
    if !request.set.is_empty() {
        return Err(Fault::new("usage", "--set cannot change a run that is resumed").hint("start a new run for other settings"));
    }
    let folder = find_run(&request.config, named)?;
    let manifest = folder.manifest()?;
    if manifest.status == Status::Finished {
        return Err(Fault::new("run_finished", format!("{}: the run is finished", folder.path().display()))
            .hint("start a new run; its adapter is in final-model/"));
    }
    super::device::Chosen::of(&manifest.config)?;
    let materials = session::Materials::gather(&manifest.config, observer)?;
    session::train(request, &manifest.config, &folder, materials, observer)
}

/// A run by name under the project that `config` names; a run's own folder needs no project.
fn find_run(config: &Path, named: &str) -> Result<RunFolder, Fault> {
    match Project::locate(config) {
        Ok(project) => find(&project.root, named),
        Err(fault) => RunFolder::open(Path::new(named)).map_err(|_| fault),
    }
}
