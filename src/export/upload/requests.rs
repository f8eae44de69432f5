//! The requests themselves.

use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::Response;
use ureq::{Agent, Body, SendBody};

use super::{Content, LFS, UploadFile};
use crate::base::error::Fault;

const JSON: &str = "application/json";
/// How long an answer to a question may take, and one to bytes that are stored or committed.
const ANSWER: Duration = Duration::from_secs(60);
const STORED: Duration = Duration::from_secs(300);
/// Tries after the first, for bytes that go into the store.
const RETRIES: u32 = 3;

/// The Hub at one address, with a token.
pub(super) struct Api<'a> {
    agent: Agent,
    endpoint: &'a str,
    token: &'a str,
}

/// An address without what may be secret in it.
fn plain(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// Scheme, host and port.
fn origin(url: &str) -> &str {
    let after = url.find("://").map_or(0, |i| i + 3);
    let end = url[after..].find('/').map_or(url.len(), |i| after + i);
    &url[..end]
}

fn unreachable(url: &str, e: &ureq::Error) -> Fault {
    Fault::new("hub_upload", format!("{}: {e}", plain(url))).hint("check the network and HF_ENDPOINT, and try again; nothing was committed")
}

impl<'a> Api<'a> {
    pub(super) fn new(endpoint: &'a str, token: &'a str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would take token and bytes to somebody else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(ANSWER))
            .user_agent(concat!("tallow/", env!("CARGO_PKG_VERSION")));
        Self { agent: config.build().new_agent(), endpoint, token }
    }

    /// An address at the Hub.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.endpoint)
    }

    /// The token goes to the Hub alone.
    fn authorization(&self, url: &str) -> Option<String> {
        (origin(url) == origin(self.endpoint)).then(|| format!("Bearer {}", self.token))
    }

    pub(super) fn get(&self, url: &str) -> Result<Value, Fault> {
        let mut request = self.agent.get(url);
        if let Some(value) = self.authorization(url) {
            request = request.header("authorization", value);
        }
        answer(url, request.call().map_err(|e| unreachable(url, &e))?)
    }

    fn post_raw(&self, url: &str, kind: &str, body: &[u8]) -> Result<Response<Body>, Fault> {
        let wait = if kind == JSON { ANSWER } else { STORED };
        let request = self.agent.post(url).config().timeout_recv_response(Some(wait)).build();
        let mut request = request.header("content-type", kind);
        if kind == LFS {
            request = request.header("accept", LFS);
        }
        if let Some(value) = self.authorization(url) {
            request = request.header("authorization", value);
        }
        request.send(body).map_err(|e| unreachable(url, &e))
    }

    pub(super) fn post(&self, url: &str, kind: &str, body: &[u8]) -> Result<Value, Fault> {
        answer(url, self.post_raw(url, kind, body)?)
    }

    pub(super) fn post_json(&self, url: &str, body: &Value) -> Result<Value, Fault> {
        self.post(url, JSON, body.to_string().as_bytes())
    }

    /// The same where "it is there already" is no failure.
    pub(super) fn post_unless_there(&self, url: &str, body: &Value) -> Result<(), Fault> {
        let response = self.post_raw(url, JSON, body.to_string().as_bytes())?;
        if response.status().as_u16() == 409 { Ok(()) } else { answer(url, response).map(|_| ()) }
    }

    /// A file into the store as `action` says: whole, or in parts of `chunk_size` whose addresses it lists.
    pub(super) fn send(&self, f: &UploadFile, size: u64, oid: &str, action: &Value) -> Result<(), Fault> {
        let bad = |m: &str| Fault::new("hub_upload", format!("the Hub's answer about {} makes no sense: {m}", f.path));
        let href = action["href"].as_str().ok_or_else(|| bad("no address"))?;
        let header = action["header"].as_object();
        let chunk = header.and_then(|h| h.get("chunk_size")).and_then(|c| c.as_u64().or_else(|| c.as_str()?.parse().ok()));
        let Some(chunk) = chunk else {
            let extra: Vec<(&str, &str)> = header.into_iter().flatten().filter_map(|(k, v)| Some((k.as_str(), v.as_str()?))).collect();
            return self.put(f, 0, size, href, &extra).map(|_| ());
        };
        let numbered = header.into_iter().flatten().filter_map(|(k, v)| Some((k.parse::<u64>().ok()?, v.as_str()?)));
        let mut parts: Vec<(u64, &str)> = numbered.collect();
        parts.sort_unstable();
        if chunk == 0 || parts.len() as u64 != size.div_ceil(chunk) {
            return Err(bad(&format!("{} parts of {chunk} bytes for {size}", parts.len())));
        }
        let mut tags = Vec::new();
        for (i, (number, url)) in parts.iter().enumerate() {
            let from = i as u64 * chunk;
            let response = self.put(f, from, chunk.min(size - from), url, &[])?;
            let tag = response.headers().get("etag").and_then(|t| t.to_str().ok()).filter(|t| !t.is_empty());
            tags.push(json!({"partNumber": number, "etag": tag.ok_or_else(|| bad("a part came without its tag"))?}));
        }
        self.post(href, LFS, json!({"oid": oid, "parts": tags}).to_string().as_bytes()).map(|_| ())
    }

    /// Bytes `from..from + length` of a file, without the token, tried again when the store stumbles.
    fn put(&self, f: &UploadFile, from: u64, length: u64, url: &str, extra: &[(&str, &str)]) -> Result<Response<Body>, Fault> {
        let mut tries = 0;
        loop {
            let request = self.agent.put(url).config().timeout_recv_response(Some(STORED)).build();
            let mut request = request.header("content-length", length.to_string());
            for (name, value) in extra.iter().filter(|(n, _)| !n.eq_ignore_ascii_case("authorization")) {
                request = request.header(*name, *value);
            }
            let result = match &f.content {
                Content::Bytes(bytes) => request.send(&bytes[from as usize..(from + length) as usize]),
                Content::File(path) => {
                    let io = |e: std::io::Error| Fault::io("read", path, &e);
                    let mut file = std::fs::File::open(path).map_err(io)?;
                    file.seek(SeekFrom::Start(from)).map_err(io)?;
                    request.send(SendBody::from_reader(&mut file.take(length)))
                }
            };
            let again = match &result {
                Ok(response) => response.status().is_server_error(),
                Err(_) => true,
            };
            tries += 1;
            if again && tries <= RETRIES {
                std::thread::sleep(Duration::from_millis(300) * tries * tries);
                continue;
            }
            let response = result.map_err(|e| unreachable(url, &e))?;
            return if response.status().is_success() { Ok(response) } else { Err(refusal(url, response)) };
        }
    }
}

