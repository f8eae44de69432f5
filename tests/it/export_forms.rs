//! Forms and types: what each holds, and what is read back from it.

use std::path::Path;

use serde_json::{Value, json};
use tallow::model::gguf::{GgufFile, Value as Gguf};

use crate::golden::Outcome;
use crate::program::Desk;

/// A small random model in `model`.
fn model(desk: &Desk) {
    desk.ok(&["bench", "random-model", "tiny", "--out", "model", "--tokenizer", "embedded"]);
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Changes a JSON file.
fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut json = read(path);
    change(&mut json);
    std::fs::write(path, json.to_string()).unwrap();
}

fn greedy(desk: &Desk, model: &str) -> String {
    let args = ["generate", "--model", model, "--raw", "--prompt", "Once upon", "--temperature", "0", "--max-new-tokens", "12"];
    desk.json(&args)["text"].as_str().unwrap().to_owned()
}

fn text(file: &GgufFile, key: &str) -> Option<String> {
    file.get(key).and_then(Gguf::as_str).map(str::to_owned)
}

#[test]
fn an_importance_matrix_goes_through_llama_cpps_files() -> Outcome {
    let desk = Desk::new();
    model(&desk);
    let rows: String = tallow::app::recipe::documents(3, 30).map(|d| format!("{}\n", json!({"text": d}))).collect();
    desk.write("rows.jsonl", &rows);
    let export = |out: &str, more: &[&str]| {
        desk.json(&[&["export", "--model", "model", "--format", "gguf", "--type", "q4_0", "--out", out], more].concat())
    };
    export("a.gguf", &["--imatrix", "rows.jsonl", "--layout", "text", "--save-imatrix", "m.gguf"]);
    let matrix = GgufFile::open(&desk.path().join("m.gguf"))?;
    assert_eq!(text(&matrix, "general.type").as_deref(), Some("imatrix"));
    // The older form: mean squares times the number of calls.
    let mut older = Vec::new();
    let names: Vec<&str> = matrix.tensors().keys().filter_map(|n| n.strip_suffix(".in_sum2")).collect();
    let int = |out: &mut Vec<u8>, n: usize| out.extend((n as i32).to_le_bytes());
    int(&mut older, names.len());
    for name in &names {
        let (sums, count) = (matrix.float(&format!("{name}.in_sum2"))?, matrix.float(&format!("{name}.counts"))?[0]);
        int(&mut older, name.len());
        older.extend(name.as_bytes());
        int(&mut older, 4);
        int(&mut older, sums.len());
        older.extend(sums.iter().flat_map(|s| (s / count * 4.0).to_le_bytes()));
    }
    std::fs::write(desk.path().join("m.dat"), &older)?;
    export("b.gguf", &["--imatrix", "m.gguf"]);
    export("c.gguf", &["--imatrix", "m.dat"]);
    export("plain.gguf", &[]);
    let open = |name: &str| GgufFile::open(&desk.path().join(name));
    let (a, b, c, plain) = (open("a.gguf")?, open("b.gguf")?, open("c.gguf")?, open("plain.gguf")?);
    let near = |x: &[f32], y: &[f32]| x.iter().zip(y).filter(|(x, y)| x != y).count() * 200 <= x.len();
    let mut moved = false;
    for name in a.tensors().keys() {
        let want = a.float(name)?;
        assert!(near(&b.float(name)?, &want) && near(&c.float(name)?, &want), "{name}");
        moved |= plain.float(name)? != want;
    }
    assert!(moved, "the importance matrix changed nothing");
    std::fs::write(desk.path().join("m.dat"), &older[..older.len() / 2])?;
    let said = desk.run(&["export", "--model", "model", "--format", "gguf", "--type", "q4_0", "--out", "d.gguf", "--imatrix", "m.dat"]);
    assert!(said.code == 1 && said.err.contains("m.dat") && said.err.contains("cut short"), "{}", said.err);
    Ok(())
}

