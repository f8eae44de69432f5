//! A run made ready without training: settings checked, data read and hashed, memory and time predicted, folder made.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::ready::{self, Until};
use super::{jobs, plan};
use crate::base::error::Fault;
use crate::config::{Resolved, RunConfig};
use crate::runs::{self, DatasetRecord, Manifest, RunFolder};
use crate::train::MemoryPlan;

/// A request for a run.
#[derive(Debug, Clone)]
pub struct ConfigureRequest {
    /// A configuration file or a project folder.
    pub config: PathBuf,
    /// `key=value` overrides.
    pub set: Vec<String>,
    /// Name of the run; the time is added.
    pub name: String,
}

/// A run that can be started.
#[derive(Debug, Clone, Serialize)]
pub struct ConfigureReport {
    /// Its name.
    pub run_id: String,
    /// Its folder.
    pub run: PathBuf,
    /// Its manifest.
    pub manifest: PathBuf,
    /// Its settings.
    pub config: RunConfig,
    /// Its data.
    pub dataset: DatasetRecord,
    /// How it will use memory.
    pub plan: MemoryPlan,
    /// Seconds it will take, from the steps of the newest run of this project with the same model and step size.
    pub seconds: Option<f64>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Makes a run's folder. `allow` sees the settings first.
///
/// # Errors
/// Settings, model or data that cannot be used, a plan that does not fit, a refusal by `allow`: then there is no folder.
pub fn run(request: &ConfigureRequest, allow: &dyn Fn(&RunConfig) -> Result<(), Fault>) -> Result<ConfigureReport, Fault> {
    let (project, resolved) = super::train::configuration(&request.config, &request.set)?;
    let mut warnings = resolved.warnings;
    allow(&resolved.config)?;
    super::device::Chosen::of(&resolved.config)?;
    crate::track::check(&resolved.config)?;
    super::train::check_upload(&resolved.config)?;
    let ready = ready::ready(&resolved.config, Some(&resolved.said), Until::Trainable, plan::Room::Here, &mut |_| {})?;
    let (config, plan, tokenizer) = (ready.config, ready.plan, ready.tokenizer);
    let data = ready.data.ok_or_else(|| Fault::new("config_invalid", "no dataset is named"))?;
    let seconds = rate(&project.root, &config, &data.record).map(|r| r.seconds);
    let folder = RunFolder::create(&project.runs_of(&config), &request.name, &config)?;
    let mut manifest = Manifest::read(&folder.manifest_path())?;
    manifest.dataset = data.record.clone();
    manifest.tokenizer_hash = Some(tokenizer.sha256().to_owned());
    manifest.chat_template = Some(data.template.clone());
    folder.write_manifest(&manifest)?;
    warnings.extend(ready.warnings);
    Ok(ConfigureReport {
        run_id: folder.id(),
        run: folder.path().to_path_buf(),
        manifest: folder.manifest_path(),
        config,
        dataset: data.record,
        plan,
        seconds,
        warnings,
    })
}

/// The settings of a project without making anything. `allow` sees them first.
///
/// # Errors
/// Settings that cannot be used.
pub fn settings(config: &Path, set: &[String], allow: &dyn Fn(&RunConfig) -> Result<(), Fault>) -> Result<Resolved, Fault> {
    let (_, resolved) = super::train::configuration(config, set)?;
    allow(&resolved.config)?;
    Ok(resolved)
}

/// What makes a step as long as another.
fn step_size(c: &RunConfig) -> String {
    let t = &c.training;
    let (b, l) = (&c.base_model, &c.lora);
    format!(
        "{:?} {:?} {:?} {:?} {:?} {} {} {:?} {} {:?}",
        b.model_id,
        b.local_path,
        b.quantization,
        t.method,
        t.stage1.batch_size,
        t.gradient_accumulation,
        t.max_seq_length,
        t.dtype,
        l.rank,
        l.target_modules
    )
}

/// What steps of a project took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// Through the model.
    pub tokens_per_second: f64,
    /// For all steps of the settings asked about.
    pub seconds: f64,
}

/// From the newest run of a project with the same model and step size; `None` where there is none. Evaluations are
/// counted as far as the data is known.
pub fn rate(root: &Path, config: &RunConfig, data: &DatasetRecord) -> Option<Rate> {
    runs::list(root).ok()?.into_iter().find_map(|summary| rate_of(&RunFolder::open(&summary.path).ok()?, config, data))
}

/// From one run; `None` where its model or its steps are others, or it has not come far enough.
pub fn rate_of(run: &RunFolder, config: &RunConfig, data: &DatasetRecord) -> Option<Rate> {
    let manifest = Manifest::read(&run.manifest_path()).ok()?;
    let measured = (step_size(&manifest.config) == step_size(config)).then(|| jobs::measured(run)).flatten()?;
    let seconds = jobs::seconds_of(&jobs::WorkAhead::of(config, data), &measured.pace);
    Some(Rate { tokens_per_second: measured.tokens_step / measured.pace.step, seconds })
}
