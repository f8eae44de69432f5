//! Models from a Hub on this machine: a small server that answers as the Hub does, and what the cache holds afterwards.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tallow::model::hub::{HubOptions, fetch_with};
use tallow::model::{Decoder, Error, LoadOptions, LoraConfig};

use crate::golden::{Outcome, golden_dir};

const MODEL: &str = "people/tiny";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const CHILD: &str = "TALLOW_HUB_CHILD";

/// What the server does besides serving.
#[derive(Default)]
struct Manner {
    /// Only with this token.
    token: Option<&'static str>,
    /// Breaks the first transfer of the weights off after so many bytes.
    cut: Option<usize>,
    /// Says that something is wrong with it.
    down: bool,
}

#[derive(Default)]
struct Shared {
    files: BTreeMap<String, Vec<u8>>,
    manner: Manner,
    /// Paths of all requests that were for whole files, or for the list of files.
    seen: Vec<String>,
}

struct Server {
    address: String,
    shared: Arc<Mutex<Shared>>,
}

impl Server {
    /// Serves the golden llama3, its weights from another path as the Hub does, and files that nobody needs.
    fn start(manner: Manner) -> anyhow::Result<Self> {
        let mut files = BTreeMap::new();
        for name in ["config.json", "model.safetensors"] {
            files.insert(name.to_owned(), std::fs::read(golden_dir().join("llama3/model").join(name))?);
        }
        files.insert("tokenizer.json".into(), b"{\"version\": \"1.0\"}".to_vec());
        for name in ["README.md", "pytorch_model.bin", "original/params.json", "consolidated.safetensors"] {
            files.insert(name.into(), b"nobody asks for this".to_vec());
        }
        let shared = Arc::new(Mutex::new(Shared { files, manner, seen: Vec::new() }));
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", listener.local_addr()?);
        let theirs = shared.clone();
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away in the middle is no concern of the server's.
                let _ = answer(stream, &theirs);
            }
        });
        Ok(Self { address, shared })
    }

    fn options(&self, cache: &Path) -> HubOptions {
        HubOptions { endpoint: Some(self.address.clone()), cache_dir: Some(cache.join("hub")), ..HubOptions::default() }
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().unwrap().seen)
    }

    fn set(&self, change: impl FnOnce(&mut Shared)) {
        change(&mut self.shared.lock().unwrap());
    }
}

fn answer(stream: TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let path = first.split(' ').nth(1).unwrap_or_default();
    let mut shared = shared.lock().unwrap();
    let (status, mut extra, mut body) = respond(path, &headers, &mut shared);
    let range = headers.get("range").and_then(|r| r.strip_prefix("bytes=")).and_then(|r| r.split_once('-'));
    let (mut status, mut length) = (status, body.len());
    let mut probe = first.starts_with("HEAD");
    if let (Some((from, to)), "200 OK") = (range, status) {
        let all = body.len();
        let (from, end) = (from.parse::<usize>().unwrap_or(0), to.parse().map_or(all, |to: usize| all.min(to + 1)));
        probe |= !to.is_empty();
        if from >= all {
            (status, body, length) = ("416 Range Not Satisfiable", Vec::new(), 0);
        } else {
            body = body[from..end].to_vec();
            (status, length) = ("206 Partial Content", body.len());
            extra += &format!("content-range: bytes {from}-{}/{all}\r\n", end - 1);
        }
    }
    if !probe {
        shared.seen.push(path.to_owned());
        if path.starts_with("/lfs/")
            && let Some(cut) = shared.manner.cut.take()
        {
            body.truncate(cut);
        }
    }
    drop(shared);
    let mut stream = &stream;
    stream.write_all(format!("HTTP/1.1 {status}\r\n{extra}content-length: {length}\r\nconnection: close\r\n\r\n").as_bytes())?;
    if first.starts_with("HEAD") { Ok(()) } else { stream.write_all(&body) }
}

