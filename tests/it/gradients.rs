//! Every gradient of every family against central differences of the loss.

use std::path::Path;

use candle_core::{DType, Tensor};
use tallow::data::PackedBatch;
use tallow::model::{Decoder, LoadOptions, LoraConfig, Policy, Quantization, StepOptions};

use crate::golden::{Golden, Outcome, families, gradients, values};

/// Numbers in [-1, 1) from a counter (splitmix64).
fn random(seed: u64, n: usize) -> Vec<f64> {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (0..n as u64).map(|i| mix((seed << 32) + i + 1) as i64 as f64 / 2f64.powi(63)).collect()
}

fn unit(v: &[f64]) -> Vec<f64> {
    let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
    v.iter().map(|x| x / norm).collect()
}

/// The mean loss with parameter `at` moved by `step` along `direction`.
fn moved(model: &mut Decoder, at: usize, start: &[f32], direction: &[f64], step: f64, batch: &PackedBatch) -> anyhow::Result<f64> {
    let changed: Vec<f32> = start.iter().zip(direction).map(|(x, d)| (f64::from(*x) + step * d) as f32).collect();
    put(model, at, changed)?;
    Ok(model.evaluate(batch)?.loss_sum / batch.target_tokens() as f64)
}

fn put(model: &mut Decoder, at: usize, values: Vec<f32>) -> Outcome {
    if let Some(p) = model.params_mut().iter_mut().nth(at) {
        p.tensor = Tensor::from_vec(values, p.tensor.shape(), p.tensor.device())?;
    }
    Ok(model.sync_params()?)
}

/// The derivative along a direction of length 1, from central differences at h and 2h (error of order h^4).
fn derivative(model: &mut Decoder, at: usize, start: &[f32], direction: &[f64], h: f64, batch: &PackedBatch) -> anyhow::Result<f64> {
    let mut central = |h: f64| -> anyhow::Result<f64> {
        Ok((moved(model, at, start, direction, h, batch)? - moved(model, at, start, direction, -h, batch)?) / (2.0 * h))
    };
    Ok((4.0 * central(h)? - central(2.0 * h)?) / 3.0)
}

/// Along the gradient itself, where an error of its size or of its direction shows, and along a random direction,
/// where a part that is missing shows.
fn check(g: &Golden, model: &mut Decoder, mode: &str) -> anyhow::Result<f64> {
    let batch = g.rows(&[0, 1])?;
    let (_, grads) = gradients(model, &batch, 1.0 / batch.target_tokens() as f32, Policy::Recompute)?;
    let names: Vec<String> = model.params().iter().map(|p| p.name.clone()).collect();
    let mut worst = 0f64;
    // Where a step crosses the edge of OLMo's clamp, the difference is not the derivative.
    let kinks = if model.spec().layers[0].attention.clip.is_some() { 100.0 } else { 1.0 };
    for (at, name) in names.iter().enumerate() {
        let what = format!("{} {mode} `{name}`", g.name);
        let gradient: Vec<f64> = values(&grads.tensors[at])?.into_iter().map(f64::from).collect();
        let norm = gradient.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!(norm.is_finite() && norm > 1e-6, "{what}: gradient of norm {norm}");
        let start = values(&model.params().iter().as_slice()[at].tensor)?;
        let h = (2e-3 / norm).min(2e-2);
        for direction in [unit(&gradient), unit(&random(at as u64, start.len()))] {
            let want: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
            let got = derivative(model, at, &start, &direction, h, &batch)?;
            let off = (got - want).abs() / norm;
            assert!(off < 1e-3 * kinks, "{what}: {got} by differences, {want} by the backward pass (norm {norm}, step {h})");
            worst = worst.max(off);
        }
        put(model, at, start)?;
    }
    Ok(worst)
}

/// The families, and OLMo once more without its clamp, so that it is held to the same tolerance as the others.
fn families_and_unclamped(out: &Path) -> anyhow::Result<Vec<Golden>> {
    let mut all = families()?;
    let olmo = all.iter().find(|g| g.name == "olmo").ok_or_else(|| anyhow::anyhow!("no olmo"))?;
    for part in ["model", "adapter"] {
        std::fs::create_dir_all(out.join(part))?;
        for file in std::fs::read_dir(olmo.dir.join(part))? {
            let file = file?;
            std::fs::copy(file.path(), out.join(part).join(file.file_name()))?;
        }
    }
    let path = out.join("model/config.json");
    let mut config: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    anyhow::ensure!(config["clip_qkv"].is_number(), "olmo has no clip_qkv");
    config["clip_qkv"] = serde_json::Value::Null;
    std::fs::write(&path, config.to_string())?;
    let unclamped = Golden { name: "olmo unclamped".into(), dir: out.to_path_buf(), expected: olmo.expected.clone() };
    all.push(unclamped);
    Ok(all)
}

fn note(file: &str, lines: &[String]) -> Outcome {
    Ok(std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file), lines.join("\n"))?)
}

#[test]
fn adapters() -> Outcome {
    let mut worst = Vec::new();
    let out = tempfile::tempdir()?;
    for g in families_and_unclamped(out.path())? {
        let mut model = g.with_adapter()?;
        assert_eq!(model.params().len(), 2 * model.spec().linears().len(), "{}", g.name);
        worst.push(format!("{:14} adapters {:.2e}", g.name, check(&g, &mut model, "adapter")?));
    }
    note("differences_adapters.txt", &worst)
}

