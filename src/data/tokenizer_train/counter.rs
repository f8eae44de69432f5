//! Counts of keys that may be more than memory holds: full tables are sorted and written out, then merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::hash::Hash;
use std::io::{BufReader, BufWriter, Error, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;

/// What can be counted.
pub trait Key: Ord + Hash + Clone + Send {
    /// Bytes of memory that one entry takes, about.
    fn cost_bytes(&self) -> usize;
    /// Writes it.
    fn write(&self, to: &mut dyn Write) -> std::io::Result<()>;
    /// Reads what was written.
    fn read(from: &mut dyn Read) -> std::io::Result<Self>;
}

impl Key for u64 {
    fn cost_bytes(&self) -> usize {
        36
    }
    fn write(&self, to: &mut dyn Write) -> std::io::Result<()> {
        to.write_all(&self.to_le_bytes())
    }
    fn read(from: &mut dyn Read) -> std::io::Result<Self> {
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes)?;
        Ok(Self::from_le_bytes(bytes))
    }
}

impl Key for Box<str> {
    fn cost_bytes(&self) -> usize {
        self.len() + 64
    }
    fn write(&self, to: &mut dyn Write) -> std::io::Result<()> {
        (self.len() as u64).write(to)?;
        to.write_all(self.as_bytes())
    }
    fn read(from: &mut dyn Read) -> std::io::Result<Self> {
        let mut bytes = vec![0; u64::read(from)? as usize];
        from.read_exact(&mut bytes)?;
        String::from_utf8(bytes).map(String::into_boxed_str).map_err(|e| Error::new(ErrorKind::InvalidData, e))
    }
}

/// Counts by key.
#[derive(Debug)]
pub struct Counter<K> {
    table: FxHashMap<K, u64>,
    used_bytes: usize,
    budget_bytes: usize,
    scratch: PathBuf,
    /// Sorted tables on disk, each its number of entries and then the entries.
    runs: Vec<File>,
}

impl<K: Key> Counter<K> {
    /// One that keeps about `budget_bytes` in memory and the rest in the folder `scratch`.
    pub fn new(budget_bytes: usize, scratch: &Path) -> Self {
        Self { table: FxHashMap::default(), used_bytes: 0, budget_bytes, scratch: scratch.to_path_buf(), runs: Vec::new() }
    }

    /// Adds counts; the order in which this is called changes nothing.
    ///
    /// # Errors
    /// When the folder for temporary files cannot be written.
    pub fn add(&mut self, counts: impl IntoIterator<Item = (K, u64)>) -> std::io::Result<()> {
        for (key, count) in counts {
            match self.table.get_mut(&key) {
                Some(n) => *n += count,
                None => {
                    self.used_bytes += key.cost_bytes();
                    self.table.insert(key, count);
                }
            }
        }
        if self.used_bytes > self.budget_bytes { self.spill() } else { Ok(()) }
    }

    /// How often memory was full.
    pub fn spills(&self) -> usize {
        self.runs.len()
    }

    fn sorted(&mut self) -> Vec<(K, u64)> {
        self.used_bytes = 0;
        let mut entries: Vec<(K, u64)> = std::mem::take(&mut self.table).into_iter().collect();
        rayon::slice::ParallelSliceMut::par_sort_unstable(entries.as_mut_slice());
        entries
    }

    fn spill(&mut self) -> std::io::Result<()> {
        let entries = self.sorted();
        let mut to = BufWriter::with_capacity(1 << 20, tempfile::tempfile_in(&self.scratch)?);
        (entries.len() as u64).write(&mut to)?;
        for (key, count) in &entries {
            key.write(&mut to)?;
            count.write(&mut to)?;
        }
        self.runs.push(to.into_inner().map_err(|e| e.into_error())?);
        Ok(())
    }

    /// Calls `each` with every key and its whole count, in the order of keys.
    ///
    /// # Errors
    /// Those of `each`, and when what was written out cannot be read.
    pub fn drain(mut self, mut each: impl FnMut(K, u64) -> std::io::Result<()>) -> std::io::Result<()> {
        if self.runs.is_empty() {
            return self.sorted().into_iter().try_for_each(|(key, count)| each(key, count));
        }
        self.spill()?;
        let mut readers = Vec::new();
        for mut file in std::mem::take(&mut self.runs) {
            file.rewind()?;
            let mut reader = BufReader::with_capacity(1 << 16, file);
            let left = u64::read(&mut reader)?;
            readers.push((reader, left));
        }
        let mut heads = BinaryHeap::new();
        for i in 0..readers.len() {
            heads.extend(next(&mut readers[i])?.map(|(key, count): (K, u64)| Reverse((key, i, count))));
        }
        let mut whole: Option<(K, u64)> = None;
        while let Some(Reverse((key, i, count))) = heads.pop() {
            heads.extend(next(&mut readers[i])?.map(|(key, count)| Reverse((key, i, count))));
            match &mut whole {
                Some((held, n)) if *held == key => *n += count,
                _ => {
                    if let Some((key, count)) = whole.replace((key, count)) {
                        each(key, count)?;
                    }
                }
            }
        }
        whole.map_or(Ok(()), |(key, count)| each(key, count))
    }
}

fn next<K: Key>((reader, left): &mut (BufReader<File>, u64)) -> std::io::Result<Option<(K, u64)>> {
    if *left == 0 {
        return Ok(None);
    }
    *left -= 1;
    Ok(Some((K::read(reader)?, u64::read(reader)?)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn spilled_counts_are_those_of_memory() {
        for budget in [100, 3_000, 1 << 30] {
            let mut counter = Counter::<Box<str>>::new(budget, &std::env::temp_dir());
            let mut oracle = BTreeMap::new();
            for i in 0..5_000_u64 {
                let key = format!("é{}", i * i % 97);
                *oracle.entry(key.clone().into_boxed_str()).or_insert(0) += i;
                counter.add([(key.into_boxed_str(), i)]).unwrap();
            }
            assert_eq!(counter.spills() > 0, budget < 1 << 20, "{budget}");
            let mut got = Vec::new();
            counter
                .drain(|k, n| {
                    got.push((k, n));
                    Ok(())
                })
                .unwrap();
            assert_eq!(got, oracle.into_iter().collect::<Vec<_>>());
        }
    }
}
