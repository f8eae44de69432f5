//! The report as Markdown.

use super::{MOST_PROBLEMS, MOST_TOOLS, figures, histograms, signs};
use crate::app::data::DataReport;

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ").replace('<', "&lt;")
}

fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = line(&[const { "---" }; N].map(str::to_owned));
    [line(&head.map(str::to_owned)), rule].into_iter().chain(rows.map(|r| line(&r.map(|c| cell(&c))))).collect()
}

/// The whole report.
pub(super) fn text(r: &DataReport) -> String {
    let mut out = String::from("# Dataset\n\n");
    let file = |f: &crate::data::FileReport| {
        let layout = f.layout.map_or("-", |l| l.name());
        [f.path.clone(), layout.to_owned(), f.rows.to_string(), f.usable_rows.to_string(), f.sha256.clone()]
    };
    out += &table(["file", "layout", "rows", "usable", "SHA-256"], r.check.files.iter().map(file));
    out += &format!("\nTokens are those of `{}`; sequences are at most {} long.\n\n", cell(&r.model), r.max_seq_length);
    out += &table(["figure", "value"], figures(r).into_iter().map(|(n, v)| [n.to_owned(), v]));
    for (title, bins) in histograms(r) {
        out += &format!("\n## {title}\n\n");
        out += &table(["from, to", "rows"], bins.into_iter().map(|(name, rows)| [name, rows.to_string()]));
    }
    if let Some(p) = r.profile.as_ref().filter(|p| !p.tools.is_empty()) {
        out += "\n## Tools\n\n";
        let row = |t: &crate::data::ToolUse| [t.name.clone(), t.calls.to_string(), t.calling.to_string(), t.offered.to_string()];
        out += &table(["tool", "calls", "rows that call it", "rows that offer it"], p.tools.iter().take(MOST_TOOLS).map(row));
        if !p.never_called.is_empty() {
            out += &format!("\nNever called: {}\n", cell(&p.never_called.join(", ")));
        }
    }
    let signs = signs(&r.check.signs);
    if !signs.is_empty() {
        out += "\n## Look at\n\n";
        let first = |s: &crate::data::Sign| s.first.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        out += &table(["rows", "that", "the first"], signs.into_iter().map(|(what, s)| [s.rows.to_string(), what.to_owned(), first(s)]));
    }
    if !r.check.problems.is_empty() {
        out += "\n## Problems\n\n";
        let row = |p: &crate::data::RowProblem| [p.at.to_string(), p.code.to_owned(), p.message.clone()];
        out += &table(["row", "code", "what"], r.check.problems.iter().take(MOST_PROBLEMS).map(row));
    }
    out
}
