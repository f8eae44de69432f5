//! What a run sends to the Hugging Face Hub where its settings ask for it: checkpoints as they are written, and its result.
//!
//! ```text
//!   OWNER/PREFIX-RUN                            huggingface.repo_prefix and the run's name
//!     adapter_model.safetensors, README.md ...  the result, exported and proved, with a card
//!     checkpoints/stage1-step-000050/           what was trained so far (huggingface.save_checkpoints)
//! ```
//! Training never waits for it, and its failure is a warning: everything stays in the run's folder.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use super::TrainReport;
use crate::app::export::{ExportRequest, Extras, Format, publish, run_with};
use crate::app::outcome;
use crate::app::upload::{self, Target};
use crate::base::atomic::{AtomicDir, link_or_copy};
use crate::base::error::Fault;
use crate::config::{Method, RunConfig};
use crate::export::upload::{Upload, UploadFile, upload as send};
use crate::model::hub::HubOptions;
use crate::runs::{Journal, RunFolder};
use crate::train::{Event, Observer};

/// Where a run's result goes; `None` where nothing is to be uploaded.
fn target(config: &RunConfig, run_id: &str) -> Result<Option<Target>, Fault> {
    let h = &config.huggingface;
    if !config.huggingface.enabled {
        return Ok(None);
    }
    let prefix = h.repo_prefix.as_deref().filter(|p| p.contains('/')).ok_or_else(|| {
        Fault::new("config_invalid", "huggingface.enabled is true, and huggingface.repo_prefix names no owner")
            .hint("set huggingface.repo_prefix to OWNER/NAME: repositories get that name, a dash and the run's name")
    })?;
    Ok(Some(Target { repo: format!("{prefix}-{run_id}"), public: !h.private_repos, message: None }))
}

/// Refuses what could not be uploaded before hours go into training it; the Hub itself is not asked.
///
/// # Errors
/// When no owner is named, there is no token, or the network is off.
pub(in crate::app) fn check(config: &RunConfig) -> Result<(), Fault> {
    target(config, "run")?.map_or(Ok(()), |target| upload::check(&target))
}

/// Files of a checkpoint that hold what was trained.
const PARTS: [&str; 3] = ["adapter_model.safetensors", "adapter_config.json", "model.safetensors"];

/// A copy of a checkpoint, which pruning does not take away.
type Copy = (String, AtomicDir);

/// Uploads checkpoints, one at a time, in a thread. One that is written meanwhile waits; a newer one takes its place.
#[derive(Debug)]
pub(super) struct Saves {
    run: PathBuf,
    target: Target,
    under_way: Option<JoinHandle<Result<(), Fault>>>,
    waiting: Option<Copy>,
    faults: Vec<Fault>,
}

impl Saves {
    /// `None` where the settings do not ask for it.
    pub(super) fn of(config: &RunConfig, run: &RunFolder) -> Option<Self> {
        let target = target(config, &run.id()).ok().flatten().filter(|_| config.huggingface.save_checkpoints)?;
        Some(Self { run: run.path().to_path_buf(), target, under_way: None, waiting: None, faults: Vec::new() })
    }

    /// A checkpoint was written.
    pub(super) fn saved(&mut self, stage: usize, checkpoint: &Path) {
        let step = checkpoint.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let copy = || -> Result<AtomicDir, Fault> {
            let folder = AtomicDir::new(&self.run.join("checkpoint-to-upload"))?;
            for part in PARTS.map(|name| checkpoint.join(name)).iter().filter(|p| p.is_file()) {
                link_or_copy(part, &folder.path().join(part.file_name().unwrap_or_default()))?;
            }
            Ok(folder)
        };
        match copy() {
            Ok(folder) => self.waiting = Some((format!("stage{stage}-{step}"), folder)),
            Err(fault) => self.note(fault),
        }
        if self.under_way.as_ref().is_none_or(JoinHandle::is_finished) {
            self.join();
            self.begin();
        }
    }

    fn begin(&mut self) {
        let Some((name, folder)) = self.waiting.take() else { return };
        let target = self.target.clone();
        self.under_way = Some(std::thread::spawn(move || one(&name, &folder, &target)));
    }

    fn join(&mut self) {
        let ended =
            self.under_way.take().map(|thread| thread.join().unwrap_or_else(|_| Err(Fault::new("internal", "the upload broke down"))));
        ended.and_then(Result::err).into_iter().for_each(|fault| self.note(fault));
    }

    /// The same failure is told once.
    fn note(&mut self, fault: Fault) {
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Waits for what is under way and sends the newest one; what could not be sent.
    pub(super) fn end(mut self) -> Vec<Fault> {
        self.join();
        self.begin();
        self.join();
        self.faults
    }
}

fn one(name: &str, folder: &AtomicDir, target: &Target) -> Result<(), Fault> {
    let in_repository = |f: UploadFile| UploadFile { path: format!("checkpoints/{name}/{}", f.path), ..f };
    let files: Vec<UploadFile> = UploadFile::all(folder.path())?.into_iter().map(in_repository).collect();
    let request = Upload { repo: target.repo.clone(), private: !target.public, message: format!("Checkpoint {name}"), files };
    send(&HubOptions::from_env(), &request, &mut |_, _, _| {}).map(|_| ())
}

/// Exports a finished run's result and uploads it; what came of it stands in the report, a failure in the run's journal.
pub(super) fn publish_result(config: &RunConfig, folder: &RunFolder, report: &mut TrainReport, observer: &mut dyn Observer) {
    let Ok(Some(target)) = target(config, &folder.id()) else { return };
    observer.event(&Event::doing(format!("uploading the result to {}", target.repo)));
    match published(config, folder, &target) {
        Ok(url) => report.uploaded = Some(url),
        Err(fault) => {
            let hint = fault.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            let event = Event::warning("upload", format!("{}{hint}", fault.message));
            if let Ok(mut journal) = Journal::open(folder.path()) {
                journal.event(&event);
            }
            observer.event(&event);
        }
    }
}

fn published(config: &RunConfig, folder: &RunFolder, target: &Target) -> Result<String, Fault> {
    let result = outcome::of_run(folder, None)?.model;
    let out = folder.path().join("huggingface");
    let format = if config.training.method == Method::Full { Format::Safetensors(None) } else { Format::Peft };
    let (model, revision, adapter, unknown) = (result.model, result.revision, result.adapter, result.unknown);
    let request = ExportRequest { model, revision, adapter, format, out: out.clone(), prompts: None, unknown };
    let extras = Extras { run: Some(folder.clone()), ..Extras::default() };
    let mut exported = run_with(&request, &extras, &mut |_, _| {})?;
    publish(&mut exported, target, &mut |_, _, _| {})?;
    // It is on the Hub, and the run's own result beside it.
    std::fs::remove_dir_all(&out).map_err(|e| Fault::io("remove", &out, &e))?;
    Ok(exported.uploaded.map(|u| u.url).unwrap_or_default())
}
