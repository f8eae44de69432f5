//! Who may ask: host, origin and token are looked at before anything else.

use std::net::SocketAddr;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::{Method, Request, StatusCode};

use super::Options;
use super::fault::Refused;
use crate::mcp::door::{bearer, same};

#[derive(Debug)]
pub(super) struct Guard {
    token: Option<String>,
    /// Host names without a port, in lower case.
    hosts: Vec<String>,
}

impl Guard {
    pub(super) fn new(address: SocketAddr, options: &Options) -> Self {
        let ip = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
        let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned(), ip];
        hosts.extend(options.allowed_hosts.iter().map(|h| h.to_ascii_lowercase()));
        Self { token: options.token.clone(), hosts }
    }

    /// Looks at a request. `Ok` says that it may be answered.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Refused> {
        let headers = request.headers();
        let named = request.uri().authority().map(|a| a.as_str().to_owned()).or_else(|| text(headers, &HOST).map(str::to_owned));
        let named = named.ok_or_else(|| Refused::new(StatusCode::BAD_REQUEST, "no_host", "a Host header is needed"))?;
        let host = without_port(&named).to_ascii_lowercase();
        if headers.get_all(HOST).iter().count() > 1 || !self.hosts.contains(&host) {
            let words = "this server is not meant under that host name; it is started with --allow-host for others";
            return Err(Refused::new(StatusCode::FORBIDDEN, "unknown_host", words));
        }
        // Programs send none; a page in a browser does, and none is served here.
        if headers.contains_key(ORIGIN) {
            return Err(Refused::new(StatusCode::FORBIDDEN, "foreign_origin", "requests of web pages are refused"));
        }
        if !self.is_known(headers) {
            let words = "a bearer token is needed: the value of TALLOW_SERVE_TOKEN as the client's API key";
            return Err(Refused::new(StatusCode::UNAUTHORIZED, "invalid_api_key", words));
        }
        let json = text(headers, &CONTENT_TYPE).is_some_and(|t| t.split(';').next().unwrap_or("").trim() == "application/json");
        if request.method() == Method::POST && !json {
            let words = "the body must be JSON, with the header Content-Type: application/json";
            return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "no_json", words));
        }
        Ok(())
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        let Some(wanted) = &self.token else { return true };
        text(headers, &AUTHORIZATION).and_then(bearer).is_some_and(|shown| same(shown.as_bytes(), wanted.as_bytes()))
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
