//! Figures about rows and tokens, and signs of poor quality that need no knowledge of the language.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::Serialize;

use super::error::Location;
use super::record::{Content, Record};
use crate::base::cancel;

/// The spread of a set of numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Smallest.
    pub min: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Half are at most this.
    pub p50: u64,
    /// 90 % are at most this.
    pub p90: u64,
    /// 99 % are at most this.
    pub p99: u64,
    /// Largest.
    pub max: u64,
}

impl Spread {
    /// Of some values; all zero for none. Percentiles are values that occur (nearest rank).
    pub fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let (Some(min), Some(max)) = (values.first().copied(), values.last().copied()) else { return Self::default() };
        let rank = |percent: usize| values[(values.len() * percent).div_ceil(100).saturating_sub(1)];
        let mean = values.iter().map(|v| *v as f64).sum::<f64>() / values.len() as f64;
        Self { min, mean, p50: rank(50), p90: rank(90), p99: rank(99), max }
    }
}

/// What became of the rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Usable rows before tokenisation.
    pub rows: usize,
    /// Training sequences.
    pub examples: usize,
    /// Rows that gave more than one sequence, because the template rewrites earlier turns.
    pub expanded_rows: usize,
    /// Tokens in all sequences.
    pub tokens: u64,
    /// Tokens the loss covers.
    pub trained_tokens: u64,
    /// Lengths of the sequences in tokens, before truncation.
    pub lengths: Spread,
    /// Trained tokens of a sequence.
    pub trained_lengths: Spread,
    /// Sequences cut to the limit.
    pub truncated: usize,
    /// Tokens cut off.
    pub cut_tokens: u64,
    /// Sequences left out for their length.
    pub dropped_overlong: usize,
    /// Sequences left out because truncation leaves nothing to train.
    pub truncated_away: usize,
    /// Tokens that reach from the prompt into the answer (not trained).
    pub straddling_tokens: u64,
    /// Tokens the vocabulary does not know.
    pub unknown_tokens: u64,
    /// Trained turns without an end-of-turn token: the model would not learn to stop.
    pub unended_turns: u64,
    /// Messages after the last answer, left out.
    pub trailing_messages: u64,
    /// Answers before which the prompt writes something that a finished turn does not have.
    pub opened_turns: u64,
    /// Answers trained behind their own prompt, which the whole conversation writes differently.
    pub restated_turns: u64,
    /// Answers that the template does not write as they are.
    pub changed_answers: u64,
    /// Rows whose tools the template leaves out.
    pub tools_ignored: usize,
    /// Replies of tools to calls that stand in the text of an answer.
    pub calls_in_text: u64,
    /// Rows of high quality, where there is a quality field.
    pub high_quality_rows: usize,
    /// Rows without a quality, where there is a quality field.
    pub rows_without_quality: usize,
}

/// Rows that show a sign: how many, and where the first are.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sign {
    /// Number of rows.
    pub rows: usize,
    /// The first five.
    pub first: Vec<Location>,
}

impl Sign {
    fn add(&mut self, at: &Location) {
        self.rows += 1;
        if self.first.len() < 5 {
            self.first.push(at.clone());
        }
    }
}

/// Signs of poor quality. None of them removes a row.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct QualitySigns {
    /// Same question and answer as an earlier row, up to case and white space.
    pub duplicates: Sign,
    /// Same question as an earlier row with another answer.
    pub conflicting: Sign,
    /// Answers that are empty; these rows are left out.
    pub empty_outputs: Sign,
    /// Answers of one character.
    pub very_short: Sign,
    /// Answers that repeat the question word for word.
    pub echoes: Sign,
    /// Answers in which more than half of the runs of four words occur twice.
    pub repetitive: Sign,
    /// Rows with U+FFFD, left by a wrong decoding.
    pub broken_characters: Sign,
    /// Rows with control characters.
    pub control_characters: Sign,
    /// Calls of tools that the row does not define, where it defines any.
    pub unknown_tools: Sign,
    /// Messages after the last answer; they are left out.
    pub trailing_messages: Sign,
}

