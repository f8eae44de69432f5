//! Trackers that are files: the files are a function of the run's rows, so that no kill can leave
//! a row out or write one twice.
//!
//! ```text
//!   file:    | head | rows up to `sent` | end, or what a killed process wrote |
//!            0                          bytes, as the cursor remembers
//! ```
//! Whatever lies behind `bytes` is cut off before more is written. When the rows delivered so far
//! are not the beginning of metrics.jsonl any more (a killed run makes its last steps again), the
//! files are written anew under the next generation's names.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cursor::Cursor;
use super::facts::Facts;
use super::feed::{Taken, Tracker};
use super::row::{Chain, Place, Row};
use crate::base::atomic;
use crate::base::error::Fault;

/// A format of files.
pub trait Format: Send {
    /// Its word.
    const NAME: &'static str;
    /// What names of this format's files of one generation end with; `None` where a generation
    /// writes over the one before.
    fn ending(generation: u32) -> Option<String>;
    /// What stands before the first row.
    fn head(&self, generation: u32, out: &mut Out);
    /// A row.
    fn row(&self, generation: u32, row: &Row, out: &mut Out);
    /// What stands behind the last row; it is cut off when the run goes on.
    fn end(&self, generation: u32, facts: &Facts, last: &Last, out: &mut Out);
    /// A record as it stands in a file, at this offset.
    fn frame(offset: u64, record: &[u8]) -> Vec<u8>;
}

/// The newest value of every figure, by stage and name.
pub type Last = BTreeMap<(usize, String), f64>;

/// How far a file is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Extent {
    bytes: u64,
    records: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Memory {
    folder: PathBuf,
    generation: u32,
    sent: Option<Place>,
    chain: Chain,
    files: BTreeMap<String, Extent>,
}

/// Records on their way into files.
#[derive(Debug)]
pub struct Out {
    files: BTreeMap<String, Extent>,
    written: BTreeMap<String, Vec<u8>>,
    frame: fn(u64, &[u8]) -> Vec<u8>,
}

impl Out {
    /// Adds a record to a file, named relative to the tracker's folder. `make` is told how many
    /// records stand before it.
    pub fn add(&mut self, file: &str, make: impl FnOnce(u64) -> Vec<u8>) {
        let extent = self.files.entry(file.to_owned()).or_default();
        let bytes = (self.frame)(extent.bytes, &make(extent.records));
        extent.bytes += bytes.len() as u64;
        extent.records += 1;
        self.written.entry(file.to_owned()).or_default().extend(bytes);
    }

    /// Adds a record to a file that has none.
    pub fn add_first(&mut self, file: &str, make: impl FnOnce() -> Vec<u8>) {
        if self.files.get(file).is_none_or(|extent| extent.records == 0) {
            self.add(file, |_| make());
        }
    }
}

/// A tracker that writes files of format `F`.
#[derive(Debug)]
pub struct Mirror<F> {
    format: F,
    cursor: Cursor<Memory>,
    /// The rows seen since the file was begun, while they repeat what was delivered.
    check: Option<Chain>,
    last: Last,
}

impl<F: Format> Mirror<F> {
    /// Takes the tracker's cursor. Files go into `folder`.
    ///
    /// # Errors
    /// As [`Cursor::take`].
    pub fn open(run: &Path, folder: PathBuf, format: F) -> Result<Self, Fault> {
        let mut cursor: Cursor<Memory> = Cursor::take(run, F::NAME)?;
        if cursor.value.folder != folder {
            // Another folder begins with the first row.
            cursor.value = Memory { folder, ..Memory::default() };
        }
        let mut mirror = Self { format, cursor, check: None, last: Last::new() };
        if mirror.cursor.value.files.is_empty() || !mirror.is_whole() {
            mirror.begin()?;
        } else {
            mirror.trim()?;
        }
        Ok(mirror)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.cursor.value.folder.join(file)
    }

    /// Whether all bytes that the cursor knows of are there.
    fn is_whole(&self) -> bool {
        let m = &self.cursor.value;
        m.files.iter().all(|(file, extent)| fs::metadata(self.path(file)).is_ok_and(|data| data.len() >= extent.bytes))
    }

    /// Cuts off what stands behind the bytes that the cursor knows of.
    fn trim(&self) -> Result<(), Fault> {
        for (file, extent) in &self.cursor.value.files {
            let path = self.path(file);
            let cut = File::options().write(true).open(&path).and_then(|f| f.set_len(extent.bytes));
            cut.map_err(|e| Fault::io("cut", &path, &e))?;
        }
        Ok(())
    }