#[test]
fn every_weight() -> Outcome {
    let mut worst = Vec::new();
    let out = tempfile::tempdir()?;
    for g in families_and_unclamped(out.path())? {
        let mut model = g.base()?;
        model.enable_full_finetuning()?;
        // The linear layers, the embedding, and the head where it is its own; norms and biases come on top.
        let matrices = model.params().iter().filter(|p| p.tensor.rank() == 2).count();
        assert_eq!(matrices, model.spec().linears().len() + 2 - usize::from(model.spec().tie_word_embeddings), "{}", g.name);
        assert_eq!(model.params().len(), model.spec().tensors().len(), "{}", g.name);
        worst.push(format!("{:14} weights {:.2e}", g.name, check(&g, &mut model, "weight")?));
    }
    note("differences_weights.txt", &worst)
}

/// Random values in every trained tensor: B starts at zero, where A has no gradient yet.
fn stir(model: &mut Decoder) -> Outcome {
    for p in model.params_mut().iter_mut() {
        let n = p.tensor.elem_count();
        let fresh: Vec<f32> = random(n as u64, n).iter().map(|x| (0.3 * x) as f32).collect();
        p.tensor = Tensor::from_vec(fresh, p.tensor.shape(), p.tensor.device())?;
    }
    Ok(model.sync_params()?)
}

#[test]
fn a_fresh_adapter_learns_through_b_alone() -> Outcome {
    for g in families()? {
        let mut model = g.base()?;
        let target_modules = vec!["all-linear".to_owned()];
        model.add_lora(&LoraConfig { rank: 2, alpha: 4.0, dropout: 0.0, use_rslora: false, target_modules }, 1)?;
        let (_, grads) = gradients(&model, &g.rows(&[0, 1])?, 0.03, Policy::Minimal)?;
        for (p, gradient) in model.params().iter().zip(&grads.tensors) {
            let v = values(gradient)?;
            assert!(v.iter().all(|x| x.is_finite()), "{}: `{}`", g.name, p.name);
            assert_eq!(v.iter().any(|x| *x != 0.0), p.name.contains("lora_B"), "{}: `{}`", g.name, p.name);
        }
    }
    Ok(())
}

#[test]
fn adapters_on_quantised_weights() -> Outcome {
    for g in families()?.iter().filter(|g| ["llama3", "olmo2", "qwen3"].contains(&g.name.as_str())) {
        for quantization in [Quantization::Nf4, Quantization::Q8] {
            let mut model = Decoder::load(&g.dir.join("model"), &LoadOptions { quantization, ..LoadOptions::default() })?;
            assert_eq!(model.quantization(), quantization);
            model.load_adapter(&g.dir.join("adapter"))?;
            check(g, &mut model, &format!("{quantization:?}"))?;
        }
    }
    Ok(())
}

fn mixed(recomputed: usize, offloaded: usize) -> Policy {
    Policy::Mixed { recomputed, offloaded }
}

/// Keeping less means computing again, never something else: in each dtype, on each kind of weight, with dropout.
#[test]
fn every_policy_gives_the_same_gradients_with_dropout_and_quantised_weights() -> Outcome {
    let held = [
        (Quantization::None, DType::F32),
        (Quantization::None, DType::BF16),
        (Quantization::Nf4, DType::BF16),
        (Quantization::Q8, DType::F32),
    ];
    for g in families()? {
        for (quantization, compute_dtype) in held {
            let what = format!("{} {quantization:?} {compute_dtype:?}", g.name);
            let options = LoadOptions { quantization, compute_dtype, ..LoadOptions::default() };
            let mut model = Decoder::load(&g.dir.join("model"), &options)?;
            let target_modules = vec!["all-linear".to_owned()];
            model.add_lora(&LoraConfig { rank: 2, alpha: 4.0, dropout: 0.3, use_rslora: false, target_modules }, 1)?;
            stir(&mut model)?;
            let batch = g.rows(&[0, 1])?;
            let with = |policy, dropout_seed| -> anyhow::Result<(u64, Vec<Vec<f32>>)> {
                let mut grads = model.zero_grads()?;
                let out = model.loss_and_grads(&batch, &StepOptions { grad_scale: 0.03, dropout_seed, policy }, &mut grads)?;
                Ok((out.loss_sum.to_bits(), grads.tensors.iter().map(values).collect::<anyhow::Result<_>>()?))
            };
            let want = with(Policy::KeepAll, Some(5))?;
            assert!(want.1.iter().flatten().all(|x| x.is_finite()), "{what}");
            assert!(with(Policy::KeepAll, Some(6))? != want && with(Policy::KeepAll, None)? != want, "{what}: dropout does nothing");
            for policy in [Policy::Minimal, Policy::Recompute, mixed(1, 0), mixed(0, 1), mixed(1, 1), mixed(0, 2), Policy::HostInputs] {
                assert!(with(policy, Some(5))? == want, "{what}: under {policy:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn some_layers_only() -> Outcome {
    let out = tempfile::tempdir()?;
    for g in families_and_unclamped(out.path())?.iter().filter(|g| g.name != "olmo") {
        let names = ["q_proj", "v_proj", "o_proj", "up_proj", "layers.1.mlp.down_proj", "layers.0.self_attn.k_proj"];
        let fused = ["layers.0.self_attn.qkv_proj", "layers.1.mlp.gate_up_proj"];
        let paths = g.base()?.linear_paths();
        let there = |t: &&str| paths.iter().any(|p| p.ends_with(&format!(".{t}")));
        for target in names.into_iter().chain(fused).filter(there) {
            let mut model = g.base()?;
            let target_modules = vec![target.to_owned()];
            let config = LoraConfig { rank: 2, alpha: 4.0, dropout: 0.0, use_rslora: false, target_modules };
            model.add_lora(&config, 1)?;
            stir(&mut model)?;
            check(g, &mut model, target)?;
        }
    }
    Ok(())
}
