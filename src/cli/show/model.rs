//! What was done with a model.

use std::path::Path;

use super::super::style::{Paint, bytes, count, duration};
use super::{Lines, evaluations};
use crate::app::bench::RandomModelReport;
use crate::app::eval::EvalReport;
use crate::app::generate::GenerateReport;
use crate::app::merge::MergeDone;
use crate::app::recipe::RecipeReport;
use crate::model::debug::GradientReport;

/// `tallow eval`.
pub fn eval(report: &EvalReport, paint: Paint) -> String {
    let mut out = Lines::default();
    let (rows, tokens) = (count(report.rows as u64), count(report.result.tokens));
    out.add(format!("{}  {rows} sequences, {tokens} judged tokens", paint.bold(&report.data.display().to_string())));
    let rows: Vec<_> = match &report.base {
        Some(base) => vec![("base", base), ("with adapter", &report.result)],
        None => vec![("model", &report.result)],
    };
    out.0 += &evaluations(paint, &rows);
    report.remarks.iter().for_each(|r| out.named(paint, "remark", r.clone()));
    out.0
}

/// The words after generated text.
pub fn generated(r: &GenerateReport) -> String {
    format!("{} tokens after {} of prompt, {:.1} tokens/s, ended by {}", r.tokens, r.prompt_tokens, r.tokens_per_second, r.stop_reason)
}

/// `tallow merge`.
pub fn merged(r: &MergeDone, paint: Paint) -> String {
    let mut out = Lines::default();
    out.named(paint, "model", r.out.display().to_string());
    out.named(paint, "tensors", format!("{}, {} of them with the adapter folded in, {}", r.tensors, r.merged, bytes(r.bytes)));
    out.0
}

/// `tallow debug gradients`.
pub fn gradients(r: &GradientReport, output: &Path) -> String {
    format!("loss {:.6} over {} tokens; logits and {} gradients in {}", r.loss, count(r.tokens), r.gradients, output.display())
}

/// `tallow bench random-model`.
pub fn random_model(r: &RandomModelReport) -> String {
    format!("{}  {} random parameters", r.out.display(), count(r.parameters))
}

/// `tallow recipe`.
pub fn recipe(r: &RecipeReport, paint: Paint) -> String {
    let mut out = Lines::default();
    out.named(paint, "model", format!("{}, {} parameters, {} tokens known", r.out, count(r.parameters), count(r.vocab_size as u64)));
    out.named(paint, "trained", format!("{} steps, {} tokens in {}", count(r.steps), count(r.tokens), duration(r.train_seconds)));
    let accuracy = 100.0 * r.accuracy;
    out.named(paint, "held out", format!("loss {:.4}, perplexity {:.3}, token accuracy {accuracy:.1} %", r.loss, r.perplexity));
    out.0
}
