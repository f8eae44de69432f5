//! What this program does on the other machine: starts the run, stops it, and guards the machine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::app::configure::{self, ConfigureRequest};
use crate::app::jobs::{self, State, Stop, this_program};
use crate::base::atomic;
use crate::base::error::Fault;
use crate::runs::RunFolder;

/// What was sent along with the files: `job.json` of the job's folder.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    /// Name of the run; the time is added.
    pub name: String,
    /// `key=value` overrides.
    pub set: Vec<String>,
    /// Hours without a question after which the machine is stopped.
    pub idle_hours: Option<f64>,
    /// What stops the machine, for a shell.
    pub stop_command: Option<String>,
}

/// A run that was started, or goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Begun {
    /// Its name.
    pub run_id: String,
    /// Its folder there.
    pub run: PathBuf,
    /// How it stands.
    pub state: State,
}

fn order(folder: &Path) -> Result<Order, Fault> {
    let path = folder.join("job.json");
    let bytes = std::fs::read(&path).map_err(|e| Fault::io("read", &path, &e))?;
    serde_json::from_slice(&bytes).map_err(|e| Fault::new("remote_job_damaged", format!("{}: {e}", path.display())))
}

/// The run of a job's folder, where it was made already.
fn made(folder: &Path) -> Option<RunFolder> {
    let named = std::fs::read_to_string(folder.join("run.txt")).ok()?;
    RunFolder::open(Path::new(named.trim())).ok()
}

/// Configures and starts the run of a job's folder. One that was paused or has failed goes on only
/// with `resume`.
///
/// # Errors
/// What configuring and starting say.
pub fn begin(folder: &Path, resume: bool) -> Result<Begun, Fault> {
    let order = order(folder)?;
    let lock_path = folder.join("begin.lock");
    let lock = File::options().create(true).append(true).open(&lock_path).map_err(|e| Fault::io("open", &lock_path, &e))?;
    lock.lock().map_err(|e| Fault::io("lock", &lock_path, &e))?;
    touch(folder)?;
    let run = match made(folder) {
        Some(run) => run,
        None => {
            let request = ConfigureRequest { config: folder.join("project"), set: order.set.clone(), name: order.name.clone() };
            let report = configure::run(&request, &|_| Ok(()))?;
            atomic::write_file(&folder.join("run.txt"), report.run.display().to_string().as_bytes())?;
            RunFolder::open(&report.run)?
        }
    };
    let (state, _) = jobs::status(&run)?;
    if state == State::NotStarted || resume && matches!(state, State::Paused | State::Failed) {
        jobs::start(&run, None)?;
    }
    if order.stop_command.is_some() {
        spawn_guard(folder)?;
    }
    Ok(Begun { run_id: run.id(), run: run.path().to_path_buf(), state: jobs::status(&run)?.0 })
}

/// How the run stands: a worker that is gone is found out here. Whoever asks keeps the machine from
/// being stopped.
///
/// # Errors
/// When there is no run.
pub fn look(folder: &Path) -> Result<State, Fault> {
    touch(folder)?;
    Ok(jobs::status(&begun(folder)?)?.0)
}

/// Waits until nothing works on the run any more, so that the folder can be removed.
///
/// # Errors
/// `run_busy` when the run is under way.
pub fn rest(folder: &Path) -> Result<State, Fault> {
    let run = begun(folder)?;
    let waited = Instant::now();
    loop {
        let (state, _) = jobs::status(&run)?;
        let busy = || Fault::new("run_busy", format!("{}: the run is {}", run.id(), state.name())).hint("stop it first");
        if state.is_active() {
            return Err(busy());
        }
        // A worker that has just said how it ended is still ending.
        if jobs::hold(&run)?.is_some() {
            return Ok(state);
        }
        if waited.elapsed() > REST {
            return Err(busy());
        }
    }
}

fn begun(folder: &Path) -> Result<RunFolder, Fault> {
    made(folder).ok_or_else(|| Fault::new("remote_not_begun", "no run was started here"))
}

/// Asks the run to stop.
///
/// # Errors
/// When there is nothing to stop.
pub fn stop(folder: &Path, cancel: bool) -> Result<State, Fault> {
    jobs::stop(&begun(folder)?, if cancel { Stop::Cancel } else { Stop::Pause })
}

