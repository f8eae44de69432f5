//! TensorBoard event files: `stage1/` and `stage2/` with scalars, and beside them the settings as
//! text and as hyperparameters.
//!
//! A file is a row of records (TFRecord: length, masked CRC-32C of the length, payload, masked
//! CRC-32C of the payload); a payload is an `Event` message. Sources: tensorflow/core/util/event.proto,
//! tensorflow/core/framework/summary.proto, tensorboard/plugins/hparams/plugin_data.proto.

mod hparams;

use std::path::{Path, PathBuf};

use super::facts::{Facts, Standing, in_words};
use super::mirror::{Format, Last, Mirror, Out};
use super::proto::Message;
use super::row::Row;
use crate::base::error::Fault;

/// The format; values are `float`, as TensorBoard's scalars are.
#[derive(Debug)]
pub struct Events {
    facts: Facts,
}

impl Events {
    /// Opens the files of a run below `folder`, in a folder of the run's name.
    ///
    /// # Errors
    /// As `Mirror::open`.
    pub fn open(facts: Facts, folder: &Path) -> Result<Mirror<Self>, Fault> {
        let (run, folder) = (facts.folder.clone(), folder.join(&facts.id));
        Mirror::open(&run, folder, Self { facts })
    }

    fn file(&self, generation: u32, stage: Option<usize>) -> String {
        let seconds = self.facts.started_ms / 1000;
        let name = format!("events.out.tfevents.{seconds}{}", ending(generation));
        stage.map_or_else(|| name.clone(), |n| format!("stage{n}/{name}"))
    }
}

fn ending(generation: u32) -> String {
    format!(".tallow.{generation}")
}

/// The folder that is used where none is set.
pub fn default_folder(run: &Path) -> PathBuf {
    run.join("tensorboard")
}

/// `train/loss`, `eval/loss`: how TensorBoard groups its charts.
pub fn tag(figure: &str) -> String {
    figure.strip_prefix("eval_").map_or_else(|| format!("train/{figure}"), |name| format!("eval/{name}"))
}

fn event(seconds: f64, step: u64) -> Message {
    Message::default().double(1, seconds).int(2, step as i64)
}

fn version(seconds: f64) -> Vec<u8> {
    Message::default().double(1, seconds).text(3, "brain.Event:2").bytes()
}

fn scalars(seconds: f64, step: u64, values: impl IntoIterator<Item = (String, f64)>) -> Vec<u8> {
    let value = |(tag, value): (String, f64)| Message::default().text(1, tag).float(2, value as f32);
    event(seconds, step).message(5, Message::default().messages(1, values.into_iter().map(value))).bytes()
}

/// A summary of a plugin: its name, and bytes that only it reads.
fn plugin(name: &str, content: Message) -> Message {
    Message::default().message(1, Message::default().text(1, name).text(2, content.bytes()))
}

/// A text, as the text plugin shows it (Markdown).
fn text(seconds: f64, step: u64, tag: &str, text: &str) -> Vec<u8> {
    const STRING: i64 = 7;
    let shape = Message::default().message(2, Message::default().int(1, 1));
    let tensor = Message::default().int(1, STRING).message(2, shape).text(8, text);
    let value = Message::default().text(1, tag).message(8, tensor).message(9, plugin("text", Message::default()));
    event(seconds, step).message(5, Message::default().message(1, value)).bytes()
}

/// Settings as a table in Markdown.
fn table(facts: &Facts) -> String {
    let row =
        |(key, value): &(String, serde_json::Value)| format!("| {key} | {} |\n", in_words(value).replace('|', "\\|").replace('\n', " "));
    let rows: String = facts.settings.iter().map(row).collect();
    format!("| setting | value |\n|---|---|\n{rows}")
}

impl Format for Events {
    const NAME: &'static str = "tensorboard";

    fn ending(generation: u32) -> Option<String> {
        Some(ending(generation))
    }

    fn head(&self, generation: u32, out: &mut Out) {
        let seconds = self.facts.started_ms as f64 / 1e3;
        let root = self.file(generation, None);
        out.add(&root, |_| version(seconds));
        out.add(&root, |_| text(seconds, 0, "settings", &table(&self.facts)));
        out.add(&root, |_| hparams::experiment(&self.facts, seconds));
        out.add(&root, |_| hparams::start(&self.facts, seconds));
    }

    fn row(&self, generation: u32, row: &Row, out: &mut Out) {
        let file = self.file(generation, Some(row.place.0));
        let values = || row.figures.iter().map(|(name, value)| (tag(name), *value));
        // The first record of a file names the format.
        out.add_first(&file, || version(row.seconds()));
        if !row.figures.is_empty() {
            out.add(&file, |_| scalars(row.seconds(), row.place.1, values()));
        }
        for (i, (prompt, answer)) in row.samples.iter().enumerate() {
            // Indented text is shown as it stands.
            let quoted = |words: &str| words.lines().map(|line| format!("    {line}\n")).collect::<String>();
            let shown = format!("{}\n\n---\n\n{}", quoted(prompt), quoted(answer));
            out.add(&file, |_| text(row.seconds(), row.place.1, &format!("samples/{}", i + 1), &shown));
        }
    }

    fn end(&self, generation: u32, facts: &Facts, _: &Last, out: &mut Out) {
        let Some(ended_ms) = facts.ended_ms.filter(|_| matches!(facts.standing, Standing::Finished | Standing::Failed)) else { return };
        let (root, seconds) = (self.file(generation, None), ended_ms as f64 / 1e3);
        if !facts.results.is_empty() {
            let values = facts.results.iter().map(|(name, value)| (format!("result/{name}"), *value));
            out.add(&root, |_| scalars(seconds, 0, values));
        }
        out.add(&root, |_| hparams::end(facts.standing, seconds));
    }

    fn frame(_: u64, record: &[u8]) -> Vec<u8> {
        let length = (record.len() as u64).to_le_bytes();
        let mut out = Vec::with_capacity(record.len() + 16);
        out.extend(length);
        out.extend(masked(&length).to_le_bytes());
        out.extend(record);
        out.extend(masked(record).to_le_bytes());
        out
    }
}

/// CRC-32C, rotated and shifted as TFRecord does it, so that a checksum of bytes that hold
/// checksums is no weaker.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32 with Castagnoli's polynomial.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let (mut crc, mut bit) = (i as u32, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ crc >> 8)
}

#[cfg(test)]
mod tests {
    #[test]
    fn crc32c_of_rfc_3720() {
        assert_eq!(super::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(super::crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(super::crc32c(b"123456789"), 0xe306_9283);
    }
}
