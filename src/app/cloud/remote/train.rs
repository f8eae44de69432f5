//! Shipping a job, following it to its end, stopping it, removing what it left there.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::agent::{Begun, Order};
use super::job::{Job, Stage};
use super::mirror::Mirror;
use super::pack::{Pack, pack};
use crate::app::jobs::{self, ELSEWHERE, Progress, State, Stop, this_program};
use crate::base::atomic;
use crate::base::error::Fault;
use crate::cloud::new_tag;
use crate::cloud::ssh::{Host, Sent, quoted};
use crate::runs::{Project, RunFolder, is_name_letter};

/// A wish to train elsewhere.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// A configuration file or a project folder.
    pub config: PathBuf,
    /// `key=value` overrides.
    pub set: Vec<String>,
    /// Name of the run; the time is added.
    pub name: String,
    /// The program to send; `None`: this one.
    pub program: Option<PathBuf>,
    /// Whether the folder there is kept at the end.
    pub keep: bool,
    /// Hours without a question after which the machine is stopped.
    pub idle_hours: Option<f64>,
    /// What stops the machine, for a shell there.
    pub stop_command: Option<String>,
}

impl TrainRequest {
    /// With nothing but a configuration file or a project folder.
    pub fn new(config: PathBuf) -> Self {
        Self { config, set: Vec::new(), name: "run".into(), program: None, keep: false, idle_hours: None, stop_command: None }
    }

    /// The job of this wish, not on disk yet.
    ///
    /// # Errors
    /// When the project cannot be found, or its settings are wrong.
    pub fn job(&self, host: Option<Host>) -> Result<Job, Fault> {
        if self.idle_hours.is_some_and(|hours| !hours.is_finite() || hours <= 0.0) {
            return Err(Fault::new("usage", "the hours without a question are a number above 0").hint("give hours, for example 2"));
        }
        let project = Project::locate(&self.config)?;
        // What is wrong with the settings is said before anything is rented or sent.
        pack(&project, &self.set, "/")?;
        Ok(Job {
            tag: new_tag(),
            host,
            folder: None,
            project: project.root,
            config: project.config.canonicalize().map_err(|e| Fault::io("open", &project.config, &e))?,
            name: self.name.clone(),
            set: self.set.clone(),
            program: self.program.clone(),
            rent: None,
            keep: self.keep,
            idle_hours: self.idle_hours,
            stop_command: self.stop_command.clone(),
            stage: Stage::Sending,
            run_id: None,
        })
    }
}

fn packed(job: &Job, folder: &str) -> Result<Pack, Fault> {
    let project = Project { root: job.project.clone(), config: job.config.clone(), runs: job.project.join("runs") };
    pack(&project, &job.set, folder)
}

/// Sends everything and starts the worker; whatever of it was done before is not done again. A job
/// whose run is here already goes on there from its newest checkpoint.
///
/// # Errors
/// When the machine cannot be reached or cannot run the program, or the run cannot be configured
/// there.
pub fn ship(job: &mut Job, said: &mut dyn FnMut(&str)) -> Result<Begun, Fault> {
    let host = job.host.clone().ok_or_else(|| Fault::new("remote_not_begun", "the job has no machine yet"))?;
    let (system, folder) = prepare(&host, &job.tag)?;
    job.folder = Some(folder.clone());
    job.write()?;
    let scratch = tempfile::tempdir().map_err(|e| Fault::io("make a folder in", &std::env::temp_dir(), &e))?;
    let mut packed = packed(job, &folder)?;
    let goes_on = job.run_folder().filter(|run| run.is_dir());
    if let Some(run) = &goes_on {
        packed.add_run(run, &folder, scratch.path())?;
    }
    let program = match &job.program {
        Some(path) => path.clone(),
        None => this_program()?,
    };
    let order = Order { name: job.name.clone(), set: packed.set, idle_hours: job.idle_hours, stop_command: job.stop_command.clone() };
    let text = serde_json::to_string_pretty(&order).map_err(|e| Fault::new("internal", e.to_string()))?;
    let order = scratch.path().join("job.json");
    atomic::write_file(&order, text.as_bytes())?;
    let mut files = vec![Sent { local: program, remote: "tallow".into(), program: true }];
    files.push(Sent { local: order, remote: "job.json".into(), program: false });
    files.extend(packed.files);
    host.send(&folder, &files, &mut |file, bytes| said(&format!("sending {} ({:.1} MB)", file.remote, bytes as f64 / 1e6)))?;
    check_program(&host, &folder, &system)?;
    begin(job, goes_on.is_some())
}

