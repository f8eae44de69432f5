//! Who may ask: host, origin and tokens are looked at before anything else.
//!
//! ```text
//!   Host              names this server: a foreign name that was made to point here is refused
//!   Origin, Sec-Fetch the page's own, where the browser tells: other pages get nothing
//!   cookie or bearer  the server's token, where it has one
//!   X-Tallow-Token    only with requests that change something: a value that stands in the page,
//!                     which other pages cannot read
//! ```

use std::net::SocketAddr;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::{Method, Request, StatusCode};

use super::Options;
use crate::base::hash::sha256_bytes;
use crate::mcp::door::{bearer, same};

/// The header with the value that stands in the page.
const PAGE_TOKEN: HeaderName = HeaderName::from_static("x-tallow-token");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) &'static str);

#[derive(Debug)]
pub(super) struct Guard {
    token: Option<String>,
    /// Stands in the page; another one each time the server starts.
    pub(super) page_token: String,
    /// Host names without a port, in lower case.
    hosts: Vec<String>,
    cookie: String,
}

/// A value that nobody can guess: the standard library's hash maps get their keys from the system's
/// random numbers.
fn drawn() -> String {
    let draw = |n: u64| std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), n);
    let drawn: Vec<u8> = (0..8).flat_map(|n| draw(n).to_le_bytes()).collect();
    sha256_bytes(&drawn)
}

impl Guard {
    pub(super) fn new(address: SocketAddr, options: &Options) -> Self {
        let ip = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
        let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned(), ip];
        hosts.extend(options.allowed_hosts.iter().map(|h| h.to_ascii_lowercase()));
        let cookie = format!("tallow_{}", address.port());
        Self { token: options.token.clone(), page_token: drawn(), hosts, cookie }
    }

    /// Looks at a request. `Ok` says that it may be answered.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let headers = request.headers();
        let host = request.uri().authority().map(|a| a.as_str().to_owned()).or_else(|| text(headers, &HOST).map(str::to_owned));
        let host = host.ok_or(Refusal(StatusCode::BAD_REQUEST, "a Host header is needed"))?.to_ascii_lowercase();
        if headers.get_all(HOST).iter().count() > 1 || !self.hosts.iter().any(|known| *known == without_port(&host)) {
            return Err(Refusal(StatusCode::FORBIDDEN, "this server is not meant under that host name; see --allow-host"));
        }
        if !self.is_same_origin(headers, &host, request.uri().path().starts_with("/api/")) {
            return Err(Refusal(StatusCode::FORBIDDEN, "requests of other pages are refused"));
        }
        if !self.is_known(headers) {
            let words = "a token is needed: open http://HOST:PORT/?token=... with the value of TALLOW_WEB_TOKEN";
            return Err(Refusal(StatusCode::UNAUTHORIZED, words));
        }
        if request.method() == Method::POST { self.check_change(headers) } else { Ok(()) }
    }

    /// A navigation from elsewhere may open the page, but not read what it reads.
    fn is_same_origin(&self, headers: &HeaderMap, host: &str, is_api: bool) -> bool {
        let own = |origin: &str| {
            let origin = origin.to_ascii_lowercase();
            origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).is_some_and(|rest| rest == host)
        };
        if headers.contains_key(ORIGIN) && !text(headers, &ORIGIN).is_some_and(own) {
            return false;
        }
        !is_api || !headers.contains_key(FETCH_SITE) || matches!(text(headers, &FETCH_SITE), Some("same-origin" | "none"))
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        let Some(wanted) = &self.token else { return true };
        let fits = |shown: &str| same(shown.as_bytes(), wanted.as_bytes());
        let of_cookie = |all: &str| all.split(';').filter_map(|c| c.trim().split_once('=')).any(|(n, v)| n == self.cookie && fits(v));
        text(headers, &AUTHORIZATION).and_then(bearer).is_some_and(fits)
            || headers.get_all(COOKIE).iter().filter_map(|v| v.to_str().ok()).any(of_cookie)
    }

    fn check_change(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let shown = text(headers, &PAGE_TOKEN).unwrap_or_default();
        if !same(shown.as_bytes(), self.page_token.as_bytes()) {
            return Err(Refusal(StatusCode::FORBIDDEN, "the page is of an earlier start of this server: load it again"));
        }
        // A form can be sent from any page; JSON cannot without the browser asking first.
        let json = text(headers, &CONTENT_TYPE).is_some_and(|t| t.split(';').next().unwrap_or("").trim() == "application/json");
        if json { Ok(()) } else { Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")) }
    }

    /// The cookie for a browser that shows the right token in the address; `None` for a wrong one.
    pub(super) fn login(&self, shown: &str) -> Option<String> {
        let wanted = self.token.as_deref()?;
        let plain = wanted.bytes().all(|b| b.is_ascii_graphic() && !b";,\"\\".contains(&b));
        let fits = plain && same(shown.as_bytes(), wanted.as_bytes());
        fits.then(|| format!("{}={wanted}; Path=/; HttpOnly; SameSite=Strict", self.cookie))
    }

    /// Whether the request is one for `login`: it may come without a token, under a known host.
    pub(super) fn is_login<B>(&self, request: &Request<B>) -> bool {
        let host = text(request.headers(), &HOST).unwrap_or_default().to_ascii_lowercase();
        let known = self.hosts.iter().any(|known| *known == without_port(&host));
        known && self.token.is_some() && request.method() == Method::GET && request.uri().path() == "/"
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}
