//! Adapters on disk: what is saved is what is loaded, and what does not fit changes nothing.

use std::path::Path;

use serde_json::{Value, json};
use tallow::model::{LoraConfig, debug};
use tallow::train::{Optimizer, OptimizerConfig, Sft, StepSettings, train_step};

use crate::golden::{Outcome, families, golden, values};

fn config(use_rslora: bool) -> LoraConfig {
    LoraConfig { rank: 3, alpha: 5.0, dropout: 0.0, use_rslora, target_modules: vec!["o_proj".into(), "down_proj".into()] }
}

#[test]
fn a_saved_adapter_gives_the_same_logits_to_the_bit() -> Outcome {
    let out = tempfile::tempdir()?;
    for g in families()? {
        let (batch, dir) = (g.rows(&[0, 1])?, out.path().join(&g.name));
        let model = g.with_adapter()?;
        model.save_adapter(&dir)?;
        let mut again = g.base()?;
        let plain = again.logits(&batch.input_ids, &batch.cu_seqlens)?;
        again.load_adapter(&dir)?;
        let (want, got) = (model.logits(&batch.input_ids, &batch.cu_seqlens)?, again.logits(&batch.input_ids, &batch.cu_seqlens)?);
        assert!(values(&want)? == values(&got)?, "{}: logits after a round trip", g.name);
        assert!(values(&want)? != values(&plain)?, "{}: the adapter does nothing", g.name);
        for (a, b) in model.params().iter().zip(again.params().iter()) {
            assert!(a.name == b.name && values(&a.tensor)? == values(&b.tensor)?, "{}: `{}`", g.name, a.name);
        }
    }
    Ok(())
}

#[test]
fn an_adapter_on_some_layers_stays_on_these() -> Outcome {
    let out = tempfile::tempdir()?;
    let g = &golden("llama3")?;
    let target_modules = vec!["q_proj".into(), "layers.1.mlp.down_proj".into()];
    let mut model = g.base()?;
    model.add_lora(&LoraConfig { target_modules, ..config(false) }, 7)?;
    let names: Vec<String> = model.params().iter().map(|p| p.name.clone()).collect();
    assert_eq!(names.len(), 2 * 3);
    // Twice, since what is loaded may be saved again.
    for turn in ["first", "second"] {
        model.save_adapter(&out.path().join(turn))?;
        model = g.base()?;
        model.load_adapter(&out.path().join(turn))?;
        assert_eq!(model.params().iter().map(|p| p.name.clone()).collect::<Vec<_>>(), names, "{turn}");
    }
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(out.path().join("second/adapter_config.json"))?)?;
    assert_eq!(saved["target_modules"], json!(["q_proj", "model.layers.1.mlp.down_proj"]));
    Ok(())
}

#[test]
fn a_new_adapter_changes_nothing_until_it_trains() -> Outcome {
    for g in families()? {
        let batch = g.rows(&[0, 1])?;
        let mut model = g.base()?;
        let plain = values(&model.logits(&batch.input_ids, &batch.cu_seqlens)?)?;
        model.add_lora(&config(true), 7)?;
        assert_eq!(model.params().len(), 2 * 2 * model.spec().num_layers(), "{}", g.name);
        assert!(plain == values(&model.logits(&batch.input_ids, &batch.cu_seqlens)?)?, "{}", g.name);
    }
    Ok(())
}

/// Copies an adapter with changes to its config.
fn altered(from: &Path, to: &Path, changes: &Value) -> Outcome {
    std::fs::create_dir_all(to)?;
    std::fs::copy(from.join("adapter_model.safetensors"), to.join("adapter_model.safetensors"))?;
    let mut fields: Value = serde_json::from_str(&std::fs::read_to_string(from.join("adapter_config.json"))?)?;
    for (k, v) in changes.as_object().into_iter().flatten() {
        fields[k] = v.clone();
    }
    Ok(std::fs::write(to.join("adapter_config.json"), fields.to_string())?)
}

#[test]
fn an_adapter_that_does_not_fit_is_refused_and_leaves_the_model_alone() -> Outcome {
    let out = tempfile::tempdir()?;
    let g = &golden("llama3")?;
    let mut model = g.with_adapter()?;
    let batch = g.rows(&[0])?;
    let before = values(&model.logits(&batch.input_ids, &batch.cu_seqlens)?)?;
    let cases = [
        (json!({"r": 8}), "rank 8"),
        (json!({"use_dora": true}), "use_dora"),
        (json!({"peft_type": "IA3"}), "IA3"),
        (json!({"rank_pattern": {"q_proj": 2}}), "rank_pattern"),
        (json!({"modules_to_save": ["lm_head"]}), "modules_to_save"),
    ];
    for (i, (changes, says)) in cases.iter().enumerate() {
        let dir = out.path().join(i.to_string());
        altered(&g.dir.join("adapter"), &dir, changes)?;
        let error = model.load_adapter(&dir).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(says), "{changes}: {error}");
    }
    // qwen3's projections have other widths.
    let other = golden("qwen3")?;
    let error = model.load_adapter(&other.dir.join("adapter")).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("has shape"), "{error}");
    assert!(before == values(&model.logits(&batch.input_ids, &batch.cu_seqlens)?)?);
    Ok(())
}

/// Trains a few steps and writes `<family>/adapter` and `<family>/logits.safetensors` for `tests/golden/check_peft.py`.
#[test]
#[ignore = "writes folders for tests/golden/check_peft.py into $TALLOW_PEFT_OUT"]
fn write_adapters_for_peft() -> Outcome {
    let out = std::path::PathBuf::from(std::env::var("TALLOW_PEFT_OUT")?);
    for (i, g) in families()?.iter().enumerate() {
        let mut model = g.base()?;
        // One has adapters on some layers only, and has been saved and loaded before.
        let partial = g.name == "llama3";
        let some = vec!["q_proj".into(), "layers.1.mlp.down_proj".into()];
        let target_modules = if partial { some } else { config(true).target_modules };
        model.add_lora(&LoraConfig { target_modules, ..config(i % 2 == 0) }, 7)?;
        if partial {
            let again = tempfile::tempdir()?;
            model.save_adapter(again.path())?;
            model.load_adapter(again.path())?;
        }
        let mut optimizer = Optimizer::new(model.params(), OptimizerConfig::default())?;
        let mut grads = model.zero_grads()?;
        let policy = tallow::model::Policy::Minimal;
        let settings = StepSettings { lr: 2e-2, max_grad_norm: Some(1.0), policy, dropout_seed: None };
        for _ in 0..5 {
            train_step(&mut model, &mut optimizer, &Sft, &[g.rows(&[0, 1])?], &mut grads, &settings)?;
        }
        let dir = out.join(&g.name);
        model.save_adapter(&dir.join("adapter"))?;
        debug::gradients(&model, &g.dir.join("expected.safetensors"), &dir.join("logits.safetensors"), "labels")?;
    }
    Ok(())
}
