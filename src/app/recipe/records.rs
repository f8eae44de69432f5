//! Lists, key-value records and JSON objects about the small world.

use serde_json::{Map, Value, json};

use super::pen::Pen;
use super::sums::time_of_day;
use super::words::{COLOURS, COUNTRIES, DAYS, FOODS, NEWS, PEOPLE, PLACES, ROOMS, THINGS};

/// The value of a field of this name.
fn value(pen: &mut Pen, key: &str) -> Value {
    match key {
        "name" | "friend" => json!(pen.pick(&PEOPLE).0),
        "city" => json!(pen.pick(&COUNTRIES).1),
        "country" => json!(pen.pick(&COUNTRIES).0),
        "day" => match pen.between(0, 4) {
            0 => json!("today"),
            1 => json!("tomorrow"),
            _ => json!(pen.pick(&DAYS)),
        },
        "time" => json!(time_of_day(pen).1),
        "room" => json!(pen.pick(&ROOMS)),
        "colour" => json!(pen.pick(&COLOURS)),
        "thing" => json!(pen.pick(&THINGS).0),
        "food" => json!(pen.pick(&FOODS)),
        "place" => json!(pen.pick(&PLACES)),
        "note" => json!(pen.pick(&NEWS)),
        "state" => json!(pen.pick(&["on", "off", "open", "closed", "red", "blue", "green", "white"])),
        "age" => json!(pen.between(3, 90)),
        _ => json!(pen.between(1, 30)),
    }
}

const KEYS: [&str; 14] =
    ["name", "friend", "city", "country", "day", "time", "room", "colour", "thing", "food", "place", "note", "state", "count"];

/// A flat object of two to five fields.
pub fn object(pen: &mut Pen) -> Map<String, Value> {
    let count = pen.between(2, 5) as usize;
    let mut keys = pen.some(&KEYS, count);
    if pen.once_in(3) {
        keys.retain(|k| *k != "age");
        keys.push("age");
    }
    keys.into_iter().map(|k| (k.to_owned(), value(pen, k))).collect()
}

/// A value as it stands in plain text.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `name: Anna` lines.
pub fn key_values(object: &Map<String, Value>, separator: &str) -> String {
    object.iter().map(|(k, v)| format!("{k}: {}", plain(v))).collect::<Vec<_>>().join(separator)
}

/// Some words of one kind, all different.
pub fn words(pen: &mut Pen, count: usize) -> Vec<&'static str> {
    match pen.between(0, 6) {
        0 => pen.some(&FOODS, count),
        1 => pen.some(&THINGS, count).into_iter().map(|t| t.0).collect(),
        2 => pen.some(&PEOPLE, count).into_iter().map(|p| p.0).collect(),
        3 => pen.some(&COLOURS, count),
        4 => pen.some(&COUNTRIES, count).into_iter().map(|c| c.1).collect(),
        5 => pen.some(&ROOMS, count),
        _ => pen.some(&PLACES, count),
    }
}

fn list(pen: &mut Pen) -> String {
    let count = pen.between(3, 6) as usize;
    let items = words(pen, count);
    let (title, mark) = (pen.pick(&["A list:", "Shopping list:", "To do:", "Words:", ""]), pen.pick(&["- ", "* ", "#"]));
    let lines: Vec<String> = items
        .iter()
        .enumerate()
        .map(|(i, item)| if mark == "#" { format!("{}. {item}", i + 1) } else { format!("{mark}{item}") })
        .collect();
    format!("{title}\n{}", lines.join("\n")).trim_start().to_owned()
}

fn ordered(pen: &mut Pen) -> String {
    let count = pen.between(3, 5) as usize;
    let items = words(pen, count);
    let given = items.join(", ");
    let mut sorted = items.clone();
    match pen.between(0, 1) {
        0 => {
            sorted.sort_unstable();
            format!("{given}\nSorted: {}", sorted.join(", "))
        }
        _ => {
            sorted.reverse();
            format!("{given}\nReversed: {}", sorted.join(", "))
        }
    }
}

fn sorted_numbers(pen: &mut Pen) -> String {
    let mut numbers: Vec<u32> = (0..pen.between(3, 6)).map(|_| pen.between(0, 99)).collect();
    let text = |n: &[u32]| n.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let given = text(&numbers);
    numbers.sort_unstable();
    format!("{given}\nSorted: {}", text(&numbers))
}

/// A list, a record, or the same record twice: in lines and in JSON.
pub fn document(pen: &mut Pen) -> String {
    match pen.between(0, 8) {
        0 => list(pen),
        1 => ordered(pen),
        2 => sorted_numbers(pen),
        3 => key_values(&object(pen), "\n"),
        4 => {
            let rows: Vec<Value> = (0..pen.between(2, 3)).map(|_| Value::Object(object(pen))).collect();
            rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
        }
        5 => Value::from(words(pen, 4)).to_string(),
        _ => {
            let o = object(pen);
            format!("{}\n{}", key_values(&o, "\n"), Value::Object(o))
        }
    }
}
