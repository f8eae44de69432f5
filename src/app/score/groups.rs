//! Figures of the rows that share a label.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::judge::Judged;
use super::turns::Asked;
use super::{JudgeOptions, SEED, ScoreRequest};
use crate::base::error::Fault;
use crate::data::read_table;
use crate::eval::report::Group;
use crate::eval::{Metric, Table, resample};

/// Most groups of a field in a report; the smallest are left out.
const MOST_GROUPS: usize = 40;
/// Labels by which tool calls are always reported, where rows have them.
const OF_TOOLS: [&str; 3] = ["kind", "tool", "server"];
/// The label of rows without one.
const NONE: &str = "(none)";

/// The rows' fields by line; what scorers and groups read.
pub(super) type Labels = HashMap<u64, Value>;

/// Reads the fields of the rows, where something asks for them.
pub(super) fn labels(request: &ScoreRequest) -> Result<Labels, Fault> {
    let judge = &request.judge;
    let wants = |m: &Metric| matches!(m, Metric::Command(_));
    let rubric = judge.rubric.iter().flat_map(|r| &r.criteria).any(|c| wants(&c.metric));
    if judge.by.is_empty() && !rubric && !judge.needs_turns() && !judge.metrics.iter().any(wants) {
        return Ok(Labels::new());
    }
    let table = read_table(&request.data, request.options.format)?;
    for field in &judge.by {
        let of_calls = judge.needs_turns() && OF_TOOLS.contains(&field.as_str());
        if !of_calls && !table.rows.iter().any(|r| field_of(&r.fields, field).is_some()) {
            let mut there: Vec<&str> = table.rows.first().map_or(Vec::new(), |r| r.fields.keys().map(String::as_str).collect());
            there.truncate(30);
            return Err(Fault::new("no_such_field", format!("{}: no row has the field `{field}`", request.data.display()))
                .hint(format!("the first row has {}", there.join(", "))));
        }
    }
    Ok(table.rows.into_iter().map(|r| (r.at.line, Value::Object(r.fields))).collect())
}

/// A field by its dotted name.
fn field_of<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let mut parts = name.split('.');
    let first = fields.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

/// The fields by which figures are given: those asked for; with tool calls also kind, tool and
/// server, where any row has them; the category of the leaderboard.
pub(super) fn fields(options: &JudgeOptions, all: &[Judged], labels: &Labels) -> Vec<String> {
    if options.is_leaderboard() {
        return vec!["category".to_owned()];
    }
    let mut by = options.by.clone();
    if options.needs_turns() {
        let has = |field: &str| all.first().is_some_and(|j| j.rows.iter().any(|r| label_of(r, field, labels) != NONE));
        by.extend(OF_TOOLS.iter().filter(|f| !options.by.iter().any(|b| b == *f) && has(f)).map(|f| (*f).to_owned()));
    }
    by
}

/// A row's label: its field; for tool and server also what its calls name.
fn label_of(row: &Asked, field: &str, labels: &Labels) -> String {
    let value = labels.get(&row.line).and_then(Value::as_object).and_then(|o| field_of(o, field));
    let calls = || row.turns.iter().flat_map(|t| &t.expected);
    let label = match (value, field) {
        (Some(Value::String(s)), _) => s.clone(),
        (None | Some(Value::Null), "tool") => several(calls().map(|c| c.name.as_str())),
        (None | Some(Value::Null), "server") => several(calls().filter_map(|c| c.server.as_deref())),
        (None | Some(Value::Null), _) => NONE.into(),
        (Some(other), _) => other.to_string(),
    };
    label.chars().take(80).collect()
}

/// Different names as one label.
fn several<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { NONE.into() } else { names.join(", ") }
}

/// Figures of the rows that share a field's value.
pub(super) fn groups(by: &[String], judged: &Judged, labels: &Labels) -> Vec<Group> {
    let mut out = Vec::new();
    for field in by {
        let mut found: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (i, row) in judged.rows.iter().enumerate() {
            found.entry(label_of(row, field, labels)).or_default().push(i);
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
        found.truncate(MOST_GROUPS);
        let figure = |t: &Table, rows: &[usize]| {
            let rows = rows.iter().map(|r| t.rows[*r].clone()).collect();
            resample::interval(&Table { metric: t.metric.clone(), rows }, SEED)
        };
        out.extend(found.into_iter().map(|(label, rows)| Group {
            field: field.clone(),
            label,
            rows: rows.len(),
            figures: judged.tables.iter().map(|t| figure(t, &rows)).collect(),
        }));
    }
    out
}
