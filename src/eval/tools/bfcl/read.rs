//! The leaderboard's files: one JSON document a line, the ground truth in `possible_answer/` beside them.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Expect, Language, Question};

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// File, and line where one is at fault.
    pub at: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)
    }
}

impl std::error::Error for ReadError {}

fn fail<T>(at: impl fmt::Display, message: impl Into<String>) -> Result<T, ReadError> {
    Err(ReadError { at: at.to_string(), message: message.into() })
}

/// What a category's name says: `simple_java`, `live_parallel_multiple`, `BFCL_v4_irrelevance`, ...
pub(super) fn category(name: &str) -> Option<(Expect, Language)> {
    let has = |word: &str| name.contains(word);
    let language = match () {
        () if has("javascript") => Language::Javascript,
        () if has("java") => Language::Java,
        () => Language::Python,
    };
    let expect = match () {
        () if has("multi_turn") || has("memory") || has("web_search") || has("format_sensitivity") => return None,
        () if has("irrelevance") => Expect::Irrelevance,
        () if has("relevance") => Expect::Relevance,
        () if has("parallel") => Expect::Parallel,
        () if has("multiple") => Expect::Multiple,
        () if has("simple") => Expect::Simple,
        () => return None,
    };
    Some((expect, language))
}

/// Whether a file holds questions of a category that can be judged, by its name.
pub fn is_questions(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
    path.extension().is_some_and(|e| e == "json") && stem.starts_with("BFCL_") && category(stem).is_some() && path.is_file()
}

/// The questions of one file. The category is in the file's name; the ground truth is the file of the
/// same name in the folder `possible_answer` beside it, matched by id.
///
/// # Errors
/// A file that cannot be read, a line that is no JSON object of the right members, or a question
/// without its ground truth.
pub fn read(path: &Path) -> Result<Vec<Question>, ReadError> {
    let at = path.display();
    let name = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
    let Some((expect, language)) = category(name) else {
        return fail(at, "the file's name holds no category of one turn (simple, multiple, parallel, irrelevance, relevance)");
    };
    let mut truth = HashMap::new();
    if !matches!(expect, Expect::Irrelevance | Expect::Relevance) {
        let answers = path.parent().unwrap_or(Path::new(".")).join("possible_answer").join(path.file_name().unwrap_or_default());
        for (at, row) in lines(&answers)? {
            let (Some(id), Some(list)) = (row["id"].as_str(), row["ground_truth"].as_array()) else {
                return fail(at, "no `id`, or no list `ground_truth`");
            };
            truth.insert(id.to_owned(), list.clone());
        }
    }
    let question = |(at, row): (String, Value)| {
        let Some(id) = row["id"].as_str().map(str::to_owned) else { return fail(at, "no `id`") };
        let Some(messages) = row["question"].get(0).and_then(Value::as_array).cloned() else {
            return fail(at, "`question` is no list of turns");
        };
        let functions = row["function"].as_array().cloned().unwrap_or_default();
        if functions.is_empty() || functions.iter().any(|f| !f["name"].is_string()) {
            return fail(at, "`function` is no list of functions with names");
        }
        let ground_truth = match truth.remove(&id) {
            Some(list) => list,
            None if matches!(expect, Expect::Irrelevance | Expect::Relevance) => Vec::new(),
            None => return fail(at, format!("possible_answer/ has no ground truth of `{id}`")),
        };
        Ok(Question { id, expect, language, messages, functions, ground_truth })
    };
    lines(path)?.into_iter().map(question).collect()
}

fn lines(path: &Path) -> Result<Vec<(String, Value)>, ReadError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) => return fail(path.display(), e.to_string()),
    };
    let line = |(i, line): (usize, &str)| {
        let at = format!("{}:{}", path.display(), i + 1);
        match serde_json::from_str::<Value>(line) {
            Ok(row @ Value::Object(_)) => Ok((at, row)),
            Ok(_) => fail(at, "the line is no JSON object"),
            Err(e) => fail(at, e.to_string()),
        }
    };
    text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()).map(line).collect()
}
