//! Whole numbers and 8-bit floats for vLLM and transformers, split GGUF files, and configs made from GGUF metadata.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use tallow::model::gguf::GgufFile;
use tallow::model::random_init::{RandomInit, write_random_model};
use tallow::model::{Decoder, LoadOptions, LoraConfig, Unknown, open_source};

use crate::golden::Outcome;
use crate::program::Desk;

const MATRICES: [&str; 7] =
    ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"];

fn config(hidden: usize, inner: usize) -> Value {
    json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "intermediate_size": inner,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": if hidden == 160 { 4 } else { 2 }, "vocab_size": 1024, "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true})
}

/// A random model in f32 with the embedded tokenizer.
fn random_model(at: &Path, config: &Value, seed: u64) -> Outcome {
    random_model_of(at, config, RandomInit { jitter: 0.2, std: 0.06, seed, ..RandomInit::default() })
}

fn random_model_of(at: &Path, config: &Value, init: RandomInit) -> Outcome {
    write_random_model(at, &config.to_string(), &init)?;
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/base");
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(base.join(name), at.join(name))?;
    }
    Ok(())
}

fn read_config(folder: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join("config.json")).unwrap()).unwrap()
}

/// Every matrix as Tallow reads it: name, shape, values.
fn matrices(folder: &Path) -> anyhow::Result<Vec<(String, Vec<usize>, Vec<f32>)>> {
    let (spec, source) = open_source(folder, Unknown::Refuse)?;
    let wanted = spec.tensors().into_iter().filter(|t| MATRICES.iter().any(|m| t.name.ends_with(&format!("{m}.weight"))));
    wanted.map(|t| Ok((t.name.clone(), t.shape, source.float(&t.name, DType::F32)?.flatten_all()?.to_vec1()?))).collect()
}

/// The numbers of a file of safetensors by their layouts' own descriptions, in plain loops.
struct Stored {
    bytes: Vec<u8>,
}

impl Stored {
    fn open(folder: &Path) -> Self {
        Self { bytes: std::fs::read(folder.join("model.safetensors")).unwrap() }
    }

    fn view(&self, name: &str) -> (Dtype, Vec<usize>, Vec<u8>) {
        let all = SafeTensors::deserialize(&self.bytes).unwrap();
        let t = all.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        (t.dtype(), t.shape().to_vec(), t.data().to_vec())
    }

    fn words(&self, name: &str, shape: [usize; 2]) -> Vec<u32> {
        let (dtype, found, data) = self.view(name);
        assert_eq!((dtype, found.as_slice()), (Dtype::I32, shape.as_slice()), "{name}");
        data.chunks(4).map(|c| u32::from_le_bytes(c.try_into().unwrap())).collect()
    }

    fn halves(&self, name: &str, shape: [usize; 2]) -> Vec<f32> {
        let (dtype, found, data) = self.view(name);
        assert_eq!((dtype, found.as_slice()), (Dtype::F16, shape.as_slice()), "{name}");
        data.chunks(2).map(|c| half::f16::from_le_bytes(c.try_into().unwrap()).to_f32()).collect()
    }
}

/// `scale * (code - zero)` of a GPTQ matrix, by its description.
fn gptq(stored: &Stored, path: &str, (out, inp, group): (usize, usize, usize)) -> Vec<f32> {
    let codes = stored.words(&format!("{path}.qweight"), [inp / 8, out]);
    let zeros = stored.words(&format!("{path}.qzeros"), [inp / group, out / 8]);
    let scales = stored.halves(&format!("{path}.scales"), [inp / group, out]);
    let mut values = Vec::new();
    for o in 0..out {
        for i in 0..inp {
            let code = codes[i / 8 * out + o] >> (4 * (i % 8)) & 15;
            let zero = (zeros[i / group * (out / 8) + o / 8] >> (4 * (o % 8)) & 15) + 1;
            values.push(scales[i / group * out + o] * (f64::from(code) - f64::from(zero)) as f32);
        }
    }
    values
}

