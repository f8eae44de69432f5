//! Mutations of bytes: what damaged, truncated, spliced and hostile files look like.

use fastrand::Rng;

/// Numbers that have broken parsers: limits of integer types, counts beyond any file, values
/// that are no finite float.
const NUMBERS: [&str; 20] = [
    "-1",
    "0",
    "1",
    "2",
    "127",
    "128",
    "255",
    "65536",
    "2147483648",
    "4294967295",
    "1099511627776",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "1e400",
    "-1e400",
    "NaN",
    "0.1e-320",
    "3.5",
];

/// Pieces of the formats' own syntax.
const WORDS: [&[u8]; 24] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"\n",
    b"\r\n",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"{{",
    b"}}",
    b"{%",
    b"%}",
    b"- ",
    b"&a *a",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\0\0\0\0",
    b"../",
    b"not ",
];

/// Longest input that mutations may grow to.
const MAX_BYTES: usize = 1 << 20;

/// A mutated copy of one of `seeds`.
pub fn mutate(seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = seeds[rng.usize(..seeds.len())].clone();
    for _ in 0..rng.usize(1..6) {
        one(&mut bytes, seeds, rng);
        bytes.truncate(MAX_BYTES);
    }
    bytes
}

fn one(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) {
    let at = position(bytes, rng);
    match rng.u8(..12) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
        1 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.usize(..5)],
        2 => overwrite_integer(bytes, at, rng),
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(range(bytes.len(), 64, rng))),
        5 => {
            let piece = bytes[range(bytes.len(), 256, rng)].to_vec();
            insert(bytes, at, &piece);
        }
        6 => {
            let other = &seeds[rng.usize(..seeds.len())];
            let piece = other[range(other.len(), 512, rng)].to_vec();
            insert(bytes, at, &piece);
        }
        7 | 8 => replace_number(bytes, rng),
        9 => insert(bytes, at, WORDS[rng.usize(..WORDS.len())]),
        10 => {
            // Deep nesting and long repetitions come from one piece said many times.
            let piece = match rng.bool() {
                true => WORDS[rng.usize(..WORDS.len())].to_vec(),
                false => bytes[range(bytes.len(), 16, rng)].to_vec(),
            };
            let times = 1 << rng.u32(..17);
            let room = MAX_BYTES / piece.len().max(1);
            insert(bytes, at, &piece.repeat(times.min(room)));
        }
        _ => {
            let piece: Vec<u8> = (0..rng.usize(1..16)).map(|_| rng.u8(..)).collect();
            insert(bytes, at, &piece);
        }
    }
}

/// A place in `bytes`; half of them among the first 4 KiB, where headers are.
fn position(bytes: &[u8], rng: &mut Rng) -> usize {
    let end = if rng.bool() { bytes.len().min(4096) } else { bytes.len() };
    rng.usize(..=end)
}

fn range(len: usize, longest: usize, rng: &mut Rng) -> std::ops::Range<usize> {
    let start = rng.usize(..=len);
    start..(start + rng.usize(..=longest)).min(len)
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let at = at.min(bytes.len());
    bytes.splice(at..at, piece.iter().copied());
}

/// A little-endian integer of 4 or 8 bytes.
fn overwrite_integer(bytes: &mut [u8], at: usize, rng: &mut Rng) {
    let values = [0, 1, 0xffff_ffff, u64::MAX, 1 << 31, 1 << 40, 1 << 62, i64::MAX as u64, bytes.len() as u64];
    let value = values[rng.usize(..values.len())].to_le_bytes();
    let width = if rng.bool() { 4 } else { 8 };
    if at + width <= bytes.len() {
        bytes[at..at + width].copy_from_slice(&value[..width]);
    }
}

/// One run of decimal digits becomes another number.
fn replace_number(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let window = &bytes[..bytes.len().min(1 << 16)];
    let starts: Vec<usize> =
        (0..window.len()).filter(|&i| window[i].is_ascii_digit() && (i == 0 || !window[i - 1].is_ascii_digit())).collect();
    if let Some(&start) = starts.get(rng.usize(..starts.len().max(1))) {
        let end = start + window[start..].iter().take_while(|b| b.is_ascii_digit()).count();
        bytes.splice(start..end, NUMBERS[rng.usize(..NUMBERS.len())].bytes());
    }
}
