//! Calls and literals in Python's syntax, as the Berkeley Function-Calling Leaderboard asks for them.

use serde_json::{Map, Number, Value};

use super::{Parsed, ToolCall, broken};

/// Deepest nesting that is read.
const DEEPEST: usize = 64;

/// `[f(a=1), g(b="x")]`, or one call without brackets. Only a text that is calls from end to end counts;
/// anything else is text without calls.
pub(super) fn calls(text: &str) -> Parsed {
    let body = text.trim().trim_matches('\'').trim();
    let body = body.strip_prefix("```python").or(body.strip_prefix("```")).map_or(body, |b| b.trim_end_matches('`')).trim();
    let mut reader = Reader { text: body, at: 0, depth: 0 };
    match reader.call_list() {
        Ok(calls) => Parsed { calls, ..Parsed::default() },
        Err(why) => {
            let mut parsed = Parsed { text: text.to_owned(), ..Parsed::default() };
            if is_begun(body) {
                parsed.broken.push(broken(body, why));
            }
            parsed
        }
    }
}

/// Whether a text that cannot be read begins as a call: `[name(key=`.
fn is_begun(body: &str) -> bool {
    let body = body.strip_prefix('[').unwrap_or(body).trim_start();
    let Some(open) = body.find('(') else { return false };
    let is_dotted = |name: &str| name.split('.').all(|p| !p.is_empty() && p.chars().all(|c| c.is_alphanumeric() || c == '_'));
    let after = body[open + 1..].trim_start();
    let key: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    is_dotted(&body[..open]) && (after.starts_with(')') || (!key.is_empty() && after[key.len()..].trim_start().starts_with('=')))
}