#[test]
fn mlx_groups_of_every_width_are_a_base_again() -> Outcome {
    let desk = Desk::new();
    model(&desk);
    let mut last = u64::MAX;
    for kind in ["q8", "q6", "q5", "q4", "q3", "q2"] {
        let report = desk.json(&["export", "--model", "model", "--format", "mlx", "--type", kind, "--out", kind]);
        let bytes = report["bytes"].as_u64().unwrap();
        assert!(bytes < last, "{kind}: {report}");
        last = bytes;
        let config = read(&desk.path().join(kind).join("config.json"));
        assert_eq!(config["quantization"]["bits"].to_string(), kind[1..], "{config}");
    }
    for (kind, group) in [("q4-g32", 32), ("mxfp4", 32)] {
        desk.ok(&["export", "--model", "model", "--format", "mlx", "--type", kind, "--out", kind]);
        assert_eq!(read(&desk.path().join(kind).join("config.json"))["quantization"]["group_size"], group, "{kind}");
    }
    // Such a folder is a model, and what is made of it computes the same.
    for kind in ["q4", "q3", "mxfp4"] {
        let (out, file) = (format!("{kind}-plain"), format!("{kind}.gguf"));
        desk.ok(&["export", "--model", kind, "--format", "safetensors", "--type", "f32", "--out", &out]);
        desk.ok(&["export", "--model", kind, "--format", "gguf", "--type", "f32", "--out", &file]);
        assert!(read(&desk.path().join(&out).join("config.json")).get("quantization").is_none());
        assert_eq!((greedy(&desk, kind), greedy(&desk, kind)), (greedy(&desk, &out), greedy(&desk, &file)), "{kind}");
    }
    Ok(())
}

