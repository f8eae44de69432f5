//! The texts that tokenizers are compared on: files, or folders of them.
//!
//! Rows of JSONL, JSON, CSV and Parquet give the text of `text`, or of their `messages` (with calls
//! and tools as JSON), or of all their members that are text; `kind` and `language` say what it is.
//! A file of source code is one text per 64 KiB, another file one text per paragraph.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::kind::{CODE_ENDINGS, TextKind};
use crate::base::error::Fault;
use crate::data::read_table;

/// Bytes of text that are read where nothing else is asked for.
pub const MOST_BYTES: u64 = 32 << 20;
/// Longest text from a file of code, and from a paragraph.
const CODE_BYTES: usize = 64 << 10;
const PARAGRAPH_BYTES: usize = 8 << 10;
/// Endings of files with rows.
const ROWS: [&str; 6] = ["csv", "json", "jsonl", "ndjson", "parquet", "tsv"];

/// A text to compare on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// What kind it is.
    pub kind: TextKind,
    /// Its language, where that was said.
    pub language: Option<String>,
    /// File and line, or its number among those given.
    pub place: String,
}

impl Text {
    /// A text that was given as it is.
    pub fn given(number: usize, text: &str) -> Self {
        Self { text: text.to_owned(), kind: TextKind::of(text), language: None, place: format!("text {number}") }
    }
}

/// Reads at most `most_bytes` of text, the files with equal shares where it is more. Also says whether
/// some was left out.
///
/// # Errors
/// When a file cannot be read, holds no text, or a row has none.
pub fn read_texts(paths: &[PathBuf], most_bytes: u64) -> Result<(Vec<Text>, bool), Fault> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() { walk(path, &mut files)? } else { files.push(path.clone()) }
    }
    let sizes: Vec<u64> =
        files.iter().map(|f| std::fs::metadata(f).map(|m| m.len()).map_err(|e| Fault::io("read", f, &e))).collect::<Result<_, _>>()?;
    let share = share_of(&sizes, most_bytes);
    let (mut texts, mut is_cut) = (Vec::new(), false);
    for (file, size) in files.iter().zip(sizes) {
        crate::base::cancel::checkpoint();
        is_cut |= read_file(file, share.min(size.max(1)).max(1), &mut texts)?;
    }
    texts.retain(|t: &Text| !t.text.is_empty());
    if texts.is_empty() {
        let named: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
        return Err(Fault::new("data_empty", format!("there is no text in {}", named.join(", ")))
            .hint("give text files, source code, or rows with `text` or `messages`"));
    }
    Ok((texts, is_cut))
}

/// The largest share per file with which all files together stay below `most`.
pub(super) fn share_of(sizes: &[u64], most: u64) -> u64 {
    let mut sorted = sizes.to_vec();
    sorted.sort_unstable();
    let mut left = most;
    for (i, size) in sorted.iter().enumerate() {
        let share = left / (sorted.len() - i) as u64;
        if *size > share {
            return share;
        }
        left -= size;
    }
    u64::MAX
}

fn ending(path: &Path) -> String {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase()
}

/// The texts of one file; whether some was left out.
fn read_file(path: &Path, most: u64, into: &mut Vec<Text>) -> Result<bool, Fault> {
    let ending = ending(path);
    let mut taken = 0;
    if ROWS.contains(&ending.as_str()) {
        let table = read_table(path, None)?;
        if let Some(problem) = table.problems.first() {
            return Err(Fault::new("data_bad_row", problem.to_string()).hint("correct the row, or leave the file out"));
        }
        for row in &table.rows {
            if taken >= most {
                return Ok(true);
            }
            let place = row.at.to_string();
            let first = into.len();
            of_row(&row.fields, &place, into)?;
            taken += into[first..].iter().map(|t| t.text.len() as u64).sum::<u64>();
        }
        return Ok(false);
    }
    let bytes = std::fs::read(path).map_err(|e| Fault::io("read", path, &e))?;
    let all = String::from_utf8(bytes).map_err(|_| {
        Fault::new("data_not_utf8", format!("{}: not UTF-8 text", path.display())).hint("save the file as UTF-8, or leave it out")
    })?;
    let is_code = CODE_ENDINGS.contains(&ending.as_str());
    let mut line = 1;
    for text in split(&all, is_code) {
        if taken >= most {
            return Ok(true);
        }
        taken += text.len() as u64;
        let kind = if is_code { TextKind::Code } else { TextKind::of(text) };
        into.push(Text { text: text.to_owned(), kind, language: None, place: format!("{}:{line}", path.display()) });
        line += text.bytes().filter(|b| *b == b'\n').count();
    }
    Ok(false)
}