/// The system there, and the job's folder, made where it is missing.
fn prepare(host: &Host, tag: &str) -> Result<(String, String), Fault> {
    let told = host.run(&format!("uname -sm; mkdir -p ~/.tallow/jobs/{tag} && cd ~/.tallow/jobs/{tag} && pwd"))?;
    let mut lines = told.lines();
    let (system, folder) = (lines.next().unwrap_or_default().to_owned(), lines.next().unwrap_or_default().to_owned());
    if !system.starts_with("Linux ") || !folder.ends_with(&format!("/.tallow/jobs/{tag}")) {
        return Err(Fault::new("remote_system", format!("{}: {system} is not Linux", host.target)).hint("choose a Linux machine"));
    }
    Ok((system, folder))
}

/// The program must run there, and be of this version: both write the same files.
fn check_program(host: &Host, folder: &str, system: &str) -> Result<(), Fault> {
    let answer = host.ask(&format!("{}/tallow --version", quoted(folder)))?;
    let wanted = concat!("tallow ", env!("CARGO_PKG_VERSION"));
    let said = answer.out.trim();
    if answer.code == 0 && said == wanted {
        return Ok(());
    }
    let what = if answer.code == 0 { format!("it is {said}, not {wanted}") } else { answer.said };
    Err(Fault::new("remote_program", format!("{} ({system}) cannot use the program that was sent: {what}", host.target))
        .hint("name a build of this version for that system (--program)"))
}

/// Calls the program there: its answer, or why it refused.
fn agent<T: serde::de::DeserializeOwned>(host: &Host, folder: &str, words: &str) -> Result<T, Fault> {
    let answer = host.ask(&format!("{0}/tallow --json remote-agent {words} {0}", quoted(folder)))?;
    let strange = |why: &str| {
        let text: String = answer.out.chars().filter(|c| !c.is_control()).take(200).collect();
        Fault::new("remote_answer", format!("{}: {why}: {text} {}", host.target, answer.said)).hint("look at what it said")
    };
    if answer.code == 0 {
        return serde_json::from_str(&answer.out).map_err(|e| strange(&e.to_string()));
    }
    let value: serde_json::Value = serde_json::from_str(&answer.out).map_err(|_| strange(&format!("exit code {}", answer.code)))?;
    let word = |name: &str| value["error"][name].as_str().unwrap_or_default().to_owned();
    Err(Fault::new("remote_refused", format!("{}: {} ({})", host.target, word("message"), word("code"))).hint(word("hint")))
}

fn begin(job: &mut Job, resume: bool) -> Result<Begun, Fault> {
    let (host, folder) = job.place()?;
    let begun: Begun = agent(host, folder, if resume { "begin --resume" } else { "begin" })?;
    // It becomes a folder's name here.
    if begun.run_id.is_empty() || begun.run_id.starts_with('.') || !begun.run_id.chars().all(is_name_letter) {
        return Err(Fault::new("remote_answer", format!("{}: the name of its run is strange", host.target)).hint("look at that machine"));
    }
    (job.stage, job.run_id) = (Stage::Running, Some(begun.run_id.clone()));
    job.write()?;
    Ok(begun)
}

