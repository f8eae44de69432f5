//! `tallow bench model`, and the same over MCP.

use serde_json::json;

use crate::mcp_client::Client;
use crate::program::Desk;

#[test]
fn each_level_is_measured_and_weighs_less() {
    let desk = Desk::new();
    desk.ok(&["bench", "random-model", "tiny", "--out", "model", "--tokenizer", "embedded"]);
    let args = ["bench", "model", "--model", "model", "--iterations", "2", "--max-new-tokens", "8", "--prompt-tokens", "16"];
    let report = desk.json(&[&args[..], &["--levels", "f32,bf16,q8,nf4"]].concat());
    assert_eq!((&report["prompt_tokens"], &report["new_tokens"]), (&json!(16), &json!(8)));
    let levels = report["levels"].as_array().unwrap();
    let names: Vec<&str> = levels.iter().map(|l| l["level"].as_str().unwrap()).collect();
    assert_eq!(names, ["f32", "bf16", "q8", "nf4"]);
    let number = |l: &serde_json::Value, key: &str| l[key].as_f64().unwrap();
    for pair in levels.windows(2) {
        assert!(number(&pair[0], "weight_bytes") > number(&pair[1], "weight_bytes"), "{pair:?}");
    }
    for l in levels {
        let prompt_seconds = 16.0 / number(l, "prompt_tokens_per_second");
        assert!(number(l, "first_token_seconds") >= prompt_seconds * 0.5 && number(l, "decode_tokens_per_second") > 0.0, "{l}");
        assert!(number(l, "peak_bytes") >= number(l, "weight_bytes") && number(l, "share_of_memory") > 0.0, "{l}");
        let rounds: Vec<f64> = l["decode_rounds"].as_array().unwrap().iter().map(|r| r.as_f64().unwrap()).collect();
        assert!(rounds.len() == 2 && (rounds[0] + rounds[1] - 2.0 * number(l, "decode_tokens_per_second")).abs() < 1e-6, "{l}");
    }
    let said = desk.ok(&[&args[..8], &["--prompt", "tell me a story", "--levels", "q8"]].concat());
    assert!(said.out.contains("first token ms") && said.out.contains("q8"), "{}", said.out);
    for (more, words) in [
        (["--levels", "q9"], "`q9` is no level"),
        (["--max-new-tokens", "100000"], "do not fit a context"),
        (["--iterations", "0"], "at least one level"),
    ] {
        let said = desk.run(&[&["bench", "model", "--model", "model"], &more[..]].concat());
        assert!(said.code != 0 && said.err.contains(words), "{more:?}: {}", said.err);
    }
}

#[test]
fn a_client_measures_a_model() {
    let desk = Desk::new();
    let mut client = Client::start(&desk, &["--toolsets", "data"]);
    let out = client.call("benchmark_model", json!({"model": "embedded", "prompt": "a lake", "iterations": 1, "max_new_tokens": 4}));
    assert_eq!((out["levels"].as_array().unwrap().len(), &out["iterations"]), (3, &json!(1)), "{out}");
    assert!(out["levels"][0]["decode_tokens_per_second"].as_f64() > Some(0.0), "{out}");
    let long = client.try_call("benchmark_model", json!({"model": "embedded", "max_new_tokens": 8000})).unwrap_err();
    assert_eq!(long["code"], "prompt_too_long", "{long}");
}
