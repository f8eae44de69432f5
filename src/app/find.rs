//! Datasets on disk, found by walking folders.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::Serialize;

/// A file that may hold rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DatasetFile {
    /// The file.
    pub path: PathBuf,
    /// jsonl, json, csv or parquet.
    pub format: &'static str,
    /// Its size on disk.
    pub bytes: u64,
    #[serde(skip)]
    changed: Option<SystemTime>,
}

/// Folders deep that are walked.
const DEEPEST: usize = 5;
/// Files and folders that are looked at in all.
const MOST_LOOKED_AT: usize = 20_000;

/// A folder with this file is a run's.
const RUN: &str = "run-manifest.json";
/// CodeCarbon's file of energy used.
const EMISSIONS: &str = "emissions.csv";

/// Folders that hold what programs made, not data.
const SKIPPED: [&str; 6] = ["runs", "models", "target", "node_modules", "venv", "__pycache__"];

fn format(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    if name == EMISSIONS {
        return None;
    }
    let plain = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    match plain.rsplit_once('.')?.1 {
        "jsonl" | "ndjson" => Some("jsonl"),
        "csv" | "tsv" => Some("csv"),
        "parquet" => Some("parquet"),
        _ => None,
    }
}

/// Files with rows below some folders whose path contains `search`, newest first. Hidden folders and links are skipped.
pub fn datasets<'a>(roots: impl Iterator<Item = &'a Path>, search: &str) -> Vec<DatasetFile> {
    let search = search.to_lowercase();
    let mut open: Vec<(PathBuf, usize)> = roots.map(|r| (r.to_path_buf(), 0)).collect();
    let (mut found, mut looked) = (Vec::new(), 0);
    while let Some((folder, depth)) = open.pop() {
        crate::base::cancel::checkpoint();
        if folder.join(RUN).is_file() {
            continue;
        }
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            looked += 1;
            if looked > MOST_LOOKED_AT {
                break;
            }
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth < DEEPEST && !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                open.push((path, depth + 1));
            } else if let (true, Some(format), Ok(data)) = (kind.is_file(), format(&path), entry.metadata())
                && path.to_string_lossy().to_lowercase().contains(&search)
            {
                found.push(DatasetFile { path, format, bytes: data.len(), changed: data.modified().ok() });
            }
        }
    }
    found.sort_by(|a, b| b.changed.cmp(&a.changed).then_with(|| a.path.cmp(&b.path)));
    found.dedup_by(|a, b| a.path == b.path);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_rows_are_found_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["p/data/raw", "p/runs/r", "p/elsewhere/r", ".hidden", "a/b/c/d/e/f"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        let files = [
            "p/data/raw/train.jsonl",
            "p/data/raw/big.csv.gz",
            "x.parquet",
            "x.json",
            "p/runs/r/metrics.jsonl",
            "p/elsewhere/r/run-manifest.json",
            "p/elsewhere/r/metrics.jsonl",
            "p/emissions.csv",
            ".hidden/y.csv",
            "a/b/c/d/e/f/deep.csv",
            "notes.txt",
        ];
        files.iter().for_each(|f| std::fs::write(at(f), "x").unwrap());
        let names = |search: &str| {
            let mut all: Vec<String> = datasets([dir.path()].into_iter(), search)
                .iter()
                .map(|d| d.path.strip_prefix(dir.path()).unwrap().display().to_string())
                .collect();
            all.sort();
            all
        };
        assert_eq!(names(""), ["p/data/raw/big.csv.gz", "p/data/raw/train.jsonl", "x.parquet"]);
        assert_eq!(names("TRAIN"), ["p/data/raw/train.jsonl"]);
    }
}
