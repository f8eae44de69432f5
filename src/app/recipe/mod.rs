//! How the embedded base model is made, from nothing but a seed: text, tokenizer, random weights, full fine-tuning.

pub mod bpe;
mod chat;
pub mod corpus;
pub mod demo;
mod facts;
mod pen;
mod records;
mod source;
mod stories;
mod sums;
mod words;

use std::path::Path;
use std::time::Instant;

use safetensors::Dtype;
use serde::Serialize;
use serde_json::{Value, json};

use self::source::Corpus;
use crate::base::atomic::write_file;
use crate::base::error::Fault;
use crate::data::{PackedBatch, TextTokenizer};
use crate::model::random_init::{RandomInit, write_random_model};
use crate::model::{Decoder, LoadOptions};
use crate::train::{Decay, Observer, OptimizerConfig, Schedule, Sft, TrainConfig, Trainer, evaluate};

pub use self::corpus::documents;
pub use self::demo::{Part, demo_rows, is_right};

/// The seed of everything.
pub const SEED: u64 = 20_260_101;
/// Optimiser steps when nothing else is asked.
pub const STEPS: u64 = 1600;
const TOKENS_A_STEP: usize = 4096;
/// Longest document in tokens; the few that are longer are cut.
const MAX_DOCUMENT: usize = 384;
const POSITIONS: usize = 512;
const VOCAB: usize = 1024;
const TOKENIZER_DOCUMENTS: usize = 8000;
const HELD_OUT_TOKENS: usize = 40_000;
const PEAK_LR: f64 = 3e-3;

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub struct RecipeReport {
    /// Where the model stands.
    pub out: String,
    /// Values in the model.
    pub parameters: u64,
    /// Tokens that the tokenizer knows.
    pub vocab_size: usize,
    /// Optimiser steps.
    pub steps: u64,
    /// Tokens that went through the model.
    pub tokens: u64,
    /// Seconds of training.
    pub train_seconds: f64,
    /// Seconds in all.
    pub seconds: f64,
    /// Mean loss over the tokens of documents that were not trained.
    pub loss: f64,
    /// `exp(loss)`.
    pub perplexity: f64,
    /// Share of those tokens that were the most likely one.
    pub accuracy: f64,
}

/// The base model's config.json.
fn model_config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": false,
        "attention_dropout": 0.0,
        "bos_token_id": null,
        "eos_token_id": [bpe::END_OF_TURN, bpe::END_OF_TEXT],
        "head_dim": 32,
        "hidden_act": "silu",
        "hidden_size": 192,
        "initializer_range": 0.02,
        "intermediate_size": 384,
        "max_position_embeddings": POSITIONS,
        "mlp_bias": false,
        "model_type": "llama",
        "num_attention_heads": 6,
        "num_hidden_layers": 5,
        "num_key_value_heads": 2,
        "pad_token_id": bpe::PAD,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": true,
        "torch_dtype": "float32",
        "vocab_size": VOCAB,
    })
}

fn write_json(path: &Path, value: &Value) -> Result<(), Fault> {
    write_file(path, format!("{value:#}\n").as_bytes())
}

/// Writes a folder with the trained tokenizer and random weights: what training begins with.
fn write_beginning(folder: &Path) -> Result<TextTokenizer, Fault> {
    let init = RandomInit { seed: SEED, ..RandomInit::default() };
    write_random_model(folder, &format!("{:#}\n", model_config()), &init)?;
    let tokenizer = bpe::train(VOCAB, SEED, TOKENIZER_DOCUMENTS)?;
    let text = tokenizer.to_string(false).map_err(|e| Fault::new("tokenizer_training", e.to_string()))?;
    write_file(&folder.join("tokenizer.json"), text.as_bytes())?;
    write_json(&folder.join("tokenizer_config.json"), &bpe::config(POSITIONS))?;
    let generation = json!({"eos_token_id": [bpe::END_OF_TURN, bpe::END_OF_TEXT], "pad_token_id": bpe::PAD, "do_sample": false});
    write_json(&folder.join("generation_config.json"), &generation)?;
    Ok(TextTokenizer::load(folder)?)
}

fn train_config(steps: u64) -> TrainConfig {
    let schedule = Schedule { decay: Decay::Cosine, peak: PEAK_LR, warmup_steps: (steps / 20).min(100), total_steps: steps, floor: 0.02 };
    TrainConfig {
        schedule,
        optimizer: OptimizerConfig { beta2: 0.95, weight_decay: 0.1, ..OptimizerConfig::default() },
        eval_steps: (steps / 4).max(1),
        seed: SEED,
        dropout: false,
        ..TrainConfig::new(steps, PEAK_LR)
    }
}

/// Makes the base model and writes it into the new folder `out`; `steps` shortens or lengthens the training.
///
/// # Errors
/// When `out` exists already or cannot be written, or training fails.
pub fn run(out: &Path, steps: Option<u64>, observer: &mut dyn Observer) -> Result<RecipeReport, Fault> {
    if out.exists() {
        return Err(
            Fault::new("already_exists", format!("{} exists already", out.display())).hint("choose another name, or remove it first")
        );
    }
    let started = Instant::now();
    let steps = steps.unwrap_or(STEPS);
    let temporary = tempfile::tempdir().map_err(|e| Fault::io("make a folder in", &std::env::temp_dir(), &e))?;
    let beginning = temporary.path().join("model");
    let tokenizer = write_beginning(&beginning)?;
    let mut decoder = Decoder::load(&beginning, &LoadOptions::default())?;
    decoder.enable_full_finetuning()?;

    let mut data = Corpus::new(&tokenizer, SEED, steps as usize * TOKENS_A_STEP, TOKENS_A_STEP)?;
    let held_out: Vec<PackedBatch> = Corpus::new(&tokenizer, SEED + 1, HELD_OUT_TOKENS, TOKENS_A_STEP)?.all();
    let outcome = Trainer::new(&mut decoder, &mut data, train_config(steps), observer)?.with_validation(held_out.clone()).run()?;
    let judged = evaluate(&decoder, &Sft, &held_out, || true)?;
    let judged = judged.ok_or_else(|| Fault::new("stopped", "the evaluation was broken off"))?;
    decoder.save_model(out, Some(Dtype::BF16), u64::MAX)?;
    Ok(RecipeReport {
        out: out.display().to_string(),
        parameters: decoder.params().elements(),
        vocab_size: tokenizer.vocab_size(),
        steps: outcome.step,
        tokens: outcome.tokens,
        train_seconds: outcome.seconds,
        seconds: started.elapsed().as_secs_f64(),
        loss: judged.loss,
        perplexity: judged.perplexity,
        accuracy: judged.accuracy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{Event, Recorder};

    #[test]
    fn a_few_steps_make_a_model_that_loads_and_has_learned() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("base");
        let mut recorder = Recorder::default();
        let report = run(&out, Some(3), &mut recorder).unwrap();
        let losses: Vec<f64> =
            recorder.events.iter().filter_map(|e| if let Event::Step { loss, .. } = e { Some(*loss) } else { None }).collect();
        assert_eq!(losses.len(), 3);
        assert!(losses[0] > 6.5 && report.loss < losses[0] - 0.1, "{losses:?} {}", report.loss);
        let decoder = Decoder::load(&out, &LoadOptions::default()).unwrap();
        assert_eq!(decoder.spec().vocab_size, TextTokenizer::load(&out).unwrap().vocab_size());
        let bytes: u64 = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes < 4 << 20, "{bytes}");
        assert_eq!(run(&out, Some(1), &mut recorder).unwrap_err().code, "already_exists");
    }
}
