//! What can go wrong with data, each with a stable code, the place and what to do about it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

/// Where a row stands: `file:line` for text files, `file:row N` for Parquet (both count from 1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    /// The path as the caller gave it.
    pub file: Arc<str>,
    /// Line of the first character of the row, or the row number where the format has no lines.
    pub line: u64,
    /// True where `line` counts rows.
    pub counts_rows: bool,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.counts_rows { "row " } else { "" };
        write!(f, "{}:{unit}{}", self.file, self.line)
    }
}

impl Serialize for Location {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// One row that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowProblem {
    /// Where the row stands.
    pub at: Location,
    /// Stable reason, snake case: `bad_json`, `missing_field`, `empty_output`, ...
    pub code: &'static str,
    /// The reason in words.
    pub message: String,
    /// True for rows that are left out with a word (an empty answer); false for rows that are errors.
    pub skipped: bool,
}

impl RowProblem {
    pub(crate) fn error(at: &Location, code: &'static str, message: impl Into<String>) -> Self {
        Self { at: at.clone(), code, message: message.into(), skipped: false }
    }

    pub(crate) fn skip(at: &Location, code: &'static str, message: impl Into<String>) -> Self {
        Self { at: at.clone(), code, message: message.into(), skipped: true }
    }
}

impl fmt::Display for RowProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)
    }
}

/// Why data cannot be loaded. [`DataError::code`] is stable, [`DataError::hint`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason from the system.
        source: std::io::Error,
    },
    /// Neither the ending nor the content says what the file is.
    #[error("{}: cannot tell the format from the name", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The file as a whole is broken (a row that is broken is a [`RowProblem`]).
    #[error("{}: {message}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The file holds no usable row.
    #[error("{}: no usable rows: {reason}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What became of its rows.
        reason: String,
    },
    /// The fields fit no known layout, or not the layout asked for.
    #[error("{path}: {message}")]
    Layout {
        /// The file.
        path: String,
        /// What was found.
        message: String,
        /// What to set.
        hint: String,
    },
    /// Rows with errors; all of them, not only the first.
    #[error("{}", bad_rows_message(problems))]
    BadRows {
        /// Every bad row.
        problems: Vec<RowProblem>,
    },
    /// The tokenizer's files are missing or broken.
    #[error("tokenizer {}: {message}", path.display())]
    Tokenizer {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The chat template cannot be parsed.
    #[error("chat template of {path}: {message}")]
    Template {
        /// The file that holds the template.
        path: String,
        /// What the template engine says.
        message: String,
    },
    /// Chat data, but the tokenizer has no chat template.
    #[error("{tokenizer}: the data is a chat, but this tokenizer has no chat template")]
    NoTemplate {
        /// The tokenizer's folder.
        tokenizer: String,
    },
    /// A saved cursor does not belong to this data or these settings.
    #[error("cannot continue at the saved place in the data: {message}")]
    Cursor {
        /// What differs.
        message: String,
    },
    /// Settings that cannot work.
    #[error("data settings: {message}")]
    Options {
        /// What is wrong.
        message: String,
    },
}

fn bad_rows_message(problems: &[RowProblem]) -> String {
    const SHOWN: usize = 20;
    let rows = if problems.len() == 1 { "row" } else { "rows" };
    let mut text = format!("{} bad {rows}", problems.len());
    for problem in problems.iter().take(SHOWN) {
        text.push_str(&format!("\n  {problem}"));
    }
    if problems.len() > SHOWN {
        text.push_str(&format!("\n  ... and {} more", problems.len() - SHOWN));
    }
    text
}

impl DataError {
    /// Stable name of the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "data_unreadable",
            Self::UnknownFormat { .. } => "data_unknown_format",
            Self::Broken { .. } => "data_broken_file",
            Self::Empty { .. } => "data_empty",
            Self::Layout { .. } => "data_unknown_layout",
            Self::BadRows { .. } => "data_bad_rows",
            Self::Tokenizer { .. } => "tokenizer_unreadable",
            Self::Template { .. } => "chat_template_broken",
            Self::NoTemplate { .. } => "chat_template_missing",
            Self::Cursor { .. } => "data_cursor_mismatch",
            Self::Options { .. } => "data_bad_options",
        }
    }

    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { .. } => "check the path and its permissions".into(),
            Self::UnknownFormat { .. } => {
                "name the file .jsonl, .json, .csv or .parquet (and .gz or .zst behind it where it is packed), or set dataset.format".into()
            }
            Self::Empty { .. } => "give a file with at least one row; `tallow data check FILE` lists why rows are left out".into(),
            Self::Layout { hint, .. } => hint.clone(),
            Self::BadRows { .. } => "`tallow data check FILE` lists every bad row; fix them or leave them out of the file".into(),
            Self::Tokenizer { .. } => {
                "the folder needs tokenizer.json (and tokenizer_config.json for special tokens and the chat template)".into()
            }
            Self::NoTemplate { .. } => {
                "use an instruct model's tokenizer, put a chat_template.jinja beside tokenizer.json, or set the chat template to \"chatml\""
                    .into()
            }
            Self::Template { .. } => "templates follow the Hub's Jinja dialect; see docs/data.md".into(),
            Self::Cursor { .. } => "resume with the data and settings of the run, or start a new run".into(),
            Self::Broken { .. } | Self::Options { .. } => return None,
        })
    }
}
