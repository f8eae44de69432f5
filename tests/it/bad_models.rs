//! Broken model folders and adapters: each is refused with a stable code and a message that names file and tensor or field.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use tallow::model::{Decoder, Error, LoadOptions};

use crate::golden::{Outcome, golden_dir};

type Tensors = HashMap<String, Tensor>;

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const Q: &str = "model.layers.1.self_attn.q_proj.weight";

/// A copy of a golden folder's part, to be broken.
fn copy(family: &str, part: &str) -> anyhow::Result<(tempfile::TempDir, PathBuf)> {
    let out = tempfile::tempdir()?;
    let dir = out.path().join(part);
    std::fs::create_dir(&dir)?;
    for file in std::fs::read_dir(golden_dir().join(family).join(part))? {
        let file = file?;
        // The contents, not the permissions.
        std::fs::write(dir.join(file.file_name()), std::fs::read(file.path())?)?;
    }
    Ok((out, dir))
}

fn edit_json(path: &Path, change: impl FnOnce(&mut Value)) -> Outcome {
    let mut json = serde_json::from_slice(&std::fs::read(path)?)?;
    change(&mut json);
    Ok(std::fs::write(path, json.to_string())?)
}

fn edit_tensors(path: &Path, change: impl FnOnce(&mut Tensors) -> Outcome) -> Outcome {
    let mut tensors = candle_core::safetensors::load(path, &Device::Cpu)?;
    change(&mut tensors)?;
    Ok(candle_core::safetensors::save(&tensors, path)?)
}

/// Splits the one weight file in two shards with an index.
fn shard(dir: &Path) -> Outcome {
    let all = candle_core::safetensors::load(dir.join(WEIGHTS), &Device::Cpu)?;
    std::fs::remove_file(dir.join(WEIGHTS))?;
    let mut parts = [Tensors::new(), Tensors::new()];
    let mut map = serde_json::Map::new();
    for (name, t) in all {
        let second = usize::from(name.starts_with("model.layers.1."));
        map.insert(name.clone(), shard_name(second).into());
        parts[second].insert(name, t);
    }
    for (i, part) in parts.iter().enumerate() {
        candle_core::safetensors::save(part, dir.join(shard_name(i)))?;
    }
    Ok(std::fs::write(dir.join(INDEX), json!({"metadata": {}, "weight_map": map}).to_string())?)
}

fn shard_name(i: usize) -> String {
    format!("model-{:05}-of-00002.safetensors", i + 1)
}

/// The error has this code, and its message every one of these words.
fn expect(what: &str, error: Option<Error>, code: &str, says: &[&str]) {
    let error = error.unwrap_or_else(|| panic!("{what}: was accepted"));
    let text = error.to_string();
    assert_eq!(error.code(), code, "{what}: {text}");
    for word in says {
        assert!(text.contains(word), "{what}: `{word}` is not in `{text}`");
    }
    assert!(error.hint().is_some() || matches!(error, Error::Io { .. }), "{what}: no hint");
}

/// Breaks a copy of a model folder and loads it.
fn broken(what: &str, code: &str, says: &[&str], breaks: impl FnOnce(&Path) -> Outcome) -> Outcome {
    let (_out, dir) = copy("llama3", "model")?;
    breaks(&dir)?;
    expect(what, Decoder::load(&dir, &LoadOptions::default()).err(), code, says);
    Ok(())
}

#[test]
fn the_copy_itself_loads_whole_and_in_shards() -> Outcome {
    let (_out, dir) = copy("llama3", "model")?;
    let logits = |dir: &Path| -> anyhow::Result<Vec<f32>> {
        Ok(Decoder::load(dir, &LoadOptions::default())?.logits(&[3, 1, 4, 1, 5], &[0, 5])?.flatten_all()?.to_vec1()?)
    };
    let whole = logits(&dir)?;
    shard(&dir)?;
    assert_eq!(whole, logits(&dir)?);
    Ok(())
}

