//! A Hub on this machine, with faults: repositories, searches, and a second address that serves large files, as the real
//! one does.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::Digest;

/// A request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// With its query.
    pub path: String,
    pub range: Option<String>,
    pub token: Option<String>,
    /// Whether it came to the address of large files.
    pub at_store: bool,
}

/// What goes wrong.
#[derive(Debug, Default)]
pub struct Faults {
    /// The next transfers of large files end after so many bytes.
    pub cuts: Vec<usize>,
    /// The next so many transfers of large files bring other bytes.
    pub wrong: usize,
    /// The next so many requests to the Hub are answered with 429 and this header.
    pub busy: Option<(usize, &'static str)>,
    /// The next so many transfers of large files fall silent after some bytes.
    pub silent: usize,
    /// The store knows no ranges.
    pub no_ranges: bool,
    /// Sizes that the list of files announces, whatever the files hold.
    pub announced: BTreeMap<String, u64>,
    /// The list of files names neither hashes nor sizes.
    pub bare_list: bool,
}

#[derive(Debug, Default)]
pub struct Repo {
    pub commit: String,
    pub files: BTreeMap<String, Vec<u8>>,
    /// Asks for a token that it does not say.
    pub gated: bool,
    /// What a search says of it.
    pub found: Value,
}

#[derive(Debug, Default)]
pub struct State {
    /// By `models/owner/name` or `datasets/owner/name`.
    pub repos: BTreeMap<String, Repo>,
    pub faults: Faults,
    pub seen: Vec<Seen>,
    store: String,
}

pub const TOKEN: &str = "hf_of_the_test";
/// Files of more bytes are in the store of large files.
const LARGE: usize = 4096;

pub struct FakeHub {
    pub address: String,
    state: Arc<Mutex<State>>,
}

/// The hash that names a file: SHA-256 of a large one, git's of a small one.
pub fn etag(bytes: &[u8]) -> String {
    let hex = |d: &[u8]| d.iter().map(|b| format!("{b:02x}")).collect::<String>();
    if bytes.len() > LARGE {
        return hex(&sha2::Sha256::digest(bytes));
    }
    hex(&sha1::Sha1::digest([format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat()))
}

impl FakeHub {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let serve = |at_store: bool| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            let shared = state.clone();
            // Ends with the process.
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let shared = shared.clone();
                    // A client that goes away in the middle is no concern of the server's.
                    std::thread::spawn(move || answer(&stream, &shared, at_store));
                }
            });
            address
        };
        let (address, store) = (serve(false), serve(true));
        state.lock().unwrap().store = store;
        Self { address, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A repository with these files.
    pub fn put(&self, name: &str, commit: &str, files: &[(&str, Vec<u8>)]) {
        let files = files.iter().map(|(n, b)| ((*n).to_owned(), b.clone())).collect();
        let (_, id) = name.split_once('/').unwrap();
        self.state().repos.insert(name.to_owned(), Repo { commit: commit.into(), files, gated: false, found: json!({"id": id}) });
    }

    /// What came since the last look.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state().seen)
    }
}

struct Answer {
    status: &'static str,
    headers: String,
    body: Vec<u8>,
}

fn plain(status: &'static str, headers: impl Into<String>, body: impl Into<Vec<u8>>) -> Answer {
    Answer { status, headers: headers.into(), body: body.into() }
}

fn answer(mut stream: &TcpStream, shared: &Mutex<State>, at_store: bool) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let token = headers.get("authorization").and_then(|a| a.strip_prefix("Bearer ")).map(str::to_owned);
    let range = headers.get("range").cloned();
    let mut state = shared.lock().unwrap();
    let may = token.as_deref() == Some(TOKEN);
    state.seen.push(Seen { path: path.clone(), range: range.clone(), token, at_store });
    let mut given = if at_store { of_store(&path, range.as_deref(), &mut state) } else { of_hub(&path, may, &mut state) };
    let mut silent = false;
    let length = given.body.len();
    if at_store && !given.body.is_empty() {
        if state.faults.wrong > 0 {
            state.faults.wrong -= 1;
            given.body[length / 2] ^= 0x40;
        }
        if !state.faults.cuts.is_empty() {
            let cut = state.faults.cuts.remove(0);
            given.body.truncate(cut);
        }
        if state.faults.silent > 0 {
            state.faults.silent -= 1;
            (silent, given.body) = (true, given.body[..length / 3].to_vec());
        }
    }
    drop(state);
    let Answer { status, headers, body } = given;
    stream.write_all(format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n").as_bytes())?;
    if method != "HEAD" {
        stream.write_all(&body)?;
    }
    stream.flush()?;
    if silent {
        std::thread::sleep(Duration::from_secs(20));
    }
    Ok(())
}

