//! The report as files: JSON, Markdown, one page of HTML, and every answer for another judge.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Scored;
use crate::base::atomic::write_file;
use crate::base::error::Fault;
use crate::eval::report::{markdown, page};

/// The files of a report.
#[derive(Debug, Clone, Serialize)]
pub struct Written {
    /// For programs.
    pub json: PathBuf,
    /// For reading in a repository.
    pub markdown: PathBuf,
    /// For reading in a browser.
    pub html: PathBuf,
    /// One line for each row with all answers, for a person or a model that judges them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<PathBuf>,
}

/// Writes a report into a folder. Files of an earlier report are replaced.
///
/// # Errors
/// When a file cannot be written.
pub fn write(scored: &Scored, folder: &Path) -> Result<Written, Fault> {
    let r = &scored.report;
    let at = |name: &str| folder.join(name);
    let text = serde_json::to_string_pretty(r).map_err(|e| Fault::new("io", format!("the report cannot be written as JSON: {e}")))?;
    let written = Written {
        json: at("report.json"),
        markdown: at("report.md"),
        html: at("report.html"),
        answers: (!scored.answered.is_empty()).then(|| at("answers.jsonl")),
    };
    write_file(&written.json, (text + "\n").as_bytes())?;
    write_file(&written.markdown, markdown(r).as_bytes())?;
    write_file(&written.html, page(r).as_bytes())?;
    if let Some(path) = &written.answers {
        let line = |a: &crate::eval::report::Answered| {
            let answers: Map<String, Value> = r.sides.iter().zip(&a.answers).map(|(s, t)| (s.label.clone(), json!(t))).collect();
            json!({"row": a.row, "prompt": a.prompt, "wanted": a.wanted, "answers": answers}).to_string() + "\n"
        };
        write_file(path, scored.answered.iter().map(line).collect::<String>().as_bytes())?;
    }
    Ok(written)
}
