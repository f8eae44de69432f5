//! Values compared as Python compares them, and the comparisons of the leaderboard.

use serde_json::{Map, Value};

use super::Verdict;

/// Python's types, as far as JSON has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Str,
    Int,
    Float,
    Bool,
    List,
    Dict,
    None,
}

/// `type(value)`.
pub(super) fn kind(value: &Value) -> Kind {
    match value {
        Value::String(_) => Kind::Str,
        Value::Number(n) if n.is_f64() => Kind::Float,
        Value::Number(_) => Kind::Int,
        Value::Bool(_) => Kind::Bool,
        Value::Array(_) => Kind::List,
        Value::Object(_) => Kind::Dict,
        Value::Null => Kind::None,
    }
}

/// `a == b`: numbers by value, booleans as 0 and 1.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    let number = |v: &Value| match v {
        Value::Bool(b) => Some(f64::from(u8::from(*b))),
        Value::Number(n) => n.as_f64(),
        _ => None,
    };
    match (a, b) {
        (Value::Number(x), Value::Number(y)) if !x.is_f64() && !y.is_f64() => x == y,
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| equal(x, y)),
        (Value::Object(x), Value::Object(y)) => x.len() == y.len() && x.iter().all(|(key, x)| y.get(key).is_some_and(|y| equal(x, y))),
        _ => match (number(a), number(b)) {
            (Some(x), Some(y)) => x == y,
            _ => a == b,
        },
    }
}

/// `value in list`.
pub(super) fn is_in(value: &Value, list: &[Value]) -> bool {
    list.iter().any(|other| equal(value, other))
}

/// Text without spaces and `,./-_*^`, in lower case, with double quotes.
pub(super) fn standard(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !matches!(c, ' ' | ',' | '.' | '/' | '-' | '_' | '*' | '^')).collect();
    kept.to_lowercase().replace('\'', "\"")
}

fn standard_value(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(standard(text)),
        other => other.clone(),
    }
}

/// What iterating gives: a list's items, a text's characters, nothing for what cannot be iterated.
fn items(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(list) => Some(list.clone()),
        Value::String(text) => Some(text.chars().map(|c| Value::String(c.to_string())).collect()),
        _ => None,
    }
}

pub(super) fn is_optional(allowed: &Value) -> bool {
    match allowed {
        Value::Array(list) => list.iter().any(|v| v.as_str() == Some("")),
        Value::String(_) => true,
        _ => false,
    }
}

pub(super) fn check_text(name: &str, value: &str, allowed: &[Value]) -> Verdict {
    let value_standard = standard(value);
    if allowed.iter().filter_map(Value::as_str).any(|a| standard(a) == value_standard) {
        return Verdict::right();
    }
    Verdict::wrong("value_error:string", format!("`{name}` is {value:?}; one of {} is right", show(allowed)))
}

pub(super) fn check_list(name: &str, value: &[Value], allowed: &[Value]) -> Verdict {
    let mine = Value::Array(value.iter().map(standard_value).collect());
    let right = |a: &Value| items(a).is_some_and(|a| equal(&mine, &Value::Array(a.iter().map(standard_value).collect())));
    if allowed.iter().any(right) {
        return Verdict::right();
    }
    Verdict::wrong("value_error:list/tuple", format!("`{name}` is {}; one of {} is right", Value::from(value), show(allowed)))
}

pub(super) fn check_dict(name: &str, value: &Map<String, Value>, allowed: &[Value]) -> Verdict {
    let mut verdict = Verdict::wrong("dict_checker:unclear", format!("`{name}` has no right value"));
    for one in allowed.iter().filter_map(Value::as_object) {
        match check_members(value, one) {
            Ok(()) => return Verdict::right(),
            Err(wrong) => verdict = wrong,
        }
    }
    verdict
}

/// Members against the values allowed for each. Both ways are looked at; the fault found last is told.
fn check_members(value: &Map<String, Value>, allowed: &Map<String, Value>) -> Result<(), Verdict> {
    let mut fault = None;
    for (key, member) in value {
        let Some(values) = allowed.get(key) else {
            fault = Some(Verdict::wrong("value_error:dict_key", format!("there is no member `{key}`")));
            break;
        };
        let values: Vec<Value> = items(values).unwrap_or_default().iter().map(standard_value).collect();
        if !is_in(&standard_value(member), &values) {
            fault = Some(Verdict::wrong("value_error:dict_value", format!("`{key}` is {member}; one of {} is right", show(&values))));
            break;
        }
    }
    let missing = allowed.iter().find(|(key, values)| !value.contains_key(*key) && !is_optional(values));
    if let Some((key, _)) = missing {
        fault = Some(Verdict::wrong("value_error:dict_key", format!("the member `{key}` is missing")));
    }
    fault.map_or(Ok(()), Err)
}

pub(super) fn check_dicts(name: &str, value: &[Value], allowed: &[Value]) -> Verdict {
    let mut verdict = Verdict::wrong("list_dict_checker:unclear", format!("`{name}` has no right value"));
    for one in allowed {
        let one = items(one).unwrap_or_default();
        if one.len() != value.len() {
            let message = format!("`{name}` has {} objects, {} are right", value.len(), one.len());
            verdict = Verdict::wrong("value_error:list_dict_count", message);
            continue;
        }
        let fault = value.iter().zip(&one).find_map(|(mine, right)| {
            let verdict = match mine {
                Value::Object(mine) => check_dict(name, mine, std::slice::from_ref(right)),
                other => Verdict::wrong("dict_checker:unclear", format!("`{name}` holds {other}, no object")),
            };
            (!verdict.valid).then_some(verdict)
        });
        match fault {
            None => return Verdict::right(),
            Some(fault) => verdict = fault,
        }
    }
    verdict
}

pub(super) fn show(values: &[Value]) -> String {
    Value::Array(values.to_vec()).to_string().chars().take(300).collect()
}
