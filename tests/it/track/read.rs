//! Readers of what trackers write, made for these tests alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Stage and name -> step and value, in the order in which they were written.
pub type Figures = BTreeMap<(usize, String), Vec<(u64, f64)>>;

/// metrics.jsonl.
pub fn journal(run: &Path) -> Figures {
    let mut all = Figures::new();
    for line in std::fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let (stage, step) = (row["stage"].as_u64().unwrap() as usize, row["step"].as_u64().unwrap());
        for (name, value) in row.as_object().unwrap().iter().filter(|(name, _)| !["stage", "step", "time"].contains(&name.as_str())) {
            if let Some(value) = value.as_f64() {
                all.entry((stage, name.clone())).or_default().push((step, value));
            }
        }
    }
    all
}

/// The same figures as 32-bit floats have them.
pub fn rounded(figures: &Figures) -> Figures {
    let round = |all: &Vec<(u64, f64)>| all.iter().map(|(step, v)| (*step, f64::from(*v as f32))).collect();
    figures.iter().map(|(key, all)| (key.clone(), round(all))).collect()
}

/// A field of a message: number, and its value as bytes (8 for a varint).
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let length = match tag & 7 {
            0 => {
                all.push((tag >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            kind => panic!("wire type {kind}"),
        };
        all.push((tag >> 3, bytes[..length].to_vec()));
        bytes = &bytes[length..];
    }
    all
}

fn field(bytes: &[u8], number: u64) -> Option<Vec<u8>> {
    fields(bytes).into_iter().find(|(n, _)| *n == number).map(|(_, value)| value)
}

fn int(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// The only file of a folder whose name holds this.
pub fn only(folder: &Path, part: &str) -> PathBuf {
    let all = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut fits = all.map(|e| e.unwrap().path()).filter(|p| p.file_name().unwrap().to_string_lossy().contains(part));
    let one = fits.next().unwrap_or_else(|| panic!("no {part} in {}", folder.display()));
    assert!(fits.next().is_none(), "several {part} in {}", folder.display());
    one
}

/// The scalars of the stages' event files below a run's folder.
pub fn tensorboard(folder: &Path, stages: usize) -> Figures {
    let mut all = Figures::new();
    for stage in 1..=stages {
        let bytes = std::fs::read(only(&folder.join(format!("stage{stage}")), "tfevents")).unwrap();
        let mut rest = bytes.as_slice();
        let mut is_first = true;
        while !rest.is_empty() {
            let length = int(&rest[..8]) as usize;
            let event = &rest[12..12 + length];
            rest = &rest[16 + length..];
            assert_eq!(field(event, 3).is_some(), is_first, "the version comes first, and once");
            is_first = false;
            let step = field(event, 2).map_or(0, |v| int(&v));
            for (_, value) in fields(&field(event, 5).unwrap_or_default()) {
                let tag = String::from_utf8(field(&value, 1).unwrap()).unwrap();
                // A text has a tensor instead.
                let Some(float) = field(&value, 2) else { continue };
                let float = f32::from_le_bytes(float.try_into().unwrap());
                let (group, name) = tag.split_once('/').unwrap();
                let name = if group == "eval" { format!("eval_{name}") } else { name.to_owned() };
                all.entry((stage, name)).or_default().push((step, f64::from(float)));
            }
        }
    }
    all
}

/// The texts of a stage's event file: tag, step and words.
pub fn tensorboard_texts(folder: &Path, stage: usize) -> Vec<(String, u64, String)> {
    let bytes = std::fs::read(only(&folder.join(format!("stage{stage}")), "tfevents")).unwrap();
    let (mut rest, mut all) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let length = int(&rest[..8]) as usize;
        let event = &rest[12..12 + length];
        rest = &rest[16 + length..];
        for (_, value) in fields(&field(event, 5).unwrap_or_default()) {
            let Some(tensor) = field(&value, 8) else { continue };
            let tag = String::from_utf8(field(&value, 1).unwrap()).unwrap();
            all.push((tag, field(event, 2).map_or(0, |v| int(&v)), String::from_utf8(field(&tensor, 8).unwrap()).unwrap()));
        }
    }
    all
}

/// Records of a file in LevelDB's log format, behind seven bytes.
fn log_records(bytes: &[u8]) -> Vec<Vec<u8>> {
    assert_eq!(&bytes[..7], b":W&B\xe1\xbe\x00");
    let (mut at, mut all, mut open) = (7, Vec::new(), Vec::new());
    while at + 7 <= bytes.len() {
        let left = 32_768 - at % 32_768;
        if left < 7 {
            at += left;
            continue;
        }
        let length = usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
        let kind = bytes[at + 6];
        assert!(length + 7 <= left, "a part crosses a block");
        let part = &bytes[at + 7..at + 7 + length];
        let sum = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(sum, crc32fast::hash(&bytes[at + 6..at + 7 + length]));
        at += 7 + length;
        open.extend_from_slice(part);
        if kind == 1 || kind == 4 {
            all.push(std::mem::take(&mut open));
        }
    }
    assert!(open.is_empty() && at == bytes.len());
    all
}

/// The history of an offline run, and the code that it ended with.
pub fn wandb(run: &Path) -> (Figures, Option<u64>) {
    let file = only(&only(&run.join("wandb"), "offline-run"), ".wandb");
    let (mut all, mut exit, mut rows) = (Figures::new(), None, 0);
    for (i, record) in log_records(&std::fs::read(file).unwrap()).iter().enumerate() {
        assert_eq!(int(&field(record, 1).unwrap()), i as u64 + 1, "records are counted");
        exit = field(record, 18).map(|e| field(&e, 1).map_or(0, |v| int(&v))).or(exit);
        let Some(history) = field(record, 2) else { continue };
        let item = |bytes: &[u8]| {
            let text = |number| String::from_utf8(field(bytes, number).unwrap()).unwrap();
            (text(1), serde_json::from_str::<Value>(&text(16)).unwrap())
        };
        let items: BTreeMap<String, Value> = fields(&history).iter().filter(|(n, _)| *n == 1).map(|(_, b)| item(b)).collect();
        assert_eq!(items["_step"], rows, "{items:?}");
        rows += 1;
        let own = items.keys().find(|k| k.ends_with("/step")).unwrap().clone();
        let stage = own.strip_prefix("stage").unwrap().split('/').next().unwrap().parse().unwrap();
        for (key, value) in items.iter().filter(|(k, _)| k.starts_with("stage") && **k != own) {
            let name = key.split_once('/').unwrap().1.to_owned();
            // A sample is text.
            if let Some(value) = value.as_f64() {
                all.entry((stage, name)).or_default().push((items[&own].as_u64().unwrap(), value));
            } else {
                assert!(name.starts_with("samples/"), "{key}: {value}");
            }
        }
    }
    (all, exit)
}
