//! Exports: what is written computes what the live model computes, or nothing is left.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tallow::base::error::Fault;
use tallow::data::TextTokenizer;
use tallow::export::folder::{SafetensorsOptions, write_safetensors};
use tallow::export::gguf::{Preset, relative_error, tokenizer_of, write_model};
use tallow::export::quantise::quantize;
use tallow::export::side_files::Base;
use tallow::export::{Allowed, Merged, Prompts, Proof};
use tallow::model::gguf::{GgmlType, GgufFile, GgufSource, dequantize};
use tallow::model::random_init::{RandomInit, write_random_model};
use tallow::model::weights::TensorSource;
use tallow::model::{Decoder, LoadOptions, LoraConfig};

use crate::golden::Outcome;
use crate::program::Desk;

const FAMILIES: [&str; 13] =
    ["llama", "llama3", "mistral", "qwen2", "qwen3", "olmo", "olmo2", "olmo3", "gemma3", "phi3", "phi4", "smollm3", "granite"];

/// A small config of a family whose rows divide into blocks of 256.
fn config(family: &str) -> Value {
    let architecture = match family {
        "llama" | "llama3" => "LlamaForCausalLM",
        "mistral" => "MistralForCausalLM",
        "qwen2" => "Qwen2ForCausalLM",
        "qwen3" => "Qwen3ForCausalLM",
        "olmo" => "OlmoForCausalLM",
        "olmo2" => "Olmo2ForCausalLM",
        "olmo3" => "Olmo3ForCausalLM",
        "gemma3" => "Gemma3ForCausalLM",
        "smollm3" => "SmolLM3ForCausalLM",
        "granite" => "GraniteForCausalLM",
        _ => "Phi3ForCausalLM",
    };
    let mut c = json!({
        "architectures": [architecture], "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1024, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": family == "qwen2",
    });
    match family {
        "llama3" => {
            c["rope_scaling"] = json!({"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32});
            c["attention_bias"] = json!(true);
        }
        "qwen3" => c["head_dim"] = json!(32),
        "olmo" => c["clip_qkv"] = json!(2.0),
        "mistral" | "phi3" => c["sliding_window"] = json!(24),
        "phi4" => {
            c["partial_rotary_factor"] = json!(0.5);
            c["original_max_position_embeddings"] = json!(256);
            let factors = |step: f64| (0..16).map(|i| 1.0 + step * f64::from(i)).collect::<Vec<_>>();
            c["rope_scaling"] = json!({"type": "longrope", "short_factor": factors(0.1), "long_factor": factors(0.9)});
        }
        "olmo3" => {
            c["num_hidden_layers"] = json!(5);
            c["sliding_window"] = json!(16);
            c["rope_scaling"] = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128});
            c["rope_theta"] = json!(500000.0);
        }
        "gemma3" => {
            c["num_hidden_layers"] = json!(7);
            c["sliding_window"] = json!(16);
            c["head_dim"] = json!(64);
            c["query_pre_attn_scalar"] = json!(64);
            c["hidden_activation"] = json!("gelu_pytorch_tanh");
        }
        "smollm3" => c["num_hidden_layers"] = json!(5),
        "granite" => {
            for (key, value) in
                [("embedding_multiplier", 3.0), ("logits_scaling", 2.0), ("residual_multiplier", 0.4), ("attention_multiplier", 0.2)]
            {
                c[key] = json!(value);
            }
        }
        _ => {}
    }
    c
}

/// A random model of a family, with its tokenizer, and an adapter that does something.
struct Pair {
    dir: tempfile::TempDir,
}

