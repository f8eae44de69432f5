//! Files on a network volume through its S3 interface, without a pod.
//!
//! ```text
//!   up to PART bytes    PUT file
//!   more                POST ?uploads -> PUT ?partNumber=1.. (each answered by its ETag)
//!                       -> POST ?uploadId with all ETags: the file is there, whole
//! ```
//! The bucket is the volume, the region its data centre, a name is a path on the volume. Requests
//! are signed by a key of their own ([`super::sign`]); each body's SHA-256 is signed too, so what
//! arrives damaged is refused.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ureq::Agent;
use ureq::http::{Request, Response};

use super::client::{drawn, safe_address, segment};
use super::kinds::Volume;
use super::sign::{Parts, Signer};
use crate::base::cancel;
use crate::base::error::Fault;
use crate::base::hash::sha256_bytes;

/// Where the key's identifier is read from.
pub const S3_ID_VARIABLE: &str = "RUNPOD_S3_ACCESS_KEY_ID";
/// Where its secret is read from.
pub const S3_SECRET_VARIABLE: &str = "RUNPOD_S3_SECRET_ACCESS_KEY";
/// Another address, for a test or a proxy.
pub const S3_ADDRESS_VARIABLE: &str = "TALLOW_RUNPOD_S3_URL";

/// Data centres whose volumes have the interface, as the service's page names them.
pub const S3_DATA_CENTERS: [&str; 13] = [
    "EU-CZ-1", "EU-RO-1", "EUR-IS-1", "EUR-NO-1", "US-CA-2", "US-GA-2", "US-IL-1", "US-KS-2", "US-MD-1", "US-MO-1", "US-MO-2", "US-NC-1",
    "US-NC-2",
];

/// A key for the files of volumes, and where they are.
#[derive(Clone)]
pub struct S3Access {
    /// The key's identifier.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// Another address than the data centre's.
    pub address: Option<String>,
    /// Bytes of a part.
    pub part_bytes: u64,
}

impl std::fmt::Debug for S3Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("S3Access(hidden)")
    }
}

impl S3Access {
    /// That of the environment; `None` where it holds no key.
    pub fn from_env() -> Option<Self> {
        let var = |name: &str| std::env::var(name).ok().map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let (id, secret) = (var(S3_ID_VARIABLE)?, var(S3_SECRET_VARIABLE)?);
        Some(Self { id, secret, address: var(S3_ADDRESS_VARIABLE), part_bytes: PART })
    }

    /// The fault where there is none.
    pub fn missing() -> Fault {
        let message = format!("{S3_ID_VARIABLE} and {S3_SECRET_VARIABLE} are not both set");
        Fault::new("cloud_s3_key_missing", message)
            .hint("make an S3 key in the console of RunPod (Settings, S3 API Keys): it is not the key of the API")
    }
}

/// Bytes of a part; a part is held in memory. The service takes at most 500 MB.
const PART: u64 = 64 << 20;
/// Tries of a request in all.
const TRIES: u32 = 5;
/// Most bytes of an answer.
const MOST_ANSWER: u64 = 4 << 20;

/// A volume's files.
#[derive(Clone)]
pub struct Store {
    agent: Agent,
    address: String,
    bucket: String,
    signer: Signer,
    part: u64,
    second: Duration,
    /// Seconds by which the other clock is ahead, once it has said so.
    ahead: Arc<AtomicI64>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({}/{})", self.address, self.bucket)
    }
}

/// A request's method, name of a file (empty: none), query and body.
type Wish<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [u8]);

struct Answer {
    status: u16,
    etag: Option<String>,
    size: Option<u64>,
    date: Option<String>,
    text: String,
}