/// The JSON of an answer that agrees; an empty one is null.
fn answer(url: &str, mut response: Response<Body>) -> Result<Value, Fault> {
    if !response.status().is_success() {
        return Err(refusal(url, response));
    }
    let text = response.body_mut().read_to_string().map_err(|e| unreachable(url, &e))?;
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    // The store's protocol allows answers that are no JSON where nothing is said.
    Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// What the Hub says when it refuses, and what to do about it.
fn refusal(url: &str, mut response: Response<Body>) -> Fault {
    let status = response.status();
    if status.is_redirection() {
        let to = response.headers().get("location").and_then(|l| l.to_str().ok()).map(|l| origin(l).to_owned()).unwrap_or_default();
        let message = format!("{} redirects to {to}, and a token is not sent on", plain(url));
        return Fault::new("hub_upload", message).hint("check HF_ENDPOINT and the repository's name");
    }
    let text = response.body_mut().read_to_string().unwrap_or_default();
    let said = serde_json::from_str::<Value>(&text).ok().and_then(|v| Some(v["error"].as_str()?.to_owned()));
    let said = said.unwrap_or_else(|| status.canonical_reason().unwrap_or("").to_owned());
    let fault = Fault::new("hub_upload", format!("{}: {} {said}", plain(url), status.as_u16()));
    match status.as_u16() {
        401 | 403 => fault.hint("HF_TOKEN is missing the right to write there: use a token with write access to this owner's repositories"),
        404 => fault.hint("there is no such owner or repository for this token"),
        429 => fault.hint("too many requests: wait and try again"),
        _ => fault.hint("nothing was committed; try again"),
    }
}