/// Brings a job to where it can be followed: sends what was not sent yet; with `resume` a run that
/// was paused or has failed goes on.
///
/// # Errors
/// As [`ship`].
pub fn attach(job: &mut Job, resume: bool, said: &mut dyn FnMut(&str)) -> Result<(), Fault> {
    let begun = match job.stage {
        Stage::Sending => ship(job, said)?,
        Stage::Running if resume => begin(job, true)?,
        Stage::Running | Stage::Fetched => return Ok(()),
    };
    said(&format!("job {}: run {} is {}", job.tag, begun.run_id, begun.state.name()));
    Ok(())
}

/// How a job was followed to its end.
#[derive(Debug, Clone, Serialize)]
pub struct Followed {
    /// The job.
    pub tag: String,
    /// Its run's name.
    pub run_id: String,
    /// Its run's folder here.
    pub run: PathBuf,
    /// How it ended.
    pub state: State,
    /// Why, where it did not complete.
    pub reason: Option<String>,
}

/// Time between two rounds at the beginning; it doubles while nothing comes.
const ROUND: Duration = Duration::from_millis(250);
/// Longest time between two rounds.
const LONGEST_ROUND: Duration = Duration::from_secs(4);
/// How long a machine may be out of reach.
const PATIENCE: Duration = Duration::from_secs(300);

/// Mirrors the run until it has ended and everything is here. `over` is asked before each round, with
/// whether the last one reached the machine: whether it is of no use any more.
///
/// # Errors
/// `remote_over` as `over` says; when the machine is out of reach for long, or what it sends makes no
/// sense: the run goes on there.
pub fn follow(job: &Job, over: &dyn Fn(bool) -> bool, each: &mut dyn FnMut(&Progress)) -> Result<Followed, Fault> {
    let (host, folder) = job.place()?;
    let missing = || Fault::new("remote_not_begun", "no run was started");
    let (run_id, here) = (job.run_id.clone().ok_or_else(missing)?, job.run_folder().ok_or_else(missing)?);
    let packed = packed(job, folder)?;
    let mut mirror = Mirror::new(host, folder, &format!("{folder}/project/runs/{run_id}"), &here, &packed.map);
    let (mut lost, mut pause, mut done) = (None::<Instant>, ROUND, None);
    loop {
        if over(lost.is_none()) {
            return Err(Fault::new("remote_over", format!("{}: it is of no use any more", host.target)).hint("attach to the job again"));
        }
        let begun = Instant::now();
        match mirror.round() {
            Ok(state) => {
                lost = None;
                let run = RunFolder::open(&here)?;
                if state.is_active() {
                    pass_on(job, &run)?;
                }
                let progress = jobs::progress(&run)?;
                each(&progress);
                if !state.is_active() {
                    break;
                }
                pause = if done == Some(progress.done) { (pause * 2).min(LONGEST_ROUND) } else { ROUND };
                done = Some(progress.done);
            }
            Err(fault) if fault.code == "remote_unreachable" => {
                if lost.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    return Err(fault);
                }
                pause = (pause * 2).min(LONGEST_ROUND);
            }
            Err(fault) => return Err(fault),
        }
        // A slow connection is in use for a part of the time only.
        std::thread::sleep(pause.max(begun.elapsed() * 3).min(Duration::from_secs(60)));
    }
    drop(mirror);
    followed(job)
}

/// A wish to stop that was left in the folder here is passed on.
fn pass_on(job: &Job, run: &RunFolder) -> Result<(), Fault> {
    let Some(wish) = jobs::wish(run) else { return Ok(()) };
    match stop(job, wish == Stop::Cancel) {
        // It has just ended.
        Ok(()) => {}
        Err(fault) if fault.code == "remote_refused" => {}
        Err(fault) if fault.code == "remote_unreachable" => return Ok(()),
        Err(fault) => return Err(fault),
    }
    jobs::forget_wish(run);
    Ok(())
}

/// How the run of a job stands here.
///
/// # Errors
/// When nothing of it is here yet.
pub fn followed(job: &Job) -> Result<Followed, Fault> {
    let here = job.run_folder().ok_or_else(|| Fault::new("remote_not_begun", format!("job {}: no run was started", job.tag)))?;
    let run = RunFolder::open(&here)?;
    let progress = jobs::progress(&run)?;
    let reason = progress.reason.map(|r| r.message);
    Ok(Followed { tag: job.tag.clone(), run_id: run.id(), run: here, state: progress.state, reason })
}