#[test]
fn groups_that_fit_no_matrix_are_refused_and_smaller_ones_are_said() -> Outcome {
    let desk = Desk::new();
    desk.write(
        "shape.json",
        &json!({"architectures": ["LlamaForCausalLM"], "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 1,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 24, "vocab_size": 4096, "max_position_embeddings": 128,
            "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true})
        .to_string(),
    );
    let write = |hidden: usize, out: &str| -> Outcome {
        let mut config = read(&desk.path().join("shape.json"));
        config["hidden_size"] = hidden.into();
        config["intermediate_size"] = (hidden + 64).into();
        config["head_dim"] = (hidden / 4).into();
        let init = tallow::model::random_init::RandomInit::default();
        tallow::model::random_init::write_random_model(&desk.path().join(out), &config.to_string(), &init)?;
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/base");
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(base.join(name), desk.path().join(out).join(name))?;
        }
        Ok(())
    };
    write(96, "thirds")?;
    let report = desk.json(&["export", "--model", "thirds", "--format", "mlx", "--type", "q4", "--out", "a"]);
    assert!(report["notes"].to_string().contains("groups of 32 instead of 64"), "{report}");
    assert_eq!(report["type"], "4 bits in groups of 32");
    write(40, "odd")?;
    let said = desk.run(&["export", "--model", "odd", "--format", "mlx", "--type", "q4", "--out", "b"]);
    assert!(said.code == 1 && said.err.contains("nothing would be quantised"), "{}", said.err);
    assert!(!desk.path().join("b").exists());
    Ok(())
}

#[test]
fn a_rotation_that_mlx_lm_does_not_find_is_refused_for_an_adapter() -> Outcome {
    let desk = Desk::new();
    desk.project(2, "");
    desk.ok(&["train", "project"]);
    let adapter = read_adapter(&desk);
    let export = |out: &str| desk.run(&["export", "--model", "model", "--adapter", &adapter, "--format", "mlx-adapter", "--out", out]);
    assert_eq!(export("fine").code, 0);
    edit(&desk.path().join("model/config.json"), |c| {
        let theta = c["rope_theta"].clone();
        c.as_object_mut().unwrap().remove("rope_theta");
        c["rope_parameters"] = json!({"rope_type": "llama3", "rope_theta": theta, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64});
    });
    let said = export("wrong");
    assert!(said.code == 1 && said.err.contains("rope_parameters") && said.err.contains("mlx"), "{}", said.err);
    // Over the base as mlx-lm reads it the adapter is good.
    desk.ok(&["export", "--model", "model", "--format", "mlx", "--out", "base-mlx"]);
    assert_eq!(read(&desk.path().join("base-mlx/config.json"))["rope_scaling"]["factor"], 8.0);
    desk.ok(&["export", "--model", "base-mlx", "--adapter", &adapter, "--format", "mlx-adapter", "--out", "right"]);
    Ok(())
}

fn read_adapter(desk: &Desk) -> String {
    let runs = std::fs::read_dir(desk.path().join("project/runs")).unwrap().flatten();
    let run = runs.map(|e| e.path()).find(|p| p.join("final-model").is_dir()).unwrap();
    run.join("final-model").display().to_string()
}

#[test]
fn a_gguf_base_is_written_in_hugging_faces_layout() -> Outcome {
    let desk = Desk::new();
    model(&desk);
    desk.ok(&["export", "--model", "model", "--format", "gguf", "--type", "q8_0", "--out", "m.gguf"]);
    for (format, more) in [("safetensors", ["--type", "f32"].as_slice()), ("mlx", &[]), ("bnb-4bit", &[])] {
        let report = desk.json(&[&["export", "--model", "m.gguf", "--format", format, "--out", format], more].concat());
        assert!(report["notes"].to_string().contains("dequantised"), "{format}: {report}");
    }
    assert_eq!(greedy(&desk, "safetensors"), greedy(&desk, "m.gguf"));
    let config = read(&desk.path().join("safetensors/tokenizer_config.json"));
    assert!(config["chat_template"].as_str().unwrap().contains("<|im_start|>"), "{config}");
    Ok(())
}

#[test]
fn adapters_in_half_and_in_eight_bits() -> Outcome {
    let desk = Desk::new();
    desk.project(2, "");
    desk.ok(&["train", "project"]);
    let adapter = read_adapter(&desk);
    let export = |kind: &str| {
        let out = format!("{kind}.gguf");
        desk.json(&["export", "--model", "model", "--adapter", &adapter, "--format", "gguf-adapter", "--type", kind, "--out", &out])
    };
    let sizes: Vec<u64> = ["f32", "f16", "q8_0"].map(|k| export(k)["bytes"].as_u64().unwrap()).into();
    assert!(sizes[0] > sizes[1] && sizes[1] > sizes[2], "{sizes:?}");
    let file = GgufFile::open(&desk.path().join("q8_0.gguf"))?;
    let kinds: std::collections::BTreeSet<&str> = file.tensors().values().map(|t| t.kind.name()).collect();
    assert!(kinds.contains("q8_0") && kinds.iter().all(|k| ["q8_0", "f16"].contains(k)), "{kinds:?}");
    let report = desk.json(&["export", "--model", "model", "--adapter", &adapter, "--format", "ollama-adapter", "--out", "served"]);
    let text = std::fs::read_to_string(desk.path().join("served/Modelfile"))?;
    assert!(text.starts_with("FROM ./model.gguf\nADAPTER ./adapter.gguf\n"), "{text}");
    assert_eq!(report["type"], "q8_0");
    assert!(desk.path().join("served/adapter.gguf").is_file() && desk.path().join("served/model.gguf").is_file());
    Ok(())
}

#[test]
fn the_metadata_say_what_the_model_is() -> Outcome {
    let desk = Desk::new();
    model(&desk);
    // As the Hub's cache has it: the folder's own name is a hash.
    let folder = desk.path().join("models--Some-Lab--Small-Model-3M-Instruct/snapshots/0123456789abcdef0123456789abcdef01234567");
    std::fs::create_dir_all(folder.parent().unwrap())?;
    std::fs::rename(desk.path().join("model"), &folder)?;
    std::fs::write(folder.join("README.md"), "---\nlicense: apache-2.0\nlanguage:\n- en\n- de\ntags: [chat]\n---\n# A model\n")?;
    let generation =
        json!({"temperature": 0.6, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.1, "pad_token_id": 1, "eos_token_id": [2]});
    std::fs::write(folder.join("generation_config.json"), generation.to_string())?;
    edit(&folder.join("tokenizer_config.json"), |c| {
        let own = c["chat_template"].clone();
        c["chat_template"] = json!([{"name": "default", "template": own}, {"name": "tool_use", "template": "{{ messages }}"}]);
    });
    let path = folder.display().to_string();
    desk.ok(&["export", "--model", &path, "--format", "gguf", "--out", "m.gguf"]);
    let file = GgufFile::open(&desk.path().join("m.gguf"))?;
    for (key, want) in [
        ("general.name", "Small Model 3M Instruct"),
        ("general.organization", "Some Lab"),
        ("general.license", "apache-2.0"),
        ("general.repo_url", "https://huggingface.co/Some-Lab/Small-Model-3M-Instruct"),
        ("tokenizer.chat_template.tool_use", "{{ messages }}"),
    ] {
        assert_eq!(text(&file, key).as_deref(), Some(want), "{key}");
    }
    let list =
        |key: &str| file.get(key).and_then(Gguf::as_array).unwrap().iter().filter_map(Gguf::as_str).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        (list("general.languages"), list("tokenizer.chat_templates")),
        (vec!["en".into(), "de".into()], vec!["tool_use".to_owned()])
    );
    assert!(list("general.tags").contains(&"chat".to_owned()));
    assert!(text(&file, "general.size_label").is_some_and(|s| s.ends_with(['K', 'M'])));
    for (key, want) in [("temp", 0.6f32), ("top_p", 0.9), ("penalty_repeat", 1.1)] {
        assert_eq!(file.get(&format!("general.sampling.{key}")), Some(&Gguf::F32(want)), "{key}");
    }
    assert_eq!(file.get("general.sampling.top_k"), Some(&Gguf::I32(40)));
    assert!(file.get("tokenizer.ggml.padding_token_id").is_some());
    Ok(())
}

