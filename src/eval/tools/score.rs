//! Calls against the calls that were expected and the schemas of the tools.
//!
//! An answer is taken apart by what can be wrong with it, so that a report says *what* a model does
//! not know: the form of a call, which tool, which arguments, their types or their values, or when
//! to call nothing.

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
    /// Expected arguments of the calls whose tool was called.
    pub arguments: usize,
    /// Those that were left out.
    pub missing: usize,
    /// Arguments that were not expected.
    pub extra: usize,
    /// Arguments of a type that the schema does not allow.
    pub wrong_type: usize,
    /// Arguments of an allowed type with another value.
    pub wrong_value: usize,
    /// Calls of tools that were not offered.
    pub unknown_tool: usize,
    /// Nothing is wrong: every expected call, no other one, no broken one.
    pub correct: bool,
}

/// Compares an answer with the expected calls, in any order. None expected means that calling
/// nothing is right.
///
/// `tools` are the offered ones, `{type: "function", function: {..}}`. Each expected call takes the
/// call of its tool that fits it best. Arguments are equal as a tool would take them: numbers by
/// value, text without white space at its ends; an argument left out equals the schema's default.
pub fn score(answer: &Parsed, expected: &[ToolCall], tools: &[Value]) -> CallScore {
    let mut score =
        CallScore { expected: expected.len(), made: answer.calls.len(), well_formed: answer.is_well_formed(), ..CallScore::default() };
    let offered = |name: &str| tools.iter().find(|t| t["function"]["name"].as_str() == Some(name));
    score.unknown_tool = answer.calls.iter().filter(|c| offered(&c.name).is_none()).count();
    for (want, call) in pairs(&answer.calls, expected, tools) {
        let faults = Faults::of(&call.arguments, &want.arguments, schema_of(&want.name, tools));
        score.right_tool += 1;
        score.right_call += usize::from(faults.count() == 0);
        score.arguments += want.arguments.len();
        score.missing += faults.missing;
        score.extra += faults.extra;
        score.wrong_type += faults.wrong_type;
        score.wrong_value += faults.wrong_value;
    }
    let all = score.right_call == expected.len() && score.made == expected.len();
    score.correct = all && score.well_formed;
    score
}

fn schema_of<'a>(name: &str, tools: &'a [Value]) -> Option<&'a Value> {
    let tool = tools.iter().find(|t| t["function"]["name"].as_str() == Some(name))?;
    tool["function"].get("parameters")
}

/// Expected calls with the calls of the same tool that were made for them: the pairs with the
/// fewest faults are taken first, so a right call is never spent on another expectation.
fn pairs<'a>(made: &'a [ToolCall], expected: &'a [ToolCall], tools: &[Value]) -> Vec<(&'a ToolCall, &'a ToolCall)> {
    let mut candidates = Vec::new();
    for (e, want) in expected.iter().enumerate() {
        let schema = schema_of(&want.name, tools);
        for (m, call) in made.iter().enumerate().filter(|(_, call)| call.name == want.name) {
            candidates.push((Faults::of(&call.arguments, &want.arguments, schema).count(), e, m));
        }
    }
    candidates.sort_unstable();
    let (mut wanted, mut taken) = (vec![false; expected.len()], vec![false; made.len()]);
    let mut pairs = Vec::new();
    for (_, e, m) in candidates {
        if !wanted[e] && !taken[m] {
            (wanted[e], taken[m]) = (true, true);
            pairs.push((&expected[e], &made[m]));
        }
    }
    pairs
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
        let is_default = |name: &str, value: &Value| property(name).and_then(|p| p.get("default")).is_some_and(|d| same(d, value));
        for (name, want) in wanted {
            match made.get(name) {
                None if is_default(name, want) => {}
                None => faults.missing += 1,
                Some(value) if same(value, want) => {}
                Some(value) if property(name).is_some_and(|p| !type_fits(value, p)) => {
                    faults.wrong_type += 1;
                }
                Some(_) => faults.wrong_value += 1,
            }
        }
        let others = made.iter().filter(|(name, _)| !wanted.contains_key(*name));
        faults.extra = others.filter(|(name, value)| !is_default(name, value)).count();
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

