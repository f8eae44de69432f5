//! Choosing and filling in: what every part of the grammar writes with.

use super::words::{ANIMALS, COLOURS, COUNTRIES, DAYS, FOODS, JOBS, PEOPLE, PLACES, ROOMS, THINGS, WEATHER, capital};
use crate::data::Rng;

/// A source of choices.
#[derive(Debug, Clone)]
pub struct Pen(Rng);

impl Pen {
    /// The pen of one document.
    pub fn new(parts: &[u64]) -> Self {
        Self(Rng::for_parts(parts))
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.0.below(from.len() as u64) as usize]
    }

    /// `n` different ones of these, in random order.
    pub fn some<T: Copy>(&mut self, from: &[T], n: usize) -> Vec<T> {
        let mut all = from.to_vec();
        self.0.shuffle(&mut all);
        all.truncate(n);
        all
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.0.below(u64::from(high - low + 1)) as u32
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.0.below(n) == 0
    }
}

/// What the slots of one document stand for: the same throughout it.
#[derive(Debug, Clone)]
pub struct Scene(Vec<(&'static str, String)>);

impl Scene {
    /// A hero, a friend, and everything around them.
    pub fn new(pen: &mut Pen) -> Self {
        let people = pen.some(&PEOPLE, 2);
        let things = pen.some(&THINGS, 2);
        let foods = pen.some(&FOODS, 3);
        let places = pen.some(&PLACES, 2);
        let colours = pen.some(&COLOURS, 2);
        let animal = pen.pick(&ANIMALS);
        let number = pen.between(2, 12);
        let mut slots: Vec<(&'static str, String)> = vec![
            ("a", people[0].0.into()),
            ("b", people[1].0.into()),
            ("thing", things[0].0.into()),
            ("things", things[0].1.into()),
            ("other", things[1].0.into()),
            ("food", foods[0].into()),
            ("food2", foods[1].into()),
            ("food3", foods[2].into()),
            ("place", places[0].into()),
            ("place2", places[1].into()),
            ("colour", colours[0].into()),
            ("colour2", colours[1].into()),
            ("animal", animal.0.into()),
            ("sound", animal.2.into()),
            ("room", pen.pick(&ROOMS).into()),
            ("day", pen.pick(&DAYS).into()),
            ("city", pen.pick(&COUNTRIES).1.into()),
            ("weather", pen.pick(&WEATHER).into()),
            ("job", pen.pick(&JOBS).into()),
            ("n", super::words::number(number)),
            ("time", format!("{}:{:02}", pen.between(5, 11), pen.between(0, 11) * 5)),
        ];
        for (keys, she) in [(["they", "their", "them"], people[0].1), (["bthey", "btheir", "bthem"], people[1].1)] {
            let words = if she { ["she", "her", "her"] } else { ["he", "his", "him"] };
            slots.extend(keys.into_iter().zip(words.map(str::to_owned)));
        }
        Self(slots)
    }

    /// What a slot stands for.
    pub fn get(&self, slot: &str) -> &str {
        self.0.iter().find(|(name, _)| *name == slot).map_or("", |(_, value)| value)
    }

    /// The template with its slots filled. `{They}` is `{they}` with a capital.
    pub fn fill(&self, template: &str) -> String {
        let mut out = String::with_capacity(template.len() + 16);
        let mut rest = template;
        while let Some(open) = rest.find('{') {
            let Some(length) = rest[open..].find('}') else { break };
            out.push_str(&rest[..open]);
            let slot = &rest[open + 1..open + length];
            let lower = slot.to_lowercase();
            let value = self.get(&lower);
            out.push_str(&if lower == slot { value.to_owned() } else { capital(value) });
            rest = &rest[open + length + 1..];
        }
        out.push_str(rest);
        out
    }

    /// One of the templates, filled.
    pub fn say(&self, pen: &mut Pen, templates: &[&str]) -> String {
        self.fill(pen.pick(templates))
    }
}
