//! A space as people write it: `lr=log:1e-5..1e-3`, `lora.rank=4,8,16`, or the same in YAML or
//! JSON.

use serde_json::{Map, Value};

use super::space::{Domain, Parameter, Space};
use crate::base::error::Fault;
use crate::config::{keys, nearest_key, yaml_value};

/// Values that a grid takes of a range, where nothing else is said.
const POINTS: usize = 4;
/// Most parameters and choices: more would be a mistake.
const MOST: usize = 64;

/// Short names of keys.
const SHORT: [(&str, &str); 2] = [("lr", "training.stage1.learning_rate"), ("batch", "training.stage1.batch_size")];

fn bad(key: &str, what: impl std::fmt::Display) -> Fault {
    Fault::new("bad_space", format!("space: `{key}`: {what}"))
        .hint("write LOW..HIGH, log:LOW..HIGH (equal factors), either with /POINTS for a grid, or choices a,b,c")
}

/// The key that a name stands for: the key itself, a short name, or its last parts, of stage 1
/// where both stages have it.
fn key_of(name: &str) -> Result<&'static str, Fault> {
    let full = SHORT.iter().find(|(short, _)| *short == name).map_or(name, |(_, full)| full);
    let known = keys();
    if let Some(key) = known.iter().find(|k| k.path == full) {
        return Ok(key.path);
    }
    let ending = format!(".{full}");
    let fits: Vec<&'static str> = known.iter().map(|k| k.path).filter(|path| path.ends_with(&ending)).collect();
    let first: Vec<&'static str> = fits.iter().copied().filter(|path| !path.contains(".stage2.")).collect();
    match first.as_slice() {
        [one] => Ok(one),
        [] => {
            let fault = Fault::new("bad_space", format!("space: there is no setting `{name}`"));
            Err(match nearest_key(name) {
                Some(near) => fault.hint(format!("did you mean `{near}`?")),
                None => fault.hint("name a key of the configuration, for example lora.rank"),
            })
        }
        several => Err(Fault::new("bad_space", format!("space: `{name}` may be {}", several.join(" or "))).hint("write the whole key")),
    }
}

fn is_whole(key: &str) -> bool {
    keys().iter().any(|k| k.path == key && k.is_whole())
}

impl Space {
    /// From `KEY=VALUES` of arguments.
    ///
    /// # Errors
    /// For what is no space.
    pub fn from_arguments(texts: &[String]) -> Result<Self, Fault> {
        let mut parameters = Vec::new();
        for text in texts {
            let parts = text.split_once('=').map(|(key, values)| (key.trim(), values.trim()));
            let (key, values) = parts.ok_or_else(|| bad(text, "is not KEY=VALUES"))?;
            parameters.push(parameter(key, &Value::String(values.to_owned()))?);
        }
        Self::of(parameters)
    }

    /// From a tree of YAML or JSON: dotted keys or sections; a text as in arguments, a list of
    /// choices, or `{low, high, log, points}`.
    ///
    /// # Errors
    /// For what is no space.
    pub fn from_value(value: &Value) -> Result<Self, Fault> {
        let Value::Object(map) = value else {
            return Err(bad("", "a space is a mapping of keys to what they may be"));
        };
        let mut parameters = Vec::new();
        walk("", map, &mut parameters)?;
        Self::of(parameters)
    }

    fn of(parameters: Vec<Parameter>) -> Result<Self, Fault> {
        if parameters.is_empty() {
            return Err(Fault::new("bad_space", "the space is empty: there is nothing to search")
                .hint("name settings that may vary, for example lr=log:1e-5..1e-3"));
        }
        if parameters.len() > MOST {
            return Err(Fault::new("bad_space", format!("{} settings in the space: at most {MOST} can vary", parameters.len())));
        }
        for (i, p) in parameters.iter().enumerate() {
            if parameters[..i].iter().any(|other| other.key == p.key) {
                return Err(bad(&p.key, "is named twice"));
            }
        }
        Ok(Self { parameters })
    }
}