/// Status, headers and body, before any range.
fn respond(path: &str, headers: &BTreeMap<String, String>, shared: &mut Shared) -> (&'static str, String, Vec<u8>) {
    let refuse = |status| (status, String::new(), b"{\"error\": \"refused\"}".to_vec());
    if shared.manner.down {
        return refuse("503 Service Unavailable");
    }
    let token = headers.get("authorization").and_then(|a| a.strip_prefix("Bearer "));
    if shared.manner.token.is_some() && shared.manner.token != token {
        return refuse("401 Unauthorized");
    }
    let path = path.split('?').next().unwrap_or_default();
    let file_headers = |name: &str| format!("etag: \"etag-of-{name}\"\r\nx-repo-commit: {COMMIT}\r\n");
    if let Some(revision) = path.strip_prefix(&format!("/api/models/{MODEL}/revision/")) {
        if !["main", "v1", "pr%2F1", COMMIT].contains(&revision) {
            return refuse("404 Not Found");
        }
        let siblings: Vec<_> = shared.files.keys().map(|f| json!({"rfilename": f})).collect();
        let info = json!({"id": MODEL, "sha": COMMIT, "siblings": siblings});
        return ("200 OK", "content-type: application/json\r\n".into(), info.to_string().into_bytes());
    }
    if let Some(name) = path.strip_prefix(&format!("/{MODEL}/resolve/{COMMIT}/")) {
        if name == "model.safetensors" {
            let to = format!("location: /lfs/{name}\r\nx-linked-etag: \"etag-of-{name}\"\r\n");
            return ("302 Found", to + &file_headers(name), Vec::new());
        }
        if let Some(body) = shared.files.get(name) {
            return ("200 OK", file_headers(name), body.clone());
        }
    }
    if let Some(body) = path.strip_prefix("/lfs/").and_then(|name| shared.files.get(name)) {
        return ("200 OK", file_headers("model.safetensors"), body.clone());
    }
    refuse("404 Not Found")
}

fn get(options: &HubOptions, model: &str, revision: &str) -> Result<PathBuf, Error> {
    fetch_with(options, model, revision, &mut |_, _, _| {})
}

/// The error's text; it has the Hub's code, a hint, and names the model.
fn refusal(what: &str, result: Result<PathBuf, Error>, model: &str) -> String {
    let error = result.expect_err(what);
    assert!(error.code() == "hub_unavailable" && error.hint().is_some(), "{what}: {error}");
    let text = error.to_string();
    assert!(text.contains(model), "{what}: {text}");
    text
}

fn is_golden(folder: &Path) -> Outcome {
    for name in ["config.json", "model.safetensors"] {
        let golden = std::fs::read(golden_dir().join("llama3/model").join(name))?;
        anyhow::ensure!(std::fs::read(folder.join(name))? == golden, "{name} differs");
    }
    Ok(())
}

#[test]
fn a_model_comes_once_and_is_then_read_from_the_cache() -> Outcome {
    let (server, cache) = (Server::start(Manner::default())?, tempfile::tempdir()?);
    let options = server.options(cache.path());
    let mut told = Vec::new();
    let folder = fetch_with(&options, MODEL, "main", &mut |file, i, n| told.push(format!("{i}/{n} {file}")))?;
    assert_eq!(told, ["1/3 config.json", "2/3 model.safetensors", "3/3 tokenizer.json"]);
    is_golden(&folder)?;
    let mut seen = server.seen();
    seen.sort();
    seen.dedup();
    let at = format!("/{MODEL}/resolve/{COMMIT}");
    let list = format!("/api/models/{MODEL}/revision/main?blobs=true");
    let files = ["config.json", "model.safetensors", "tokenizer.json"].map(|f| format!("{at}/{f}"));
    assert_eq!(seen, [vec![list.clone(), "/lfs/model.safetensors".into()], files.to_vec()].concat());

    assert_eq!(get(&options, MODEL, "main")?, folder);
    assert_eq!(server.seen(), [list], "only the list of files is asked for again");
    assert_eq!(get(&options, MODEL, "v1")?, folder, "another name of the same commit");
    assert_eq!(get(&options, MODEL, "pr/1")?, folder);
    assert!(server.seen().iter().all(|p| p.starts_with("/api/")), "no file is fetched twice");

    // It is a model, and an adapter on it names the model by its id and commit.
    let mut model = Decoder::load(&folder, &LoadOptions::default())?;
    let target_modules = vec!["q_proj".into()];
    model.add_lora(&LoraConfig { rank: 2, alpha: 4.0, dropout: 0.0, use_rslora: false, target_modules }, 1)?;
    model.save_adapter(&cache.path().join("adapter"))?;
    let text = std::fs::read_to_string(cache.path().join("adapter/adapter_config.json"))?;
    let config: serde_json::Value = serde_json::from_str(&text)?;
    assert_eq!((config["base_model_name_or_path"].as_str(), config["revision"].as_str()), (Some(MODEL), Some(COMMIT)));
    Ok(())
}

