//! Trains an adapter for a model folder and answers one question with it, without the command line:
//!
//! ```text
//! cargo run --release --example finetune -- MODEL_FOLDER ROWS.jsonl ADAPTER_FOLDER "a question"
//! ```

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use tallow::data::{DataOptions, Dataset, Sampler, SamplerOptions, TextTokenizer, prompt_of, read};
use tallow::model::generate::{Generator, SamplingOptions};
use tallow::model::{Decoder, LoadOptions, LoraConfig};
use tallow::train::{Event, Sampled, TrainConfig, Trainer};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [base, rows, adapter, question] = args.as_slice() else {
        return Err("finetune MODEL_FOLDER ROWS.jsonl ADAPTER_FOLDER QUESTION".into());
    };
    let (base, rows) = (PathBuf::from(base), PathBuf::from(rows));

    let tokenizer = TextTokenizer::load(&base)?;
    let options = DataOptions { max_seq_length: 512, ..DataOptions::default() };
    let dataset = Dataset::encode(&read(&[rows.as_path()], &options)?, &tokenizer, &options)?;
    println!("{} rows", dataset.len());
    let sampler = Sampler::new(&dataset, SamplerOptions { batch_size: 8, ..SamplerOptions::default() })?;

    let mut model = Decoder::load(&base, &LoadOptions::default())?;
    let target_modules = vec!["all-linear".into()];
    model.add_lora(&LoraConfig { rank: 16, alpha: 32.0, dropout: 0.0, use_rslora: false, target_modules }, 42)?;
    let mut batches = Sampled { dataset: &dataset, sampler };
    let mut print = |event: &Event| {
        if let Event::Step { step, loss, .. } = event
            && step % 10 == 0
        {
            println!("step {step}: loss {loss:.3}");
        }
    };
    Trainer::new(&mut model, &mut batches, TrainConfig::new(100, 1e-3), &mut print)?.run()?;
    model.save_adapter(&PathBuf::from(adapter))?;

    let turn = json!({"role": "user", "content": question});
    let prompt = prompt_of(&tokenizer, &[turn], &Value::Null, &Map::new())?;
    let stop = tokenizer.turn_end().or(tokenizer.eos_id()).into_iter().collect();
    let sampling = SamplingOptions { max_new_tokens: 64, stop, ..SamplingOptions::default() };
    let answer = Generator::new(&model).run(&prompt.ids, &sampling, &mut |_| true)?;
    println!("{}", tokenizer.decode(&answer.tokens, true)?);
    Ok(())
}
