//! Files mapped into memory for reading.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;

/// A read-only mapping of a whole file. Pages are read when touched and cost no anonymous memory.
#[derive(Debug)]
pub struct MappedFile {
    // `None` for an empty file, which cannot be mapped.
    map: Option<Mmap>,
}

impl MappedFile {
    /// Maps `path`. The file must not be cut short by another process while it is mapped: reading a lost page
    /// would end this process with SIGBUS.
    ///
    /// # Errors
    /// When the file cannot be opened or mapped.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Opening a pipe waits for a writer; a device has no end.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Self { map: None });
        }
        // SAFETY: the mapping is private to this value and only read. Model files are written under a temporary
        // name and renamed, never changed in place, so the bytes behind the slice do not change under it.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map: Some(map) })
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or(&[])
    }

    /// Tells the system that these bytes are not needed for now, so that they leave the resident set. They are read
    /// again from the file when touched. A hint only: failure is of no consequence.
    pub fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Some(map) = &self.map {
            let end = range.end.min(map.len());
            if range.start < end {
                // SAFETY: the mapping is read-only and backed by a file, so dropped pages come back with the same
                // content on the next read; no write can be lost.
                let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, end - range.start) };
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_pages_come_back() {
        let path = std::env::temp_dir().join(format!("tallow-map-{}", std::process::id()));
        let content: Vec<u8> = (0..100_000u32).map(|i| (i * 7) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let map = MappedFile::open(&path).unwrap();
        assert_eq!(map.bytes(), &content);
        map.release(10..90_000);
        assert_eq!(map.bytes(), &content);
        std::fs::write(&path, b"").unwrap_or(());
        drop(map);
        assert!(MappedFile::open(&path).unwrap().bytes().is_empty());
        std::fs::remove_file(&path).unwrap();
    }
}
