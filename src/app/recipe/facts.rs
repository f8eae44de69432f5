//! What is so in the small world: one list of statements, each with questions and their answers.

use super::pen::Pen;
use super::words::{ANIMALS, COLOURED, COUNTRIES, DAYS, MONTHS, OPPOSITES, capital};

/// A question and its short answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The whole sentence.
    pub statement: String,
    /// What asks for it.
    pub question: String,
    /// The answer in a word or two.
    pub answer: String,
}

fn fact(statement: String, question: String, answer: &str) -> Fact {
    Fact { statement, question, answer: answer.to_owned() }
}

fn country(pen: &mut Pen) -> Fact {
    let (country, capital, continent) = pen.pick(&COUNTRIES);
    match pen.between(0, 4) {
        0 | 1 => fact(format!("The capital of {country} is {capital}."), format!("What is the capital of {country}?"), capital),
        2 => fact(format!("{capital} is the capital of {country}."), format!("Which country has the capital {capital}?"), country),
        3 => fact(format!("{capital} is a city in {country}."), format!("In which country is {capital}?"), country),
        _ => fact(format!("{country} is in {continent}."), format!("Where is {country}?"), continent),
    }
}

fn animal(pen: &mut Pen) -> Fact {
    let (one, many, sound, legs, home, food) = pen.pick(&ANIMALS);
    let a = if one == "owl" { "an" } else { "a" };
    match pen.between(0, 3) {
        0 => fact(format!("{} {one} says {sound}.", capital(a)), format!("What does {a} {one} say?"), sound),
        1 => {
            let legs = super::words::number(legs);
            fact(format!("{} {one} has {legs} legs.", capital(a)), format!("How many legs does {a} {one} have?"), &legs)
        }
        2 => fact(format!("{} live in a {home}.", capital(many)), format!("Where do {many} live?"), &format!("in a {home}")),
        _ => fact(format!("{} eat {food}.", capital(many)), format!("What do {many} eat?"), food),
    }
}

fn order(pen: &mut Pen) -> Fact {
    let (names, kind): (&[&str], &str) = if pen.once_in(2) { (&DAYS, "day") } else { (&MONTHS, "month") };
    let i = pen.between(0, names.len() as u32 - 1) as usize;
    let (one, next) = (names[i], names[(i + 1) % names.len()]);
    match pen.between(0, 1) {
        0 => fact(format!("The {kind} after {one} is {next}."), format!("Which {kind} comes after {one}?"), next),
        _ => fact(format!("The {kind} before {next} is {one}."), format!("Which {kind} comes before {next}?"), one),
    }
}

fn opposite(pen: &mut Pen) -> Fact {
    let (a, b) = pen.pick(&OPPOSITES);
    let (a, b) = if pen.once_in(2) { (a, b) } else { (b, a) };
    fact(format!("The opposite of {a} is {b}."), format!("What is the opposite of {a}?"), b)
}

fn colour(pen: &mut Pen) -> Fact {
    let (thing, verb, colour) = pen.pick(&COLOURED);
    fact(format!("{} {verb} {colour}.", capital(thing)), format!("What colour {verb} {thing}?"), colour)
}

/// One fact.
pub fn one(pen: &mut Pen) -> Fact {
    match pen.between(0, 6) {
        0 | 1 => country(pen),
        2 => animal(pen),
        3 => order(pen),
        4 => opposite(pen),
        _ => colour(pen),
    }
}

/// Statements, or questions with answers.
pub fn document(pen: &mut Pen) -> String {
    let count = pen.between(2, 6);
    let style = pen.between(0, 3);
    let lines: Vec<String> = (0..count)
        .map(|_| {
            let f = one(pen);
            match style {
                0 => f.statement,
                1 => format!("Question: {}\nAnswer: {}", f.question, f.answer),
                2 => format!("Q: {}\nA: {}", f.question, f.statement),
                _ => format!("{} {}", f.question, f.statement),
            }
        })
        .collect();
    lines.join(if style == 0 { " " } else { "\n" })
}
