//! Conversations: small instructions with right answers.

use serde_json::Value;

use super::pen::{Pen, Scene};
use super::records::{key_values, object, plain, words};
use super::words::{COLOURS, FOODS, NEWS, OPPOSITES, PEOPLE, ROOMS, THINGS, capital, number};
use super::{facts, stories, sums};

/// A user's words and the answer.
type Turn = (String, String);

fn turn(user: impl Into<String>, assistant: impl Into<String>) -> Turn {
    (user.into(), assistant.into())
}

fn lookup(pen: &mut Pen) -> Turn {
    let f = facts::one(pen);
    match pen.between(0, 3) {
        0 => turn(format!("Answer in one word. {}", f.question), f.answer.trim_start_matches("in a ")),
        1 => turn(format!("{} Answer in one sentence.", f.question), f.statement),
        2 => turn(f.question, f.answer),
        _ => turn(f.question, f.statement),
    }
}

fn arithmetic(pen: &mut Pen) -> Turn {
    let s = sums::sum(pen);
    let ask = pen.pick(&["What is {}?", "How much is {}?", "{} = ?", "Calculate {}."]);
    if pen.once_in(3) {
        turn(ask.replace("{}", &s.words()), number(s.result))
    } else {
        turn(ask.replace("{}", &s.digits()), s.result.to_string())
    }
}

fn clock(pen: &mut Pen) -> Turn {
    let (said, clock) = sums::time_of_day(pen);
    let ask = pen.pick(&["Write {} as on a clock.", "What does the clock show at {}?", "Write the time: {}"]);
    turn(ask.replace("{}", &said), clock)
}

fn repeat(pen: &mut Pen) -> Turn {
    let scene = Scene::new(pen);
    let text = if pen.once_in(2) {
        let count = pen.between(1, 4) as usize;
        words(pen, count).join(" ")
    } else {
        scene.say(
            pen,
            &["the {colour} {thing}", "{a} and {b}", "{n} {things} in the {room}", "a {weather} {day} in {city}", "{food} and {food2}"],
        )
    };
    let ask = pen.pick(&["Repeat: {}", "Say {}", "Repeat after me: {}", "Write this again: {}", "Copy this: {}"]);
    turn(ask.replace("{}", &text), text)
}

fn with_list(pen: &mut Pen) -> Turn {
    let count = pen.between(2, 5) as usize;
    let items = words(pen, count);
    let joined = |items: &[&str]| items.join(", ");
    let list = joined(&items);
    let mut changed = items.clone();
    match pen.between(0, 6) {
        0 => {
            changed.reverse();
            turn(
                format!("{} {list}", pen.pick(&["Reverse this list:", "Write in reverse order:", "Turn this list around:"])),
                joined(&changed),
            )
        }
        1 => {
            changed.sort_unstable();
            turn(format!("{} {list}", pen.pick(&["Sort:", "Sort this list:", "Put these in order from A to Z:"])), joined(&changed))
        }
        2 => turn(format!("{} {list}", pen.pick(&["How many words are there?", "Count these:", "How many?"])), number(count as u32)),
        3 => turn(format!("What comes first? {list}"), items[0]),
        4 => turn(format!("{} {list}", pen.pick(&["What comes last?", "Which is the last one?"])), items[count - 1]),
        5 => turn(format!("Write as JSON: {list}"), Value::from(items).to_string()),
        _ => turn(format!("Write as a list: {list}"), items.iter().map(|i| format!("- {i}")).collect::<Vec<_>>().join("\n")),
    }
}

fn letters(pen: &mut Pen) -> Turn {
    let word = words(pen, 1)[0];
    match pen.between(0, 2) {
        0 => turn(format!("Write in capital letters: {word}"), word.to_uppercase()),
        1 => turn(format!("Write in small letters: {}", word.to_uppercase()), word.to_lowercase()),
        _ => turn(format!("What is the first letter of {word}?"), word[..1].to_uppercase()),
    }
}

fn opposite(pen: &mut Pen) -> Turn {
    let (a, b) = pen.pick(&OPPOSITES);
    let (a, b) = if pen.once_in(2) { (a, b) } else { (b, a) };
    turn(format!("{} {a}", pen.pick(&["Opposite:", "Give the opposite:", "Say the opposite of"])), b)
}

