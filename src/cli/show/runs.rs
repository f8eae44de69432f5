//! Runs, and what came of them.

use std::path::Path;

use super::super::style::{Paint, bytes, count, duration};
use super::{Lines, evaluations, table};
use crate::app::demo::{Answer, DemoReport};
use crate::app::init::InitReport;
use crate::app::outcome::Kept;
use crate::app::train::TrainReport;
use crate::runs::{EnergyRecord, Manifest, RunSummary, StageRecord, Status, Verdict};
use crate::train::Evaluation;

/// Answers that the demo prints in full.
const SHOWN_ANSWERS: usize = 4;

fn status(paint: Paint, status: Status) -> String {
    match status {
        Status::Finished => paint.green(status.name()),
        Status::Failed | Status::Diverged => paint.red(status.name()),
        _ => paint.yellow(status.name()),
    }
}

fn stage(s: &StageRecord) -> String {
    let sequences = s.sequences.map(|n| format!(", {} sequences", count(n))).unwrap_or_default();
    let (done, all, trained) = (count(s.iterations_done), count(s.iterations), count(s.trained_tokens));
    let mut text = format!("{done} of {all} steps{sequences}, {trained} trained tokens");
    text += &format!(" in {}", duration(s.wall_seconds));
    if let Some(loss) = s.last_loss {
        text += &format!(", last loss {loss:.4}");
    }
    if let (Some(step), Some(loss)) = (s.best_step, s.best_loss) {
        text += &format!(", best validation loss {loss:.4} at step {step}");
    }
    text
}

fn memory(s: &StageRecord) -> Option<String> {
    let (predicted, measured) = (s.peak_memory.predicted_bytes?, s.peak_memory.measured_bytes?);
    Some(format!("peak {} measured, {} predicted", bytes(measured), bytes(predicted)))
}

fn energy(e: &EnergyRecord) -> String {
    let (wh, grams) = (1e3 * e.kwh, 1e3 * e.emissions_kg);
    format!("{wh:.3} Wh, {grams:.3} g CO2e at {:.0} g/kWh ({}; {})", e.grams_per_kwh, e.country_iso_code, e.source)
}

/// `tallow train`.
pub fn train(report: &TrainReport, paint: Paint) -> String {
    let mut out = Lines::default();
    out.named(paint, "run", format!("{}  {}", report.run.display(), status(paint, report.status)));
    for s in &report.stages {
        out.named(paint, &format!("stage {}", s.stage), stage(s));
        if let Some(text) = memory(s) {
            out.named(paint, "memory", text);
        }
    }
    if let Some(e) = &report.energy {
        out.named(paint, "energy", energy(e));
    }
    let pair = report.base.as_ref().map(|b| ("base", b)).into_iter().chain(report.tuned.as_ref().map(|t| ("tuned", t)));
    let pair: Vec<_> = pair.collect();
    if report.tuned.is_some() {
        out.0 += &evaluations(paint, &pair);
    }
    out.0 += &report.kept.as_ref().map(|k| kept(k, paint)).unwrap_or_default();
    verdicts(&mut out, &report.verdicts, paint);
    if let Some(model) = &report.model {
        out.named(paint, "result", paint.bold(&model.display().to_string()));
    }
    if let Some(url) = &report.uploaded {
        out.named(paint, "uploaded", url);
    }
    if let Some(command) = &report.resume_command {
        out.named(paint, "go on", paint.bold(command));
    }
    out.0
}

/// Stage 1's test rows before and after stage 2.
fn kept(k: &Kept, paint: Paint) -> String {
    let all = [("base", &k.base), ("after stage 1", &k.after_stage1), ("after stage 2", &k.after_stage2)];
    let known: Vec<(&str, &Evaluation)> = all.into_iter().filter_map(|(name, e)| Some((name, e.as_ref()?))).collect();
    format!("{}\n{}", paint.dim("stage 1's test rows"), evaluations(paint, &known))
}

/// Scores that were asked for.
fn verdicts(out: &mut Lines, all: &[Verdict], paint: Paint) {
    for v in all {
        let word = if v.passed { paint.green("reached") } else { paint.red("missed") };
        out.named(paint, &word, format!("{} {} (the token accuracy is {:.4})", v.key, v.limit, v.accuracy));
    }
}

