//! Texts that end an answer, found in text that comes in pieces.

/// Gives out text that no stop text can begin in any more.
#[derive(Debug, Default)]
pub(super) struct Stops {
    stops: Vec<String>,
    held: String,
}

impl Stops {
    pub(super) fn new(stops: Vec<String>) -> Self {
        Self { stops, held: String::new() }
    }

    /// Takes a piece: the text that is certain now, and whether a stop text has come. The stop text
    /// and what follows it are not given out.
    pub(super) fn push(&mut self, piece: &str) -> (String, bool) {
        self.held.push_str(piece);
        if let Some(at) = self.stops.iter().filter_map(|s| self.held.find(s.as_str())).min() {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let kept = self.stops.iter().map(|s| begun(&self.held, s)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - kept);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What is left when no more comes.
    pub(super) fn rest(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes at the end of a text with which a word begins.
pub(super) fn begun(text: &str, word: &str) -> usize {
    let most = text.len().min(word.len().saturating_sub(1));
    (1..=most).rev().find(|n| word.is_char_boundary(*n) && text.ends_with(&word[..*n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Rng;

    /// Cut into pieces anywhere, a text ends where it ends as a whole.
    #[test]
    fn pieces_end_where_the_whole_ends() {
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        let mut random = Rng::for_parts(&[seed]);
        let mut ended = 0;
        for round in 0..2000 {
            let mut word = |least: u64, most: u64| -> String {
                (0..least + random.below(most - least)).map(|_| ['a', 'b', 'é', '\n'][random.below(4) as usize]).collect()
            };
            let text = word(0, 20);
            let stops: Vec<String> = (0..3).map(|_| word(1, 5)).collect();
            let wanted = stops.iter().filter_map(|s| text.find(s.as_str())).min();
            let (mut out, mut seen, mut machine) = (String::new(), false, Stops::new(stops.clone()));
            for c in text.chars() {
                let (piece, stop) = machine.push(&c.to_string());
                out.push_str(&piece);
                seen |= stop;
                if stop {
                    break;
                }
            }
            if !seen {
                out.push_str(&machine.rest());
            }
            ended += u32::from(seen);
            // A stop text that ends earlier may begin later; the answer ends as soon as one is whole.
            assert_eq!(seen, wanted.is_some(), "seed {seed} round {round}: {text:?} {stops:?}");
            assert!(text.starts_with(&out) && stops.iter().all(|s| !out.contains(s.as_str())), "seed {seed} round {round}: {out:?}");
            assert!(seen || out == text, "seed {seed} round {round}");
        }
        assert!(ended > 200);
    }
}
