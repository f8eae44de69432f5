//! Rows that someone else wrote, put to the training file of a folder of made data.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::{of_file, write_rows};
use crate::base::atomic;
use crate::base::error::Fault;
use crate::data::make_tools::{Appended, Tool, append};

/// What became of the rows.
#[derive(Debug, Clone, Serialize)]
pub struct AppendReport {
    /// The file that they were put to.
    pub path: PathBuf,
    /// Its rows now.
    pub rows: usize,
    /// What was taken and what was refused.
    #[serde(flatten)]
    pub appended: Appended,
}

/// Puts rows to `train.jsonl` of a folder. The tools are `tools`, or those of the folder's `tools.json`. What another
/// file of the folder asks already is not taken: it would leak.
///
/// # Errors
/// No tools, files that cannot be read, or a line that is no JSON.
pub fn append_rows(folder: &Path, tools: Option<Vec<Tool>>, rows: &[Value]) -> Result<AppendReport, Fault> {
    let listed = folder.join("tools.json");
    let tools = match tools {
        Some(tools) => tools,
        None if listed.exists() => of_file(&listed)?,
        None => {
            return Err(Fault::new("usage", format!("{} does not exist, and no tools are given", listed.display()))
                .hint("make rows in the folder first, or give the tools"));
        }
    };
    let path = folder.join("train.jsonl");
    let mut all = lines(&path)?;
    let mut known = all.clone();
    for other in ["validation.jsonl", "test.jsonl", "unseen.jsonl"] {
        known.extend(lines(&folder.join(other))?);
    }
    let appended = append(rows, &tools, &known).map_err(|m| Fault::new("bad_tools", m))?;
    all.extend(appended.rows.iter().cloned());
    if appended.taken > 0 {
        atomic::create_dir_all(folder)?;
        write_rows(&path, &all)?;
        if !listed.exists() {
            super::write_tools(&listed, &tools)?;
        }
    }
    Ok(AppendReport { path, rows: all.len(), appended })
}

/// The rows of a file; none where there is no file.
fn lines(path: &Path) -> Result<Vec<Value>, Fault> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Fault::io("read", path, &e)),
    };
    let line = |(i, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|e| {
            Fault::new("bad_rows", format!("{}:{}: {e}", path.display(), i + 1)).hint("mend the line or remove it: nothing was written")
        })
    };
    text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()).map(line).collect()
}
