//! `tallow runs plot` and `tallow runs compare`.

use std::path::PathBuf;

use clap::Args;

use super::run::Desk;
use super::show::table;
use super::style::{Paint, bytes};
use crate::app::beside::{self, Beside};
use crate::app::plot::{self, Look};
use crate::base::error::Fault;
use crate::runs::{self, RunFolder};
use crate::track::in_words;

/// How a picture looks.
#[derive(Debug, Args)]
pub struct LookArgs {
    /// Weight of earlier steps in the smoothed loss, 0 to below 1; 0 shows every step.
    #[arg(long, default_value_t = 0.9)]
    pub smoothing: f64,
    /// Show the loss on a logarithmic scale.
    #[arg(long)]
    pub log: bool,
}

/// `tallow runs plot`.
#[derive(Debug, Args)]
pub struct PlotArgs {
    /// The run folder, or its name under the project.
    pub run: String,
    /// The picture, .svg or .png; unset: plot.svg in the run's folder.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// How it looks.
    #[command(flatten)]
    pub look: LookArgs,
    /// The project folder.
    #[arg(long, default_value = ".")]
    pub project: PathBuf,
}

/// `tallow runs compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The runs' folders, or their names under the project.
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    pub runs: Vec<String>,
    /// Draw their curves over one another into this file, .svg or .png.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// How it looks.
    #[command(flatten)]
    pub look: LookArgs,
    /// The project folder.
    #[arg(long, default_value = ".")]
    pub project: PathBuf,
}

fn look(a: &LookArgs) -> Look {
    Look { smoothing: a.smoothing, is_log: a.log }
}

pub(super) fn plot(desk: &Desk, a: PlotArgs) -> Result<u8, Fault> {
    let folder = runs::find(&a.project, &a.run)?;
    let out = a.out.unwrap_or_else(|| folder.path().join("plot.svg"));
    let report = plot::run(&[folder], &out, look(&a.look))?;
    desk.give(&report, || format!("{}  {}", report.path.display(), bytes(report.bytes)))
}

pub(super) fn compare(desk: &Desk, a: CompareArgs) -> Result<u8, Fault> {
    let folders = a.runs.iter().map(|named| runs::find(&a.project, named)).collect::<Result<Vec<RunFolder>, _>>()?;
    let report = beside::run(&folders)?;
    let picture = a.out.map(|out| plot::run(&folders, &out, look(&a.look))).transpose()?;
    let json = serde_json::json!({ "comparison": report, "picture": picture });
    desk.give(&json, || {
        let drawn = picture.as_ref().map(|p| format!("\n{}  {}\n", p.path.display(), bytes(p.bytes))).unwrap_or_default();
        text(&report, desk.paint) + &drawn
    })
}

fn text(report: &Beside, paint: Paint) -> String {
    let head: Vec<&str> = std::iter::once("").chain(report.runs.iter().map(String::as_str)).collect();
    let line = |name: &str, cells: Vec<String>| std::iter::once(name.to_owned()).chain(cells).collect::<Vec<String>>();
    let number = |v: &Option<f64>| v.map_or_else(|| "-".to_owned(), short);
    let mut rows = vec![line("status", report.status.clone())];
    rows.extend(report.figures.iter().map(|f| line(&f.name, f.values.iter().map(number).collect())));
    let figures = table(paint, &head, &rows);
    if report.settings.is_empty() {
        return format!("{figures}\nall settings are the same\n");
    }
    let cell = |v: &serde_json::Value| if v.is_null() { "unset".to_owned() } else { in_words(v) };
    let rows: Vec<Vec<String>> = report.settings.iter().map(|s| line(&s.key, s.values.iter().map(cell).collect())).collect();
    let head: Vec<&str> = std::iter::once("differing setting").chain(head.into_iter().skip(1)).collect();
    format!("{figures}\n{}", table(paint, &head, &rows))
}

/// Six digits that count.
fn short(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e12 {
        return format!("{value:.0}");
    }
    let decimals = (5 - value.abs().max(1e-12).log10().floor() as i32).clamp(0, 9) as usize;
    format!("{value:.decimals$}")
}
