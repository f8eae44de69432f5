//! Exports in hard times, 4-bit checkpoints, calibration, and the versions that come of runs.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tallow::export::bnb;
use tallow::export::card::{Energy, Training, model_card};
use tallow::export::quantise::quantize;
use tallow::export::side_files::Base;
use tallow::export::{Merged, Prompts, Proof};
use tallow::model::gguf::GgmlType;
use tallow::model::weights::Shards;

use crate::golden::Outcome;
use crate::program::Desk;

fn random_model(desk: &Desk) {
    desk.ok(&["bench", "random-model", "tiny", "--out", "model", "--tokenizer", "embedded"]);
}

fn hidden(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|n| n.starts_with('.')).collect()
}

#[test]
fn four_bits_of_bitsandbytes_are_a_base_again() -> Outcome {
    let desk = Desk::new();
    desk.project(6, "");
    let report = desk.json(&["train", "project"]);
    let adapter = report["model"].as_str().unwrap().to_owned();
    let export = desk.json(&["export", "--model", "model", "--adapter", &adapter, "--format", "bnb-4bit", "--out", "four"]);
    assert_eq!((export["type"].as_str(), export["proof"]["tokens"].as_u64() > Some(100)), (Some("nf4"), true));
    let config: Value = serde_json::from_str(&std::fs::read_to_string(desk.path().join("four/config.json"))?)?;
    assert_eq!(config["quantization_config"]["bnb_4bit_quant_type"], "nf4");

    // Its matrices are those that quantising the merged model gives, and it trains like any base.
    let held = ["--data", "project/data/held.jsonl", "--max-seq-length", "64"];
    let four = desk.json(&[&["eval", "--model", "four", "--dtype", "f32"], held.as_slice()].concat());
    desk.ok(&["merge", "--model", "model", "--adapter", &adapter, "--out", "merged", "--dtype", "f32"]);
    let quantised = desk.json(&[&["eval", "--model", "merged", "--quantization", "nf4", "--dtype", "f32"], held.as_slice()].concat());
    let loss = |v: &Value| v["result"]["loss"].as_f64().unwrap();
    assert!((loss(&four) - loss(&quantised)).abs() < 1e-5, "{four} {quantised}");
    let again = desk.json(&["train", "project", "--set", "base_model.local_path=four", "--name", "again"]);
    assert!(again["tuned"]["loss"].as_f64() < again["base"]["loss"].as_f64(), "{again}");

    // What is in 4 bits already and is not changed stays as it is, byte for byte.
    desk.ok(&["export", "--model", "four", "--format", "bnb-4bit", "--out", "copy"]);
    let read = |name: &str| std::fs::read(desk.path().join(name).join("model.safetensors"));
    assert!(read("four")? == read("copy")?);
    Ok(())
}

#[test]
fn the_states_of_4_bit_matrices_fit_their_shapes() -> Outcome {
    let desk = Desk::new();
    random_model(&desk);
    let model = desk.path().join("model");
    let texts = tallow::data::TextTokenizer::load(&model)?;
    let out = desk.path().join("four");
    bnb::write_model(
        &Merged::open(&model, None)?,
        Base { path: &model, texts: &texts },
        &Prompts::new(&texts, &[], 24)?,
        &out,
        &mut |_, _| {},
    )?;
    let shards = Shards::open(&out)?;
    let name = "model.layers.0.mlp.down_proj.weight";
    let state: Value = serde_json::from_slice(shards.bytes(&format!("{name}.quant_state.bitsandbytes__nf4"))?)?;
    let n: u64 = state["shape"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).product();
    assert_eq!(shards.bytes(name)?.len() as u64, n.div_ceil(2));
    assert_eq!(shards.bytes(&format!("{name}.absmax"))?.len() as u64, n.div_ceil(64));
    assert_eq!((state["blocksize"].as_u64(), state["nested_blocksize"].as_u64()), (Some(64), Some(256)));
    Ok(())
}