/// One sentence about someone, and questions that its words answer.
fn reading(pen: &mut Pen) -> Turn {
    let s = Scene::new(pen);
    let (text, asks): (&str, &[(&str, &str)]) = pen.pick(&[
        (
            "{A} put {n} {colour} {things} in the {room}.",
            &[
                ("Who did it?", "{a}"),
                ("Where are the {things}?", "in the {room}"),
                ("What colour are the {things}?", "{colour}"),
                ("How many {things} are there?", "{n}"),
            ],
        ),
        (
            "On {day}, {a} and {b} go to {city}.",
            &[("When do they go?", "on {day}"), ("Where do they go?", "{city}"), ("Who goes with {a}?", "{b}"), ("On which day?", "{day}")],
        ),
        (
            "{A} bought {food} and {food2} at the {place}.",
            &[("What did {a} buy?", "{food} and {food2}"), ("Where was {a}?", "at the {place}"), ("Who bought {food}?", "{a}")],
        ),
        (
            "The light in the {room} is {colour}. {B} turned it on at {time}.",
            &[
                ("Which room?", "{room}"),
                ("At what time?", "{time}"),
                ("Who turned on the light?", "{b}"),
                ("What colour is the light?", "{colour}"),
            ],
        ),
        (
            "{A} is {job} and lives in {city}. The {animal} of {a} is called {b}.",
            &[("Where does {a} live?", "{city}"), ("Who is {job}?", "{a}"), ("What is the name of the {animal}?", "{b}")],
        ),
        (
            "It is {weather} in {city} on {day}.",
            &[("How is the weather?", "{weather}"), ("Which city is it?", "{city}"), ("Which day is it?", "{day}")],
        ),
    ]);
    let (ask, answer) = pen.pick(asks);
    if pen.once_in(5) {
        let (text, fields): (&str, &[(&str, &str)]) = pen.pick(&[
            ("{A} put {n} {colour} {things} in the {room}.", &[("name", "a"), ("colour", "colour"), ("room", "room")]),
            ("On {day}, {a} goes to {city} with {b}.", &[("name", "a"), ("city", "city"), ("day", "day"), ("friend", "b")]),
            ("{A} bought {food} at the {place} on {day}.", &[("name", "a"), ("food", "food"), ("place", "place"), ("day", "day")]),
        ]);
        let count = pen.between(1, fields.len() as u32) as usize;
        let fields = pen.some(fields, count);
        let names: Vec<&str> = fields.iter().map(|f| f.0).collect();
        let o: serde_json::Map<String, Value> = fields.iter().map(|(k, slot)| ((*k).to_owned(), Value::from(s.get(slot)))).collect();
        return turn(format!("{} Write {} as JSON.", s.fill(text), names.join(", ")), Value::Object(o).to_string());
    }
    turn(format!("{} {}", s.fill(text), s.fill(ask)), s.fill(answer))
}

fn record(pen: &mut Pen) -> Turn {
    let o = object(pen);
    let json = Value::Object(o.clone()).to_string();
    match pen.between(0, 4) {
        0 | 1 => {
            let spaced = o.iter().map(|(k, v)| format!("{k} {}", plain(v))).collect::<Vec<_>>().join(", ");
            let given = if pen.once_in(2) { key_values(&o, ", ") } else { spaced };
            turn(format!("{} {given}", pen.pick(&["Write as JSON:", "Make a JSON object:", "As JSON, please:", "JSON:"])), json)
        }
        2 => turn(format!("Write as text: {json}"), key_values(&o, "\n")),
        _ => {
            let keys: Vec<&String> = o.keys().collect();
            let key = pen.pick(&keys);
            turn(format!("{json}\nWhat is the {key}?"), plain(&o[key]))
        }
    }
}

fn writing(pen: &mut Pen) -> Turn {
    let scene = Scene::new(pen);
    let ask = pen.pick(&[
        "Tell me a story about {a}.",
        "Write a short story with {a} and {b}.",
        "Tell me about {a} and {their} {thing}.",
        "Tell me a story.",
    ]);
    turn(scene.fill(ask), stories::story(pen, &scene))
}

fn talk(pen: &mut Pen) -> Turn {
    let scene = Scene::new(pen);
    let (user, answers): (&str, &[&str]) = pen.pick(&[
        ("Hello!", &["Hello! How can I help you?"]),
        ("Hi, I am {a}.", &["Hello, {a}! How can I help you?", "Hi, {a}! Nice to meet you."]),
        ("Who are you?", &["I am Tallow, a very small language model."]),
        ("What is your name?", &["My name is Tallow."]),
        ("Thank you!", &["You are welcome!"]),
        ("Good morning!", &["Good morning! What can I do for you?"]),
        ("My name is {a}. What is my name?", &["Your name is {a}."]),
        ("I live in {city}. Where do I live?", &["You live in {city}."]),
        ("I have {n} {things}. What do I have?", &["You have {n} {things}."]),
        ("My {thing} is {colour}. What colour is it?", &["Your {thing} is {colour}."]),
        ("Good bye!", &["Good bye! Have a nice day."]),
    ]);
    turn(scene.fill(user), scene.say(pen, answers))
}

/// Sentences of a request's kind, answered with a plain sentence.
fn household(pen: &mut Pen) -> Turn {
    let (room, colour, name, news) = (pen.pick(&ROOMS), pen.pick(&COLOURS), pen.pick(&PEOPLE).0, pen.pick(&NEWS));
    let (thing, food) = (pen.pick(&THINGS).0, pen.pick(&FOODS));
    match pen.between(0, 4) {
        0 => turn(format!("{name} says that {news}. What does {name} say?"), format!("{}.", capital(news))),
        1 => turn(format!("The {thing} in the {room} is {colour}. Say it in three words."), format!("{colour} {room} {thing}")),
        2 => turn(format!("Is {food} something to eat?"), "Yes."),
        3 => turn(format!("Is a {thing} something to eat?"), "No."),
        _ => turn(format!("Ask {name} for {food}."), format!("{name}, can you give me some {food}?")),
    }
}

fn one(pen: &mut Pen) -> Turn {
    match pen.between(0, 18) {
        0 | 1 => lookup(pen),
        2 | 3 => arithmetic(pen),
        4 => clock(pen),
        5 | 6 => repeat(pen),
        7 | 8 => with_list(pen),
        9 => letters(pen),
        10 => opposite(pen),
        11..=13 => reading(pen),
        14 | 15 => record(pen),
        16 => writing(pen),
        17 => talk(pen),
        _ => household(pen),
    }
}

/// One to four turns as the chat template renders them.
pub fn document(pen: &mut Pen) -> String {
    let mut text = String::new();
    for _ in 0..pen.pick(&[1, 1, 2, 3, 4]) {
        let (user, assistant) = one(pen);
        text += &format!("<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n{assistant}<|im_end|>\n");
    }
    text
}