/// The same of AWQ's, whose outputs lie in another order.
fn awq(stored: &Stored, path: &str, (out, inp, group): (usize, usize, usize)) -> Vec<f32> {
    const ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];
    let codes = stored.words(&format!("{path}.qweight"), [inp, out / 8]);
    let zeros = stored.words(&format!("{path}.qzeros"), [inp / group, out / 8]);
    let scales = stored.halves(&format!("{path}.scales"), [inp / group, out]);
    let mut values = vec![0.0; out * inp];
    for i in 0..inp {
        for word in 0..out / 8 {
            for (nibble, o) in ORDER.iter().map(|o| 8 * word + o).enumerate() {
                let code = codes[i * (out / 8) + word] >> (4 * nibble) & 15;
                let zero = zeros[i / group * (out / 8) + word] >> (4 * nibble) & 15;
                values[o * inp + i] = scales[i / group * out + o] * (f64::from(code) - f64::from(zero)) as f32;
            }
        }
    }
    values
}

fn int8(stored: &Stored, path: &str, (out, inp, _): (usize, usize, usize)) -> Vec<f32> {
    let (dtype, shape, codes) = stored.view(&format!("{path}.weight"));
    assert_eq!((dtype, shape), (Dtype::I8, vec![out, inp]));
    let (_, _, data) = stored.view(&format!("{path}.SCB"));
    let scales: Vec<f32> = data.chunks(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect();
    assert_eq!(stored.view(&format!("{path}.weight_format")), (Dtype::U8, vec![], vec![0]));
    codes.iter().enumerate().map(|(i, c)| f32::from(*c as i8) * scales[i / inp] / 127.0).collect()
}

#[test]
fn packed_matrices_hold_what_their_layouts_say() -> Outcome {
    type Layout = fn(&Stored, &str, (usize, usize, usize)) -> Vec<f32>;
    let layouts: [(&str, Layout, f64); 3] = [("gptq", gptq, 0.15), ("awq", awq, 0.15), ("bnb-8bit", int8, 0.02)];
    for (seed, hidden, inner, group) in [(3, 256, 512, 128), (4, 192, 320, 64), (5, 160, 96, 32)] {
        let desk = Desk::new();
        random_model(&desk.path().join("model"), &config(hidden, inner), seed)?;
        let want = matrices(&desk.path().join("model"))?;
        for (format, layout, bound) in layouts {
            let report = desk.json(&["export", "--model", "model", "--format", format, "--out", format]);
            let folder = desk.path().join(format);
            let named = read_config(&folder)["quantization_config"]["group_size"].as_u64();
            assert!(format == "bnb-8bit" || named == Some(group as u64), "{report}");
            let (stored, read) = (Stored::open(&folder), matrices(&folder)?);
            assert_eq!((read.len(), want.len()), (14, 14));
            for ((name, shape, values), (_, _, exact)) in read.iter().zip(&want) {
                let plain = layout(&stored, name.trim_end_matches(".weight"), (shape[0], shape[1], group));
                assert_eq!(&plain, values, "seed {seed} {format} {name}");
                let sum = |f: &dyn Fn(usize) -> f64| (0..plain.len()).map(f).sum::<f64>();
                let wrong = sum(&|i| f64::from(plain[i] - exact[i]).powi(2)) / sum(&|i| f64::from(exact[i]).powi(2));
                assert!(wrong > 0.0 && wrong.sqrt() < bound, "seed {seed} {format} {name}: {}", wrong.sqrt());
            }
        }
    }
    Ok(())
}

#[test]
fn matrices_that_do_not_divide_keep_their_type_and_are_named() -> Outcome {
    // 80 rows of k and v are no multiple of 32, which GPTQ and AWQ want; 96 columns divide into groups of 32.
    let desk = Desk::new();
    let mut c = config(160, 96);
    c["num_key_value_heads"] = json!(2);
    random_model(&desk.path().join("model"), &c, 7)?;
    let want = matrices(&desk.path().join("model"))?;
    for format in ["gptq", "awq"] {
        let report = desk.json(&["export", "--model", "model", "--format", format, "--out", format]);
        assert!(report["notes"].to_string().contains("4 matrices keep their type"), "{report}");
        let said = read_config(&desk.path().join(format))["quantization_config"].to_string();
        let read = matrices(&desk.path().join(format))?;
        for ((name, _, got), (_, _, exact)) in read.iter().zip(&want) {
            let kept = name.contains("k_proj") || name.contains("v_proj");
            let path = name.trim_end_matches(".weight");
            let named = said.contains(path) || said.contains(&path.replace('.', "\\\\."));
            assert_eq!((got == exact, named), (kept, kept), "{format} {name}: {said}");
        }
    }
    Ok(())
}

#[test]
fn packed_folders_are_models_again() -> Outcome {
    let desk = Desk::new();
    random_model(&desk.path().join("model"), &config(256, 512), 9)?;
    let greedy = |model: &str| {
        let args = ["generate", "--model", model, "--raw", "--prompt", "Once upon", "--temperature", "0", "--max-new-tokens", "12"];
        desk.json(&args)["text"].clone()
    };
    for (format, kind) in [("gptq", "int4"), ("awq", "int4"), ("bnb-8bit", "int8"), ("vllm", "w4a16"), ("vllm", "fp8")] {
        let (out, plain) = (format!("{format}-{kind}"), format!("{format}-{kind}-plain"));
        desk.ok(&["export", "--model", "model", "--format", format, "--type", kind, "--out", &out]);
        desk.ok(&["export", "--model", &out, "--format", "safetensors", "--type", "f32", "--out", &plain]);
        assert!(read_config(&desk.path().join(&plain)).get("quantization_config").is_none(), "{out}");
        assert_eq!(greedy(&out), greedy(&plain), "{out}");
    }
    Ok(())
}

/// Replaces tensors of a folder's only file.
fn rewrite(folder: &Path, change: impl Fn(&mut HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>)) -> Outcome {
    let path = folder.join("model.safetensors");
    let bytes = std::fs::read(&path)?;
    let all = SafeTensors::deserialize(&bytes)?;
    let mut held = all.iter().map(|(n, t)| (n.to_owned(), (t.dtype(), t.shape().to_vec(), t.data().to_vec()))).collect();
    change(&mut held);
    let views = held.iter().map(|(n, (d, s, b))| Ok((n.clone(), TensorView::new(*d, s.clone(), b)?)));
    let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(std::fs::write(path, safetensors::serialize(views, None)?)?)
}

#[test]
fn gptq_folders_of_other_programs_are_read() -> Outcome {
    const PATH: &str = "model.layers.0.self_attn.q_proj";
    let desk = Desk::new();
    random_model(&desk.path().join("model"), &config(256, 512), 2)?;
    desk.ok(&["export", "--model", "model", "--format", "gptq", "--out", "out"]);
    let folder = desk.path().join("out");
    // Inputs in an order of their own, zero points that differ, and the newer form without "less 1".
    let order: Vec<u32> = (0..256).map(|i| (i * 7 + 3) / 2 % 2).collect();
    let zeros: Vec<u32> = (0..2 * 32u32).map(|i| 0x7654_3210u32.rotate_left(i % 32)).collect();
    let raw = |v: &[u32]| v.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    rewrite(&folder, |all| {
        all.get_mut(&format!("{PATH}.g_idx")).unwrap().2 = raw(&order);
        all.get_mut(&format!("{PATH}.qzeros")).unwrap().2 = raw(&zeros);
    })?;
    let stored = Stored::open(&folder);
    let codes = stored.words(&format!("{PATH}.qweight"), [32, 256]);
    let scales = stored.halves(&format!("{PATH}.scales"), [2, 256]);
    let values = |less: u32| -> Vec<f32> {
        let at = |n: usize| {
            let (o, i) = (n / 256, n % 256);
            let group = order[i] as usize;
            let zero = (zeros[group * 32 + o / 8] >> (4 * (o % 8)) & 15) + less;
            scales[group * 256 + o] * ((codes[i / 8 * 256 + o] >> (4 * (i % 8)) & 15) as f32 - zero as f32)
        };
        (0..256 * 256).map(at).collect()
    };
    let edit = |change: &dyn Fn(&mut Value)| -> Outcome {
        let mut config = read_config(&folder);
        change(&mut config["quantization_config"]);
        Ok(std::fs::write(folder.join("config.json"), config.to_string())?)
    };
    for (form, less) in [("gptq", 1), ("gptq_v2", 0)] {
        edit(&|q| q["checkpoint_format"] = form.into())?;
        let read = matrices(&folder)?.into_iter().find(|m| m.0.starts_with(PATH)).unwrap();
        assert_eq!(read.2, values(less), "{form}");
    }
    let refused = || open_source(&folder, Unknown::Refuse).map(|_| ()).unwrap_err().to_string();
    for (field, value, says) in
        [("bits", json!(3), "3 bits"), ("checkpoint_format", json!("marlin"), "marlin"), ("quant_method", json!("aqlm"), "aqlm")]
    {
        let kept = read_config(&folder)["quantization_config"][field].clone();
        edit(&|q| q[field] = value.clone())?;
        let said = refused();
        assert!(said.contains(&format!("quantization_config.{field}")) && said.contains(says), "{said}");
        edit(&|q| q[field] = kept.clone())?;
    }
    for part in ["g_idx", "qzeros", "qweight", "scales"] {
        let saved = std::fs::read(folder.join("model.safetensors"))?;
        rewrite(&folder, |all| {
            let (_, shape, bytes) = all.get_mut(&format!("{PATH}.{part}")).unwrap();
            if part == "g_idx" {
                bytes[0..4].copy_from_slice(&9u32.to_le_bytes()); // a group that there is not
            } else {
                bytes.truncate(bytes.len() / shape[0] * (shape[0] - 1));
                shape[0] -= 1;
            }
        })?;
        let said = refused();
        assert!(said.contains(PATH), "{part}: {said}");
        std::fs::write(folder.join("model.safetensors"), saved)?;
    }
    Ok(())
}

#[test]
fn a_split_model_is_what_one_file_is() -> Outcome {
    let desk = Desk::new();
    random_model(&desk.path().join("model"), &config(256, 512), 6)?;
    let export = |more: &[&str]| desk.run(&[&["export", "--model", "model", "--json"], more].concat());
    assert_eq!(export(&["--format", "gguf", "--type", "q4_0", "--out", "whole.gguf"]).code, 0);
    let said = export(&["--format", "gguf", "--type", "q4_0", "--out", "parts", "--split-size", "300KiB"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let mut names: Vec<String> =
        std::fs::read_dir(desk.path().join("parts"))?.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let count = names.len() - 1;
    assert!(count > 2 && names[0] == "README.md", "{names:?}");
    for (i, name) in names[1..].iter().enumerate() {
        assert_eq!(*name, format!("parts-{:05}-of-{count:05}.gguf", i + 1));
        let bytes = std::fs::metadata(desk.path().join("parts").join(name))?.len();
        assert!(bytes < (300 << 10) + 200_000, "{name}: {bytes}");
    }
    let whole = GgufFile::open(&desk.path().join("whole.gguf"))?;
    for name in &names[1..] {
        let parts = GgufFile::open(&desk.path().join("parts").join(name))?;
        assert_eq!(parts.get("split.count").and_then(tallow::model::gguf::Value::as_u64), Some(count as u64));
        assert_eq!(parts.get("split.tensors.count").and_then(tallow::model::gguf::Value::as_u64), Some(whole.tensors().len() as u64));
        assert_eq!(parts.tensors().len(), whole.tensors().len());
        for (key, value) in whole.metadata().iter().filter(|(k, _)| !k.starts_with("general.name")) {
            assert_eq!(parts.get(key), Some(value), "{key}");
        }
        for tensor in whole.tensors().keys() {
            assert_eq!(parts.float(tensor)?, whole.float(tensor)?, "{tensor}");
        }
    }
    // Nothing but GGUF is split, and the folder is not called like a file.
    let other = export(&["--format", "safetensors", "--out", "x", "--split-size", "1MB"]);
    let named = export(&["--format", "gguf", "--out", "x.gguf", "--split-size", "1MB"]);
    assert!(other.code == 2 && other.out.contains("safetensors is not split"), "{}{}", other.out, other.err);
    assert!(named.code == 2 && named.out.contains("folder"), "{}{}", named.out, named.err);
    Ok(())
}

#[test]
fn a_file_is_not_named_after_a_model_whose_tokens_it_lacks() -> Outcome {
    let desk = Desk::new();
    for name in ["my-phi3-tuned", "phi-3-phi3", "some-model"] {
        random_model(&desk.path().join(name), &config(64, 64), 1)?;
        let out = format!("{name}.gguf");
        desk.ok(&["export", "--model", name, "--format", "gguf", "--out", &out]);
        let file = GgufFile::open(&desk.path().join(&out))?;
        let named = file.get("general.name").and_then(tallow::model::gguf::Value::as_str).unwrap().to_lowercase();
        assert!(!named.contains("phi3") && !named.contains("phi-3"), "{named}");
        assert!(named.contains(if name.contains("phi") { "phi 3" } else { "some model" }), "{named}");
    }
    Ok(())
}

#[test]
fn mlx_lm_finds_the_rotations_of_each_kind_of_layer() -> Outcome {
    let desk = Desk::new();
    let mut c = config(128, 128);
    c["architectures"] = json!(["Olmo3ForCausalLM"]);
    c["num_hidden_layers"] = json!(4);
    c["sliding_window"] = json!(32);
    c.as_object_mut().unwrap().remove("rope_theta");
    let yarn = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 5000.0});
    c["rope_parameters"] = json!({"full_attention": yarn, "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0}});
    random_model(&desk.path().join("model"), &c, 8)?;
    desk.ok(&["export", "--model", "model", "--format", "mlx", "--out", "mlx"]);
    let written = read_config(&desk.path().join("mlx"));
    assert_eq!((&written["rope_theta"], &written["rope_local_base_freq"]), (&json!(5000.0), &json!(5000.0)));
    assert_eq!((&written["rope_scaling"]["rope_type"], &written["rope_scaling"]["factor"]), (&json!("yarn"), &json!(4.0)));
    Ok(())
}

#[test]
fn mlx_lm_turns_by_the_factors_that_a_model_was_trained_with() -> Outcome {
    let desk = Desk::new();
    let mut c = config(128, 128);
    c["architectures"] = json!(["Phi3ForCausalLM"]);
    c["model_type"] = json!("phi3");
    c["partial_rotary_factor"] = json!(0.5);
    c["original_max_position_embeddings"] = json!(128);
    let factors = |step: f64| (0..8).map(|i| 1.0 + step * f64::from(i)).collect::<Vec<_>>();
    c["rope_scaling"] = json!({"type": "longrope", "short_factor": factors(0.25), "long_factor": factors(2.0)});
    random_model(&desk.path().join("model"), &c, 4)?;
    let mut decoder = Decoder::load(&desk.path().join("model"), &LoadOptions::default())?;
    let lora = LoraConfig { rank: 2, alpha: 6.0, dropout: 0.0, use_rslora: false, target_modules: vec!["qkv_proj".into()] };
    decoder.add_lora(&lora, 3)?;
    decoder.save_adapter(&desk.path().join("adapter"))?;
    let report = desk.json(&["export", "--model", "model", "--format", "mlx", "--out", "mlx"]);
    assert!(report["notes"].to_string().contains("up to 128 tokens"), "{report}");
    let written = read_config(&desk.path().join("mlx"));
    assert_eq!(written["rope_scaling"]["long_factor"], json!(factors(0.25)));
    assert_eq!((&written["rope_scaling"]["type"], &written["partial_rotary_factor"]), (&json!("longrope"), &json!(0.5)));
    let adapter =
        |base: &str, out: &str| desk.run(&["export", "--model", base, "--adapter", "adapter", "--format", "mlx-adapter", "--out", out]);
    let said = adapter("model", "wrong");
    assert!(said.code == 1 && said.err.contains("long factors") && said.err.contains("format mlx first"), "{}", said.err);
    assert_eq!(adapter("mlx", "right").code, 0);
    Ok(())
}

#[test]
fn mlx_lm_is_given_no_base_that_it_would_not_load_or_turn_otherwise() -> Outcome {
    // What mlx-lm takes without `rope_theta`: a million for Qwen 2, 10,000 for Llama, nothing at all for Granite.
    let cases = [
        ("Qwen2", 1e6, true),
        ("Qwen2", 1e4, false),
        ("Llama", 1e4, true),
        ("Llama", 1e6, false),
        ("Granite", 1e4, false),
        ("Olmo", 1e4, false),
    ];
    for (family, theta, fine) in cases {
        let desk = Desk::new();
        let mut c = config(64, 64);
        c["architectures"] = json!([format!("{family}ForCausalLM")]);
        c["model_type"] = family.to_lowercase().into();
        c.as_object_mut().unwrap().remove("rope_theta");
        c["rope_parameters"] = json!({"rope_type": "default", "rope_theta": theta});
        random_model(&desk.path().join("model"), &c, 3)?;
        let mut decoder = Decoder::load(&desk.path().join("model"), &LoadOptions::default())?;
        decoder.add_lora(&LoraConfig { rank: 2, alpha: 6.0, dropout: 0.0, use_rslora: false, target_modules: vec!["q_proj".into()] }, 3)?;
        decoder.save_adapter(&desk.path().join("adapter"))?;
        let said = desk.run(&["export", "--model", "model", "--adapter", "adapter", "--format", "mlx-adapter", "--out", "a"]);
        assert_eq!(said.code == 0, fine, "{family} {theta}: {}", said.err);
        assert!(fine || said.err.contains("mlx-lm"), "{}", said.err);
        let whole = desk.run(&["export", "--model", "model", "--adapter", "adapter", "--format", "mlx", "--out", "m"]);
        assert_eq!(whole.code == 0, family != "Olmo", "{family}: {}", whole.err);
    }
    Ok(())
}

#[test]
fn unused_columns_cost_an_importance_matrix_nothing() -> Outcome {
    // One column is large and hardly ever used: with calibration the others keep their precision.
    let desk = Desk::new();
    let init = RandomInit { std: 0.03, seed: 12, ..RandomInit::default() };
    random_model_of(&desk.path().join("model"), &config(256, 512), init)?;
    let path = desk.path().join("model/model.safetensors");
    let fed_by_a_norm = |name: &str| ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"].iter().any(|p| name.contains(p));
    let mut all: HashMap<String, Tensor> = candle_core::safetensors::load(&path, &Device::Cpu)?;
    for (name, t) in &mut all {
        let Some(width) = t.dims().get(1).copied().filter(|_| fed_by_a_norm(name)) else { continue };
        let grow: Vec<f32> = (0..width).map(|i| if i % 32 == 5 { 6.0 } else { 1.0 }).collect();
        *t = t.broadcast_mul(&Tensor::from_vec(grow, (1, width), &Device::Cpu)?)?;
    }
    for (name, t) in &mut all {
        if name.contains("layernorm") {
            let shrink: Vec<f32> = (0..256).map(|i| if i % 32 == 5 { 1e-3 } else { 1.0 }).collect();
            *t = (&*t * &Tensor::from_vec(shrink, 256, &Device::Cpu)?)?;
        }
    }
    candle_core::safetensors::save(&all, &path)?;
    let rows: String = tallow::app::recipe::documents(3, 40).map(|d| format!("{}\n", json!({"text": d}))).collect();
    desk.write("rows.jsonl", &rows);
    for format in ["gptq", "awq", "vllm"] {
        let kind = if format == "vllm" { "w4a16" } else { "int4" };
        let kl = |out: &str, more: &[&str]| {
            let args = [&["export", "--model", "model", "--format", format, "--type", kind, "--out", out], more].concat();
            desk.json(&args)["proof"]["mean_kl"].as_f64().unwrap()
        };
        let (plain, weighed) =
            (kl(&format!("{format}-a"), &[]), kl(&format!("{format}-b"), &["--imatrix", "rows.jsonl", "--layout", "text"]));
        assert!(weighed < 0.7 * plain, "{format}: {plain:.2e} without, {weighed:.2e} with calibration");
    }
    Ok(())
}