/// The embedded model computes the same when a norm's channels grow and the columns behind them shrink as much. Large models
/// are uneven in this way; rounding then hurts most where the inputs are large.
fn uneven(desk: &Desk) -> Outcome {
    use candle_core::{Device, Tensor};
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/base");
    std::fs::create_dir(desk.path().join("uneven"))?;
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(from.join(name), desk.path().join("uneven").join(name))?;
    }
    let mut tensors = candle_core::safetensors::load(from.join("model.safetensors"), &Device::Cpu)?;
    let config: Value = serde_json::from_str(&std::fs::read_to_string(from.join("config.json"))?)?;
    let (layers, width) = (config["num_hidden_layers"].as_u64().unwrap(), config["hidden_size"].as_u64().unwrap() as usize);
    let grow: Vec<f32> = (0..width).map(|i| ((i * 37 % 17) as f32 / 4.0 - 2.0).exp()).collect();
    let grow = Tensor::from_vec(grow, width, &Device::Cpu)?;
    for t in tensors.values_mut() {
        *t = t.to_dtype(candle_core::DType::F32)?;
    }
    for layer in 0..layers {
        for (norm, behind) in [
            ("input_layernorm", ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"].as_slice()),
            ("post_attention_layernorm", ["mlp.gate_proj", "mlp.up_proj"].as_slice()),
        ] {
            let t = tensors.get_mut(&format!("model.layers.{layer}.{norm}.weight")).unwrap();
            *t = t.mul(&grow)?;
            for name in behind {
                let t = tensors.get_mut(&format!("model.layers.{layer}.{name}.weight")).unwrap();
                *t = t.broadcast_div(&grow)?;
            }
        }
    }
    Ok(candle_core::safetensors::save(&tensors, desk.path().join("uneven/model.safetensors"))?)
}

#[test]
fn an_importance_matrix_keeps_what_matters() -> Outcome {
    let desk = Desk::new();
    uneven(&desk)?;
    let text =
        |seed: u64| tallow::app::recipe::documents(seed, 60).map(|d| format!("{}\n", serde_json::json!({"text": d}))).collect::<String>();
    desk.write("rows.jsonl", &text(5));
    desk.write("held.jsonl", &text(6));
    let loss = |model: &str| {
        let r = desk.json(&["eval", "--model", model, "--data", "held.jsonl", "--layout", "text"]);
        r["result"]["loss"].as_f64().unwrap()
    };
    let export = |kind: &str, out: &str, more: &[&str]| {
        desk.json(&[&["export", "--model", "uneven", "--format", "gguf", "--type", kind, "--out", out], more].concat())
    };
    let truth = loss("uneven");
    for kind in ["q4_0", "q5_1"] {
        export(kind, &format!("{kind}.gguf"), &[]);
        let with = export(kind, &format!("{kind}-i.gguf"), &["--imatrix", "rows.jsonl", "--layout", "text"]);
        assert_eq!(with["calibration"]["rows"], 60, "{with}");
        let (plain, weighed) = (loss(&format!("{kind}.gguf")) - truth, loss(&format!("{kind}-i.gguf")) - truth);
        assert!(weighed < 0.7 * plain, "{kind}: loss rises by {plain:.4} without, by {weighed:.4} with an importance matrix");
    }
    let said =
        desk.run(&["export", "--model", "uneven", "--format", "gguf", "--type", "f16", "--out", "x.gguf", "--imatrix", "rows.jsonl"]);
    assert!(said.code == 2 && said.err.contains("q4_k_m"), "{}", said.err);
    let said = desk.run(&["export", "--model", "uneven", "--format", "gguf", "--type", "q4_0", "--out", "x.gguf", "--imatrix"]);
    assert!(said.code == 2 && said.err.contains("--run"), "{}", said.err);
    Ok(())
}

#[test]
fn a_block_depends_on_nothing_but_its_own_numbers() {
    // Rows that the threads' shares of the work do not divide into.
    const WIDTH: usize = 768;
    let values: Vec<f32> = (0..WIDTH * 19).map(|i| ((i as f32 * 0.37).sin() + (i as f32 * 0.011).cos()) * 0.1).collect();
    let weights: Vec<f32> = (0..WIDTH).map(|i| 1.0 + (i % 9) as f32 + (i / 256) as f32).collect();
    for kind in GgmlType::ALL {
        let whole = quantize(kind, &values, WIDTH, Some(&weights));
        for rows in [0..1, 5..8, 7..19] {
            let part = quantize(kind, &values[WIDTH * rows.start..WIDTH * rows.end], WIDTH, Some(&weights));
            assert!(part == whole[kind.bytes(WIDTH * rows.start)..kind.bytes(WIDTH * rows.end)], "{} {rows:?}", kind.name());
        }
    }
}

