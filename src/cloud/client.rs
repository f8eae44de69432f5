//! Requests to the service: the key in a header, answers within limits, and when to try again.
//!
//! ```text
//!   429            wait as Retry-After says, plus up to a quarter of it, then the same again
//!   5xx, no answer wait 1 s, 2 s, 4 s (each plus up to a quarter), then the same again
//!   400            the caller tries its next GPU or data centre
//!   402, 422, ...  never again
//! ```
//! A request that makes something is not repeated here after a failure that leaves open whether it
//! was carried out: the caller first looks whether the thing is there ([`super::pods`]).

use std::io::Read;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::{Method, Request};

use super::clock::ServiceClock;
use super::key::Key;
use super::problem;
use crate::base::cancel;
use crate::base::error::Fault;

/// Where the service is.
pub const ADDRESS: &str = "https://api.runpod.io";
/// Where the jobs of serverless endpoints are.
pub const JOBS_ADDRESS: &str = "https://api.runpod.ai";
/// Another address of the jobs; without it that of the service, where it is another one.
pub const JOBS_ADDRESS_VARIABLE: &str = "TALLOW_RUNPOD_JOBS_URL";
/// Another address, for a test or a proxy. Without TLS only this machine itself is allowed.
pub const ADDRESS_VARIABLE: &str = "TALLOW_RUNPOD_URL";

/// Most bytes of one answer.
const MOST_ANSWER: u64 = 16 << 20;
/// Tries of one request in all.
const TRIES: u32 = 4;
/// Longest wait that the service may ask for; more is a failure that says so.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// The service at one address, with a key.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    address: String,
    jobs_address: String,
    key: Key,
    /// What a second of waiting is; shorter in tests.
    second: Duration,
    clock: ServiceClock,
}

/// Whether a failed request may be repeated as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing, or the same twice is as once.
    Safe,
    /// It makes something: only where the service says that it did nothing (429).
    Unsafe,
}

impl Client {
    /// With the key and the address of the environment.
    ///
    /// # Errors
    /// When there is no key, or the address would send it unprotected.
    pub fn from_env() -> Result<Self, Fault> {
        let named = |variable| std::env::var(variable).ok().filter(|a| !a.trim().is_empty());
        let (address, jobs) = (named(ADDRESS_VARIABLE), named(JOBS_ADDRESS_VARIABLE));
        let jobs = jobs.as_deref().or(address.as_deref()).unwrap_or(JOBS_ADDRESS);
        let jobs_address = safe_address(jobs, JOBS_ADDRESS_VARIABLE)?;
        Ok(Self { jobs_address, ..Self::new(address.as_deref().unwrap_or(ADDRESS), Key::from_env()?)? })
    }

    /// At an address.
    ///
    /// # Errors
    /// When the address is neither https nor on this machine.
    pub fn new(address: &str, key: Key) -> Result<Self, Fault> {
        let address = safe_address(address, ADDRESS_VARIABLE)?;
        let jobs_address = address.clone();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would take the key to somebody else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .user_agent(concat!("tallow/", env!("CARGO_PKG_VERSION")));
        Ok(Self {
            agent: config.build().new_agent(),
            address,
            jobs_address,
            key,
            second: Duration::from_secs(1),
            clock: ServiceClock::default(),
        })
    }

    /// The same at the address of jobs.
    pub(super) fn at_jobs(&self) -> Self {
        Self { address: self.jobs_address.clone(), ..self.clone() }
    }

    /// The same with shorter waits between tries; for tests.
    #[must_use]
    pub fn with_second(self, second: Duration) -> Self {
        Self { second, ..self }
    }

    /// What a second of waiting is.
    pub fn second(&self) -> Duration {
        self.second
    }

    /// The time as the service's answers tell it.
    pub fn clock(&self) -> &ServiceClock {
        &self.clock
    }