#[test]
fn a_cache_that_another_program_filled_serves() -> Outcome {
    let (server, cache) = (Server::start(Manner::default())?, tempfile::tempdir()?);
    // As Python's client leaves it: one name, no names by commit.
    let repo = cache.path().join("hub/models--people--tiny");
    let folder = repo.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(&folder)?;
    std::fs::create_dir_all(repo.join("refs"))?;
    std::fs::write(repo.join("refs/main"), COMMIT)?;
    for name in ["config.json", "model.safetensors"] {
        std::fs::write(folder.join(name), std::fs::read(golden_dir().join("llama3/model").join(name))?)?;
    }
    assert_eq!(get(&server.options(cache.path()), MODEL, "main")?, folder);
    let seen = server.seen();
    assert!(seen.iter().any(|p| p.ends_with("tokenizer.json")), "the file that was missing");
    assert!(!seen.iter().any(|p| p.ends_with("model.safetensors") || p.ends_with("config.json")), "{seen:?}");
    Ok(())
}

#[test]
fn without_a_network_the_cache_serves() -> Outcome {
    let (server, cache) = (Server::start(Manner::default())?, tempfile::tempdir()?);
    let online = server.options(cache.path());
    let offline = HubOptions { offline: true, ..online.clone() };
    let text = refusal("nothing cached", get(&offline, MODEL, "main"), MODEL);
    assert!(text.contains("not in the cache") && text.contains("offline"), "{text}");
    assert!(server.seen().is_empty(), "offline means offline");

    let folder = get(&online, MODEL, "main")?;
    server.seen();
    assert_eq!(get(&offline, MODEL, "main")?, folder);
    assert_eq!(get(&offline, MODEL, COMMIT)?, folder, "by its commit");
    refusal("a revision that was never fetched", get(&offline, MODEL, "v1"), MODEL);
    assert!(server.seen().is_empty(), "offline means offline");

    // Online, but nothing listens.
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let cut_off = HubOptions { endpoint: Some(format!("http://{nobody}")), ..online };
    assert_eq!(get(&cut_off, MODEL, "main")?, folder);
    refusal("not cached and nobody there", get(&cut_off, MODEL, "v1"), MODEL);

    std::fs::remove_file(folder.join("model.safetensors"))?;
    refusal("a cache without the weights", get(&offline, MODEL, "main"), MODEL);
    Ok(())
}

#[test]
fn refusals_of_the_hub_say_what_to_do() -> Outcome {
    let (server, cache) = (Server::start(Manner { token: Some("hf_secret"), ..Manner::default() })?, tempfile::tempdir()?);
    let none = server.options(cache.path());
    let text = refusal("no token", get(&none, MODEL, "main"), MODEL);
    assert!(text.contains("401") && text.contains("HF_TOKEN"), "{text}");
    let wrong = HubOptions { token: Some("hf_guess".into()), ..none.clone() };
    let text = refusal("wrong token", get(&wrong, MODEL, "main"), MODEL);
    assert!(text.contains("401") && !text.contains("hf_guess"), "{text}");
    let right = HubOptions { token: Some("hf_secret".into()), ..none };
    is_golden(&get(&right, MODEL, "main")?)?;

    let text = refusal("no such model", get(&right, "people/other", "main"), "people/other@main");
    assert!(text.contains("404") && text.contains("no such model or revision"), "{text}");
    let text = refusal("no such revision", get(&right, MODEL, "v9"), "people/tiny@v9");
    assert!(text.contains("404") && text.contains("no such model or revision"), "{text}");
    server.set(|s| s.manner.down = true);
    let text = refusal("out of order", get(&right, MODEL, "v9"), MODEL);
    assert!(text.contains("503"), "{text}");
    server.set(|s| s.manner.down = false);

    let weights = server.shared.lock().unwrap().files.remove("model.safetensors");
    let text = refusal("no weights", get(&right, MODEL, "v1"), MODEL);
    assert!(text.contains("no safetensors weights"), "{text}");
    server.set(|s| {
        s.files.extend(weights.map(|w| ("model.safetensors".to_owned(), w)));
        s.files.remove("config.json");
    });
    let text = refusal("no config", get(&right, MODEL, "v1"), MODEL);
    assert!(text.contains("config.json"), "{text}");
    Ok(())
}

