//! A process of its own that works on a rented job, so that it goes on without its starter.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::remote::Job;
use crate::app::jobs::this_program;
use crate::base::error::Fault;

/// Starts `tallow cloud attach` for a job; the file that it writes to. Where somebody follows the job
/// already, nothing is started.
///
/// # Errors
/// When the process cannot be started.
pub fn follow_detached(job: &Job, resume: bool) -> Result<PathBuf, Fault> {
    let log_path = job.path().with_extension("log");
    if job.is_followed() {
        return Ok(log_path);
    }
    let program = this_program()?;
    let log = File::options().create(true).append(true).open(&log_path).map_err(|e| Fault::io("open", &log_path, &e))?;
    let log_too = log.try_clone().map_err(|e| Fault::io("open", &log_path, &e))?;
    let mut command = Command::new(&program);
    command.args(["cloud", "attach", &job.tag, "--project"]).arg(&job.project);
    if resume {
        command.arg("--resume");
    }
    command.stdin(Stdio::null()).stdout(log).stderr(log_too).env("NO_COLOR", "1");
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        // What ends the starter's group does not end it.
        command.process_group(0);
    }
    let mut child = command.spawn().map_err(|e| Fault::io("start", &program, &e))?;
    // So that it leaves no zombie.
    std::thread::spawn(move || child.wait());
    Ok(log_path)
}
