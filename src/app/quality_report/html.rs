//! The report as one page that needs nothing else: style and pictures inside, no scripts.

use std::fmt::Write;

use super::{MOST_PROBLEMS, MOST_TOOLS, figures, histograms, signs};
use crate::app::data::DataReport;
use crate::eval::report::{STYLE, escape, table};

const LEFT: f64 = 160.0;
const WIDTH: f64 = 460.0;
const RIGHT: f64 = 90.0;
const BAR: f64 = 20.0;

/// Bars to the right, one for each name.
fn bars(label: &str, of: &[(String, usize)]) -> String {
    let most = of.iter().map(|(_, n)| *n).max().unwrap_or(0).max(1) as f64;
    let height = BAR * of.len() as f64 + 6.0;
    let mut out = format!("<svg viewBox=\"0 0 {} {height}\" role=\"img\" aria-label=\"{}\">", LEFT + WIDTH + RIGHT, escape(label));
    for (i, (name, n)) in of.iter().enumerate() {
        let (top, wide) = (BAR * i as f64 + 3.0, WIDTH * *n as f64 / most);
        let short: String = name.chars().take(24).collect();
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect class=\"track\" x=\"{LEFT}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{h}\"/>\
             <rect class=\"s1\" x=\"{LEFT}\" y=\"{top}\" width=\"{wide:.1}\" height=\"{h}\"/>\
             <text x=\"{}\" y=\"{}\">{n}</text>",
            LEFT - 8.0,
            top + 13.0,
            escape(&short),
            LEFT + WIDTH + 8.0,
            top + 13.0,
            h = BAR - 4.0,
        );
    }
    out + "</svg>"
}

fn rows<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<Vec<String>> = rows.map(|r| r.iter().map(|c| escape(c)).collect()).collect();
    table(&head.map(str::to_owned), &rows)
}

/// The whole page.
pub(super) fn page(r: &DataReport) -> String {
    let names: Vec<&str> = r.check.files.iter().map(|f| f.path.as_str()).collect();
    let title = escape(&names.join(", "));
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head><body><h1>Dataset</h1>\
         <p class=\"sub\">Tokens are those of <code>{}</code>; sequences are at most {} long.</p>",
        escape(&r.model),
        r.max_seq_length
    );
    let file = |f: &crate::data::FileReport| {
        let layout = f.layout.map_or("-", |l| l.name());
        [f.path.clone(), layout.to_owned(), f.rows.to_string(), f.usable_rows.to_string(), f.sha256.chars().take(16).collect()]
    };
    out += &rows(["file", "layout", "rows", "usable", "SHA-256, its beginning"], r.check.files.iter().map(file));
    out += &rows(["figure", "value"], figures(r).into_iter().map(|(n, v)| [n.to_owned(), v]));
    for (title, bins) in histograms(r) {
        out += &format!("<h2>{title}</h2>{}", bars(title, &bins));
    }
    if let Some(p) = r.profile.as_ref().filter(|p| !p.tools.is_empty()) {
        let calls: Vec<(String, usize)> = p.tools.iter().take(MOST_TOOLS).map(|t| (t.name.clone(), t.calls)).collect();
        out += &format!("<h2>Calls by tool</h2>{}", bars("Calls by tool", &calls));
        let row = |t: &crate::data::ToolUse| [t.name.clone(), t.calls.to_string(), t.calling.to_string(), t.offered.to_string()];
        out += &rows(["tool", "calls", "rows that call it", "rows that offer it"], p.tools.iter().take(MOST_TOOLS).map(row));
        if !p.never_called.is_empty() {
            out += &format!("<p>Never called: {}</p>", escape(&p.never_called.join(", ")));
        }
    }
    let signs = signs(&r.check.signs);
    if !signs.is_empty() {
        let first = |s: &crate::data::Sign| s.first.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let lines = signs.into_iter().map(|(what, s)| [s.rows.to_string(), what.to_owned(), first(s)]);
        out += &format!("<h2>Look at</h2>{}", rows(["rows", "that", "the first"], lines));
    }
    if !r.check.problems.is_empty() {
        let row = |p: &crate::data::RowProblem| [p.at.to_string(), p.code.to_owned(), p.message.clone()];
        let lines = r.check.problems.iter().take(MOST_PROBLEMS).map(row);
        out += &format!("<h2>Problems</h2>{}", rows(["row", "code", "what"], lines));
    }
    out + "</body></html>\n"
}
