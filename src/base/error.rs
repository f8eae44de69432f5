//! One fault type for faces: a stable code, a message for a person, a hint that says what to do.

use std::fmt;
use std::path::Path;

use serde::Serialize;

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Stable, snake_case; scripts and tools match on it.
    pub code: &'static str,
    /// Names the file, line or key.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Fault {
    /// A fault without a hint.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// The same fault with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The fault of an I/O error while doing `what` with `path`.
    pub fn io(what: &str, path: &Path, e: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let path = path.display();
        let (code, hint) = match e.kind() {
            K::NotFound => ("file_not_found", Some("check the path")),
            K::PermissionDenied => ("permission_denied", Some("check who owns the folder, or choose another one")),
            K::ReadOnlyFilesystem => ("read_only", Some("choose a folder that can be written")),
            K::StorageFull | K::QuotaExceeded => {
                ("disk_full", Some("free some space or choose another disk; nothing was left half-written"))
            }
            K::NotADirectory => ("not_a_folder", Some("a part of the path is a file; choose another folder")),
            K::AlreadyExists | K::DirectoryNotEmpty => ("already_exists", Some("choose another name, or remove it first")),
            _ => ("io", None),
        };
        Self { code, message: format!("cannot {what} {path}: {e}"), hint: hint.map(str::to_owned) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}