fn walk(above: &str, map: &Map<String, Value>, out: &mut Vec<Parameter>) -> Result<(), Fault> {
    for (name, value) in map {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match value {
            Value::Object(inner) if !inner.contains_key("low") && !inner.contains_key("high") => walk(&path, inner, out)?,
            value => out.push(parameter(&path, value)?),
        }
    }
    Ok(())
}

fn parameter(name: &str, value: &Value) -> Result<Parameter, Fault> {
    let key = key_of(name)?;
    let domain = match value {
        Value::String(text) => of_text(key, text)?,
        Value::Array(values) => choice(key, values.clone())?,
        Value::Object(map) => of_map(key, map)?,
        other => return Err(bad(key, format!("`{other}` is neither a range nor a list of choices"))),
    };
    Ok(Parameter { key: key.to_owned(), domain })
}

fn of_text(key: &str, text: &str) -> Result<Domain, Fault> {
    let (log, rest) = text.strip_prefix("log:").map_or((false, text), |rest| (true, rest.trim()));
    let Some((low, high)) = rest.split_once("..") else {
        if log {
            return Err(bad(key, "log: needs a range LOW..HIGH"));
        }
        return choice(key, split(rest).into_iter().map(yaml_value).collect());
    };
    let (high, points) = match high.split_once('/') {
        Some((high, points)) => (high, Some(points.trim().parse().map_err(|_| bad(key, format!("`{points}` is no number of points")))?)),
        None => (high, None),
    };
    let number = |text: &str| text.trim().parse::<f64>().map_err(|_| bad(key, format!("`{}` is no number", text.trim())));
    range(key, number(low)?, number(high)?, log, points)
}

fn of_map(key: &str, map: &Map<String, Value>) -> Result<Domain, Fault> {
    if let Some(odd) = map.keys().find(|k| !["low", "high", "log", "points"].contains(&k.as_str())) {
        return Err(bad(key, format!("`{odd}` is none of low, high, log, points")));
    }
    let number = |name: &str| {
        // 1e-5 is text in YAML 1.1, and people write it.
        let value = map.get(name).ok_or_else(|| bad(key, format!("`{name}` is missing")))?;
        let parsed = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
        parsed.ok_or_else(|| bad(key, format!("{name}: `{value}` is no number")))
    };
    let log = match map.get("log") {
        None => false,
        Some(Value::Bool(log)) => *log,
        Some(other) => return Err(bad(key, format!("log: `{other}` is not true or false"))),
    };
    let points = map.get("points").map(|p| p.as_u64().ok_or_else(|| bad(key, format!("points: `{p}` is no number")))).transpose()?;
    range(key, number("low")?, number("high")?, log, points.map(|p| p as usize))
}

fn range(key: &str, low: f64, high: f64, log: bool, points: Option<usize>) -> Result<Domain, Fault> {
    let whole = is_whole(key);
    if !(low.is_finite() && high.is_finite() && low < high) {
        return Err(bad(key, format!("{low}..{high} is no range: the first number must be the smaller one")));
    }
    if log && low <= 0.0 {
        return Err(bad(key, format!("log: needs numbers above 0, and the range begins at {low}")));
    }
    if whole && (low.fract() != 0.0 || high.fract() != 0.0 || low < 0.0 || high > 9e15) {
        return Err(bad(key, format!("{low}..{high}: it is a whole number, and so must the ends be")));
    }
    let points = points.unwrap_or(POINTS);
    if !(2..=1000).contains(&points) {
        return Err(bad(key, format!("{points} points: a grid takes 2 to 1000 of a range")));
    }
    Ok(Domain::Range { low, high, log, whole, points })
}

