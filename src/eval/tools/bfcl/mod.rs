//! The rules of the Berkeley Function-Calling Leaderboard (version 4) for its categories of one turn.
//!
//! A question names functions; its ground truth lists, for each call and argument, the values that are
//! right (`""` among them: the argument may be left out). An answer is judged as the published checker
//! (`bfcl-eval` 2026.3.23) judges it, its particularities included: strings are compared without case,
//! spaces and `,./-_*^`; a whole number stands for a float at the top level only; nested types are
//! checked one level deep; Java and JavaScript values are text in the language's own syntax.
//!
//! Three differences. A tuple is a list here, because calls in JSON have no tuples. Items of type `any` in
//! Java's and JavaScript's lists may also be read by their look, and a ground truth without any value
//! allows the empty list: by the published checker four of its own questions have no right answer
//! (`simple_java_36`, `simple_java_65`, `live_simple_106-63-0`, `live_simple_112-68-0`).

mod check;
mod java;
mod javascript;
mod perfect;
mod read;
mod values;

use serde::Serialize;
use serde_json::{Map, Value, json};

pub use check::check;
pub use perfect::perfect;
pub use read::{ReadError, is_questions, read};

use crate::data::make_tools::to_json_schema;

/// What is asked for in a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// One call of the only function.
    Simple,
    /// One call of one of several functions.
    Multiple,
    /// Several calls, in any order.
    Parallel,
    /// No call.
    Irrelevance,
    /// Some call.
    Relevance,
}

/// In whose syntax values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// JSON values.
    Python,
    /// Text in Java's syntax.
    Java,
    /// Text in JavaScript's syntax.
    Javascript,
}

/// One question.
#[derive(Debug, Clone)]
pub struct Question {
    /// Its id in the file.
    pub id: String,
    /// What is asked for.
    pub expect: Expect,
    /// The language of values.
    pub language: Language,
    /// The messages of its one turn.
    pub messages: Vec<Value>,
    /// The functions as the file has them.
    pub functions: Vec<Value>,
    /// The right calls: `{name: {argument: [values]}}`; empty for relevance and irrelevance.
    pub ground_truth: Vec<Value>,
}

impl Question {
    /// The functions as tools for a chat template: types in JSON Schema's words; in Java's and
    /// JavaScript's questions every argument is text, and its description says in which syntax.
    pub fn tools(&self) -> Vec<Value> {
        self.functions.iter().map(|f| tool(f, self.language)).collect()
    }
}

/// What the rules say of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether it is right.
    pub valid: bool,
    /// The published checker's name of the fault; empty when right.
    pub error_type: String,
    /// The fault in words; empty when right.
    pub message: String,
}

impl Verdict {
    fn right() -> Self {
        Self { valid: true, error_type: String::new(), message: String::new() }
    }

    fn wrong(error_type: &str, message: impl Into<String>) -> Self {
        Self { valid: false, error_type: error_type.to_owned(), message: message.into() }
    }
}

/// A function as a tool.
pub fn tool(function: &Value, language: Language) -> Value {
    let mut parameters = function.get("parameters").cloned().unwrap_or_else(|| json!({"type": "dict", "properties": {}}));
    match (language, parameters.get_mut("properties").and_then(Value::as_object_mut)) {
        (Language::Python, _) | (_, None) => {
            to_json_schema(&mut parameters);
        }
        (_, Some(properties)) => {
            properties.values_mut().for_each(|p| text_argument(p, language));
            parameters["type"] = json!("object");
        }
    }
    json!({"type": "function", "function": {
        "name": function.get("name").cloned().unwrap_or_default(),
        "description": function.get("description").cloned().unwrap_or_default(),
        "parameters": parameters,
    }})
}

fn text_argument(schema: &mut Value, language: Language) {
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or("any").to_owned();
    let about = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let language = if language == Language::Java { "Java" } else { "JavaScript" };
    let inner = schema.get("items").and_then(|i| i.get("type")).and_then(Value::as_str);
    let inner = inner.map(|i| format!(" of {i}")).unwrap_or_default();
    *schema = json!({"type": "string", "description": format!("{about} A {language} value of type {kind}{inner}, as text.")});
}

/// A call in the checker's own form.
pub(super) type Arguments = Map<String, Value>;
