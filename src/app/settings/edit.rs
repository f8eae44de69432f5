//! Changing one key in the text of a YAML file, line by line, so that comments and order stay.

use serde_json::{Map, Value};

/// A line `key: rest`, with its indentation.
struct Line<'a> {
    indent: usize,
    key: &'a str,
    rest: &'a str,
}

fn line(text: &str) -> Option<Line<'_>> {
    let body = text.trim_start_matches(' ');
    let (key, rest) = body.split_once(':')?;
    let is_word = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (is_word && (rest.is_empty() || rest.starts_with(' '))).then(|| Line { indent: text.len() - body.len(), key, rest: rest.trim() })
}

fn is_empty(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.starts_with('#')
}

/// The lines that belong to the value of line `at`: what is indented further, and a list at the same depth.
fn end_of(lines: &[String], at: usize, indent: usize) -> usize {
    let inside = |text: &str| {
        let depth = text.len() - text.trim_start_matches(' ').len();
        depth > indent || (depth == indent && text.trim_start().starts_with("- "))
    };
    let mut end = at + 1;
    for (i, text) in lines.iter().enumerate().skip(at + 1) {
        if is_empty(text) {
            continue;
        }
        if !inside(text) {
            break;
        }
        end = i + 1;
    }
    end
}

/// The text with a key set; null takes it out. What cannot be done is left as it was: the caller compares.
pub(super) fn set(text: &str, key: &str, value: &Value) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let parts: Vec<&str> = key.split('.').collect();
    place(&mut lines, &parts, value);
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// Walks down the sections as far as they exist, and writes where they end.
fn place(lines: &mut Vec<String>, parts: &[&str], value: &Value) {
    let (mut from, mut to, mut depth) = (0, lines.len(), 0);
    for (i, part) in parts.iter().enumerate() {
        let first = (from..to).find_map(|n| line(&lines[n]).filter(|_| !is_empty(&lines[n])).map(|l| l.indent));
        depth = first.unwrap_or(depth);
        let found = (from..to).find(|n| line(&lines[*n]).is_some_and(|l| l.indent == depth && l.key == *part));
        let Some(at) = found else { return insert(lines, to, depth, &parts[i..], value) };
        let end = end_of(lines, at, depth);
        if i + 1 == parts.len() {
            return replace(lines, at, end, depth, part, value);
        }
        let rest = line(&lines[at]).map(|l| l.rest.to_owned()).unwrap_or_default();
        if !rest.is_empty() && !rest.starts_with('#') {
            return within_flow(lines, at, depth, part, &rest, &parts[i + 1..], value);
        }
        (from, to, depth) = (at + 1, end, depth + 2);
    }
}

fn insert(lines: &mut Vec<String>, at: usize, depth: usize, parts: &[&str], value: &Value) {
    if value.is_null() {
        return;
    }
    let last = parts.len() - 1;
    let new = parts.iter().enumerate().map(|(i, part)| {
        let space = " ".repeat(depth + 2 * i);
        if i == last { format!("{space}{part}: {value}") } else { format!("{space}{part}:") }
    });
    lines.splice(at..at, new);
}

fn replace(lines: &mut Vec<String>, at: usize, end: usize, depth: usize, key: &str, value: &Value) {
    let old = &lines[at];
    // A remark behind a plain value stays.
    let remark = old.find(" #").filter(|_| !old.contains(['"', '\''])).map(|i| old[i..].trim_start().to_owned());
    let new = (!value.is_null()).then(|| {
        let remark = remark.map(|r| format!("  {r}")).unwrap_or_default();
        format!("{}{key}: {value}{remark}", " ".repeat(depth))
    });
    lines.splice(at..end, new);
}

/// `section: {a: 1, b: 2}` on one line. JSON is YAML.
fn within_flow(lines: &mut [String], at: usize, depth: usize, key: &str, rest: &str, below: &[&str], value: &Value) {
    let Value::Object(mut map) = crate::config::yaml_value(rest) else { return };
    let mut inner = &mut map;
    for part in &below[..below.len() - 1] {
        let child = inner.entry(*part).or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(next) = child else { return };
        inner = next;
    }
    let last = below[below.len() - 1];
    match value {
        Value::Null => drop(inner.remove(last)),
        value => drop(inner.insert(last.to_owned(), value.clone())),
    }
    lines[at] = format!("{}{key}: {}", " ".repeat(depth), Value::Object(map));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_set_where_they_belong() {
        let text = "# top\nbase_model:\n  model_id: a/b  # the base\n\ntraining:\n    seed: 1\n    stage1:\n        iterations: 5\nlora: {rank: 4, target_modules: [q_proj]}\n\
                    dataset:\n  path: x\n";
        let check = |key: &str, value: Value, from: &str, to: &str| {
            let got = set(text, key, &value);
            let want = if from.is_empty() { format!("{text}{to}") } else { text.replacen(from, to, 1) };
            assert_eq!(got, want, "{key}");
        };
        check("base_model.model_id", json!("c/d"), "model_id: a/b", "model_id: \"c/d\"");
        check("training.seed", json!(7), "seed: 1", "seed: 7");
        check("training.seed", Value::Null, "    seed: 1\n", "");
        check("training.stage1.iterations", json!(9), "iterations: 5", "iterations: 9");
        check("training.stage1.batch_size", json!(2), "iterations: 5", "iterations: 5\n        batch_size: 2");
        check("training.early_stopping.patience", json!(3), "iterations: 5", "iterations: 5\n    early_stopping:\n      patience: 3");
        check("lora.rank", json!(8), "lora: {rank: 4, target_modules: [q_proj]}", "lora: {\"rank\":8,\"target_modules\":[\"q_proj\"]}");
        check("device", json!("cpu"), "", "device: \"cpu\"\n");
        check("dataset.path", json!("y"), "path: x", "path: \"y\"");
        check("wandb.project", Value::Null, "", "");
        let list = "lora:\n  target_modules:\n  - q_proj\n  - v_proj\n  rank: 2\n";
        assert_eq!(set(list, "lora.target_modules", &json!(["k_proj"])), "lora:\n  target_modules: [\"k_proj\"]\n  rank: 2\n");
    }
}
