//! `tallow track`.

use std::path::PathBuf;

use clap::Subcommand;

use super::run::Desk;
use super::style::Paint;
use crate::base::error::Fault;
use crate::runs;
use crate::track::{Synced, sync};

/// `tallow track ...`.
#[derive(Debug, Subcommand)]
pub enum TrackCommand {
    /// Bring a run's trackers up to date: send what a server that was away has not got yet.
    Sync {
        /// The run folder, or its name under the project.
        run: String,
        /// The project folder.
        #[arg(long, default_value = ".")]
        project: PathBuf,
    },
}

/// Does what the arguments say; the exit code is 1 when a tracker has not everything.
pub(super) fn run(desk: &Desk, command: TrackCommand) -> Result<u8, Fault> {
    let TrackCommand::Sync { run, project } = command;
    let folder = runs::find(&project, &run)?;
    let all = sync(&folder)?;
    let report = serde_json::json!({ "run_id": folder.id(), "trackers": all });
    desk.give(&report, || all.iter().map(|s| line(s, desk.paint)).collect())?;
    Ok(u8::from(all.iter().any(|s| s.error.is_some())))
}

fn line(synced: &Synced, paint: Paint) -> String {
    let reached = synced.up_to.map_or_else(|| "no step yet".into(), |(stage, step)| format!("stage {stage}, step {step}"));
    let told = match &synced.error {
        None => paint.green("up to date"),
        Some(fault) => {
            let hint = fault.hint.as_ref().map(|h| format!("\n  hint: {h}")).unwrap_or_default();
            format!("{} {fault}{hint}", paint.red("not up to date:"))
        }
    };
    format!("{:<12} {told} ({reached})\n", synced.tracker)
}
