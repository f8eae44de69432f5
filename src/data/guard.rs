//! Limits of chat templates: they come with models and are foreign code.
//!
//! A template is looked over before it is parsed (size, depth), runs on fuel, writes no more than a
//! limit, and its filters take no width that only an attack would ask for.

use minijinja::value::{Kwargs, Rest, Value, ValueOrKwargs, from_args};
use minijinja::{Environment, Error, ErrorKind, State, filters};

/// Largest template in bytes.
const SOURCE_BYTES: usize = 1 << 20;
/// Most words, numbers and signs in one tag: the depth of an expression is below it.
const TAG_TOKENS: usize = 2_000;
/// Most operators before one operand (`not not x`) and most brackets in brackets.
const DEPTH: usize = 64;
/// Deepest nesting of blocks; each `elif` counts.
const BLOCKS: usize = 200;
/// Steps of one rendering. A chat of 2,000 messages takes about 200,000.
const FUEL: u64 = 10_000_000;
/// What is said when they are used up.
pub(super) const NO_END: &str = "the chat template does not come to an end within 10 million steps";
/// Most bytes of one rendering.
pub(super) const OUTPUT_BYTES: usize = 32 << 20;
/// Largest width of padding and indentation, and largest batch.
const WIDTH: usize = 10_000;

/// What is wrong with the size or depth of a template.
pub(super) fn check_source(source: &str) -> Result<(), String> {
    if source.len() > SOURCE_BYTES {
        return Err(format!("{} bytes; a template may have {SOURCE_BYTES}", source.len()));
    }
    let mut blocks: Vec<usize> = vec![0];
    let mut rest = source;
    let mut line = 1;
    while let Some(at) = rest.find("{%").into_iter().chain(rest.find("{{")).min() {
        line += rest[..at].matches('\n').count();
        let is_block = rest[at..].starts_with("{%");
        let tag = Tag::read(&rest[at + 2..], if is_block { "%}" } else { "}}" });
        if !tag.closed {
            return Err(format!("the tag in line {line} is not closed"));
        }
        if tag.tokens > TAG_TOKENS || tag.depth > DEPTH {
            return Err(format!("the tag in line {line} is too long or too deep to be a chat template"));
        }
        if is_block {
            nest(&mut blocks, tag.first);
        }
        if blocks.iter().sum::<usize>() > BLOCKS {
            return Err(format!("more than {BLOCKS} blocks within one another in line {line}"));
        }
        let next = at + 2 + tag.bytes;
        line += rest[at..next].matches('\n').count();
        rest = &rest[next..];
    }
    Ok(())
}

/// Keeps the number of open blocks: one entry a block, with the levels that its `elif`s add.
fn nest(blocks: &mut Vec<usize>, word: &str) {
    match word {
        "if" | "for" | "macro" | "call" | "filter" | "block" | "with" | "autoescape" | "generation" => blocks.push(1),
        "elif" | "else" => {
            if let Some(last) = blocks.last_mut() {
                *last += 1;
            }
        }
        _ if word.starts_with("end") && blocks.len() > 1 => {
            blocks.pop();
        }
        _ => {}
    }
}

/// One tag: its first word, how many bytes, words and levels it has.
#[derive(Default)]
struct Tag<'a> {
    first: &'a str,
    bytes: usize,
    tokens: usize,
    depth: usize,
    closed: bool,
}

impl<'a> Tag<'a> {
    /// Reads to the closing sign, which is skipped in strings.
    fn read(text: &'a str, close: &str) -> Self {
        let bytes = text.as_bytes();
        let mut tag = Self::default();
        let (mut at, mut open, mut prefix) = (0, 0usize, 0usize);
        while at < bytes.len() && !text.as_bytes()[at..].starts_with(close.as_bytes()) {
            let start = at;
            let mut is_prefix = false;
            match bytes[at] {
                quote @ (b'"' | b'\'') => {
                    at += 1;
                    while at < bytes.len() && bytes[at] != quote {
                        at += 1 + usize::from(bytes[at] == b'\\');
                    }
                    at = (at + 1).min(bytes.len());
                }
                b if b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80 => {
                    while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_' || bytes[at] >= 0x80) {
                        at += 1;
                    }
                    let word = &text[start..at];
                    is_prefix = word == "not";
                    if tag.first.is_empty() {
                        tag.first = word;
                    }
                }
                b if b.is_ascii_whitespace() => {
                    at += 1;
                    continue;
                }
                b => {
                    at += 1;
                    is_prefix = matches!(b, b'-' | b'+');
                    match b {
                        b'(' | b'[' | b'{' => open += 1,
                        b')' | b']' | b'}' => open = open.saturating_sub(1),
                        _ => {}
                    }
                }
            }
            prefix = if is_prefix { prefix + 1 } else { 0 };
            tag.tokens += 1;
            tag.depth = tag.depth.max(open).max(prefix);
        }
        tag.closed = bytes[at.min(bytes.len())..].starts_with(close.as_bytes());
        tag.bytes = (at + close.len()).min(bytes.len());
        tag
    }
}

