//! `tallow checkpoints`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::run::Desk;
use super::show::table;
use super::style::{Paint, bytes};
use crate::app::branch::{self, BranchRequest};
use crate::app::checkpoints::{self, Diff, Listed, Pruned};
use crate::app::outcome::Checkpoint;
use crate::base::error::Fault;
use crate::runs::{self, RunFolder};

/// Tensors that a comparison prints.
const SHOWN_TENSORS: usize = 10;

/// Which run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The run folder, or its name under the project.
    pub run: String,
    /// The project folder.
    #[arg(long, default_value = ".")]
    pub project: PathBuf,
}

/// `tallow checkpoints ...`.
#[derive(Debug, Subcommand)]
pub enum CheckpointsCommand {
    /// A run's checkpoints with size and validation loss.
    List {
        /// Which run.
        #[command(flatten)]
        run: RunArgs,
        /// Compare every file with the hash that was written.
        #[arg(long)]
        check: bool,
    },
    /// How far the trained values moved from one checkpoint to another.
    Diff {
        /// Which run.
        #[command(flatten)]
        run: RunArgs,
        /// Step of the first.
        from: u64,
        /// Step of the second.
        to: u64,
        /// 1 or 2; unset: the last stage that has the step.
        #[arg(long)]
        stage: Option<usize>,
    },
    /// Remove all but the newest; the best one and what the run needs to go on always stay.
    Prune {
        /// Which run.
        #[command(flatten)]
        run: RunArgs,
        /// How many of each stage stay.
        #[arg(long)]
        keep: usize,
        /// Only say what would go.
        #[arg(long)]
        dry_run: bool,
    },
    /// Write the mean of the newest checkpoints as an adapter.
    Average {
        /// Which run.
        #[command(flatten)]
        run: RunArgs,
        /// How many.
        #[arg(long)]
        last: usize,
        /// 1 or 2; unset: the last stage that has checkpoints.
        #[arg(long)]
        stage: Option<usize>,
        /// Folder of the adapter; must not exist.
        #[arg(long)]
        out: PathBuf,
    },
    /// Make a new run that goes on from a checkpoint, with other settings where they are given; the run stays as it is.
    Branch {
        /// Which run.
        #[command(flatten)]
        run: RunArgs,
        /// Step of the checkpoint.
        #[arg(long)]
        step: u64,
        /// 1 or 2; unset: the last stage that has the step.
        #[arg(long)]
        stage: Option<usize>,
        /// A name for the new run; the time is added. Unset: that of the other.
        #[arg(long)]
        name: Option<String>,
        /// A setting from there on, for example --set training.stage1.learning_rate=5e-5 (repeatable).
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
}

fn find(a: &RunArgs) -> Result<RunFolder, Fault> {
    runs::find(&a.project, &a.run)
}

pub(super) fn run(desk: &Desk, command: CheckpointsCommand) -> Result<u8, Fault> {
    match command {
        CheckpointsCommand::List { run, check } => {
            let all = checkpoints::list(&find(&run)?, check)?;
            desk.give(&serde_json::json!({ "checkpoints": all }), || list(&all, desk.paint))?;
            Ok(u8::from(all.iter().any(|c| c.problem.is_some())))
        }
        CheckpointsCommand::Diff { run, from, to, stage } => {
            let report = checkpoints::diff(&find(&run)?, stage, from, to)?;
            desk.give(&report, || diff(&report, desk.paint))
        }
        CheckpointsCommand::Prune { run, keep, dry_run } => {
            let report = checkpoints::prune(&find(&run)?, keep, dry_run)?;
            desk.give(&report, || pruned(&report, dry_run))
        }
        CheckpointsCommand::Average { run, last, stage, out } => {
            let report = checkpoints::average(&find(&run)?, stage, last, &out)?;
            desk.give(&report, || format!("{}: the mean of {}", report.out.display(), names(&report.of)))
        }
        CheckpointsCommand::Branch { run, step, stage, name, set } => {
            let report = branch::branch(&find(&run)?, &BranchRequest { step, stage, name, set })?;
            desk.give(&report, || {
                let changed =
                    if report.changed.is_empty() { String::new() } else { format!("\nset otherwise: {}", report.changed.join(", ")) };
                format!(
                    "{}\nfrom {} of {}{changed}\ngo on: tallow train --resume {}",
                    report.run.display(),
                    names(std::slice::from_ref(&report.from)),
                    report.parent,
                    report.run.display()
                )
            })
        }
    }
}

fn names(all: &[Checkpoint]) -> String {
    all.iter().map(|c| format!("stage {} step {}", c.stage, c.step)).collect::<Vec<_>>().join(", ")
}

fn loss(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |l| format!("{l:.4}"))
}

fn list(all: &[Listed], paint: Paint) -> String {
    if all.is_empty() {
        return "no checkpoint is kept".into();
    }
    let row = |c: &Listed| {
        let mark = if c.is_best { "best" } else { "" };
        let note = c.problem.as_ref().map_or_else(|| mark.to_owned(), |p| paint.red(p));
        vec![c.at.stage.to_string(), c.at.step.to_string(), loss(c.eval_loss), bytes(c.bytes), note]
    };
    table(paint, &["stage", "step", "validation loss", "size", ""], &all.iter().map(row).collect::<Vec<_>>())
}

fn diff(d: &Diff, paint: Paint) -> String {
    let share = |r: Option<f64>| r.map_or_else(|| "-".into(), |r| format!("{:.2} %", 100.0 * r));
    let row = |m: &checkpoints::Moved| vec![m.tensor.clone(), format!("{:.6}", m.distance), share(m.relative)];
    let rows: Vec<Vec<String>> = d.tensors.iter().take(SHOWN_TENSORS).map(row).collect();
    let rest = d.tensors.len().saturating_sub(SHOWN_TENSORS);
    let more = if rest > 0 { format!("and {rest} more\n") } else { String::new() };
    format!(
        "validation loss {} to {}; distance {:.6}, {} of the norm\n{}{more}",
        loss(d.eval_loss[0]),
        loss(d.eval_loss[1]),
        d.distance,
        share(d.relative),
        table(paint, &["tensor", "distance", "of its norm"], &rows)
    )
}

fn pruned(p: &Pruned, is_dry: bool) -> String {
    if p.removed.is_empty() {
        return "nothing to remove".into();
    }
    let word = if is_dry { "would remove" } else { "removed" };
    format!("{word} {} ({}); kept {}", names(&p.removed), bytes(p.bytes), names(&p.kept))
}
