//! What is fuzzed: each target reads one kind of foreign file by the way that a use case takes.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use tallow::app::{data, load};
use tallow::config;
use tallow::data::DataOptions;

use crate::mcp_client::Client;
use crate::program::Desk;

/// A kind of file.
pub struct Target {
    pub name: &'static str,
    /// The folder that is copied, relative to the seeds; one file of it is mutated.
    folder: &'static str,
    /// The file that is mutated; its other valid forms are `seeds/NAME-*`.
    file: &'static str,
    read: fn(&Path, &Path),
}

/// All of them.
pub const TARGETS: [Target; 14] = [
    Target { name: "safetensors", folder: "model", file: "model.safetensors", read: load_model },
    Target { name: "model-config", folder: "model", file: "config.json", read: load_model },
    Target { name: "gguf", folder: "gguf", file: "model.gguf", read: load_file },
    Target { name: "tokenizer", folder: "model", file: "tokenizer.json", read: load_model },
    Target { name: "tokenizer-config", folder: "model", file: "tokenizer_config.json", read: render },
    Target { name: "template", folder: "model", file: "chat_template.jinja", read: render },
    Target { name: "adapter-config", folder: "adapter", file: "adapter_config.json", read: load_adapter },
    Target { name: "adapter", folder: "adapter", file: "adapter_model.safetensors", read: load_adapter },
    Target { name: "jsonl", folder: "data", file: "rows.jsonl", read: check_data },
    Target { name: "csv", folder: "data", file: "rows.csv", read: check_data },
    Target { name: "parquet", folder: "data", file: "rows.parquet", read: check_data },
    Target { name: "yaml", folder: "yaml", file: "fine_tuning_config.yaml", read: read_yaml },
    Target { name: "checkpoint", folder: "checkpoint", file: "state.json", read: read_checkpoint },
    Target { name: "mcp", folder: "mcp", file: "message.json", read: ask_server },
];

/// The target of this name.
pub fn named(name: &str) -> &'static Target {
    TARGETS.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no target {name}"))
}

impl Target {
    /// Valid inputs to mutate.
    pub fn seeds(&self, corpus: &Path) -> Vec<Vec<u8>> {
        let mut seeds = vec![std::fs::read(corpus.join(self.folder).join(self.file)).unwrap()];
        let more = std::fs::read_dir(corpus.join("more").join(self.name)).into_iter().flatten().flatten();
        let mut more: Vec<PathBuf> = more.map(|e| e.path()).collect();
        more.sort();
        seeds.extend(more.iter().map(|p| std::fs::read(p).unwrap()));
        seeds
    }

    /// Reads one input. `scratch` holds a copy of the target's folder.
    pub fn read(&self, corpus: &Path, scratch: &Path, input: &[u8]) {
        let folder = scratch.join(self.folder);
        if !folder.exists() {
            copy_folder(&corpus.join(self.folder), &folder);
        }
        std::fs::write(folder.join(self.file), input).unwrap();
        (self.read)(corpus, &folder.join(self.file));
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &to.join(entry.file_name())),
            false => std::fs::write(to.join(entry.file_name()), std::fs::read(entry.path()).unwrap()).unwrap(),
        }
    }
}

fn load_model(_: &Path, file: &Path) {
    load_file(Path::new(""), file.parent().unwrap());
}

fn load_file(_: &Path, file: &Path) {
    if let Ok(loaded) = load::load(&load::ModelRequest::named(file.to_str().unwrap())) {
        let ids = loaded.tokenizer.encode("The quick brown fox\n says 1234 \u{1f98a}.", true);
        let ids: Vec<u32> = ids.into_iter().flatten().take(16).collect();
        let _ = loaded.tokenizer.decode(&ids, false);
        if !ids.is_empty() {
            let _ = loaded.decoder.logits(&ids, &[0, ids.len() as u32]);
        }
    }
}

