//! Raw rows into prepared files: another layout or format, without secrets, repeats and poor rows,
//! split into parts.
//!
//! ```text
//!   files ── read ──> records ── redact ──> convert ──> filter ──> dedupe ──> cap ──> split ──> rows
//! ```
//!
//! Whatever is left out is counted under its reason. Columns that no layout reads are kept.

mod convert;
mod near;
mod redact;
mod write;

use std::collections::HashSet;
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value, json};

pub use redact::{Redact, Redacted};

use super::columns::refuse_pairs;
use super::dataset::scale_quality;
use super::error::{DataError, RowProblem};
use super::layout::{Layout, detect};
use super::options::DataOptions;
use super::random::{Rng, purpose};
use super::record::{Content, Record, read_record};
use super::source::read_table;
use super::{split, stats};
use crate::base::cancel;
use crate::config::Format;

/// Which rows count as repeated.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Dedupe {
    /// None.
    Off,
    /// The same question and answer, up to case and white space.
    #[default]
    Exact,
    /// Also those whose Jaccard index with an earlier row is at least this, above 0 and at most 1.
    Near(f64),
}

/// What is done to the rows.
#[derive(Debug, Clone)]
pub struct PrepareOptions {
    /// How they are read.
    pub reading: DataOptions,
    /// The layout to write; `None`: that of the first row.
    pub to: Option<Layout>,
    /// What is taken out of texts.
    pub redact: Redact,
    /// Fewest characters of all texts of a row.
    pub min_chars: usize,
    /// Most characters of all texts of a row.
    pub max_chars: usize,
    /// Fewest characters of the last answer.
    pub min_answer_chars: usize,
    /// Least quality, 0 to 1.
    pub min_quality: f64,
    /// Whether rows get a column `quality`.
    pub write_quality: bool,
    /// Which rows count as repeated.
    pub dedupe: Dedupe,
    /// Most rows in all parts, drawn by the seed.
    pub max_rows: Option<usize>,
    /// Shares of training, validation and test rows; `None`: one part.
    pub shares: Option<[f64; 3]>,
    /// What the cap and the split are drawn from.
    pub seed: u64,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        Self {
            reading: DataOptions::default(),
            to: None,
            redact: Redact::default(),
            min_chars: 0,
            max_chars: usize::MAX,
            min_answer_chars: 0,
            min_quality: 0.0,
            write_quality: false,
            dedupe: Dedupe::default(),
            max_rows: None,
            shares: Some([0.8, 0.1, 0.1]),
            seed: 0,
        }
    }
}

/// What became of the rows: `rows` is `written` and all that were left out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PrepareReport {
    /// All rows of all files.
    pub rows: usize,
    /// Rows that cannot be read.
    pub bad: usize,
    /// Rows that the layout cannot hold.
    pub not_convertible: usize,
    /// Rows with too few characters.
    pub too_short: usize,
    /// Rows with too many.
    pub too_long: usize,
    /// Rows whose answer has too few.
    pub short_answers: usize,
    /// Rows of too low a quality.
    pub low_quality: usize,
    /// Rows that say what an earlier one says.
    pub duplicates: usize,
    /// Rows that are nearly an earlier one.
    pub near_duplicates: usize,
    /// Rows beyond the cap.
    pub over_cap: usize,
    /// Rows in all parts.
    pub written: usize,
    /// The layout that was written.
    pub layout: Option<Layout>,
    /// What was taken out of texts.
    pub redacted: Redacted,
    /// Every row that cannot be read or held, with its reason.
    pub problems: Vec<RowProblem>,
}

/// Rows of each part, and the report.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// `train`, `validation`, `test`; or `all`. In the order of the files.
    pub parts: Vec<(&'static str, Vec<Map<String, Value>>)>,
    /// What became of the rows.
    pub report: PrepareReport,
}

impl Prepared {
    /// The bytes of a part as a file.
    ///
    /// # Errors
    /// In words, when the writer of the format fails.
    pub fn bytes(rows: &[Map<String, Value>], format: Format) -> Result<Vec<u8>, String> {
        write::bytes(rows, format)
    }
}

/// A row on its way.
struct Piece {
    record: Record,
    /// Columns that no layout reads.
    extras: Map<String, Value>,
    row: Map<String, Value>,
    quality: f64,
}