#[test]
fn a_transfer_that_breaks_off_is_taken_up_again() -> Outcome {
    let (server, cache) = (Server::start(Manner { cut: Some(5000), ..Manner::default() })?, tempfile::tempdir()?);
    is_golden(&get(&server.options(cache.path()), MODEL, "main")?)?;
    let seen = server.seen();
    assert_eq!(seen.iter().filter(|p| p.starts_with("/lfs/")).count(), 2, "{seen:?}");
    Ok(())
}

#[test]
fn halves_that_an_earlier_run_left_are_no_obstacle() -> Outcome {
    let golden = std::fs::read(golden_dir().join("llama3/model/model.safetensors"))?;
    // A part, all of it but not yet in place, and one that is too long.
    for left in [golden[..700].to_vec(), golden.clone(), [golden.as_slice(), b"more"].concat()] {
        let (server, cache) = (Server::start(Manner::default())?, tempfile::tempdir()?);
        let blobs = cache.path().join("hub/models--people--tiny/blobs");
        std::fs::create_dir_all(&blobs)?;
        std::fs::write(blobs.join("etag-of-model.safetensors.incomplete"), left)?;
        is_golden(&get(&server.options(cache.path()), MODEL, "main")?)?;
    }
    Ok(())
}

/// Does nothing, unless a parent asks for a model: with the options of the environment.
#[test]
fn child() -> Outcome {
    let Some(out) = std::env::var_os(CHILD) else { return Ok(()) };
    let text = match tallow::model::hub::fetch(MODEL, "main") {
        Ok(folder) => folder.display().to_string(),
        Err(e) => format!("error: {e}"),
    };
    Ok(std::fs::write(out, text)?)
}

#[test]
fn the_environment_says_where_and_how() -> Outcome {
    let (server, cache) = (Server::start(Manner { token: Some("hf_secret"), ..Manner::default() })?, tempfile::tempdir()?);
    let out = cache.path().join("said");
    let run = |variables: &[(&str, &str)]| -> anyhow::Result<String> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", "hub::child", "--test-threads=1"]).env(CHILD, &out);
        for name in ["HF_ENDPOINT", "HF_HUB_CACHE", "HF_HOME", "HF_TOKEN", "HF_HUB_OFFLINE"] {
            command.env_remove(name);
        }
        command.env("HF_ENDPOINT", format!("{}/", server.address)).env("HF_HUB_CACHE", cache.path().join("hub"));
        let ran = command.envs(variables.iter().copied()).output()?;
        anyhow::ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
        Ok(std::fs::read_to_string(&out)?)
    };
    assert!(run(&[])?.contains("401"));
    assert!(run(&[("HF_HUB_OFFLINE", "1"), ("HF_TOKEN", "hf_secret")])?.contains("offline"));
    let folder = run(&[("HF_TOKEN", "hf_secret")])?;
    assert!(folder.starts_with(&cache.path().join("hub").display().to_string()), "{folder}");
    is_golden(Path::new(&folder))?;
    assert_eq!(run(&[("HF_HUB_OFFLINE", "1")])?, folder);
    // Another cache, by the home folder, with the token that the Hub's own programs keep there.
    let home = cache.path().join("home");
    std::fs::create_dir(&home)?;
    std::fs::write(home.join("token"), "hf_secret\n")?;
    let folder = run(&[("HF_HUB_CACHE", ""), ("HF_HOME", &home.display().to_string())])?;
    assert!(folder.starts_with(&home.display().to_string()), "{folder}");
    Ok(())
}
