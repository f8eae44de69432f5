//! Files to records, records to training sequences.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::batch::PackedBatch;
use super::check::FileReport;
use super::columns::{Unread, UnreadCounts, refuse_pairs};
use super::encode::{Example, NoExample, RowEncoding, encode};
use super::error::{DataError, RowProblem};
use super::guard::NO_END;
use super::layout::{Detection, detect};
use super::options::{DataOptions, OnBadRow};
use super::record::{Content, Record, read_record};
use super::render::render;
use super::source::{Row, Table, read_table};
use super::stats::{Counts, Spread};
use super::template::ChatTemplate;
use super::tokenizer::TextTokenizer;
use crate::base::cancel;

/// The usable rows of some files, and what is wrong with the others.
#[derive(Debug, Clone, Default)]
pub struct RecordSet {
    /// Usable rows in file order.
    pub records: Vec<Record>,
    /// The others.
    pub problems: Vec<RowProblem>,
    /// One report a file.
    pub files: Vec<FileReport>,
    /// Whether a quality field is read.
    pub has_quality: bool,
}

/// Reads files into records. Bad rows are collected, not fatal: [`Dataset::encode`] decides by the options.
///
/// # Errors
/// File-level errors only: unreadable, unknown format or layout, bad options.
pub fn read(paths: &[&Path], options: &DataOptions) -> Result<RecordSet, DataError> {
    options.validate()?;
    let mut set = RecordSet { has_quality: options.fields.quality.is_some(), ..RecordSet::default() };
    for path in paths {
        let table = read_table(path, options.format)?;
        let found = layout_of(&table, options, path)?;
        let rows = table.rows.len() + table.problems.len();
        let mut problems = table.problems;
        refuse_pairs(&table.rows, &options.fields, &path.display().to_string())?;
        let token = cancel::Token::current();
        let read_one = |row, layout| {
            token.checkpoint();
            read_record(row, layout, &options.fields)
        };
        let results: Vec<(Result<Record, RowProblem>, Vec<String>)> = match &found {
            Some(found) => table.rows.par_iter().map(|row| read_one(row, found.layout)).collect(),
            None => Vec::new(),
        };
        let before = set.records.len();
        let mut counts = UnreadCounts::default();
        for (result, unread) in results {
            unread.into_iter().for_each(|name| counts.add(name));
            match result {
                Ok(record) => set.records.push(record),
                Err(problem) => problems.push(problem),
            }
        }
        check_quality_field(&set.records[before..], options, &table.rows, path)?;
        problems.sort_by_key(|p| p.at.line);
        set.files.push(FileReport {
            path: path.display().to_string(),
            format: table.format,
            layout: found.as_ref().map(|f| f.layout),
            layout_reason: found.map(|f| f.reason).unwrap_or_default(),
            sha256: table.sha256,
            rows,
            usable_rows: set.records.len() - before,
            unread: counts.list(),
            notes: table.notes,
        });
        set.problems.append(&mut problems);
    }
    scale_quality(&mut set.records);
    Ok(set)
}

/// `None` for a file in which no row could be read at all.
fn layout_of(table: &Table, options: &DataOptions, path: &Path) -> Result<Option<Detection>, DataError> {
    match options.layout {
        _ if table.rows.is_empty() => Ok(None),
        Some(layout) => Ok(Some(Detection { layout, reason: "set by the caller".into() })),
        None => detect(&table.rows, &options.fields, &path.display().to_string()).map(Some),
    }
}

/// A quality field that stands in no row is a slip of the pen: nothing would be weighted.
fn check_quality_field(records: &[Record], options: &DataOptions, rows: &[Row], path: &Path) -> Result<(), DataError> {
    let Some(name) = &options.fields.quality else { return Ok(()) };
    if rows.is_empty() || records.iter().any(|r| r.quality.is_some()) || rows.iter().any(|r| r.fields.contains_key(name)) {
        return Ok(());
    }
    let mut there: Vec<String> = rows[0].fields.keys().map(|k| format!("`{k}`")).collect();
    there.truncate(30);
    Err(DataError::Layout {
        path: path.display().to_string(),
        message: format!("no row has the quality field `{name}` (the first has {})", there.join(", ")),
        hint: "correct dataset.quality_field, or take it out".into(),
    })
}

/// Scores become shares of their scale: 1, 5, 10 or 100, the smallest that holds them all.
pub(super) fn scale_quality(records: &mut [Record]) {
    let max = records.iter().filter_map(|r| r.quality).fold(0.0, f64::max);
    let scale = [1.0, 5.0, 10.0, 100.0].into_iter().find(|s| max <= *s).unwrap_or(max);
    for quality in records.iter_mut().filter_map(|r| r.quality.as_mut()) {
        *quality = (*quality / scale).max(0.0);
    }
}