/// `tallow demo`.
pub fn demo(report: &DemoReport, paint: Paint) -> String {
    let mut out = Lines(train(&report.train, paint));
    if report.answered == 0 {
        return out.0;
    }
    out.add("");
    out.add(paint.bold(&format!("Answers to {} requests that were never trained", report.answered)));
    let chosen = report.answers.iter().filter(|a| a.tuned_right && !a.base_right).take(SHOWN_ANSWERS - 1);
    let missed = report.answers.iter().filter(|a| !a.tuned_right).take(1);
    chosen.chain(missed).for_each(|a| answer(&mut out, a, paint));
    out.add("");
    let line = |right: usize| format!("{right} of {} right", report.answered);
    out.named(paint, "base", paint.red(&line(report.base_right)));
    out.named(paint, "tuned", paint.green(&line(report.tuned_right)));
    out.add("");
    let (model, project) = (report.train.model.as_deref().unwrap_or(Path::new("")).display(), report.project.display());
    out.add("Go on from here:");
    out.add(format!("  tallow generate --model embedded --adapter {model} --temperature 0 --prompt \"wake me at 7 am on Friday\""));
    out.add(format!("  tallow data check {project}/data/train.jsonl --show 1"));
    out.add(format!("  tallow plan {project}"));
    out.add(format!("  tallow runs show latest --project {project}"));
    out.0
}

fn answer(out: &mut Lines, a: &Answer, paint: Paint) {
    let line = |text: &str| -> String {
        let flat = text.replace('\n', " ");
        let short: String = flat.chars().take(96).collect();
        if short.len() < flat.len() { short + " ..." } else { short }
    };
    let judged = |text: &str, right: bool| if right { paint.green(&line(text)) } else { paint.red(&line(text)) };
    out.add("");
    out.named(paint, "request", line(&a.prompt));
    out.named(paint, "base", judged(&a.base, a.base_right));
    out.named(paint, "tuned", judged(&a.tuned, a.tuned_right));
    if !a.tuned_right {
        out.named(paint, "wanted", line(&a.wanted));
    }
}

/// `tallow runs list`.
pub fn runs(all: &[RunSummary], project: &Path, paint: Paint) -> String {
    if all.is_empty() {
        return format!("no runs under {} yet: `tallow train {}` makes one", project.display(), project.display());
    }
    let row = |r: &RunSummary| {
        vec![
            r.run_id.clone(),
            r.status.map_or_else(|| "unreadable".to_owned(), |s| s.name().to_owned()),
            format!("{}/{}", r.iterations_done, r.iterations),
            r.best_loss.map_or_else(|| "-".to_owned(), |l| format!("{l:.4}")),
            r.created_at.clone(),
        ]
    };
    let mut out = Lines(table(paint, &["run", "status", "steps", "best loss", "created"], &all.iter().map(row).collect::<Vec<_>>()));
    for r in all {
        if let Some(problem) = &r.problem {
            out.named(paint, "problem", paint.red(problem));
        }
    }
    out.0
}

/// `tallow runs show`.
pub fn run(m: &Manifest, path: &Path, left: Option<&Kept>, paint: Paint) -> String {
    let mut out = Lines::default();
    out.add(format!("{}  {}", paint.bold(&m.run_id), status(paint, m.status)));
    out.named(paint, "folder", path.display().to_string());
    out.named(paint, "created", &m.created_at);
    if let Some(base) = &m.base_model {
        out.named(paint, "base", format!("{} ({}, {} parameters)", base.id, base.architecture, count(base.parameters)));
    }
    let c = &m.config;
    out.named(
        paint,
        "method",
        format!("{}, base held as {}, rank {}", c.training.method.name(), c.base_model.quantization.name(), c.lora.rank),
    );
    let d = &m.dataset.train;
    out.named(paint, "data", format!("{} rows, {} tokens, {} of them trained", d.rows, count(d.tokens), count(d.trained_tokens)));
    for s in &m.stages {
        out.named(paint, &format!("stage {}", s.stage), stage(s));
        if let Some(text) = memory(s) {
            out.named(paint, "memory", text);
        }
        if let Some(adapters) = &s.adapters {
            out.named(paint, "adapters", path.join(adapters).display().to_string());
        }
    }
    if let Some(e) = &m.energy {
        out.named(paint, "energy", energy(e));
    }
    out.0 += &left.map(|k| kept(k, paint)).unwrap_or_default();
    verdicts(&mut out, &m.verdicts, paint);
    if let Some(e) = &m.error {
        out.named(paint, "error", paint.red(&format!("{}: {}", e.code, e.message)));
    }
    out.0
}

/// `tallow init`.
pub fn init(report: &InitReport, paint: Paint) -> String {
    let mut out = Lines::default();
    out.named(paint, "project", paint.bold(&report.project.display().to_string()));
    out.add("Next:");
    report.next.iter().for_each(|step| out.add(format!("  {step}")));
    out.0
}