#[test]
fn transformers_is_told_to_take_the_tokenizer_as_it_is() -> Outcome {
    let desk = Desk::new();
    model(&desk);
    let mut pieces: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).into();
    pieces.extend((0..256).map(|i| format!("<0x{i:02X}>")));
    pieces.extend(["a", "b", "ab", "\u{2581}"].map(str::to_owned));
    let vocab: serde_json::Map<String, Value> = pieces.into_iter().enumerate().map(|(id, p)| (p, id.into())).collect();
    let prepend = json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u{2581}"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"}]});
    let tokenizer = json!({"version": "1.0", "added_tokens": [], "post_processor": null, "decoder": null, "normalizer": prepend, "pre_tokenizer": null,
        "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "vocab": vocab, "merges": [["a", "b"]]}});
    desk.write("model/tokenizer.json", &tokenizer.to_string());
    desk.write("model/tokenizer_config.json", &json!({"tokenizer_class": "LlamaTokenizer"}).to_string());
    let report = desk.json(&["export", "--model", "model", "--format", "safetensors", "--out", "out"]);
    assert!(report["notes"].to_string().contains("LlamaTokenizer"), "{report}");
    assert_eq!(read(&desk.path().join("out/tokenizer_config.json"))["tokenizer_class"], "PreTrainedTokenizerFast");
    Ok(())
}

#[test]
fn answers_end_where_the_chat_template_ends_them() -> Outcome {
    let desk = Desk::new();
    model(&desk);
    // A base whose end of text is another token than the one that ends a turn.
    edit(&desk.path().join("model/tokenizer_config.json"), |c| c["eos_token"] = "<|endoftext|>".into());
    let texts = tallow::data::TextTokenizer::load(&desk.path().join("model"))?;
    let id = |t: &str| u64::from(texts.inner().token_to_id(t).unwrap());
    let (end, eos) = (id("<|im_end|>"), id("<|endoftext|>"));
    for name in ["config.json", "generation_config.json"] {
        if desk.path().join("model").join(name).is_file() {
            edit(&desk.path().join("model").join(name), |c| c["eos_token_id"] = eos.into());
        }
    }
    for format in ["safetensors", "mlx", "bnb-4bit"] {
        desk.ok(&["export", "--model", "model", "--format", format, "--out", format]);
        let ends = read(&desk.path().join(format).join("generation_config.json"))["eos_token_id"].clone();
        assert_eq!(ends, json!([end, eos]), "{format}");
    }
    desk.ok(&["export", "--model", "model", "--format", "ollama", "--type", "q8_0", "--out", "served"]);
    let text = std::fs::read_to_string(desk.path().join("served/Modelfile"))?;
    assert!(text.contains("PARAMETER stop \"<|im_end|>\"") && text.contains("PARAMETER stop \"<|endoftext|>\""), "{text}");
    let file = GgufFile::open(&desk.path().join("served/model.gguf"))?;
    let number = |key: &str| file.get(&format!("tokenizer.ggml.{key}")).and_then(Gguf::as_u64);
    assert_eq!((number("eos_token_id"), number("eot_token_id")), (Some(eos), Some(end)));
    Ok(())
}