fn touch(folder: &Path) -> Result<(), Fault> {
    atomic::write_file(&folder.join("asked"), b"")
}

fn spawn_guard(folder: &Path) -> Result<(), Fault> {
    let program = this_program()?;
    let log_path = folder.join("guard.log");
    let log = File::options().create(true).append(true).open(&log_path).map_err(|e| Fault::io("open", &log_path, &e))?;
    let mut command = Command::new(&program);
    command.args(["remote-agent", "guard"]).arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        command.process_group(0);
    }
    command.spawn().map(|_| ()).map_err(|e| Fault::io("start", &program, &e))
}

/// How long an ended run waits to be fetched before the machine is stopped.
const FETCH_HOURS: f64 = 0.5;
/// How long a run may take to write its checkpoint once it is asked to stop.
const PAUSE: Duration = Duration::from_secs(600);
/// How long a worker may take to end after its last word.
const REST: Duration = Duration::from_secs(30);

/// Watches over a job's folder until the machine is to be stopped, then does that: when the run has
/// ended and nobody came to fetch it, or when nobody has asked for the hours that were agreed. A run
/// that is under way is paused first. Where the folder is gone, so is the job: nothing is stopped.
///
/// # Errors
/// When the stop fails; it is tried again a few times.
pub fn guard(folder: &Path) -> Result<(), Fault> {
    let order = order(folder)?;
    let lock_path = folder.join("guard.lock");
    let lock = File::options().create(true).append(true).open(&lock_path).map_err(|e| Fault::io("open", &lock_path, &e))?;
    if lock.try_lock().is_err() {
        return Ok(());
    }
    let Some(command) = order.stop_command else { return Ok(()) };
    let idle = order.idle_hours.unwrap_or(12.0) * 3600.0;
    let look = Duration::from_secs_f64((idle / 10.0).clamp(0.1, 20.0));
    loop {
        std::thread::sleep(look);
        if !folder.is_dir() {
            return Ok(());
        }
        let run = made(folder);
        let active = run.as_ref().is_some_and(|run| jobs::status(run).is_ok_and(|(state, _)| state.is_active()));
        let silent = unasked_seconds(folder);
        if silent < if active { idle } else { idle.min(FETCH_HOURS * 3600.0) } {
            continue;
        }
        if let Some(run) = run.filter(|_| active) {
            // Where it cannot be paused it has just ended.
            let _ = jobs::stop(&run, Stop::Pause);
            let begun = Instant::now();
            while begun.elapsed() < PAUSE && jobs::status(&run).is_ok_and(|(state, _)| state.is_active()) {
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        return stop_machine(folder, &command);
    }
}

/// Seconds since somebody asked; a clock that was set back counts as asking.
fn unasked_seconds(folder: &Path) -> f64 {
    let asked = std::fs::metadata(folder.join("asked")).and_then(|m| m.modified());
    asked.ok().and_then(|at| SystemTime::now().duration_since(at).ok()).map_or(0.0, |age| age.as_secs_f64())
}

fn stop_machine(folder: &Path, command: &str) -> Result<(), Fault> {
    let mut last = String::new();
    for wait in [1, 10, 60, 300] {
        let mut shell = Command::new("sh");
        // A login by SSH does not see the container's variables; its first process does.
        shell.arg("-c").arg(command).envs(first_process_variables()).current_dir(folder).stdin(Stdio::null());
        match shell.output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => last = String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(e) => last = e.to_string(),
        }
        std::thread::sleep(Duration::from_secs(wait));
    }
    Err(Fault::new("guard_failed", format!("the machine could not be stopped: {last}")))
}

/// Those that RunPod sets, from the container's first process.
fn first_process_variables() -> Vec<(String, String)> {
    let bytes = std::fs::read("/proc/1/environ").unwrap_or_default();
    let pairs = bytes.split(|b| *b == 0).filter_map(|p| std::str::from_utf8(p).ok()?.split_once('='));
    pairs.filter(|(name, _)| name.starts_with("RUNPOD_")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}
