//! How people ask: an action out of a tool's name or description, its arguments in words, and frames
//! around both.

use super::meaning::{Meaning, meaning, words};
use super::schema::Tool;
use super::values::Said;
use crate::data::random::Rng;

/// Ways to ask. `{a}` is the action with its arguments, `{A}` the same with a capital letter.
pub(super) const FRAMES: [&str; 56] = [
    "{A}.",
    "{A}",
    "{a}",
    "Please {a}.",
    "{A}, please.",
    "Can you {a}?",
    "Could you {a}?",
    "Could you please {a}?",
    "Would you {a} for me?",
    "Will you {a}?",
    "I need you to {a}.",
    "I want you to {a}.",
    "I would like you to {a}.",
    "I'd like to {a}.",
    "I want to {a}.",
    "I need to {a}.",
    "Help me {a}.",
    "Can you help me {a}?",
    "Hey, {a}.",
    "Hi, can you {a}?",
    "Hello! Please {a}.",
    "Quick one: {a}.",
    "Next: {a}.",
    "Now {a}.",
    "Go ahead and {a}.",
    "Just {a}.",
    "Let's {a}.",
    "My task is to {a}.",
    "We need to {a}.",
    "We have to {a} today.",
    "It would be great if you could {a}.",
    "I was asked to {a}. Can you do it?",
    "Is it possible to {a}?",
    "Do you think you can {a}?",
    "Would you mind helping me? I want to {a}.",
    "For my work I have to {a}.",
    "Kindly {a}.",
    "When you have a moment, {a}.",
    "Sorry to bother you, but could you {a}?",
    "One more thing: {a}.",
    "To do: {a}",
    "Time to {a}.",
    "Be so kind and {a}.",
    "I'm trying to {a}.",
    "I have to {a} and don't know how. Can you?",
    "Task: {a}",
    "Request: {a}.",
    "All I need is to {a}.",
    "Ok, {a}.",
    "Right, so {a}.",
    "Can we {a}?",
    "First of all, {a}.",
    "Let me see you {a}.",
    "My boss wants me to {a}.",
    "How about you {a}?",
    "Thanks in advance: {a}.",
];

/// Marks around values, so that typing errors stay outside; taken out at the end.
const OPEN: char = '\u{F0001}';
const CLOSE: char = '\u{F0002}';

/// A value between marks.
pub(super) fn marked(value: &str) -> String {
    format!("{OPEN}{value}{CLOSE}")
}

/// First words of actions. A name that begins with another word is a noun, and is "used".
const VERBS: &str = " accept add allocate authenticate contact purchase analyze answer append apply approve archive ask assign attach book browse buy calculate call cancel \
    change check choose clear click close compare compose compress compute configure connect convert copy count create cut deactivate decode \
    delete deploy describe detect disable display divide do download draw echo edit enable encode estimate evaluate execute export extract \
    fetch fill filter find fix format forward generate get give identify import increase insert inspect install invite invoke join launch list load \
    lock log look lookup make manage mark measure merge modify monitor mount move multiply navigate notify open order organize parse pause pay \
    perform place plan play plot post predict prepare press print process provide publish pull purchase push put query read receive \
    recommend record refresh register release reload remind remove rename render repeat replace reply report request reserve reset resize \
    resolve restart restore resume retrieve return reverse review rotate run save scan schedule search select send set share show shuffle \
    simulate skip solve sort split start stop store submit subscribe subtract suggest sum summarize switch sync tag take tell test toggle \
    touch track transfer transform translate turn uninstall unlock unsubscribe update upgrade upload use validate verify view visit wait watch write zip ";

fn is_verb(word: &str) -> bool {
    VERBS.contains(&format!(" {word} "))
}

/// "Retrieves" as "retrieve".
fn base_form(word: &str) -> Option<String> {
    let word = word.to_lowercase();
    let cut = |end: &str, to: &str| word.strip_suffix(end).map(|stem| format!("{stem}{to}"));
    [Some(word.clone()), cut("ies", "y"), cut("es", ""), cut("s", "")].into_iter().flatten().find(|w| is_verb(w))
}

/// What a tool does, as something that one can ask for; the first from its name, the second from its
/// description where that begins with a verb.
pub(super) fn actions(tool: &Tool) -> Vec<String> {
    let mut named = words(&tool.name).join(" ");
    if !named.split(' ').next().is_some_and(is_verb) {
        named = format!("use {named}");
    }
    let mut actions = vec![named];
    let sentence = tool.description.split(['.', '\n', ';', '(']).next().unwrap_or_default();
    let sentence = sentence.split(" for a ").next().unwrap_or_default().split(" based on ").next().unwrap_or_default();
    let mut parts = sentence.split_whitespace();
    let verb = parts.next().and_then(|w| base_form(w.trim_matches(|c: char| !c.is_alphanumeric())));
    let rest: Vec<&str> = parts.collect();
    if let Some(verb) = verb.filter(|_| (1..=10).contains(&rest.len())) {
        actions.push(format!("{verb} {}", rest.join(" ").trim_end_matches([',', ':'])));
    }
    actions
}