    /// The next generation, with nothing but its head.
    fn begin(&mut self) -> Result<(), Fault> {
        let m = &mut self.cursor.value;
        *m = Memory { folder: m.folder.clone(), generation: m.generation + 1, ..Memory::default() };
        self.last.clear();
        self.check = None;
        let mut out = self.out();
        self.format.head(self.cursor.value.generation, &mut out);
        self.write(&out)?;
        self.cursor.value.files = out.files;
        self.cursor.write()?;
        self.sweep();
        Ok(())
    }

    /// Removes the files of earlier generations.
    fn sweep(&self) {
        for ending in (1..self.cursor.value.generation).filter_map(F::ending) {
            remove_ending(&self.cursor.value.folder, &ending);
        }
    }

    fn out(&self) -> Out {
        Out { files: self.cursor.value.files.clone(), written: BTreeMap::new(), frame: F::frame }
    }

    /// Writes behind what the cursor knows of.
    fn write(&self, out: &Out) -> Result<(), Fault> {
        for (file, bytes) in &out.written {
            let path = self.path(file);
            let io = |e: std::io::Error| Fault::io("write", &path, &e);
            if let Some(folder) = path.parent() {
                atomic::create_dir_all(folder)?;
            }
            let known = self.cursor.value.files.get(file).map_or(0, |e| e.bytes);
            let mut f = File::options().create(true).truncate(false).write(true).open(&path).map_err(io)?;
            f.set_len(known).map_err(io)?;
            f.seek(SeekFrom::Start(known)).map_err(io)?;
            f.write_all(bytes).map_err(io)?;
        }
        Ok(())
    }

    /// Rows that are new, after those that repeat what was delivered have been compared with it.
    fn unsent<'a>(&mut self, rows: &'a [Row], is_first: bool) -> Option<&'a [Row]> {
        if is_first {
            self.check = Some(Chain::default());
            self.last.clear();
        }
        let sent = self.cursor.value.sent;
        let new = rows.partition_point(|row| sent.is_some_and(|sent| row.place <= sent));
        if let Some(check) = &mut self.check {
            rows[..new].iter().for_each(|row| check.add(row));
            let is_whole = new < rows.len() || rows.last().map(|r| r.place) == sent;
            if is_whole {
                if *check != self.cursor.value.chain {
                    return None;
                }
                self.check = None;
            }
        }
        for row in rows {
            for (name, value) in &row.figures {
                self.last.insert((row.place.0, name.clone()), *value);
            }
        }
        Some(&rows[new..])
    }
}

impl<F: Format> Tracker for Mirror<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn rows(&mut self, rows: &[Row], is_first: bool) -> Result<Taken, Fault> {
        let Some(new) = self.unsent(rows, is_first) else {
            self.begin()?;
            return Ok(Taken::FromStart);
        };
        let Some(newest) = new.last() else { return Ok(Taken::All) };
        let mut out = self.out();
        let mut chain = self.cursor.value.chain.clone();
        for row in new {
            self.format.row(self.cursor.value.generation, row, &mut out);
            chain.add(row);
        }
        self.write(&out)?;
        let before = self.cursor.value.clone();
        let m = &mut self.cursor.value;
        (m.sent, m.chain, m.files) = (Some(newest.place), chain, out.files);
        self.cursor.write().inspect_err(|_| self.cursor.value = before)?;
        Ok(Taken::All)
    }

    fn end(&mut self, facts: &Facts) -> Result<Taken, Fault> {
        // Rows that were delivered are missing from the file: it is shorter than it was.
        if self.check.as_ref().is_some_and(|check| *check != self.cursor.value.chain) {
            self.begin()?;
            return Ok(Taken::FromStart);
        }
        let mut out = self.out();
        self.format.end(self.cursor.value.generation, facts, &self.last, &mut out);
        self.write(&out)?;
        Ok(Taken::All)
    }

    fn reached(&self) -> Option<Place> {
        self.cursor.value.sent
    }
}

/// Removes files with this ending from a folder and the folders in it.
fn remove_ending(folder: &Path, ending: &str) {
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()) {
        if path.is_dir() {
            remove_ending(&path, ending);
        } else if path.to_string_lossy().ends_with(ending) {
            // What stays is seen as an older file of the run.
            let _ = fs::remove_file(&path);
        }
    }
}
