//! An exported folder into a running Ollama, by its HTTP interface (ollama's docs/api.md): the files
//! as blobs by their hash, then `create` with what the Modelfile says, and `push` where asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};
use ureq::http::Response;
use ureq::{Agent, Body, SendBody};

use crate::base::cancel;
use crate::base::error::Fault;
use crate::base::hash::sha256_file;

/// The variable that says where Ollama listens, as its own programs read it.
pub const HOST: &str = "OLLAMA_HOST";
const DEFAULT_PORT: u16 = 11434;

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Created {
    /// The model's name.
    pub model: String,
    /// The server.
    pub server: String,
    /// Bytes that were sent; what the server had already was not.
    pub sent_bytes: u64,
    /// Whether it was pushed to the registry.
    pub pushed: bool,
}

/// A Modelfile as far as [`super::modelfile`] writes it.
#[derive(Debug, Default, PartialEq)]
struct Parsed {
    model: String,
    adapter: Option<String>,
    template: Option<String>,
    parameters: BTreeMap<String, Vec<String>>,
}

/// Makes the model `name` of the folder `path`; `told` hears the bytes that are there, of how many, and the file.
///
/// # Errors
/// When the folder is no export for Ollama, or the server is not there or refuses.
pub fn create(path: &Path, name: &str, push: bool, told: &mut dyn FnMut(u64, u64, &str)) -> Result<Created, Fault> {
    let server = Server::new(&std::env::var(HOST).unwrap_or_default())?;
    let modelfile = path.join("Modelfile");
    let text = std::fs::read_to_string(&modelfile)
        .map_err(|e| Fault::io("read", &modelfile, &e).hint("give a folder that was exported with the format ollama or ollama-adapter"))?;
    let said = parse(&text).map_err(|m| Fault::new("ollama", format!("{}: {m}", modelfile.display())))?;
    let files: Vec<&String> = std::iter::once(&said.model).chain(&said.adapter).collect();
    let mut sizes = Vec::new();
    for file in &files {
        let at = path.join(file);
        sizes.push(std::fs::metadata(&at).map_err(|e| Fault::io("read", &at, &e))?.len());
    }
    let (total, mut there, mut sent_bytes) = (sizes.iter().sum(), 0, 0);
    let mut digests = Vec::new();
    for (file, size) in files.iter().zip(&sizes) {
        told(there, total, file);
        let digest = format!("sha256:{}", sha256_file(&path.join(file))?);
        if !server.has(&digest)? {
            server.send(&path.join(file), &digest, *size)?;
            sent_bytes += size;
        }
        there += size;
        told(there, total, file);
        digests.push(digest);
    }
    server.ask("/api/create", &request(&said, name, &digests))?;
    if push {
        server.ask("/api/push", &json!({"model": name, "stream": true}))?;
    }
    Ok(Created { model: name.to_owned(), server: server.address, sent_bytes, pushed: push })
}

/// The body of `create`.
fn request(said: &Parsed, name: &str, digests: &[String]) -> Value {
    let mut body = json!({"model": name, "files": {(said.model.clone()): digests[0]}, "stream": true});
    if let Some(adapter) = &said.adapter {
        body["adapters"] = json!({(adapter.clone()): digests[1]});
    }
    if let Some(template) = &said.template {
        body["template"] = json!(template);
    }
    let value = |v: &String| v.parse::<u64>().map_or_else(|_| json!(v), |n| json!(n));
    let parameters: Map<String, Value> = said
        .parameters
        .iter()
        .map(|(key, list)| (key.clone(), if key == "stop" { json!(list) } else { list.last().map_or(Value::Null, value) }))
        .collect();
    body["parameters"] = Value::Object(parameters);
    body
}

fn parse(text: &str) -> Result<Parsed, String> {
    let mut out = Parsed::default();
    let mut rest = text;
    while !rest.is_empty() {
        let here = rest;
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let (word, value) = line.split_once(' ').unwrap_or((line, ""));
        let file = || value.strip_prefix("./").filter(|f| !f.contains(['/', '\\'])).map(str::to_owned);
        let beside = || file().ok_or_else(|| format!("`{line}` names no file beside it"));
        rest = after;
        match word {
            "FROM" => out.model = beside()?,
            "ADAPTER" => out.adapter = Some(beside()?),
            "PARAMETER" => {
                let (key, value) = value.split_once(' ').ok_or_else(|| format!("`{line}` has no value"))?;
                let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
                let value = inner.map_or_else(|| value.to_owned(), unescaped);
                out.parameters.entry(key.to_owned()).or_default().push(value);
            }
            "TEMPLATE" => {
                let open = here.strip_prefix("TEMPLATE \"\"\"");
                let (template, after) = open.and_then(|t| t.split_once("\"\"\"\n")).ok_or("the template has no end")?;
                out.template = Some(template.to_owned());
                rest = after;
            }
            "" | "#" => {}
            other => return Err(format!("`{other}` is not understood; `ollama create -f` may take this file")),
        }
    }
    if out.model.is_empty() { Err("there is no FROM".into()) } else { Ok(out) }
}

/// Takes away the backslashes before quotation marks and backslashes.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    out
}

struct Server {
    agent: Agent,
    address: String,
}

