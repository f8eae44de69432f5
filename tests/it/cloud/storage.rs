//! The fake's network volumes and templates, and a subset of S3 for the files of volumes: signatures,
//! hashes of bodies, parts and ETags are checked.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::fake::{State, refused};

/// The S3 key that it takes.
pub const S3_ID: &str = "user_ofthetests";
pub const S3_SECRET: &str = "rps_THISISTHESECRETTHATNOBODYSHOWS";

/// US dollars of a volume, an hour and GB.
const GB_HOUR: f64 = 0.07 / 730.0;

pub struct Volume {
    pub name: String,
    pub gb: u64,
    pub center: String,
    pub files: BTreeMap<String, Vec<u8>>,
    /// US dollars until now.
    pub cost: f64,
    pub is_gone: bool,
}

/// A multipart upload under way.
pub struct Upload {
    volume: String,
    key: String,
    parts: BTreeMap<u32, Vec<u8>>,
}

pub struct Books {
    pub volumes: BTreeMap<String, Volume>,
    pub templates: BTreeMap<String, Value>,
    pub uploads: BTreeMap<String, Upload>,
    /// Bytes that arrived as bodies.
    pub arrived: usize,
    /// Looks for which volumes are still in use.
    pub busy_looks: u32,
    made: u32,
}

impl Default for Books {
    fn default() -> Self {
        let first = Volume { name: "data".into(), gb: 20, center: "EU-RO-1".into(), files: BTreeMap::new(), cost: 0.0, is_gone: false };
        let volumes = BTreeMap::from([("vol1".to_owned(), first)]);
        Self { volumes, templates: BTreeMap::new(), uploads: BTreeMap::new(), arrived: 0, busy_looks: 0, made: 1 }
    }
}

impl Books {
    /// Volumes that are there; the tests' own, which was there before, is left out.
    pub fn alive(&self) -> Vec<String> {
        self.volumes.iter().filter(|(id, v)| !v.is_gone && *id != "vol1").map(|(id, _)| id.clone()).collect()
    }

    /// What the time costs.
    pub fn advance(&mut self, hours: f64) -> f64 {
        let there = self.volumes.iter_mut().filter(|(id, v)| !v.is_gone && *id != "vol1");
        there
            .map(|(_, v)| {
                let cost = hours * v.gb as f64 * GB_HOUR;
                v.cost += cost;
                cost
            })
            .sum()
    }
}

fn seen(id: &str, v: &Volume) -> Value {
    json!({"id": id, "name": v.name, "size": v.gb, "dataCenter": v.center, "type": "STANDARD"})
}

/// Requests by the document.
pub fn act(state: &mut State, method: &str, parts: &[&str], query: &str, wish: &Value) -> (u16, Value) {
    let balance = state.balance;
    let books = &mut state.store;
    let gone = |books: &Books, id: &str| books.volumes.get(id).is_none_or(|v| v.is_gone);
    match (method, parts) {
        ("GET", ["network-volumes"]) => {
            let there = books.volumes.iter().filter(|(_, v)| !v.is_gone);
            (200, json!({"networkVolumes": there.map(|(id, v)| seen(id, v)).collect::<Vec<_>>()}))
        }
        ("POST", ["network-volumes"]) if balance <= 0.0 => refused(402, "insufficient balance"),
        ("POST", ["network-volumes"]) => {
            books.made += 1;
            let id = format!("vol{}", books.made);
            let text = |name: &str| wish[name].as_str().unwrap().to_owned();
            let (name, center, gb) = (text("name"), text("dataCenter"), wish["size"].as_u64().unwrap());
            let volume = Volume { name, gb, center, files: BTreeMap::new(), cost: 0.0, is_gone: false };
            let told = seen(&id, &volume);
            books.volumes.insert(id, volume);
            (201, told)
        }
        ("GET", ["billing", "network-volumes"]) => {
            let one = query.split('&').find_map(|q| q.strip_prefix("networkVolumeId="));
            let sum: f64 = books.volumes.iter().filter(|(id, _)| one.is_none_or(|o| o == id.as_str())).map(|(_, v)| v.cost).sum();
            let amounts = json!({"totalAmount": sum, "standardAmount": sum, "highPerformanceAmount": 0.0});
            let query = json!({"startTime": "2026-11-01T00:00:00Z", "endTime": "2026-11-02T00:00:00Z", "bucketSize": "day"});
            (200, json!({"records": [], "metadata": {"query": query, "recordCount": 0, "uniqueNetworkVolumeCount": 0, "totals": amounts}}))
        }
        (_, ["network-volumes", id]) if gone(books, id) => refused(404, "volume not found"),
        ("GET", ["network-volumes", id]) => (200, seen(id, &books.volumes[*id])),
        ("DELETE", ["network-volumes", id]) => {
            let used = state.endpoints.values().any(|e| e["networkVolumes"].as_array().is_some_and(|all| all.iter().any(|v| v == id)));
            if used || books.busy_looks > 0 {
                books.busy_looks = books.busy_looks.saturating_sub(1);
                return refused(409, "the volume is in use");
            }
            let volume = books.volumes.get_mut(*id).unwrap();
            volume.is_gone = true;
            volume.files.clear();
            books.uploads.retain(|_, u| u.volume != *id);
            (204, Value::Null)
        }
        ("GET", ["templates"]) => (200, json!({"templates": books.templates.values().collect::<Vec<_>>()})),
        ("POST", ["templates"]) => {
            books.made += 1;
            let id = format!("tpl{}", books.made);
            let or = |name: &str, other: Value| if wish[name].is_null() { other } else { wish[name].clone() };
            let template = json!({
                "id": id, "name": wish["name"], "image": wish["image"], "args": or("args", "".into()), "disk": or("disk", 20.into()),
                "mounts": {}, "ports": or("ports", json!([])), "env": or("env", json!({})), "registry": null, "serverless": or("serverless", false.into()),
                "public": false, "category": "NVIDIA", "startSsh": true, "startJupyter": true, "allowedCudaVersions": []
            });
            books.templates.insert(id, template.clone());
            (201, template)
        }
        (_, ["templates", id]) if !books.templates.contains_key(*id) => refused(404, "template not found"),
        ("GET", ["templates", id]) => (200, books.templates[*id].clone()),
        ("DELETE", ["templates", id]) => {
            books.templates.remove(*id);
            (204, Value::Null)
        }
        _ => refused(405, "method not allowed"),
    }
}