#[test]
fn folders_without_a_model() -> Outcome {
    let missing = Path::new("/nowhere/at/all");
    let error = Decoder::load(missing, &LoadOptions::default()).err();
    expect("no folder", error, "not_a_model", &["/nowhere/at/all", "no such folder"]);
    let remove = |name: &'static str| move |d: &Path| Ok(std::fs::remove_file(d.join(name))?);
    broken("no config", "not_a_model", &["config.json"], remove("config.json"))?;
    broken("no weights", "not_a_model", &[WEIGHTS, INDEX], remove(WEIGHTS))?;
    let config = |text: &'static str| move |d: &Path| Ok(std::fs::write(d.join("config.json"), text)?);
    broken("half a config", "not_a_model", &["config.json", "not valid JSON", "line 1"], config("{\"hidden_size\": 3"))?;
    broken("a list", "not_a_model", &["config.json", "expected a JSON object"], config("[1, 2]"))
}

#[test]
fn fields_of_the_config() -> Outcome {
    const CODE: &str = "model_config_unsupported";
    let required = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"];
    for field in required {
        for (value, says) in
            [(Value::Null, "is missing"), (json!(0), "at least 1"), (json!(-1), "whole number"), (json!("32"), "whole number")]
        {
            let breaks = |d: &Path| edit_json(&d.join("config.json"), |c| c[field] = value);
            broken(field, CODE, &["config.json", &format!("field `{field}`"), says], breaks)?;
        }
    }
    let rope = |kind: &str| json!({"rope_type": kind, "factor": 2.0});
    let cases = [
        ("architectures", json!(["MixtralForCausalLM"]), None, "architectures", "MixtralForCausalLM"),
        ("num_local_experts", json!(8), None, "num_local_experts", "8"),
        ("query_pre_attn_scalar", json!(256), None, "query_pre_attn_scalar", "256"),
        ("architectures", json!(["NewForCausalLM"]), Some(("odd_scale", json!(2.0))), "architectures", "NewForCausalLM"),
        ("architectures", json!(["GPT2LMHeadModel"]), Some(("hidden_size", Value::Null)), "architectures", "GPT2LMHeadModel"),
        ("architectures", Value::Null, Some(("model_type", Value::Null)), "architectures", "model_type"),
        ("architectures", json!("LlamaForCausalLM"), None, "architectures", "list of texts"),
        ("rope_scaling", rope("dynamic"), None, "rope_scaling.rope_type", "dynamic"),
        ("rope_scaling", rope("longrope"), None, "rope_scaling.rope_type", "longrope"),
        ("rope_scaling", rope("llama3"), None, "rope_scaling.low_freq_factor", "is missing"),
        ("rope_scaling", json!({"rope_type": "linear"}), None, "rope_scaling.factor", "is missing"),
        ("rope_scaling", json!("linear"), None, "rope_scaling", "expected an object"),
        ("rope_theta", json!(-1.0), None, "rope_theta", "above 0"),
        ("num_key_value_heads", json!(3), None, "num_key_value_heads", "does not divide"),
        ("num_attention_heads", json!(3), Some(("head_dim", Value::Null)), "num_attention_heads", "does not divide"),
        ("head_dim", json!(7), None, "head_dim", "even"),
        ("hidden_act", json!("gelu"), None, "hidden_act", "gelu"),
        ("rms_norm_eps", json!("small"), None, "rms_norm_eps", "a number"),
        ("tie_word_embeddings", json!(1), None, "tie_word_embeddings", "true or false"),
        ("quantization_config", json!({"quant_method": "aqlm"}), None, "quantization_config.quant_method", "aqlm"),
        ("quantization_config", json!({"quant_method": "gptq", "bits": 3}), None, "quantization_config.bits", "3 bits"),
        ("quantization_config", json!({"quant_method": "awq", "bits": 4, "version": "gemv"}), None, "quantization_config.version", "gemv"),
        ("quantization_config", json!({"bnb_4bit_quant_type": "fp4"}), None, "quantization_config.bnb_4bit_quant_type", "fp4"),
    ];
    for (field, value, also, names, says) in cases {
        let what = format!("{field} {value}");
        let breaks = |d: &Path| {
            edit_json(&d.join("config.json"), |c| {
                c[field] = value;
                if let Some((field, value)) = also {
                    c[field] = value;
                }
            })
        };
        broken(&what, CODE, &["config.json", &format!("field `{names}`"), says], breaks)?;
    }
    Ok(())
}

