//! The turns of a row that a model is asked, and what it is to answer there.

use std::path::Path;

use crate::base::error::Fault;
use crate::data::calls::{ToolCall, parse};
use crate::data::{Content, Example, IGNORED, Record, TextTokenizer};

/// A row as a model is asked it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Its number among the rows judged, from 1.
    pub(super) number: usize,
    /// Its line in the file.
    pub(super) line: u64,
    /// The turns of the assistant that are judged: the last one, or all of them.
    pub(super) turns: Vec<Turn>,
    /// The tools that the row offers.
    pub(super) tools: Vec<serde_json::Value>,
}

/// One turn of the assistant.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    /// The ids before the answer.
    pub(super) ids: Vec<u32>,
    /// Their text.
    pub(super) prompt: String,
    /// The row's own answer.
    pub(super) wanted: String,
    /// The calls in it, where calls are judged.
    pub(super) expected: Vec<ToolCall>,
}

/// How turns are read.
pub(super) struct Reading<'a> {
    pub(super) tokenizer: &'a TextTokenizer,
    /// Every turn and its calls; else the last turn as text.
    pub(super) calls: bool,
    /// Ids that end an answer.
    pub(super) stop: &'a [u32],
    /// The file, for faults.
    pub(super) data: &'a Path,
}

impl Reading<'_> {
    /// The text of ids of an answer. Where calls are read, words of the vocabulary that mark a call
    /// stay in it.
    pub(super) fn answer(&self, ids: &[u32]) -> Result<String, Fault> {
        let ends = ids.iter().rev().take_while(|id| self.calls && self.stop.contains(id)).count();
        Ok(self.tokenizer.decode(&ids[..ids.len() - ends], !self.calls)?)
    }

    /// The turns of an example that have a prompt before them.
    ///
    /// # Errors
    /// With calls: an answer of the row itself that holds a call which cannot be read.
    pub(super) fn row(&self, number: usize, e: &Example, record: Option<&Record>) -> Result<Asked, Fault> {
        let mut spans = spans(e);
        if !self.calls {
            spans.drain(..spans.len().saturating_sub(1));
        }
        let turns = spans.into_iter().filter(|(begin, _)| *begin > 0);
        let turns = turns.map(|(begin, end)| self.turn(e, begin, end)).collect::<Result<Vec<_>, _>>()?;
        let tools = match record.map(|r| &r.content) {
            Some(Content::Chat(chat)) if self.calls => chat.tools.clone(),
            _ => Vec::new(),
        };
        Ok(Asked { number, line: e.source.line, turns, tools })
    }

    fn turn(&self, e: &Example, begin: usize, end: usize) -> Result<Turn, Fault> {
        let wanted = self.answer(&e.input_ids[begin..end])?;
        let mut expected = Vec::new();
        if self.calls {
            let parsed = parse(&wanted);
            if let Some(broken) = parsed.broken.first() {
                let message =
                    format!("{}:{}: a call in the row's own answer cannot be read: {}", self.data.display(), e.source.line, broken.why);
                return Err(Fault::new("bad_call", message).hint("correct the row, or allow a longer sequence where it was cut at its end"));
            }
            expected = parsed.calls;
        }
        let ids = e.input_ids[..begin].to_vec();
        Ok(Turn { prompt: self.tokenizer.decode(&ids, false)?, wanted, expected, ids })
    }
}

/// Calls that the template writes in a form that no parser knows would be judged as silence.
pub(super) fn check_form(rows: &[Asked], records: &[Record], data: &Path) -> Result<(), Fault> {
    let calls = |r: &Record| matches!(&r.content, Content::Chat(c) if c.messages.iter().any(|m| m.trained && !m.tool_calls().is_empty()));
    let read = rows.iter().flat_map(|r| &r.turns).any(|t| !t.expected.is_empty());
    if read || !records.iter().any(calls) {
        return Ok(());
    }
    let message = format!("{}: the chat template writes calls in a form that is not known", data.display());
    Err(Fault::new("unknown_call_form", message).hint("choose a chat template whose calls can be read, such as `hermes`"))
}

/// The trained stretches of an example, from the first to the last.
fn spans(e: &Example) -> Vec<(usize, usize)> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for i in (0..e.len()).filter(|i| e.labels[*i] != IGNORED) {
        match spans.last_mut().filter(|s| s.1 == i) {
            Some(span) => span.1 = i + 1,
            None => spans.push((i, i + 1)),
        }
    }
    spans
}

/// The texts of turns as one: a single one as it is, several with their numbers.
pub(super) fn joined<'a>(turns: impl Iterator<Item = &'a str>) -> String {
    let turns: Vec<&str> = turns.collect();
    match turns.as_slice() {
        [one] => (*one).to_owned(),
        all => all.iter().enumerate().map(|(i, t)| format!("[{}] {}", i + 1, t.trim())).collect::<Vec<_>>().join("\n"),
    }
}
