//! The kinds of values a key can have, and how a raw value becomes one.

use serde_json::{Value, json};

/// What a key accepts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// A path; `~`, `$VAR` and relative parts are expanded.
    Path,
    /// A chat template: a word, a path, or the text itself.
    Template,
    /// true or false.
    Bool,
    /// A whole number in a range, ends included.
    Int(u64, u64),
    /// The same, or `auto`.
    AutoInt(u64, u64),
    /// A number in a range, ends included.
    Float(f64, f64),
    /// A number above 0, up to this one.
    Positive(f64),
    /// A number from 0 up to this one, or `.inf` for no limit, which is kept as 0.
    Limit(f64),
    /// One of these words; the second list maps other spellings to them.
    OneOf(&'static [&'static str], &'static [(&'static str, &'static str)]),
    /// `auto`, true or false.
    AutoBool,
    /// A list of words; a single word counts as a list of one.
    Words,
    /// A list of texts; a single one counts as a list of one, commas and all.
    Texts,
    /// A list of these words.
    WordsOf(&'static [&'static str]),
    /// auto, cpu, metal, cuda or cuda:N.
    Device,
}

impl Kind {
    /// How the documentation names it.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Path => "path".into(),
            Self::Template => "name, path or text".into(),
            Self::Bool => "true or false".into(),
            Self::Int(lo, hi) => format!("whole number {lo} to {hi}"),
            Self::AutoInt(lo, hi) => format!("whole number {lo} to {hi}, or auto"),
            Self::Float(lo, hi) => format!("number {lo} to {hi}"),
            Self::Positive(hi) => format!("number above 0, at most {hi}"),
            Self::Limit(hi) => format!("number 0 to {hi}, or .inf"),
            Self::OneOf(words, _) => words.join(", "),
            Self::AutoBool => "auto, true or false".into(),
            Self::Words => "list of words".into(),
            Self::Texts => "list of texts".into(),
            Self::WordsOf(words) => format!("list of {}", words.join(", ")),
            Self::Device => "auto, cpu, cuda:N, metal".into(),
        }
    }

    /// The value as this kind, or what is wrong with it.
    pub(super) fn accept(self, raw: &Value) -> Result<Value, String> {
        let expected = || Err(format!("expected {}, got {}", self.expectation(), show(raw)));
        match (self, raw) {
            (Self::Text | Self::Path | Self::Template, Value::String(_)) => Ok(raw.clone()),
            // A version such as 1.0 or a name such as 2024 reads as a number in YAML; it was meant as text.
            (Self::Text, Value::Number(n)) => Ok(Value::String(n.to_string())),
            (Self::Bool, Value::Bool(_)) | (Self::AutoBool, Value::Bool(_)) => Ok(raw.clone()),
            (Self::AutoBool | Self::AutoInt(..), Value::String(s)) if s == "auto" => Ok(raw.clone()),
            (Self::Int(lo, hi) | Self::AutoInt(lo, hi), Value::Number(n)) => match whole(n) {
                Some(i) if (lo..=hi).contains(&i) => Ok(json!(i)),
                _ => expected(),
            },
            (Self::Float(lo, hi), Value::Number(n)) => match n.as_f64() {
                Some(x) if x >= lo && x <= hi => Ok(json!(x)),
                _ => expected(),
            },
            (Self::Positive(hi), Value::Number(n)) => match n.as_f64() {
                Some(x) if x > 0.0 && x <= hi => Ok(json!(x)),
                _ => expected(),
            },
            (Self::Limit(hi), Value::Number(n)) => match n.as_f64() {
                Some(x) if x >= 0.0 && x <= hi => Ok(json!(x)),
                _ => expected(),
            },
            (Self::Limit(_), Value::String(s)) if is_infinity(s) => Ok(json!(0.0)),
            (Self::OneOf(words, aliases), Value::String(s)) => {
                let s = aliases.iter().find(|(a, _)| a == s).map_or(s.as_str(), |(_, word)| word);
                if words.contains(&s) { Ok(json!(s)) } else { expected() }
            }
            // YAML reads a bare number or `none` as such; a version number of stages is still one of the words.
            (Self::OneOf(words, _), Value::Number(n)) if words.contains(&n.to_string().as_str()) => Ok(json!(n.to_string())),
            (Self::Words | Self::WordsOf(_), Value::String(s)) => {
                let words: Vec<&str> = s.split(',').map(str::trim).filter(|w| !w.is_empty()).collect();
                self.known(words.iter().copied(), raw).map(|()| json!(words))
            }
            (Self::Words | Self::WordsOf(_), Value::Array(a)) if a.iter().all(Value::is_string) => {
                self.known(a.iter().filter_map(Value::as_str), raw).map(|()| raw.clone())
            }
            (Self::Texts, Value::String(_)) => Ok(json!([raw])),
            (Self::Texts, Value::Array(a)) if a.iter().all(Value::is_string) => Ok(raw.clone()),
            (Self::Device, Value::String(s)) if is_device(s) => Ok(raw.clone()),
            _ => expected(),
        }
    }

    /// Refuses words that are not among those of [`Self::WordsOf`].
    fn known<'a>(self, words: impl Iterator<Item = &'a str>, raw: &Value) -> Result<(), String> {
        let Self::WordsOf(known) = self else { return Ok(()) };
        match words.into_iter().find(|w| !known.contains(w)) {
            Some(odd) => Err(format!("`{}` is not one of {}", short(odd), known.join(", "))),
            None if raw.as_array().is_some_and(Vec::is_empty) => Err("is an empty list".into()),
            None => Ok(()),
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

/// The ways in which people write "no limit".
fn is_infinity(s: &str) -> bool {
    let word = s.trim_start_matches(['+', '.']);
    word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("infinity")
}

/// Characters of a value that an error quotes.
const QUOTED: usize = 60;

/// Text that an error can quote, cut where it is long.
pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn show(raw: &Value) -> String {
    match raw {
        Value::String(s) => format!("`{}`", short(s)),
        Value::Null => "nothing".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a section".into(),
        other => format!("`{other}`"),
    }
}

#[cfg(test)]
impl Kind {
    /// Values that a key takes, none of which is `default`.
    pub(super) fn examples(self, default: &Value, draw: &mut dyn FnMut() -> u64) -> Vec<Value> {
        let fraction = draw() as f64 / u64::MAX as f64;
        let inside = |lo: f64, hi: f64| json!(lo + (hi - lo) * fraction);
        let all = match self {
            Self::Text | Self::Path => vec![json!(format!("word{}", draw()))],
            Self::Bool => vec![json!(true), json!(false)],
            Self::AutoBool => vec![json!("auto"), json!(true), json!(false)],
            Self::Int(lo, hi) => vec![json!(lo), json!(hi), json!(lo + draw() % (hi - lo))],
            Self::AutoInt(lo, hi) => vec![json!(lo), json!(hi), json!("auto")],
            Self::Float(lo, hi) => vec![inside(lo, hi)],
            Self::Positive(hi) => vec![inside(hi * 1e-6, hi)],
            Self::Limit(hi) => vec![inside(0.0, hi), json!(".inf")],
            Self::OneOf(words, _) => words.iter().map(|w| json!(w)).collect(),
            Self::Words => vec![json!([format!("word{}", draw())])],
            Self::Texts => vec![json!([format!("say {}, and {}", draw(), draw())])],
            Self::WordsOf(words) => words.iter().map(|w| json!([w])).collect(),
            Self::Template => vec![json!("chatml"), json!("/x.jinja"), json!("{{ messages }}")],
            Self::Device => vec![json!("cpu"), json!("metal"), json!(format!("cuda:{}", draw() % 9))],
        };
        all.into_iter().filter(|v| v != default).collect()
    }

    /// Values that no key of this kind takes, overflowing and non-finite ones among them.
    pub(super) fn refused(self, draw: &mut dyn FnMut() -> u64) -> Vec<Value> {
        let mut all = vec![json!({"a": 1})];
        if !matches!(self, Self::Text | Self::Path | Self::Template | Self::Words | Self::Texts | Self::WordsOf(_)) {
            all.extend([json!(".nan"), json!("-.inf"), json!("zebra"), json!([1, 2])]);
        }
        if let Self::Int(_, hi) | Self::AutoInt(_, hi) = self {
            let beyond = hi.saturating_add(1 + draw() % 1000);
            all.extend([json!(beyond), json!(-1), json!(0.5), json!(1e300), json!(".inf")]);
            all.extend((0..64).map(|bit| 1u64 << bit).filter(|n| *n > hi).map(|n| json!(n)));
        }
        if matches!(self, Self::Float(..) | Self::Positive(_)) {
            all.extend([json!(f64::MAX), json!(-1.0), json!(".inf")]);
        }
        all
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
        check(Kind::Int(0, 5000), json!(1e3), Ok(json!(1000)));
        check(Kind::Int(1, 8), json!("x"), Err("expected a whole number 1 to 8, got `x`"));
        check(Kind::Float(0.0, 1.0), json!(2), Err("expected a number 0 to 1, got `2`"));
        check(Kind::Bool, json!("yes"), Err("expected true or false, got `yes`"));
        check(Kind::OneOf(&["nf4", "none"], &[("q4", "nf4")]), json!("q4"), Ok(json!("nf4")));
        check(Kind::OneOf(&["a", "b"], &[]), json!("c"), Err("expected one of a, b, got `c`"));
        check(Kind::Words, json!("q_proj, v_proj"), Ok(json!(["q_proj", "v_proj"])));
        check(Kind::Texts, json!("add 1, 2"), Ok(json!(["add 1, 2"])));
        check(Kind::Texts, json!(["a, b", "c"]), Ok(json!(["a, b", "c"])));
        check(Kind::Texts, json!([1]), Err("expected a list of texts, got a list"));
        check(Kind::Device, json!("cuda:x"), Err("expected auto, cpu, cuda:N or metal, got `cuda:x`"));
        check(Kind::Text, json!(1.5), Ok(json!("1.5")));
        check(Kind::Positive(10.0), json!(0), Err("expected a number above 0, at most 10, got `0`"));
        check(Kind::Positive(10.0), json!(".nan"), Err("expected a number above 0, at most 10, got `.nan`"));
        check(Kind::Limit(10.0), json!(-1), Err("expected a number 0 to 10, or .inf, got `-1`"));
        for word in [".inf", "+.inf", "inf", "+.INF", "Infinity"] {
            check(Kind::Limit(10.0), json!(word), Ok(json!(0.0)));
        }
        check(Kind::Limit(10.0), json!("-.inf"), Err("expected a number 0 to 10, or .inf, got `-.inf`"));
        check(Kind::WordsOf(&["a", "b"]), json!("b, a"), Ok(json!(["b", "a"])));
        check(Kind::WordsOf(&["a", "b"]), json!(["a", "zebra"]), Err("`zebra` is not one of a, b"));
    }
}
