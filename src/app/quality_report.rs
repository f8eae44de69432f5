//! A dataset's report as files: JSON, Markdown, and a page with pictures.

mod html;
mod markdown;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::data::DataReport;
use crate::base::atomic::write_file;
use crate::base::error::Fault;
use crate::data::{QualitySigns, Sign};

/// Where reports go in a project.
pub const FOLDER: &str = "data/quality_reports";
/// Tools that a report lists.
const MOST_TOOLS: usize = 60;
/// Problems that a report lists.
const MOST_PROBLEMS: usize = 50;

/// The files of a report.
#[derive(Debug, Clone, Serialize)]
pub struct QualityFiles {
    /// For programs.
    pub json: PathBuf,
    /// For reading in a repository.
    pub markdown: PathBuf,
    /// For reading in a browser.
    pub html: PathBuf,
}

/// Writes a report under a name; files of an earlier one are replaced.
///
/// # Errors
/// When a file cannot be written.
pub fn write(report: &DataReport, folder: &Path, name: &str) -> Result<QualityFiles, Fault> {
    let at = |ending: &str| folder.join(format!("{name}.{ending}"));
    let files = QualityFiles { json: at("json"), markdown: at("md"), html: at("html") };
    let json = serde_json::to_string_pretty(report).map_err(|e| Fault::new("io", format!("the report cannot be written as JSON: {e}")))?;
    write_file(&files.json, (json + "\n").as_bytes())?;
    write_file(&files.markdown, markdown::text(report).as_bytes())?;
    write_file(&files.html, html::page(report).as_bytes())?;
    Ok(files)
}

/// Signs of poor quality that occur, in words.
fn signs(s: &QualitySigns) -> Vec<(&'static str, &Sign)> {
    let all = [
        ("repeat an earlier row", &s.duplicates),
        ("answer an earlier question differently", &s.conflicting),
        ("have an empty answer", &s.empty_outputs),
        ("have an answer of one character", &s.very_short),
        ("answer with the question", &s.echoes),
        ("repeat themselves", &s.repetitive),
        ("hold U+FFFD, left by a wrong decoding", &s.broken_characters),
        ("hold control characters", &s.control_characters),
        ("call a tool that they do not define", &s.unknown_tools),
        ("have messages after the last answer", &s.trailing_messages),
    ];
    all.into_iter().filter(|(_, sign)| sign.rows > 0).collect()
}

/// The main figures by name.
fn figures(r: &DataReport) -> Vec<(&'static str, String)> {
    let c = &r.check;
    let mut out = vec![
        ("rows", c.rows.to_string()),
        ("usable", c.usable_rows.to_string()),
        ("bad", c.bad_rows.to_string()),
        ("left out", c.skipped_rows.to_string()),
    ];
    if let Some(n) = &c.counts {
        let share = 100.0 * n.trained_tokens as f64 / n.tokens.max(1) as f64;
        out.push(("tokens of an epoch", n.tokens.to_string()));
        out.push(("trained tokens", format!("{} ({share:.1} %)", n.trained_tokens)));
        out.push(("sequences cut", n.truncated.to_string()));
    }
    if let Some(p) = &r.profile {
        out.push(("nearly repeated rows", p.near_duplicates.to_string()));
    }
    out
}

/// The tables of bins, with their titles; those that hold nothing are left out.
fn histograms(r: &DataReport) -> Vec<(&'static str, Vec<(String, usize)>)> {
    let Some(p) = &r.profile else { return Vec::new() };
    let named = |bins: &[crate::data::Bin]| -> Vec<(String, usize)> {
        let name = |b: &crate::data::Bin| if b.from == b.to { b.from.to_string() } else { format!("{} to {}", b.from, b.to) };
        bins.iter().map(|b| (name(b), b.rows)).collect()
    };
    let quality = p.quality.iter().map(|b| (format!("0.{} to {:.1}", b.from, b.to as f64 / 10.0), b.rows)).collect();
    let all = [
        ("Tokens of a sequence", named(&p.tokens)),
        ("Trained tokens of a sequence", named(&p.trained_tokens)),
        ("Characters of a row", named(&p.chars)),
        ("Answers of a row", named(&p.answers)),
        ("Calls of a row", named(&p.calls)),
        ("Quality of a row", quality),
    ];
    all.into_iter().filter(|(_, bins)| !bins.is_empty()).collect()
}
