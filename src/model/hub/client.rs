//! Requests to the Hub.
//!
//! The token goes to the Hub's own address and nowhere else: files are served from other hosts, to which an answer
//! redirects with an address that is signed already. What the Hub cannot do now (429, 5xx) is asked again after a while.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::HubOptions;
use crate::base::cancel;
use crate::base::error::Fault;

/// The Hub's address where no other is set.
pub(super) const HUB: &str = "https://huggingface.co";
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// Requests after the first, where the Hub cannot answer now.
const RETRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const MOST_REDIRECTS: usize = 8;
/// Most bytes of an answer that is read whole.
const MOST_JSON_BYTES: u64 = 64 << 20;
/// Most characters of what the Hub says that are passed on.
const MOST_SAID: usize = 300;

/// Why the Hub did not give what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Only the cache is to be used.
    Offline,
    /// Nothing answered, or not to its end.
    NoAnswer(String),
    /// An answer that refuses.
    Status {
        /// The HTTP status.
        status: u16,
        /// What the Hub says.
        message: String,
        /// Seconds after which it may be asked again, where it says so.
        retry_after: Option<u64>,
    },
    /// An answer that makes no sense.
    Answer(String),
    /// What arrived cannot be kept, or is not what was announced.
    Kept(String),
}

impl Refused {
    /// True when nothing answered, as opposed to an answer that refuses.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::NoAnswer(_))
    }

    /// What a person can do about it.
    pub fn hint(&self) -> String {
        let text = match self {
            Self::Offline => "unset HF_HUB_OFFLINE, or use what is in the cache",
            Self::NoAnswer(_) => "check the network, the proxy (HTTPS_PROXY) and HF_ENDPOINT, and try again",
            Self::Status { status: 401 | 403, .. } => {
                "the repository is gated or private and needs a valid HF_TOKEN of an account that was let in (ask for access on its \
                 page), or there is none of this name"
            }
            Self::Status { status: 404, .. } => "check the id and the revision",
            Self::Status { status: 429, retry_after: Some(seconds), .. } => {
                return format!("too many requests: try again in {seconds} seconds; with HF_TOKEN set the limit is higher");
            }
            Self::Status { status: 429, .. } => "too many requests: wait a few minutes; with HF_TOKEN set the limit is higher",
            Self::Status { .. } | Self::Answer(_) => "try again later, and check HF_ENDPOINT",
            Self::Kept(_) => "what had arrived whole is kept: the same command goes on from there",
        };
        text.to_owned()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Offline => f.write_str("HF_HUB_OFFLINE is on, so the Hub is not asked"),
            Self::NoAnswer(why) => write!(f, "the Hub cannot be reached: {why}"),
            Self::Status { status, message, .. } => {
                let kind = match status {
                    401 | 403 => {
                        ": access is refused: the repository is gated or private and needs a valid HF_TOKEN, or there is none of this name"
                    }
                    404 => ": there is no such model or revision",
                    429 => ": too many requests",
                    _ => "",
                };
                write!(f, "the Hub answers with status {status}{kind}")?;
                if message.is_empty() { Ok(()) } else { write!(f, " ({message})") }
            }
            Self::Answer(why) => write!(f, "the Hub's answer makes no sense: {why}"),
            Self::Kept(why) => f.write_str(why),
        }
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        let code = match &refused {
            Refused::Offline => "hub_offline",
            Refused::Status { status: 401 | 403, .. } => "hub_access",
            Refused::Status { status: 404, .. } => "hub_not_found",
            Refused::Status { status: 429, .. } => "hub_busy",
            _ => "hub_unavailable",
        };
        Self::new(code, refused.to_string()).hint(refused.hint())
    }
}

/// The Hub at one address.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
    /// The longest wait for a Hub that is too busy.
    longest_wait: Duration,
}

/// Scheme, host and port.
fn origin(url: &str) -> &str {
    let after = url.find("://").map_or(0, |i| i + 3);
    let end = url[after..].find(['/', '?', '#']).map_or(url.len(), |i| after + i);
    &url[..end]
}

