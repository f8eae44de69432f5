//! The kinds of values a key can have, and how a raw value becomes one.

use serde_json::{Value, json};

/// What a key accepts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// A path; `~`, `$VAR` and relative parts are expanded.
    Path,
    /// true or false.
    Bool,
    /// A whole number in a range, ends included.
    Int(u64, u64),
    /// A number in a range, ends included.
    Float(f64, f64),
    /// One of these words; the second list maps other spellings to them.
    OneOf(&'static [&'static str], &'static [(&'static str, &'static str)]),
    /// `auto`, true or false.
    AutoBool,
    /// A list of words; a single word counts as a list of one.
    Words,
    /// auto, cpu, metal, cuda or cuda:N.
    Device,
}

impl Kind {
    /// How the documentation names it.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Path => "path".into(),
            Self::Bool => "true or false".into(),
            Self::Int(lo, u64::MAX) => format!("whole number from {lo}"),
            Self::Int(lo, hi) => format!("whole number {lo} to {hi}"),
            Self::Float(lo, hi) if hi >= f64::MAX => format!("number from {lo}"),
            Self::Float(lo, hi) => format!("number {lo} to {hi}"),
            Self::OneOf(words, _) => words.join(", "),
            Self::AutoBool => "auto, true or false".into(),
            Self::Words => "list of words".into(),
            Self::Device => "auto, cpu, cuda:N, metal".into(),
        }
    }

    /// The value as this kind, or what is wrong with it.
    pub(super) fn accept(self, raw: &Value) -> Result<Value, String> {
        let expected = || Err(format!("expected {}, got {}", self.expectation(), show(raw)));
        match (self, raw) {
            (Self::Text | Self::Path, Value::String(_)) => Ok(raw.clone()),
            // A version such as 1.0 or a name such as 2024 reads as a number in YAML; it was meant as text.
            (Self::Text, Value::Number(n)) => Ok(Value::String(n.to_string())),
            (Self::Bool, Value::Bool(_)) | (Self::AutoBool, Value::Bool(_)) => Ok(raw.clone()),
            (Self::AutoBool, Value::String(s)) if s == "auto" => Ok(raw.clone()),
            (Self::Int(lo, hi), Value::Number(n)) => match whole(n) {
                Some(i) if (lo..=hi).contains(&i) => Ok(json!(i)),
                _ => expected(),
            },
            (Self::Float(lo, hi), Value::Number(n)) => match n.as_f64() {
                Some(x) if x >= lo && x <= hi => Ok(json!(x)),
                _ => expected(),
            },
            (Self::OneOf(words, aliases), Value::String(s)) => {
                let s = aliases.iter().find(|(a, _)| a == s).map_or(s.as_str(), |(_, word)| word);
                if words.contains(&s) { Ok(json!(s)) } else { expected() }
            }
            // YAML reads a bare number or `none` as such; a version number of stages is still one of the words.
            (Self::OneOf(words, _), Value::Number(n)) if words.contains(&n.to_string().as_str()) => Ok(json!(n.to_string())),
            (Self::Words, Value::String(s)) => Ok(json!(s.split(',').map(str::trim).filter(|w| !w.is_empty()).collect::<Vec<_>>())),
            (Self::Words, Value::Array(a)) if a.iter().all(Value::is_string) => Ok(raw.clone()),
            (Self::Device, Value::String(s)) if is_device(s) => Ok(raw.clone()),
            _ => expected(),
        }
    }

    fn expectation(self) -> String {
        match self {
            Self::OneOf(words, _) => format!("one of {}", words.join(", ")),
            Self::Device => "auto, cpu, cuda:N or metal".into(),
            other => format!("a {}", other.describe()).replace("a true", "true").replace("a auto", "auto"),
        }
    }
}

fn whole(n: &serde_json::Number) -> Option<u64> {
    n.as_u64().or_else(|| n.as_f64().filter(|x| x.fract() == 0.0 && (0.0..9e15).contains(x)).map(|x| x as u64))
}

fn is_device(s: &str) -> bool {
    let numbered = s.strip_prefix("cuda:").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    ["auto", "cpu", "metal", "cuda"].contains(&s) || numbered
}

fn show(raw: &Value) -> String {
    match raw {
        Value::String(s) => format!("`{s}`"),
        Value::Null => "nothing".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a section".into(),
        other => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, raw: Value, want: Result<Value, &str>) {
        assert_eq!(kind.accept(&raw), want.map_err(str::to_owned), "{kind:?} {raw}");
    }

    #[test]
    fn values_and_refusals() {
        check(Kind::Int(1, 8), json!(8), Ok(json!(8)));
        check(Kind::Int(1, 8), json!(100.0), Err("expected a whole number 1 to 8, got `100.0`"));
        check(Kind::Int(0, u64::MAX), json!(1e3), Ok(json!(1000)));
        check(Kind::Int(1, u64::MAX), json!("x"), Err("expected a whole number from 1, got `x`"));
        check(Kind::Float(0.0, 1.0), json!(2), Err("expected a number 0 to 1, got `2`"));
        check(Kind::Bool, json!("yes"), Err("expected true or false, got `yes`"));
        check(Kind::OneOf(&["nf4", "none"], &[("q4", "nf4")]), json!("q4"), Ok(json!("nf4")));
        check(Kind::OneOf(&["a", "b"], &[]), json!("c"), Err("expected one of a, b, got `c`"));
        check(Kind::Words, json!("q_proj, v_proj"), Ok(json!(["q_proj", "v_proj"])));
        check(Kind::Device, json!("cuda:x"), Err("expected auto, cpu, cuda:N or metal, got `cuda:x`"));
        check(Kind::Text, json!(1.5), Ok(json!("1.5")));
    }
}
