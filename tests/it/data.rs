//! Data: sources, layouts, masks, packing, order.

mod dialect;
mod files;
mod gsm_sample;
mod hostile;
mod masks;
mod order;
mod prepare;
mod reported;
pub mod sources;
pub mod templates;

use std::path::PathBuf;

use tallow::data::{DataOptions, Dataset, Record, RecordSet, TextTokenizer, read, segments};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

const SPECIAL: [&str; 13] = [
    "<s>",
    "</s>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|end|>",
    "[INST]",
    "[/INST]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
];

const CORPUS: [&str; 4] = [
    "the quick brown fox jumps over the lazy dog, user assistant system tool",
    "What is the weather in Paris today? It is sunny in Paris and rainy in London.",
    "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}",
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.",
];

/// A byte-level BPE trained on four lines; every byte has a token, so any text is encoded without loss.
pub fn bare_tokenizer() -> Tokenizer {
    let special = SPECIAL.iter().map(|t| AddedToken::from(*t, true)).collect();
    let alphabet = ByteLevel::alphabet().into_iter().collect();
    let mut trainer: tokenizers::models::TrainerWrapper =
        BpeTrainer::builder().vocab_size(400).special_tokens(special).initial_alphabet(alphabet).show_progress(false).build().into();
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    tokenizer.train(&mut trainer, CORPUS.iter()).unwrap();
    tokenizer
}

pub fn tokens(bos: &str, eos: &str) -> Vec<(String, String)> {
    vec![("bos_token".into(), bos.into()), ("eos_token".into(), eos.into())]
}

/// A tokenizer with `</s>` as its end, and a template where one is given.
pub fn tokenizer(template: Option<&str>) -> TextTokenizer {
    let eos = match template {
        Some(t) if t.contains("<|im_end|>") => "<|im_end|>",
        Some(t) if t.contains("<|eot_id|>") => "<|eot_id|>",
        _ => "</s>",
    };
    let mut tokenizer = TextTokenizer::from_parts(bare_tokenizer(), tokens("<s>", eos)).unwrap();
    if let Some(template) = template {
        tokenizer.set_chat_template(template, "test").unwrap();
    }
    tokenizer
}

/// A folder that holds one file.
pub fn file(name: &str, content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    (dir, path)
}

pub fn records_of(name: &str, content: &str, options: &DataOptions) -> RecordSet {
    let (_dir, path) = file(name, content);
    read(&[&path], options).unwrap()
}

pub fn dataset_of(content: &str, tokenizer: &TextTokenizer, options: &DataOptions) -> Dataset {
    Dataset::encode(&records_of("rows.jsonl", content, options), tokenizer, options).unwrap()
}

/// The examples as text, trained runs in `⟦ ⟧`.
pub fn masked(dataset: &Dataset, tokenizer: &TextTokenizer) -> Vec<String> {
    let show = |s: tallow::data::Segment| if s.trained { format!("⟦{}⟧", s.text) } else { s.text };
    dataset.examples.iter().map(|e| segments(e, tokenizer).into_iter().map(show).collect()).collect()
}

/// `line: code` of each problem.
pub fn problem_list(set: &RecordSet) -> Vec<String> {
    set.problems.iter().map(|p| format!("{}: {}", p.at.line, p.code)).collect()
}

pub fn lines(records: &[Record]) -> Vec<u64> {
    records.iter().map(|r| r.at.line).collect()
}
