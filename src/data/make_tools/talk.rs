//! Talk that needs no tool, and words of the assistant.

use super::pools::*;
use crate::data::random::Rng;

fn pick<'a>(pool: &[&'a str], rng: &mut Rng) -> &'a str {
    pool[rng.below(pool.len() as u64) as usize]
}

/// A request that is answered with words, and the answer.
pub(super) fn small_talk(rng: &mut Rng) -> (String, String) {
    let (name, word, city, topic) = (pick(&FIRST_NAMES, rng), pick(&WORDS, rng), pick(&CITIES, rng), pick(&TOPICS, rng));
    match rng.below(10) {
        0 => {
            let thanks = ["Thanks", "Thank you", "Many thanks", "Great, thanks", "Perfect, thank you"];
            let end = ["that is all", "that was it", "nothing else for now", "we are done", "I have all I need"];
            (format!("{}, {}. Regards, {name}", pick(&thanks, rng), pick(&end, rng)), format!("You're welcome, {name}."))
        }
        1 => (format!("Hello, I am {name}. How are you?"), format!("Hello {name}! I'm fine and ready to help.")),
        2 => (format!("Write the word \"{word}\" in capital letters."), word.to_uppercase()),
        3 => (format!("Greet my friend {name} from {city} in one sentence."), format!("Hello {name}, warm greetings to {city}!")),
        4 => (format!("How many letters does the word \"{word}\" have?"), format!("\"{word}\" has {} letters.", word.len())),
        5 => (format!("Spell \"{word}\" with hyphens."), word.chars().map(String::from).collect::<Vec<_>>().join("-")),
        6 => (format!("I am {name} and I love {topic}."), format!("Nice to hear, {name}. {topic} is a fine thing to be interested in.")),
        7 => (format!("Give me a title for a short text about {topic}."), format!("A short look at {topic}")),
        8 => (format!("Say goodbye to {name} politely."), format!("Goodbye {name}, it was a pleasure.")),
        _ => (format!("What can you do for me, {name} asks?"), "I can answer you, and I can use the tools that I was given.".to_owned()),
    }
}

/// Words with which a second request is joined to the first.
pub(super) const AND: [&str; 8] =
    [" and ", ", and also ", ", then ", ". Also ", " and then ", " plus ", ". Besides that, ", " as well as "];

/// A fault that passes, and one that does not.
pub(super) const PASSING: [&str; 5] = [
    "Error: the request timed out, try again",
    "Error: the service is busy (503), retry",
    "Error: the connection was lost",
    "Error: temporary failure",
    "Error: too many requests, please retry",
];
pub(super) const LASTING: [&str; 5] = [
    "Error: permission denied",
    "Error: not found",
    "Error: this account has no access",
    "Error: the feature is disabled",
    "Error: quota exceeded",
];
