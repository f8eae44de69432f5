//! Uploads to a Hub on this machine: a small server that takes them as the Hub does, and what it holds afterwards.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tallow::base::error::Fault;
use tallow::base::hash::sha256_bytes;
use tallow::export::upload::{Content, Upload, UploadFile, Uploaded, upload};
use tallow::model::hub::HubOptions;

use crate::golden::Outcome;
use crate::program::Desk;

const TOKEN: &str = "hf_secret_of_the_test";
/// Bytes of a part.
const CHUNK: usize = 1000;

/// A request as it came.
#[derive(Clone)]
struct Seen {
    method: String,
    path: String,
    authorization: Option<String>,
}

#[derive(Default)]
struct Shared {
    /// Repositories, and whether they are private.
    repos: BTreeMap<String, bool>,
    /// The store of large files, by hash.
    store: BTreeMap<String, Vec<u8>>,
    /// Parts by their path.
    parts: BTreeMap<String, Vec<u8>>,
    /// Committed files: content, or the hash of what is in the store.
    committed: BTreeMap<String, Vec<u8>>,
    commits: usize,
    seen: Vec<Seen>,
    /// Where the bytes go: another host.
    store_address: String,
    /// The first request into the store fails.
    stumbles: bool,
    /// Answers the commit with a redirect to here.
    redirect: Option<String>,
    /// Refuses every token.
    forbids: bool,
}

struct Server {
    address: String,
    shared: Arc<Mutex<Shared>>,
}

impl Server {
    /// The Hub at one port, its store at another.
    fn start() -> anyhow::Result<Self> {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let serve = |shared: Arc<Mutex<Shared>>| -> anyhow::Result<String> {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = format!("http://{}", listener.local_addr()?);
            // Ends with the process.
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let _ = answer(stream, &shared);
                }
            });
            Ok(address)
        };
        let store = serve(shared.clone())?;
        shared.lock().unwrap().store_address = store;
        Ok(Self { address: serve(shared.clone())?, shared })
    }

    fn options(&self) -> HubOptions {
        HubOptions { endpoint: Some(self.address.clone()), cache_dir: None, token: Some(TOKEN.into()), ..HubOptions::default() }
    }

    fn set(&self, change: impl FnOnce(&mut Shared)) {
        change(&mut self.shared.lock().unwrap());
    }

    fn look<T>(&self, at: impl FnOnce(&Shared) -> T) -> T {
        at(&self.shared.lock().unwrap())
    }
}