/// Reads, cleans and splits.
///
/// # Errors
/// As [`super::read`] for files as a whole; options that make no sense.
pub fn prepare(paths: &[&Path], options: &PrepareOptions) -> Result<Prepared, DataError> {
    check(options)?;
    let mut report = PrepareReport::default();
    let mut pieces = read(paths, options, &mut report)?;
    if options.redact.is_asked() {
        pieces.iter_mut().for_each(|p| redact_piece(options.redact, p, &mut report.redacted));
    }
    let pieces = convert_all(pieces, options, &mut report);
    let pieces = filter(pieces, options, &mut report);
    let pieces = dedupe(pieces, options.dedupe, &mut report);
    let pieces = cap(pieces, options, &mut report);
    report.written = pieces.len();
    Ok(Prepared { parts: parts(pieces, options), report })
}

fn check(options: &PrepareOptions) -> Result<(), DataError> {
    options.reading.validate()?;
    if let Some(shares) = options.shares {
        split::check_shares(shares)?;
    }
    let refuse = |message: &str| Err(DataError::Options { message: message.into() });
    if let Dedupe::Near(threshold) = options.dedupe
        && !(threshold > 0.0 && threshold <= 1.0)
    {
        return refuse("the threshold of near duplicates must lie above 0 and be at most 1");
    }
    if !(0.0..=1.0).contains(&options.min_quality) {
        return refuse("the least quality must lie between 0 and 1");
    }
    if options.min_chars > options.max_chars {
        return refuse("the fewest characters of a row are more than the most");
    }
    Ok(())
}

fn read(paths: &[&Path], options: &PrepareOptions, report: &mut PrepareReport) -> Result<Vec<Piece>, DataError> {
    let reading = &options.reading;
    let mut pieces = Vec::new();
    for path in paths {
        let table = read_table(path, reading.format)?;
        report.rows += table.rows.len() + table.problems.len();
        report.problems.extend(table.problems);
        let name = path.display().to_string();
        refuse_pairs(&table.rows, &reading.fields, &name)?;
        let layout = match reading.layout {
            _ if table.rows.is_empty() => continue,
            Some(layout) => layout,
            None => detect(&table.rows, &reading.fields, &name)?.layout,
        };
        let token = cancel::Token::current();
        let one = |row: super::source::Row| {
            token.checkpoint();
            let (record, unread) = read_record(&row, layout, &reading.fields);
            let fields = &reading.fields;
            let kept = |name: &String| unread.contains(name) || fields.is_metadata(name) || fields.quality.as_ref() == Some(name);
            let extras = row.fields.into_iter().filter(|(name, value)| kept(name) && !value.is_null()).collect();
            record.map(|record| Piece { quality: stats::quality(&record), record, extras, row: Map::new() })
        };
        for piece in table.rows.into_par_iter().map(one).collect::<Vec<_>>() {
            match piece {
                Ok(piece) => pieces.push(piece),
                Err(problem) => report.problems.push(problem),
            }
        }
    }
    report.bad = report.problems.len();
    if reading.fields.quality.is_some() {
        let mut scores: Vec<Record> = pieces.iter().map(|p| p.record.clone()).collect();
        scale_quality(&mut scores);
        // A row without a score has the worst: nothing vouches for it.
        pieces.iter_mut().zip(&scores).for_each(|(p, s)| p.quality = s.quality.unwrap_or(0.0).min(1.0));
    }
    Ok(pieces)
}

fn redact_piece(redact: Redact, piece: &mut Piece, out: &mut Redacted) {
    redact.members(&mut piece.extras, out);
    match &mut piece.record.content {
        Content::Text(text) => redact.text(text, out),
        Content::Pair { system, prompt, input, reasoning, completion, .. } => {
            for text in [Some(prompt), Some(completion), system.as_mut(), input.as_mut(), reasoning.as_mut()].into_iter().flatten() {
                redact.text(text, out);
            }
        }
        Content::Chat(chat) => {
            // Parts of a turn are places in its text; such rows are not converted.
            for message in chat.messages.iter_mut().filter(|m| m.untrained.is_empty()) {
                convert::one_reasoning(&mut message.value);
                redact.members(&mut message.value, out);
            }
        }
    }
}

fn convert_all(pieces: Vec<Piece>, options: &PrepareOptions, report: &mut PrepareReport) -> Vec<Piece> {
    let layout = options.to.or(pieces.first().map(|p| convert::own(&p.record)));
    report.layout = layout;
    let Some(layout) = layout else { return pieces };
    let mut kept = Vec::with_capacity(pieces.len());
    for mut piece in pieces {
        match convert::row(&piece.record, layout) {
            Ok(row) => {
                piece.row = row;
                kept.push(piece);
            }
            Err(why) => {
                report.not_convertible += 1;
                report.problems.push(RowProblem::error(&piece.record.at, "not_convertible", why));
            }
        }
    }
    kept
}

