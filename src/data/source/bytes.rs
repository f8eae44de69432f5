//! The text of a file: read whole, unpacked, decoded to UTF-8.

use std::io::Read;
use std::path::Path;

use super::broken;
use crate::data::error::DataError;

/// Most bytes of a file, and of what a packed file holds.
pub(super) const FILE_BYTES: u64 = 8 << 30;
/// How much more a packed file may hold than it is long: what compresses better is made to fill memory.
const MOST_GROWTH: u64 = 200;
/// A packed file may always hold this much.
const ALWAYS: u64 = 64 << 20;

/// A file's content.
pub(super) struct Content {
    /// As it lies on disk.
    pub(super) raw: Vec<u8>,
    /// As UTF-8, without a byte order mark (as it is for a Parquet file).
    pub(super) text: Vec<u8>,
    /// The file's name in small letters, without the ending of the packer.
    pub(super) name: String,
    /// What was done to it.
    pub(super) notes: Vec<String>,
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Content, DataError> {
    let io = |source| DataError::Io { path: path.to_path_buf(), source };
    let about = std::fs::metadata(path).map_err(io)?;
    if !about.is_file() {
        let what = if about.is_dir() { "a folder" } else { "a pipe or a device" };
        return Err(broken(path, format!("{what}, not a file")));
    }
    if about.len() > FILE_BYTES {
        return Err(broken(path, format!("{} bytes; a data file may have {FILE_BYTES}", about.len())));
    }
    let raw = std::fs::read(path).map_err(io)?;
    let mut name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let mut notes = Vec::new();
    let unpacked = unpack(&raw, path)?;
    if let Some((packer, _)) = &unpacked {
        for ending in [".gz", ".gzip", ".zst", ".zstd"] {
            name = name.strip_suffix(ending).map_or(name.clone(), str::to_owned);
        }
        notes.push(format!("unpacked ({packer})"));
    }
    let plain = unpacked.map_or_else(|| raw.clone(), |(_, plain)| plain);
    let text = if plain.starts_with(b"PAR1") { plain } else { decode(plain, path, &mut notes)? };
    Ok(Content { raw, text, name, notes })
}

/// What a packed file holds, by its first bytes.
fn unpack(raw: &[u8], path: &Path) -> Result<Option<(&'static str, Vec<u8>)>, DataError> {
    let limit = (raw.len() as u64 * MOST_GROWTH).clamp(ALWAYS, FILE_BYTES);
    let unpacked = match raw {
        [0x1f, 0x8b, ..] => ("gzip", read_limited(flate2::read::MultiGzDecoder::new(raw), limit)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => match zstd::stream::read::Decoder::with_buffer(raw) {
            Ok(decoder) => ("zstd", read_limited(decoder, limit)),
            Err(e) => ("zstd", Err(e.to_string())),
        },
        [0xfd, b'7', b'z', b'X', b'Z', ..] => return Err(packed(path, "xz")),
        [b'B', b'Z', b'h', ..] => return Err(packed(path, "bzip2")),
        [b'P', b'K', 3, 4, ..] => return Err(packed(path, "zip")),
        [b'7', b'z', 0xbc, 0xaf, ..] => return Err(packed(path, "7z")),
        _ => return Ok(None),
    };
    match unpacked {
        (packer, Ok(plain)) => Ok(Some((packer, plain))),
        (packer, Err(message)) => Err(broken(path, format!("cannot be unpacked ({packer}): {message}"))),
    }
}

fn packed(path: &Path, packer: &str) -> DataError {
    broken(path, format!("the file is packed by {packer}, which is not read: unpack it, or pack it by gzip or zstd"))
}

fn read_limited(from: impl Read, limit: u64) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    from.take(limit + 1).read_to_end(&mut plain).map_err(|e| e.to_string())?;
    if plain.len() as u64 > limit {
        return Err(format!("it holds more than {limit} bytes, {MOST_GROWTH} times its length; unpack it by hand if that is meant"));
    }
    Ok(plain)
}

/// UTF-8 from what the byte order mark says, or from what the bytes look like.
fn decode(plain: Vec<u8>, path: &Path, notes: &mut Vec<String>) -> Result<Vec<u8>, DataError> {
    let (big, body) = match plain.as_slice() {
        [0xef, 0xbb, 0xbf, rest @ ..] => return Ok(rest.to_vec()),
        [0xff, 0xfe, rest @ ..] => (false, rest),
        [0xfe, 0xff, rest @ ..] => (true, rest),
        // JSON and CSV begin with a character of ASCII.
        [first, 0, ..] if *first != 0 => (false, plain.as_slice()),
        [0, first, ..] if *first != 0 => (true, plain.as_slice()),
        _ => return Ok(plain),
    };
    let unit = |pair: &[u8]| if big { u16::from_be_bytes([pair[0], pair[1]]) } else { u16::from_le_bytes([pair[0], pair[1]]) };
    let name = if big { "UTF-16 BE" } else { "UTF-16 LE" };
    if body.len() % 2 == 1 {
        return Err(broken(path, format!("{name} with half a character at its end: the file is cut off")));
    }
    let text: Result<String, _> = char::decode_utf16(body.chunks_exact(2).map(unit)).collect();
    let text = text.map_err(|e| broken(path, format!("not {name}: {e}")))?;
    notes.push(format!("read as {name}"));
    Ok(text.into_bytes())
}
