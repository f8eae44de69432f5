//! An answer's calls against a question.

use serde_json::{Number, Value};

use super::values::{Kind, check_dict, check_dicts, check_list, check_text, is_in, is_optional, kind, show};
use super::{Arguments, Expect, Language, Question, Verdict, java, javascript};
use crate::data::calls::{Parsed, ToolCall};

/// Judges what an answer holds. A broken call is the fault `ast_decoder:decoder_failed` where calls are
/// expected; where none is, only calls that can be read count, as the published checker has it.
pub fn check(question: &Question, answer: &Parsed) -> Verdict {
    let calls = &answer.calls;
    match question.expect {
        Expect::Irrelevance if calls.is_empty() => return Verdict::right(),
        Expect::Irrelevance => return Verdict::wrong("irrelevance_error:decoder_success", "a call was made where none fits"),
        Expect::Relevance if !calls.is_empty() => return Verdict::right(),
        Expect::Relevance => return Verdict::wrong("relevance_error:decoder_failed", "no call was made"),
        _ => {}
    }
    if let Some(broken) = answer.broken.first() {
        return Verdict::wrong("ast_decoder:decoder_failed", format!("{}: {}", broken.why, broken.text));
    }
    if calls.is_empty() {
        return Verdict::wrong("ast_decoder:decoder_failed", "no call was made");
    }
    let checker = match question.expect {
        Expect::Parallel => "parallel_function_checker_no_order",
        Expect::Multiple => "multiple_function_checker",
        _ => "simple_function_checker",
    };
    if calls.len() != question.ground_truth.len() {
        let message = format!("{} calls were made, {} are right", calls.len(), question.ground_truth.len());
        return Verdict::wrong(&format!("{checker}:wrong_count"), message);
    }
    match question.expect {
        Expect::Parallel => in_any_order(question, calls),
        _ => one_call(question, &calls[0], &question.ground_truth[0]),
    }
}

/// Every right call takes the first call that fits it and is not taken yet.
fn in_any_order(question: &Question, calls: &[ToolCall]) -> Verdict {
    let mut taken = vec![false; calls.len()];
    for (i, truth) in question.ground_truth.iter().enumerate() {
        let mut last = String::new();
        let fits = |index: &usize| {
            let verdict = one_call(question, &calls[*index], truth);
            last = verdict.message;
            verdict.valid
        };
        let free: Vec<usize> = (0..calls.len()).filter(|index| !taken[*index]).collect();
        match free.into_iter().find(fits) {
            Some(index) => taken[index] = true,
            None => {
                let message = format!("no call fits right call {i}: {last}");
                return Verdict::wrong("parallel_function_checker_no_order:cannot_find_match", message);
            }
        }
    }
    Verdict::right()
}

fn one_call(question: &Question, call: &ToolCall, truth: &Value) -> Verdict {
    let Some((name, allowed)) = truth.as_object().and_then(|t| t.iter().next()) else {
        return Verdict::wrong("simple_function_checker:unclear", "the ground truth names no function");
    };
    let function = match question.expect {
        Expect::Simple => question.functions.first(),
        _ => question.functions.iter().find(|f| f["name"].as_str() == Some(name)),
    };
    let empty = Arguments::new();
    let (Some(function), allowed) = (function, allowed.as_object().unwrap_or(&empty)) else {
        return Verdict::wrong("simple_function_checker:unclear", format!("no function is called `{name}`"));
    };
    let right_name = function["name"].as_str().unwrap_or_default();
    if !same_name(right_name, &call.name) {
        let message = format!("`{}` was called, `{right_name}` is right", call.name);
        return Verdict::wrong("simple_function_checker:wrong_func_name", message);
    }
    let required = function["parameters"]["required"].as_array().map_or(&[][..], Vec::as_slice);
    if let Some(missing) = required.iter().filter_map(Value::as_str).find(|r| !call.arguments.contains_key(*r)) {
        return Verdict::wrong("simple_function_checker:missing_required", format!("`{missing}` is missing"));
    }
    for (key, value) in &call.arguments {
        let schema = function["parameters"]["properties"].get(key);
        let (Some(schema), Some(allowed)) = (schema, allowed.get(key)) else {
            return Verdict::wrong("simple_function_checker:unexpected_param", format!("`{key}` is no argument here"));
        };
        let allowed = allowed.as_array().map_or(&[][..], Vec::as_slice);
        // No value at all is allowed: the empty list is meant.
        if allowed.is_empty() && value.as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        let verdict = argument(question.language, key, value, schema, allowed);
        if !verdict.valid {
            return verdict;
        }
    }
    match allowed.iter().find(|(key, values)| !call.arguments.contains_key(*key) && !is_optional(values)) {
        Some((key, _)) => Verdict::wrong("simple_function_checker:missing_optional", format!("`{key}` was left out, but must be said")),
        None => Verdict::right(),
    }
}

/// Names are equal, or differ in dots that stand as underscores: many templates allow no dot in a name.
fn same_name(right: &str, called: &str) -> bool {
    right == called || right.contains('.') && right.replace('.', "_") == called
}

