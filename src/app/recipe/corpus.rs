//! The text that the base model learns from: a seeded row of short documents.

use super::pen::Pen;
use super::{chat, facts, records, stories, sums};

/// `count` documents. Document `i` of a seed is the same whatever the count.
pub fn documents(seed: u64, count: usize) -> impl Iterator<Item = String> {
    (0..count as u64).map(move |i| document(seed, i))
}

/// Document `i` of this seed.
pub fn document(seed: u64, i: u64) -> String {
    let mut pen = Pen::new(&[seed, i]);
    match pen.between(0, 19) {
        0..=4 => stories::document(&mut pen),
        5 | 6 => facts::document(&mut pen),
        7 => sums::document(&mut pen),
        8 | 9 => records::document(&mut pen),
        _ => chat::document(&mut pen),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_documents() {
        let a: Vec<String> = documents(7, 50).collect();
        assert_eq!(a, documents(7, 80).take(50).collect::<Vec<_>>());
        assert_ne!(a, documents(8, 50).collect::<Vec<_>>());
    }

    #[test]
    fn documents_are_filled_in_and_hardly_ever_repeat() {
        let all: Vec<String> = documents(1, 3000).collect();
        let different: HashSet<&String> = all.iter().collect();
        assert!(different.len() > 2850, "{} of {}", different.len(), all.len());
        for text in &all {
            let slot = text.char_indices().any(|(i, c)| c == '{' && text[i + 1..].starts_with(|c: char| c.is_ascii_alphabetic()));
            assert!(!slot && !text.is_empty(), "{text}");
        }
    }
}