/// One argument that is asked for.
#[derive(Debug, Clone)]
pub(super) struct Argument {
    pub name: String,
    pub schema: serde_json::Value,
    pub said: Said,
}

/// An action with its arguments; values stand between marks.
pub(super) fn with_arguments(action: &str, arguments: &[Argument], style: u64, rng: &mut Rng) -> String {
    let meanings: Vec<Meaning> = arguments.iter().map(|a| meaning(&a.name, &a.schema)).collect();
    let mut clauses = Vec::new();
    for (argument, own) in arguments.iter().zip(&meanings) {
        // A short clause says too little where two arguments mean the same kind of thing.
        let alone = meanings.iter().filter(|m| *m == own).count() == 1;
        clauses.push(clause(argument, *own, alone, style, rng));
    }
    let action = action.to_owned();
    match (clauses.as_slice(), style % 3) {
        ([], _) => action,
        ([one], _) => format!("{action} {one}"),
        ([before @ .., last], 2) => format!("{action} {} and {last}", before.join(", ")),
        (all, 0) => format!("{action} {}", all.join(" ")),
        (all, _) => format!("{action} {}", all.join(", ")),
    }
}

fn clause(argument: &Argument, meaning: Meaning, alone: bool, style: u64, rng: &mut Rng) -> String {
    let name = words(&argument.name).join(" ");
    let said = &argument.said;
    let value = marked(&said.text);
    let quoted = format!("\"{value}\"");
    if let Some(on) = said.value.as_bool() {
        let on_forms = [format!("with {name} on"), format!("with {name} set to {value}"), format!("{name} = {value}")];
        let off_forms = [format!("with {name} off"), format!("with {name} set to {value}"), format!("{name} = {value}")];
        return if on { &on_forms } else { &off_forms }[rng.below(3) as usize].clone();
    }
    if said.is_relative && alone {
        return value;
    }
    let short = match meaning {
        _ if !alone || style % 4 == 3 || said.is_reference => None,
        Meaning::City | Meaning::Country => Some(["in", "for"][rng.below(2) as usize].to_owned() + " " + &value),
        Meaning::Date | Meaning::Moment => Some(format!("on {value}")),
        Meaning::Time => Some(format!("at {value}")),
        Meaning::Path | Meaning::Folder | Meaning::Url => match words(&argument.name).first().map(String::as_str) {
            Some("destination" | "target" | "output" | "to") => Some(format!("to {value}")),
            _ => Some(format!("{} {value}", ["at", "for", "with"][rng.below(3) as usize])),
        },
        Meaning::Query => Some(format!("{} {quoted}", ["for", "about"][rng.below(2) as usize])),
        Meaning::Message => Some(format!("{} {quoted}", ["saying", "with the text", ":"][rng.below(3) as usize])),
        Meaning::Person => Some(format!("for {value}")),
        Meaning::Language => Some(format!("in {value}")),
        _ => None,
    };
    if let Some(short) = short {
        return short;
    }
    let is_long = said.text.contains(' ') && said.value.is_string() && !said.is_reference;
    let shown = if is_long { &quoted } else { &value };
    match rng.below(5) {
        0 => format!("with {name} {shown}"),
        1 => format!("with {shown} as the {name}"),
        2 => format!("using {name} {shown}"),
        3 => format!("with {name} set to {shown}"),
        _ => format!("({name}: {shown})"),
    }
}

/// A frame filled with an action.
pub(super) fn framed(frame: &str, action: &str) -> String {
    let mut chars = action.chars();
    let capital: String = chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect();
    frame.replace("{a}", action).replace("{A}", &capital)
}

/// A request without marks; sometimes with one or two typing errors outside the values.
pub(super) fn finished(text: &str, rng: &mut Rng) -> String {
    let mut text: Vec<char> = text.chars().collect();
    if rng.below(8) == 0 {
        for _ in 0..=rng.below(2) {
            typing_error(&mut text, rng);
        }
    }
    let joined: String = text.into_iter().filter(|c| !matches!(*c, OPEN | CLOSE)).collect();
    joined.replace(" :", ":")
}

/// Two letters of a longer word in another order, or one left out or doubled.
fn typing_error(text: &mut Vec<char>, rng: &mut Rng) {
    let (mut inside, mut places) = (false, Vec::new());
    for (i, c) in text.iter().enumerate() {
        inside = match *c {
            OPEN => true,
            CLOSE => false,
            _ => inside,
        };
        let letters = |range: std::ops::Range<usize>| text.get(range).is_some_and(|t| t.iter().all(|c| c.is_ascii_lowercase()));
        if !inside && i > 2 && letters(i - 2..i + 2) {
            places.push(i);
        }
    }
    if places.is_empty() {
        return;
    }
    let at = places[rng.below(places.len() as u64) as usize];
    match rng.below(3) {
        0 => text.swap(at, at - 1),
        1 => drop(text.remove(at)),
        _ => text.insert(at, text[at]),
    }
}
