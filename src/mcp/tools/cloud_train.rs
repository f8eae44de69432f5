//! A run on rented pods: start it, come back to it, see how its job stands.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cloud::{IMAGE, agreed, value};
use crate::app::cloud::remote::{self, Job, Stage, TrainRequest};
use crate::app::cloud::{self as use_cases, Cloud, RentRequest};
use crate::app::configure;
use crate::base::error::Fault;
use crate::cloud::Caps;
use crate::mcp::consent::consent;
use crate::mcp::lanes::Lane;
use crate::mcp::roots::Roots;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};

/// Hours after which a training pod ends where no cap is named.
const TRAIN_HOURS: f64 = 24.0;
/// Hours without a question after which a pod pauses its run and stops itself.
const IDLE_HOURS: f64 = 2.0;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StartIn {
    project_path: String,
    /// Come back to this job, instead of a new one.
    job: Option<String>,
    /// With job: go on with a run that was paused or has failed, on another pod.
    resume: Option<bool>,
    /// A GPU type, or a part of its name that fits one; default: the cheapest that the run fits.
    gpu: Option<String>,
    /// GPUs; default 1.
    #[schemars(range(min = 1, max = 16))]
    count: Option<u64>,
    /// Other hosts instead of the service's own data centres.
    community: Option<bool>,
    /// Container image with an SSH server; default one with CUDA.
    image: Option<String>,
    /// Container disk; default 30.
    #[schemars(range(min = 1, max = 10_000))]
    disk_gb: Option<u64>,
    /// A network volume, mounted at /workspace.
    volume_id: Option<String>,
    /// For all pods of the job together; default 24.
    max_hours: Option<f64>,
    /// US dollars, for all pods of the job together.
    max_cost: Option<f64>,
    /// A build of this version for the pod, with CUDA; default: this program.
    program_path: Option<String>,
    /// Name of the run; the time is added.
    name: Option<String>,
    /// Most US dollars an hour that the user has agreed to. Without it nothing is rented, and the
    /// price is told.
    agreed_price_hour: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StartOut {
    success: bool,
    job: JobOut,
    /// US dollars: price_hour, total where the pace is known, most; null for a job that was there.
    #[schemars(with = "serde_json::Map<String, Value>")]
    estimate: Value,
    /// Where the process that follows the job writes.
    log_file: String,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct JobOut {
    job: String,
    /// sending, running, or fetched: everything is here and the pod is given back.
    stage: String,
    pod_id: Option<String>,
    /// For monitor_training_progress and stop_training, once it has started.
    run_id: Option<String>,
    /// Whether a process here follows it; if not, and it is not fetched, come back to it.
    is_followed: bool,
}

impl From<&Job> for JobOut {
    fn from(job: &Job) -> Self {
        Self {
            job: job.tag.clone(),
            stage: job.stage.name().to_owned(),
            pod_id: job.rent.as_ref().and_then(|r| r.pod_id.clone()),
            run_id: job.run_id.clone(),
            is_followed: job.is_followed(),
        }
    }
}

/// runpod_start_training
pub(super) struct StartTraining;

impl Tool for StartTraining {
    const NAME: &'static str = "runpod_start_training";
    const TITLE: &'static str = "Train on a rented GPU";
    const ABOUT: &'static str = "Rent the cheapest pod that a project's run fits, train there, mirror the run here, terminate the pod at its \
        end. It costs money: call it without agreed_price_hour to hear the price, ask the user, then call it with the price that was \
        agreed to. It goes on without this server.";
    const HINTS: Hints = Hints::MAKE.reaching_out();
    const LANE: Lane = Lane::Wait;
    const ASKS: bool = true;
    type In = StartIn;
    type Out = StartOut;

    fn call(input: StartIn, shared: &Shared, call: &Call) -> Result<StartOut, Fault> {
        let service = Cloud::from_env()?;
        let project = shared.roots.project(&input.project_path)?;
        if let Some(tag) = &input.job {
            let job = known(&remote::find(&project.root, tag)?, &project.root, &shared.roots)?;
            let resume = input.resume == Some(true);
            if resume && input.agreed_price_hour.is_none() {
                let agreed = job.rent.as_ref().map_or(0.0, |r| r.agreed);
                let question = format!("another pod may cost {agreed:.2} US dollars an hour");
                consent(call, Fault::new("confirmation_needed", question).hint("ask the user, then call again with agreed_price_hour"))?;
            }
            return started(&job, resume, Value::Null, Vec::new());
        }
        let program = input.program_path.as_ref().map(|p| shared.roots.allow(p)).transpose()?;
        configure::settings(&project.config, &[], &|config| shared.roots.settings(config))?;
        let (count, secure) = (within("count", input.count.unwrap_or(1), 1, 16)? as u32, input.community != Some(true));
        let mut wish = RentRequest {
            gpu: input.gpu,
            count,
            secure,
            image: Some(input.image.unwrap_or_else(|| IMAGE.into())),
            disk_gb: Some(within("disk_gb", input.disk_gb.unwrap_or(30), 1, 10_000)? as u32),
            volume: input.volume_id,
            caps: Caps { max_hours: Some(input.max_hours.unwrap_or(TRAIN_HOURS)), max_cost: input.max_cost },
            ..RentRequest::default()
        };
        let mut warnings = Vec::new();
        if program.is_none() && !cfg!(feature = "cuda") {
            warnings.push("this program has no CUDA: on the pod it trains on the CPU; program_path names a build that has".to_owned());
        }
        let request = TrainRequest {
            name: input.name.unwrap_or_else(|| "run".into()),
            program,
            idle_hours: Some(IDLE_HOURS),
            stop_command: Some(use_cases::END_POD.to_owned()),
            ..TrainRequest::new(project.config.clone())
        };
        let (offer, costs) = use_cases::offer_for_run(&service, &project.config, &[], &mut wish, None)?;
        warnings.extend(costs.first().map(|c| format!("time and total: {}", c.basis.words())));
        let price = agreed(call, &offer, input.agreed_price_hour)?;
        let mut job = use_cases::rented_job(&request, &wish, price)?;
        use_cases::rent_for(&service, &mut job, &mut |word| warnings.push(word.to_owned()))?;
        started(&job, false, value(offer.estimate)?, warnings)
    }
}

/// A record that others may have written: what it names must lie below the roots.
fn known(job: &Job, project: &std::path::Path, roots: &Roots) -> Result<Job, Fault> {
    if job.rent.is_none() {
        let hint = "from a shell, `tallow remote attach` comes back to it";
        return Err(Fault::new("usage", format!("job {}: nothing is rented for it", job.tag)).hint(hint));
    }
    if job.project != project {
        return Err(Fault::new("remote_job_damaged", format!("job {} belongs to another project", job.tag)).hint("start a new one"));
    }
    roots.allow(&job.config)?;
    job.program.as_ref().map(|p| roots.allow(p)).transpose()?;
    configure::settings(&job.config, &job.set, &|config| roots.settings(config))?;
    Ok(job.clone())
}

fn started(job: &Job, resume: bool, estimate: Value, warnings: Vec<String>) -> Result<StartOut, Fault> {
    let log_file = use_cases::follow_detached(job, resume)?.display().to_string();
    let job = JobOut { is_followed: true, ..JobOut::from(job) };
    Ok(StartOut { success: true, job, estimate, log_file, warnings })
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TrainingLogsIn {
    project_path: String,
    /// Default: the project's newest job.
    job: Option<String>,
    /// Lines from the end of each log; default 40.
    #[schemars(range(min = 1, max = 1000))]
    lines: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TrainingLogsOut {
    job: JobOut,
    /// What the process that follows the job said.
    follower_log: Vec<String>,
    /// What the run said, as far as it was mirrored.
    training_log: Vec<String>,
    /// Other jobs of the project.
    others: Vec<JobOut>,
    next: String,
}

/// runpod_get_training_logs
pub(super) struct TrainingLogs;

impl Tool for TrainingLogs {
    const NAME: &'static str = "runpod_get_training_logs";
    const TITLE: &'static str = "See a job on rented GPUs";
    const ABOUT: &'static str = "How a job of runpod_start_training stands, and the newest lines of its logs. Its run is mirrored below the \
        project: monitor_training_progress, get_run and stop_training work on it.";
    const HINTS: Hints = Hints::LOOK;
    const LANE: Lane = Lane::Cheap;
    type In = TrainingLogsIn;
    type Out = TrainingLogsOut;

    fn call(input: TrainingLogsIn, shared: &Shared, _: &Call) -> Result<TrainingLogsOut, Fault> {
        let project = shared.roots.project(&input.project_path)?;
        let most = within("lines", input.lines.unwrap_or(40), 1, 1000)? as usize;
        let mut jobs: Vec<Job> = remote::jobs(&project.root)?.into_iter().filter(|job| job.rent.is_some()).collect();
        let modified = |job: &Job| std::fs::metadata(job.path()).and_then(|m| m.modified()).ok();
        jobs.sort_by_key(modified);
        let at = match &input.job {
            Some(tag) => jobs.iter().position(|job| job.tag == *tag),
            None => jobs.len().checked_sub(1),
        };
        let none = || Fault::new("remote_job_not_found", "the project has no such job").hint("runpod_start_training makes one");
        let job = jobs.remove(at.ok_or_else(none)?);
        let tail = |path: std::path::PathBuf| -> Vec<String> {
            let text = String::from_utf8_lossy(&shared.roots.tail(&path, 64 << 10)).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            lines.iter().skip(lines.len().saturating_sub(most)).map(|l| (*l).to_owned()).collect()
        };
        let told = JobOut::from(&job);
        let next = match (job.stage, told.is_followed) {
            (Stage::Fetched, _) => "everything is here",
            (_, true) => "it is followed: look again later",
            (_, false) => "nobody follows it: runpod_start_training with this job comes back to it",
        };
        Ok(TrainingLogsOut {
            follower_log: tail(job.path().with_extension("log")),
            training_log: job.run_folder().map(|run| tail(run.join("training.log"))).unwrap_or_default(),
            job: told,
            others: jobs.iter().map(JobOut::from).collect(),
            next: next.to_owned(),
        })
    }
}