/// Training sequences.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    /// The sequences, in file order.
    pub examples: Vec<Example>,
    /// Figures.
    pub counts: Counts,
    /// Rows that were left out, with the reason.
    pub problems: Vec<RowProblem>,
    /// Members of messages that nothing reads.
    pub unread: Vec<Unread>,
    /// SHA-256 of all ids, labels and weights: what a saved cursor belongs to.
    pub fingerprint: String,
}

/// Rows after which an endless template is given up.
const MOST_ENDLESS: usize = 4;

/// What one record gave.
type Encoded = Result<Vec<Result<(Example, RowEncoding), NoExample>>, RowProblem>;

impl Dataset {
    /// Renders and tokenises records, in parallel; the result does not depend on the number of threads.
    ///
    /// # Errors
    /// [`DataError::NoTemplate`] for chats without a template, [`DataError::BadRows`] with every bad row (unless they are
    /// to be skipped), [`DataError::Empty`] when nothing is left.
    pub fn encode(set: &RecordSet, tokenizer: &TextTokenizer, options: &DataOptions) -> Result<Self, DataError> {
        let dataset = Self::encode_all(set, tokenizer, options)?;
        let bad: Vec<RowProblem> = dataset.problems.iter().filter(|p| !p.skipped).cloned().collect();
        if options.on_bad_row == OnBadRow::Error && !bad.is_empty() {
            return Err(DataError::BadRows { problems: bad });
        }
        if dataset.examples.is_empty() {
            let path = set.files.first().map(|f| f.path.clone()).unwrap_or_default();
            return Err(DataError::Empty { path: path.into(), reason: why_empty(set, &dataset.problems) });
        }
        Ok(dataset)
    }

    /// As [`Dataset::encode`], but bad rows and emptiness are left to the caller.
    pub(crate) fn encode_all(set: &RecordSet, tokenizer: &TextTokenizer, options: &DataOptions) -> Result<Self, DataError> {
        options.validate()?;
        let is_chat = |r: &Record| matches!(r.content, Content::Chat(_));
        if tokenizer.chat_template().is_none() && set.records.iter().any(is_chat) {
            return Err(DataError::NoTemplate { tokenizer: tokenizer.origin().display().to_string() });
        }
        let token = cancel::Token::current();
        let endless = AtomicUsize::new(0);
        let encode_one = |record: &Record| {
            token.checkpoint();
            // A template that never ends takes its time with every row: a few are enough to know it.
            if endless.load(Ordering::Relaxed) >= MOST_ENDLESS {
                return Err(RowProblem::error(&record.at, "template_refused", NO_END));
            }
            let encoded = encode_record(record, tokenizer, options);
            if encoded.as_ref().is_err_and(|p| p.message.contains(NO_END)) {
                endless.fetch_add(1, Ordering::Relaxed);
            }
            encoded
        };
        let encoded: Vec<Encoded> = set.records.par_iter().map(encode_one).collect();
        let mut gathered = Gathered { counts: Counts { rows: set.records.len(), ..Counts::default() }, ..Gathered::default() };
        for (record, result) in set.records.iter().zip(encoded) {
            if set.has_quality {
                gathered.counts.rows_without_quality += usize::from(record.quality.is_none());
                gathered.counts.high_quality_rows += usize::from(is_high(record, options));
            }
            let template = tokenizer.template_for(true).map_or("", ChatTemplate::source);
            gathered.add(record, result, options, template);
        }
        Ok(gathered.finish(set))
    }

    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Whether there is no sequence.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// Batches in file order of at most `max_tokens` tokens (at least one sequence each): for evaluation.
    pub fn batches(&self, max_tokens: usize) -> Vec<PackedBatch> {
        let mut out = Vec::new();
        let mut open: Vec<&Example> = Vec::new();
        let mut tokens = 0;
        for example in &self.examples {
            if !open.is_empty() && tokens + example.len() > max_tokens {
                out.push(PackedBatch::from_examples(&open));
                open.clear();
                tokens = 0;
            }
            tokens += example.len();
            open.push(example);
        }
        if !open.is_empty() {
            out.push(PackedBatch::from_examples(&open));
        }
        out
    }
}