#[test]
fn damaged_weight_files() -> Outcome {
    const CODE: &str = "weights_damaged";
    let cut = |n: usize| {
        move |d: &Path| {
            let bytes = std::fs::read(d.join(WEIGHTS))?;
            let keep = if n < 16 { n } else { bytes.len() - (n - 16) };
            Ok(std::fs::write(d.join(WEIGHTS), &bytes[..keep])?)
        }
    };
    broken("nothing left", CODE, &[WEIGHTS, "cut short"], cut(0))?;
    broken("half a length", CODE, &[WEIGHTS, "cut short"], cut(4))?;
    broken("the length alone", CODE, &[WEIGHTS, "cut short"], cut(8))?;
    broken("one byte less", CODE, &[WEIGHTS, "cut short", "tensor"], cut(16 + 1))?;
    broken("much less", CODE, &[WEIGHTS, "cut short", "tensor"], cut(16 + 9000))?;
    let with = |at: usize, bytes: &'static [u8]| {
        move |d: &Path| {
            let mut all = std::fs::read(d.join(WEIGHTS))?;
            all[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(std::fs::write(d.join(WEIGHTS), all)?)
        }
    };
    broken("a length beyond the file", CODE, &[WEIGHTS, "header"], with(0, &[255; 8]))?;
    broken("a header that is not JSON", CODE, &[WEIGHTS, "not a safetensors file"], with(8, b"}}}}"))?;
    let page = |d: &Path| Ok(std::fs::write(d.join(WEIGHTS), "<html><body>Please log in to download this file.</body></html>")?);
    broken("a web page", CODE, &[WEIGHTS, "not safetensors"], page)?;
    let pointer = |d: &Path| Ok(std::fs::write(d.join(WEIGHTS), "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")?);
    broken("a pointer of git-lfs", CODE, &[WEIGHTS, "git-lfs", "git lfs pull"], pointer)
}

#[test]
fn shards_that_do_not_fit_their_index() -> Outcome {
    let index = |change: fn(&mut Value)| {
        move |d: &Path| -> Outcome {
            shard(d)?;
            edit_json(&d.join(INDEX), change)
        }
    };
    let second = shard_name(1);
    broken("a missing shard", "weights_damaged", &[INDEX, &second, "missing"], |d| {
        shard(d)?;
        Ok(std::fs::remove_file(d.join(&second))?)
    })?;
    broken("a shard cut short", "weights_damaged", &[&second, "cut short", "model.layers.1."], |d| {
        shard(d)?;
        let bytes = std::fs::read(d.join(&second))?;
        Ok(std::fs::write(d.join(&second), &bytes[..bytes.len() - 100])?)
    })?;
    broken("an index that is not JSON", "weights_damaged", &[INDEX, "not valid JSON"], |d| {
        shard(d)?;
        Ok(std::fs::write(d.join(INDEX), "{")?)
    })?;
    broken("no map", "weights_damaged", &[INDEX, "weight_map"], index(|i| i["weight_map"] = Value::Null))?;
    broken("a number for a file", "weights_damaged", &[INDEX, Q], index(|i| i["weight_map"][Q] = json!(3)))?;
    let outside = index(|i| i["weight_map"][Q] = json!("../model.safetensors"));
    broken("a file outside the folder", "weights_damaged", &[INDEX, Q, "../"], outside)?;
    let wrong = index(|i| i["weight_map"]["model.layers.7.odd"] = json!("model-00001-of-00002.safetensors"));
    broken("a tensor that is nowhere", "weights_mismatch", &["model-00001", "model.layers.7.odd", INDEX], wrong)?;
    broken("a tensor in two shards", "weights_mismatch", &[&second, "model.norm.weight", "two shards"], |d| {
        shard(d)?;
        let first = candle_core::safetensors::load(d.join(shard_name(0)), &Device::Cpu)?;
        edit_tensors(&d.join(&second), |t| {
            t.insert("model.norm.weight".into(), first["model.norm.weight"].clone());
            Ok(())
        })
    })
}

