//! Models into Ollama: a small server that takes them as Ollama's interface is described, and what it holds afterwards.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tallow::base::hash::sha256_bytes;

use crate::golden::Outcome;
use crate::program::Desk;

#[derive(Default)]
struct Shared {
    /// By digest.
    blobs: BTreeMap<String, Vec<u8>>,
    created: Vec<Value>,
    pushed: Vec<String>,
    /// Paths of requests that carried a body.
    sent: Vec<String>,
    /// Ends `create` with this error, after some lines.
    fails: Option<&'static str>,
    /// Ends it in the middle.
    breaks_off: bool,
}

struct Server {
    address: String,
    shared: Arc<Mutex<Shared>>,
}

impl Server {
    fn start() -> anyhow::Result<Self> {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let held = shared.clone();
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &held);
            }
        });
        Ok(Self { address, shared })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Shared) -> T) -> T {
        f(&mut self.shared.lock().unwrap())
    }
}

fn answer(stream: TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let mut reader = BufReader::new(&stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let (mut length, mut expects) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "expect" => expects = true,
            _ => {}
        }
    }
    if expects {
        (&stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, out) = respond(method, path, body, &mut shared.lock().unwrap());
    let out = if method == "HEAD" { String::new() } else { out };
    (&stream).write_all(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{out}", out.len()).as_bytes())
}

fn respond(method: &str, path: &str, body: Vec<u8>, s: &mut Shared) -> (&'static str, String) {
    let no = |text: &str| ("400 Bad Request", json!({"error": text}).to_string());
    if method == "POST" {
        s.sent.push(path.to_owned());
    }
    if let Some(digest) = path.strip_prefix("/api/blobs/") {
        return match method {
            "HEAD" if s.blobs.contains_key(digest) => ("200 OK", String::new()),
            "HEAD" => ("404 Not Found", String::new()),
            _ if digest != format!("sha256:{}", sha256_bytes(&body)) => no("digest mismatch"),
            _ => {
                s.blobs.insert(digest.to_owned(), body);
                ("201 Created", String::new())
            }
        };
    }
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    let lines = |all: &[Value]| ("200 OK", all.iter().map(|l| format!("{l}\n")).collect::<String>());
    match path {
        "/api/create" => {
            let files = ["files", "adapters"].into_iter().filter_map(|k| said[k].as_object()).flatten();
            if let Some((name, _)) = files.clone().find(|(_, digest)| !s.blobs.contains_key(digest.as_str().unwrap_or_default())) {
                return no(&format!("{name}: no such blob"));
            }
            if let Some(error) = s.fails {
                return lines(&[json!({"status": "parsing GGUF"}), json!({"error": error})]);
            }
            if s.breaks_off {
                return lines(&[json!({"status": "parsing GGUF"})]);
            }
            s.created.push(said);
            lines(&[json!({"status": "parsing GGUF"}), json!({"status": "writing manifest"}), json!({"status": "success"})])
        }
        "/api/push" => {
            s.pushed.push(said["model"].as_str().unwrap_or_default().to_owned());
            lines(&[json!({"status": "retrieving manifest"}), json!({"status": "success"})])
        }
        _ => ("404 Not Found", json!({"error": "not found"}).to_string()),
    }
}

fn upload(desk: &Desk, server: &str, args: &[&str]) -> (i32, String) {
    let done = desk.command(&[&["upload"], args, &["--json"]].concat()).env("OLLAMA_HOST", server).output().unwrap();
    (done.status.code().unwrap(), String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr))
}

