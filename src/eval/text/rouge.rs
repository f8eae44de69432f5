//! ROUGE-1, ROUGE-2 and ROUGE-L as the package rouge-score computes them, without stemming
//! (Lin, 2004).

use super::{grams, shared};

/// Which overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rouge {
    /// Runs of this many words.
    Grams(usize),
    /// The longest common subsequence.
    Longest,
}

/// Lower-case runs of ASCII letters and digits.
fn tokens(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

/// The F measure of one row, 0 to 1.
pub fn score(kind: Rouge, answer: &str, wanted: &str) -> f64 {
    let (a, w) = (tokens(answer), tokens(wanted));
    let (both, answer, wanted) = match kind {
        Rouge::Grams(n) => {
            let count = |words: &[String]| (words.len() + 1).saturating_sub(n);
            (shared(&grams(&a, n), &grams(&w, n)), count(&a), count(&w))
        }
        Rouge::Longest => (longest_common(&a, &w), a.len(), w.len()),
    };
    if both == 0 {
        return 0.0;
    }
    let (precision, recall) = (both as f64 / answer as f64, both as f64 / wanted as f64);
    2.0 * precision * recall / (precision + recall)
}

/// Length of the longest common subsequence, in the memory of one row of the table.
fn longest_common(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut before = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { before + 1 } else { above.max(row[j]) };
            before = above;
        }
    }
    row[b.len()]
}