impl Store {
    /// Of a volume.
    ///
    /// # Errors
    /// When the volume's data centre has no such interface, or the address would not be safe.
    pub fn of(volume: &Volume, access: &S3Access, second: Duration) -> Result<Self, Fault> {
        let region = volume.data_center.clone();
        let address = match &access.address {
            Some(address) => address.clone(),
            None if S3_DATA_CENTERS.contains(&region.as_str()) => format!("https://s3api-{}.runpod.io", region.to_lowercase()),
            None => {
                return Err(Fault::new("cloud_no_s3", format!("volume {}: {region} has no S3 interface", volume.id))
                    .hint(format!("use a volume in one of {}", S3_DATA_CENTERS.join(", "))));
            }
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(15)))
            // Putting the parts of a large file together takes the service a while.
            .timeout_recv_response(Some(Duration::from_secs(300)))
            .user_agent(concat!("tallow/", env!("CARGO_PKG_VERSION")));
        Ok(Self {
            agent: config.build().new_agent(),
            address: safe_address(&address, S3_ADDRESS_VARIABLE)?,
            bucket: volume.id.clone(),
            signer: Signer { id: access.id.clone(), secret: access.secret.clone(), region },
            part: access.part_bytes.max(1),
            second,
            ahead: Arc::default(),
        })
    }

    /// Size and ETag of a file; `None` where there is none.
    ///
    /// # Errors
    /// When the service refuses.
    pub fn head(&self, name: &str) -> Result<Option<(u64, String)>, Fault> {
        let answer = self.ask(("HEAD", name, &[], b""))?;
        match answer.status {
            404 => Ok(None),
            _ => {
                let answer = self.good(name, answer)?;
                Ok(Some((answer.size.unwrap_or(0), answer.etag.unwrap_or_default())))
            }
        }
    }

    /// Sends a file; its ETag. Another file of this name is replaced, and only by the whole of this
    /// one. `told` hears the bytes that are there.
    ///
    /// # Errors
    /// When it cannot be read, the service refuses, or what arrived has another size.
    pub fn put(&self, local: &Path, name: &str, told: &mut dyn FnMut(u64)) -> Result<String, Fault> {
        let fault = |e: std::io::Error| Fault::io("read", local, &e);
        let mut file = File::open(local).map_err(fault)?;
        let size = file.metadata().map_err(fault)?.len();
        let etag = if size <= self.part {
            let mut body = Vec::new();
            file.read_to_end(&mut body).map_err(fault)?;
            self.good(name, self.ask(("PUT", name, &[], &body))?)?.etag.unwrap_or_default()
        } else {
            self.put_parts(&mut file, local, name, told)?
        };
        told(size);
        match self.head(name)? {
            Some((there, known)) if there == size => Ok(if known.is_empty() { etag } else { known }),
            found => {
                let there = found.map_or_else(|| "it is not there".to_owned(), |(n, _)| format!("it has {n} bytes there"));
                Err(Fault::new("cloud_s3_damaged", format!("{name}: {size} bytes were sent, {there}")).hint("send it again"))
            }
        }
    }

    fn put_parts(&self, file: &mut File, local: &Path, name: &str, told: &mut dyn FnMut(u64)) -> Result<String, Fault> {
        let begun = self.good(name, self.ask(("POST", name, &[("uploads", "")], b""))?)?;
        let strange = || Fault::new("cloud_answer", format!("{name}: the answer names no upload")).hint("try again");
        let id = tag(&begun.text, "UploadId").ok_or_else(strange)?;
        let sent = self.send_parts(file, local, name, &id, told).and_then(|list| self.complete(name, &id, &list));
        if sent.is_err() {
            // What is there of it takes room until it is given up. A failure of that is told by nobody.
            let _ = self.ask(("DELETE", name, &[("uploadId", &id)], b""));
        }
        sent
    }

    fn send_parts(&self, file: &mut File, local: &Path, name: &str, id: &str, told: &mut dyn FnMut(u64)) -> Result<String, Fault> {
        let (mut list, mut sent) = (String::new(), 0);
        for number in 1_u32.. {
            let mut body = Vec::new();
            file.take(self.part).read_to_end(&mut body).map_err(|e| Fault::io("read", local, &e))?;
            if body.is_empty() {
                break;
            }
            let text = number.to_string();
            let answer = self.good(name, self.ask(("PUT", name, &[("partNumber", &text), ("uploadId", id)], &body))?)?;
            let etag = answer.etag.ok_or_else(|| Fault::new("cloud_answer", format!("{name}: part {number} got no ETag")))?;
            let _ = write!(list, "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>", etag.replace('"', "&quot;"));
            sent += body.len() as u64;
            told(sent);
        }
        Ok(list)
    }

    fn complete(&self, name: &str, id: &str, list: &str) -> Result<String, Fault> {
        let body = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        let answer = self.ask(("POST", name, &[("uploadId", id)], body.as_bytes()))?;
        if answer.status == 404 {
            // The answer of a try before this one was lost: the file is there then.
            return self.head(name)?.map(|(_, etag)| etag).ok_or_else(|| self.fault(name, &answer));
        }
        let answer = self.good(name, answer)?;
        match tag(&answer.text, "Code") {
            Some(code) => Err(Fault::new("cloud_s3_failed", format!("{name}: {code}")).hint("send it again")),
            None => Ok(tag(&answer.text, "ETag").unwrap_or_default().replace("&quot;", "\"")),
        }
    }

    /// Removes a file; one that is not there is no failure.
    ///
    /// # Errors
    /// When the service refuses.
    pub fn delete(&self, name: &str) -> Result<(), Fault> {
        let answer = self.ask(("DELETE", name, &[], b""))?;
        if answer.status == 404 { Ok(()) } else { self.good(name, answer).map(|_| ()) }
    }

    /// Gives up uploads that began under a prefix and never ended: their parts take room.
    ///
    /// # Errors
    /// When the service refuses.
    pub fn give_up(&self, prefix: &str) -> Result<usize, Fault> {
        let listed = self.good(prefix, self.ask(("GET", "", &[("prefix", prefix), ("uploads", "")], b""))?)?;
        let mut count = 0;
        for upload in listed.text.split("<Upload>").skip(1) {
            let (Some(key), Some(id)) = (tag(upload, "Key"), tag(upload, "UploadId")) else { continue };
            if key.starts_with(prefix) {
                let answer = self.ask(("DELETE", &key, &[("uploadId", &id)], b""))?;
                if answer.status != 404 {
                    self.good(&key, answer)?;
                }
                count += 1;
            }
        }
        Ok(count)
    }

    /// Names of files under a prefix, at most a thousand.
    ///
    /// # Errors
    /// When the service refuses.
    pub fn list(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        let listed = self.good(prefix, self.ask(("GET", "", &[("list-type", "2"), ("prefix", prefix)], b""))?)?;
        Ok(listed.text.split("<Contents>").skip(1).filter_map(|part| tag(part, "Key")).collect())
    }

    /// An answer, after tries of what can be tried again: all requests here can.
    fn ask(&self, wish: Wish<'_>) -> Result<Answer, Fault> {
        let (mut wait, mut turn) = (1.0, 0);
        loop {
            turn += 1;
            let result = self.once(wish);
            let skewed = |a: &Answer| a.status == 403 && (a.text.contains("RequestTimeTooSkewed") || a.text.contains("RequestExpired"));
            match &result {
                Ok(answer) if skewed(answer) && turn == 1 && self.set_clock(answer) => continue,
                Ok(answer) if answer.status != 429 && answer.status < 500 => return result,
                _ if turn >= TRIES => return result,
                _ => {}
            }
            super::client::wait(self.second, wait * (1.0 + 0.25 * drawn()));
            wait *= 2.0;
        }
    }

    /// Takes the other clock for the time from now on; false where it says none.
    fn set_clock(&self, answer: &Answer) -> bool {
        let Some(theirs) = answer.date.as_deref().and_then(super::client::http_date) else { return false };
        self.ahead.store(theirs.duration_since(Timestamp::now()).as_secs(), Ordering::Relaxed);
        true
    }

    fn once(&self, (method, name, query, body): Wish<'_>) -> Result<Answer, Fault> {
        cancel::checkpoint();
        let encoded: Vec<String> = name.split('/').filter(|part| !part.is_empty()).map(segment).collect();
        let bucket = segment(&self.bucket);
        let path = if encoded.is_empty() { format!("/{bucket}") } else { format!("/{bucket}/{}", encoded.join("/")) };
        let mut pairs: Vec<String> = query.iter().map(|(n, v)| format!("{}={}", segment(n), segment(v))).collect();
        pairs.sort();
        let query = pairs.join("&");
        let host = self.address.split_once("://").map_or("", |(_, host)| host).to_owned();
        let now = Timestamp::now().saturating_add(SignedDuration::from_secs(self.ahead.load(Ordering::Relaxed)));
        let time = now.map_or_else(|_| String::new(), |now| now.strftime("%Y%m%dT%H%M%SZ").to_string());
        let hash = sha256_bytes(body);
        let headers = [("host", host), ("x-amz-content-sha256", hash.clone()), ("x-amz-date", time.clone())];
        let parts = Parts { method, path: &path, query: &query, headers: &headers, body: &hash, time: &time };
        let authorization = self.signer.authorization(&parts);
        let mark = if query.is_empty() { String::new() } else { format!("?{query}") };
        let request = Request::builder().method(method).uri(format!("{}{path}{mark}", self.address));
        let request = request.header("x-amz-content-sha256", &hash).header("x-amz-date", &time).header("authorization", authorization);
        let request = request.body(body.to_vec()).map_err(|e| Fault::new("internal", e.to_string()))?;
        let unreachable = |e: ureq::Error| {
            Fault::new("cloud_unreachable", format!("{}{path}: {}", self.address, self.hide(&e.to_string()))).hint("check the network")
        };
        let mut response = self.agent.run(request).map_err(unreachable)?;
        let of = |response: &Response<ureq::Body>, name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (etag, date) = (of(&response, "etag"), of(&response, "date"));
        let size = of(&response, "content-length").and_then(|n| n.parse().ok());
        let status = response.status().as_u16();
        let text = if method == "HEAD" {
            String::new()
        } else {
            response.body_mut().with_config().limit(MOST_ANSWER).read_to_string().map_err(unreachable)?
        };
        Ok(Answer { status, etag, size, date, text })
    }

    fn good(&self, name: &str, answer: Answer) -> Result<Answer, Fault> {
        if (200..300).contains(&answer.status) { Ok(answer) } else { Err(self.fault(name, &answer)) }
    }

    fn hide(&self, text: &str) -> String {
        text.replace(&self.signer.secret, "[secret]")
    }

    fn fault(&self, name: &str, answer: &Answer) -> Fault {
        let said = tag(&answer.text, "Message").or_else(|| tag(&answer.text, "Code")).unwrap_or_else(|| "no reason was given".into());
        let said: String = self.hide(&said).chars().filter(|c| !c.is_control()).take(300).collect();
        let (code, hint) = match answer.status {
            401 | 403 => ("cloud_s3_refused", "the S3 key is wrong, or not of this account: make another one in the console of RunPod"),
            404 => ("cloud_not_found", "look whether the volume is there"),
            507 => ("cloud_volume_full", "make the volume larger, or remove files from it"),
            429 | 500..=599 => ("cloud_unavailable", "the service failed: try again in a few minutes"),
            _ => ("cloud_s3_failed", "look at the volume in the console of RunPod"),
        };
        Fault::new(code, format!("volume {}, {name}: {} {said}", self.bucket, answer.status)).hint(hint)
    }
}

/// The text of the first element of this name.
fn tag(text: &str, name: &str) -> Option<String> {
    let from = text.split_once(&format!("<{name}>"))?.1;
    let text = from.split_once(&format!("</{name}>"))?.0;
    Some(text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&"))
}
