//! What is read from a config.json: ways to write the rotation, names that are not known, tensors that nothing reads.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use tallow::model::{Decoder, DecoderSpec, Error, LoadOptions, Unknown};

use crate::golden::{Golden, Outcome, golden, golden_dir};

fn config_of(g: &Golden) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(g.dir.join("model/config.json"))?)?)
}

/// The weights of a golden model with another config.
fn with_config(g: &Golden, config: &Value) -> anyhow::Result<(tempfile::TempDir, PathBuf)> {
    let out = tempfile::tempdir()?;
    let dir = out.path().join("model");
    std::fs::create_dir(&dir)?;
    std::fs::copy(g.dir.join("model/model.safetensors"), dir.join("model.safetensors"))?;
    std::fs::write(dir.join("config.json"), config.to_string())?;
    Ok((out, dir))
}

fn loss(g: &Golden, model: &Decoder) -> anyhow::Result<f64> {
    let batch = g.rows(&[0, 1])?;
    Ok(model.evaluate(&batch)?.loss_sum / batch.target_tokens() as f64)
}

#[test]
fn each_way_to_write_the_rotation_gives_the_loss_of_transformers() -> Outcome {
    let g = golden("llama3")?;
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(golden_dir().join("rope.json"))?)?;
    assert!(cases.len() >= 8);
    for case in cases {
        let mut config = config_of(&g)?;
        let fields = config.as_object_mut().unwrap();
        fields.remove("rope_theta");
        fields.remove("rope_scaling");
        fields.extend(case["fields"].as_object().unwrap().clone());
        let (_out, dir) = with_config(&g, &config)?;
        let model = Decoder::load(&dir, &LoadOptions::default())?;
        let (got, want) = (loss(&g, &model)?, case["loss"].as_f64().unwrap());
        assert!((got / want - 1.0).abs() < 1e-5, "{}: loss {got}, transformers {want}", case["name"]);
        // What transformers passes over with a warning is a remark here.
        let passed_over = case["fields"]["rope_parameters"]["full_attention"].is_object();
        assert_eq!(!model.spec().remarks.is_empty(), passed_over, "{}: {:?}", case["name"], model.spec().remarks);
    }
    Ok(())
}

#[test]
fn names_that_are_not_known_are_refused_unless_the_user_says_custom() -> Outcome {
    let g = golden("llama3")?;
    let plain = loss(&g, &g.base()?)?;
    let drawn: String = (0..9).map(|i| char::from(b'A' + (std::process::id().wrapping_mul(31 + i) % 26) as u8)).collect();
    let names = ["Ernie4_5ForCausalLM", "HeliumForCausalLM", "MixtralForCausalLM", &format!("{drawn}ForCausalLM")];
    for name in names {
        let mut config = config_of(&g)?;
        config["architectures"] = json!([name]);
        let (_out, dir) = with_config(&g, &config)?;
        let error = Decoder::load(&dir, &LoadOptions::default()).err().unwrap_or_else(|| panic!("{name} was accepted"));
        let text = error.to_string();
        assert!(matches!(error, Error::Field { .. }), "{text}");
        assert!(text.contains(name) && text.contains("custom") && text.contains("Llama"), "{text}");
        assert!(DecoderSpec::from_dir(&dir).is_err());

        let options = LoadOptions { unknown: Unknown::ReadAsLlama, ..LoadOptions::default() };
        let model = Decoder::load(&dir, &options)?;
        assert_eq!(loss(&g, &model)?.to_bits(), plain.to_bits(), "{name} is read as a Llama");
        let remark = &model.spec().remarks;
        assert!(remark.len() == 1 && remark[0].contains(name) && remark[0].contains("halves"), "{remark:?}");
    }
    assert!(g.base()?.spec().remarks.is_empty());
    Ok(())
}

fn edit_weights(dir: &Path, change: impl FnOnce(&mut std::collections::HashMap<String, Tensor>)) -> Outcome {
    let path = dir.join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu)?;
    change(&mut tensors);
    Ok(candle_core::safetensors::save(&tensors, &path)?)
}

