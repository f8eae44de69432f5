//! Short stories: a plot is a row of beats, a beat a few ways to say it; who, what and where stay the same throughout.

use super::pen::{Pen, Scene};

type Beat = &'static [&'static str];

const OPENINGS: Beat = &[
    "It was a {weather} {day}.",
    "One {weather} day, {a} was at the {place}.",
    "{A} lived in {city}.",
    "On {day}, {a} got up at {time}.",
    "{A} was {job} in {city}.",
    "Once there was a {animal} who lived with {a}.",
    "{A} and {b} were good friends.",
    "In the morning, {a} looked out of the window. It was {weather}.",
];

const LOST: [Beat; 5] = [
    &["{A} had a {colour} {thing}.", "{A} liked {their} {colour} {thing} very much.", "{B} gave {a} a {colour} {thing}."],
    &["But one day the {thing} was gone.", "Then {they} lost the {thing} at the {place}.", "On {day} {they} could not find the {thing}."],
    &["{A} looked in the {room}, but it was not there.", "{They} asked {b} for help.", "{They} looked under the bed and in the {room}."],
    &[
        "{B} found the {thing} under a {other}.",
        "At last {b} saw the {thing} near the {place2}.",
        "A {animal} had the {thing} and did not want to give it back.",
    ],
    &["{A} was happy and said thank you.", "{They} never lost the {thing} again.", "{A} gave {b} some {food} to say thank you."],
];

const TRIP: [Beat; 5] = [
    &["{A} wanted to go to {city}.", "{A} and {b} made a plan to visit the {place}.", "{B} asked {a} to come to the {place}."],
    &["They took the train at {time}.", "They put {food} and {food2} in a {colour} bag.", "They walked for {n} hours."],
    &["The weather was {weather}.", "On the way they saw {n} {things}.", "They met a {animal} on the road. It said {sound}."],
    &["At the {place} they ate {food}.", "{A} made a picture of the {place}.", "{B} told a story about a {colour} {thing}."],
    &["In the evening they went home.", "It was a good day.", "They were tired, but happy."],
];

const COOKING: [Beat; 5] = [
    &["{A} was hungry.", "{A} wanted to cook for {b}.", "There was nothing to eat in the kitchen."],
    &["{They} went to the market and bought {food}, {food2} and {food3}.", "{They} needed {food} and {food2}."],
    &[
        "{They} put the {food} into a big pot.",
        "First {they} cut the {food}. Then {they} added {food2}.",
        "{B} helped {them} with the {food}.",
    ],
    &["It smelled very good.", "After {n} minutes the food was ready.", "{They} forgot the {food3}, but nobody noticed."],
    &["{B} said that dinner was ready.", "They ate at the {colour} table.", "{A} and {b} ate everything."],
];

const HOUSE: [Beat; 5] = [
    &["The alarm rang at {time}.", "{A} woke up at {time}.", "It was dark in the {room}."],
    &["{A} turned on the light in the {room}.", "{They} went into the {room} and turned off the light.", "The {room} light was {colour}."],
    &["There was a {thing} on the floor.", "{They} heard a sound: {sound}!", "A {animal} sat in the {room}."],
    &[
        "{A} put the {colour} {thing} next to the {colour2} {other}.",
        "{They} sent a message to {b}.",
        "{They} called {b} and asked what to do.",
    ],
    &["{B} came at once.", "Then {they} closed the door and went back to bed.", "After that, the house was quiet."],
];

const ANIMAL: [Beat; 5] = [
    &["A {colour} {animal} lived near the {place}.", "{A} had a {animal}.", "At the {place}, {a} saw a small {animal}."],
    &["The {animal} was very hungry.", "The {animal} said {sound}.", "Every day the {animal} waited for {a}."],
    &["{A} gave it some {food}.", "{A} wanted to help the {animal}.", "{B} brought a {thing} for the {animal}."],
    &["But the {animal} did not like {food2}.", "The {animal} ran to the {place2}.", "The {animal} slept in the {room}."],
    &["Now the {animal} and {a} are friends.", "{A} and {b} laughed.", "The next day the {animal} came again."],
];

const SHOP: [Beat; 4] = [
    &["{A} wrote a shopping list.", "{A} went to the shop on {day}.", "{B} asked {a} to buy {food}."],
    &["On the list were {food}, {food2} and {food3}.", "{They} bought {n} {things} and some {food}.", "{They} needed a {colour} {thing}."],
    &["The shop was closed, so {they} went to the {place}.", "The {thing} cost {n} coins.", "There was no {food2} left."],
    &["{A} paid and went home.", "{They} put everything in the {room}.", "At home {b} made tea."],
];

const PLOTS: [&[Beat]; 6] = [&LOST, &TRIP, &COOKING, &HOUSE, &ANIMAL, &SHOP];

const TITLES: Beat = &["{A} and the {thing}", "The {colour} {thing}", "A day at the {place}", "{A} and {b}", "The {animal}"];

/// A story with this cast.
pub fn story(pen: &mut Pen, scene: &Scene) -> String {
    let mut sentences = Vec::new();
    if !pen.once_in(3) {
        sentences.push(scene.say(pen, OPENINGS));
    }
    let plot = pen.pick(&PLOTS);
    sentences.extend(plot.iter().map(|beat| scene.say(pen, beat)));
    sentences.join(" ")
}

/// A story as a document, sometimes with a title, sometimes two paragraphs about the same people.
pub fn document(pen: &mut Pen) -> String {
    let scene = Scene::new(pen);
    let mut text = if pen.once_in(3) { scene.say(pen, TITLES) + "\n\n" } else { String::new() };
    text += &story(pen, &scene);
    if pen.once_in(3) {
        text = format!("{text}\n\n{}", story(pen, &scene));
    }
    text
}