#[test]
fn a_folder_becomes_a_model_in_ollama() -> Outcome {
    let (desk, server) = (Desk::new(), Server::start()?);
    desk.project(2, "");
    desk.ok(&["train", "project"]);
    let export = |format: &str| {
        desk.ok(&["export", "--run", "latest", "--project", "project", "--format", format, "--type", "q8_0", "--out", format])
    };
    export("ollama");
    export("ollama-adapter");
    let (code, said) = upload(&desk, &server.address, &["ollama", "ollama:me/small:v1", "--push"]);
    assert_eq!(code, 0, "{said}");
    let report: Value = serde_json::from_str(&said)?;
    let file = std::fs::read(desk.path().join("ollama/model.gguf"))?;
    assert_eq!(
        (&report["model"], &report["pushed"], report["sent_bytes"].as_u64()),
        (&json!("me/small:v1"), &json!(true), Some(file.len() as u64))
    );
    let (created, pushed) = server.with(|s| (s.created.clone(), s.pushed.clone()));
    assert_eq!((created.len(), pushed), (1, vec!["me/small:v1".to_owned()]));
    let digest = created[0]["files"]["model.gguf"].as_str().unwrap().to_owned();
    assert_eq!(server.with(|s| s.blobs[&digest].clone()), file);
    // What the Modelfile says, as `ollama create -f` would send it.
    let modelfile = std::fs::read_to_string(desk.path().join("ollama/Modelfile"))?;
    let template = created[0]["template"].as_str().unwrap();
    assert!(modelfile.contains(&format!("TEMPLATE \"\"\"{template}\"\"\"\n")) && template.contains("<|im_start|>"), "{template}");
    assert!(created[0]["parameters"]["stop"].as_array().unwrap().contains(&json!("<|im_end|>")), "{}", created[0]);
    assert!(modelfile.contains(&format!("PARAMETER num_ctx {}\n", created[0]["parameters"]["num_ctx"])), "{modelfile}");

    // What is there already is not sent again, and an adapter goes beside its base.
    server.with(|s| s.sent.clear());
    assert_eq!(upload(&desk, &server.address, &["ollama", "ollama:again"]).0, 0);
    assert_eq!(server.with(|s| s.sent.clone()), ["/api/create"]);
    assert_eq!(upload(&desk, &server.address, &["ollama-adapter", "ollama:apart"]).0, 0);
    let last = server.with(|s| s.created.last().cloned()).unwrap();
    let adapter = last["adapters"]["adapter.gguf"].as_str().unwrap().to_owned();
    assert_eq!(server.with(|s| s.blobs[&adapter].clone()), std::fs::read(desk.path().join("ollama-adapter/adapter.gguf"))?);
    assert_eq!(server.with(|s| s.pushed.len()), 1, "pushed without being asked");
    Ok(())
}

#[test]
fn what_ollama_refuses_is_told() -> Outcome {
    let (desk, server) = (Desk::new(), Server::start()?);
    desk.ok(&["bench", "random-model", "tiny", "--out", "model", "--tokenizer", "embedded"]);
    desk.ok(&["export", "--model", "model", "--format", "ollama", "--type", "q8_0", "--out", "served"]);
    server.with(|s| s.fails = Some("unsupported architecture"));
    let (code, said) = upload(&desk, &server.address, &["served", "ollama:small"]);
    assert!(code == 1 && said.contains("unsupported architecture") && said.contains("/api/create"), "{said}");
    server.with(|s| (s.fails, s.breaks_off) = (None, true));
    let (code, said) = upload(&desk, &server.address, &["served", "ollama:small"]);
    assert!(code == 1 && said.contains("without success") && said.contains("parsing GGUF"), "{said}");
    server.with(|s| s.breaks_off = false);
    for (args, says) in [
        (["served", "ollama:"].as_slice(), "no name"),
        (&["served", "ollama:a b"], "no name"),
        (&["served", "ollama:small", "--push"], "no owner"),
        (&["served", "me/small", "--push"], "ollama:OWNER/NAME"),
        (&["model", "ollama:small"], "exported with the format ollama"),
    ] {
        let (code, said) = upload(&desk, &server.address, args);
        assert!(code != 0 && said.contains(says), "{args:?}: {said}");
    }
    let (code, said) = upload(&desk, "127.0.0.1:9", &["served", "ollama:small"]);
    assert!(code == 1 && said.contains("127.0.0.1:9") && said.contains("OLLAMA_HOST"), "{said}");
    assert_eq!(upload(&desk, "ftp://here", &["served", "ollama:small"]).0, 2);
    assert!(server.with(|s| s.created.is_empty() && s.pushed.is_empty()));
    Ok(())
}