fn of_store(path: &str, range: Option<&str>, state: &mut State) -> Answer {
    let tag = path.trim_start_matches("/lfs/").split('?').next().unwrap_or_default();
    let Some(body) = state.repos.values().flat_map(|r| r.files.values()).find(|b| etag(b) == tag) else {
        return plain("404 Not Found", "", "");
    };
    let from = range.filter(|_| !state.faults.no_ranges).and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    match from {
        Some(from) if from >= body.len() => plain("416 Range Not Satisfiable", "", ""),
        Some(from) => {
            let headers = format!("content-range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len());
            plain("206 Partial Content", headers, &body[from..])
        }
        None => plain("200 OK", "", body.clone()),
    }
}

fn of_hub(path: &str, may: bool, state: &mut State) -> Answer {
    if let Some((left, header)) = state.faults.busy.as_mut().filter(|(left, _)| *left > 0) {
        *left -= 1;
        return plain("429 Too Many Requests", format!("{header}\r\n"), r#"{"error": "slow down"}"#);
    }
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let missing = || plain("404 Not Found", "x-error-code: RepoNotFound\r\n", r#"{"error": "Repository not found"}"#);
    if path == "/api/models" || path == "/api/datasets" {
        return search(path.trim_start_matches("/api/"), query, state);
    }
    if let Some(repo) = state.repos.get(path.trim_start_matches("/api/")) {
        return plain("200 OK", "content-type: application/json\r\n", repo.found.to_string());
    }
    let resolve = path.trim_start_matches('/');
    let key = |id: &str| if id.starts_with("datasets/") { id.to_owned() } else { format!("models/{id}") };
    let (name, rest) = match path.strip_prefix("/api/").and_then(|p| p.split_once("/revision/")) {
        Some((name, revision)) => (name.to_owned(), Err(revision)),
        None => match resolve.split_once("/resolve/") {
            Some((id, rest)) => (key(id), Ok(rest)),
            None => return missing(),
        },
    };
    let (store, bare) = (state.store.clone(), state.faults.bare_list);
    let Some(repo) = state.repos.get(&name) else { return missing() };
    if repo.gated && !may {
        return plain("403 Forbidden", "x-error-code: GatedRepo\r\nx-error-message: Access to this model is restricted\r\n", "");
    }
    let known = |revision: &str| revision == "main" || revision == repo.commit;
    match rest {
        Err(revision) if !known(revision) => plain("404 Not Found", "x-error-code: RevisionNotFound\r\n", ""),
        Err(_) => {
            let sibling = |(n, b): (&String, &Vec<u8>)| {
                let size = state.faults.announced.get(n).copied().unwrap_or(b.len() as u64);
                match b.len() > LARGE {
                    _ if bare => json!({"rfilename": n}),
                    true => json!({"rfilename": n, "size": size, "blobId": "0", "lfs": {"sha256": etag(b), "size": size}}),
                    false => json!({"rfilename": n, "size": size, "blobId": etag(b)}),
                }
            };
            let siblings: Vec<Value> = repo.files.iter().map(sibling).collect();
            plain("200 OK", "", json!({"id": name, "sha": repo.commit, "siblings": siblings}).to_string())
        }
        Ok(rest) => {
            let Some((revision, file)) = rest.split_once('/') else { return missing() };
            let file = file.replace("%20", " ");
            let Some(body) = repo.files.get(&file).filter(|_| known(revision)) else {
                return plain("404 Not Found", "x-error-code: EntryNotFound\r\n", "");
            };
            let tag = etag(body);
            if body.len() > LARGE {
                let size = body.len();
                let headers = format!("location: {store}/lfs/{tag}?signature=x\r\nx-linked-etag: \"{tag}\"\r\nx-linked-size: {size}\r\n");
                return plain("302 Found", headers, "");
            }
            plain("200 OK", format!("etag: \"{tag}\"\r\n"), body.clone())
        }
    }
}

/// Items whose id has the words and whose tags have all filters, cut at the limit.
fn search(kind: &str, query: &str, state: &State) -> Answer {
    let parts: Vec<(String, String)> = query
        .split('&')
        .filter_map(|p| p.split_once('='))
        .map(|(n, v)| (n.replace("%5B%5D", "[]"), v.replace("%20", " ").replace("%3A", ":")))
        .collect();
    let all = |name: &str| parts.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    let words = all("search").first().copied().unwrap_or_default().to_lowercase();
    let mut found: Vec<&Value> = state.repos.iter().filter(|(n, _)| n.starts_with(kind)).map(|(_, r)| &r.found).collect();
    found.retain(|item| {
        let id = item["id"].as_str().unwrap_or_default().to_lowercase();
        let has = |tag: &str| item["tags"].as_array().is_some_and(|t| t.iter().any(|t| t == tag)) || item["pipeline_tag"] == tag;
        words.split_whitespace().all(|w| id.contains(w))
            && all("filter").iter().all(|t| has(t))
            && all("author").iter().all(|owner| id.starts_with(&format!("{}/", owner.to_lowercase())))
    });
    found.sort_by_key(|item| std::cmp::Reverse(item[all("sort")[0]].as_u64()));
    found.truncate(all("limit").first().and_then(|l| l.parse().ok()).unwrap_or(30));
    plain("200 OK", "content-type: application/json\r\n", json!(found).to_string())
}
