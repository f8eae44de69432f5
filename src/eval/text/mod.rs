//! Overlap of an answer's words and characters with those of the wanted one.

pub mod bleu;
pub mod chrf;
pub mod rouge;

use std::collections::HashMap;
use std::hash::Hash;

/// How often each run of `order` items occurs.
fn grams<T: Eq + Hash>(items: &[T], order: usize) -> HashMap<&[T], usize> {
    let mut counts = HashMap::new();
    for gram in items.windows(order) {
        *counts.entry(gram).or_default() += 1;
    }
    counts
}

/// Occurrences that both have.
fn shared<T: Eq + Hash>(a: &HashMap<&[T], usize>, b: &HashMap<&[T], usize>) -> usize {
    a.iter().map(|(gram, n)| b.get(gram).map_or(0, |m| (*n).min(*m))).sum()
}

/// What Python's `str.split` and `str.strip` call white space.
fn space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The words between white space.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(space).filter(|w| !w.is_empty())
}
