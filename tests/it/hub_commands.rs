//! `tallow hub` and its tools, against a Hub on this machine.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::fake_hub::FakeHub;
use crate::golden::golden_dir;
use crate::mcp_client::Client;
use crate::program::{Desk, Said, said};

const COMMIT: &str = "00112233445566778899aabbccddeeff00112233";

/// A Hub with a model that trains, one that is gated, one of an unknown architecture, and a dataset.
fn hub(desk: &Desk) -> FakeHub {
    let hub = FakeHub::start();
    desk.ok(&["bench", "random-model", "tiny", "--out", "model", "--tokenizer", "embedded"]);
    let names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    let files = names.map(|n| (n, std::fs::read(desk.path().join("model").join(n)).unwrap()));
    hub.put("models/people/tiny", COMMIT, &files);
    let large = std::fs::read(golden_dir().join("llama3/model/config.json")).unwrap();
    hub.put("models/people/gated", COMMIT, &[("config.json", large)]);
    hub.put("models/people/other", COMMIT, &[("config.json", br#"{"architectures": ["MambaForCausalLM"]}"#.to_vec())]);
    hub.put("datasets/people/rows", COMMIT, &[]);
    let mut state = hub.state();
    for (name, downloads, billions) in [("tiny", 5, 0.001), ("gated", 50, 8.0), ("other", 1, 1.0)] {
        let repo = state.repos.get_mut(&format!("models/people/{name}")).unwrap();
        repo.gated = name == "gated";
        let total = (billions * 1e9) as u64;
        repo.found = json!({"id": format!("people/{name}"), "sha": COMMIT, "downloads": downloads, "gated": if repo.gated { json!("auto") } else { json!(false) },
            "pipeline_tag": "text-generation", "tags": ["safetensors", "license:apache-2.0"],
            "config": {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}, "safetensors": {"parameters": {"BF16": total}, "total": total}});
    }
    let rows = json!({"id": "people/rows", "downloads": 3, "gated": false, "tags": ["format:json", "size_categories:n<1K", "license:mit"]});
    state.repos.get_mut("datasets/people/rows").unwrap().found = rows;
    drop(state);
    hub
}

fn run(desk: &Desk, hub: &FakeHub, args: &[&str]) -> Said {
    said(&desk.command(args).env("HF_ENDPOINT", &hub.address).output().unwrap())
}

fn ok(desk: &Desk, hub: &FakeHub, args: &[&str]) -> Value {
    let said = run(desk, hub, &[args, &["--json"]].concat());
    assert_eq!(said.code, 0, "{args:?}\n{}\n{}", said.out, said.err);
    serde_json::from_str(&said.out).unwrap()
}

#[test]
fn a_search_says_what_can_be_trained_and_fits() {
    let desk = Desk::new();
    let hub = hub(&desk);
    let found = ok(&desk, &hub, &["hub", "search", "people"]);
    let models = found["models"].as_array().unwrap();
    let ids: Vec<&str> = models.iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["people/gated", "people/tiny", "people/other"]);
    let [gated, tiny, other] = models.as_slice() else { panic!("{found}") };
    // By its config.json: what `get_model_info` says of the same model.
    assert_eq!((tiny["basis"].as_str(), tiny["family"].as_str(), tiny["cached"].as_bool()), (Some("config"), Some("llama"), Some(false)));
    let info = ok(&desk, &hub, &["hub", "info", "people/tiny"]);
    let nf4 = |v: &Value, way: &str| v.as_array().unwrap().iter().find(|f| f["quantization"] == way).unwrap()["train_bytes"].clone();
    assert_eq!(nf4(&tiny["fits"], "nf4"), nf4(&info["needs"], "nf4"));
    assert!(tiny["fits"].as_array().unwrap().iter().all(|f| f["fits"] == true), "{tiny}");
    assert_eq!((&info["weights_here"], &info["licence"]), (&json!(false), &json!("apache-2.0")));
    assert!(!hub.seen().iter().any(|s| s.at_store && s.path.contains("lfs") && s.range.is_none() && weights(&desk, &s.path)), "no weights");
    // Its config is not given: from the number of parameters, and said so.
    assert_eq!((gated["basis"].as_str(), gated["gated"].as_bool()), (Some("parameters"), Some(true)));
    let bytes: Vec<f64> = gated["fits"].as_array().unwrap().iter().map(|f| f["train_bytes"].as_f64().unwrap() / 1e9).collect();
    assert!(bytes[0] > 4.0 && bytes[0] < 6.0 && bytes[2] > 16.0 && bytes[2] < 20.0, "{bytes:?}");
    // Another architecture than the search says.
    assert!(other["family"].is_null() && other["why_not"].as_str().unwrap().contains("MambaForCausalLM"), "{other}");
    assert!(other["fits"].as_array().unwrap().is_empty());
    let text = run(&desk, &hub, &["hub", "search", "people"]).out;
    assert!(text.contains("not supported") && text.contains("~nf4") && text.contains("~ estimated"), "{text}");
    let rows = ok(&desk, &hub, &["hub", "datasets", "rows"]);
    assert_eq!((&rows["datasets"][0]["readable"], &rows["datasets"][0]["rows"]), (&json!(true), &json!("n<1K")));

    let offline = said(&desk.command(&["hub", "search", "x"]).env("HF_HUB_OFFLINE", "1").output().unwrap());
    assert!(offline.code == 1 && offline.err.contains("HF_HUB_OFFLINE"), "{}", offline.err);
    let nobody = said(&desk.command(&["hub", "search", "x"]).env("HF_ENDPOINT", "http://127.0.0.1:9").output().unwrap());
    assert!(nobody.code == 1 && nobody.err.contains("cannot be reached") && nobody.err.contains("HF_ENDPOINT"), "{}", nobody.err);
}

/// Whether an address in the store is that of the weights.
fn weights(desk: &Desk, path: &str) -> bool {
    path.contains(&crate::fake_hub::etag(&std::fs::read(desk.path().join("model/model.safetensors")).unwrap()))
}

#[test]
fn what_was_downloaded_is_listed_and_leaves_when_no_run_stands_on_it() {
    let desk = Desk::new();
    let hub = hub(&desk);
    let done = ok(&desk, &hub, &["hub", "download", "people/tiny"]);
    let folder = PathBuf::from(done["path"].as_str().unwrap());
    assert_eq!((done["commit"].as_str(), &done["bytes"]), (Some(COMMIT), &done["fetched_bytes"]));
    assert_eq!(ok(&desk, &hub, &["hub", "download", "people/tiny"])["fetched_bytes"], 0);
    let gated = run(&desk, &hub, &["hub", "download", "people/gated"]);
    assert!(gated.code == 1 && gated.err.contains("gated") && gated.err.contains("HF_TOKEN"), "{}", gated.err);
    let list = ok(&desk, &hub, &["hub", "list"]);
    assert_eq!((&list["repos"][0]["id"], &list["bytes"]), (&json!("people/tiny"), &done["bytes"]));
    assert_eq!(list["repos"][0]["revisions"][0]["refs"], json!(["main"]));

    // A run that stands on it keeps it.
    desk.write("p/train.jsonl", &"{\"instruction\": \"a\", \"output\": \"b\"}\n".repeat(4));
    let train = ["train", "--model", "people/tiny", "--data", "p/train.jsonl", "--set", "training.stage1.iterations=1"];
    let trained = run(&desk, &hub, &[&train[..], &["--set", "training.max_seq_length=32", "--output-dir", "p/runs", "--quiet"]].concat());
    assert_eq!(trained.code, 0, "{}{}", trained.out, trained.err);
    let nothing = run(&desk, &hub, &["hub", "prune"]);
    assert!(nothing.code == 2 && nothing.err.contains("--unused-days"), "{}", nothing.err);
    assert_eq!(run(&desk, &hub, &["hub", "prune", "people/else"]).code, 1);
    for kept in [ok(&desk, &hub, &["hub", "prune", "people/tiny"]), ok(&desk, &hub, &["hub", "prune", "people/tiny", "--yes"])] {
        let removal = &kept["removals"][0];
        assert!(removal["kept"] == true && removal["used_by"][0].as_str().unwrap().contains("p/"), "{kept}");
        assert!(kept["bytes"] == 0 && folder.join("model.safetensors").is_file());
    }
    let misspelt = run(&desk, &hub, &["hub", "prune", "people/tiny", "--project", "pp", "--yes"]);
    assert!(misspelt.code == 1 && misspelt.err.contains("pp") && folder.join("model.safetensors").is_file(), "{}", misspelt.err);
    for id in ["people/tiny?x=1", "a b/c", "a/..", "people/tiny#x", "../x/y"] {
        let said = run(&desk, &hub, &["hub", "download", id]);
        assert!(said.code != 0 && !said.err.contains("config.json"), "{id}: {}", said.err);
    }
    let dry = ok(&desk, &hub, &["hub", "prune", "people/tiny", "--even-if-used"]);
    assert!(dry["deleted"] == false && dry["bytes"] == done["bytes"] && folder.is_dir(), "{dry}");
    assert_eq!(ok(&desk, &hub, &["hub", "prune", "--unused-days", "1"])["removals"], json!([]), "it was used just now");
    // Half of a download.
    let half = folder.ancestors().nth(2).unwrap().join("blobs/0000.incomplete");
    std::fs::write(&half, [0; 1000]).unwrap();
    assert_eq!(ok(&desk, &hub, &["hub", "prune", "--incomplete", "--yes"])["bytes"], 1000);
    assert!(!half.exists() && folder.is_dir());
    let text = run(&desk, &hub, &["hub", "prune", "people/tiny", "--even-if-used", "--yes"]).out;
    assert!(text.contains("deleted") && text.contains("used by") && !folder.exists(), "{text}");
    assert_eq!(ok(&desk, &hub, &["hub", "list"])["repos"], json!([]));
}

#[test]
fn over_mcp_the_same() {
    let desk = Desk::new();
    let hub = hub(&desk);
    let mut client = Client::start_with(&desk, &["--toolsets", "core,data"], &[("HF_ENDPOINT", &hub.address)]);
    let found = client.call("search_models", json!({"search_query": "people", "limit": 2, "sort": "downloads"}));
    assert_eq!((&found["models"][0]["id"], &found["models"][1]["basis"]), (&json!("people/gated"), &json!("config")), "{found}");
    assert_eq!(client.call("search_datasets", json!({"search_query": "rows"}))["datasets"][0]["licence"], "mit");
    // Described from its small files; then here.
    let info = client.call("get_model_info", json!({"model_name": "people/tiny"}));
    assert_eq!((&info["weights_here"], &info["layers"]), (&json!(false), &json!(2)));
    assert_eq!(client.call("list_supported_models", json!({}))["cached"], json!([]));
    let refused = client.try_call("download_model", json!({"model_name": "people/gated"})).unwrap_err();
    assert!(refused["code"] == "hub_unavailable" && refused.to_string().contains("gated"), "{refused}");
    assert!(client.try_call("download_model", json!({"model_name": "model"})).unwrap_err().to_string().contains("owner/name"));
    let done = client.call("download_model", json!({"model_name": "people/tiny"}));
    assert!(done["success"] == true && done["fetched_bytes"].as_u64() > Some(0), "{done}");
    assert_eq!(client.call("list_supported_models", json!({}))["cached"], json!(["people/tiny"]));
    assert_eq!(client.call("get_model_info", json!({"model_name": "people/tiny"}))["weights_here"], true);
    assert!(client.close());
    let mut offline = Client::start_with(&desk, &["--toolsets", "all"], &[("HF_HUB_OFFLINE", "1")]);
    let refused = offline.try_call("search_models", json!({})).unwrap_err();
    assert!(refused["code"] == "hub_offline" && refused["hint"].as_str().is_some(), "{refused}");
    assert_eq!(offline.try_call("get_model_info", json!({"model_name": "a/b"})).unwrap_err()["code"], "model_not_cached");
    assert!(offline.close());
}
