//! Processes of their own, so that work and caps go on without whoever began them.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::record::{ServeStage, Serving, servings};
use crate::app::cloud::Cloud;
use crate::app::jobs::this_program;
use crate::base::error::Fault;
use crate::cloud::Stage;

fn spawn(mut command: Command) -> Result<(), Fault> {
    command.stdin(Stdio::null()).env("NO_COLOR", "1");
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        // What ends the starter's group does not end it.
        command.process_group(0);
    }
    let program = PathBuf::from(command.get_program());
    let mut child = command.spawn().map_err(|e| Fault::io("start", &program, &e))?;
    // So that it leaves no zombie.
    std::thread::spawn(move || child.wait());
    Ok(())
}

/// Starts a process that ends what is beyond its caps. Where one is at work already, the new one ends
/// at once.
///
/// # Errors
/// When it cannot be started.
pub fn keep_detached(cloud: &Cloud) -> Result<(), Fault> {
    let open = cloud.ledger.entries()?.iter().any(|e| e.stage != Stage::Ended);
    if !open && servings(&cloud.ledger)?.iter().all(|s| s.stage == ServeStage::Ended) {
        return Ok(());
    }
    let mut command = Command::new(this_program()?);
    command.args(["cloud", "tidy", "--watch", "--quiet"]).stdout(Stdio::null()).stderr(Stdio::null());
    spawn(command)
}

/// Starts a process that brings a served model to its answer; the file that it writes to. Where one
/// works on it already, nothing is started.
///
/// # Errors
/// When it cannot be started.
pub fn serve_detached(serving: &Serving) -> Result<PathBuf, Fault> {
    let path = serving.log_path();
    if serving.is_followed() {
        return Ok(path);
    }
    let log = File::options().create(true).append(true).open(&path).map_err(|e| Fault::io("open", &path, &e))?;
    let log_too = log.try_clone().map_err(|e| Fault::io("open", &path, &e))?;
    let mut command = Command::new(this_program()?);
    command.args(["cloud", "serve", "attach", &serving.tag]).stdout(log).stderr(log_too);
    spawn(command)?;
    Ok(path)
}
