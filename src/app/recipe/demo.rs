//! The demo's task: a short English request becomes one tool call in JSON. The base model cannot do it; its words are
//! those of the corpus, so an adapter only has to teach which words go where.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::pen::Pen;
use super::words::{COLOURS, COUNTRIES, DAYS, FOODS, NEWS, PEOPLE, ROOMS};

/// One combination of slots in this many is kept from training.
const HELD_OUT_ONE_IN: u64 = 8;

/// Which side of the split a row is on. It goes by the tool call: every phrasing of a held-out call is held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// To train on.
    Train,
    /// To judge.
    HeldOut,
}

impl Part {
    /// The part of a tool call, by its text (FNV-1a), whatever the seed.
    fn of(call: &str) -> Self {
        let hash = call.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
        if (hash >> 32).is_multiple_of(HELD_OUT_ONE_IN) { Self::HeldOut } else { Self::Train }
    }
}

fn day(pen: &mut Pen) -> (String, String) {
    match pen.between(0, 8) {
        0 => ("today".into(), "today".into()),
        1 | 2 => ("tomorrow".into(), "tomorrow".into()),
        _ => {
            let day = pen.pick(&DAYS);
            (format!("on {day}"), day.into())
        }
    }
}

fn alarm(pen: &mut Pen) -> (String, Value) {
    let (said, clock) = match pen.between(0, 3) {
        0 => {
            let hour = pen.between(5, 11);
            (format!("{hour} am"), format!("{hour:02}:00"))
        }
        _ => {
            let (hour, minute) = (pen.between(5, 22), pen.between(0, 11) * 5);
            (format!("{hour}:{minute:02}"), format!("{hour:02}:{minute:02}"))
        }
    };
    let (when, day) = day(pen);
    let ask = pen.pick(&[
        "Wake me at {t} {d}.",
        "Wake me up at {t} {d}.",
        "Set an alarm for {t} {d}.",
        "I want to get up at {t} {d}.",
        "Alarm at {t} {d}, please.",
        "Can you wake me {d} at {t}?",
        "I must get up {d} at {t}.",
    ]);
    (ask.replace("{t}", &said).replace("{d}", &when), json!({"tool": "set_alarm", "time": clock, "day": day}))
}

fn light(pen: &mut Pen) -> (String, Value) {
    let room = pen.pick(&ROOMS);
    let (asks, state): (&[&str], &str) = match pen.between(0, 2) {
        0 => (
            &[
                "Turn on the light in the {r}.",
                "Turn on the {r} light.",
                "Light on in the {r}, please.",
                "It is dark in the {r}.",
                "Can you turn on the {r} light?",
            ],
            "on",
        ),
        1 => (
            &[
                "Turn off the light in the {r}.",
                "Turn off the {r} light.",
                "Light off in the {r}, please.",
                "No light in the {r}, please.",
                "Can you turn off the {r} light?",
            ],
            "off",
        ),
        _ => (
            &["Make the {r} light {c}.", "I want a {c} light in the {r}.", "Turn the light in the {r} {c}.", "Set the {r} light to {c}."],
            pen.pick(&COLOURS),
        ),
    };
    let text = pen.pick(asks).replace("{r}", room).replace("{c}", state);
    (text, json!({"tool": "light", "room": room, "state": state}))
}

fn weather(pen: &mut Pen) -> (String, Value) {
    let city = pen.pick(&COUNTRIES).1;
    let (when, day) = day(pen);
    let ask = pen.pick(&[
        "How is the weather in {c} {d}?",
        "What is the weather in {c} {d}?",
        "Will it be sunny in {c} {d}?",
        "Is it cold in {c} {d}?",
        "Will it rain in {c} {d}?",
        "Do I need a coat in {c} {d}?",
        "Tell me the weather {d} in {c}.",
    ]);
    (ask.replace("{c}", city).replace("{d}", &when), json!({"tool": "weather", "city": city, "day": day}))
}