/// From here on the folder here is the run: nothing goes on elsewhere.
///
/// # Errors
/// When the job or the run cannot be written.
pub fn settle(job: &mut Job) -> Result<(), Fault> {
    job.stage = Stage::Fetched;
    job.write()?;
    let Some(marker) = job.run_folder().map(|run| run.join(ELSEWHERE)) else { return Ok(()) };
    match std::fs::remove_file(&marker) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Fault::io("remove", &marker, &e)),
        _ => Ok(()),
    }
}

/// A job on a machine that is not rented, to the end of its run: one that was done is the run here,
/// and its folder there is removed.
///
/// # Errors
/// As [`attach`] and [`follow`].
pub fn finish(job: &mut Job, resume: bool, said: &mut dyn FnMut(&str), each: &mut dyn FnMut(&Progress)) -> Result<Followed, Fault> {
    let _alone = job.alone()?;
    attach(job, resume, said)?;
    if job.stage == Stage::Running {
        let followed = follow(job, &|_| false, each)?;
        if !matches!(followed.state, State::Completed | State::Cancelled) {
            return Ok(followed);
        }
    }
    settle(job)?;
    // A machine with a guard is stopped by it; what is there goes with the machine.
    if !job.keep && job.stop_command.is_none() {
        remove(job)?;
    }
    followed(job)
}

/// Asks the run there to stop.
///
/// # Errors
/// When the machine cannot be reached, or there is nothing to stop.
pub fn stop(job: &Job, cancel: bool) -> Result<(), Fault> {
    let (host, folder) = job.place()?;
    agent::<serde_json::Value>(host, folder, if cancel { "stop --cancel" } else { "stop" }).map(|_| ())
}

/// Fetches what is missing of a run that has ended in whatever way, removes the job's folder there,
/// and makes the folder here the run. With `forget` the machine is not asked: it is gone.
///
/// # Errors
/// `run_busy` when the run is under way.
pub fn clean(job: &mut Job, forget: bool) -> Result<(), Fault> {
    let _alone = job.alone()?;
    if let Some(pod) = job.rent.as_ref().and_then(|r| r.pod_id.as_ref()) {
        return Err(Fault::new("usage", format!("job {}: it is on the rented pod {pod}", job.tag))
            .hint("`tallow cloud attach` fetches it and gives the pod back"));
    }
    if forget {
        job.folder = None;
        return settle(job);
    }
    if job.stage == Stage::Running {
        let (host, folder) = job.place()?;
        let (run_id, here) = (job.run_id.clone().unwrap_or_default(), job.run_folder().unwrap_or_default());
        let packed = packed(job, folder)?;
        let state = Mirror::new(host, folder, &format!("{folder}/project/runs/{run_id}"), &here, &packed.map).round()?;
        if state.is_active() {
            return Err(Fault::new("run_busy", format!("{run_id}: the run is {}", state.name()))
                .hint("`tallow remote stop` pauses it, `tallow remote attach` waits for its end"));
        }
    }
    settle(job)?;
    remove(job)
}

/// Removes the job's folder there, where that was not done yet.
fn remove(job: &mut Job) -> Result<(), Fault> {
    let Ok((host, folder)) = job.place() else { return Ok(()) };
    if !Path::new(folder).ends_with(Path::new(".tallow/jobs").join(&job.tag)) {
        return Err(Fault::new("remote_job_damaged", format!("{folder} is not the folder of job {}", job.tag)).hint("remove it by hand"));
    }
    if job.run_id.is_some() && host.ask(&format!("test -x {}/tallow", quoted(folder)))?.code == 0 {
        agent::<serde_json::Value>(host, folder, "rest")?;
    }
    host.run(&format!("rm -rf {}", quoted(folder)))?;
    job.folder = None;
    job.write()
}
