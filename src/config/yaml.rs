//! YAML to dotted keys with line numbers.

use std::path::Path;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde_json::{Value, json};

use super::layer::{Layer, Said};
use super::problem::{Origin, Problem};

/// Reads the text of a configuration file. `sections` says whether a dotted key is a section of the schema.
pub(super) fn read(path: &Path, text: &str, is_section: impl Fn(&str) -> bool, problems: &mut Vec<Problem>) -> Layer {
    let at = |line: usize| Origin::File { path: path.to_path_buf(), line };
    let whole = |line, message: String| Problem { origin: at(line), key: String::new(), message, hint: None };
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
            Scalar::FloatingPoint(x) => json!(x.into_inner()),
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

/// One value on its own, as it would stand behind a key. What is not YAML is text.
pub(super) fn scalar(text: &str) -> Value {
    match MarkedYaml::load_from_str(text) {
        Ok(documents) if documents.len() == 1 => plain(&documents[0]),
        _ => json!(text),
    }
}