fn filter(pieces: Vec<Piece>, options: &PrepareOptions, report: &mut PrepareReport) -> Vec<Piece> {
    let keep = |piece: &Piece| {
        let chars = text_chars(&piece.record);
        let reason = match () {
            () if chars < options.min_chars => &mut report.too_short,
            () if chars > options.max_chars => &mut report.too_long,
            () if answer_chars(&piece.record) < options.min_answer_chars => &mut report.short_answers,
            () if piece.quality < options.min_quality => &mut report.low_quality,
            () => return true,
        };
        *reason += 1;
        false
    };
    pieces.into_iter().filter(keep).collect()
}

/// Characters of all texts of a row, calls as JSON.
pub(super) fn text_chars(record: &Record) -> usize {
    let count = |text: &str| text.chars().count();
    match &record.content {
        Content::Text(text) => count(text),
        Content::Pair { system, prompt, input, reasoning, completion, .. } => {
            let others = [system, input, reasoning].into_iter().flatten().map(|t| count(t)).sum::<usize>();
            count(prompt) + count(completion) + others
        }
        Content::Chat(chat) => {
            let calls = |m: &super::Message| m.tool_calls().iter().map(|c| count(&c["function"].to_string())).sum::<usize>();
            chat.messages.iter().map(|m| count(m.text()) + count(m.reasoning()) + calls(m)).sum()
        }
    }
}

fn answer_chars(record: &Record) -> usize {
    match &record.content {
        Content::Text(text) => text.trim().chars().count(),
        Content::Pair { completion, .. } => completion.trim().chars().count(),
        Content::Chat(chat) => chat.messages.last().map_or(0, |m| {
            let calls = m.tool_calls().iter().map(|c| c["function"].to_string().chars().count()).sum::<usize>();
            m.text().trim().chars().count() + calls
        }),
    }
}

fn dedupe(pieces: Vec<Piece>, dedupe: Dedupe, report: &mut PrepareReport) -> Vec<Piece> {
    if dedupe == Dedupe::Off {
        return pieces;
    }
    let before = pieces.len();
    let mut seen = HashSet::new();
    let pieces: Vec<Piece> = pieces.into_iter().filter(|p| seen.insert(p.record.content_key())).collect();
    report.duplicates = before - pieces.len();
    let Dedupe::Near(threshold) = dedupe else { return pieces };
    let texts: Vec<String> = pieces.par_iter().map(|p| text_of(&p.record)).collect();
    let repeats = near::repeats(&texts, threshold);
    report.near_duplicates = repeats.iter().filter(|r| **r).count();
    pieces.into_iter().zip(repeats).filter(|(_, repeat)| !repeat).map(|(p, _)| p).collect()
}

/// Rows that are nearly an earlier one among these.
pub(super) fn near_duplicates(records: &[&Record], threshold: f64) -> usize {
    let texts: Vec<String> = records.par_iter().map(|r| text_of(r)).collect();
    near::repeats(&texts, threshold).into_iter().filter(|r| *r).count()
}

fn text_of(record: &Record) -> String {
    match &record.content {
        Content::Text(text) => text.clone(),
        _ => format!("{} {}", record.question(), record.answer()),
    }
}

fn cap(mut pieces: Vec<Piece>, options: &PrepareOptions, report: &mut PrepareReport) -> Vec<Piece> {
    let Some(most) = options.max_rows.filter(|most| *most < pieces.len()) else { return pieces };
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    Rng::for_parts(&[options.seed, purpose::CAP]).shuffle(&mut order);
    let taken: HashSet<usize> = order.into_iter().take(most).collect();
    report.over_cap = pieces.len() - most;
    let mut at = 0;
    pieces.retain(|_| {
        at += 1;
        taken.contains(&(at - 1))
    });
    pieces
}

fn parts(pieces: Vec<Piece>, options: &PrepareOptions) -> Vec<(&'static str, Vec<Map<String, Value>>)> {
    let finished = |piece: Piece| {
        let mut row = piece.row;
        for (name, value) in piece.extras {
            row.entry(name).or_insert(value);
        }
        if options.write_quality {
            row.insert("quality".into(), json!((piece.quality * 1000.0).round() / 1000.0));
        }
        row
    };
    let Some(shares) = options.shares else {
        return vec![("all", pieces.into_iter().map(finished).collect())];
    };
    let keys: Vec<u64> = pieces.par_iter().map(|p| p.record.content_key()).collect();
    let part_of = split::assign(&keys, shares, options.seed);
    let mut parts = vec![("train", Vec::new()), ("validation", Vec::new()), ("test", Vec::new())];
    for (piece, key) in pieces.into_iter().zip(&keys) {
        parts[part_of[key]].1.push(finished(piece));
    }
    parts.retain(|(_, rows)| !rows.is_empty());
    parts
}
