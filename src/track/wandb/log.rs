//! LevelDB's log format, as the client of Weights & Biases has it: a checksum over type and data is
//! zlib's CRC-32, and the file begins with seven bytes of its own.
//! Source: github.com/google/leveldb/blob/main/doc/log_format.md.

/// `:W&B`, a magic number, version 0.
const HEADER: [u8; 7] = *b":W&B\xe1\xbe\x00";
const BLOCK: u64 = 32 << 10;
/// Checksum, length, type.
const RECORD_HEADER: u64 = 7;

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// A record as it stands at this offset of the file.
pub(super) fn frame(offset: u64, record: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.len() + 16);
    if offset == 0 {
        out.extend(HEADER);
    }
    let mut rest = record;
    let mut is_first = true;
    loop {
        let left = BLOCK - (offset + out.len() as u64) % BLOCK;
        if left < RECORD_HEADER {
            out.resize(out.len() + left as usize, 0);
            continue;
        }
        let room = ((left - RECORD_HEADER) as usize).min(rest.len());
        let (part, more) = rest.split_at(room);
        let kind = match (is_first, more.is_empty()) {
            (true, true) => FULL,
            (true, false) => FIRST,
            (false, false) => MIDDLE,
            (false, true) => LAST,
        };
        let mut crc = crc32fast::Hasher::new();
        crc.update(&[kind]);
        crc.update(part);
        out.extend(crc.finalize().to_le_bytes());
        out.extend((part.len() as u16).to_le_bytes());
        out.push(kind);
        out.extend(part);
        if more.is_empty() {
            return out;
        }
        (rest, is_first) = (more, false);
    }
}
