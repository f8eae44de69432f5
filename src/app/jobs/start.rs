//! Starting a worker, and asking it to stop.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::record::{JobRecord, State, only_here, own, settle, status, wish_path};
use crate::base::atomic;
use crate::base::error::Fault;
use crate::runs::RunFolder;

/// How a run shall stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It can go on later.
    Pause,
    /// It is given up; its checkpoints stay.
    Cancel,
}

/// A worker that was started. Somebody must wait for the process, so that it leaves no zombie.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub child: Child,
}

pub(super) fn refuse(run: &RunFolder, state: State) -> Fault {
    let id = run.id();
    match state {
        State::Completed => Fault::new("run_finished", format!("{id}: all steps are done"))
            .hint("evaluate_model, export_model and generate_text can use it; configure_training_run makes a new run"),
        State::Cancelled => {
            Fault::new("run_cancelled", format!("{id}: the run was cancelled")).hint("configure_training_run makes a new run")
        }
        _ => Fault::new("run_busy", format!("{id}: a worker is at it already ({})", state.name()))
            .hint("monitor_training_progress shows how it stands; stop_training stops it"),
    }
}

/// Starts the worker of a run, or goes on with one that was paused or failed.
///
/// # Errors
/// When the run is under way, finished or cancelled; when the worker cannot be started.
pub fn start(run: &RunFolder, stage: Option<usize>) -> Result<Started, Fault> {
    let manifest = run.manifest()?;
    let stages = manifest.config.training.num_stages;
    if let Some(wanted) = stage.filter(|s| !(1..=stages).contains(s)) {
        return Err(Fault::new("no_such_stage", format!("{}: there is no stage {wanted}", run.id())).hint(match stages {
            1 => "it has one stage: leave `stage` out".to_owned(),
            n => format!("it has {n} stages; leave `stage` out to train all that are left"),
        }));
    }
    let done = |n: usize| manifest.stages.get(n - 1).is_some_and(|s| s.adapters.is_some());
    if stage == Some(2) && !done(1) {
        return Err(
            Fault::new("stage_order", format!("{}: stage 1 is not done", run.id())).hint("start stage 1 first, or leave `stage` out")
        );
    }
    only_here(run)?;
    let startable = |state: State| matches!(state, State::NotStarted | State::Paused | State::Failed);
    let (state, _) = status(run)?;
    if !startable(state) {
        return Err(refuse(run, state));
    }
    let Some(lock) = own(run)? else { return Err(refuse(run, State::Running)) };
    // Another server may have been quicker, and its worker may have ended again.
    if let Some(job) = JobRecord::read(run)?.filter(|job| !startable(job.state)) {
        return Err(refuse(run, job.state));
    }
    let _ = std::fs::remove_file(wish_path(run));
    let mut child = spawn(run, lock, stage)?;
    wait_for(run, &mut child)?;
    Ok(Started { child })
}

/// How long a worker may take to say that it is there.
const BIRTH: Duration = Duration::from_secs(60);

/// The worker itself writes that the run is queued: a server that is killed meanwhile leaves no word about a worker
/// that was never there.
fn wait_for(run: &RunFolder, child: &mut Child) -> Result<(), Fault> {
    let begun = Instant::now();
    let gone = |how: String| {
        let hint = format!("{} may say more", run.path().join("worker.log").display());
        Err(Fault::new("worker_gone", format!("{}: its worker process {how}", run.id())).hint(hint))
    };
    loop {
        // Asked before the record is read: a worker that has ended by then has written all that it will.
        let ended = child.try_wait().map_err(|e| Fault::io("wait for", Path::new("the worker"), &e))?;
        let lifted = JobRecord::read(run)?.is_some_and(|job| job.worker == Some(child.id()));
        match ended {
            _ if lifted => return Ok(()),
            Some(status) => return gone(format!("ended before its work ({status})")),
            None if begun.elapsed() > BIRTH => {
                // It has the lock; without its end the run could not be started again.
                let _ = child.kill();
                let _ = child.wait();
                return gone(format!("said nothing for {} seconds", BIRTH.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// This program, also after its file was replaced or removed while it ran.
///
/// # Errors
/// When the system does not tell.
pub fn this_program() -> Result<PathBuf, Fault> {
    let named = std::env::current_exe().map_err(|e| Fault::io("find", Path::new("this program"), &e))?;
    let running = Path::new("/proc/self/exe");
    Ok(if named.exists() || !running.exists() { named } else { running.to_path_buf() })
}

/// The worker's standard input is the lock: it is held from before the process exists until after it is gone.
fn spawn(run: &RunFolder, lock: File, stage: Option<usize>) -> Result<Child, Fault> {
    let program = this_program()?;
    let log_path = run.path().join("worker.log");
    let log = File::options().create(true).append(true).open(&log_path).map_err(|e| Fault::io("open", &log_path, &e))?;
    let log_too = log.try_clone().map_err(|e| Fault::io("open", &log_path, &e))?;
    let mut command = Command::new(&program);
    command.arg("worker").arg(run.path()).arg("--owned");
    if let Some(stage) = stage {
        command.arg("--stage").arg(stage.to_string());
    }
    command.stdin(Stdio::from(lock)).stdout(log).stderr(log_too);
    command.env("NO_COLOR", "1");
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        // What ends the server's group (Ctrl-C, a closed terminal) does not end the run.
        command.process_group(0);
    }
    command.spawn().map_err(|e| Fault::io("start", &program, &e))
}

/// Waits for the worker's process on a thread of its own, so that it leaves no zombie, and writes down an end that it
/// could not write itself.
pub fn watch_over(run: RunFolder, mut started: Started) {
    std::thread::spawn(move || {
        let how = match started.child.wait() {
            Ok(status) => format!("its worker process is gone ({status})"),
            Err(_) => "its worker process is gone".to_owned(),
        };
        // If this cannot be written, the next look at the run finds it out again.
        let _ = settle(&run, &how);
    });
}

/// Asks for a stop. A worker that is at it finishes its step and writes a checkpoint first: the state changes when it
/// has. Without a worker the state changes here.
///
/// # Errors
/// When there is nothing to stop.
pub fn stop(run: &RunFolder, how: Stop) -> Result<State, Fault> {
    let (state, job) = status(run)?;
    let nothing = |hint: &str| Err(Fault::new("not_running", format!("{}: the run is {}", run.id(), state.name())).hint(hint));
    match (state, how) {
        (State::Completed, _) => return nothing("there is nothing left to stop"),
        (State::Cancelled, Stop::Cancel) | (State::Paused, Stop::Pause) => return Ok(state),
        (State::Cancelled, Stop::Pause) => return nothing("it cannot go on; configure_training_run makes a new run"),
        (State::NotStarted | State::Failed, Stop::Pause) => return nothing("there is nothing to pause; start_training starts it"),
        (State::Running, _) if job.as_ref().is_none_or(|j| !j.state.is_active()) => {
            return nothing("it was started with `tallow train`, outside of this server: press Ctrl-C there");
        }
        _ => {}
    }
    if state.is_active() {
        let word = if how == Stop::Cancel { "cancel" } else { "pause" };
        atomic::write_file(&wish_path(run), word.as_bytes())?;
        return Ok(state);
    }
    only_here(run)?;
    let Some(_lock) = own(run)? else { return Err(refuse(run, state)) };
    let mut job = job.unwrap_or_else(JobRecord::new);
    job.turn(run, State::Cancelled, None)?;
    Ok(State::Cancelled)
}
