//! Decoding many prompts at once gives what decoding each alone gives.

use tallow::base::error::Fault;
use tallow::model::generate::{BatchOptions, Generator, SamplingOptions};

use crate::golden::{Outcome, families};

/// Random numbers (xorshift).
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    }
}

/// Every family of the golden models, several drawn batches each.
#[test]
fn batched_decoding_equals_one_by_one_token_for_token() -> Outcome {
    let drawn = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64;
    for (f, g) in families()?.iter().enumerate() {
        let model = if f % 2 == 0 { g.base()? } else { g.with_adapter()? };
        let vocab = model.spec().vocab_size;
        for round in 0..3u64 {
            let seed = drawn ^ (round << 8) ^ f as u64;
            let mut next = random(seed);
            let count = 1 + next(14);
            let context = model.spec().max_positions;
            let prompts: Vec<Vec<u32>> = (0..count)
                .map(|_| {
                    let longest = if next(3) == 0 { 60 } else { 9 };
                    (0..1 + next(longest.min(context - 1))).map(|_| next(vocab) as u32).collect()
                })
                .collect();
            let new = next(12);
            let options = SamplingOptions {
                max_new_tokens: new,
                temperature: if next(4) == 0 { 0.8 } else { 0.0 },
                seed,
                stop: (0..vocab / 12).map(|_| next(vocab) as u32).collect(),
                ..Default::default()
            };
            let longest = prompts.iter().map(|p| p.len() + new.min(context - p.len())).max().unwrap_or(0) as u64;
            let cache_bytes = (longest + next(80) as u64) * model.cache_bytes_per_token();
            let batch = BatchOptions { max_sequences: 1 + next(6), cache_bytes };
            let generator = Generator::new(&model);
            let mut last = 0;
            let together = generator.run_batch(&prompts, &options, &batch, &mut |done| {
                assert!(done >= last && done <= count);
                last = done;
                true
            })?;
            assert!(together.figures.peak_cache_bytes <= cache_bytes, "{} seed {seed}: {:?}", g.name, together.figures);
            assert_eq!(together.figures.prompt_tokens, prompts.iter().map(|p| p.len() as u64).sum::<u64>());
            for (prompt, answer) in prompts.iter().zip(&together.answers) {
                let room = context - prompt.len();
                let alone = SamplingOptions { max_new_tokens: new.min(room), ..options.clone() };
                let alone = generator.run(prompt, &alone, &mut |_| true)?;
                assert_eq!(answer.tokens, alone.tokens, "{} seed {seed}: {prompt:?}", g.name);
                let reason = if alone.stop_reason == "max_new_tokens" && room < new { "context_full" } else { alone.stop_reason };
                assert_eq!(answer.stop_reason, reason, "{} seed {seed}: {prompt:?}", g.name);
            }
        }
    }
    Ok(())
}

#[test]
fn a_batch_that_is_ended_or_does_not_fit() -> Outcome {
    let g = crate::golden::golden("llama3")?;
    let model = g.base()?;
    let generator = Generator::new(&model);
    let options = SamplingOptions { max_new_tokens: 8, ..Default::default() };
    let prompts = vec![vec![1, 2, 3], vec![4, 5], vec![6]];
    let one = BatchOptions { max_sequences: 1, ..Default::default() };
    let out = generator.run_batch(&prompts, &options, &one, &mut |done| done < 1)?;
    let reasons: Vec<&str> = out.answers.iter().map(|a| a.stop_reason).collect();
    assert_eq!(reasons, ["max_new_tokens", "cancelled", "cancelled"]);
    assert_eq!(out.figures.peak_cache_bytes, 11 * model.cache_bytes_per_token());
    let tight = BatchOptions { cache_bytes: 10 * model.cache_bytes_per_token(), ..one };
    let e = generator.run_batch(&prompts, &options, &tight, &mut |_| true).unwrap_err().to_string();
    assert!(e.contains("prompt 1 of 3") && e.contains("raise the limit"), "{e}");
    for bad in [vec![vec![]], vec![vec![u32::MAX]], vec![vec![1; model.spec().max_positions + 1]]] {
        assert!(generator.run_batch(&bad, &options, &one, &mut |_| true).is_err());
    }
    let none = BatchOptions { max_sequences: 0, ..one };
    assert!(generator.run_batch(&prompts, &options, &none, &mut |_| true).is_err());
    assert_eq!(generator.run_batch(&[], &options, &one, &mut |_| true)?.answers, []);
    let _: Fault = Fault::from(generator.run_batch(&[vec![]], &options, &one, &mut |_| true).unwrap_err());
    Ok(())
}
