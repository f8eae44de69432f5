//! Calls against the calls that were expected and the schemas of the tools.
//!
//! An answer is taken apart by what can be wrong with it, so that a report says *what* a model does not
//! know: the form of a call, which tool, which arguments, their types or their values, when to call
//! nothing, or the order of steps.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::data::calls::{Parsed, ToolCall};

/// What is right and wrong about one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CallScore {
    /// Calls that were expected.
    pub expected: usize,
    /// Calls that were made.
    pub made: usize,
    /// No call was begun that cannot be read.
    pub well_formed: bool,
    /// Expected calls whose tool was called.
    pub right_tool: usize,
    /// Expected calls whose tool and arguments are right.
    pub right_call: usize,
    /// Expected arguments that were left out.
    pub missing: usize,
    /// Arguments that were not expected.
    pub extra: usize,
    /// Arguments of a type that the schema does not allow.
    pub wrong_type: usize,
    /// Arguments of an allowed type with another value.
    pub wrong_value: usize,
    /// Names of tools that were not offered.
    pub unknown_tool: usize,
    /// The calls that are right stand in the expected order.
    pub in_order: bool,
    /// Nothing is wrong: every expected call, no other one, no broken one.
    pub correct: bool,
}

/// Compares an answer with the expected calls. None expected means that calling nothing is right.
///
/// `tools` are the offered ones, `{type: "function", function: {..}}`. Each expected call takes the call
/// that fits it best; with `ordered` the order counts for `correct` too.
pub fn score(answer: &Parsed, expected: &[ToolCall], tools: &[Value], ordered: bool) -> CallScore {
    let mut score = CallScore {
        expected: expected.len(),
        made: answer.calls.len(),
        well_formed: answer.is_well_formed(),
        in_order: true,
        ..CallScore::default()
    };
    let offered = |name: &str| tools.iter().find(|t| t["function"]["name"].as_str() == Some(name));
    score.unknown_tool = answer.calls.iter().filter(|c| offered(&c.name).is_none()).count();
    let mut free: Vec<usize> = (0..answer.calls.len()).collect();
    let mut last = None;
    for want in expected {
        let schema = offered(&want.name).map(|t| &t["function"]["parameters"]);
        let judged = |i: &usize| (*i, Faults::of(&answer.calls[*i].arguments, &want.arguments, schema));
        let same_tool = free.iter().filter(|i| answer.calls[**i].name == want.name).map(judged);
        let Some((index, faults)) = same_tool.min_by_key(|(i, f)| (f.count(), *i)) else {
            score.missing += want.arguments.len();
            continue;
        };
        free.retain(|i| *i != index);
        score.right_tool += 1;
        score.right_call += usize::from(faults.count() == 0);
        score.missing += faults.missing;
        score.extra += faults.extra;
        score.wrong_type += faults.wrong_type;
        score.wrong_value += faults.wrong_value;
        score.in_order &= last.is_none_or(|last| last < index);
        last = Some(index);
    }
    let all = score.right_call == expected.len() && score.made == expected.len();
    score.correct = all && score.well_formed && (score.in_order || !ordered);
    score
}

/// What is wrong with the arguments of a call.
#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    missing: usize,
    extra: usize,
    wrong_type: usize,
    wrong_value: usize,
}

impl Faults {
    fn count(self) -> usize {
        self.missing + self.extra + self.wrong_type + self.wrong_value
    }

    fn of(made: &Map<String, Value>, wanted: &Map<String, Value>, schema: Option<&Value>) -> Self {
        let mut faults = Self::default();
        let property = |name: &str| schema.and_then(|s| s.get("properties")?.get(name));
        for (name, want) in wanted {
            match made.get(name) {
                None if property(name).and_then(|p| p.get("default")) == Some(want) => {}
                None => faults.missing += 1,
                Some(value) if same(value, want) => {}
                Some(value) if property(name).is_some_and(|p| !type_fits(value, p)) => faults.wrong_type += 1,
                Some(_) => faults.wrong_value += 1,
            }
        }
        let default = |name: &str, value: &Value| property(name).and_then(|p| p.get("default")) == Some(value);
        faults.extra = made.iter().filter(|(name, value)| !wanted.contains_key(*name) && !default(name, value)).count();
        faults
    }
}

/// Equal as a tool would take them: numbers by value, text without white space at its ends.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::String(x), Value::String(y)) => x.trim() == y.trim(),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => x.len() == y.len() && x.iter().all(|(k, x)| y.get(k).is_some_and(|y| same(x, y))),
        _ => a == b,
    }
}

/// Whether a value has a type that `type` of its schema names. A schema without `type` allows all.
fn type_fits(value: &Value, schema: &Value) -> bool {
    let one = |name: &str| match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|v| v.fract() == 0.0),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => true,
    };
    match &schema["type"] {
        Value::String(name) => one(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(one),
        _ => true,
    }
}
