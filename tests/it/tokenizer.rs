//! Tokenizers trained from the shell and over MCP, as a user's files and folders.

use serde_json::json;
use tokenizers::Tokenizer;

use crate::mcp_client::Client;
use crate::program::Desk;

/// Sentences that share phrases.
fn corpus(desk: &Desk) -> String {
    let of = ["the end of the day", "in the middle of", "one of the best", "as a matter of fact", "for the first time"];
    let text: String = (0..600).map(|i| format!("{} {}, {} {}.\n", of[i % 5], i * i % 89, of[i * 7 % 3], of[i / 3 % 5])).collect();
    std::fs::write(desk.path().join("corpus.txt"), &text).unwrap();
    text
}

#[test]
fn superbpe_takes_fewer_tokens_and_is_read_by_the_library() {
    let desk = Desk::new();
    let text = corpus(&desk);
    let size = ["--vocab-size", "340"];
    let bpe = desk.json(&[&["tokenizer", "train", "corpus.txt", "--kind", "bpe", "--out", "bpe"], size.as_slice()].concat());
    let args = ["tokenizer", "train", "corpus.txt", "--out", "super", "--inherit-merges", "50", "--chat-template", "chatml"];
    let report = desk.json(&[args.as_slice(), &size].concat());
    assert_eq!((&bpe["superwords"], &bpe["kind"]), (&json!(0), &json!("bpe")), "{bpe}");
    assert!(report["superwords"].as_u64() > Some(10) && report["word_merges"] == 50, "{report}");

    let tokens = |folder: &str| {
        let tokenizer = Tokenizer::from_file(desk.path().join(folder).join("tokenizer.json")).unwrap();
        let ids = |line: &str| tokenizer.encode(line, false).unwrap().get_ids().to_vec();
        assert!(text.lines().all(|line| tokenizer.decode(&ids(line), false).unwrap() == line));
        assert_eq!(tokenizer.encode("a<|im_end|>", false).unwrap().get_ids().last(), Some(&2));
        text.lines().map(|line| ids(line).len()).sum::<usize>()
    };
    assert!(tokens("super") < tokens("bpe") * 9 / 10);
    let config = std::fs::read_to_string(desk.path().join("super/tokenizer_config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!((&config["eos_token"], &config["pad_token"]), (&json!("<|im_end|>"), &json!("<|pad|>")));
    assert!(config["chat_template"].as_str().unwrap().contains("<|im_start|>"));
}

#[test]
fn a_client_trains_one_and_hears_what_is_wrong() {
    let desk = Desk::new();
    corpus(&desk);
    let mut client = Client::start(&desk, &["--toolsets", "data"]);
    let call =
        |out: &str, merges: u64| json!({"corpus_path": "corpus.txt", "output_path": out, "vocab_size": 340, "num_inherit_merges": merges});
    let fault = client.try_call("train_superbpe_tokenizer", call("tok", 330)).unwrap_err();
    assert_eq!(fault["code"], "bad_inherit_merges", "{fault}");
    assert!(!desk.path().join("tok").exists());
    let made = client.call("train_superbpe_tokenizer", call("tok", 50));
    assert!(made["vocab_size"] == 340 && made["superwords"].as_u64() > Some(10), "{made}");
    assert!(Tokenizer::from_file(desk.path().join("tok/tokenizer.json")).is_ok());
    assert_eq!(client.try_call("train_superbpe_tokenizer", call("tok", 50)).unwrap_err()["code"], "already_exists");
}

/// Against the library itself: the tokens of each kind and language, and what decodes to another text.
#[test]
fn a_comparison_counts_what_the_library_counts() {
    let desk = Desk::new();
    let text = corpus(&desk);
    let size = ["--vocab-size", "340"];
    desk.ok(&[&["tokenizer", "train", "corpus.txt", "--kind", "bpe", "--out", "bpe"], size.as_slice()].concat());
    desk.ok(&[&["tokenizer", "train", "corpus.txt", "--out", "super", "--inherit-merges", "50"], size.as_slice()].concat());
    let rows = [
        json!({"text": "at the end of the day", "language": "en"}),
        json!({"text": "am Ende des Tages", "language": "de"}),
        json!({"text": "{\"name\": \"open\", \"arguments\": {}}"}),
        json!({"text": "12 345 678"}),
    ];
    let lines: String = rows.iter().map(|r| format!("{r}\n")).collect();
    desk.write("rows.jsonl", &lines);
    let args = ["tokenizer", "compare", "bpe", "super/tokenizer.json", "corpus.txt", "rows.jsonl", "--out", "picture.svg"];
    let report = desk.json(&args);
    let count = |folder: &str, texts: &[&str]| -> usize {
        let tokenizer = Tokenizer::from_file(desk.path().join(folder).join("tokenizer.json")).unwrap();
        texts.iter().map(|t| tokenizer.encode(*t, false).unwrap().len()).sum()
    };
    let german = [rows[1]["text"].as_str().unwrap()];
    let named = |list: &str, name: &str| report[list].as_array().unwrap().iter().find(|g| g["name"] == name).unwrap().clone();
    let de = named("languages", "de");
    assert_eq!((&de["a"]["tokens"], &de["b"]["tokens"]), (&json!(count("bpe", &german)), &json!(count("super", &german))));
    let numbers = named("kinds", "numbers");
    assert_eq!((numbers["texts"].as_u64(), numbers["bytes"].as_u64()), (Some(1), Some(10)), "{numbers}");
    assert_eq!(named("kinds", "tool_json")["words"], 3);
    let all = &report["all"];
    let bytes = text.len() + rows.iter().map(|r| r["text"].as_str().unwrap().len()).sum::<usize>();
    assert_eq!(all["bytes"].as_u64(), Some(bytes as u64));
    assert!(all["b"]["tokens"].as_u64() < all["a"]["tokens"].as_u64() && all["change"].as_f64() < Some(-0.05), "{all}");
    assert!(report["b"]["saving"][0]["text"].as_str().unwrap().contains(' '), "{}", report["b"]["saving"]);
    assert_eq!((&report["a"]["round_trip_failures"], &report["is_cut"]), (&json!(0), &json!(false)));
    assert!(report["vocabulary"]["both"].as_u64() > Some(256), "{}", report["vocabulary"]);
    assert!(std::fs::read_to_string(desk.path().join("picture.svg")).unwrap().starts_with("<svg"));
    // A table for people; and what cannot be used is named.
    let said = desk.ok(&["tokenizer", "compare", "bpe", "embedded", "--text", "at the end"]);
    assert!(said.out.contains("round trip a 0 of 1 texts") && said.out.contains("prose"), "{}", said.out);
    for (args, words) in [
        (["bpe", "none", "--text", "a"], "none: no such model folder"),
        (["bpe", "super", "none.txt", "--quiet"], "none.txt"),
        (["bpe", "super", "corpus.txt", "--out=p.png"], "p.png: this picture is .svg"),
        (["bpe", "corpus.txt", "--text", "a"], "corpus.txt"),
    ] {
        let said = desk.run(&[&["tokenizer", "compare"], &args[..]].concat());
        assert!(said.code != 0 && said.err.contains(words), "{args:?}: {}", said.err);
    }
}

#[test]
fn a_client_compares_two() {
    let desk = Desk::new();
    corpus(&desk);
    let mut client = Client::start(&desk, &["--toolsets", "data"]);
    let made = json!({"corpus_path": "corpus.txt", "output_path": "tok", "vocab_size": 340, "num_inherit_merges": 50});
    client.call("train_superbpe_tokenizer", made);
    let ask = json!({"tokenizer_a": "embedded", "tokenizer_b": "tok", "texts": ["for the first time"], "files": ["corpus.txt"]});
    let out = client.call("compare_tokenizers", ask);
    assert!(out["groups"][0]["tokens_b"].as_u64() < out["groups"][0]["tokens_a"].as_u64(), "{out}");
    assert_eq!((&out["groups"][1]["name"], &out["b"]["round_trip_failures"]), (&json!("prose"), &json!(0)));
    let fault = client.try_call("compare_tokenizers", json!({"tokenizer_a": "tok", "tokenizer_b": "embedded"})).unwrap_err();
    assert_eq!(fault["code"], "data_empty", "{fault}");
    let outside = json!({"tokenizer_a": "tok", "tokenizer_b": "/etc/passwd.json", "texts": ["a"]});
    assert_eq!(client.try_call("compare_tokenizers", outside).unwrap_err()["code"], "path_outside_roots");
}

/// Every new token stands for the tokens that the base had in its place; its row is the mean of theirs; and the
/// folder trains.
#[test]
fn a_tokenizer_of_characters_with_bytes_is_not_extended_and_says_so() {
    let desk = Desk::new();
    corpus(&desk);
    desk.ok(&["bench", "random-model", "tiny", "--out", "pieces", "--tokenizer", "embedded"]);
    // As SentencePiece's models are converted: spaces are U+2581, and what has no token is spelled in bytes.
    let path = desk.path().join("pieces/tokenizer.json");
    let mut file: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    file["model"]["byte_fallback"] = json!(true);
    file["pre_tokenizer"] = serde_json::Value::Null;
    file["normalizer"] = json!({"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"});
    file["decoder"] = json!({"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]});
    std::fs::write(&path, file.to_string()).unwrap();
    let said = desk.run(&["tokenizer", "extend", "--model", "pieces", "corpus.txt", "--out", "big"]);
    assert!(said.code != 0 && said.err.contains("SentencePiece") && said.err.contains("only byte-level BPE"), "{}", said.err);
    assert!(!desk.path().join("big").exists());
}

#[test]
fn an_extended_model_has_means_as_new_rows_and_trains() {
    let (desk, seed) = (Desk::new(), crate::program::drawn_seed());
    let text = corpus(&desk);
    let fault = desk.run(&["tokenizer", "extend", "--model", "none", "corpus.txt", "--out", "big"]);
    assert!(fault.code != 0 && !desk.path().join("big").exists(), "{}", fault.err);
    let report = desk.json(&["tokenizer", "extend", "--model", "embedded", "corpus.txt", "--out", "big", "--new-tokens", "10"]);
    assert_eq!((&report["new_tokens"], &report["vocab_size"], &report["rows"]), (&json!(10), &json!(1034), &json!(1034)), "{report}");
    desk.ok(&["bench", "random-model", "tiny", "--out", "old", "--tokenizer", "embedded"]);
    let load = |folder: &str| Tokenizer::from_file(desk.path().join(folder).join("tokenizer.json")).unwrap();
    let (old, new) = (load("old"), load("big"));
    let ids = |t: &Tokenizer, text: &str| t.encode(text, false).unwrap().get_ids().to_vec();
    // Undone, the new tokens of any text are the old ones.
    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(desk.path().join("big/tokenizer.json")).unwrap()).unwrap();
    let merges: Vec<(String, String)> = serde_json::from_value(file["model"]["merges"].clone()).unwrap();
    let mut stands: std::collections::HashMap<u32, Vec<u32>> = (0..1024).map(|id| (id, vec![id])).collect();
    for (a, b) in &merges {
        let [x, y, made] = [a, b, &format!("{a}{b}")].map(|t| new.token_to_id(t).unwrap());
        let parts = [stands[&x].clone(), stands[&y].clone()].concat();
        stands.entry(made).or_insert(parts);
    }
    let (mut before, mut after) = (0, 0);
    for (i, line) in text.lines().chain(["Nothing of this was ever seen: λ 12.5", "the end", ""]).enumerate() {
        let line: String = line.chars().skip((seed as usize).wrapping_add(i) % 7).collect();
        let (a, b) = (ids(&old, &line), ids(&new, &line));
        assert_eq!(new.decode(&b, false).unwrap(), line, "seed {seed}");
        let undone: Vec<u32> = b.iter().flat_map(|id| stands[id].clone()).collect();
        assert_eq!(undone, a, "seed {seed}: {line:?}");
        (before, after) = (before + a.len(), after + b.len());
    }
    assert!(after * 20 < before * 19, "{after} of {before}");
    // The rows.
    let weights = std::fs::read(desk.path().join("big/model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&weights).unwrap();
    let embedding = tensors.tensor("model.embed_tokens.weight").unwrap();
    let [rows, width] = embedding.shape() else { panic!() };
    assert_eq!(*rows, 1034);
    let value = |row: u32, i: usize| {
        let at = (row as usize * width + i) * 2;
        f32::from_bits(u32::from(u16::from_le_bytes([embedding.data()[at], embedding.data()[at + 1]])) << 16)
    };
    for example in report["examples"].as_array().unwrap() {
        let id = example["id"].as_u64().unwrap() as u32;
        let parts: Vec<u32> = example["parts"].as_array().unwrap().iter().map(|p| p.as_u64().unwrap() as u32).collect();
        assert_eq!(parts, stands[&id], "{example}");
        for i in (0..*width).step_by(7) {
            let mean = parts.iter().map(|p| value(*p, i)).sum::<f32>() / parts.len() as f32;
            assert!((value(id, i) - mean).abs() <= mean.abs() / 128.0 + 1e-6, "row {id}, {i}: {} and {mean}", value(id, i));
        }
    }
    // It trains and answers at once.
    let row = |i: usize| format!("{{\"instruction\": \"say {i}\", \"output\": \"in the middle of {i}\"}}\n");
    desk.write("rows.jsonl", &(0..20).map(row).collect::<String>());
    desk.ok(&["train", "--model", "big", "--data", "rows.jsonl", "--epochs", "1", "--set", "training.save_steps=0"]);
    desk.ok(&["generate", "--run", "latest", "--prompt", "say 1", "--max-new-tokens", "4"]);
    // What cannot be extended is refused, and leaves nothing.
    let again = desk.run(&["tokenizer", "extend", "--model", "embedded", "corpus.txt", "--out", "big"]);
    assert!(again.code != 0 && again.err.contains("big"), "{}", again.err);
    desk.write("short.txt", "a b c\n");
    for (args, words) in [
        (["--model", "embedded", "short.txt", "--out", "x"], "no pair of tokens is frequent enough"),
        (["--model", "embedded", "none.txt", "--out", "x"], "none.txt"),
    ] {
        let said = desk.run(&[&["tokenizer", "extend"], &args[..]].concat());
        assert!(said.code != 0 && said.err.contains(words), "{args:?}: {}", said.err);
    }
    assert!(!desk.path().join("x").exists());
}