fn shop(pen: &mut Pen) -> (String, Value) {
    let (item, count) = (pen.pick(&FOODS), pen.between(1, 12));
    let ask = pen.pick(&[
        "Put {n} {i} on the shopping list.",
        "We need {n} {i}.",
        "Add {n} {i} to my list.",
        "Buy {n} {i}, please.",
        "I want to buy {n} {i}.",
        "There is no more {i}. We need {n}.",
    ]);
    (ask.replace("{n}", &count.to_string()).replace("{i}", item), json!({"tool": "shopping", "item": item, "count": count}))
}

fn message(pen: &mut Pen) -> (String, Value) {
    let (name, news) = (pen.pick(&PEOPLE).0, pen.pick(&NEWS));
    let ask = pen.pick(&[
        "Tell {p} that {t}.",
        "Send a message to {p}: {t}.",
        "Let {p} know that {t}.",
        "Write to {p} that {t}.",
        "Can you tell {p} that {t}?",
        "{p} must know that {t}.",
    ]);
    (ask.replace("{p}", name).replace("{t}", news), json!({"tool": "message", "to": name, "text": news}))
}

fn row(pen: &mut Pen) -> (String, String) {
    let (mut text, call) = match pen.between(0, 4) {
        0 => alarm(pen),
        1 => light(pen),
        2 => weather(pen),
        3 => shop(pen),
        _ => message(pen),
    };
    if pen.once_in(4) && !PEOPLE.iter().any(|p| text.starts_with(p.0)) {
        // As people type: no capital, no full stop.
        text = text[..1].to_lowercase() + text[1..].trim_end_matches(['.', '?']);
    }
    (text, call.to_string())
}

/// `n` different rows of one part, in the chat layout. The calls of the two parts never overlap, whatever the seeds.
pub fn demo_rows(seed: u64, part: Part, n: usize) -> Vec<Value> {
    let mut pen = Pen::new(&[seed, part as u64]);
    let mut seen = HashSet::new();
    let mut rows = Vec::with_capacity(n);
    // There are some ten thousand rows; past them a text may come again.
    let mut repeated = 0;
    while rows.len() < n {
        let (text, call) = row(&mut pen);
        if Part::of(&call) != part {
            continue;
        }
        if !seen.insert(text.clone()) && repeated < 100 * n {
            repeated += 1;
            continue;
        }
        rows.push(json!({"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": call}]}));
    }
    rows
}

/// Whether a generated text is the wanted tool call: the same JSON, whatever the white space and the order of its keys.
pub fn is_right(generated: &str, wanted: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<serde_json::Map<String, Value>>(text.trim()).ok();
    matches!((read(generated), read(wanted)), (Some(a), Some(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(row: &Value, message: usize) -> &str {
        row["messages"][message]["content"].as_str().unwrap()
    }

    #[test]
    fn a_seed_gives_the_same_rows_and_more_rows_begin_with_them() {
        let rows = demo_rows(5, Part::Train, 200);
        assert_eq!(rows[..100], demo_rows(5, Part::Train, 100));
        assert_ne!(rows, demo_rows(6, Part::Train, 200));
    }

    #[test]
    fn no_held_out_call_or_request_is_trained() {
        let train = demo_rows(1, Part::Train, 3000);
        let held_out = demo_rows(2, Part::HeldOut, 400);
        for message in [0, 1] {
            let trained: HashSet<&str> = train.iter().map(|r| text(r, message)).collect();
            assert!(held_out.iter().all(|r| !trained.contains(text(r, message))));
        }
        let different: HashSet<&str> = held_out.iter().map(|r| text(r, 0)).collect();
        assert_eq!(different.len(), held_out.len());
    }

    #[test]
    fn every_call_is_a_json_object_of_one_of_five_tools() {
        let rows = demo_rows(3, Part::Train, 500);
        let tools: HashSet<String> =
            rows.iter().map(|r| serde_json::from_str::<Value>(text(r, 1)).unwrap()["tool"].as_str().unwrap().to_owned()).collect();
        assert_eq!(tools.len(), 5);
    }

    #[test]
    fn the_order_of_keys_does_not_matter_and_values_do() {
        assert!(is_right(" {\"b\": 1, \"a\": \"x\"}\n", r#"{"a":"x","b":1}"#));
        assert!(!is_right(r#"{"a":"x","b":2}"#, r#"{"a":"x","b":1}"#));
        assert!(!is_right("x", "x"));
    }
}