fn render(corpus: &Path, file: &Path) {
    check(&corpus.join("data/chat.jsonl"), file.parent().unwrap().to_str().unwrap());
}

fn load_adapter(corpus: &Path, file: &Path) {
    let mut request = load::ModelRequest::named(corpus.join("model").to_str().unwrap());
    request.adapter = file.parent().map(Path::to_path_buf);
    if let Ok(loaded) = load::load(&request) {
        let _ = loaded.decoder.logits(&[1, 2, 3], &[0, 3]);
    }
}

fn check_data(corpus: &Path, file: &Path) {
    check(file, corpus.join("model").to_str().unwrap());
}

fn check(file: &Path, model: &str) {
    let options = DataOptions { max_seq_length: 256, ..DataOptions::default() };
    let _ =
        data::run(&data::DataRequest { file: file.into(), model: model.to_owned(), options, chat_template: None, show: 1, profile: true });
}

fn read_yaml(_: &Path, file: &Path) {
    let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
    let sources = config::Sources { file: Some((file.into(), text)), ..config::Sources::default() };
    let _ = config::resolve(&sources);
}

fn read_checkpoint(_: &Path, file: &Path) {
    let _ = tallow::train::checkpoint::latest(file.parent().unwrap().parent().unwrap());
}

/// A server that lives as long as the inputs of one child, with the folder that it serves.
static SERVER: Mutex<Option<(Desk, Client)>> = Mutex::new(None);

/// Sends one message; the server then answers the next ping, and has not grown.
fn ask_server(_: &Path, file: &Path) {
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, client) = server.get_or_insert_with(|| {
        let desk = Desk::new();
        let client = Client::start(&desk, &["--toolsets", "all"]);
        (desk, client)
    });
    let message = std::fs::read(file).unwrap();
    let is_up = client.send_bytes(&message) && {
        let answer = client.request("ping", Value::Null);
        // A message may agree on a version of the protocol that has no ping.
        answer["result"].is_object() || answer["error"]["code"] == -32601
    };
    let garbage = std::mem::take(&mut client.garbage);
    client.forget();
    let resident = super::drive::resident_bytes(client.child.id());
    if !is_up || !garbage.is_empty() || resident > super::LIMITS.bytes {
        *server = None;
        panic!("up {is_up}, {} MiB resident, no messages: {garbage:?}", resident >> 20);
    }
}

/// Messages of every method, as clients send them.
fn write_messages(desk: &Desk) {
    let call = |tool: &str, arguments: Value| ("tools/call", json!({"name": tool, "arguments": arguments}));
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "fuzz", "version": "1"}});
    let messages = [
        ("initialize", hello),
        ("ping", json!({})),
        ("tools/list", json!({"cursor": "x"})),
        ("prompts/list", json!({})),
        ("prompts/get", json!({"name": "debug_training", "arguments": {"run_id": "20260101-000000-x"}})),
        ("resources/list", json!({})),
        ("resources/read", json!({"uri": "tallow://runs/20260101-000000-x/metrics"})),
        ("resources/subscribe", json!({"uri": "tallow://runs/20260101-000000-x/log"})),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "debug_training"}, "argument": {"name": "run_id", "value": "2"}}),
        ),
        ("logging/setLevel", json!({"level": "debug"})),
        call("list_projects", json!({})),
        call("describe_config", json!({"key": "lora"})),
        call("list_supported_models", json!({})),
        call("list_runs", json!({"project_path": "project"})),
        call("monitor_training_progress", json!({"project_path": "project", "run_id": "20260101-000000-x"})),
    ];
    for (id, (method, params)) in messages.into_iter().enumerate() {
        // Ids beyond those that the client itself gives.
        let message = json!({"jsonrpc": "2.0", "id": (1u64 << 40) + id as u64, "method": method, "params": params});
        desk.write(&format!("corpus/more/mcp/{id}"), &message.to_string());
    }
    desk.write("corpus/mcp/message.json", r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7,"reason":"x"}}"#);
}

