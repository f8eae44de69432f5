//! The newest rows of a run's metrics.jsonl. What was read once is remembered, so that asking often costs little.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

use serde::Deserialize;

use crate::base::error::Fault;
use crate::runs::{Manifest, RunFolder};

/// A step as it was written down.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Step {
    /// 1 or 2.
    pub stage: usize,
    /// Its number in the stage, from 1.
    pub step: u64,
    /// Mean loss of its tokens.
    pub loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Tokens through the model.
    pub tokens: u64,
    /// This step alone.
    pub tokens_per_second: f64,
    /// Seconds of training up to its end, of this stage.
    pub elapsed_seconds: f64,
    /// Largest resident size of the worker so far.
    pub peak_rss_bytes: u64,
}

/// An evaluation as it was written down.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct Evaluation {
    eval_loss: f64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Row {
    Step(Step),
    Evaluation(Evaluation),
}

/// The newest rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// The newest steps, oldest first.
    pub steps: VecDeque<Step>,
    /// Loss of the newest evaluation.
    pub validation_loss: Option<f64>,
}

/// Steps that are kept.
const KEPT: usize = 1000;
/// Bytes of a file that was never read before that are looked at, from its end.
const TAIL: u64 = 256 << 10;
/// Files that are remembered.
const REMEMBERED: usize = 512;

impl Rows {
    /// Takes whole lines; what does not parse is no row.
    pub fn take(&mut self, lines: &[u8]) {
        for line in lines.split(|b| *b == b'\n') {
            match serde_json::from_slice(line) {
                Ok(Row::Step(step)) => self.steps.push_back(step),
                Ok(Row::Evaluation(e)) => self.validation_loss = Some(e.eval_loss),
                Err(_) => {}
            }
        }
        let excess = self.steps.len().saturating_sub(KEPT);
        self.steps.drain(..excess);
    }
}

/// What tells a file's content from another one. Files that are replaced are other files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) file: u64,
    pub(super) length: u64,
    modified: Option<SystemTime>,
}

impl Mark {
    pub(super) fn of(data: &Metadata) -> Self {
        #[cfg(unix)]
        let file = std::os::unix::fs::MetadataExt::ino(data);
        #[cfg(not(unix))]
        let file = data.created().ok().and_then(|t| t.duration_since(SystemTime::UNIX_EPOCH).ok()).map_or(0, |d| d.as_nanos() as u64);
        Self { file, length: data.len(), modified: data.modified().ok() }
    }
}

/// What was read of files, by path.
pub(super) type Memory<T> = LazyLock<Mutex<HashMap<PathBuf, (Mark, T)>>>;

pub(super) fn remembered<T: Clone>(memory: &Memory<T>, path: &Path) -> Option<(Mark, T)> {
    memory.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
}

/// Keeps what was read of a file; where `most` are kept already, they are forgotten first.
pub(super) fn remember<T>(memory: &Memory<T>, path: &Path, mark: Mark, value: T, most: usize) {
    let mut all = memory.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= most && !all.contains_key(path) {
        all.clear();
    }
    all.insert(path.to_path_buf(), (mark, value));
}

/// Rows, and how far the file has been read.
type Known = (Arc<Rows>, u64);

/// The newest rows of a run; none where there is no file.
///
/// # Errors
/// When the file cannot be read.
pub fn rows(run: &RunFolder) -> Result<Arc<Rows>, Fault> {
    static MEMORY: Memory<Known> = LazyLock::new(Mutex::default);
    let path = run.path().join("metrics.jsonl");
    let fail = |e: std::io::Error| Fault::io("read", &path, &e);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Arc::default()),
        Err(e) => return Err(fail(e)),
    };
    let mark = Mark::of(&file.metadata().map_err(fail)?);
    let (rows, from) = match remembered(&MEMORY, &path) {
        Some((before, (rows, _))) if before == mark => return Ok(rows),
        // Appended to.
        Some((before, (rows, read))) if before.file == mark.file && before.length <= mark.length => (rows, read),
        _ => (Arc::default(), mark.length.saturating_sub(TAIL)),
    };
    file.seek(SeekFrom::Start(from)).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(mark.length - from).read_to_end(&mut bytes).map_err(fail)?;
    // The last line may still be written: it is read again when it is whole.
    bytes.truncate(bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1));
    let mut rows = Rows::clone(&rows);
    rows.take(&bytes);
    let rows = Arc::new(rows);
    remember(&MEMORY, &path, mark, (rows.clone(), from + bytes.len() as u64), REMEMBERED);
    Ok(rows)
}

/// A run's manifest as it stands in the file.
///
/// # Errors
/// As [`Manifest::read`].
pub fn manifest(run: &RunFolder) -> Result<Arc<Manifest>, Fault> {
    static MEMORY: Memory<Arc<Manifest>> = LazyLock::new(Mutex::default);
    let path = run.manifest_path();
    // Looked at before it is read: should it be replaced meanwhile, the next look reads it again.
    let mark = std::fs::metadata(&path).map(|data| Mark::of(&data)).map_err(|e| Fault::io("read", &path, &e))?;
    if let Some((before, manifest)) = remembered(&MEMORY, &path)
        && before == mark
    {
        return Ok(manifest);
    }
    let manifest = Arc::new(Manifest::read(&path)?);
    remember(&MEMORY, &path, mark, manifest.clone(), REMEMBERED);
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::{Sources, resolve};

    fn line(step: u64) -> String {
        format!(
            "{{\"stage\":1,\"step\":{step},\"loss\":1.0,\"learning_rate\":0.1,\"grad_norm\":1.0,\"tokens\":8,\"trained_tokens\":4,\
             \"tokens_per_second\":8.0,\"elapsed_seconds\":{step}.0,\"peak_rss_bytes\":1}}\n"
        )
    }

    #[test]
    fn rows_are_seen_as_they_come_and_after_the_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_path_buf();
        let text = "base_model: {model_id: embedded}\ndataset: {path: x.jsonl}\n".to_owned();
        let sources =
            Sources { file: Some((root.join("c.yaml"), text)), root: root.clone(), working_dir: root.clone(), ..Sources::default() };
        let run = RunFolder::create(dir.path(), "r", &resolve(&sources).unwrap().config).unwrap();
        let steps = || rows(&run).unwrap().steps.iter().map(|s| s.step).collect::<Vec<_>>();
        assert_eq!(steps(), [0; 0]);
        let path = run.path().join("metrics.jsonl");
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        let third = line(3);
        let (begun, rest) = third.split_at(40);
        write!(file, "{}{}{begun}", line(1), line(2)).unwrap();
        assert_eq!(steps(), [1, 2]);
        writeln!(file, "{rest}{{\"stage\":1,\"step\":3,\"eval_loss\":0.5}}").unwrap();
        assert_eq!((steps(), rows(&run).unwrap().validation_loss), (vec![1, 2, 3], Some(0.5)));
        // A resume cuts what it will make again: another file under the same name.
        crate::base::atomic::write_file(&path, format!("{}{}{}", line(1), line(2), line(9)).as_bytes()).unwrap();
        assert_eq!(steps(), [1, 2, 9]);
        std::fs::write(&path, "").unwrap();
        assert_eq!(steps(), [0; 0]);
        // The manifest too is read again once it is another one.
        let mut changed = Manifest::clone(&manifest(&run).unwrap());
        changed.created_at = "never".into();
        run.write_manifest(&changed).unwrap();
        assert_eq!(manifest(&run).unwrap().created_at, "never");
    }
}
