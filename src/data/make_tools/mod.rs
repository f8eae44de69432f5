//! Training data made from tools: for each tool, requests in many words and the right thing to do.
//!
//! Everything is drawn from a seed: the same tools, options and seed give the same bytes. Parts of the
//! data share no frame (the words around a request) and no request; tools can be kept out of all parts
//! but one. Every call that is written is checked against the schema of its tool.

mod append;
mod meaning;
mod pattern;
mod phrase;
mod pools;
mod report;
mod rows;
mod schema;
mod talk;
mod values;
mod write;

use std::collections::{BTreeMap, HashSet};

use jsonschema::Validator;
use serde::Serialize;
use serde_json::Value;

pub use append::{Appended, append};
pub use report::{Cell, MakeReport, part_name};
pub(crate) use schema::to_json_schema;
pub use schema::{Tool, ToolForm, read_tools};
pub use write::RowForm;

use crate::data::random::Rng;
use rows::{Bench, Made};

/// What a row shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One call.
    Single,
    /// Two calls at once.
    Parallel,
    /// A call whose result the next call needs, and a closing word.
    MultiStep,
    /// A call that fails: tried again, or told.
    Error,
    /// A call that fails, and the other way that the user named.
    Fallback,
    /// A request that two tools fit: a question back.
    Ambiguous,
    /// A required argument is not said: a question back, then the call.
    Missing,
    /// Talk that needs no tool.
    NoTool,
    /// A request whose tool is not offered.
    Unavailable,
    /// One call with the reasoning before it.
    Reasoning,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Single,
        Self::Parallel,
        Self::MultiStep,
        Self::Error,
        Self::Fallback,
        Self::Ambiguous,
        Self::Missing,
        Self::NoTool,
        Self::Unavailable,
        Self::Reasoning,
    ];

    /// The kind's name in rows, reports and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Parallel => "parallel",
            Self::MultiStep => "multi_step",
            Self::Error => "error",
            Self::Fallback => "fallback",
            Self::Ambiguous => "ambiguous",
            Self::Missing => "missing",
            Self::NoTool => "no_tool",
            Self::Unavailable => "unavailable",
            Self::Reasoning => "reasoning",
        }
    }

    /// A kind by its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }
}

/// What to make.
#[derive(Debug, Clone)]
pub struct MakeOptions {
    /// Rows in all parts together.
    pub rows: usize,
    /// What everything is drawn from.
    pub seed: u64,
    /// Kinds of rows, each as often as the others where it fits.
    pub kinds: Vec<Kind>,
    /// Shares of validation and test rows.
    pub validation: f64,
    /// The share of test rows.
    pub test: f64,
    /// Tools that only the part `unseen` has; 0 makes no such part.
    pub unseen_tools: usize,
    /// Most tools that a row offers.
    pub most_offered: usize,
    /// How rows are written.
    pub form: RowForm,
}

impl Default for MakeOptions {
    fn default() -> Self {
        let kinds = Kind::ALL.into_iter().filter(|k| *k != Kind::Reasoning).collect();
        Self { rows: 1000, seed: 0, kinds, validation: 0.1, test: 0.1, unseen_tools: 0, most_offered: 4, form: RowForm::Chat }
    }
}

/// A part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// To train on.
    Train,
    /// To watch training with.
    Validation,
    /// Other phrasings of the same tools.
    Test,
    /// Other phrasings of tools that no other part has.
    Unseen,
}

/// The rows of each part, and what there is to say of them.
#[derive(Debug, Clone)]
pub struct MadeSet {
    /// Rows by part, ready to be written as JSONL.
    pub parts: BTreeMap<Part, Vec<Value>>,
    /// What was made, and what is thin.
    pub report: MakeReport,
}

/// Makes rows.
///
/// # Errors
/// In words: no tool, options that leave a part without tools, or no tool for which a valid call can be made.
pub fn make(tools: &[Tool], options: &MakeOptions) -> Result<MadeSet, String> {
    let checks = tools.iter().map(validator).collect::<Result<Vec<_>, _>>()?;
    let plan = plan(tools, options)?;
    let (mut parts, mut report) = (BTreeMap::new(), MakeReport::new(tools, options));
    let mut seen = HashSet::new();
    for (part, rows, pool, frames) in plan {
        let rng = Rng::for_parts(&[options.seed, PURPOSE, part as u64]);
        let mut bench = Bench { tools, pool: &pool, frames: &frames, most_offered: options.most_offered, rng };
        let made = fill(&mut bench, part, rows, options, &checks, &mut seen, &mut report);
        parts.insert(part, made);
    }
    report.finish(tools, options);
    if report.rows == 0 {
        return Err("no tool has a schema for which a valid call can be made".into());
    }
    Ok(MadeSet { parts, report })
}

/// What the generator is for, as a part of its seed.
const PURPOSE: u64 = 20;

/// The validator of a tool's arguments.
pub(super) fn validator(tool: &Tool) -> Result<Validator, String> {
    jsonschema::options().should_validate_formats(true).build(&tool.parameters).map_err(|e| format!("the schema of `{}`: {e}", tool.name))
}

