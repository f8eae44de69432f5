//! What a proof refuses, what it warns of, and what never leaves the machine.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use tallow::app::formats;
use tallow::export::proof::bounds::{EIGHT, FOUR, TWO};
use tallow::export::{Bounds, Prompts, Proof, Verdict};
use tallow::model::Unknown;
use tallow::model::merge::{MergeOptions, SHARD_BYTES, merge};

use crate::golden::Outcome;
use crate::program::Desk;

const MATRIX: &str = "model.layers.0.mlp.up_proj.weight";

/// A small random model in `model`, with some weights changed.
fn model(desk: &Desk, dtype: DType, change: &[(&str, usize, f32)]) -> Outcome {
    desk.ok(&["bench", "random-model", "tiny", "--out", "model", "--tokenizer", "embedded"]);
    let path = desk.path().join("model/model.safetensors");
    let mut tensors: HashMap<String, Tensor> = candle_core::safetensors::load(&path, &Device::Cpu)?;
    for t in tensors.values_mut() {
        *t = t.to_dtype(dtype)?;
    }
    for (name, element, value) in change {
        let t = tensors.get_mut(*name).unwrap();
        let (shape, mut v) = (t.dims().to_vec(), t.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?);
        v[*element] = *value;
        *t = Tensor::from_vec(v, shape, &Device::Cpu)?.to_dtype(dtype)?;
    }
    Ok(candle_core::safetensors::save(&tensors, path)?)
}

/// Every form with one of its types.
fn forms() -> Vec<(&'static str, Vec<&'static str>)> {
    let types = |f: &formats::Form| f.usual.map_or_else(Vec::new, |t| vec!["--type", t]);
    formats::all().iter().map(|f| (f.name, types(f))).collect()
}

/// The base alone as new safetensors.
fn merging(desk: &Desk, dtype: Option<safetensors::Dtype>) -> MergeOptions {
    let (model, out) = (desk.path().join("model"), desk.path().join("out"));
    MergeOptions { model, adapter: None, out, dtype, max_shard_bytes: SHARD_BYTES, unknown: Unknown::Refuse }
}

#[test]
fn what_is_no_number_is_never_written() -> Outcome {
    for (dtype, value) in [(DType::F32, f32::NAN), (DType::BF16, f32::NEG_INFINITY), (DType::F16, f32::INFINITY)] {
        let desk = Desk::new();
        model(&desk, dtype, &[(MATRIX, 77, value)])?;
        let refused = merge(&merging(&desk, None)).unwrap_err().to_string();
        assert!(refused.contains(MATRIX) && refused.contains("element 77") && !desk.path().join("out").exists(), "{refused}");
        let mut runs = Vec::new();
        let alone = forms().into_iter().filter(|(name, _)| !["peft", "gguf-adapter", "mlx-adapter", "ollama-adapter"].contains(name));
        runs.extend(alone.map(|(name, kind)| [vec!["export", "--model", "model", "--out", "out", "--format", name], kind].concat()));
        for args in runs {
            let said = desk.run(&args);
            let text = said.err.clone() + &said.out;
            assert!(said.code == 1 && text.contains(MATRIX) && text.contains("element 77"), "{args:?}: {text}");
            assert!(!desk.path().join("out").exists(), "{args:?}");
        }
    }
    Ok(())
}

#[test]
fn a_number_beyond_f16_says_so() -> Outcome {
    let desk = Desk::new();
    model(&desk, DType::F32, &[(MATRIX, 5, 1e5)])?;
    for args in [
        ["export", "--model", "model", "--format", "gguf", "--type", "f16", "--out", "out"].as_slice(),
        &["export", "--model", "model", "--format", "safetensors", "--type", "f16", "--out", "out"],
    ] {
        let said = desk.run(args);
        assert!(said.code == 1 && said.err.contains("f16 goes to") && said.err.contains("bf16"), "{args:?}: {}", said.err);
        assert!(!said.err.contains("NaN") && !desk.path().join("out").exists(), "{}", said.err);
    }
    let refused = merge(&merging(&desk, Some(safetensors::Dtype::F16))).unwrap_err().to_string();
    assert!(refused.contains("f16 goes to") && !desk.path().join("out").exists(), "{refused}");
    Ok(())
}

#[test]
fn a_weight_that_empties_its_block_is_found() -> Outcome {
    let desk = Desk::new();
    model(&desk, DType::F32, &[(MATRIX, 5, 1e5)])?;
    for (format, kind) in [("gguf", "q4_0"), ("gguf", "q8_0"), ("gguf", "iq4_nl"), ("mlx", "q4"), ("bnb-4bit", "nf4")] {
        let said = desk.run(&["export", "--model", "model", "--format", format, "--type", kind, "--out", "out"]);
        let text = said.err;
        assert!(said.code == 1 && text.contains(MATRIX) && text.contains("1.000e5"), "{format} {kind}: {text}");
    }
    // Large, but what trained models have: exported, and said.
    let other = Desk::new();
    model(&other, DType::F32, &[(MATRIX, 5, 3.0)])?;
    let report = other.json(&["export", "--model", "model", "--format", "gguf", "--type", "q4_0", "--out", "out.gguf"]);
    assert_eq!(report["proof"]["lost_blocks"]["blocks"], 1, "{report}");
    assert!(report["notes"].to_string().contains("leaves nothing of the others"), "{report}");
    Ok(())
}

