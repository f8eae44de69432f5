//! Which parts of a range are free: whole pages, the best fit first, neighbours joined again.

use std::collections::{BTreeMap, BTreeSet};

/// The granularity of blocks, in bytes.
pub(super) const PAGE: usize = 4096;

/// A part of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Where it begins.
    pub at: usize,
    /// Whether no part of it was ever given out before.
    pub fresh: bool,
}

/// The free parts of `begin .. end`. Lengths are whole pages.
#[derive(Debug)]
pub(super) struct Extents {
    by_place: BTreeMap<usize, usize>,
    by_length: BTreeSet<(usize, usize)>,
    /// From here to `end` nothing was ever given out.
    top: usize,
    end: usize,
}

impl Extents {
    pub(super) const fn new(begin: usize, end: usize) -> Self {
        Self { by_place: BTreeMap::new(), by_length: BTreeSet::new(), top: begin, end }
    }

    fn insert(&mut self, at: usize, length: usize) {
        if length > 0 {
            self.by_place.insert(at, length);
            self.by_length.insert((length, at));
        }
    }

    fn remove(&mut self, at: usize) -> Option<usize> {
        let length = self.by_place.remove(&at)?;
        self.by_length.remove(&(length, at));
        Some(length)
    }

    /// The smallest hole that fits, of several the first; else what follows the last block. `None` where the range is full.
    pub(super) fn take(&mut self, length: usize) -> Option<Taken> {
        if let Some(&(found, at)) = self.by_length.range((length, 0)..).next() {
            self.remove(at);
            self.insert(at + length, found - length);
            return Some(Taken { at, fresh: false });
        }
        let at = match self.by_place.last_key_value() {
            Some((&at, &hole)) if at + hole == self.top => at,
            _ => self.top,
        };
        if length > self.end - at {
            return None;
        }
        let fresh = self.remove(at).is_none();
        self.top = at + length;
        Some(Taken { at, fresh })
    }

    /// Gives a part back.
    pub(super) fn give(&mut self, at: usize, length: usize) {
        let (mut at, mut length) = (at, length);
        if let Some(next) = self.remove(at + length) {
            length += next;
        }
        if let Some((&before, &hole)) = self.by_place.range(..at).next_back()
            && before + hole == at
        {
            self.remove(before);
            (at, length) = (before, hole + length);
        }
        self.insert(at, length);
    }

    /// Makes a part longer or shorter where it lies; false where what follows is not free.
    pub(super) fn resize(&mut self, at: usize, from: usize, to: usize) -> bool {
        if to <= from {
            if to < from {
                self.give(at + to, from - to);
            }
            return true;
        }
        let (end, more) = (at + from, to - from);
        if end == self.top && more <= self.end - end {
            self.top += more;
            return true;
        }
        match self.by_place.get(&end).copied() {
            Some(hole) if hole >= more => {
                self.remove(end);
                self.insert(end + more, hole - more);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_hole_that_fits_is_taken() {
        let mut e = Extents::new(0, 1000);
        let at = [30, 5, 10, 5, 12, 5].map(|n| e.take(n).unwrap().at);
        assert_eq!(at, [0, 30, 35, 45, 50, 62]);
        for (at, n) in [(0, 30), (35, 10), (50, 12)] {
            e.give(at, n);
        }
        assert_eq!(e.take(9), Some(Taken { at: 35, fresh: false }));
        assert_eq!(e.take(11), Some(Taken { at: 50, fresh: false }));
        assert_eq!(e.take(31), Some(Taken { at: 67, fresh: true }));
        e.give(30, 5);
        assert_eq!(e.take(35), Some(Taken { at: 0, fresh: false }));
    }

    #[test]
    fn a_range_that_is_full_says_so() {
        let mut e = Extents::new(0, 100);
        assert!(e.take(101).is_none());
        assert_eq!(e.take(60).unwrap().at, 0);
        assert!(e.take(41).is_none());
        assert!(e.resize(0, 60, 100) && !e.resize(0, 100, 101));
        assert!(e.resize(0, 100, 10) && e.take(90) == Some(Taken { at: 10, fresh: false }));
    }

    #[test]
    fn blocks_never_overlap_and_all_joins_again() {
        let mut state = 1_u64;
        let mut random = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        let (mut e, mut live) = (Extents::new(7, 5000), Vec::<(usize, usize)>::new());
        for _ in 0..20_000 {
            let n = 1 + random(60);
            match random(5) {
                0 | 1 if !live.is_empty() => {
                    let (at, n) = live.swap_remove(random(live.len()));
                    e.give(at, n);
                }
                2 if !live.is_empty() => {
                    let i = random(live.len());
                    let (at, from) = live[i];
                    if e.resize(at, from, n) {
                        live[i] = (at, n);
                    }
                }
                _ => {
                    if let Some(taken) = e.take(n) {
                        live.push((taken.at, n));
                    }
                }
            }
            let mut sorted = live.clone();
            sorted.sort_unstable();
            assert!(sorted.windows(2).all(|w| w[0].0 + w[0].1 <= w[1].0), "{sorted:?}");
            assert!(sorted.iter().all(|&(at, n)| at >= 7 && at + n <= 5000));
        }
        for (at, n) in live {
            e.give(at, n);
        }
        assert_eq!(e.by_place.len(), 1);
        assert_eq!(e.by_place.first_key_value(), Some((&7, &(e.top - 7))));
    }

    /// The blocks of training steps of a 135M shape at 2048 tokens in bf16, in the order a decoder takes and returns them.
    #[test]
    fn a_training_step_leaves_few_holes() {
        let (hidden, kv, inter, logits) = (576, 192, 1536, 4096);
        let mut e = Extents::new(0, 1 << 30);
        let (mut live, mut most) = (0, 0);
        let mut take = |e: &mut Extents, live: &mut usize, n: usize| {
            *live += n;
            most = most.max(*live);
            (e.take(n).unwrap().at, n)
        };
        let give = |e: &mut Extents, live: &mut usize, (at, n): (usize, usize)| {
            *live -= n;
            e.give(at, n);
        };
        for _ in 0..4 {
            let mut tape = Vec::new();
            for _ in 0..30 {
                let norm = take(&mut e, &mut live, hidden);
                let mut kept: Vec<_> = [hidden, kv, kv].map(|n| take(&mut e, &mut live, n)).into();
                give(&mut e, &mut live, norm);
                kept.extend([hidden, hidden].map(|n| take(&mut e, &mut live, n)));
                let norm = take(&mut e, &mut live, hidden);
                kept.extend([inter, inter].map(|n| take(&mut e, &mut live, n)));
                give(&mut e, &mut live, norm);
                let act = take(&mut e, &mut live, inter);
                kept.push(take(&mut e, &mut live, hidden));
                give(&mut e, &mut live, act);
                tape.push(kept);
            }
            let mut dy = take(&mut e, &mut live, hidden);
            for _ in 0..12 {
                let (a, b) = (take(&mut e, &mut live, logits), take(&mut e, &mut live, 48));
                give(&mut e, &mut live, a);
                give(&mut e, &mut live, b);
            }
            while let Some(kept) = tape.pop() {
                for n in [inter, inter, hidden, hidden] {
                    let made = take(&mut e, &mut live, n);
                    give(&mut e, &mut live, std::mem::replace(&mut dy, made));
                }
                kept.into_iter().for_each(|block| give(&mut e, &mut live, block));
            }
            give(&mut e, &mut live, dy);
        }
        assert_eq!(live, 0);
        assert!(e.top as f64 <= 1.02 * most as f64, "{} pages for {most}", e.top);
    }
}