impl Pair {
    fn of(family: &str) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let model = dir.path().join("model");
        let init = RandomInit { jitter: 0.2, std: 0.06, ..RandomInit::default() };
        write_random_model(&model, &config(family).to_string(), &init)?;
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/base");
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(base.join(name), model.join(name))?;
        }
        let mut decoder = Decoder::load(&model, &LoadOptions::default())?;
        let lora =
            LoraConfig { rank: 2, alpha: 6.0, dropout: 0.0, use_rslora: family == "qwen3", target_modules: vec!["all-linear".into()] };
        decoder.add_lora(&lora, 3)?;
        for (i, p) in decoder.params_mut().iter_mut().enumerate() {
            if p.name.contains("lora_B") {
                let n = p.tensor.elem_count();
                let v: Vec<f32> = (0..n).map(|j| ((i * 31 + j * 17) % 13) as f32 / 60.0 - 0.1).collect();
                p.tensor = candle_core::Tensor::from_vec(v, p.tensor.dims(), &candle_core::Device::Cpu)?;
            }
        }
        decoder.sync_params()?;
        decoder.save_adapter(&dir.path().join("adapter"))?;
        Ok(Self { dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn base<'a>(&'a self, texts: &'a TextTokenizer) -> Base<'a> {
        Base { path: texts.origin(), texts }
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn merged(&self) -> anyhow::Result<Merged> {
        Ok(Merged::open(&self.path("model"), Some(&self.path("adapter")))?)
    }

    fn prompts(&self, texts: &TextTokenizer) -> anyhow::Result<Prompts> {
        Ok(Prompts::new(texts, &[], 24)?)
    }
}

/// Numbers in 0..1 that look random (xorshift).
fn uniform(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed | 1 << 40;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// Names of the folder's entries.
fn entries(dir: &Path) -> Vec<String> {
    let mut all: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    all.sort();
    all
}

#[test]
fn a_gguf_file_of_each_family_computes_what_base_and_adapter_compute() -> Outcome {
    for family in FAMILIES {
        let pair = Pair::of(family)?;
        let (merged, texts) = (pair.merged()?, TextTokenizer::load(&pair.path("model"))?);
        let out = pair.path("m.gguf");
        let report = write_model(&merged, pair.base(&texts), &pair.prompts(&texts)?, Preset::F32.into(), &out, &mut |_, _| {})?;
        assert!(report.proof.mean_kl < 1e-8 && report.proof.max_abs_relative < 1e-3, "{family}: {:?}", report.proof);
        // The file is a model of its own, with the tokenizer inside.
        let alone = Decoder::load(&out, &LoadOptions::default())?;
        let inside = tokenizer_of(&out)?;
        let text = "It's 1234 small lakes,\n\n and a boat. <|im_end|>";
        assert_eq!(inside.encode(text, true)?, texts.encode(text, true)?, "{family}");
        assert_eq!(inside.eos_id(), texts.eos_id());
        let ids = inside.encode("Once upon a time", true)?;
        let cu = [0, ids.len() as u32];
        let (got, want) = (alone.logits(&ids, &cu)?, merged.live_logits(&ids, &cu)?);
        assert!(crate::golden::error(&got, &want)? < 1e-4, "{family}");
        let said = ["mistral", "phi3", "phi4"].contains(&family);
        assert_eq!(report.notes.len(), usize::from(said), "{family}: {:?}", report.notes);
        // Its metadata make a config, except where that has no words for a table of frequencies.
        let folder = pair.path("again");
        let of_file = Merged::open(&out, None)?;
        let options = SafetensorsOptions { dtype: Some(safetensors::Dtype::F32), max_shard_bytes: 1 << 30 };
        let base = Base { path: &out, texts: &inside };
        let again = write_safetensors(&of_file, base, &pair.prompts(&inside)?, &options, &folder, &mut |_, _| {});
        if family == "llama3" {
            assert_eq!(again.unwrap_err().code, "export_unsupported");
            continue;
        }
        assert!(again?.proof.mean_kl < 1e-8, "{family}");
        let got = Decoder::load(&folder, &LoadOptions::default())?.logits(&ids, &cu)?;
        assert!(crate::golden::error(&got, &want)? < 1e-4, "{family}");
        let written: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("config.json"))?)?;
        // The newer form of two rotations, too: from the older one transformers 5 takes the second one's base for its default.
        let local = &written["rope_parameters"]["sliding_attention"]["rope_theta"];
        assert_eq!(local.is_number(), ["olmo3", "gemma3"].contains(&family), "{family}: {written}");
    }
    Ok(())
}

#[test]
fn every_type_holds_its_own_bound() -> Outcome {
    let pair = Pair::of("llama")?;
    let (merged, texts) = (pair.merged()?, TextTokenizer::load(&pair.path("model"))?);
    let prompts = pair.prompts(&texts)?;
    let mut last = 0.0;
    for preset in Preset::ALL {
        let out = pair.path(&format!("{}.gguf", preset.name()));
        if preset.name().starts_with("tq") {
            // These are for weights of three values; of others little is left.
            let refused = write_model(&merged, pair.base(&texts), &prompts, preset.into(), &out, &mut |_, _| {});
            assert!(refused.is_ok_and(|r| !r.proof.warnings.is_empty()) || !out.exists(), "{}", preset.name());
            continue;
        }
        let r = write_model(&merged, pair.base(&texts), &prompts, preset.into(), &out, &mut |_, _| {})?;
        assert_eq!(r.bytes, std::fs::metadata(&out)?.len(), "{}", preset.name());
        let source = GgufSource::new(GgufFile::open(&out)?)?;
        let embedding = source.file().tensors()["token_embd.weight"].kind;
        let finer = preset.name().starts_with("iq2") || preset.name() == "iq3_xxs";
        assert!(finer || embedding == preset.base(), "{}", preset.name());
        last = f64::max(last, r.bits_per_weight);
        assert!(r.bits_per_weight <= last);
    }
    Ok(())
}

#[test]
fn mixes_give_more_bits_where_llama_cpp_does() -> Outcome {
    let pair = Pair::of("llama")?;
    let (merged, texts) = (pair.merged()?, TextTokenizer::load(&pair.path("model"))?);
    let out = pair.path("m.gguf");
    write_model(&merged, pair.base(&texts), &pair.prompts(&texts)?, Preset::Q4KM.into(), &out, &mut |_, _| {})?;
    let file = GgufFile::open(&out)?;
    let kind = |name: &str| file.tensors()[name].kind;
    // Two layers: more_bits(0, 2) is false, more_bits(1, 2) is true.
    assert_eq!(kind("output.weight"), GgmlType::Q6K);
    assert_eq!((kind("blk.0.attn_v.weight"), kind("blk.1.attn_v.weight")), (GgmlType::Q4K, GgmlType::Q6K));
    assert_eq!((kind("blk.0.ffn_down.weight"), kind("blk.1.ffn_down.weight")), (GgmlType::Q4K, GgmlType::Q6K));
    assert_eq!((kind("blk.1.attn_q.weight"), kind("blk.1.attn_norm.weight")), (GgmlType::Q4K, GgmlType::F32));
    Ok(())
}

#[test]
fn a_wrong_file_fails_its_proof() -> Outcome {
    /// The live model with the rows of one matrix shifted by one.
    #[derive(Debug)]
    struct Shifted<'a>(&'a Merged);
    impl TensorSource for Shifted<'_> {
        fn float(&self, name: &str, dtype: candle_core::DType) -> tallow::model::Result<candle_core::Tensor> {
            let t = self.0.float(name, dtype)?;
            Ok(if name.ends_with("layers.1.self_attn.q_proj.weight") { t.roll(1, 0)? } else { t })
        }
    }
    let pair = Pair::of("llama")?;
    let merged = pair.merged()?;
    let prompts = pair.prompts(&TextTokenizer::load(&pair.path("model"))?)?;
    let of = |source: &dyn TensorSource, preset: Preset| -> Result<Proof, Fault> {
        let mut proof = Proof::of(&merged, merged.spec(), source, &prompts, preset.bounds())?;
        proof.tensors(&merged, source, &|_| Allowed { error: 0.5, block: 1 }, None)?;
        Ok(proof)
    };
    assert!(of(&merged, Preset::F32).is_ok());
    assert_eq!(of(&Shifted(&merged), Preset::F32).unwrap_err().code, "export_proof_failed");
    let few = of(&Shifted(&merged), Preset::Q2K).unwrap_err();
    assert!(few.code == "export_proof_failed" && few.message.contains("q_proj"), "{few:?}");
    Ok(())
}