/// Random logits `[48, 64]` whose first choices are clear, and the same with noise.
fn logits(seed: u64, noise: f64) -> anyhow::Result<(Tensor, Tensor)> {
    let mut state = seed | 1 << 33;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let (rows, columns) = (48, 64);
    let mut want: Vec<f32> = (0..rows * columns).map(|_| 4.0 * next()).collect();
    for (i, row) in want.chunks_mut(columns).enumerate() {
        row[i % columns] = 5.0;
    }
    let got: Vec<f32> = want.iter().map(|v| v + noise as f32 * next()).collect();
    let tensor = |v| Tensor::from_vec(v, (rows, columns), &Device::Cpu);
    Ok((tensor(want)?, tensor(got)?))
}

fn judged(want: &Tensor, got: &Tensor, bounds: Bounds) -> Result<Proof, String> {
    let prompts = Prompts { ids: vec![0; 48], cu_seqlens: vec![0, 48] };
    Proof::compare(want, got, &prompts, bounds).map_err(|f| format!("{}: {}", f.code, f.message))
}

#[test]
fn weak_results_are_warned_of_with_figures_and_failed_ones_refused() -> Outcome {
    for seed in 1..20 {
        let (mut good, mut weak, mut refused) = (0, 0, 0);
        for step in 0..40 {
            let (want, got) = logits(seed, 0.5 * f64::from(step))?;
            match judged(&want, &got, FOUR) {
                Ok(p) if p.verdict() == Verdict::Good => {
                    good += 1;
                    assert!(p.mean_kl <= FOUR.usual_kl && weak + refused == 0, "seed {seed} step {step}: {p:?}");
                }
                Ok(p) => {
                    weak += 1;
                    let said = p.warnings.join(" ");
                    assert!(said.contains("nats") || said.contains(" % of "), "{said}");
                    assert!(p.mean_kl <= FOUR.kl, "seed {seed} step {step}");
                }
                Err(text) => {
                    refused += 1;
                    assert!(text.starts_with("export_proof_failed") && text.contains("nats"), "{text}");
                }
            }
        }
        assert!(good > 0 && weak > 0 && refused > 0, "seed {seed}: {good} {weak} {refused}");
    }
    Ok(())
}

#[test]
fn one_logit_does_not_refuse_an_export() -> Outcome {
    let (want, _) = logits(7, 0.0)?;
    let mut v = want.flatten_all()?.to_vec1::<f32>()?;
    // An unlikely token is off by more than half of the logits' spread.
    v[64 * 3 + 40] = -1.9;
    let want = Tensor::from_vec(v.clone(), (48, 64), &Device::Cpu)?;
    v[64 * 3 + 40] = -0.9;
    let got = Tensor::from_vec(v, (48, 64), &Device::Cpu)?;
    let proof = judged(&want, &got, EIGHT).map_err(anyhow::Error::msg)?;
    assert!(proof.max_abs_relative > 0.5 && proof.mean_kl < 1e-3 && proof.verdict() == Verdict::Good, "{proof:?}");
    Ok(())
}

#[test]
fn logits_that_are_no_numbers_are_named() -> Outcome {
    let (want, got) = logits(3, 0.1)?;
    let spoil = |t: &Tensor| -> anyhow::Result<Tensor> {
        let mut v = t.flatten_all()?.to_vec1::<f32>()?;
        v[100] = f32::NAN;
        Ok(Tensor::from_vec(v, (48, 64), &Device::Cpu)?)
    };
    for text in [judged(&want, &spoil(&got)?, TWO).unwrap_err(), judged(&spoil(&want)?, &got, TWO).unwrap_err()] {
        assert!(text.contains("1 of 48 positions") && !text.contains("NaN"), "{text}");
    }
    Ok(())
}

/// Every file below a folder, or the file itself.
fn files(path: &Path, out: &mut Vec<std::path::PathBuf>) {
    if path.is_file() {
        return out.push(path.to_path_buf());
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        files(&entry.path(), out);
    }
}

#[test]
fn no_export_tells_where_it_was_made() -> Outcome {
    let desk = Desk::new();
    desk.project(4, "");
    desk.ok(&["train", "project"]);
    let here = desk.path().canonicalize()?;
    // Saved by other programs, a config remembers the folder, too.
    for name in ["model/config.json", "model/tokenizer_config.json"] {
        let path = desk.path().join(name);
        let mut json: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        json["_name_or_path"] = here.join("model").display().to_string().into();
        json["name_or_path"] = here.join("model").display().to_string().into();
        std::fs::write(path, json.to_string())?;
    }
    let traces = [desk.path().display().to_string(), here.display().to_string()];
    for (i, (format, kind)) in forms().into_iter().enumerate() {
        let out = format!("out{i}");
        let mut args = vec!["export", "--run", "latest", "--project", "project", "--format", format, "--out", &out];
        if format == "gguf" {
            args.extend(["--type", "q4_0", "--imatrix"]);
        } else {
            args.extend(kind);
        }
        desk.ok(&args);
        let mut all = Vec::new();
        files(&desk.path().join(&out), &mut all);
        assert!(!all.is_empty(), "{format}");
        for file in all {
            let bytes = std::fs::read(&file)?;
            let found = traces.iter().find(|t| bytes.windows(t.len()).any(|w| w == t.as_bytes()));
            assert!(found.is_none(), "{format}: {} holds {found:?}", file.display());
        }
    }
    Ok(())
}