/// Whether a request is one of S3.
pub fn is_for(target: &str) -> bool {
    !target.starts_with("/v2/") && !target.starts_with("/graphql")
}

pub struct Answer {
    status: u16,
    etag: Option<String>,
    /// Of a HEAD.
    size: Option<usize>,
    text: String,
}

impl Answer {
    fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, etag: None, size: None, text: text.into() }
    }

    fn error(status: u16, code: &str) -> Self {
        Self::new(status, format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>"))
    }

    pub fn write(self, mut stream: &TcpStream, date: &str, is_head: bool) -> std::io::Result<()> {
        let etag = self.etag.map_or_else(String::new, |e| format!("etag: {e}\r\n"));
        let length = self.size.unwrap_or(self.text.len());
        let text = if is_head { "" } else { &self.text };
        write!(stream, "HTTP/1.1 {} X\r\ndate: {date}\r\n{etag}content-length: {length}\r\nconnection: close\r\n\r\n{text}", self.status)
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut padded = [0_u8; 64];
    padded[..key.len()].copy_from_slice(key);
    let with = |pad: u8, rest: &[u8]| Sha256::digest([padded.map(|b| b ^ pad).as_slice(), rest].concat()).to_vec();
    with(0x5c, &with(0x36, text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What is wrong with how a request is signed.
fn unsigned(state: &State, method: &str, target: &str, body: &[u8], headers: &BTreeMap<String, String>) -> Option<&'static str> {
    let header = |name: &str| headers.get(name).map_or("", String::as_str);
    if header("x-amz-content-sha256") != hex(&Sha256::digest(body)) {
        return Some("XAmzContentSHA256Mismatch");
    }
    let time = header("x-amz-date");
    let at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", time).ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    if state.now().duration_since(at).as_secs().abs() > 3600 {
        return Some("RequestTimeTooSkewed");
    }
    let field = |name: &str| header("authorization").split([' ', ',']).find_map(|f| f.strip_prefix(&format!("{name}="))).unwrap_or("");
    let mut credential = field("Credential").splitn(2, '/');
    let (id, scope) = (credential.next().unwrap_or(""), credential.next().unwrap_or(""));
    if id != S3_ID {
        return Some("InvalidAccessKeyId");
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut pairs: Vec<&str> = query.split('&').filter(|p| !p.is_empty()).collect();
    pairs.sort_unstable();
    let names = field("SignedHeaders");
    assert!(["host", "x-amz-content-sha256", "x-amz-date"].iter().all(|n| names.split(';').any(|m| m == *n)), "{names}");
    let lines: String = names.split(';').map(|n| format!("{n}:{}\n", header(n))).collect();
    let request = format!("{method}\n{path}\n{}\n{lines}\n{names}\n{}", pairs.join("&"), header("x-amz-content-sha256"));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
    let volume = path.split('/').nth(1).and_then(|id| state.store.volumes.get(id));
    let region = scope.split('/').nth(1).unwrap_or("");
    assert!(scope.starts_with(&time[..8]) && volume.is_none_or(|v| v.center == region), "{scope}");
    let mut key = format!("AWS4{S3_SECRET}").into_bytes();
    for word in scope.split('/') {
        key = hmac(&key, word);
    }
    (field("Signature") != hex(&hmac(&key, &text))).then_some("SignatureDoesNotMatch")
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&more[..2]).unwrap(), 16).unwrap());
            rest = &more[2..];
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn etag_of(bytes: &[u8]) -> String {
    format!("\"{}\"", &hex(&Sha256::digest(bytes))[..32])
}

/// A request about files.
pub fn answer(state: &mut State, method: &str, target: &str, body: &[u8], headers: &BTreeMap<String, String>) -> Answer {
    if let Some(code) = unsigned(state, method, target, body, headers) {
        return Answer::error(403, code);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (id, key) = (parts.next().unwrap_or("").to_owned(), decoded(parts.next().unwrap_or("")));
    let given = |name: &str| query.split('&').find_map(|q| q.strip_prefix(&format!("{name}="))).map(decoded);
    let books = &mut state.store;
    books.arrived += body.len();
    let Some(volume) = books.volumes.get_mut(&id).filter(|v| !v.is_gone) else { return Answer::error(404, "NoSuchBucket") };
    let upload = given("uploadId");
    if let Some(upload) = upload.as_ref().filter(|u| books.uploads.get(*u).is_none_or(|x| x.key != key || x.volume != id)) {
        return Answer::error(404, if upload.is_empty() { "InvalidRequest" } else { "NoSuchUpload" });
    }
    match (method, key.as_str(), upload) {
        ("GET", "", None) if given("uploads").is_some() => {
            let prefix = given("prefix").unwrap_or_default();
            let fits = books.uploads.iter().filter(|(_, u)| u.volume == id && u.key.starts_with(&prefix));
            let text: String = fits.map(|(id, u)| format!("<Upload><Key>{}</Key><UploadId>{id}</UploadId></Upload>", u.key)).collect();
            Answer::new(200, format!("<ListMultipartUploadsResult>{text}</ListMultipartUploadsResult>"))
        }
        ("GET", "", None) => {
            let prefix = given("prefix").unwrap_or_default();
            let text: String =
                volume.files.keys().filter(|k| k.starts_with(&prefix)).map(|k| format!("<Contents><Key>{k}</Key></Contents>")).collect();
            Answer::new(200, format!("<ListBucketResult>{text}</ListBucketResult>"))
        }
        ("HEAD", _, None) => match volume.files.get(&key) {
            Some(bytes) => Answer { etag: Some(etag_of(bytes)), size: Some(bytes.len()), ..Answer::new(200, "") },
            None => Answer::new(404, ""),
        },
        ("PUT", _, None) => {
            volume.files.insert(key, body.to_vec());
            Answer { etag: Some(etag_of(body)), ..Answer::new(200, "") }
        }
        ("POST", _, None) if given("uploads").is_some() => {
            books.made += 1;
            let name = format!("upload{}", books.made);
            let text = format!("<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>");
            books.uploads.insert(name, Upload { volume: id, key, parts: BTreeMap::new() });
            Answer::new(200, text)
        }
        ("PUT", _, Some(upload)) => {
            let number = given("partNumber").unwrap().parse().unwrap();
            books.uploads.get_mut(&upload).unwrap().parts.insert(number, body.to_vec());
            Answer { etag: Some(etag_of(body)), ..Answer::new(200, "") }
        }
        ("POST", _, Some(upload)) => {
            let said = String::from_utf8(body.to_vec()).unwrap().replace("&quot;", "\"");
            let held = &books.uploads[&upload].parts;
            let wanted: String =
                held.iter().map(|(n, bytes)| format!("<Part><PartNumber>{n}</PartNumber><ETag>{}</ETag></Part>", etag_of(bytes))).collect();
            if said != format!("<CompleteMultipartUpload>{wanted}</CompleteMultipartUpload>") {
                return Answer::error(400, "InvalidPart");
            }
            let whole: Vec<u8> = books.uploads.remove(&upload).unwrap().parts.into_values().flatten().collect();
            let etag = etag_of(&whole).replace('"', "&quot;");
            volume.files.insert(key, whole);
            Answer::new(200, format!("<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>"))
        }
        ("DELETE", _, Some(upload)) => {
            books.uploads.remove(&upload);
            Answer::new(204, "")
        }
        ("DELETE", _, None) => {
            volume.files.remove(&key);
            Answer::new(204, "")
        }
        _ => Answer::error(405, "MethodNotAllowed"),
    }
}
