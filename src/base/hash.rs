//! SHA-256 of bytes and files, in lower-case hexadecimal.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::Fault;

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(64), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// The hash of some bytes.
pub fn sha256_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The hash of some pieces of bytes, one behind the other.
pub fn sha256_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    parts.into_iter().for_each(|part| hasher.update(part));
    hex(&hasher.finalize())
}

/// The hash of a file's content.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256_file(path: &Path) -> Result<String, Fault> {
    let fault = |e: std::io::Error| Fault::io("read", path, &e);
    let mut file = File::open(path).map_err(fault)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        super::cancel::checkpoint();
        match file.read(&mut buffer).map_err(fault)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// The hash of a model's content: of a file, or over names and hashes of all files of a folder. Hidden files and README.md,
/// which tell of a model and are no part of it, do not count.
///
/// # Errors
/// When something in it cannot be read.
pub fn sha256_tree(path: &Path) -> Result<String, Fault> {
    if !path.is_dir() {
        return sha256_file(path);
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| Fault::io("read", path, &e))? {
        let name = entry.map_err(|e| Fault::io("read", path, &e))?.file_name();
        let text = name.to_string_lossy();
        if !text.starts_with('.') && text != "README.md" {
            names.push(name);
        }
    }
    names.sort();
    let mut hasher = Sha256::new();
    for name in names {
        hasher.update(name.as_encoded_bytes());
        hasher.update([0]);
        hasher.update(sha256_tree(&path.join(&name))?);
        hasher.update([b'\n']);
    }
    Ok(hex(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_standard_vector() {
        assert_eq!(super::sha256_bytes(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_folder_is_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let hash = || super::sha256_tree(dir.path()).unwrap();
        put("a", "1");
        put("b", "2");
        let before = hash();
        put("README.md", "a card");
        put(".hidden", "x");
        assert_eq!(hash(), before);
        put("b", "3");
        assert_ne!(hash(), before);
        put("b", "2");
        assert_eq!(hash(), before);
        std::fs::rename(dir.path().join("b"), dir.path().join("c")).unwrap();
        assert_ne!(hash(), before);
    }
}