#[test]
fn every_processor_makes_the_same_file() {
    let desk = Desk::new();
    desk.ok(&["bench", "random-model", "15m", "--out", "model", "--tokenizer", "embedded"]);
    for kind in ["q4_k_m", "q3_k_m", "q5_0"] {
        let file = |isa: &str| {
            let out = format!("{kind}-{isa}.gguf");
            let made = desk
                .command(&["export", "--model", "model", "--format", "gguf", "--type", kind, "--out", &out])
                .env("TALLOW_ISA", isa)
                .output();
            assert!(made.unwrap().status.success());
            std::fs::read(desk.path().join(out)).unwrap()
        };
        let best = file("");
        assert!(best == file("portable") && best == file("avx2"), "{kind}");
    }
}

#[test]
fn a_tokenizer_that_llama_cpp_would_follow_otherwise_is_refused_or_noted() {
    let desk = Desk::new();
    random_model(&desk);
    let pieces = ["<unk>", "<s>", "</s>"].map(str::to_owned).into_iter().chain((0..256).map(|i| format!("<0x{i:02X}>")));
    let pieces = pieces.chain(["a", "b", "c", "ab", "bc", "abc", "\u{2581}"].map(str::to_owned));
    let vocab: serde_json::Map<String, Value> = pieces.enumerate().map(|(id, piece)| (piece, id.into())).collect();
    let export = |merges: &[[&str; 2]], metaspace: bool, out: &str| {
        let before = serde_json::json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "first", "split": false});
        let tokenizer = serde_json::json!({
            "version": "1.0", "added_tokens": [], "post_processor": null, "decoder": null,
            "normalizer": if metaspace { Value::Null } else { serde_json::json!({"type": "Prepend", "prepend": "\u{2581}"}) },
            "pre_tokenizer": if metaspace { before } else { Value::Null },
            "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "vocab": vocab, "merges": merges},
        });
        desk.write("model/tokenizer.json", &tokenizer.to_string());
        desk.run(&["export", "--model", "model", "--format", "gguf", "--out", out, "--json"])
    };
    // `abc` can be joined from `a` and `bc`: llama.cpp would, this tokenizer never does.
    let some = [["a", "b"], ["b", "c"], ["ab", "c"]];
    let said = export(&some, false, "some.gguf");
    assert!(said.code != 0 && said.out.contains("export_tokenizer"), "{}", said.out);
    let all = [["a", "b"], ["b", "c"], ["ab", "c"], ["a", "bc"]];
    let (plain, metaspace) = (export(&all, false, "all.gguf"), export(&all, true, "space.gguf"));
    assert!(plain.code == 0 && !plain.out.contains("puts a space"), "{}", plain.out);
    assert!(metaspace.code == 0 && metaspace.out.contains("puts a space"), "{}", metaspace.out);
}

#[test]
fn a_name_without_its_ending_and_rows_that_are_too_short_are_noted() {
    let desk = Desk::new();
    random_model(&desk);
    let notes = |out: &str, kind: &str| {
        desk.json(&["export", "--model", "model", "--format", "gguf", "--type", kind, "--out", out])["notes"].to_string()
    };
    let (odd, fine) = (notes("odd", "q4_k_m"), notes("fine.gguf", "f16"));
    assert!(odd.contains("end in .gguf") && odd.contains("do not divide into blocks of 256"), "{odd}");
    assert_eq!(fine, "[]");
}

#[test]
fn a_card_states_energy_only_where_it_was_measured() -> Outcome {
    let desk = Desk::new();
    random_model(&desk);
    let folder = desk.path().join("model");
    let took = |kwh| Energy { kwh, emissions_kg: 0.047, country: "DEU".into(), grams_per_kwh: 381.0, source: "processor: rapl".into() };
    let card = |energy: Option<Energy>| {
        let mut merged = Merged::open(&folder, None)?;
        merged.set_training(Training { run: "a".into(), energy, ..Training::default() });
        anyhow::Ok(model_card(&merged, &folder, "transformers", "f32", &Proof::default()))
    };
    let (measured, not) = (card(Some(took(0.123_44)))?, card(None)?);
    assert!(
        measured.contains("- Energy: 0.123440 kWh (processor: rapl)\n")
            && measured.contains("0.047000 kg CO2 equivalents (DEU, 381 g/kWh)")
            && !measured.contains("not measured"),
        "{measured}"
    );
    assert!(not.contains("- Energy and emissions: not measured\n") && !not.contains("kWh"), "{not}");
    Ok(())
}