type Planned = (Part, usize, Vec<usize>, Vec<&'static str>);

/// Rows, tools and frames of each part.
fn plan(tools: &[Tool], options: &MakeOptions) -> Result<Vec<Planned>, String> {
    if tools.is_empty() || options.kinds.is_empty() {
        return Err("there is nothing to make rows from: no tool, or no kind".into());
    }
    if tools.len() <= options.unseen_tools {
        return Err(format!("{} tools cannot be kept unseen: there are {}", options.unseen_tools, tools.len()));
    }
    if !(0.0..=0.9).contains(&(options.validation + options.test)) || options.validation < 0.0 || options.test < 0.0 {
        return Err("validation and test rows must leave a tenth of the rows for training".into());
    }
    let mut rng = Rng::for_parts(&[options.seed, PURPOSE, 100]);
    let mut order: Vec<usize> = (0..tools.len()).collect();
    rng.shuffle(&mut order);
    let (unseen, mut seen) = (order[..options.unseen_tools].to_vec(), order[options.unseen_tools..].to_vec());
    seen.sort_unstable();
    let mut frames = phrase::FRAMES;
    rng.shuffle(&mut frames);
    let share = |of: f64, all: usize| if of > 0.0 { ((of * all as f64).round() as usize).max(1) } else { 0 };
    let rows = |of: f64| share(of, options.rows).min(options.rows);
    let (validation, test) = (rows(options.validation), rows(options.test));
    let unseen_rows = if unseen.is_empty() { 0 } else { test.max(1) };
    let train = options.rows.saturating_sub(validation + test + unseen_rows);
    let most = frames.len() / 3;
    let v = share(options.validation, frames.len()).clamp(0, most);
    // The parts `test` and `unseen` ask in the same words: they differ in the tools alone.
    let t = share(options.test.max(if unseen.is_empty() { 0.0 } else { 0.1 }), frames.len()).clamp(0, most);
    let (held_out, for_training) = frames.split_at(v + t);
    let (for_validation, for_test) = held_out.split_at(v);
    let mut plan = vec![(Part::Train, train, seen.clone(), for_training.to_vec())];
    if validation > 0 {
        plan.push((Part::Validation, validation, seen.clone(), for_validation.to_vec()));
    }
    if test > 0 {
        plan.push((Part::Test, test, seen, for_test.to_vec()));
    }
    if unseen_rows > 0 {
        plan.push((Part::Unseen, unseen_rows, unseen, for_test.to_vec()));
    }
    Ok(plan)
}

/// Tries for one row before its cell counts as thin.
const TRIES: usize = 24;

/// Fills a part: kinds and tools take turns, so that both are balanced.
fn fill(
    bench: &mut Bench<'_>,
    part: Part,
    rows: usize,
    options: &MakeOptions,
    checks: &[Validator],
    seen: &mut HashSet<String>,
    report: &mut MakeReport,
) -> Vec<Value> {
    let mut made = Vec::with_capacity(rows);
    let mut cells: Vec<(Kind, usize)> = options.kinds.iter().flat_map(|k| bench.pool.iter().map(move |t| (*k, *t))).collect();
    bench.rng.shuffle(&mut cells);
    // Cells that cannot be filled leave the round; the others go on until all rows are there.
    while made.len() < rows && !cells.is_empty() {
        let mut open = Vec::new();
        for (kind, tool) in cells {
            if made.len() == rows {
                break;
            }
            match one_row(bench, kind, tool, checks, seen, report) {
                Some(row) => {
                    report.count(part, kind, tool);
                    made.push(write::row(&row, kind, tool, bench.tools, options.form));
                    open.push((kind, tool));
                }
                None => report.thin(part, kind, tool),
            }
        }
        cells = open;
    }
    bench.rng.shuffle(&mut made);
    made
}

fn one_row(
    bench: &mut Bench<'_>,
    kind: Kind,
    tool: usize,
    checks: &[Validator],
    seen: &mut HashSet<String>,
    report: &mut MakeReport,
) -> Option<Made> {
    for _ in 0..TRIES {
        let Some(row) = bench.row(kind, tool) else { continue };
        if !calls_fit(&row, bench.tools, checks) {
            report.invalid_dropped += 1;
            continue;
        }
        if !seen.insert(key(&row.request)) {
            report.duplicates_dropped += 1;
            continue;
        }
        return Some(row);
    }
    None
}

/// Requests that differ in case, white space or full stops alone are the same.
fn key(request: &str) -> String {
    let kept: String = request.to_lowercase().chars().filter(|c| !matches!(c, '.' | ',' | '!' | '?')).collect();
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether every call names an offered tool and its arguments fit that tool's schema.
fn calls_fit(row: &Made, tools: &[Tool], checks: &[Validator]) -> bool {
    let calls = row.messages.iter().filter_map(|m| m["tool_calls"].as_array()).flatten();
    calls.map(|c| &c["function"]).all(|function| {
        let at = row.offered.iter().find(|t| Some(tools[**t].name.as_str()) == function["name"].as_str());
        at.is_some_and(|t| checks[*t].is_valid(&function["arguments"]))
    })
}