#[test]
fn tensors_that_do_not_fit_the_config() -> Outcome {
    const CODE: &str = "weights_mismatch";
    let tensor = |change: fn(&mut Tensors) -> Outcome| move |d: &Path| edit_tensors(&d.join(WEIGHTS), change);
    let without = tensor(|t| {
        t.remove(Q);
        Ok(())
    });
    broken("a missing tensor", CODE, &[WEIGHTS, Q, "missing", "LlamaForCausalLM"], without)?;
    let transposed = tensor(|t| {
        let wrong = t["model.layers.0.mlp.up_proj.weight"].t()?.contiguous()?;
        t.insert("model.layers.0.mlp.up_proj.weight".into(), wrong);
        Ok(())
    });
    let says = [WEIGHTS, "model.layers.0.mlp.up_proj.weight", "[32, 40]", "[40, 32]"];
    broken("a transposed tensor", CODE, &says, transposed)?;
    let integers = tensor(|t| {
        let wrong = Tensor::zeros((32, 32), DType::I64, &Device::Cpu)?;
        t.insert(Q.into(), wrong);
        Ok(())
    });
    broken("integers", CODE, &[WEIGHTS, Q, "I64", "bf16"], integers)?;
    let extra = tensor(|t| {
        t.insert("model.layers.0.self_attn.q_proj.bias".into(), Tensor::zeros(32, DType::F32, &Device::Cpu)?);
        Ok(())
    });
    broken("a tensor without a place", CODE, &[WEIGHTS, "q_proj.bias", "no place"], extra)?;
    let layers = |d: &Path| edit_json(&d.join("config.json"), |c| c["num_hidden_layers"] = json!(3));
    broken("too many layers", CODE, &[WEIGHTS, "model.layers.2."], layers)?;
    let vocab = |d: &Path| edit_json(&d.join("config.json"), |c| c["vocab_size"] = json!(50));
    broken("another vocabulary", CODE, &[WEIGHTS, "model.embed_tokens.weight", "[48, 32]", "[50, 32]"], vocab)
}

/// Breaks a copy of an adapter and loads it onto its model, or another one; the model must stay as it was.
fn broken_adapter(what: &str, base: &str, code: &str, says: &[&str], breaks: impl FnOnce(&Path) -> Outcome) -> Outcome {
    let (_out, dir) = copy("llama3", "adapter")?;
    breaks(&dir)?;
    let mut model = Decoder::load(&golden_dir().join(base).join("model"), &LoadOptions::default())?;
    expect(what, model.load_adapter(&dir).err(), code, says);
    assert!(model.params().is_empty(), "{what}: changed the model");
    Ok(())
}