/// One Python literal; `None` where the text is none.
pub fn parse_value(text: &str) -> Option<Value> {
    let mut reader = Reader { text: text.trim(), at: 0, depth: 0 };
    let value = reader.value().ok()?;
    reader.space();
    reader.rest().is_empty().then_some(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn peek(&mut self) -> Option<char> {
        self.space();
        self.rest().chars().next()
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.at += if found { c.len_utf8() } else { 0 };
        found
    }

    fn expect(&mut self, c: char) -> Result<(), String> {
        if self.take(c) { Ok(()) } else { Err(format!("`{c}` is missing at byte {}", self.at)) }
    }

    fn call_list(&mut self) -> Result<Vec<ToolCall>, String> {
        let mut calls = Vec::new();
        if self.take('[') {
            while !self.take(']') {
                calls.push(self.call()?);
                if !self.take(',') {
                    self.expect(']')?;
                    break;
                }
            }
        } else {
            calls.push(self.call()?);
            while self.take(',') {
                calls.push(self.call()?);
            }
        }
        match self.peek() {
            None => Ok(calls),
            Some(_) => Err(format!("text stands after the calls, at byte {}", self.at)),
        }
    }

    fn call(&mut self) -> Result<ToolCall, String> {
        let name = self.dotted()?;
        self.expect('(')?;
        Ok(ToolCall::new(name, self.keywords()?))
    }

    /// `key=value, ...)`, the opening bracket already read.
    fn keywords(&mut self) -> Result<Map<String, Value>, String> {
        let mut arguments = Map::new();
        while !self.take(')') {
            let key = self.word()?;
            self.expect('=')?;
            if arguments.insert(key.clone(), self.value()?).is_some() {
                return Err(format!("argument `{key}` stands twice"));
            }
            if !self.take(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(arguments)
    }

    fn word(&mut self) -> Result<String, String> {
        self.space();
        let word: String = self.rest().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if word.is_empty() || word.starts_with(|c: char| c.is_numeric()) {
            return Err(format!("a name is missing at byte {}", self.at));
        }
        self.at += word.len();
        Ok(word)
    }

    fn dotted(&mut self) -> Result<String, String> {
        let mut name = self.word()?;
        while self.rest().starts_with('.') {
            self.at += 1;
            name.push('.');
            name.push_str(&self.word()?);
        }
        Ok(name)
    }

    fn value(&mut self) -> Result<Value, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("nested deeper than {DEEPEST}"));
        }
        let value = self.value_inside();
        self.depth -= 1;
        value
    }

    fn value_inside(&mut self) -> Result<Value, String> {
        match self.peek() {
            Some('[') => self.sequence('[', ']'),
            Some('(') => self.sequence('(', ')'),
            Some('{') => self.dict(),
            Some('"' | '\'') => self.strings(""),
            Some(c) if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number(),
            Some(_) => self.named(),
            None => Err("a value is missing at the end".into()),
        }
    }

    fn sequence(&mut self, open: char, close: char) -> Result<Value, String> {
        self.expect(open)?;
        let mut list = Vec::new();
        let mut commas = 0;
        while !self.take(close) {
            list.push(self.value()?);
            if !self.take(',') {
                self.expect(close)?;
                break;
            }
            commas += 1;
        }
        // Brackets around one value without a comma only group it.
        if open == '(' && list.len() == 1 && commas == 0 {
            return Ok(list.remove(0));
        }
        Ok(Value::Array(list))
    }

    fn dict(&mut self) -> Result<Value, String> {
        self.expect('{')?;
        let mut map = Map::new();
        while !self.take('}') {
            let key = match self.value()? {
                Value::String(key) => key,
                other => other.to_string(),
            };
            self.expect(':')?;
            let value = self.value()?;
            map.insert(key, value);
            if !self.take(',') {
                self.expect('}')?;
                break;
            }
        }
        Ok(Value::Object(map))
    }

    /// One string or several next to each other, which Python joins.
    fn strings(&mut self, prefix: &str) -> Result<Value, String> {
        let mut out = self.string(prefix.contains(['r', 'R']))?;
        while matches!(self.peek(), Some('"' | '\'')) {
            out.push_str(&self.string(false)?);
        }
        Ok(Value::String(out))
    }

    fn string(&mut self, raw: bool) -> Result<String, String> {
        let quote = self.rest().chars().next().unwrap_or('"');
        let triple: String = [quote; 3].iter().collect();
        let end: String = if self.rest().starts_with(&triple) { triple } else { quote.to_string() };
        self.at += end.len();
        let mut out = String::new();
        loop {
            if self.rest().starts_with(&end) {
                self.at += end.len();
                return Ok(out);
            }
            let Some(c) = self.rest().chars().next() else { return Err("a string does not end".into()) };
            self.at += c.len_utf8();
            match c {
                '\\' if !raw => self.escape(&mut out)?,
                '\n' if end.len() == 1 => return Err("a string does not end in its line".into()),
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), String> {
        let Some(c) = self.rest().chars().next() else { return Err("a string ends in a backslash".into()) };
        self.at += c.len_utf8();
        let plain = match c {
            'n' => Some('\n'),
            't' => Some('\t'),
            'r' => Some('\r'),
            '\\' | '\'' | '"' => Some(c),
            _ => None,
        };
        if let Some(plain) = plain {
            out.push(plain);
            return Ok(());
        }
        let width = match c {
            '\n' => return Ok(()),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            other => {
                out.extend(['\\', other]);
                return Ok(());
            }
        };
        let code = self.rest().get(..width).and_then(|hex| u32::from_str_radix(hex, 16).ok()).ok_or("a broken escape in a string")?;
        self.at += width;
        out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        Ok(())
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        let negative = self.rest().starts_with('-');
        self.at += usize::from(self.rest().starts_with(['-', '+']));
        self.space();
        let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
        let mut digits: String = self.rest().chars().take_while(fits).collect();
        self.at += digits.len();
        if digits.ends_with(['e', 'E']) && self.rest().starts_with(['-', '+']) {
            let sign = self.rest().chars().next().unwrap_or('+');
            self.at += 1;
            let exponent: String = self.rest().chars().take_while(char::is_ascii_digit).collect();
            self.at += exponent.len();
            digits.extend([sign]);
            digits.push_str(&exponent);
        }
        let digits = digits.replace('_', "");
        let value = number_of(&digits, negative).ok_or_else(|| format!("no number at byte {start}"))?;
        self.operators(value)
    }

    /// `a / b` and `a * b` between numbers, which models write for fractions.
    fn operators(&mut self, left: Value) -> Result<Value, String> {
        let Some(c @ ('*' | '/' | '+' | '-')) = self.peek() else { return Ok(left) };
        self.at += 1;
        let power = c == '*' && self.rest().starts_with('*');
        self.at += usize::from(power);
        let right = self.value()?;
        let (Some(a), Some(b)) = (left.as_f64(), right.as_f64()) else { return Err("arithmetic on something that is no number".into()) };
        let whole = left.is_i64() && right.is_i64();
        let result = match c {
            '*' if power => a.powf(b),
            '*' => a * b,
            '+' => a + b,
            '-' => a - b,
            _ => a / b,
        };
        if whole && c != '/' && result.fract() == 0.0 && result.abs() < 9e15 {
            return Ok(Value::from(result as i64));
        }
        Number::from_f64(result).map(Value::Number).ok_or_else(|| "arithmetic without a finite result".to_owned())
    }

    /// `True`, `None`, a prefixed string, a name, or a call as a value.
    fn named(&mut self) -> Result<Value, String> {
        let start = self.at;
        let name = self.dotted()?;
        match name.as_str() {
            "True" | "true" => return Ok(Value::Bool(true)),
            "False" | "false" => return Ok(Value::Bool(false)),
            "None" | "null" => return Ok(Value::Null),
            prefix if prefix.len() <= 2 && self.rest().starts_with(['"', '\'']) => return self.strings(&name),
            _ => {}
        }
        match self.peek() {
            Some('(') => {
                self.at += 1;
                let inside = self.at;
                if let Ok(arguments) = self.keywords()
                    && !arguments.is_empty()
                {
                    return Ok(Value::Object(Map::from_iter([(name, Value::Object(arguments))])));
                }
                self.at = inside;
                self.skip_to_close()?;
                Ok(Value::String(self.text[start..self.at].to_owned()))
            }
            Some('[') => {
                self.value()?;
                Ok(Value::String(self.text[start..self.at].to_owned()))
            }
            _ => Ok(Value::String(name)),
        }
    }

    /// Values by position up to the closing bracket of a call.
    fn skip_to_close(&mut self) -> Result<(), String> {
        while !self.take(')') {
            self.value()?;
            if !self.take(',') {
                return self.expect(')');
            }
        }
        Ok(())
    }
}

fn number_of(digits: &str, negative: bool) -> Option<Value> {
    let sign = if negative { "-" } else { "" };
    for (prefix, radix) in [("0x", 16), ("0b", 2), ("0o", 8)] {
        if let Some(rest) = digits.strip_prefix(prefix) {
            return i64::from_str_radix(&format!("{sign}{rest}"), radix).ok().map(Value::from);
        }
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let text = format!("{sign}{digits}");
    if digits.bytes().all(|b| b.is_ascii_digit())
        && let Ok(whole) = text.parse::<i64>()
    {
        return Some(Value::from(whole));
    }
    Number::from_f64(text.parse().ok()?).map(Value::Number)
}
