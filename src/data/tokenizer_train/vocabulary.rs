//! Tokens as bytes, the merges that made them, and the encoding by them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

/// Two adjacent tokens, the first in the high half: as numbers they sort as pairs do.
pub fn pair(a: u32, b: u32) -> u64 {
    u64::from(a) << 32 | u64::from(b)
}

/// The two tokens of a [`pair`].
pub fn parts(pair: u64) -> (u32, u32) {
    ((pair >> 32) as u32, pair as u32)
}

/// The character that stands for each byte in a byte-level vocabulary: itself where it is printable, else one from 256.
pub fn byte_characters() -> [char; 256] {
    let mut next = 256;
    std::array::from_fn(|b| {
        let own = matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if own {
            b as u32
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(code).unwrap_or('\u{fffd}')
    })
}

/// A byte-level vocabulary: special tokens, the 256 bytes, then one token per merge.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    /// Bytes of every token; empty for special ones.
    bytes: Vec<Box<[u8]>>,
    by_bytes: FxHashMap<Box<[u8]>, u32>,
    byte_ids: [u32; 256],
    /// Pair and token in the order in which they were made.
    merges: Vec<(u64, u32)>,
    rank: FxHashMap<u64, (u32, u32)>,
}

impl Vocabulary {
    /// `special` special tokens, whose ids come first, and the bytes in the order of the characters that stand for them.
    pub fn new(special: usize) -> Self {
        let characters = byte_characters();
        let mut order: Vec<u8> = (0..=255).collect();
        order.sort_by_key(|b| characters[*b as usize]);
        let mut bytes: Vec<Box<[u8]>> = vec![Box::default(); special];
        let (mut by_bytes, mut byte_ids) = (FxHashMap::default(), [0; 256]);
        for b in order {
            byte_ids[b as usize] = bytes.len() as u32;
            by_bytes.insert(Box::from([b]), bytes.len() as u32);
            bytes.push(Box::from([b]));
        }
        Self { bytes, by_bytes, byte_ids, merges: Vec::new(), rank: FxHashMap::default() }
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of a token.
    pub fn bytes(&self, id: u32) -> &[u8] {
        &self.bytes[id as usize]
    }

    /// Id of a byte.
    pub fn byte(&self, byte: u8) -> u32 {
        self.byte_ids[byte as usize]
    }

    /// Merges in order: the pair and the token that it becomes.
    pub fn merges(&self) -> &[(u64, u32)] {
        &self.merges
    }

    /// Bytes of what a pair would become.
    pub fn joined(&self, of: u64) -> Vec<u8> {
        let (a, b) = parts(of);
        [self.bytes(a), self.bytes(b)].concat()
    }

    /// Adds a merge. Where two pairs give the same bytes they give the same token.
    pub fn merge(&mut self, of: u64) -> u32 {
        // A pair can come up again when its second half was made in two ways.
        if let Some((_, id)) = self.rank.get(&of) {
            return *id;
        }
        let joined = self.joined(of).into_boxed_slice();
        let id = match self.by_bytes.get(&joined) {
            Some(id) => *id,
            None => {
                let id = self.bytes.len() as u32;
                self.by_bytes.insert(joined.clone(), id);
                self.bytes.push(joined);
                id
            }
        };
        self.rank.insert(of, (self.merges.len() as u32, id));
        self.merges.push((of, id));
        id
    }

    /// Tokens of a piece: of all adjacent pairs that have a merge, the earliest merge goes first, from the left.
    pub fn encode(&self, piece: &[u8], ids: &mut Vec<u32>) {
        let start = ids.len();
        ids.extend(piece.iter().map(|b| self.byte(*b)));
        if piece.len() <= 32 { self.encode_short(start, ids) } else { self.encode_long(start, ids) }
    }

    fn rank_of(&self, a: u32, b: u32) -> Option<(u32, u32)> {
        self.rank.get(&pair(a, b)).copied()
    }

    fn encode_short(&self, start: usize, ids: &mut Vec<u32>) {
        loop {
            let at = (start..ids.len().saturating_sub(1)).filter_map(|i| Some((self.rank_of(ids[i], ids[i + 1])?, i)));
            let Some(((_, id), i)) = at.min() else { return };
            ids[i] = id;
            ids.remove(i + 1);
        }
    }

    fn encode_long(&self, start: usize, ids: &mut Vec<u32>) {
        const GONE: usize = usize::MAX;
        let mut held: Vec<u32> = ids.drain(start..).collect();
        let n = held.len();
        let mut next: Vec<usize> = (1..=n).collect();
        let mut before: Vec<usize> = (0..n).map(|i| i.wrapping_sub(1)).collect();
        let mut queue: BinaryHeap<Reverse<(u32, usize, u32, u64)>> = BinaryHeap::new();
        let offer = |queue: &mut BinaryHeap<_>, held: &[u32], i: usize, j: usize| {
            if let Some((rank, id)) = self.rank_of(held[i], held[j]) {
                queue.push(Reverse((rank, i, id, pair(held[i], held[j]))));
            }
        };
        for i in 0..n.saturating_sub(1) {
            offer(&mut queue, &held, i, i + 1);
        }
        while let Some(Reverse((_, i, id, of))) = queue.pop() {
            let j = next[i];
            if j >= n || pair(held[i], held[j]) != of {
                continue;
            }
            held[i] = id;
            next[i] = next[j];
            next[j] = GONE;
            if next[i] < n {
                before[next[i]] = i;
                offer(&mut queue, &held, i, next[i]);
            }
            if before[i] < n {
                offer(&mut queue, &held, before[i], i);
            }
        }
        let mut i = 0;
        while i < n {
            ids.push(held[i]);
            i = next[i];
        }
    }
}

/// Encodes pieces with spaces inside by words, remembering what came of each word.
///
/// A merge made under [`super::pattern::WORDS`] never reaches from a character over the space after it, so that a piece
/// may be cut before every space that follows something else.
#[derive(Debug)]
pub struct WordEncoder<'a> {
    vocabulary: &'a Vocabulary,
    known: FxHashMap<Box<[u8]>, Box<[u32]>>,
}

impl<'a> WordEncoder<'a> {
    /// For a vocabulary without merges across spaces.
    pub fn new(vocabulary: &'a Vocabulary) -> Self {
        Self { vocabulary, known: FxHashMap::default() }
    }

    /// Appends the tokens of a piece.
    pub fn encode(&mut self, piece: &str, ids: &mut Vec<u32>) {
        let bytes = piece.as_bytes();
        let mut from = 0;
        for at in 1..=bytes.len() {
            let inside = at < bytes.len();
            if inside && (bytes[at] != b' ' || piece[..at].chars().next_back().is_some_and(char::is_whitespace)) {
                continue;
            }
            self.word(&bytes[from..at], ids);
            from = at;
        }
    }

    fn word(&mut self, word: &[u8], ids: &mut Vec<u32>) {
        if let Some(known) = self.known.get(word) {
            ids.extend_from_slice(known);
            return;
        }
        let start = ids.len();
        self.vocabulary.encode(word, ids);
        if word.len() <= 64 {
            if self.known.len() >= 1 << 18 {
                self.known.clear();
            }
            self.known.insert(word.into(), ids[start..].into());
        }
    }
}
