//! Rows that are nearly the same: MinHash signatures, candidates by bands, an exact check.
//!
//! A text is the set of its runs of [`RUN`] characters, without regard to case and punctuation. Two
//! texts are alike by the Jaccard index of their sets. Equal places in two signatures estimate that
//! index (Broder, 1997); rows that share a band of places are candidates (Leskovec, Rajaraman and
//! Ullman, "Mining of Massive Datasets", chapter 3); the sets of likely ones are compared exactly.

use std::collections::HashSet;

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::base::cancel;
use crate::data::random::Rng;

/// Characters of a run.
const RUN: usize = 8;
/// Places of a signature.
const PLACES: usize = 128;
/// Earlier rows that are looked at in one bucket: a bound on the work for data of one pattern.
const MOST_IN_BUCKET: usize = 64;
/// How far below the threshold an estimate may lie for the exact check: three standard errors.
const SLACK: f64 = 0.12;
/// What the hashes are drawn for.
const PURPOSE: u64 = 31;

type Signature = [u32; PLACES];

/// For each text whether it is like an earlier one that is kept: Jaccard index at least `threshold`.
pub(super) fn repeats(texts: &[String], threshold: f64) -> Vec<bool> {
    let token = cancel::Token::current();
    let hashes = Hashes::new();
    let signatures: Vec<Signature> = texts
        .par_iter()
        .map(|text| {
            token.checkpoint();
            hashes.signature(&runs(text))
        })
        .collect();
    let width = band_width(threshold);
    let mut buckets: FxHashMap<(usize, u64), Vec<u32>> = FxHashMap::default();
    let mut repeats = vec![false; texts.len()];
    for (row, signature) in signatures.iter().enumerate() {
        token.checkpoint();
        let keys: Vec<(usize, u64)> = signature.chunks(width).map(key).enumerate().collect();
        let mut candidates: Vec<u32> = keys.iter().filter_map(|k| buckets.get(k)).flatten().copied().collect();
        candidates.sort_unstable();
        candidates.dedup();
        let own = std::cell::OnceCell::new();
        repeats[row] = candidates.into_iter().any(|earlier| {
            let earlier = earlier as usize;
            if estimate(signature, &signatures[earlier]) < threshold - SLACK {
                return false;
            }
            jaccard(own.get_or_init(|| runs(&texts[row])), &runs(&texts[earlier])) >= threshold
        });
        if !repeats[row] {
            for key in keys {
                let bucket = buckets.entry(key).or_default();
                if bucket.len() < MOST_IN_BUCKET {
                    bucket.push(row as u32);
                }
            }
        }
    }
    repeats
}

/// Places of a band: the most that still find 97 of 100 pairs at the threshold.
fn band_width(threshold: f64) -> usize {
    let found = |width: &usize| {
        let bands = (PLACES / width) as i32;
        1.0 - (1.0 - threshold.powi(*width as i32)).powi(bands) >= 0.97
    };
    [32, 16, 8, 4, 2].into_iter().find(found).unwrap_or(1)
}

fn key(band: &[u32]) -> u64 {
    band.iter().fold(0xcbf2_9ce4_8422_2325, |h, v| (h ^ u64::from(*v)).wrapping_mul(0x0100_0000_01b3).rotate_left(23))
}

fn estimate(a: &Signature, b: &Signature) -> f64 {
    a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / PLACES as f64
}

fn jaccard(a: &HashSet<u32>, b: &HashSet<u32>) -> f64 {
    let both = a.intersection(b).count();
    both as f64 / (a.len() + b.len() - both).max(1) as f64
}

/// The hashes of a text's runs; a shorter text is one run.
fn runs(text: &str) -> HashSet<u32> {
    const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
    let letters: Vec<u64> = normalised(text).chars().map(u64::from).collect();
    // The weight of the letter that leaves a full run.
    let first = (1..RUN).fold(1_u64, |w, _| w.wrapping_mul(BASE));
    let mut out = HashSet::new();
    let mut hash = 0_u64;
    for (i, letter) in letters.iter().enumerate() {
        if i >= RUN {
            hash = hash.wrapping_sub(letters[i - RUN].wrapping_add(1).wrapping_mul(first));
        }
        hash = hash.wrapping_mul(BASE).wrapping_add(letter + 1);
        if i + 1 >= RUN || i + 1 == letters.len() {
            out.insert(mixed(hash));
        }
    }
    out
}

/// Words in lower case with one space between them.
fn normalised(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The finaliser of SplitMix64, cut to 32 bits.
fn mixed(mut x: u64) -> u32 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) as u32
}

/// One hash for each place: `a x + b` modulo 2^32.
struct Hashes {
    a: Signature,
    b: Signature,
}

impl Hashes {
    fn new() -> Self {
        let mut rng = Rng::for_parts(&[PURPOSE]);
        let a = std::array::from_fn(|_| rng.next_u64() as u32 | 1);
        Self { a, b: std::array::from_fn(|_| rng.next_u64() as u32) }
    }

    fn signature(&self, runs: &HashSet<u32>) -> Signature {
        let mut least = [u32::MAX; PLACES];
        for x in runs {
            for i in 0..PLACES {
                least[i] = least[i].min(self.a[i].wrapping_mul(*x).wrapping_add(self.b[i]));
            }
        }
        least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rng: &mut Rng, words: usize) -> Vec<String> {
        let word = |rng: &mut Rng| (0..2 + rng.below(7)).map(|_| char::from(b'a' + rng.below(26) as u8)).collect();
        (0..words).map(|_| word(rng)).collect()
    }

    /// Against the index of every pair.
    #[test]
    fn finds_what_comparing_all_pairs_finds() {
        let seed = u64::from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos());
        for threshold in [0.5, 0.7, 0.8, 0.9] {
            let mut rng = Rng::for_parts(&[seed]);
            let mut texts: Vec<String> = Vec::new();
            for _ in 0..60 {
                let mut words = text(&mut rng, 60);
                texts.push(words.join(" "));
                for _ in 0..rng.below(4) {
                    let at = rng.below(60) as usize;
                    words[at] = "changed".into();
                    texts.push(words.join(" "));
                }
            }
            let sets: Vec<_> = texts.iter().map(|t| runs(t)).collect();
            let mut wanted = vec![false; texts.len()];
            for i in 0..texts.len() {
                wanted[i] = (0..i).any(|j| !wanted[j] && jaccard(&sets[i], &sets[j]) >= threshold);
            }
            let got = repeats(&texts, threshold);
            let apart = got.iter().zip(&wanted).filter(|(a, b)| a != b).count();
            // Bands miss few pairs near the threshold; a miss can change what follows it.
            assert!(apart <= 6, "seed {seed}, threshold {threshold}: {apart} of {} rows differ", texts.len());
            assert!(wanted.iter().any(|w| *w) && !wanted.iter().all(|w| *w));
        }
    }

    #[test]
    fn case_and_punctuation_do_not_count_and_short_texts_are_told_apart() {
        let texts = ["Hello, World!", "hello world", "hello there world", "a", "b", "a.", ""].map(str::to_owned);
        assert_eq!(repeats(&texts, 0.8), [false, true, false, false, false, true, false]);
    }
}