#[test]
fn blocks_are_as_near_as_their_bits_allow() {
    let mut random = uniform(11);
    let values: Vec<f32> = (0..256 * 64).map(|_| (0..6).map(|_| random() - 0.5).sum::<f32>() * 0.05).collect();
    let limits = [
        (GgmlType::F16, 3e-4),
        (GgmlType::BF16, 3e-3),
        (GgmlType::Q8_0, 0.006),
        (GgmlType::Q6K, 0.017),
        (GgmlType::Q5K, 0.034),
        (GgmlType::Q5_1, 0.036),
        (GgmlType::Q5_0, 0.042),
        (GgmlType::Q4K, 0.072),
        (GgmlType::Q4_1, 0.075),
        (GgmlType::Q4_0, 0.085),
        (GgmlType::IQ4NL, 0.077),
        (GgmlType::IQ4XS, 0.077),
        (GgmlType::MXFP4, 0.13),
        (GgmlType::Q3K, 0.15),
        (GgmlType::IQ3S, 0.16),
        (GgmlType::IQ3XXS, 0.2),
        (GgmlType::Q2K, 0.28),
        (GgmlType::IQ2S, 0.3),
        (GgmlType::IQ2XS, 0.33),
        (GgmlType::IQ2XXS, 0.37),
    ];
    for (kind, limit) in limits {
        let e = relative_error(kind, &values, 256);
        assert!(e < limit && e > limit / 4.0, "{}: {e:.5}", kind.name());
    }
    for kind in GgmlType::ALL {
        for odd in [vec![0.0f32; 256], vec![1e-30; 256], vec![-3.5; 256], [vec![7e4], vec![0.0; 255]].concat()] {
            let back = dequantize(kind, &quantize(kind, &odd, 256, None));
            let finite = kind == GgmlType::F16 || back.iter().all(|v| v.is_finite());
            assert!(finite, "{}: {:?}", kind.name(), &odd[..2]);
            if odd[0].abs() < 1e-20 {
                assert!(back.iter().all(|v| v.abs() < 1e-20), "{}", kind.name());
            }
        }
    }
}

