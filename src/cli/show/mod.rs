//! Reports as text. Each function takes a report and gives what is printed; nothing here prints or decides.

mod data;
mod export;
mod judged;
mod measure;
mod model;
mod runs;
mod versions;

use std::fmt::Write;

pub use data::{data_check, data_stats};
pub use export::{exported, served, uploaded};
pub use judged::judged;
pub use measure::{bench_generate, bench_gpu, bench_model, bench_train, ceilings, doctor, plan};
pub use model::{eval, generated, gradients, merged, random_model, recipe};
pub use runs::{demo, init, run, runs, train};
pub use versions::{promoted, version, versions, versions_compared};

use super::style::Paint;
use crate::model::Policy;
use crate::train::Evaluation;

/// A policy in words.
pub fn policy(policy: Policy) -> String {
    match policy {
        Policy::KeepAll => "all activations are kept".into(),
        Policy::Minimal => "cheap activations are made again".into(),
        Policy::Recompute => "each layer is recomputed in the backward pass".into(),
        Policy::Mixed { recomputed, offloaded } => {
            let layers = |n: usize| if n == 1 { "1 layer".to_owned() } else { format!("{n} layers") };
            let first = |n: usize| if n == 1 { "the first layer is".to_owned() } else { format!("the first {n} layers are") };
            let again = if recomputed > 0 { format!("{} recomputed in the backward pass, ", first(recomputed)) } else { String::new() };
            let away = if offloaded > 0 { format!("activations of {} wait in host memory, ", layers(offloaded)) } else { String::new() };
            format!("{again}{away}cheap activations{} made again", if recomputed > 0 { " of the others" } else { "" })
        }
        Policy::HostInputs => "each layer is recomputed in the backward pass from its input, which waits in host memory".into(),
    }
}

/// Lines that are collected and printed at once.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, line: impl AsRef<str>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{}", line.as_ref());
    }

    fn named(&mut self, paint: Paint, name: &str, value: impl AsRef<str>) {
        self.add(format!("{} {}", paint.dim(&format!("{name:<12}")), value.as_ref()));
    }
}

/// Rows as columns as wide as their widest cell; numbers to the right.
pub(in crate::cli) fn table(paint: Paint, head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).chain([head[i].len()]).max().unwrap_or(0);
    let numeric = |i: usize| !rows.is_empty() && rows.iter().all(|r| r[i].starts_with(|c: char| c.is_ascii_digit()) || r[i] == "-");
    let cell = |i: usize, text: &str| {
        let fill = " ".repeat(width(i).saturating_sub(text.chars().count()));
        if numeric(i) { format!("{fill}{text}") } else { format!("{text}{fill}") }
    };
    let line = |cells: Vec<String>| format!("  {}", cells.join("  ")).trim_end().to_owned();
    let mut out = Lines::default();
    out.add(paint.dim(&line(head.iter().enumerate().map(|(i, h)| cell(i, h)).collect())));
    for row in rows {
        out.add(line(row.iter().enumerate().map(|(i, c)| cell(i, c)).collect()));
    }
    out.0
}

/// Base and tuned side by side.
fn evaluations(paint: Paint, rows: &[(&str, &Evaluation)]) -> String {
    let row = |(name, e): &(&str, &Evaluation)| {
        vec![(*name).to_owned(), format!("{:.4}", e.loss), format!("{:.3}", e.perplexity), format!("{:.1} %", 100.0 * e.accuracy)]
    };
    table(paint, &["", "loss", "perplexity", "token accuracy"], &rows.iter().map(row).collect::<Vec<_>>())
}
