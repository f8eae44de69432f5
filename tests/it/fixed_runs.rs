//! Fixed short runs of every family, dtype and policy, and the hashes of what they compute.
//!
//! A change that must not change results is checked by running this before and after it:
//!
//! ```text
//! TALLOW_ISA=avx512 TALLOW_FIXED_RUNS=before.txt cargo test --test it -- --ignored fixed_runs
//! TALLOW_ISA=avx512 TALLOW_FIXED_RUNS=after.txt  cargo test --test it -- --ignored fixed_runs
//! diff before.txt after.txt
//! ```
//!
//! Hashes depend on the instruction set and on the kernels, so none is kept in the tree.

use std::fmt::Write;

use candle_core::{DType, Device};
use sha2::{Digest, Sha256};
use tallow::model::generate::{Generator, SamplingOptions};
use tallow::model::{Decoder, LoadOptions, LoraConfig, Policy, Quantization, StepOptions, Trainable};
use tallow::train::memory::{HeldOut, MemoryRequest, predict};
use tallow::train::{Optimizer, OptimizerConfig, OptimizerKind, Sft, StepSettings, train_step};

use crate::golden::{Golden, Outcome, families, values};

const POLICIES: [Policy; 5] =
    [Policy::KeepAll, Policy::Minimal, Policy::Recompute, Policy::Mixed { recomputed: 1, offloaded: 1 }, Policy::HostInputs];

fn hash(all: impl IntoIterator<Item = f32>) -> String {
    let mut sum = Sha256::new();
    all.into_iter().for_each(|v| sum.update(v.to_bits().to_le_bytes()));
    sum.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
}

fn hash_of<'a>(tensors: impl IntoIterator<Item = &'a candle_core::Tensor>) -> anyhow::Result<String> {
    let all = tensors.into_iter().map(values).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(hash(all.into_iter().flatten()))
}

/// Three steps of one run: the first step's gradients, then the trained tensors.
fn train(g: &Golden, options: &LoadOptions, lora: Option<&LoraConfig>, policy: Policy) -> anyhow::Result<String> {
    let mut model = Decoder::load(&g.dir.join("model"), options)?;
    match lora {
        Some(config) => model.add_lora(config, 11)?,
        None => model.enable_full_finetuning()?,
    }
    let mut optimizer = Optimizer::new(model.params(), OptimizerConfig::default())?;
    let mut grads = model.zero_grads()?;
    let passes = [g.rows(&[0, 1])?, g.rows(&[1])?];
    let step = StepOptions { grad_scale: 0.1, dropout_seed: Some(5), policy };
    let loss = model.loss_and_grads(&passes[0], &step, &mut grads)?;
    let first = hash_of(&grads.tensors)?;
    for seed in 0..3 {
        let settings = StepSettings { lr: 1e-2, max_grad_norm: Some(1.0), policy, dropout_seed: Some(seed) };
        train_step(&mut model, &mut optimizer, &Sft, &passes, &mut grads, &settings)?;
    }
    let trained = hash_of(model.params().iter().map(|p| &p.tensor))?;
    let logits = hash_of([&model.logits(&passes[0].input_ids, &passes[0].cu_seqlens)?])?;
    let sampling = SamplingOptions { max_new_tokens: 12, ..SamplingOptions::default() };
    let text = Generator::new(&model).run(&passes[1].input_ids[..6], &sampling, &mut |_| true)?.tokens;
    Ok(format!("loss {:.9} gradients {first} trained {trained} logits {logits} text {text:?}", loss.loss_sum))
}

/// What the memory plan says of the same run.
fn planned(g: &Golden, options: &LoadOptions, lora: Option<&LoraConfig>, policy: Policy) -> anyhow::Result<u64> {
    let spec = tallow::model::DecoderSpec::from_dir(&g.dir.join("model"))?;
    let trainable = lora.map_or(Trainable::Full, |l| Trainable::Lora(l.clone()));
    let request = MemoryRequest {
        spec: &spec,
        quantization: options.quantization,
        compute_dtype: options.compute_dtype,
        trainable: &trainable,
        optimizer: OptimizerKind::AdamW,
        window_tokens: 512,
        longest: 128,
        held_out: HeldOut::default(),
        tokens_per_pass: None,
        policy: None,
        budget: Some(u64::MAX),
        gpu: false,
        host_budget: None,
        held: 0,
    };
    Ok(predict(&request, policy, 512).peak_bytes)
}

#[test]
#[ignore = "prints hashes to compare before and after a change"]
fn fixed_runs_of_every_family() -> Outcome {
    let mut text = String::new();
    let lora = |dropout, modules: &[&str]| LoraConfig {
        rank: 4,
        alpha: 8.0,
        dropout,
        use_rslora: false,
        target_modules: modules.iter().map(|m| (*m).to_owned()).collect(),
    };
    let all = lora(0.1, &["all-linear"]);
    let holds = [
        ("f32", DType::F32, Quantization::None),
        ("bf16", DType::BF16, Quantization::None),
        ("nf4 bf16", DType::BF16, Quantization::Nf4),
        ("q8 f32", DType::F32, Quantization::Q8),
    ];
    for g in families()? {
        let k = if g.name.starts_with("phi") { "qkv_proj" } else { "k_proj" };
        let some = lora(0.0, &[k, "model.layers.1.mlp.down_proj"]);
        for (held, compute_dtype, quantization) in holds {
            let options = LoadOptions { quantization, compute_dtype, device: Device::Cpu, ..LoadOptions::default() };
            for policy in POLICIES {
                for (what, lora) in [("all", Some(&all)), ("some", Some(&some)), ("full", None)] {
                    if lora.is_none() && quantization != Quantization::None {
                        continue;
                    }
                    let run = train(&g, &options, lora, policy)?;
                    let bytes = planned(&g, &options, lora, policy)?;
                    writeln!(text, "{} {held} {policy:?} {what}: {run} plan {bytes}", g.name)?;
                }
            }
        }
    }
    let file = std::env::var_os("TALLOW_FIXED_RUNS")
        .map_or_else(|| std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixed_runs.txt"), Into::into);
    std::fs::write(file, text)?;
    Ok(())
}
