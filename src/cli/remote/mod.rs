//! `tallow remote`, and what it starts on another machine.

mod args;

pub use args::{AgentCommand, JobArgs, ProjectArgs, RemoteCommand};

use std::path::{Path, PathBuf};

use args::RemoteTrainArgs;

use super::progress::{Progress, Talk, line};
use super::run::Desk;
use super::show::table;
use super::style::Paint;
use crate::app::cloud::remote::{self, Followed, Job, TrainRequest};
use crate::app::jobs;
use crate::base::error::Fault;
use crate::cloud::ssh::Host;

/// `tallow remote ...`.
pub(super) fn remote(desk: &Desk, command: RemoteCommand) -> Result<u8, Fault> {
    match command {
        RemoteCommand::Train(a) => train(desk, a),
        RemoteCommand::Attach { job, resume } => {
            let mut job = found(&job)?;
            if job.rent.is_some() {
                return Err(Fault::new("usage", format!("job {}: it is on rented pods", job.tag)).hint("use `tallow cloud attach`"));
            }
            finish(desk, &mut job, resume)
        }
        RemoteCommand::List { project } => {
            let jobs = remote::jobs(&whole(&project)?)?;
            desk.give(&serde_json::json!({ "jobs": jobs }), || list(&jobs, desk.paint))
        }
        RemoteCommand::Stop { job, cancel } => {
            let job = found(&job)?;
            remote::stop(&job, cancel)?;
            let words = format!("job {}: asked to {}; attach to it to fetch what it gave", job.tag, if cancel { "end" } else { "pause" });
            desk.give(&serde_json::json!({ "job": job.tag, "asked": true }), || words)
        }
        RemoteCommand::Clean { job, forget } => {
            let mut job = found(&job)?;
            remote::clean(&mut job, forget)?;
            let run = job.run_folder();
            let words = match &run {
                Some(run) => format!("job {}: its run is {}", job.tag, run.display()),
                None => format!("job {}: nothing was started", job.tag),
            };
            desk.give(&serde_json::json!({ "job": job.tag, "run": run }), || words)
        }
    }
}

fn whole(project: &Path) -> Result<PathBuf, Fault> {
    project.canonicalize().map_err(|e| Fault::io("open", project, &e))
}

pub(super) fn found(a: &JobArgs) -> Result<Job, Fault> {
    remote::find(&whole(&a.project)?, &a.job)
}

/// Paths in a job's record do not depend on a working folder.
pub(super) fn absolute(path: Option<PathBuf>) -> Option<PathBuf> {
    path.map(|p| std::path::absolute(&p).unwrap_or(p))
}

fn train(desk: &Desk, a: RemoteTrainArgs) -> Result<u8, Fault> {
    let mut host = Host::new(&a.host)?;
    (host.port, host.identity, host.known_hosts) = (a.port, absolute(a.identity), absolute(a.known_hosts));
    let ProjectArgs { config, set, name, program } = a.project;
    let (program, keep) = (absolute(program), a.keep);
    let mut job =
        TrainRequest { config, set, name, program, keep, idle_hours: a.idle_hours, stop_command: a.stop_command }.job(Some(host))?;
    job.write()?;
    if a.detach {
        remote::attach(&mut job, false, &mut note(desk.talk)).map_err(|fault| come_back(&job, fault))?;
        let run_id = job.run_id.clone().unwrap_or_default();
        let words = format!("run {run_id} goes on there; `tallow remote attach {}` fetches it", job.tag);
        return desk.give(&serde_json::json!({ "job": job.tag, "run_id": run_id }), || words);
    }
    finish(desk, &mut job, false)
}

fn finish(desk: &Desk, job: &mut Job, resume: bool) -> Result<u8, Fault> {
    leave_on_signals(format!("left: the run goes on there; `tallow remote attach {}` comes back to it", job.tag));
    let mut watch = Watched::new(desk.talk);
    let followed = remote::finish(job, resume, &mut note(desk.talk), &mut |p| watch.show(p)).map_err(|fault| come_back(job, fault))?;
    ended(desk, &followed)
}

/// A failure of a job that has left something there says how to come back to it.
fn come_back(job: &Job, fault: Fault) -> Fault {
    if job.folder.is_none() && job.stage == remote::Stage::Sending {
        // Nothing of it is anywhere.
        let _ = std::fs::remove_file(job.path());
        return fault;
    }
    let hint = fault.hint.clone().map_or_else(String::new, |hint| format!("{hint}; "));
    let tag = &job.tag;
    fault.hint(format!("{hint}`tallow remote attach {tag}` comes back to the job, `tallow remote clean {tag}` removes it"))
}

pub(super) fn ended(desk: &Desk, followed: &Followed) -> Result<u8, Fault> {
    let why = followed.reason.as_ref().map_or_else(String::new, |r| format!(": {r}"));
    let words = format!("{} {}{why}\n{}", desk.paint.bold(&followed.run_id), followed.state.name(), followed.run.display());
    desk.give(followed, || words)?;
    Ok(u8::from(followed.state == jobs::State::Failed))
}

fn list(jobs: &[Job], paint: Paint) -> String {
    if jobs.is_empty() {
        return "no jobs elsewhere".into();
    }
    let row = |j: &Job| {
        let place = j.host.as_ref().map_or_else(|| "-".into(), |h| h.target.clone());
        vec![j.tag.clone(), place, j.run_id.clone().unwrap_or_else(|| "-".into()), j.stage.name().to_owned()]
    };
    table(paint, &["job", "machine", "run", "stage"], &jobs.iter().map(row).collect::<Vec<_>>())
}

pub(super) fn note(talk: Talk) -> impl FnMut(&str) {
    move |text| {
        if talk != Talk::Silent {
            line(text);
        }
    }
}

/// Leaving does not end the run.
pub(super) fn leave_on_signals(text: String) {
    let _ = ctrlc::set_handler(move || {
        line(&text);
        std::process::exit(130);
    });
}

/// A bar of a run elsewhere.
pub(super) struct Watched {
    talk: Talk,
    bar: Option<Progress>,
}

impl Watched {
    pub(super) fn new(talk: Talk) -> Self {
        Self { talk, bar: None }
    }

    pub(super) fn show(&mut self, p: &jobs::Progress) {
        let bar = self.bar.get_or_insert_with(|| Progress::start(self.talk, p.total));
        let loss = p.metrics.train_loss.map_or_else(String::new, |l| format!("loss {l:.4}"));
        bar.set(p.done, &format!("{} {loss}", p.state.name()));
        if !p.state.is_active() {
            bar.finish();
        }
    }
}

/// `tallow remote-agent ...`.
pub(super) fn agent(desk: &Desk, command: &AgentCommand) -> Result<u8, Fault> {
    let state = |state: jobs::State| desk.give(&serde_json::json!({ "state": state }), || state.name().to_owned());
    match command {
        AgentCommand::Begin { folder, resume } => {
            let begun = remote::agent::begin(folder, *resume)?;
            desk.give(&begun, || begun.run_id.clone())
        }
        AgentCommand::Look { folder } => state(remote::agent::look(folder)?),
        AgentCommand::Stop { folder, cancel } => state(remote::agent::stop(folder, *cancel)?),
        AgentCommand::Rest { folder } => state(remote::agent::rest(folder)?),
        AgentCommand::Guard { folder } => remote::agent::guard(folder).map(|()| 0),
    }
}