#[test]
fn ternary_numbers_come_back_as_they_were() {
    for seed in 1..40 {
        let mut random = uniform(seed);
        let d = half::f16::from_f32(0.01 + random()).to_f32();
        let values: Vec<f32> = (0..512).map(|i| if i == 7 || i == 300 { d } else { d * ((random() * 3.0) as i32 - 1) as f32 }).collect();
        for kind in [GgmlType::TQ1_0, GgmlType::TQ2_0] {
            assert_eq!(dequantize(kind, &quantize(kind, &values, 256, None)), values, "{} seed {seed}", kind.name());
        }
    }
}

#[test]
fn a_split_file_is_opened_by_any_of_its_parts() -> Outcome {
    let (desk, pair) = (Desk::new(), Pair::of("qwen2")?);
    desk.ok(&["export", "--model", &pair.text("model"), "--format", "gguf", "--type", "f32", "--out", &pair.text("whole.gguf")]);
    let bytes = std::fs::read(pair.path("whole.gguf"))?;
    // llama.cpp's `gguf-split` gives all metadata to the first part and some tensors to each.
    let whole = GgufFile::open(&pair.path("whole.gguf"))?;
    let names: Vec<&String> = whole.tensors().keys().collect();
    for (i, (name, from, to)) in [("m-00001-of-00002.gguf", 0, 5), ("m-00002-of-00002.gguf", 5, names.len())].into_iter().enumerate() {
        std::fs::write(pair.path(name), part(&bytes, &whole, &names[from..to], i as u16)?)?;
    }
    let want = whole.float(names[0])?;
    for name in ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"] {
        let file = GgufFile::open(&pair.path(name))?;
        assert_eq!((file.tensors().len(), file.float(names[0])?), (names.len(), want.clone()), "{name}");
        assert_eq!(file.float(names[names.len() - 1])?, whole.float(names[names.len() - 1])?, "{name}");
        assert!(GgufSource::new(file).is_ok(), "{name}");
    }
    std::fs::remove_file(pair.path("m-00002-of-00002.gguf"))?;
    assert!(GgufFile::open(&pair.path("m-00001-of-00002.gguf")).unwrap_err().to_string().contains("00002-of-00002"));
    Ok(())
}