/// Parts of a file: they end at a line's end, behind an empty line unless it is code, or where they
/// are long enough.
fn split(all: &str, is_code: bool) -> Vec<&str> {
    let most = if is_code { CODE_BYTES } else { PARAGRAPH_BYTES };
    let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
    for line in all.split_inclusive('\n') {
        at += line.len();
        let paragraph = !is_code && line.trim().is_empty();
        if paragraph || at - start >= most {
            // One line alone may be long.
            while at - start > 8 * most {
                let end = all.floor_char_boundary(start + most);
                parts.push(&all[start..end]);
                start = end;
            }
            parts.push(&all[start..at]);
            start = at;
        }
    }
    parts.push(&all[start..]);
    parts.retain(|p| !p.is_empty());
    parts
}

fn of_row(fields: &Map<String, Value>, place: &str, into: &mut Vec<Text>) -> Result<(), Fault> {
    let word = |name: &str| fields.get(name).and_then(Value::as_str).map(str::trim).filter(|w| !w.is_empty());
    let language = word("language").or_else(|| word("lang")).map(str::to_owned);
    let kind = word("kind").and_then(TextKind::named);
    let mut add = |text: &str, as_json: bool| {
        let kind = kind.unwrap_or_else(|| if as_json { TextKind::ToolJson } else { TextKind::of(text) });
        into.push(Text { text: text.to_owned(), kind, language: language.clone(), place: place.to_owned() });
    };
    if let Some(text) = fields.get("text").and_then(Value::as_str) {
        add(text, false);
        return Ok(());
    }
    let mut found = false;
    if let Some(messages) = fields.get("messages").or_else(|| fields.get("conversations")).and_then(Value::as_array) {
        for message in messages {
            if let Some(text) = message.get("content").or_else(|| message.get("value")).and_then(Value::as_str) {
                add(text, false);
                found = true;
            }
            for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
                add(&call.get("function").unwrap_or(call).to_string(), true);
                found = true;
            }
        }
        for tool in fields.get("tools").and_then(Value::as_array).into_iter().flatten() {
            add(&tool.to_string(), true);
        }
    } else {
        let named = |name: &str| ["kind", "language", "lang", "id"].contains(&name);
        for (_, text) in fields.iter().filter(|(n, _)| !named(n)).filter_map(|(n, v)| Some((n, v.as_str()?))) {
            add(text, false);
            found = true;
        }
    }
    if found {
        return Ok(());
    }
    Err(Fault::new("data_no_text", format!("{place}: the row has no text"))
        .hint("a row needs `text`, `messages`, or members that are text"))
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Fault> {
    let fault = |e: std::io::Error| Fault::io("read the folder", folder, &e);
    let mut found = std::fs::read_dir(folder).map_err(fault)?.collect::<Result<Vec<_>, _>>().map_err(fault)?;
    found.sort_by_key(std::fs::DirEntry::file_name);
    for entry in found {
        // Links are left alone: they may lead outside the folder or round in a circle.
        let kind = entry.file_type().map_err(fault)?;
        let (path, ending) = (entry.path(), ending(&entry.path()));
        let known = ["txt", "md"].contains(&&*ending) || ROWS.contains(&&*ending) || CODE_ENDINGS.contains(&&*ending);
        if kind.is_dir() {
            walk(&path, files)?;
        } else if kind.is_file() && known {
            files.push(path);
        }
    }
    Ok(())
}