/// Sets the limits of an environment.
pub(super) fn limit(environment: &mut Environment<'_>) {
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(100);
    environment.add_filter("indent", indent);
    environment.add_filter("batch", |state: &State, value: Value, count: usize, fill: Option<Value>| {
        narrow(count).and_then(|()| filters::batch(state, value, count, fill))
    });
    environment.add_filter("slice", |state: &State, value: Value, count: usize, fill: Option<Value>| {
        narrow(count).and_then(|()| filters::slice(state, value, count, fill))
    });
    environment.add_filter("format", |state: &mut State, format: &Value, args: Rest<ValueOrKwargs>| {
        widths(format.as_str().unwrap_or_default(), &[])?;
        filters::format(state, format, args)
    });
}

fn indent(value: Value, width: Option<usize>, first: Option<bool>, blank: Option<bool>, kwargs: Kwargs) -> Result<String, Error> {
    let width = width.map_or_else(|| kwargs.get::<Option<usize>>("width"), |w| Ok(Some(w)))?;
    let first = first.map_or_else(|| kwargs.get::<Option<bool>>("first"), |f| Ok(Some(f)))?;
    let blank = blank.map_or_else(|| kwargs.get::<Option<bool>>("blank"), |b| Ok(Some(b)))?;
    kwargs.assert_all_used()?;
    let (width, first, blank) = (width.unwrap_or(4), first.unwrap_or(false), blank.unwrap_or(false));
    narrow(width)?;
    let text = super::python::text(&value);
    narrow_total(width.saturating_mul(text.matches('\n').count() + 1))?;
    let line = |(i, line): (usize, &str)| {
        let wanted = if i == 0 { first } else { blank || !line.is_empty() };
        if wanted { format!("{}{line}", " ".repeat(width)) } else { line.to_owned() }
    };
    Ok(text.split('\n').enumerate().map(line).collect::<Vec<_>>().join("\n"))
}

/// Python's methods, with the widths of `format` looked at first.
pub(super) fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if let (Some(text), "format") = (value.as_str(), name) {
        let (rest,): (Rest<Value>,) = from_args(args)?;
        widths(text, &rest)?;
    }
    if let (Some(text), "replace") = (value.as_str(), name)
        && let [old, new, ..] = args
        && let (Some(old), Some(new)) = (old.as_str(), new.as_str())
    {
        let times = if old.is_empty() { text.len() + 1 } else { text.matches(old).count() };
        narrow_total(times.saturating_mul(new.len()))?;
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args)
}

/// No number in a format may be a width that fills memory; nor may one that is passed as a width.
fn widths(format: &str, args: &[Value]) -> Result<(), Error> {
    let numbers = format.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty());
    for number in numbers {
        narrow(number.parse().unwrap_or(usize::MAX))?;
    }
    if format.contains("%*") || format.contains(".*") {
        return Err(Error::new(ErrorKind::InvalidOperation, "a width that is itself an argument"));
    }
    if format.contains(":{") {
        args.iter().filter_map(|v| v.as_i64()).try_for_each(|n| narrow(n.unsigned_abs() as usize))?;
    }
    Ok(())
}

fn narrow(width: usize) -> Result<(), Error> {
    if width <= WIDTH {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidOperation, format!("a width of {width}; at most {WIDTH}")))
}

fn narrow_total(bytes: usize) -> Result<(), Error> {
    if bytes <= OUTPUT_BYTES {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidOperation, too_much_output()))
}

/// The refusal of an output beyond the limit.
pub(super) fn too_much_output() -> String {
    format!("the template writes more than {} MiB", OUTPUT_BYTES >> 20)
}

/// Takes text up to the limit.
#[derive(Default)]
pub(super) struct Limited {
    bytes: Vec<u8>,
    full: bool,
}

impl Limited {
    /// Whether more came than fits.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// The text.
    pub(super) fn text(self) -> Result<String, String> {
        String::from_utf8(self.bytes).map_err(|_| "the template writes broken text".to_owned())
    }
}

impl std::io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > OUTPUT_BYTES {
            self.full = true;
            return Err(std::io::Error::other("full"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