#[test]
fn what_a_killed_export_left_goes_with_the_next() -> Outcome {
    let desk = Desk::new();
    desk.ok(&["bench", "random-model", "15m", "--out", "model", "--tokenizer", "embedded"]);
    let mut child = desk.command(&["export", "--model", "model", "--format", "ollama", "--type", "q2_k", "--out", "done", "-q"]).spawn()?;
    let begun = || !hidden(desk.path()).is_empty();
    while !begun() && child.try_wait()?.is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill()?;
    child.wait()?;
    let left = hidden(desk.path());
    assert!(left.len() == 1 && left[0].starts_with(".tallow-tmp-"), "{left:?}");
    assert!(!desk.path().join("done").exists());
    // Young left-overs are let be; this one gets old.
    std::fs::File::open(desk.path().join(&left[0]))?.set_modified(SystemTime::now() - Duration::from_secs(60))?;
    let doctor = desk.json(&["doctor"]);
    let found = doctor["findings"].as_array().unwrap().iter().any(|f| f["name"] == "left-overs");
    assert!(found, "{doctor}");
    let report = desk.json(&["export", "--model", "model", "--format", "gguf", "--out", "done"]);
    assert!(report["notes"].to_string().contains("killed"), "{report}");
    assert!(hidden(desk.path()).is_empty());
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_says_so_for_every_form() {
    let desk = Desk::new();
    desk.ok(&["bench", "random-model", "15m", "--out", "model", "--tokenizer", "embedded"]);
    for (format, kind) in [("gguf", "f16"), ("ollama", "q8_0"), ("safetensors", "bf16"), ("mlx", "q8"), ("bnb-4bit", "nf4")] {
        let script = format!(
            "mkdir -p disk; mount -t tmpfs -o size=600k none disk; set +e; $T export --model model --format {format} --type {kind} \
             --out disk/out; code=$?; ls -A disk | sed 's/^/left /'; exit $code"
        );
        let Some(said) = crate::bad_input::with_mounts(&desk, &script) else { return };
        assert!(said.code == 1 && said.err.contains("No space left") && said.err.contains("free some space"), "{format}: {}", said.err);
        assert!(!said.out.contains("left "), "{format}: {}", said.out);
    }
}

#[test]
fn a_file_that_is_corrupted_before_its_proof_is_no_export() -> Outcome {
    let desk = Desk::new();
    desk.ok(&["bench", "random-model", "15m", "--out", "model", "--tokenizer", "embedded"]);
    let model = desk.path().join("model");
    let (texts, merged) = (tallow::data::TextTokenizer::load(&model)?, Merged::open(&model, None)?);
    let prompts = Prompts::new(&texts, &[], 24)?;
    // The last progress comes when all is written and nothing is proved: the moment to damage the file.
    let damage = |at: &Path, span: std::ops::Range<u64>| {
        use std::io::{Seek, SeekFrom, Write};
        let mut file = std::fs::File::options().write(true).open(at).unwrap();
        file.seek(SeekFrom::Start(span.start)).unwrap();
        file.write_all(&vec![0x3c; (span.end - span.start) as usize]).unwrap();
    };
    let unfinished = || desk.path().join(hidden(desk.path()).first().unwrap());
    let out = desk.path().join("out");
    let settings = tallow::export::gguf::Preset::Q8_0.into();
    let mut size = 0;
    let r =
        tallow::export::gguf::write_model(&merged, Base { path: &model, texts: &texts }, &prompts, settings, &out, &mut |done, total| {
            if done == total {
                // What is still in memory is written after this: the middle is on disk.
                size = std::fs::metadata(unfinished()).unwrap().len();
                damage(&unfinished(), size / 2..size / 2 + 40_000.min(size / 4));
            }
        });
    assert!(size > 100_000, "{size}: nothing was on disk yet");
    assert_eq!(r.unwrap_err().code, "export_proof_failed");
    let r = bnb::write_model(&merged, Base { path: &model, texts: &texts }, &prompts, &out, &mut |done, total| {
        if done == total {
            let file = unfinished().join("model.safetensors");
            let size = std::fs::metadata(&file).unwrap().len();
            damage(&file, size / 2..size / 2 + 40_000.min(size / 4));
        }
    });
    assert_eq!(r.unwrap_err().code, "export_proof_failed");
    assert!(hidden(desk.path()).is_empty() && !out.exists());
    Ok(())
}

#[test]
fn versions_are_promoted_and_taken_back() -> Outcome {
    let desk = Desk::new();
    desk.project(4, "");
    desk.ok(&["train", "project", "--name", "first"]);
    desk.ok(&["train", "project", "--name", "second", "--set", "training.seed=7"]);
    let export =
        ["export", "--run", "second", "--project", "project", "--format", "gguf", "--type", "q4_0", "--imatrix", "--out", "s.gguf"];
    let exported = desk.json(&export);
    assert_eq!(exported["calibration"]["rows"], 48);
    let list = desk.json(&["models", "list", "project"]);
    let all = list["versions"].as_array().unwrap();
    assert_eq!(all.len(), 3, "{list}");
    let id = |run: &str, kind: &str| {
        let v = all.iter().find(|v| v["run_id"].as_str().unwrap().starts_with(run) && v["kind"] == kind).unwrap();
        v["id"].as_str().unwrap().to_owned()
    };
    let (first, second, file) = (id("first", "adapter"), id("second", "adapter"), id("second", "export"));
    assert_eq!(desk.json(&["models", "list", "project"]), list, "nothing is hashed or changed again");

    // The manifest tells of the export, the card of the run.
    let manifest = desk.json(&["runs", "show", "second", "--project", "project"]);
    let told = &manifest["exports"][0];
    assert!(told["sha256"].as_str().unwrap().starts_with(&file) && told["proof"]["mean_kl"].is_number(), "{told}");
    desk.ok(&["export", "--run", "second", "--project", "project", "--format", "peft", "--out", "peft"]);
    let card = std::fs::read_to_string(desk.path().join("peft/README.md"))?;
    for word in ["Run `second-", "train.jsonl", "48 rows", "- Energy: ", "- Emissions: ", "| base |", "licence: not stated"] {
        assert!(card.contains(word), "{word}: {card}");
    }

    let at = |args: &[&str]| desk.run(&[args, &["--project", "project"]].concat());
    let promoted = || desk.json(&["models", "list", "project"])["promoted"].clone();
    assert!(at(&["models", "rollback"]).err.contains("no version of this project is promoted"));
    assert_eq!(at(&["models", "promote", &first]).code, 0);
    assert!(at(&["models", "promote", &first]).err.contains("already"));
    assert_eq!(at(&["models", "promote", &file[..6]]).code, 0);
    assert_eq!(at(&["models", "promote", &second]).code, 0);
    assert_eq!(promoted(), second.as_str());
    assert!(at(&["models", "show"]).out.contains("--adapter"));
    assert_eq!(at(&["models", "rollback"]).code, 0);
    assert_eq!(promoted(), file.as_str());
    assert!(at(&["models", "promote", "f0f0f0f0"]).err.contains("no version"));

    // A promotion is of content: what was changed since is not promoted, and what is gone is not gone back to.
    let weights = desk.path().join("project/runs");
    let run = std::fs::read_dir(&weights)?.flatten().find(|e| e.file_name().to_string_lossy().starts_with("second")).unwrap();
    std::fs::write(run.path().join("final-model/extra.json"), "{}")?;
    let said = at(&["models", "promote", &second]);
    assert!(said.code == 1 && said.err.contains("changed"), "{}", said.err);
    std::fs::remove_file(desk.path().join("s.gguf"))?;
    assert!(at(&["models", "list"]).code == 2, "list takes the project as its argument");
    assert!(desk.ok(&["models", "list", "project"]).out.contains("promoted, gone"));
    assert_eq!(at(&["models", "rollback"]).code, 0);
    assert_eq!(promoted(), first.as_str());

    let compared = at(&["models", "compare", &first, "promoted", "--data", "project/data/held.jsonl"]);
    assert!(compared.code == 0 && compared.out.contains("perplexity"), "{}{}", compared.out, compared.err);
    let second_now = desk.json(&["models", "compare", "first", "second", "--project", "project"]);
    let keys: Vec<&str> = second_now["settings"].as_array().unwrap().iter().map(|d| d["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["training.seed"]);
    Ok(())
}