    /// Waits so many seconds, in steps that heed a cancellation.
    pub fn sleep(&self, seconds: f64) {
        wait(self.second, seconds);
    }

    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        self.ask(&Method::GET, path, None::<&()>, Repeat::Safe)
    }

    /// An answer as a value of `T`. An answer without a body is read as `null`.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: Option<&impl Serialize>,
        repeat: Repeat,
    ) -> Result<T, Fault> {
        let text = self.text(method, path, body, repeat)?;
        let text = if text.trim().is_empty() { "null" } else { &text };
        serde_json::from_str(text).map_err(|e| {
            let message = format!("{}: the answer cannot be read: {e}", plain(path));
            Fault::new("cloud_answer", self.key.hide(&message)).hint("the service may have changed: try a newer version of this program")
        })
    }

    fn text(&self, method: &Method, path: &str, body: Option<&impl Serialize>, repeat: Repeat) -> Result<String, Fault> {
        let body = body.map(serde_json::to_vec).transpose().map_err(|e| Fault::new("internal", e.to_string()))?;
        let mut wait = 1.0;
        let mut turn = 0;
        loop {
            turn += 1;
            let (fault, again) = match self.once(method, path, body.as_deref()) {
                Ok((status, _, text)) if (200..300).contains(&status) => return Ok(text),
                Ok((status, after, text)) => {
                    let fault = problem::fault(plain(path), status, &text, &self.key);
                    let again = match status {
                        429 => Some(after.unwrap_or(wait)),
                        500..=599 if repeat == Repeat::Safe => Some(wait),
                        _ => None,
                    };
                    (fault, again)
                }
                Err(fault) => (fault, (repeat == Repeat::Safe).then_some(wait)),
            };
            let Some(seconds) = again.filter(|s| turn < TRIES && *s <= LONGEST_WAIT.as_secs_f64()) else { return Err(fault) };
            self.sleep(seconds * (1.0 + 0.25 * drawn()));
            wait *= 2.0;
        }
    }

    /// One try: status, seconds of Retry-After, text.
    fn once(&self, method: &Method, path: &str, body: Option<&[u8]>) -> Result<(u16, Option<f64>, String), Fault> {
        cancel::checkpoint();
        let unreachable = |e: ureq::Error| self.unreachable(path, &e.to_string());
        let request = self.request(method, path)?.header("content-type", "application/json").header("accept", "application/json");
        let request = request.body(body.unwrap_or_default().to_vec()).map_err(|e| Fault::new("internal", e.to_string()))?;
        let mut response = self.agent.run(request).map_err(unreachable)?;
        let after = response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.trim().parse::<f64>().ok());
        if let Some(theirs) = response.headers().get("date").and_then(|v| http_date(v.to_str().ok()?)) {
            self.clock.heard(theirs);
        }
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(MOST_ANSWER).read_to_string().map_err(unreachable)?;
        Ok((status, after.filter(|s| s.is_finite() && *s >= 0.0), text))
    }

    fn request(&self, method: &Method, path: &str) -> Result<ureq::http::request::Builder, Fault> {
        // A path holds names that others chose: what is not plain was encoded by `segment`.
        debug_assert!(path.starts_with('/'));
        Ok(Request::builder().method(method).uri(format!("{}{path}", self.address)).header("authorization", self.key.header()))
    }

    /// Opens a stream of events that ends after a few seconds.
    pub(super) fn brief_stream(&self, path: &str) -> Result<impl Read + use<>, Fault> {
        self.stream(path, None, Some(Duration::from_secs(4)))
    }

    /// Opens a stream of events; the reader ends when the service closes it, or after `most`.
    pub(super) fn stream(&self, path: &str, last_id: Option<&str>, most: Option<Duration>) -> Result<impl Read + use<>, Fault> {
        let mut request = self.request(&Method::GET, path)?.header("accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let request = request.body(Vec::new()).map_err(|e| Fault::new("cloud_answer", format!("an event has a strange name: {e}")))?;
        let request = self.agent.configure_request(request).timeout_recv_body(most).build();
        let mut response = self.agent.run(request).map_err(|e| self.unreachable(path, &e.to_string()))?;
        let status = response.status().as_u16();
        if status != 200 {
            let text = response.body_mut().with_config().limit(MOST_ANSWER).read_to_string().unwrap_or_default();
            return Err(problem::fault(plain(path), status, &text, &self.key));
        }
        Ok(response.into_body().into_reader())
    }

    fn unreachable(&self, path: &str, why: &str) -> Fault {
        let message = format!("{}{}: {why}", self.address, plain(path));
        Fault::new("cloud_unreachable", self.key.hide(&message)).hint("check the network; nothing is known about what the service did")
    }
}

/// Waits so many of these seconds, in steps that heed a cancellation.
pub(super) fn wait(second: Duration, seconds: f64) {
    let mut left = second.mul_f64(seconds.max(0.0));
    while !left.is_zero() {
        cancel::checkpoint();
        let part = left.min(Duration::from_millis(100));
        std::thread::sleep(part);
        left -= part;
    }
    cancel::checkpoint();
}

/// The time that an answer's header `date` says.
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    Some(jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp())
}

/// An address to which a key may be sent.
pub(super) fn safe_address(address: &str, variable: &str) -> Result<String, Fault> {
    let address = address.trim().trim_end_matches('/').to_owned();
    let local = ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"].iter().any(|a| address.starts_with(a));
    if !local && !address.starts_with("https://") || address.contains('@') {
        let message = format!("{variable}: the key would be sent unprotected");
        return Err(Fault::new("cloud_address", message).hint("use an address that begins with https://"));
    }
    Ok(address)
}

/// A path without its query.
fn plain(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}

/// A name as one segment of a path, or one value of a query.
pub(super) fn segment(name: &str) -> String {
    let keep = |b: &u8| b.is_ascii_alphanumeric() || b"-_.~".contains(b);
    name.as_bytes().iter().map(|b| if keep(b) { char::from(*b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// A number from 0 to 1 that differs from process to process and from call to call.
pub(super) fn drawn() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0u8) as f64 / u64::MAX as f64
}

/// Hexadecimal digits that nobody else has drawn.
pub(super) fn drawn_tag() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))[..10].to_owned()
}
