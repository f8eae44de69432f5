//! What a tracker remembers: `track/<name>.json` in the run's folder, and the lock beside it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::atomic;
use crate::base::error::Fault;

/// A tracker's memory on disk, and the right to change it. While one process holds it, no other
/// process sends for this tracker and run.
#[derive(Debug)]
pub struct Cursor<T> {
    path: PathBuf,
    _lock: File,
    /// What is remembered.
    pub value: T,
}

impl<T: Serialize + DeserializeOwned + Default> Cursor<T> {
    /// Takes the memory of a tracker.
    ///
    /// # Errors
    /// `tracker_busy` when another process has it; `tracker_cursor` when the file is damaged.
    pub fn take(run: &Path, name: &str) -> Result<Self, Fault> {
        let folder = run.join("track");
        atomic::create_dir_all(&folder)?;
        let lock_path = folder.join(format!("{name}.lock"));
        let io = |e: std::io::Error| Fault::io("lock", &lock_path, &e);
        let lock = File::options().create(true).append(true).open(&lock_path).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("{}: another process is sending this run to {name}", run.display());
                return Err(Fault::new("tracker_busy", message).hint("the run is under way: it sends its figures itself"));
            }
            Err(TryLockError::Error(e)) => return Err(io(e)),
        }
        let path = folder.join(format!("{name}.json"));
        let value = match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|e| {
                Fault::new("tracker_cursor", format!("{}:{}: {e}", path.display(), e.line()))
                    .hint("the file says what was sent; without it everything would be sent again")
            })?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => T::default(),
            Err(e) => return Err(Fault::io("read", &path, &e)),
        };
        Ok(Self { path, _lock: lock, value })
    }

    /// Writes what is remembered.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self) -> Result<(), Fault> {
        let text = serde_json::to_string_pretty(&self.value).map_err(|e| Fault::new("tracker_cursor", e.to_string()))?;
        atomic::write_file(&self.path, text.as_bytes())
    }
}