/// Some tensors of a whole file as one of two parts.
fn part(bytes: &[u8], whole: &GgufFile, names: &[&String], number: u16) -> anyhow::Result<Vec<u8>> {
    let text = |out: &mut Vec<u8>, s: &str| {
        out.extend((s.len() as u64).to_le_bytes());
        out.extend(s.as_bytes());
    };
    let count = u64::from_le_bytes(bytes[16..24].try_into()?);
    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend((names.len() as u64).to_le_bytes());
    let pairs = if number == 0 { metadata_bytes(bytes, whole) } else { &[] };
    out.extend((if number == 0 { count } else { 0 } + 2).to_le_bytes());
    out.extend(pairs);
    for (key, value) in [("split.no", number), ("split.count", 2)] {
        text(&mut out, key);
        out.extend(2u32.to_le_bytes());
        out.extend(value.to_le_bytes());
    }
    let (mut data, mut offset) = (Vec::new(), 0u64);
    for name in names {
        let info = &whole.tensors()[*name];
        text(&mut out, name);
        out.extend((info.shape.len() as u32).to_le_bytes());
        info.shape.iter().rev().for_each(|n| out.extend((*n as u64).to_le_bytes()));
        out.extend(0u32.to_le_bytes());
        out.extend(offset.to_le_bytes());
        let values: Vec<u8> = whole.float(name)?.iter().flat_map(|v| v.to_le_bytes()).collect();
        offset += values.len().next_multiple_of(32) as u64;
        data.extend(values);
        data.resize(data.len().next_multiple_of(32), 0);
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend(data);
    Ok(out)
}

/// The metadata of a file as they stand in it: from behind the counts to the first tensor's name.
fn metadata_bytes<'a>(bytes: &'a [u8], whole: &GgufFile) -> &'a [u8] {
    let first = |name: &String| {
        let mut mark = (name.len() as u64).to_le_bytes().to_vec();
        mark.extend(name.as_bytes());
        bytes.windows(mark.len()).position(|w| w == mark)
    };
    let end = whole.tensors().keys().filter_map(first).min().unwrap();
    &bytes[24..end]
}

#[test]
fn importance_moves_the_error_to_where_it_matters_least() {
    let mut random = uniform(12);
    let values: Vec<f32> = (0..256 * 16).map(|_| random() - 0.5).collect();
    let weights: Vec<f32> = (0..256).map(|i| if i % 4 == 0 { 100.0 } else { 1.0 }).collect();
    for kind in [GgmlType::Q4_0, GgmlType::Q2K, GgmlType::Q3K, GgmlType::Q4K, GgmlType::Q6K, GgmlType::IQ4NL, GgmlType::IQ4XS] {
        let wrong = |w: Option<&[f32]>| {
            let back = dequantize(kind, &quantize(kind, &values, 256, w));
            (0..values.len()).map(|i| weights[i % 256] * (values[i] - back[i]).powi(2)).sum::<f32>()
        };
        assert!(wrong(Some(&weights)) < wrong(None), "{}", kind.name());
    }
}