#[test]
fn adapters_that_do_not_fit() -> Outcome {
    const CODE: &str = "adapter_mismatch";
    const CONFIG: &str = "adapter_config.json";
    const FILE: &str = "adapter_model.safetensors";
    let fails = |what: &str, says: &[&str], breaks: &dyn Fn(&Path) -> Outcome| broken_adapter(what, "llama3", CODE, says, breaks);
    fails("no config", &[CONFIG], &|d| Ok(std::fs::remove_file(d.join(CONFIG))?))?;
    fails("no weights", &[FILE], &|d| Ok(std::fs::remove_file(d.join(FILE))?))?;
    fails("half a config", &[CONFIG, "not valid JSON"], &|d| Ok(std::fs::write(d.join(CONFIG), "{\"r\"")?))?;
    let fields = [
        ("r", Value::Null),
        ("r", json!(0)),
        ("r", json!("4")),
        ("lora_alpha", Value::Null),
        ("peft_type", json!("IA3")),
        ("bias", json!("all")),
        ("use_dora", json!(true)),
        ("lora_bias", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("alpha_pattern", json!({"q_proj": 2})),
        ("layer_replication", json!([[0, 1]])),
        ("init_lora_weights", json!("pissa")),
        ("next_years_field", json!({"scale": 2})),
        ("target_modules", json!(["q_proj", "c_attn"])),
    ];
    for (field, value) in fields {
        fails(&format!("{field} {value}"), &[CONFIG, &format!("field `{field}`")], &|d| {
            edit_json(&d.join(CONFIG), |c| c[field] = value.clone())
        })?;
    }
    let half = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight";
    let gone = |names: &'static [&'static str]| {
        move |d: &Path| {
            edit_tensors(&d.join(FILE), |t| {
                t.retain(|n, _| !names.iter().any(|gone| n.ends_with(gone)));
                Ok(())
            })
        }
    };
    fails("half an adapter", &[FILE, half, "missing"], &gone(&["layers.1.mlp.up_proj.lora_B.weight"]))?;
    let whole = ["layers.1.mlp.up_proj.lora_A.weight", "layers.1.mlp.up_proj.lora_B.weight"];
    fails(
        "a layer without its adapter",
        &[FILE, whole[0], "target_modules"],
        &gone(&["layers.1.mlp.up_proj.lora_A.weight", "layers.1.mlp.up_proj.lora_B.weight"]),
    )?;
    fails("no tensors", &[FILE, "no tensors"], &gone(&["weight"]))?;
    fails("a tensor without a place", &[FILE, "layers.2.mlp.up_proj", "no place"], &|d| {
        edit_tensors(&d.join(FILE), |t| {
            t.insert(half.replace("layers.1", "layers.2"), t[half].clone());
            Ok(())
        })
    })?;
    broken_adapter("cut short", "llama3", "weights_damaged", &[FILE, "cut short"], |d| {
        let bytes = std::fs::read(d.join(FILE))?;
        Ok(std::fs::write(d.join(FILE), &bytes[..bytes.len() - 1])?)
    })?;
    broken_adapter("another base", "qwen3", CODE, &[FILE, "self_attn.q_proj.lora_B", "[32, 4]", "[40, 4]"], |_| Ok(()))
}

#[test]
fn harmless_fields_of_an_adapter_are_let_through() -> Outcome {
    let (_out, dir) = copy("llama3", "adapter")?;
    edit_json(&dir.join("adapter_config.json"), |c| {
        c["next_years_field"] = Value::Null;
        c["another"] = json!([]);
        c["init_lora_weights"] = json!("gaussian");
        c["target_modules"] = json!(".*_proj");
        c["use_dora"] = json!(false);
    })?;
    let mut model = Decoder::load(&golden_dir().join("llama3/model"), &LoadOptions::default())?;
    model.load_adapter(&dir)?;
    assert_eq!(model.params().len(), 28);
    Ok(())
}

/// Numbers that no architecture has: each field is refused by name before anything of its size is allocated.
#[test]
fn sizes_and_constants_out_of_range() -> Outcome {
    const CODE: &str = "model_config_unsupported";
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64;
    let mut state = seed | 1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let sizes = ["num_hidden_layers", "vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "max_position_embeddings"];
    for field in sizes {
        for _ in 0..20 {
            let size = 1u64 << (32 + draw() % 32);
            let what = format!("{field} {size}, seed {seed}");
            broken(&what, CODE, &["config.json"], |d| edit_json(&d.join("config.json"), |c| c[field] = json!(size)))?;
        }
    }
    for (field, value) in [
        ("rms_norm_eps", json!(-1e-5)),
        ("rms_norm_eps", json!(1e300)),
        ("rope_theta", json!(0)),
        ("rope_theta", json!(1e308)),
        ("rope_scaling", json!({"rope_type": "linear", "factor": 0.0})),
        ("rope_scaling", json!({"rope_type": "linear", "factor": -2.0})),
        ("rope_scaling", json!({"rope_type": "yarn", "factor": 2.0, "attention_factor": 1e300})),
    ] {
        let what = format!("{field} {value}");
        broken(&what, CODE, &["config.json"], |d| edit_json(&d.join("config.json"), |c| c[field] = value.clone()))?;
    }
    for alpha in [1e308, 1e12, -1e30] {
        let (_out, model) = copy("llama3", "model")?;
        let (_kept, adapter) = copy("llama3", "adapter")?;
        edit_json(&adapter.join("adapter_config.json"), |c| c["lora_alpha"] = json!(alpha))?;
        let error = Decoder::load(&model, &LoadOptions::default())?.load_adapter(&adapter).err();
        expect(&format!("alpha {alpha}"), error, "adapter_mismatch", &["lora_alpha"]);
    }
    Ok(())
}
