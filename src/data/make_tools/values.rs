//! Values for arguments: by the schema first, then by meaning. Each comes with how people say it.

use jiff::civil::Date;
use jiff::{Span, ToSpan};
use serde_json::{Map, Number, Value, json};

use super::meaning::{Meaning, meaning, words};
use super::pools::*;
use crate::data::random::Rng;

/// A value, and how it stands in a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub value: Value,
    pub text: String,
    /// Said relative to the day ("tomorrow"), so that no preposition stands before it.
    pub is_relative: bool,
    /// Said as "the id from the result", not as itself.
    pub is_reference: bool,
}

impl Said {
    fn plain(value: Value) -> Self {
        let text = match &value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Self { value, text, is_relative: false, is_reference: false }
    }

    fn as_text(value: impl Into<Value>, text: impl Into<String>) -> Self {
        Self { value: value.into(), text: text.into(), is_relative: false, is_reference: false }
    }
}

/// What values are made with.
pub(super) struct Maker<'a> {
    pub rng: &'a mut Rng,
    /// The day that the request is made on.
    pub today: Date,
    /// The whole schema, for references into it.
    pub root: &'a Value,
}

/// Deepest value that is made: schemas can hold themselves.
const DEEPEST: usize = 6;

impl Maker<'_> {
    pub(super) fn pick<'p, T>(&mut self, pool: &'p [T]) -> &'p T {
        &pool[self.rng.below(pool.len() as u64) as usize]
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.rng.below((high.saturating_sub(low).max(0) as u64).saturating_add(1)) as i64
    }

    /// A value for an argument called `name`.
    pub(super) fn value(&mut self, name: &str, schema: &Value, depth: usize) -> Said {
        let schema = self.resolved(schema, depth);
        let schema = &schema;
        if depth > DEEPEST {
            return Said::plain(Value::Null);
        }
        if let Some(fixed) = schema.get("const") {
            return Said::plain(fixed.clone());
        }
        if let Some(list) = schema.get("enum").and_then(Value::as_array).filter(|l| !l.is_empty()) {
            let list: Vec<&Value> = list.iter().filter(|v| !v.is_null() || list.len() == 1).collect();
            return Said::plain((*self.pick(&list)).clone());
        }
        let examples = schema.get("examples").and_then(Value::as_array).filter(|l| !l.is_empty());
        if let Some(list) = examples
            && self.rng.below(3) == 0
        {
            return Said::plain(self.pick(list).clone());
        }
        match kind(schema) {
            "integer" => self.integer(name, schema),
            "number" => self.number(name, schema),
            "boolean" => Said::plain(json!(self.rng.below(2) == 0)),
            "array" => self.array(name, schema, depth),
            "object" => self.object(schema, depth),
            "null" => Said::plain(Value::Null),
            _ => self.string(name, schema),
        }
    }

    /// A reference followed, and one branch of `anyOf`, `oneOf` or `allOf` taken.
    fn resolved(&mut self, schema: &Value, depth: usize) -> Value {
        let mut schema = schema.clone();
        for _ in 0..8 {
            if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
                schema = target.strip_prefix('#').and_then(|p| self.root.pointer(p)).cloned().unwrap_or(json!({}));
                continue;
            }
            let branch = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(*key)?.as_array());
            if let Some(list) = branch {
                let null = |v: &&Value| v.get("type").and_then(Value::as_str) != Some("null");
                let list: Vec<&Value> = list.iter().filter(null).collect();
                if list.is_empty() {
                    return json!({"type": "null"});
                }
                // Deep inside, the first branch: it is the simplest one as people write schemas.
                let at = if depth > 2 { 0 } else { self.rng.below(list.len() as u64) as usize };
                schema = list[at].clone();
                continue;
            }
            if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
                let mut merged = Map::new();
                parts.iter().filter_map(Value::as_object).for_each(|p| merged.extend(p.clone()));
                schema = Value::Object(merged);
                continue;
            }
            break;
        }
        schema
    }

    fn bounds(schema: &Value, low: i64, high: i64) -> (i64, i64) {
        let whole = |key: &str| schema.get(key).and_then(Value::as_f64);
        let mut min = whole("minimum").map(|v| v.ceil() as i64);
        let mut max = whole("maximum").map(|v| v.floor() as i64);
        min = whole("exclusiveMinimum").map(|v| v.floor() as i64 + 1).or(min);
        max = whole("exclusiveMaximum").map(|v| v.ceil() as i64 - 1).or(max);
        let low_end = min.map_or(low.min(max.unwrap_or(low)), |m| m.max(low.min(max.unwrap_or(low))));
        let low_end = min.map_or(low_end, |m| low_end.max(m));
        let high_end = max.map_or(high.max(low_end), |m| m.min(high.max(low_end)));
        (low_end, high_end.max(low_end))
    }

    fn integer(&mut self, name: &str, schema: &Value) -> Said {
        let meaning = meaning(name, schema);
        let (low, high) = match meaning {
            Meaning::Year => (1950, 2030),
            Meaning::Age => (18, 80),
            Meaning::Amount => (5, 2000),
            Meaning::Id => (1000, 99_999),
            Meaning::Latitude => (-60, 60),
            Meaning::Longitude => (-150, 150),
            Meaning::Count => (1, 20),
            _ => (1, 100),
        };
        let (low, high) = Self::bounds(schema, low, high);
        let step = schema.get("multipleOf").and_then(Value::as_i64).filter(|s| *s > 0).unwrap_or(1);
        let first = low.div_euclid(step) * step + if low.rem_euclid(step) == 0 { 0 } else { step };
        let value = first + step * self.between(0, ((high - first) / step).max(0));
        // A length of time in seconds is also said in minutes.
        let is_seconds = words(name).iter().any(|w| w == "seconds") && high >= 120;
        if is_seconds && self.rng.below(2) == 0 {
            let minutes = self.between((low + 59) / 60, (high / 60).min(45)).max(1);
            if (low..=high).contains(&(minutes * 60)) && (minutes * 60) % step == 0 {
                let unit = if minutes == 1 { "minute" } else { "minutes" };
                return Said::as_text(minutes * 60, format!("{minutes} {unit}"));
            }
        }
        Said::plain(json!(value))
    }

    fn number(&mut self, name: &str, schema: &Value) -> Said {
        let meaning = meaning(name, schema);
        let (low, high): (f64, f64) = match meaning {
            Meaning::Latitude => (-60.0, 60.0),
            Meaning::Longitude => (-150.0, 150.0),
            Meaning::Amount => (5.0, 900.0),
            _ => (1.0, 100.0),
        };
        let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
        let (min, max) = (limit("minimum").or(limit("exclusiveMinimum")), limit("maximum").or(limit("exclusiveMaximum")));
        let low = min.unwrap_or(max.map_or(low, |m| low.min(m - 1.0)));
        let high = max.unwrap_or(high.max(low + 10.0)).min((low + 1000.0).max(high));
        let digits = if high - low <= 2.0 { 100.0 } else { 10.0 };
        let raw = low + self.rng.unit() * (high - low);
        let mut value = ((raw * digits).round() / digits).clamp(low, high);
        if limit("exclusiveMinimum").is_some_and(|m| value <= m) || limit("exclusiveMaximum").is_some_and(|m| value >= m) {
            value = low + (high - low) / 2.0;
        }
        if self.rng.below(3) == 0 && value.round() > low && value.round() < high {
            return Said::plain(json!(value.round() as i64));
        }
        Said::plain(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn array(&mut self, name: &str, schema: &Value, depth: usize) -> Said {
        let limit = |key: &str| schema.get(key).and_then(Value::as_u64);
        let fewest = limit("minItems").unwrap_or(1).min(12);
        let most = limit("maxItems").unwrap_or(fewest.max(3)).min(fewest.max(3)).max(fewest);
        let wanted = fewest + self.rng.below(most - fewest + 1);
        let item = schema.get("items").cloned().unwrap_or(json!({"type": "string"}));
        let one_name = name.strip_suffix('s').unwrap_or(name).to_owned();
        let mut items: Vec<Said> = Vec::new();
        for _ in 0..wanted * 8 {
            if items.len() as u64 == wanted {
                break;
            }
            let made = self.value(&one_name, &item, depth + 1);
            if !items.iter().any(|i| i.value == made.value) {
                items.push(made);
            }
        }
        let texts: Vec<&str> = items.iter().map(|i| i.text.as_str()).collect();
        let text = match texts.as_slice() {
            [] => "none".to_owned(),
            [one] => (*one).to_owned(),
            [before @ .., last] => format!("{} and {last}", before.join(", ")),
        };
        Said::as_text(items.into_iter().map(|i| i.value).collect::<Vec<_>>(), text)
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Said {
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let (mut map, mut texts) = (Map::new(), Vec::new());
        let properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, inner) in &properties {
            if required.contains(&name.as_str()) || (depth < 3 && self.rng.below(2) == 0) {
                let made = self.value(name, inner, depth + 1);
                texts.push(format!("{} {}", words(name).join(" "), made.text));
                map.insert(name.clone(), made.value);
            }
        }
        if properties.is_empty() && schema.get("additionalProperties") != Some(&json!(false)) {
            let (key, value) = (*self.pick(&WORDS), *self.pick(&WORDS));
            map.insert(key.into(), json!(value));
            texts.push(format!("{key} {value}"));
        }
        Said::as_text(Value::Object(map), texts.join(", "))
    }

    fn string(&mut self, name: &str, schema: &Value) -> Said {
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
            && let Some(text) = super::pattern::matching(pattern, self.rng)
        {
            return Said::plain(json!(text));
        }
        let said = self.by_meaning(name, schema);
        let limit = |key: &str| schema.get(key).and_then(Value::as_u64).map(|v| v as usize);
        let Value::String(text) = &said.value else { return said };
        let len = text.chars().count();
        if limit("minLength").is_some_and(|m| len < m) || limit("maxLength").is_some_and(|m| len > m) {
            let most = limit("maxLength").unwrap_or(usize::MAX);
            let mut text = text.clone();
            while text.chars().count() < limit("minLength").unwrap_or(0).min(2000) {
                text.push_str(&format!(" {}", self.pick(&WORDS)));
            }
            let text: String = text.chars().take(most).collect();
            return Said::plain(json!(text.trim_end()));
        }
        said
    }

    fn by_meaning(&mut self, name: &str, schema: &Value) -> Said {
        let quoted = quoted_examples(schema);
        let meaning = meaning(name, schema);
        if !quoted.is_empty() && meaning == Meaning::Plain && self.rng.below(2) == 0 {
            return Said::plain(json!(self.pick(&quoted)));
        }
        let text = match meaning {
            Meaning::City => (*self.pick(&CITIES)).to_owned(),
            Meaning::Country => (*self.pick(&COUNTRIES)).to_owned(),
            Meaning::Person => self.person(name),
            Meaning::Email => format!("{}@{}", self.pick(&FIRST_NAMES).to_lowercase(), self.pick(&DOMAINS)),
            Meaning::Phone => format!("+1-555-{:03}-{:04}", self.between(100, 999), self.between(0, 9999)),
            Meaning::Date => return self.date(schema),
            Meaning::Time => return self.time(schema),
            Meaning::Moment => {
                let day = self.today.saturating_add(self.between(1, 60).days());
                format!("{day}T{:02}:{:02}:00Z", self.between(0, 23), self.between(0, 3) * 15)
            }
            Meaning::Path => self.path(),
            Meaning::Folder => format!("/{}/{}", self.pick(&FOLDERS), self.pick(&WORDS)),
            Meaning::Url => format!("https://{}/{}", self.pick(&DOMAINS), self.pick(&STEMS)),
            Meaning::Query => (*self.pick(&TOPICS)).to_owned(),
            Meaning::Message => (*self.pick(&MESSAGES)).to_owned(),
            Meaning::Title => (*self.pick(&TITLES)).to_owned(),
            Meaning::Currency => (*self.pick(&CURRENCIES)).to_owned(),
            Meaning::Language => (*self.pick(&LANGUAGES)).to_owned(),
            Meaning::Color => (*self.pick(&COLORS)).to_owned(),
            Meaning::Company => (*self.pick(&COMPANIES)).to_owned(),
            Meaning::Id if schema.get("format").and_then(Value::as_str) == Some("uuid") => self.uuid(),
            Meaning::Id => format!("{}-{}", self.pick(&WORDS)[..2].to_uppercase(), self.between(100, 9999)),
            _ => match self.rng.below(2) {
                0 => (*self.pick(&WORDS)).to_owned(),
                _ => format!("{} {}", self.pick(&WORDS), self.pick(&WORDS)),
            },
        };
        Said::plain(json!(text))
    }

    fn person(&mut self, name: &str) -> String {
        let (first, last) = (*self.pick(&FIRST_NAMES), *self.pick(&LAST_NAMES));
        let words = words(name);
        let has = |word: &str| words.iter().any(|w| w == word);
        if has("first") || has("last") {
            return if has("first") { first } else { last }.to_owned();
        }
        let is_account = has("username") || has("user");
        match (is_account, self.rng.below(2)) {
            (true, _) => format!("{}_{}", first.to_lowercase(), last.to_lowercase()),
            (_, 0) => first.to_owned(),
            _ => format!("{first} {last}"),
        }
    }

    fn path(&mut self) -> String {
        let file = format!("{}.{}", self.pick(&STEMS), self.pick(&SUFFIXES));
        match self.rng.below(3) {
            0 => file,
            1 => format!("{}/{file}", self.pick(&FOLDERS)),
            _ => format!("/{}/{}/{file}", self.pick(&FOLDERS), self.pick(&WORDS)),
        }
    }

    fn uuid(&mut self) -> String {
        let (a, b) = (self.rng.next_u64(), self.rng.next_u64());
        let (a, b) = ((a & !0xf000) | 0x4000, (b & !(3 << 62)) | (2 << 62));
        format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", a >> 32, (a >> 16) & 0xffff, a & 0xffff, b >> 48, b & 0xffff_ffff_ffff)
    }

    /// A day, half of the time said relative to today.
    fn date(&mut self, schema: &Value) -> Said {
        let write = |day: Date| Value::String(day.strftime(date_form(schema)).to_string());
        let ahead = self.between(1, 6);
        match self.rng.below(6) {
            0 => Said { value: write(self.today), text: "today".into(), is_relative: true, is_reference: false },
            1 => Said { value: write(self.today.saturating_add(1.day())), text: "tomorrow".into(), is_relative: true, is_reference: false },
            2 if ahead > 1 => {
                let day = self.today.saturating_add(Span::new().days(ahead));
                Said { value: write(day), text: format!("in {ahead} days"), is_relative: true, is_reference: false }
            }
            _ => {
                let day = self.today.saturating_add(Span::new().days(self.between(2, 300)));
                let text = match self.rng.below(3) {
                    0 => day.strftime("%B %-d, %Y").to_string(),
                    1 => day.strftime("%-d %B %Y").to_string(),
                    _ => day.to_string(),
                };
                Said::as_text(write(day), text)
            }
        }
    }

    fn time(&mut self, schema: &Value) -> Said {
        let (hour, minute) = (self.between(0, 23), self.between(0, 3) * 15);
        let seconds = if schema.get("format").and_then(Value::as_str) == Some("time") { ":00Z" } else { "" };
        let value = format!("{hour:02}:{minute:02}{seconds}");
        if seconds.is_empty() && self.rng.below(2) == 0 {
            let (half, h) = (if hour < 12 { "am" } else { "pm" }, if hour % 12 == 0 { 12 } else { hour % 12 });
            let text = if minute == 0 { format!("{h} {half}") } else { format!("{h}:{minute:02} {half}") };
            return Said::as_text(value, text);
        }
        Said::plain(json!(value))
    }
}

/// The declared type; a schema without one is taken by what it describes.
pub(super) fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).find(|n| *n != "null").unwrap_or("null"),
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        _ => "string",
    }
}

