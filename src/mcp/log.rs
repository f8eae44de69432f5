//! The server's log file.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use crate::base::clock::now_utc;
use crate::base::error::Fault;

/// Writes lines to a file, or nowhere.
#[derive(Debug)]
pub(super) struct Log(Option<Mutex<File>>);

impl Log {
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Fault> {
        let Some(path) = path else { return Ok(Self(None)) };
        let file = File::options().create(true).append(true).open(path).map_err(|e| Fault::io("open", path, &e))?;
        Ok(Self(Some(Mutex::new(file))))
    }

    /// One line, with the time. Line breaks in it are escaped, so that a client cannot forge a line.
    pub(super) fn line(&self, text: &str) {
        let Some(file) = &self.0 else { return };
        let text: String = text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A full disk must not stop the server.
        let _ = writeln!(file, "{} {text}", now_utc());
    }
}