/// What one row shows, computed in parallel.
struct Seen {
    question: u64,
    content: u64,
    very_short: bool,
    echo: bool,
    repetitive: bool,
    broken: bool,
    control: bool,
    unknown_tool: bool,
    trailing: bool,
}

impl QualitySigns {
    /// Of the usable rows.
    pub(crate) fn of(records: &[&Record]) -> Self {
        let token = cancel::Token::current();
        let look = |record: &&Record| {
            token.checkpoint();
            look_at(record)
        };
        let seen: Vec<Seen> = records.par_iter().map(look).collect();
        let mut signs = Self::default();
        let mut answers: HashMap<u64, Vec<u64>> = HashMap::new();
        for (record, row) in records.iter().zip(&seen) {
            let known = answers.entry(row.question).or_default();
            if known.contains(&row.content) {
                signs.duplicates.add(&record.at);
            } else {
                if !known.is_empty() && !matches!(record.content, Content::Text(_)) {
                    signs.conflicting.add(&record.at);
                }
                known.push(row.content);
            }
            let marks = [
                (row.very_short, &mut signs.very_short),
                (row.echo, &mut signs.echoes),
                (row.repetitive, &mut signs.repetitive),
                (row.broken, &mut signs.broken_characters),
                (row.control, &mut signs.control_characters),
                (row.unknown_tool, &mut signs.unknown_tools),
                (row.trailing, &mut signs.trailing_messages),
            ];
            for (_, sign) in marks.into_iter().filter(|(shown, _)| *shown) {
                sign.add(&record.at);
            }
        }
        signs
    }

    pub(crate) fn add_empty_output(&mut self, at: &Location) {
        self.empty_outputs.add(at);
    }
}

/// How good a row looks, from 1 down to 0: each sign of poor quality takes a factor off it.
pub(super) fn quality(record: &Record) -> f64 {
    let seen = look_at(record);
    let signs = [
        (seen.very_short, 0.2),
        (seen.echo, 0.2),
        (seen.repetitive, 0.4),
        (seen.broken, 0.5),
        (seen.control, 0.7),
        (seen.unknown_tool, 0.2),
        (seen.trailing, 0.9),
    ];
    signs.iter().filter(|(shown, _)| *shown).map(|(_, factor)| factor).product()
}

fn look_at(record: &Record) -> Seen {
    let (question, answer) = (record.question(), record.answer());
    let plain = match &record.content {
        Content::Chat(chat) => chat.messages.last().map(|m| m.text().to_string()).unwrap_or_default(),
        _ => answer.clone(),
    };
    let asked = match &record.content {
        Content::Pair { prompt, .. } => prompt.trim() == plain.trim(),
        Content::Chat(chat) => {
            chat.messages.iter().rev().nth(1).is_some_and(|m| !plain.trim().is_empty() && m.text().trim() == plain.trim())
        }
        Content::Text(_) => false,
    };
    let any = |test: fn(char) -> bool| question.contains(test) || answer.contains(test);
    Seen {
        question: record.question_key(),
        content: record.content_key(),
        very_short: plain.trim().chars().count() == 1 && !plain.trim().chars().all(char::is_alphanumeric),
        echo: asked,
        repetitive: repeats(&plain),
        broken: any(|c| c == '\u{fffd}'),
        // The separators of `question()` itself are no content.
        control: any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{1e}')),
        unknown_tool: calls_unknown_tool(record),
        trailing: matches!(&record.content, Content::Chat(chat) if chat.trailing_dropped > 0),
    }
}

/// More than half of the runs of four words have occurred before; short texts never count.
fn repeats(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.len() < 24 {
        return false;
    }
    let mut known = std::collections::HashSet::new();
    let again = words.windows(4).filter(|run| !known.insert(*run)).count();
    again * 2 > words.len() - 3
}

fn calls_unknown_tool(record: &Record) -> bool {
    let Content::Chat(chat) = &record.content else { return false };
    let defined = |name: &str| chat.tools.iter().any(|t| t["function"]["name"] == name);
    let mut called = chat.messages.iter().flat_map(|m| m.tool_calls()).filter_map(|c| c["function"]["name"].as_str());
    !chat.tools.is_empty() && called.any(|name| !defined(name))
}
