//! A Weights & Biases offline run, which `wandb sync` uploads.
//!
//! The format is not documented; it was found by reading files of the Python client: seven bytes
//! of header, then LevelDB's log format (blocks of 32 KiB) with `wandb_internal.Record` messages.

mod log;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::facts::{Facts, Standing};
use super::mirror::{Format, Last, Mirror, Out};
use super::proto::Message;
use super::row::Row;
use crate::base::error::Fault;

/// The oldest client that can read the file, as the client itself writes it.
const MIN_CONSUMER: &str = "0.70.0";
/// Records before the first row: header, run, and one for each stage.
const HEAD_RECORDS: u64 = 2;

/// The format.
#[derive(Debug)]
pub struct OfflineRun {
    facts: Facts,
    project: String,
    /// Eight characters, the same for the same run.
    id: String,
}

/// The id of a run at Weights & Biases.
fn id(facts: &Facts) -> String {
    const LETTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut hasher = Sha256::new();
    hasher.update(facts.id.as_bytes());
    hasher.update(facts.started_ms.to_le_bytes());
    hasher.finalize().iter().take(8).map(|b| LETTERS[usize::from(*b) % LETTERS.len()] as char).collect()
}

/// The folder that `wandb sync` takes.
pub fn folder(facts: &Facts) -> PathBuf {
    let time = jiff::Timestamp::from_millisecond(facts.started_ms).unwrap_or_default();
    let stamp = time.strftime("%Y%m%d_%H%M%S");
    facts.folder.join("wandb").join(format!("offline-run-{stamp}-{}", id(facts)))
}

impl OfflineRun {
    /// Opens the file of a run.
    ///
    /// # Errors
    /// As `Mirror::open`.
    pub fn open(facts: Facts, project: String) -> Result<Mirror<Self>, Fault> {
        let (run, folder, id) = (facts.folder.clone(), folder(&facts), id(&facts));
        Mirror::open(&run, folder, Self { facts, project, id })
    }

    fn file(&self) -> String {
        format!("run-{}.wandb", self.id)
    }

    fn record(num: u64, field: u32, content: Message) -> Vec<u8> {
        Message::default().int(1, num as i64 + 1).message(field, content).bytes()
    }
}

fn time(ms: i64) -> Message {
    Message::default().int(1, ms.div_euclid(1000)).int(2, ms.rem_euclid(1000) * 1_000_000)
}

/// A key and its JSON, as configuration, history and summary have them.
fn item(key: &str, json: &str) -> Message {
    Message::default().text(1, key).text(16, json)
}

/// The settings as they nest, without those that are unset.
fn nested(settings: &[(String, Value)]) -> Map<String, Value> {
    let mut top = Map::new();
    for (path, value) in settings.iter().filter(|(_, v)| !v.is_null()) {
        let mut at = &mut top;
        let mut parts: Vec<&str> = path.split('.').collect();
        let Some(last) = parts.pop() else { continue };
        for part in parts {
            let next = at.entry(part).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(next) = next else { return top };
            at = next;
        }
        at.insert(last.to_owned(), value.clone());
    }
    top
}

impl Format for OfflineRun {
    const NAME: &'static str = "wandb";

    fn ending(_: u32) -> Option<String> {
        None
    }

    fn head(&self, _: u32, out: &mut Out) {
        let file = self.file();
        let producer = concat!("tallow ", env!("CARGO_PKG_VERSION"));
        let info = Message::default().text(1, producer).text(2, MIN_CONSUMER);
        out.add(&file, |n| Self::record(n, 21, Message::default().message(1, info)));
        let config = nested(&self.facts.settings).into_iter().map(|(key, value)| item(&key, &value.to_string()));
        let run = Message::default()
            .text(1, &self.id)
            .text(3, &self.project)
            .message(4, Message::default().messages(1, config))
            .text(8, &self.facts.id)
            .message(17, time(self.facts.started_ms));
        out.add(&file, |n| Self::record(n, 17, run));
        for stage in 1..=self.facts.stages {
            // The horizontal axis of a stage's figures is its own step.
            let axis = Message::default().text(2, format!("stage{stage}/*")).text(4, format!("stage{stage}/step"));
            out.add(&file, |n| Self::record(n, 12, axis));
        }
    }

    fn row(&self, _: u32, row: &Row, out: &mut Out) {
        let first = HEAD_RECORDS + self.facts.stages as u64;
        let stage = row.place.0;
        out.add(&self.file(), |n| {
            let figure = |(name, value): &(String, f64)| {
                let json = serde_json::Number::from_f64(*value).map_or_else(|| "null".into(), |n| n.to_string());
                item(&format!("stage{stage}/{name}"), &json)
            };
            let sample = |(i, (prompt, answer)): (usize, &(String, String))| {
                item(&format!("stage{stage}/samples/{}", i + 1), &Value::String(format!("{prompt}\n---\n{answer}")).to_string())
            };
            let seconds = (row.time_ms - self.facts.started_ms) as f64 / 1e3;
            let index = n.saturating_sub(first);
            let history = Message::default()
                .messages(1, row.figures.iter().map(figure))
                .messages(1, row.samples.iter().enumerate().map(sample))
                .message(1, item(&format!("stage{stage}/step"), &row.place.1.to_string()))
                .message(1, item("_step", &index.to_string()))
                .message(1, item("_runtime", &seconds.to_string()))
                .message(1, item("_timestamp", &row.seconds().to_string()))
                .message(2, Message::default().int(1, index as i64));
            Self::record(n, 2, history)
        });
    }

    fn end(&self, _: u32, facts: &Facts, last: &Last, out: &mut Out) {
        if facts.standing == Standing::Running {
            return;
        }
        let file = self.file();
        let newest = last.iter().map(|((stage, name), value)| (format!("stage{stage}/{name}"), *value));
        let results = facts.results.iter().map(|(name, value)| (format!("result/{name}"), *value));
        let update = newest.chain(results).map(|(name, value)| item(&name, &value.to_string()));
        out.add(&file, |n| Self::record(n, 3, Message::default().messages(1, update)));
        let code = i64::from(facts.standing == Standing::Failed);
        let runtime = facts.ended_ms.map_or(0, |end| (end - facts.started_ms).max(0) / 1000);
        out.add(&file, |n| Self::record(n, 18, Message::default().int(1, code).int(2, runtime)));
    }

    fn frame(offset: u64, record: &[u8]) -> Vec<u8> {
        log::frame(offset, record)
    }
}

/// The run's file.
pub fn path(facts: &Facts) -> PathBuf {
    Path::new(&folder(facts)).join(format!("run-{}.wandb", id(facts)))
}