/// Writes valid files of every kind, made by the program itself.
pub fn write_corpus(desk: &Desk) -> PathBuf {
    desk.project(8, "");
    desk.ok(&["train", "project", "--quiet"]);
    let run = desk.only_run();
    let corpus = desk.path().join("corpus");
    copy_folder(&desk.path().join("model"), &corpus.join("model"));
    copy_folder(&run.join("final-model"), &corpus.join("adapter"));
    let checkpoints = std::fs::read_dir(run.join("stage1/checkpoints")).unwrap().flatten();
    let newest = checkpoints.map(|e| e.path()).filter(|p| p.is_dir()).max().unwrap();
    copy_folder(&newest, &corpus.join("checkpoint"));
    std::fs::create_dir_all(corpus.join("gguf")).unwrap();
    let model = corpus.join("model");
    let gguf = ["export", "--model", model.to_str().unwrap(), "--format", "gguf", "--type", "q8_0", "--out"];
    desk.ok(&[&gguf[..], &["corpus/gguf/model.gguf"]].concat());
    let config = std::fs::read_to_string(desk.path().join("project/config/fine_tuning_config.yaml")).unwrap();
    desk.write("corpus/yaml/fine_tuning_config.yaml", &config);
    write_templates(desk, &model);
    write_rows(desk);
    write_messages(desk);
    super::findings::write(desk, &corpus);
    corpus
}

fn write_templates(desk: &Desk, model: &Path) {
    for (i, template) in crate::data::templates::ALL.iter().enumerate() {
        desk.write(&format!("corpus/more/template/{i}"), template);
    }
    let own = model.join("chat_template.jinja");
    if !own.exists() {
        std::fs::write(own, crate::data::templates::ALL[0]).unwrap();
    }
    if !model.join("tokenizer_config.json").exists() {
        std::fs::write(model.join("tokenizer_config.json"), r#"{"eos_token": "<|im_end|>"}"#).unwrap();
    }
}

fn write_rows(desk: &Desk) {
    let chat = concat!(
        r#"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"},"#,
        r#"{"role":"assistant","content":"Hello","reasoning_content":"greet"}],"score":0.5}"#,
        "\n",
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"Add 1 and 2"}]},{"role":"assistant","#,
        r#""content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"add","arguments":"#,
        r#""{\"a\": 1, \"b\": 2}"}}]},{"role":"tool","tool_call_id":"1","content":"3"},{"role":"assistant","#,
        r#""content":"3"}],"tools":[{"type":"function","function":{"name":"add","parameters":{"type":"object"}}}]}"#,
        "\n",
    );
    desk.write("corpus/data/chat.jsonl", chat);
    desk.write("corpus/data/rows.jsonl", chat);
    let rows = [
        ("jsonl/alpaca", "{\"instruction\":\"a\",\"input\":\"b\",\"output\":\"c\"}\n{\"instruction\":\"d\",\"output\":\"e\"}\n"),
        ("jsonl/sharegpt", "{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"gpt\",\"value\":\"b\"}]}\n"),
        ("jsonl/text", "{\"text\":\"some text\"}\n{\"prompt\":\"a\",\"completion\":\"b\"}\n"),
        ("jsonl/array", "[{\"prompt\":\"a\",\"completion\":\"b\"},\n{\"prompt\":\"c\",\"completion\":\"d\"}]"),
        ("csv/quoted", "instruction,output\n\"a \"\"b\"\"\nc\",d\n\"\",e\n"),
    ];
    for (name, text) in rows {
        desk.write(&format!("corpus/more/{name}"), text);
    }
    desk.write("corpus/data/rows.csv", "prompt,completion,score\na,b,1\n\"c\nd\",e,0.5\nf,g,\n");
    crate::data::sources::write_parquet(&desk.path().join("corpus/data/rows.parquet"));
}