/// How a date is to be written, as the description says; ISO where it says nothing.
fn date_form(schema: &Value) -> &'static str {
    let about = schema.get("description").and_then(Value::as_str).unwrap_or_default().to_uppercase();
    let forms = [
        ("MM/DD/YYYY", "%m/%d/%Y"),
        ("DD/MM/YYYY", "%d/%m/%Y"),
        ("DD-MM-YYYY", "%d-%m-%Y"),
        ("MM-DD-YYYY", "%m-%d-%Y"),
        ("DD.MM.YYYY", "%d.%m.%Y"),
        ("YYYY/MM/DD", "%Y/%m/%d"),
    ];
    let format = schema.get("format").and_then(Value::as_str) == Some("date");
    forms.iter().find(|(name, _)| !format && about.contains(name)).map_or("%Y-%m-%d", |(_, form)| form)
}

/// Values that a description names as examples, in single quotes: "such as 'San Francisco, CA'".
fn quoted_examples(schema: &Value) -> Vec<String> {
    let about = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let marked = ["e.g", "such as", "xample", "like", "ptions", "one of", "ither", "values"].iter().filter_map(|m| about.find(m)).min();
    let Some(start) = marked else { return Vec::new() };
    let inside = about[start..].split('\'').skip(1).step_by(2);
    inside.filter(|t| !t.is_empty() && t.len() <= 60).map(str::to_owned).collect()
}
