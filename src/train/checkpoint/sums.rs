//! Checksums of a checkpoint folder, over the bytes on disk.
//!
//! `SHA256SUMS` has the format of `sha256sum`, so a person can check a folder by hand:
//! `cd step-000050 && sha256sum -c SHA256SUMS`. Nothing is parsed and rendered again before it is
//! hashed: a value that went through text need not come back with the same digits.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::STATE;
use crate::base::hash::{sha256_bytes, sha256_file};

/// The file that lists the others.
pub(super) const SUMS: &str = "SHA256SUMS";

/// SHA-256 by file name.
pub(super) type Sums = BTreeMap<String, String>;

/// Hashes every file in `dir` and writes the list. Called last, when all other files are written.
pub(super) fn write(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut sums = Sums::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        sums.insert(entry.file_name().to_string_lossy().into_owned(), sha256_file(&entry.path())?);
    }
    let text: String = sums.iter().map(|(name, hash)| format!("{hash}  {name}\n")).collect();
    Ok(fs::write(dir.join(SUMS), text)?)
}

/// The list of a folder of the present layout.
pub(super) fn read(dir: &Path) -> Result<Sums, String> {
    let text = fs::read_to_string(dir.join(SUMS)).map_err(|e| format!("{SUMS} cannot be read: {e}"))?;
    let mut sums = Sums::new();
    for (i, line) in text.lines().enumerate() {
        let (hash, name) = line.split_once("  ").ok_or_else(|| format!("{SUMS}:{}: not `hash  name`", i + 1))?;
        sums.insert(name.to_owned(), hash.to_owned());
    }
    if !sums.contains_key(STATE) {
        return Err(format!("{SUMS} does not list {STATE}"));
    }
    Ok(sums)
}

/// The list of a folder of layout 1, which kept it inside state.json together with a checksum of the
/// record itself: the hash of its compact rendering with an empty `checksum`.
pub(super) fn read_version_1(state: &Value) -> Result<Sums, String> {
    let mut bare = state.clone();
    let stored = bare["checksum"].as_str().unwrap_or_default().to_owned();
    bare["checksum"] = "".into();
    if sha256_bytes(bare.to_string().as_bytes()) != stored {
        return Err(format!("{STATE} does not match its checksum"));
    }
    serde_json::from_value(state["files"].clone()).map_err(|e| format!("{STATE} is damaged: files: {e}"))
}

/// Compares every listed file with its hash; a file that is not listed is refused too.
pub(super) fn compare(dir: &Path, sums: &Sums) -> Result<(), String> {
    for (name, hash) in sums {
        // A list must not lead out of its folder, nor to a device that never ends.
        let path = dir.join(name);
        let is_plain = !name.contains(['/', '\\']) && fs::symlink_metadata(&path).is_ok_and(|m| m.is_file());
        if !is_plain {
            return Err(format!("{name} is missing, or is not a file of this folder"));
        }
        let found = sha256_file(&path).map_err(|e| format!("{name} cannot be read: {e}"))?;
        if found != *hash {
            return Err(format!("{name} is truncated or changed: its SHA-256 is not the one that was written"));
        }
    }
    Ok(())
}