/// The reasons for which no row is left, by number of rows.
fn why_empty(set: &RecordSet, problems: &[RowProblem]) -> String {
    if problems.is_empty() {
        let all: usize = set.files.iter().map(|f| f.rows).sum();
        return if all == 0 { "it has no rows".into() } else { format!("none of its {all} rows is in this part") };
    }
    let mut reasons: Vec<(&RowProblem, usize)> = Vec::new();
    for problem in problems {
        match reasons.iter_mut().find(|(first, _)| first.code == problem.code) {
            Some((_, rows)) => *rows += 1,
            None => reasons.push((problem, 1)),
        }
    }
    let one = |(first, rows): &(&RowProblem, usize)| format!("{rows} rows left out (the first: {first})");
    reasons.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn is_high(record: &Record, options: &DataOptions) -> bool {
    record.quality.is_some_and(|q| q >= options.quality_threshold)
}

fn encode_record(record: &Record, tokenizer: &TextTokenizer, options: &DataOptions) -> Encoded {
    let rendered = render(record, tokenizer, options).map_err(|(code, message)| RowProblem::error(&record.at, code, message))?;
    Ok(rendered.iter().map(|r| encode(r, tokenizer, options, &record.at)).collect())
}

#[derive(Default)]
struct Gathered {
    examples: Vec<Example>,
    problems: Vec<RowProblem>,
    counts: Counts,
    lengths: Vec<u64>,
    unread: UnreadCounts,
}

impl Gathered {
    fn add(&mut self, record: &Record, result: Encoded, options: &DataOptions, template: &str) {
        if let Content::Chat(chat) = &record.content {
            chat.unread_by(template).into_iter().for_each(|name| self.unread.add(format!("messages[].{name}")));
        }
        let parts = match result {
            Ok(parts) => parts,
            Err(problem) => return self.problems.push(problem),
        };
        self.counts.expanded_rows += usize::from(parts.len() > 1);
        if let Content::Chat(chat) = &record.content {
            self.counts.trailing_messages += chat.trailing_dropped as u64;
            self.counts.calls_in_text += chat.calls_in_text as u64;
        }
        for part in parts {
            match part {
                Ok((mut example, facts)) => {
                    example.weight = if is_high(record, options) { options.quality_weight_multiplier } else { 1.0 };
                    self.keep(example, facts);
                }
                Err(none) => self.leave_out(record, none, options),
            }
        }
    }

    fn keep(&mut self, example: Example, facts: RowEncoding) {
        let c = &mut self.counts;
        c.truncated += usize::from(facts.cut_tokens > 0);
        c.cut_tokens += facts.cut_tokens as u64;
        c.straddling_tokens += facts.straddling as u64;
        c.unknown_tokens += facts.unknown as u64;
        c.unended_turns += facts.unended_turns as u64;
        c.opened_turns += facts.opened as u64;
        c.restated_turns += facts.restated as u64;
        c.changed_answers += facts.changed as u64;
        c.tools_ignored += usize::from(facts.tools_ignored);
        self.lengths.push(facts.full_tokens as u64);
        self.examples.push(example);
    }

    fn leave_out(&mut self, record: &Record, none: NoExample, options: &DataOptions) {
        let limit = options.max_seq_length;
        let problem = match none {
            NoExample::Failed(message) => RowProblem::error(&record.at, "not_tokenised", message),
            NoExample::TooLong { tokens } => {
                RowProblem::error(&record.at, "too_long", format!("{tokens} tokens; max_seq_length is {limit}"))
            }
            NoExample::Dropped { tokens } => {
                self.counts.dropped_overlong += 1;
                self.lengths.push(tokens as u64);
                RowProblem::skip(&record.at, "too_long", format!("{tokens} tokens; max_seq_length is {limit}; left out"))
            }
            NoExample::NothingTrained { tokens, truncated: true } => {
                self.counts.truncated_away += 1;
                self.lengths.push(tokens as u64);
                RowProblem::skip(
                    &record.at,
                    "truncated_away",
                    format!("the prompt alone fills max_seq_length {limit} ({tokens} tokens in all); left out"),
                )
            }
            NoExample::NothingTrained { .. } => RowProblem::skip(&record.at, "nothing_trained", "no token of the row is trained; left out"),
        };
        self.problems.push(problem);
    }

    fn finish(mut self, set: &RecordSet) -> Dataset {
        let c = &mut self.counts;
        c.examples = self.examples.len();
        c.tokens = self.examples.iter().map(|e| e.len() as u64).sum();
        c.trained_tokens = self.examples.iter().map(Example::trained_tokens).sum();
        c.lengths = Spread::of(self.lengths);
        c.trained_lengths = Spread::of(self.examples.iter().map(Example::trained_tokens).collect());
        let mut problems = set.problems.clone();
        problems.append(&mut self.problems);
        problems.sort_by(|a, b| (&a.at.file, a.at.line).cmp(&(&b.at.file, b.at.line)));
        let unread = self.unread.list();
        Dataset { fingerprint: fingerprint(&self.examples), examples: self.examples, counts: self.counts, problems, unread }
    }
}

pub(super) fn fingerprint(examples: &[Example]) -> String {
    let mut hasher = Sha256::new();
    for example in examples {
        hasher.update((example.len() as u64).to_le_bytes());
        hasher.update(example.weight.to_le_bytes());
        for (id, label) in example.input_ids.iter().zip(&example.labels) {
            hasher.update(id.to_le_bytes());
            hasher.update(label.to_le_bytes());
        }
    }
    hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
