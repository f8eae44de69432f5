//! metrics.jsonl, read as it grows.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::row::Row;
use crate::base::error::Fault;

/// Bytes that are read at once; a row is some hundred.
const BLOCK_BYTES: u64 = 256 << 10;

/// A reader that keeps its place.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    started_ms: i64,
    /// What tells this file from another of the same name.
    file: Option<u64>,
    /// Everything before has been taken.
    offset: u64,
}

/// Rows that follow the last ones taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// The rows.
    pub rows: Vec<Row>,
    /// Whether they are the first ones of the file: it is new to this reader, or was replaced.
    pub is_first: bool,
    end: u64,
}

impl Tail {
    /// A reader from the beginning. `started_ms`: see [`Row::parse`].
    pub fn new(run: &Path, started_ms: i64) -> Self {
        Self { path: run.join("metrics.jsonl"), started_ms, file: None, offset: 0 }
    }

    /// The next whole lines; `None` where there are none. The same ones come again until they are
    /// [taken](Self::take).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next_lines(&mut self) -> Result<Option<Block>, Fault> {
        let fail = |e: std::io::Error| Fault::io("read", &self.path, &e);
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fail(e)),
        };
        let data = file.metadata().map_err(fail)?;
        let mark = mark(&data);
        if self.file != Some(mark) || data.len() < self.offset {
            (self.file, self.offset) = (Some(mark), 0);
        }
        file.seek(SeekFrom::Start(self.offset)).map_err(fail)?;
        let mut bytes = Vec::new();
        // A line may be longer than a block.
        for blocks in 1.. {
            let wanted = blocks * BLOCK_BYTES - bytes.len() as u64;
            let read = (&mut file).take(wanted).read_to_end(&mut bytes).map_err(fail)?;
            if bytes.contains(&b'\n') || (read as u64) < wanted {
                break;
            }
        }
        bytes.truncate(bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1));
        if bytes.is_empty() {
            return Ok(None);
        }
        let rows = bytes.split(|b| *b == b'\n').filter_map(|line| Row::parse(line, self.started_ms)).collect();
        Ok(Some(Block { rows, is_first: self.offset == 0, end: self.offset + bytes.len() as u64 }))
    }

    /// The block has been dealt with.
    pub fn take(&mut self, block: &Block) {
        self.offset = block.end;
    }

    /// Begins again with the first row.
    pub fn rewind(&mut self) {
        self.offset = 0;
    }
}

#[cfg(unix)]
fn mark(data: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(data)
}

#[cfg(not(unix))]
fn mark(data: &std::fs::Metadata) -> u64 {
    let age = data.created().ok().and_then(|t| t.duration_since(std::time::SystemTime::UNIX_EPOCH).ok());
    age.map_or(0, |d| d.as_nanos() as u64)
}
