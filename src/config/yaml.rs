//! YAML to dotted keys with line numbers.

use std::collections::HashMap;
use std::path::Path;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use saphyr_parser::{Event, Parser};
use serde_json::{Value, json};

use super::layer::{Layer, Said};
use super::problem::{Origin, Problem};

/// Most bytes of a configuration file.
const MOST_BYTES: usize = 16 << 20;
/// Deepest nesting, aliases followed.
const MOST_DEPTH: usize = 64;
/// Most values, aliases followed.
const MOST_VALUES: usize = 1_000_000;

/// Reads the text of a configuration file. `is_section` says whether a dotted key is a section of the schema.
pub(super) fn read(path: &Path, text: &str, is_section: impl Fn(&str) -> bool, problems: &mut Vec<Problem>) -> Layer {
    let at = |line: usize| Origin::File { path: path.to_path_buf(), line };
    let whole = |line, message: String| Problem { origin: at(line), key: String::new(), message, hint: None };
    if let Err((line, message)) = within_limits(text) {
        problems.push(whole(line, message));
        return Layer::new();
    }
    let documents = match MarkedYaml::load_from_str(text) {
        Ok(documents) => documents,
        Err(e) => {
            problems.push(whole(e.marker().line(), format!("not valid YAML: {}", e.info())));
            return Layer::new();
        }
    };
    let mut layer = Layer::new();
    match documents.as_slice() {
        [] => {}
        [one] if matches!(one.data, YamlData::Value(Scalar::Null)) => {}
        [one] => match &one.data {
            YamlData::Mapping(_) => {
                let mut walk = Walk { at: &at, is_section: &is_section, layer: &mut layer, problems };
                walk.mapping("", one);
            }
            _ => problems.push(whole(one.span.start.line(), "expected sections such as `training:`".into())),
        },
        [_, second, ..] => problems.push(whole(second.span.start.line(), "holds more than one YAML document".into())),
    }
    layer
}

/// A list or mapping that is not closed yet.
#[derive(Default)]
struct Open {
    anchor: usize,
    /// Levels below it.
    height: usize,
    /// Values in it, itself included.
    values: usize,
}

/// Refuses text whose tree would be too deep or too large to build: building and freeing it recurses once a level,
/// and an alias stands for a copy of all that it names. Reads the events of the parser, which builds nothing.
fn within_limits(text: &str) -> Result<(), (usize, String)> {
    if text.len() > MOST_BYTES {
        return Err((1, format!("has {} bytes; a configuration file has at most {MOST_BYTES}", text.len())));
    }
    let mut anchors: HashMap<usize, (usize, usize)> = HashMap::new();
    let mut open: Vec<Open> = vec![Open::default()];
    for event in Parser::new_from_str(text) {
        // What is not YAML is reported by the loader, with its place.
        let Ok((event, span)) = event else { return Ok(()) };
        let closed = match event {
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                open.push(Open { anchor, height: 0, values: 1 });
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop(),
            Event::Scalar(_, _, anchor, _) => Some(Open { anchor, height: 0, values: 1 }),
            Event::Alias(anchor) => {
                let (height, values) = anchors.get(&anchor).copied().unwrap_or((0, 1));
                Some(Open { anchor: 0, height, values })
            }
            _ => None,
        };
        let depth = open.len() - 1;
        if let (Some(node), Some(parent)) = (closed, open.last_mut()) {
            if node.anchor > 0 {
                anchors.insert(node.anchor, (node.height, node.values));
            }
            parent.height = parent.height.max(node.height + 1);
            parent.values = parent.values.saturating_add(node.values);
        }
        let deepest = open.last().map_or(0, |o| o.height) + depth;
        let values = open.iter().fold(0usize, |n, o| n.saturating_add(o.values));
        let line = span.start.line();
        if deepest > MOST_DEPTH {
            return Err((line, format!("is nested more than {MOST_DEPTH} levels deep")));
        }
        if values > MOST_VALUES {
            return Err((line, format!("holds more than {MOST_VALUES} values (an alias counts as all that it names)")));
        }
    }
    Ok(())
}

struct Walk<'a> {
    at: &'a dyn Fn(usize) -> Origin,
    is_section: &'a dyn Fn(&str) -> bool,
    layer: &'a mut Layer,
    problems: &'a mut Vec<Problem>,
}

impl Walk<'_> {
    fn mapping(&mut self, prefix: &str, node: &MarkedYaml) {
        let YamlData::Mapping(mapping) = &node.data else { return };
        for (key_node, value) in mapping.iter() {
            let origin = (self.at)(key_node.span.start.line());
            let YamlData::Value(Scalar::String(name)) = &key_node.data else {
                let message = "a key must be a word".to_owned();
                self.problems.push(Problem { origin, key: prefix.to_owned(), message, hint: None });
                continue;
            };
            let key = if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") };
            match &value.data {
                YamlData::Mapping(_) if (self.is_section)(&key) => self.mapping(&key, value),
                // `section:` with nothing under it says nothing.
                YamlData::Value(Scalar::Null) if (self.is_section)(&key) => {}
                _ => {
                    self.layer.insert(key, Said { value: plain(value), origin });
                }
            }
        }
    }
}

fn plain(node: &MarkedYaml) -> Value {
    match &node.data {
        YamlData::Value(scalar) => match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(b) => json!(b),
            Scalar::Integer(i) => json!(i),
            Scalar::FloatingPoint(x) => number(x.into_inner()),
            Scalar::String(s) => json!(s),
        },
        YamlData::Sequence(items) => Value::Array(items.iter().map(plain).collect()),
        YamlData::Mapping(m) => {
            let name = |k: &MarkedYaml| plain(k).as_str().unwrap_or_default().to_owned();
            Value::Object(m.iter().map(|(k, v)| (name(k), plain(v))).collect())
        }
        YamlData::Representation(text, ..) => json!(text),
        YamlData::Tagged(_, inner) => plain(inner),
        _ => Value::Null,
    }
}

/// JSON has no infinity and no NaN: they stay the words that YAML writes them as, so that no key takes them for nothing.
fn number(x: f64) -> Value {
    match x {
        x if x.is_finite() => json!(x),
        x if x.is_nan() => json!(".nan"),
        x if x > 0.0 => json!(".inf"),
        _ => json!("-.inf"),
    }
}

/// One value on its own, as it would stand behind a key. What is not YAML is text.
pub fn scalar(text: &str) -> Value {
    if within_limits(text).is_err() {
        return json!(text);
    }
    match MarkedYaml::load_from_str(text) {
        Ok(documents) if documents.len() == 1 => plain(&documents[0]),
        _ => json!(text),
    }
}