fn answer(stream: TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let mut reader = BufReader::new(&stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    if headers.contains_key("expect") {
        (&stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = vec![0; headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut shared = shared.lock().unwrap();
    let authorization = headers.get("authorization").cloned();
    shared.seen.push(Seen { method: method.clone(), path: path.clone(), authorization: authorization.clone() });
    let (status, extra, out) = respond(&method, &path, authorization.as_deref(), &body, &mut shared);
    drop(shared);
    (&stream).write_all(format!("HTTP/1.1 {status}\r\n{extra}content-length: {}\r\nconnection: close\r\n\r\n", out.len()).as_bytes())?;
    (&stream).write_all(out.as_bytes())
}

fn respond(method: &str, path: &str, token: Option<&str>, body: &[u8], s: &mut Shared) -> (&'static str, String, String) {
    let ok = |v: Value| ("200 OK", "content-type: application/json\r\n".to_owned(), v.to_string());
    let no = |status| (status, String::new(), json!({"error": "refused by the test"}).to_string());
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    if method == "PUT" {
        if std::mem::take(&mut s.stumbles) {
            return no("500 Internal Server Error");
        }
        match path.strip_prefix("/whole/") {
            Some(oid) if sha256_bytes(body) == oid => drop(s.store.insert(oid.to_owned(), body.to_vec())),
            Some(_) => return no("400 Bad Request"),
            None => drop(s.parts.insert(path.to_owned(), body.to_vec())),
        }
        return ("200 OK", format!("etag: \"tag-of{path}\"\r\n"), String::new());
    }
    if s.forbids || token != Some(&format!("Bearer {TOKEN}")) {
        return no("401 Unauthorized");
    }
    if path == "/api/repos/create" {
        let name = format!("{}/{}", said["organization"].as_str().unwrap(), said["name"].as_str().unwrap());
        if s.repos.contains_key(&name) {
            return no("409 Conflict");
        }
        let private = said["visibility"] == "private";
        if said["private"] != private {
            return no("400 Bad Request");
        }
        s.repos.insert(name, private);
        return ok(json!({"url": "there"}));
    }
    if let Some(oid) = path.strip_prefix("/complete/") {
        let parts: Vec<String> = said["parts"].as_array().unwrap().iter().map(|p| p["etag"].as_str().unwrap().to_owned()).collect();
        let whole: Vec<u8> = parts.iter().flat_map(|t| s.parts[t.trim_matches('"').trim_start_matches("tag-of")].clone()).collect();
        assert_eq!(sha256_bytes(&whole), oid);
        s.store.insert(oid.to_owned(), whole);
        return ok(Value::Null);
    }
    if path == "/verify" {
        return if s.store.contains_key(said["oid"].as_str().unwrap()) { ok(Value::Null) } else { no("404 Not Found") };
    }
    let (repo, what) = match path.strip_prefix("/api/models/") {
        Some(rest) => {
            let mut parts = rest.splitn(3, '/');
            let repo = format!("{}/{}", parts.next().unwrap_or(""), parts.next().unwrap_or(""));
            (repo, parts.next().unwrap_or("").to_owned())
        }
        None => match path.strip_suffix(".git/info/lfs/objects/batch") {
            Some(repo) => (repo.trim_start_matches('/').to_owned(), "batch".to_owned()),
            None => return no("404 Not Found"),
        },
    };
    let Some(private) = s.repos.get(&repo).copied() else { return no("404 Not Found") };
    match what.as_str() {
        "" => ok(json!({"id": repo, "private": private})),
        "preupload/main" => ok(json!({"files": said["files"].as_array().unwrap().iter().map(|f| {
            let large = f["path"].as_str().unwrap().ends_with(".safetensors") || f["path"].as_str().unwrap().ends_with(".gguf");
            json!({"path": f["path"], "uploadMode": if large { "lfs" } else { "regular" }, "shouldIgnore": f["path"] == "ignored.txt"})
        }).collect::<Vec<_>>()})),
        "batch" => {
            assert_eq!(said["hash_algo"], "sha256");
            let object = |o: &Value| batch_object(o, s);
            ok(json!({"transfer": "basic", "objects": said["objects"].as_array().unwrap().iter().map(object).collect::<Vec<_>>()}))
        }
        "commit/main" => {
            if let Some(to) = &s.redirect {
                return ("307 Temporary Redirect", format!("location: {to}/elsewhere?signature=x\r\n"), String::new());
            }
            commit(std::str::from_utf8(body).unwrap(), s);
            ok(json!({"success": true, "commitOid": "c0ffee", "commitUrl": "there"}))
        }
        _ => no("404 Not Found"),
    }
}

/// Small files go whole, larger ones in parts; what is there needs nothing.
fn batch_object(o: &Value, s: &Shared) -> Value {
    let (oid, size) = (o["oid"].as_str().unwrap(), o["size"].as_u64().unwrap() as usize);
    if s.store.contains_key(oid) {
        return json!({"oid": oid, "size": size});
    }
    let store = &s.store_address;
    let upload = if size <= 2 * CHUNK {
        json!({"href": format!("{store}/whole/{oid}"), "header": {"x-of-the-store": "1"}})
    } else {
        let mut header = json!({"chunk_size": CHUNK.to_string()});
        (1..=size.div_ceil(CHUNK)).for_each(|i| header[format!("{i:05}")] = json!(format!("{store}/part-{oid}-{i}")));
        json!({"href": format!("{}/complete/{oid}", hub_of(s)), "header": header})
    };
    json!({"oid": oid, "size": size, "actions": {"upload": upload, "verify": {"href": format!("{}/verify", hub_of(s))}}})
}

/// The Hub's own address, which tests put among the repositories' names.
fn hub_of(s: &Shared) -> String {
    s.repos.keys().find_map(|k| k.strip_prefix("hub at ")).unwrap_or_default().to_owned()
}

fn commit(body: &str, s: &mut Shared) {
    use base64_of_the_test::decode;
    for line in body.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let v = &line["value"];
        let path = v["path"].as_str().unwrap_or_default().to_owned();
        match line["key"].as_str().unwrap() {
            "header" => assert!(!v["summary"].as_str().unwrap().is_empty()),
            "file" => drop(s.committed.insert(path, decode(v["content"].as_str().unwrap()))),
            "lfsFile" => drop(s.committed.insert(path, s.store[v["oid"].as_str().unwrap()].clone())),
            other => panic!("{other}"),
        }
    }
    s.commits += 1;
}

/// Base64 of its own, so that the encoder is not checked by itself.
mod base64_of_the_test {
    pub fn decode(text: &str) -> Vec<u8> {
        let value = |c: u8| match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        let mut out = Vec::new();
        for four in text.as_bytes().chunks(4) {
            let n = four.iter().filter(|c| **c != b'=').count();
            let bits = four.iter().fold(0u32, |b, c| b << 6 | if *c == b'=' { 0 } else { u32::from(value(*c)) });
            out.extend_from_slice(&bits.to_be_bytes()[1..n]);
        }
        out
    }
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 31 % 251) as u8).collect()
}

fn send(server: &Server, repo: &str, private: bool) -> Result<Uploaded, Fault> {
    let file = |path: &str, content: Vec<u8>| UploadFile { path: path.into(), content: Content::Bytes(content) };
    let files = vec![
        file("config.json", b"{\"a\": 1}".to_vec()),
        file("empty.safetensors", Vec::new()),
        file("ignored.txt", b"x".to_vec()),
        file("model.safetensors", bytes(3 * CHUNK + 7)),
        file("small.safetensors", bytes(100)),
        file("sub/tokenizer.json", bytes(70)),
    ];
    upload(&server.options(), &Upload { repo: repo.into(), private, message: "A model".into(), files }, &mut |_, _, _| {})
}

fn started() -> anyhow::Result<Server> {
    let server = Server::start()?;
    let name = format!("hub at {}", server.address);
    server.set(|s| {
        s.repos.insert(name, true);
    });
    Ok(server)
}

#[test]
fn everything_arrives_in_one_private_commit() -> Outcome {
    let server = started()?;
    server.set(|s| s.stumbles = true);
    let done = send(&server, "me/model", true).map_err(|f| anyhow::anyhow!("{f:?}"))?;
    assert_eq!((done.files, done.private, done.commit.as_str()), (5, true, "c0ffee"));
    assert_eq!(done.url, format!("{}/me/model", server.address));
    assert_eq!(done.sent_bytes, (3 * CHUNK + 107) as u64);
    server.look(|s| {
        assert_eq!((s.repos["me/model"], s.commits), (true, 1));
        assert_eq!(s.committed["model.safetensors"], bytes(3 * CHUNK + 7));
        assert_eq!(s.committed["small.safetensors"], bytes(100));
        assert_eq!(s.committed["sub/tokenizer.json"], bytes(70));
        assert_eq!(s.committed["config.json"], b"{\"a\": 1}");
        assert!(s.committed["empty.safetensors"].is_empty() && !s.committed.contains_key("ignored.txt"));
        let puts: Vec<&Seen> = s.seen.iter().filter(|r| r.method == "PUT").collect();
        assert_eq!(puts.len(), 6, "four parts, one small file, one that stumbled");
        assert!(puts.iter().all(|r| r.authorization.is_none()), "the store must not see the token");
    });
    // Again: the repository is there, and the store has the bytes.
    let again = send(&server, "me/model", true).map_err(|f| anyhow::anyhow!("{f:?}"))?;
    assert_eq!(again.sent_bytes, 0);
    Ok(())
}

#[test]
fn what_was_meant_to_be_private_never_reaches_a_public_repository() -> Outcome {
    let server = started()?;
    server.set(|s| {
        s.repos.insert("me/open".into(), false);
    });
    let fault = send(&server, "me/open", true).unwrap_err();
    assert!(fault.message.contains("public") && fault.hint.unwrap().contains("--public"));
    server.look(|s| assert!(s.seen.iter().all(|r| !r.path.contains("preupload") && r.method != "PUT") && s.commits == 0));
    assert!(!send(&server, "me/open", false).map_err(|f| anyhow::anyhow!("{f:?}"))?.private);
    Ok(())
}

#[test]
fn a_redirect_gets_neither_token_nor_commit() -> Outcome {
    let (server, other) = (started()?, Server::start()?);
    server.set(|s| s.redirect = Some(other.address.clone()));
    let fault = send(&server, "me/model", true).unwrap_err();
    assert!(fault.message.contains("redirects to") && !fault.message.contains("signature"), "{}", fault.message);
    assert!(other.look(|s| s.seen.is_empty()), "the other host was asked");
    Ok(())
}

#[test]
fn refusals_say_what_to_do_and_never_tell_the_token() -> Outcome {
    let server = started()?;
    server.set(|s| s.forbids = true);
    let fault = send(&server, "me/model", true).unwrap_err();
    assert!(fault.message.contains("401") && fault.hint.as_ref().unwrap().contains("HF_TOKEN"), "{fault:?}");
    assert!(!format!("{fault:?}").contains(TOKEN));
    let none = HubOptions { token: None, ..server.options() };
    let what = Upload { repo: "me/model".into(), private: true, message: "x".into(), files: Vec::new() };
    let seen = server.look(|s| s.seen.len());
    assert!(upload(&none, &what, &mut |_, _, _| {}).unwrap_err().hint.unwrap().contains("HF_TOKEN"));
    let offline = HubOptions { offline: true, ..server.options() };
    assert!(upload(&offline, &what, &mut |_, _, _| {}).unwrap_err().message.contains("HF_HUB_OFFLINE"));
    for name in ["model", "me/..", "../x", "me/a b", "/x", "a/b/c"] {
        let bad = Upload { repo: name.into(), ..what.clone() };
        assert_eq!(upload(&server.options(), &bad, &mut |_, _, _| {}).unwrap_err().code, "usage", "{name}");
    }
    assert_eq!(server.look(|s| s.seen.len()), seen, "nobody was asked");
    let nobody = HubOptions { endpoint: Some("http://127.0.0.1:9".into()), ..server.options() };
    assert_eq!(upload(&nobody, &what, &mut |_, _, _| {}).unwrap_err().code, "hub_upload");
    Ok(())
}

#[test]
fn an_export_is_uploaded_only_when_it_is_asked_for() -> Outcome {
    let (server, desk) = (started()?, Desk::new());
    desk.ok(&["bench", "random-model", "tiny", "--out", "model", "--tokenizer", "embedded"]);
    let run = |args: &[&str], token: &str| {
        let mut command = desk.command(args);
        crate::program::said(&command.env("HF_ENDPOINT", &server.address).env("HF_TOKEN", token).output().unwrap())
    };
    let export = ["export", "--model", "model", "--format", "gguf", "--out"];
    let plain = run(&[&export[..], &["a.gguf"]].concat(), TOKEN);
    assert_eq!(plain.code, 0, "{}", plain.err);
    assert!(server.look(|s| s.seen.is_empty()), "nothing was to be uploaded");
    let without = run(&[&export[..], &["b.gguf", "--upload", "me/gguf"]].concat(), "");
    assert!(without.code == 1 && without.err.contains("HF_TOKEN"), "{}", without.err);
    assert!(!desk.path().join("b.gguf").exists(), "refused before the work");

    let said = run(&[&export[..], &["b.gguf", "--upload", "me/gguf", "--json"]].concat(), TOKEN);
    assert_eq!(said.code, 0, "{}", said.err);
    let report: Value = serde_json::from_str(&said.out)?;
    assert_eq!(report["uploaded"]["private"], true);
    assert!(!said.out.contains(TOKEN) && !said.err.contains(TOKEN));
    server.look(|s| {
        assert_eq!(s.committed["b.gguf"], std::fs::read(desk.path().join("b.gguf")).unwrap());
        let card = String::from_utf8(s.committed["README.md"].clone()).unwrap();
        assert!(card.contains("library_name: gguf") && card.contains("## Proof"), "{card}");
    });

    server.set(|s| s.forbids = true);
    let failed = run(&[&export[..], &["c.gguf", "--upload", "me/gguf"]].concat(), TOKEN);
    assert!(failed.code == 1 && failed.err.contains("is exported and proved") && failed.err.contains("tallow upload"), "{}", failed.err);
    assert!(desk.path().join("c.gguf").exists());
    server.set(|s| s.forbids = false);
    let later = run(&["upload", "c.gguf", "me/gguf"], TOKEN);
    assert!(later.code == 0 && later.out.contains("private"), "{}{}", later.out, later.err);
    Ok(())
}

#[test]
fn a_run_uploads_what_its_settings_ask_for() -> Outcome {
    let (server, desk) = (started()?, Desk::new());
    desk.project(4, "");
    let train = |token: &str, more: &[&str]| {
        let mut command = desk.command(&["train", "project", "--json"]);
        crate::program::said(&command.args(more).env("HF_ENDPOINT", &server.address).env("HF_TOKEN", token).output().unwrap())
    };
    let on =
        ["--set", "huggingface.enabled=true", "--set", "huggingface.repo_prefix=me/tools", "--set", "huggingface.save_checkpoints=true"];
    for (token, set, words) in [("", &on[..], "HF_TOKEN"), (TOKEN, &on[..2], "huggingface.repo_prefix")] {
        let said = train(token, set);
        assert!(said.code != 0 && said.out.contains(words), "{}", said.out);
        assert!(!desk.path().join("project/runs").exists(), "refused before the work");
    }
    let said = train(TOKEN, &on);
    assert_eq!(said.code, 0, "{}", said.err);
    let report: Value = serde_json::from_str(&said.out)?;
    let run = desk.only_run();
    let repo = format!("me/tools-{}", run.file_name().unwrap().to_str().unwrap());
    assert!(report["uploaded"].as_str().unwrap().ends_with(&repo), "{report}");
    assert!(!said.out.contains(TOKEN) && !said.err.contains(TOKEN));
    server.look(|s| {
        assert_eq!(s.repos.get(&repo), Some(&true), "private");
        let card = String::from_utf8(s.committed["README.md"].clone()).unwrap();
        assert!(card.contains("library_name: peft") && card.contains("## Proof"), "{card}");
        let saved = "step-000004/adapter_model.safetensors";
        let here = std::fs::read(run.join("stage1/checkpoints").join(saved)).unwrap();
        assert!(s.committed[&format!("checkpoints/stage1-{saved}")] == here, "the checkpoint");
        assert!(!s.committed["adapter_model.safetensors"].is_empty());
        let moments = s.committed.keys().any(|name| name.contains("optimizer"));
        assert!(!moments, "{:?}", s.committed.keys());
    });
    assert!(!run.join("huggingface").exists());
    assert!(desk.files().iter().all(|f| !f.contains("tallow-tmp")), "{:?}", desk.files());

    // A Hub that refuses takes nothing away from the run.
    server.set(|s| s.forbids = true);
    let refused = train(TOKEN, &[&on[..], &["--name", "second"]].concat());
    assert_eq!(refused.code, 0, "{}", refused.err);
    let report: Value = serde_json::from_str(&refused.out)?;
    let second = std::path::PathBuf::from(report["run"].as_str().unwrap());
    assert!(report["uploaded"].is_null() && second.join("final-model/adapter_config.json").is_file());
    let log = std::fs::read_to_string(second.join("training.log"))?;
    assert!(log.contains("a checkpoint was not uploaded") && log.contains("tallow upload"), "{log}");
    server.set(|s| s.forbids = false);
    let (folder, name) = (second.join("huggingface"), "me/second");
    let mut command = desk.command(&["upload", folder.to_str().unwrap(), name]);
    let later = crate::program::said(&command.env("HF_ENDPOINT", &server.address).env("HF_TOKEN", TOKEN).output()?);
    assert_eq!(later.code, 0, "{}", later.err);
    Ok(())
}