/// Whether a value has a type that its schema names. A schema without `type` allows all.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::calls::parse;

    fn tools() -> Vec<Value> {
        let properties = json!({"city": {"type": "string"}, "days": {"type": "integer", "default": 1},
            "where": {"type": ["object", "null"]}, "tags": {"type": "array"}});
        let one = |name: &str| {
            json!({"type": "function", "function": {"name": name,
            "parameters": {"type": "object", "properties": properties, "required": ["city"]}}})
        };
        vec![one("weather"), one("trip")]
    }

    fn call(name: &str, arguments: &Value) -> String {
        format!("<tool_call>\n{}\n</tool_call>", json!({"name": name, "arguments": arguments}))
    }

    fn expected(calls: &[(&str, Value)]) -> Vec<ToolCall> {
        let one = |(name, a): &(&str, Value)| ToolCall::new(*name, a.as_object().unwrap().clone());
        calls.iter().map(one).collect()
    }

    /// missing, extra, wrong type, wrong value.
    fn faults(s: &CallScore) -> [usize; 4] {
        [s.missing, s.extra, s.wrong_type, s.wrong_value]
    }

    #[test]
    fn each_fault_of_arguments_is_told_apart() {
        let want = expected(&[("weather", json!({"city": "Oslo", "days": 3}))]);
        for (arguments, wanted) in [
            (json!({"city": "Oslo", "days": 3}), [0, 0, 0, 0]),
            (json!({"days": 3.0, "city": " Oslo "}), [0, 0, 0, 0]),
            (json!({"city": "Oslo"}), [1, 0, 0, 0]),
            (json!({}), [2, 0, 0, 0]),
            (json!({"city": "Oslo", "days": "3"}), [0, 0, 1, 0]),
            (json!({"city": "Oslo", "days": 3.5}), [0, 0, 1, 0]),
            (json!({"city": "oslo", "days": 4}), [0, 0, 0, 2]),
            (json!({"city": "Oslo", "days": 3, "tags": []}), [0, 1, 0, 0]),
            (json!({"town": "Oslo", "days": null}), [1, 1, 1, 0]),
        ] {
            let s = score(&parse(&call("weather", &arguments)), &want, &tools());
            assert_eq!(faults(&s), wanted, "{arguments}");
            assert_eq!((s.right_tool, s.arguments, s.made), (1, 2, 1), "{arguments}");
            assert_eq!(s.correct, wanted == [0; 4], "{arguments}");
        }
    }

    #[test]
    fn defaults_need_not_be_said() {
        let want = expected(&[("weather", json!({"city": "Oslo", "days": 1}))]);
        assert!(score(&parse(&call("weather", &json!({"city": "Oslo"}))), &want, &tools()).correct);
        let want = expected(&[("weather", json!({"city": "Oslo"}))]);
        let said = call("weather", &json!({"city": "Oslo", "days": 1}));
        assert!(score(&parse(&said), &want, &tools()).correct);
        let said = call("weather", &json!({"city": "Oslo", "days": 2}));
        assert_eq!(faults(&score(&parse(&said), &want, &tools())), [0, 1, 0, 0]);
    }

    #[test]
    fn parallel_calls_take_their_best_partner_in_any_order() {
        let want = expected(&[("weather", json!({"city": "A"})), ("weather", json!({"city": "B"}))]);
        let both = [call("weather", &json!({"city": "B"})), call("weather", &json!({"city": "A"}))];
        assert!(score(&parse(&both.concat()), &want, &tools()).correct);
        // The one right call stays with its own expectation.
        let half = [call("weather", &json!({"city": "B"})), call("weather", &json!({"city": "C"}))];
        let s = score(&parse(&half.concat()), &want, &tools());
        assert_eq!((s.right_tool, s.right_call, s.wrong_value, s.correct), (2, 1, 1, false));
        let s = score(&parse(&both[0]), &want, &tools());
        assert_eq!((s.right_tool, s.right_call, s.made, s.correct), (1, 1, 1, false));
        let thrice = [both.concat(), both[0].clone()].concat();
        let s = score(&parse(&thrice), &want, &tools());
        assert_eq!((s.right_call, s.made, s.correct), (2, 3, false));
    }

    #[test]
    fn calling_nothing_and_calling_something_else() {
        let none = score(&parse("It is sunny."), &[], &tools());
        assert!(none.correct && none.well_formed);
        let s = score(&parse(&call("weather", &json!({}))), &[], &tools());
        assert!(!s.correct && s.well_formed);
        let broken = parse("<tool_call>{\"name\": \"weather\", \"argu");
        let s = score(&broken, &[], &tools());
        assert!(!s.correct && !s.well_formed && s.made == 0);
        let want = expected(&[("weather", json!({"city": "A"}))]);
        let s = score(&parse(&call("climate", &json!({"city": "A"}))), &want, &tools());
        assert_eq!((s.right_tool, s.unknown_tool, s.arguments, s.missing), (0, 1, 0, 0));
        let s = score(&parse(&call("trip", &json!({"city": "A"}))), &want, &tools());
        assert_eq!((s.right_tool, s.unknown_tool, s.correct), (0, 0, false));
    }
}