/// An address without what may be secret in it.
fn plain(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// Where a redirect leads; never from an encrypted connection to an open one.
fn target(from: &str, location: &str) -> Result<String, Refused> {
    let to = match location {
        l if l.starts_with("//") => format!("{}:{l}", from.split(':').next().unwrap_or("https")),
        l if l.starts_with('/') => format!("{}{l}", origin(from)),
        l => l.to_owned(),
    };
    if from.starts_with("https://") && !to.starts_with("https://") || !to.starts_with("http") {
        return Err(Refused::Answer(format!("{} redirects to {}", plain(from), plain(&to))));
    }
    Ok(to)
}

/// One part of a path, or one value of a query, with what is not plain as `%XX`.
pub(super) fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

impl Client {
    /// # Errors
    /// Offline.
    pub(super) fn new(options: &HubOptions, longest_wait: Duration) -> Result<Self, Refused> {
        if options.offline {
            return Err(Refused::Offline);
        }
        let silence = options.silence.unwrap_or(SILENCE);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT.min(silence)))
            .timeout_recv_response(Some(silence))
            .timeout_per_read(Some(silence))
            // Sizes and hashes are of the bytes as they are stored.
            .accept_encoding("identity")
            .user_agent(concat!("tallow/", env!("CARGO_PKG_VERSION")));
        let endpoint = options.endpoint.as_deref().unwrap_or(HUB).trim_end_matches('/').to_owned();
        Ok(Self { agent: config.build().new_agent(), endpoint, token: options.token(), longest_wait })
    }

    /// An address at the Hub.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.endpoint)
    }

    fn token_for(&self, url: &str) -> Option<String> {
        let token = self.token.as_ref().filter(|_| origin(url) == origin(&self.endpoint))?;
        Some(format!("Bearer {token}"))
    }

    /// An answer that agrees: 200 or 206. `from`: only the bytes from there on.
    pub(super) fn get(&self, url: &str, from: u64) -> Result<Response<Body>, Refused> {
        let mut tries = 0;
        loop {
            cancel::checkpoint();
            let response = self.follow(url, from)?;
            if response.status().is_success() {
                return Ok(response);
            }
            let refused = refusal(response);
            tries += 1;
            let wait = match &refused {
                Refused::Status { status: 429, retry_after, .. } => retry_after.map_or(FIRST_WAIT * tries * tries, Duration::from_secs),
                Refused::Status { status: 500.., .. } => FIRST_WAIT * tries * tries,
                _ => return Err(refused),
            };
            if tries > RETRIES || wait > self.longest_wait {
                return Err(refused);
            }
            sleep(wait);
        }
    }

    fn follow(&self, url: &str, from: u64) -> Result<Response<Body>, Refused> {
        let mut url = url.to_owned();
        for _ in 0..MOST_REDIRECTS {
            let mut request = self.agent.get(&url);
            if from > 0 {
                request = request.header("range", format!("bytes={from}-"));
            }
            if let Some(value) = self.token_for(&url) {
                request = request.header("authorization", value);
            }
            let response = request.call().map_err(|e| Refused::NoAnswer(format!("{}: {e}", plain(&url))))?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = header(&response, "location").ok_or_else(|| Refused::Answer("a redirect to nowhere".into()))?;
            url = target(&url, &location)?;
        }
        Err(Refused::Answer(format!("{} redirects without end", plain(&url))))
    }

    /// What the Hub says of a file: its answer's headers, without following a redirect to where the bytes are.
    pub(super) fn head(&self, url: &str) -> Result<Response<Body>, Refused> {
        let mut url = url.to_owned();
        for _ in 0..MOST_REDIRECTS {
            cancel::checkpoint();
            let mut request = self.agent.head(&url);
            if let Some(value) = self.token_for(&url) {
                request = request.header("authorization", value);
            }
            let response = request.call().map_err(|e| Refused::NoAnswer(format!("{}: {e}", plain(&url))))?;
            let location = header(&response, "location").filter(|_| response.status().is_redirection());
            match location {
                // A repository that was renamed.
                Some(to) if to.starts_with('/') && header(&response, "x-linked-etag").is_none() => url = target(&url, &to)?,
                _ if response.status().is_success() || response.status().is_redirection() => return Ok(response),
                _ => return Err(refusal(response)),
            }
        }
        Err(Refused::Answer(format!("{} redirects without end", plain(&url))))
    }

    /// A JSON document of the Hub's.
    pub(super) fn json(&self, path: &str) -> Result<Value, Refused> {
        serde_json::from_str(&self.text(path)?).map_err(|e| Refused::Answer(format!("{}: {e}", plain(path))))
    }

    /// A small text of the Hub's.
    pub(super) fn text(&self, path: &str) -> Result<String, Refused> {
        let mut response = self.get(&self.url(path), 0)?;
        let body = response.body_mut().with_config().limit(MOST_JSON_BYTES);
        body.read_to_string().map_err(|e| Refused::NoAnswer(format!("{}: {e}", plain(path))))
    }
}

/// Waits, and ends early when nobody waits for the work any more.
pub(super) fn sleep(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        cancel::checkpoint();
        std::thread::sleep(Duration::from_millis(50).min(time));
    }
}

/// A header of an answer.
pub(super) fn header(response: &Response<Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.trim().to_owned())
}

/// Seconds until the Hub may be asked again: `Retry-After`, or `t=` of its own header.
fn retry_after(response: &Response<Body>) -> Option<u64> {
    let of_limit = || header(response, "ratelimit")?.split(';').find_map(|part| part.trim().strip_prefix("t=")?.parse().ok());
    header(response, "retry-after").and_then(|v| v.parse().ok()).or_else(of_limit)
}

fn refusal(mut response: Response<Body>) -> Refused {
    let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
    let said = header(&response, "x-error-message").or_else(|| {
        let text = response.body_mut().with_config().limit(1 << 16).read_to_string().ok()?;
        Some(serde_json::from_str::<Value>(&text).ok()?["error"].as_str()?.to_owned())
    });
    let message = said.unwrap_or_default().chars().filter(|c| !c.is_control()).take(MOST_SAID).collect();
    Refused::Status { status, message, retry_after }
}