#[test]
fn tensors_that_repeat_the_model_are_compared_and_others_are_refused() -> Outcome {
    let g = golden("llama_linear")?;
    let spec = g.base()?.spec().clone();
    let (half, theta) = (spec.head_dim() / 2, spec.ropes[0].theta);
    let name = "model.layers.1.self_attn.rotary_emb.inv_freq";
    let frequencies = |theta: f64| {
        let v: Vec<f32> = (0..half).map(|i| theta.powf(-(i as f64) / half as f64) as f32).collect();
        Tensor::from_vec(v, half, &Device::Cpu).unwrap()
    };
    let tried = |tensor: Tensor, name: &str| -> anyhow::Result<Option<String>> {
        let (_out, dir) = with_config(&g, &config_of(&g)?)?;
        edit_weights(&dir, |t| {
            t.insert(name.to_owned(), tensor);
        })?;
        Ok(Decoder::load(&dir, &LoadOptions::default()).err().map(|e| e.to_string()))
    };
    assert_eq!(tried(frequencies(theta), name)?, None);
    assert_eq!(tried(frequencies(theta).to_dtype(DType::BF16)?, name)?, None);
    for (tensor, name) in [
        (frequencies(2.0 * theta), name),
        (frequencies(theta).narrow(0, 0, half - 1)?.contiguous()?, name),
        (frequencies(theta), "model.layers.1.self_attn.bias"),
        (frequencies(theta), "model.layers.2.input_layernorm.weight"),
    ] {
        let error = tried(tensor, name)?.unwrap_or_else(|| panic!("{name} was passed over"));
        assert!(error.contains(name) && error.contains("no place"), "{error}");
    }
    Ok(())
}

/// A text model inside a checkpoint that also sees images computes as it does alone, under the names that it has there.
#[test]
fn text_models_are_read_inside_checkpoints_that_see_images() -> Outcome {
    for (name, architecture) in [("gemma3", "Gemma3ForConditionalGeneration"), ("mistral", "Mistral3ForConditionalGeneration")] {
        let g = golden(name)?;
        let plain = loss(&g, &g.base()?)?;
        for prefix in ["model.language_model", "language_model.model"] {
            let config = json!({"architectures": [architecture], "text_config": config_of(&g)?, "vision_config": {"hidden_size": 8}});
            let (_out, dir) = with_config(&g, &config)?;
            edit_weights(&dir, |t| {
                let names: Vec<String> = t.keys().cloned().collect();
                for name in names {
                    let Some(tensor) = t.remove(&name) else { continue };
                    let head = if prefix.ends_with(".model") { "language_model.lm_head.weight" } else { "lm_head.weight" };
                    let renamed = name.strip_prefix("model.").map_or(head.to_owned(), |rest| format!("{prefix}.{rest}"));
                    t.insert(renamed, tensor);
                }
                t.insert("vision_tower.patch.weight".into(), Tensor::zeros((4, 4), DType::F32, &Device::Cpu).unwrap());
            })?;
            let mut model = Decoder::load(&dir, &LoadOptions::default())?;
            assert_eq!(loss(&g, &model)?.to_bits(), plain.to_bits(), "{architecture} {prefix}");
            assert!(model.spec().remarks.iter().any(|r| r.contains("images")), "{:?}", model.spec().remarks);
            let target_modules = vec!["all-linear".to_owned()];
            let lora = tallow::model::LoraConfig { rank: 2, alpha: 4.0, dropout: 0.0, use_rslora: false, target_modules };
            model.add_lora(&lora, 1)?;
            assert!(model.params().iter().all(|p| p.name.starts_with(&format!("base_model.model.{prefix}.layers."))));
            // What is not the image model's has no place.
            edit_weights(&dir, |t| {
                t.insert("audio_tower.weight".into(), Tensor::zeros(4, DType::F32, &Device::Cpu).unwrap());
            })?;
            let error = Decoder::load(&dir, &LoadOptions::default()).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains("audio_tower.weight"), "{error}");
        }
    }
    Ok(())
}

#[test]
fn a_stored_head_beside_tied_embeddings_must_be_the_embedding() -> Outcome {
    let g = golden("qwen2")?;
    let with_head = |by: f64| -> anyhow::Result<Option<String>> {
        let (_out, dir) = with_config(&g, &config_of(&g)?)?;
        edit_weights(&dir, |t| {
            let head = (&t["model.embed_tokens.weight"] * by).unwrap();
            t.insert("lm_head.weight".into(), head);
        })?;
        Ok(Decoder::load(&dir, &LoadOptions::default()).err().map(|e| e.to_string()))
    };
    assert_eq!(with_head(1.0)?, None);
    let error = with_head(2.0)?.unwrap_or_else(|| panic!("another head was passed over"));
    assert!(error.contains("lm_head.weight") && error.contains("tie_word_embeddings"), "{error}");
    Ok(())
}
