//! Values written the way Python writes them: `json.dumps` for the `tojson` filter, `str()` for `{{ value }}`.
//! Templates are written against Python, and a space or a quote in the wrong place is another prompt.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::guard::OUTPUT_BYTES;

/// The arguments of `json.dumps` that templates use.
#[derive(Debug, Clone)]
pub(super) struct JsonStyle {
    pub ensure_ascii: bool,
    pub indent: Option<usize>,
    pub item_separator: String,
    pub key_separator: String,
    pub sort_keys: bool,
}

impl JsonStyle {
    /// Python's defaults: `", "` and `": "`, a bare comma at line ends when indenting.
    pub fn new(ensure_ascii: bool, indent: Option<usize>, separators: Option<(String, String)>, sort_keys: bool) -> Self {
        let comma = if indent.is_some() { "," } else { ", " };
        let (item_separator, key_separator) = separators.unwrap_or_else(|| (comma.into(), ": ".into()));
        Self { ensure_ascii, indent, item_separator, key_separator, sort_keys }
    }
}

/// `json.dumps(value)`.
pub(super) fn json(value: &Value, style: &JsonStyle) -> Result<String, Error> {
    let mut out = String::new();
    write_json(&mut out, value, style, 0)?;
    Ok(out)
}

/// Deepest value that is written: a namespace can hold itself.
const DEEPEST: usize = 64;

fn write_json(out: &mut String, value: &Value, style: &JsonStyle, depth: usize) -> Result<(), Error> {
    if depth > DEEPEST || out.len() > OUTPUT_BYTES {
        return Err(Error::new(ErrorKind::InvalidOperation, "tojson: the value is too deep or too long, or holds itself"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::String => quote_json(out, value.as_str().unwrap_or_default(), style.ensure_ascii),
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.collect();
            bracketed(out, ['[', ']'], items.len(), style, depth, |out, i| write_json(out, &items[i], style, depth + 1))?;
        }
        ValueKind::Map => {
            let mut keys: Vec<Value> = value.try_iter()?.collect();
            if style.sort_keys {
                keys.sort();
            }
            bracketed(out, ['{', '}'], keys.len(), style, depth, |out, i| {
                quote_json(out, &json_key(&keys[i]), style.ensure_ascii);
                out.push_str(&style.key_separator);
                write_json(out, &value.get_item(&keys[i])?, style, depth + 1)
            })?;
        }
        kind => return Err(Error::new(ErrorKind::InvalidOperation, format!("tojson: a value of kind {kind} is not JSON serializable"))),
    }
    Ok(())
}

fn bracketed(
    out: &mut String,
    ends: [char; 2],
    len: usize,
    style: &JsonStyle,
    depth: usize,
    mut item: impl FnMut(&mut String, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let new_line = |out: &mut String, depth: usize| {
        if let Some(width) = style.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', width * depth));
        }
    };
    out.push(ends[0]);
    for i in 0..len {
        if i > 0 {
            out.push_str(&style.item_separator);
        }
        new_line(out, depth + 1);
        item(out, i)?;
    }
    if len > 0 {
        new_line(out, depth);
    }
    out.push(ends[1]);
    Ok(())
}

fn json_key(key: &Value) -> String {
    match key.kind() {
        ValueKind::String => key.as_str().unwrap_or_default().to_string(),
        ValueKind::None => "null".into(),
        ValueKind::Bool => if key.is_true() { "true" } else { "false" }.into(),
        _ => number(key),
    }
}

fn quote_json(out: &mut String, text: &str, ensure_ascii: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || (ensure_ascii && (c as u32) >= 0x7f) => {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    match f64::try_from(value.clone()) {
        Ok(v) if v.is_nan() => "NaN".into(),
        Ok(v) if v.is_infinite() => if v > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        Ok(v) => float(v),
        Err(_) => value.to_string(),
    }
}

/// `repr(float)`: shortest digits, an exponent below 1e-4 and from 1e16 on.
fn float(v: f64) -> String {
    let scientific = format!("{v:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if v != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{v}");
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}

/// `str(value)`: what `{{ value }}` prints.
pub(super) fn text(value: &Value) -> String {
    match value.kind() {
        ValueKind::Undefined => String::new(),
        ValueKind::String => value.as_str().unwrap_or_default().to_string(),
        _ => {
            let mut out = String::new();
            repr(&mut out, value, 0);
            out
        }
    }
}

fn repr(out: &mut String, value: &Value, depth: usize) {
    // As Python does where a value holds itself; one that does so twice over would never end.
    if depth > DEEPEST || out.len() > OUTPUT_BYTES {
        return out.push_str("...");
    }
    match value.kind() {
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => out.push_str(&match f64::try_from(value.clone()) {
            Ok(v) if !value.is_integer() && !v.is_finite() => format!("{v}").to_lowercase(),
            _ => number(value),
        }),
        ValueKind::String => out.push_str(&quote_python(value.as_str().unwrap_or_default())),
        ValueKind::Seq => joined(out, ['[', ']'], value, |out, item| repr(out, item, depth + 1)),
        ValueKind::Map => joined(out, ['{', '}'], value, |out, key| {
            repr(out, key, depth + 1);
            out.push_str(": ");
            if let Ok(item) = value.get_item(key) {
                repr(out, &item, depth + 1);
            }
        }),
        _ => out.push_str(&value.to_string()),
    }
}

fn joined(out: &mut String, ends: [char; 2], value: &Value, one: impl Fn(&mut String, &Value)) {
    out.push(ends[0]);
    for (i, item) in value.try_iter().into_iter().flatten().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        one(out, &item);
    }
    out.push(ends[1]);
}

/// Single quotes, unless the text has some and no double ones.
fn quote_python(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}
