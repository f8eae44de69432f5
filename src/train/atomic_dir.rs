//! A folder that appears whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A temporary folder beside its final place. Dropped without [`Self::commit`], it is deleted.
#[derive(Debug)]
pub(super) struct AtomicDir {
    temporary: PathBuf,
    place: PathBuf,
}

impl AtomicDir {
    /// Makes the temporary folder. One that a killed process left behind is deleted first.
    pub(super) fn new(place: &Path) -> io::Result<Self> {
        let name = place.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let temporary = place.with_file_name(format!(".{name}.partial"));
        if temporary.exists() {
            fs::remove_dir_all(&temporary)?;
        }
        fs::create_dir(&temporary)?;
        Ok(Self { temporary, place: place.to_path_buf() })
    }

    /// Where to write.
    pub(super) fn path(&self) -> &Path {
        &self.temporary
    }

    /// Syncs all files and the folder, and gives it its name.
    pub(super) fn commit(self) -> io::Result<()> {
        for entry in fs::read_dir(&self.temporary)? {
            File::open(entry?.path())?.sync_all()?;
        }
        File::open(&self.temporary)?.sync_all()?;
        fs::rename(&self.temporary, &self.place)?;
        match self.place.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for AtomicDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.temporary);
    }
}
