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