#[test]
fn every_format_is_written_from_the_command_line() -> Outcome {
    let (desk, pair) = (Desk::new(), Pair::of("qwen2")?);
    let (model, adapter) = (pair.text("model"), pair.text("adapter"));
    let forms: [(&str, &[&str]); 10] = [
        ("gguf", &["--type", "q4_k_m"]),
        ("gguf-adapter", &[]),
        ("ollama", &["--type", "q8_0"]),
        ("safetensors", &[]),
        ("safetensors", &["--type", "bf16"]),
        ("peft", &[]),
        ("mlx", &[]),
        ("mlx", &["--type", "q4"]),
        ("mlx", &["--type", "q8"]),
        ("mlx-adapter", &[]),
    ];
    for (i, (format, more)) in forms.iter().enumerate() {
        let out = pair.text(&format!("out{i}"));
        let args = ["export", "--model", &model, "--adapter", &adapter, "--format", format, "--out", &out];
        let args: Vec<&str> = args.iter().copied().chain(more.iter().copied()).collect();
        let report = desk.json(&args);
        assert!(report["proof"]["tokens"].as_u64() > Some(100) && report["bytes"].as_u64() > Some(1000), "{format}: {report}");
        assert!(desk.run(&args).err.contains("exists already"), "{format}");
        if *format == "safetensors" {
            let names = entries(&pair.path(&format!("out{i}")));
            let want =
                ["README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
            assert_eq!(names, want);
        }
        if *format == "ollama" {
            let text = std::fs::read_to_string(pair.path(&format!("out{i}/Modelfile")))?;
            assert!(text.starts_with("FROM ./model.gguf\n") && text.contains("PARAMETER stop \"<|im_end|>\""), "{text}");
        }
    }
    let left: Vec<String> = entries(pair.dir.path()).into_iter().filter(|n| n.starts_with('.')).collect();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

#[test]
fn what_cannot_be_exported_is_refused_and_nothing_is_left() -> Outcome {
    let (desk, pair) = (Desk::new(), Pair::of("llama")?);
    let (model, out) = (pair.text("model"), pair.text("out.gguf"));
    let before = entries(pair.dir.path());
    let said = desk.run(&["export", "--model", &model, "--format", "gguf-adapter", "--out", &out]);
    assert!(said.code == 1 && said.err.contains("--adapter"), "{}", said.err);
    let said = desk.run(&["export", "--model", &model, "--format", "gguf", "--type", "q9", "--out", &out]);
    assert!(said.code == 2 && said.err.contains("q4_k_m"), "{}", said.err);
    // A tokenizer that llama.cpp cannot follow.
    let path = pair.path("model/tokenizer.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    json["normalizer"] = json!({"type": "Lowercase"});
    std::fs::write(&path, json.to_string())?;
    let said = desk.run(&["export", "--model", &model, "--format", "gguf", "--out", &out]);
    assert!(said.code == 1 && said.err.contains("pre-tokenizer"), "{}", said.err);
    assert_eq!(entries(pair.dir.path()), before);
    Ok(())
}

#[test]
fn a_gguf_file_can_be_trained_on_and_exported_again() -> Outcome {
    let (desk, pair) = (Desk::new(), Pair::of("llama")?);
    let (model, adapter, first, again) = (pair.text("model"), pair.text("adapter"), pair.text("a.gguf"), pair.text("b.gguf"));
    desk.ok(&["export", "--model", &model, "--format", "gguf", "--type", "q8_0", "--out", &first]);
    let report = desk.json(&["export", "--model", &first, "--adapter", &adapter, "--format", "gguf", "--type", "f16", "--out", &again]);
    assert!(report["proof"]["mean_kl"].as_f64() < Some(1e-4));
    let ask = ["--raw", "--prompt", "Once", "--temperature", "0", "--max-new-tokens", "8"];
    let with = |args: &[&str]| desk.json(&[&["generate"], args, &ask[..]].concat())["text"].clone();
    assert_eq!(with(&["--model", &first, "--adapter", &adapter]), with(&["--model", &again]));
    Ok(())
}

#[test]
fn a_damaged_gguf_file_says_so() -> Outcome {
    let (desk, pair) = (Desk::new(), Pair::of("olmo2")?);
    let out = pair.path("m.gguf");
    desk.ok(&["export", "--model", &pair.text("model"), "--format", "gguf", "--out", &pair.text("m.gguf")]);
    let whole = std::fs::read(&out)?;
    for cut in [3, 20, 4000, whole.len() - 100] {
        std::fs::write(&out, &whole[..cut])?;
        let said = desk.run(&["generate", "--model", &pair.text("m.gguf"), "--prompt", "a"]);
        assert!(said.code == 1 && said.err.contains("m.gguf"), "{cut}: {}", said.err);
    }
    Ok(())
}