fn choice(key: &str, values: Vec<Value>) -> Result<Domain, Fault> {
    if values.len() < 2 {
        return Err(bad(key, "one value is no choice").hint("give at least two, or set it with --set"));
    }
    if values.len() > MOST {
        return Err(bad(key, format!("{} choices: at most {MOST} are taken", values.len())));
    }
    for (i, value) in values.iter().enumerate() {
        if values[..i].contains(value) {
            return Err(bad(key, format!("`{value}` is named twice")));
        }
    }
    Ok(Domain::Choice(values))
}

/// Parts between commas that stand outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0i32, 0, Vec::new());
    for (i, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth <= 0 => {
                parts.push(text[from..i].trim());
                from = i + 1;
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    parts.retain(|p| !p.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(text: &str) -> Result<Parameter, Fault> {
        Ok(Space::from_arguments(&[text.to_owned()])?.parameters.remove(0))
    }

    #[test]
    fn arguments_and_trees_say_the_same() {
        let range = |low, high, log, whole, points| Domain::Range { low, high, log, whole, points };
        for (text, key, domain) in [
            ("lr=log:1e-5..1e-3", "training.stage1.learning_rate", range(1e-5, 1e-3, true, false, 4)),
            ("training.stage2.learning_rate=0.1..0.2/7", "training.stage2.learning_rate", range(0.1, 0.2, false, false, 7)),
            ("rank=2..64", "lora.rank", range(2.0, 64.0, false, true, 4)),
            ("lora.rank=4, 8,16", "lora.rank", Domain::Choice(vec![json!(4), json!(8), json!(16)])),
            ("batch_size=1..8", "training.stage1.batch_size", range(1.0, 8.0, false, true, 4)),
            ("optimizer=adamw,adamw8bit", "training.optimizer", Domain::Choice(vec![json!("adamw"), json!("adamw8bit")])),
        ] {
            let want = Parameter { key: key.into(), domain };
            assert_eq!(of(text).unwrap(), want, "{text}");
            let (name, values) = text.split_once('=').unwrap();
            assert_eq!(Space::from_value(&json!({ name: values })).unwrap().parameters, [want], "{text}");
        }
        let tree = json!({
            "training": {"stage1": {"learning_rate": {"low": "1e-5", "high": 1e-3, "log": true}}},
            "lora": {"rank": [4, 8], "target_modules": [["q_proj"], ["q_proj", "v_proj"]]},
        });
        let space = Space::from_value(&tree).unwrap();
        assert_eq!(space.parameters[0], of("lr=log:1e-5..1e-3").unwrap());
        assert_eq!(space.parameters[2].domain, Domain::Choice(vec![json!(["q_proj"]), json!(["q_proj", "v_proj"])]));
        // What is kept on disk reads as the same.
        let text = serde_json::to_string(&space).unwrap();
        assert_eq!(serde_json::from_str::<Space>(&text).unwrap(), space);
    }

    #[test]
    fn what_is_no_space_is_refused_with_its_reason() {
        for (text, word) in [
            ("lr", "KEY=VALUES"),
            ("zebra=1,2", "no setting"),
            ("lr=1e-3..1e-5", "smaller"),
            ("lr=log:0..1", "above 0"),
            ("lr=a..b", "no number"),
            ("lr=1..inf", "no range"),
            ("rank=1.5..4", "whole number"),
            ("rank=8", "no choice"),
            ("rank=8,8", "twice"),
            ("lr=log:1,2", "range"),
            ("rank=1..8/1", "points"),
        ] {
            let fault = of(text).unwrap_err();
            assert!(fault.message.contains(word) && fault.code == "bad_space", "{text}: {fault}");
        }
        for (tree, word) in [
            (json!([]), "mapping"),
            (json!({}), "empty"),
            (json!({"lora": {"rank": 3}}), "neither"),
            (json!({"lr": {"low": 1}}), "missing"),
            (json!({"lr": {"low": 1, "high": 2, "step": 1}}), "`step`"),
            (json!({"lora.rank": [1, 2], "lora": {"rank": [3, 4]}}), "twice"),
        ] {
            assert!(Space::from_value(&tree).unwrap_err().message.contains(word), "{tree}");
        }
    }
}