impl Server {
    /// At the address that [`HOST`] has: `host`, `host:port` or a URL; empty: this machine.
    fn new(host: &str) -> Result<Self, Fault> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(30)))
            .user_agent(concat!("tallow/", env!("CARGO_PKG_VERSION")));
        let address = address(host)
            .ok_or_else(|| Fault::new("usage", format!("{HOST} is `{host}`, which is no address")).hint("for example 127.0.0.1:11434"))?;
        Ok(Self { agent: config.build().new_agent(), address })
    }

    fn fault(&self, path: &str, said: &str) -> Fault {
        Fault::new("ollama", format!("{}{path}: {said}", self.address))
            .hint(format!("check that `ollama serve` runs there, or set {HOST}; `ollama create -f Modelfile` does the same by hand"))
    }

    fn has(&self, digest: &str) -> Result<bool, Fault> {
        let path = format!("/api/blobs/{digest}");
        let response = self.agent.head(format!("{}{path}", self.address)).call().map_err(|e| self.fault(&path, &e.to_string()))?;
        match response.status().as_u16() {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(self.refusal(&path, response)),
        }
    }

    fn send(&self, file: &Path, digest: &str, size: u64) -> Result<(), Fault> {
        let path = format!("/api/blobs/{digest}");
        let mut open = std::fs::File::open(file).map_err(|e| Fault::io("read", file, &e))?;
        let body = Checked(&mut open);
        let request = self.agent.post(format!("{}{path}", self.address)).header("content-length", size.to_string());
        let response = request.send(SendBody::from_reader(&mut body.take(size))).map_err(|e| self.fault(&path, &e.to_string()))?;
        if response.status().is_success() { Ok(()) } else { Err(self.refusal(&path, response)) }
    }

    /// A request that is answered line by line until it says `success`.
    fn ask(&self, path: &str, body: &Value) -> Result<(), Fault> {
        let request = self.agent.post(format!("{}{path}", self.address)).header("content-type", "application/json");
        let response = request.send(body.to_string().as_bytes()).map_err(|e| self.fault(path, &e.to_string()))?;
        if !response.status().is_success() {
            return Err(self.refusal(path, response));
        }
        let mut last = String::new();
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            cancel::checkpoint();
            let line = line.map_err(|e| self.fault(path, &e.to_string()))?;
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(error) = said["error"].as_str() {
                return Err(self.fault(path, error));
            }
            if let Some(status) = said["status"].as_str() {
                status.clone_into(&mut last);
            }
        }
        if last == "success" { Ok(()) } else { Err(self.fault(path, &format!("ended without success, last with `{last}`"))) }
    }

    fn refusal(&self, path: &str, mut response: Response<Body>) -> Fault {
        let text = response.body_mut().read_to_string().unwrap_or_default();
        let said = serde_json::from_str::<Value>(&text).ok().and_then(|v| Some(v["error"].as_str()?.to_owned())).unwrap_or_default();
        self.fault(path, format!("{} {said}", response.status().as_u16()).trim_end())
    }
}

/// A file whose sending can be cancelled.
struct Checked<'a>(&'a mut std::fs::File);

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        cancel::checkpoint();
        self.0.read(buffer)
    }
}

/// Scheme, host and port.
fn address(host: &str) -> Option<String> {
    let host = host.trim().trim_matches(['"', '\'']).trim_end_matches('/');
    let (scheme, rest, port) = match host.split_once("://") {
        None => ("http", host, DEFAULT_PORT),
        Some(("http", rest)) => ("http", rest, 80),
        Some(("https", rest)) => ("https", rest, 443),
        Some(_) => return None,
    };
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(a, p)| (a, p));
    // An IPv6 address has colons of its own, and brackets.
    let (name, given) = match authority.rsplit_once(':') {
        Some((name, digits)) if !name.contains(':') || name.ends_with(']') => (name, Some(digits)),
        _ => (authority, None),
    };
    let port = given.map_or(Some(port), |d| d.parse().ok())?;
    let name = match name {
        // Where a server listens everywhere, a client finds it here.
        "" | "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        name if name.contains(char::is_whitespace) => return None,
        name => name,
    };
    Some(format!("{scheme}://{name}:{port}{}{path}", if path.is_empty() { "" } else { "/" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::ollama::{Modelfile, Translation, modelfile};

    #[test]
    fn addresses_are_read_as_ollama_reads_them() {
        for (host, want) in [
            ("", Some("http://127.0.0.1:11434")),
            ("box", Some("http://box:11434")),
            ("0.0.0.0:5000", Some("http://127.0.0.1:5000")),
            ("http://box", Some("http://box:80")),
            ("https://box/ollama/", Some("https://box:443/ollama")),
            ("[::1]:7", Some("http://[::1]:7")),
            ("[::]", Some("http://[::1]:11434")),
            ("ftp://box", None),
            ("box:port", None),
        ] {
            assert_eq!(address(host).as_deref(), want, "{host}");
        }
    }

    #[test]
    fn a_modelfile_is_read_as_it_was_written() {
        let template = "{{ range .Messages }}<s>\n{{ .Content }}\nFROM here # not\n{{ end }}\"".to_owned();
        let chat = Translation { template: Some(template.clone()), compared: 1, notes: vec!["left out:\ntwo lines".into()] };
        for adapter in [None, Some("adapter.gguf")] {
            let stops = ["<|im_end|>".to_owned(), "a \"b\" \\".to_owned(), "\\\"".to_owned()];
            let said = Modelfile { model: "model.gguf", adapter, chat: Some(&chat), stops: &stops, context: 2048 };
            let read = parse(&modelfile(&said)).unwrap();
            assert_eq!((read.model.as_str(), read.adapter.as_deref()), ("model.gguf", adapter));
            assert_eq!(read.template, Some(template.clone() + "{{ `` }}"));
            assert_eq!((&read.parameters["stop"], &read.parameters["num_ctx"]), (&stops.to_vec(), &vec!["2048".to_owned()]));
        }
        for (text, says) in [("", "FROM"), ("FROM /etc/passwd\n", "beside"), ("FROM ./a\nTEMPLATE \"\"\"x\n", "end"), ("RUN x\n", "RUN")] {
            assert!(parse(text).unwrap_err().contains(says), "{text}");
        }
    }
}