/// `type` of a schema as one of Python's types; `None` for a word that the language does not have.
fn expected(language: Language, name: &str) -> Option<Kind> {
    Some(match (language, name) {
        (Language::Python, "string" | "any") => Kind::Str,
        (Language::Python, "integer") => Kind::Int,
        (Language::Python, "float") => Kind::Float,
        (Language::Python, "boolean") => Kind::Bool,
        (Language::Python, "array" | "tuple") => Kind::List,
        (Language::Python, "dict") => Kind::Dict,
        (Language::Java, name) => java::expected(name)?,
        (Language::Javascript, name) => javascript::expected(name)?,
        _ => return None,
    })
}

fn argument(language: Language, name: &str, value: &Value, schema: &Value, allowed: &[Value]) -> Verdict {
    let word = schema["type"].as_str().unwrap_or_default();
    let unknown = |word: &str| Verdict::wrong("simple_function_checker:unclear", format!("`{name}` has the unknown type `{word}`"));
    let Some(outer) = expected(language, word) else { return unknown(word) };
    let is_nested = match language {
        Language::Python => matches!(word, "array" | "tuple"),
        _ => matches!(word, "Array" | "ArrayList" | "array"),
    };
    let inner_word = schema["items"]["type"].as_str();
    let inner = match (is_nested, inner_word) {
        (true, Some(inner)) => match expected(language, inner) {
            Some(kind) => Some(kind),
            None => return unknown(inner),
        },
        (true, None) => return unknown("items"),
        (false, _) => None,
    };
    let verdict = typed_argument(language, name, value, (word, inner_word.filter(|_| is_nested)), (outer, inner), allowed);
    if !verdict.valid && inner_word == Some("any") && is_nested && language != Language::Python {
        // Items of any type are read as text above, so that no number or boolean in them could be right: they
        // may also be read by their look.
        let again = typed_argument(language, name, value, (word, None), (outer, None), allowed);
        return if again.valid { again } else { verdict };
    }
    verdict
}

/// One argument whose type is known: the words of the schema (outer, inner) and what they stand for.
fn typed_argument(
    language: Language,
    name: &str,
    value: &Value,
    (word, inner_word): (&str, Option<&str>),
    (outer, inner): (Kind, Option<Kind>),
    allowed: &[Value],
) -> Verdict {
    let value = match (language, value) {
        (Language::Python, Value::Number(n)) if word == "float" && !n.is_f64() => {
            n.as_f64().and_then(Number::from_f64).map_or_else(|| value.clone(), Value::Number)
        }
        (Language::Python, other) => other.clone(),
        (Language::Java, Value::String(text)) => java::convert(text, word, inner_word),
        (Language::Javascript, Value::String(text)) => javascript::convert(text, word, inner_word),
        (Language::Java, other) => return not_text("type_error:java", name, other),
        (Language::Javascript, other) => return not_text("type_error:js", name, other),
    };
    let is_variable = match check_type(name, &value, allowed, outer, inner) {
        Ok(is_variable) => is_variable,
        Err(verdict) => return verdict,
    };
    match (&value, outer, inner) {
        (Value::Object(map), Kind::Dict, _) if !is_variable => check_dict(name, map, allowed),
        (Value::Array(list), Kind::List, Some(Kind::Dict)) if !is_variable => check_dicts(name, list, allowed),
        (Value::String(text), Kind::Str, _) if !is_variable => check_text(name, text, allowed),
        (Value::Array(list), Kind::List, _) if !is_variable => check_list(name, list, allowed),
        _ if is_in(&value, allowed) => Verdict::right(),
        _ => Verdict::wrong("value_error:others", format!("`{name}` is {value}; one of {} is right", show(allowed))),
    }
}

fn not_text(error_type: &str, name: &str, value: &Value) -> Verdict {
    Verdict::wrong(error_type, format!("`{name}` is {value}; it must be text in the language's syntax"))
}

/// Whether a value has the right type, or that of the right values (a variable's name where a number is
/// declared). Gives whether it counts as such a variable.
fn check_type(name: &str, value: &Value, allowed: &[Value], outer: Kind, inner: Option<Kind>) -> Result<bool, Verdict> {
    let right_kind = allowed.iter().find(|a| a.as_str() != Some("")).map(kind);
    let is_variable = right_kind.is_some_and(|k| k != outer);
    if kind(value) == outer {
        let Some(inner) = inner else { return Ok(is_variable) };
        let list = value.as_array().map_or(&[][..], Vec::as_slice);
        let fits = |one: &Value| match one {
            Value::Array(one) => list.iter().all(|item| check_type(name, item, one, inner, None).is_ok()),
            _ => true,
        };
        if allowed.iter().any(fits) {
            return Ok(is_variable);
        }
        let same = right_kind == Some(kind(value));
        let error_type = if same { "type_error:nested" } else { "type_error:simple" };
        return Err(Verdict::wrong(error_type, format!("`{name}` is {value}: an item has the wrong type")));
    }
    match right_kind {
        Some(k) if k == kind(value) => Ok(true),
        _ => Err(Verdict::wrong("type_error:simple", format!("`{name}` is {value}, which has the wrong type"))),
    }
}
