//! Files of model folders: regular ones of a believable size. Others may have made the folder.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;

/// Most bytes of a configuration, a tokenizer or a template. The largest tokenizers have some 35 MB.
const MOST_BYTES: u64 = 256 << 20;

/// The bytes of a file. A pipe or a device, which could wait or go on for ever, is not opened.
///
/// # Errors
/// When it is no regular file, has more than 256 MiB, or cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let about = std::fs::metadata(path)?;
    if about.is_dir() {
        return Err(Error::new(ErrorKind::IsADirectory, "a folder, not a file"));
    }
    if !about.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "a pipe, a socket or a device, not a file"));
    }
    if about.len() > MOST_BYTES {
        let text = format!("{} bytes; a file of this kind may have {MOST_BYTES}", about.len());
        return Err(Error::new(ErrorKind::FileTooLarge, text));
    }
    std::fs::read(path)
}

/// The same as text.
///
/// # Errors
/// As [`read`], and when it is not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|_| Error::new(ErrorKind::InvalidData, "the file is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_a_believable_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "text").unwrap();
        assert_eq!(read_text(&path).unwrap(), "text");
        std::fs::write(&path, b"\xff").unwrap();
        assert!(read_text(&path).is_err());
        std::fs::File::create(&path).unwrap().set_len(MOST_BYTES + 1).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("bytes"));
        assert!(read(dir.path()).unwrap_err().to_string().contains("folder"));
        if cfg!(unix) {
            assert!(read(Path::new("/dev/zero")).unwrap_err().to_string().contains("device"));
        }
        assert_eq!(read(&dir.path().join("b")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
