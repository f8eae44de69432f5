//! Weighted sequences of token ids, kept in memory up to a budget and in a temporary file beyond it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The mark in a sequence's length that a count follows, low half first.
const WEIGHTED: u32 = 1 << 31;

/// Sequences, one after another: `length | mark, [count low, count high], ids...`.
#[derive(Debug, Default, Clone)]
pub struct Chunk(Vec<u32>);

impl Chunk {
    /// Appends a sequence that stands for `weight` equal ones. Sequences of fewer than two tokens hold no pair.
    pub fn push(&mut self, ids: &[u32], weight: u64) {
        if ids.len() < 2 {
            return;
        }
        if weight == 1 {
            self.0.push(ids.len() as u32);
        } else {
            self.0.extend([ids.len() as u32 | WEIGHTED, weight as u32, (weight >> 32) as u32]);
        }
        self.0.extend_from_slice(ids);
    }

    /// Number of 4-byte words it takes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The sequences with their weights.
    pub fn sequences(&self) -> impl Iterator<Item = (&[u32], u64)> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (&head, mut after) = rest.split_first()?;
            let mut weight = 1;
            if head & WEIGHTED != 0 {
                weight = u64::from(after[0]) | u64::from(after[1]) << 32;
                after = &after[2..];
            }
            let (ids, next) = after.split_at((head & !WEIGHTED) as usize);
            rest = next;
            Some((ids, weight))
        })
    }
}

#[derive(Debug)]
enum Place {
    Memory(Chunk),
    File { at: u64, words: usize },
}

/// Chunks in memory and on disk.
#[derive(Debug)]
pub struct Store {
    places: Vec<Place>,
    file: Mutex<Option<File>>,
    memory_words: usize,
    file_words: usize,
    budget_words: usize,
    scratch: PathBuf,
}

impl Store {
    /// One that keeps at most `budget_bytes` in memory and the rest in the folder `scratch`.
    pub fn new(budget_bytes: usize, scratch: &Path) -> Self {
        let (budget_words, scratch) = (budget_bytes / 4, scratch.to_path_buf());
        Self { places: Vec::new(), file: Mutex::new(None), memory_words: 0, file_words: 0, budget_words, scratch }
    }

    /// Appends a chunk.
    ///
    /// # Errors
    /// When the temporary folder cannot be written.
    pub fn push(&mut self, mut chunk: Chunk) -> std::io::Result<()> {
        if chunk.0.is_empty() {
            return Ok(());
        }
        let words = chunk.len();
        if self.memory_words + words <= self.budget_words {
            chunk.0.shrink_to_fit();
            self.memory_words += words;
            self.places.push(Place::Memory(chunk));
            return Ok(());
        }
        let file = self.file.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let file = match file {
            Some(file) => file,
            None => file.insert(tempfile::tempfile_in(&self.scratch)?),
        };
        let at = self.file_words as u64 * 4;
        file.seek(SeekFrom::Start(at))?;
        let bytes: Vec<u8> = chunk.0.iter().flat_map(|w| w.to_le_bytes()).collect();
        file.write_all(&bytes)?;
        self.file_words += words;
        self.places.push(Place::File { at, words });
        Ok(())
    }

    /// Number of chunks.
    pub fn chunks(&self) -> usize {
        self.places.len()
    }

    /// Number of 4-byte words in all chunks: there are no more tokens than that.
    pub fn words(&self) -> usize {
        self.memory_words + self.file_words
    }

    /// Bytes that lie on disk.
    pub fn file_bytes(&self) -> u64 {
        self.file_words as u64 * 4
    }

    /// Does something with a chunk.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub fn with<R>(&self, chunk: usize, work: impl FnOnce(&Chunk) -> R) -> std::io::Result<R> {
        match &self.places[chunk] {
            Place::Memory(chunk) => Ok(work(chunk)),
            Place::File { at, words } => {
                let mut bytes = vec![0_u8; words * 4];
                {
                    let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    let file = file.as_mut().ok_or_else(|| std::io::Error::other("the temporary file is gone"))?;
                    file.seek(SeekFrom::Start(*at))?;
                    file.read_exact(&mut bytes)?;
                }
                let ids = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
                Ok(work(&Chunk(ids)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_comes_back() {
        for budget in [0, 400, 1 << 20] {
            let mut store = Store::new(budget, &std::env::temp_dir());
            for i in 0..20_u32 {
                let mut chunk = Chunk::default();
                chunk.push(&[i, i + 1, i + 2], 1);
                chunk.push(&[i], 3);
                chunk.push(&[7, i], u64::from(i) << 31);
                store.push(chunk).unwrap();
            }
            assert_eq!(store.file_bytes() > 0, budget < 1 << 20);
            for i in 0..20_u32 {
                let got = store.with(i as usize, |c| c.sequences().map(|(s, w)| (s.to_vec(), w)).collect::<Vec<_>>()).unwrap();
                assert_eq!(got, [(vec![i, i + 1, i + 2], 1), (vec![7, i], u64::from(i) << 31)]);
            }
        }
    }
}
