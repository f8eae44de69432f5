//! Streamable HTTP on loopback: host, origin and bearer token are checked before anything else.

use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use super::door::{self, Answer, Door, Visitor, bearer, check_token, plain, same};
use super::server::Server;
use super::sessions::Sessions;
use super::tool::Shared;
use super::wire::{self, Read};
use super::{MOST_MESSAGE_BYTES, Options};
use crate::base::error::Fault;

type Service = StreamableHttpService<Server, Sessions>;

pub(super) async fn serve(
    address: SocketAddr,
    options: &Options,
    shared: Arc<Shared>,
    ready: &mut dyn FnMut(SocketAddr),
) -> Result<(), Fault> {
    check_token(address, options.token.as_deref(), "TALLOW_MCP_TOKEN")?;
    let (listener, address) = door::listen(address).await?;
    let log = shared.clone();
    let door = Door::new();
    let guard = Arc::new(Guard { service: service(options, shared), token: options.token.clone(), door: door.clone() });
    log.log.line(&format!("serving on http://{address}/mcp"));
    ready(address);
    let failed = |e: &std::io::Error| log.log.line(&format!("a connection failed: {e}"));
    let answer = move |request, visitor: Arc<Visitor>| {
        let guard = guard.clone();
        async move { guard.answer(request, &visitor).await }
    };
    door.serve(listener, failed, answer).await;
    Ok(())
}

fn service(options: &Options, shared: Arc<Shared>) -> Service {
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    hosts.extend(options.allowed_hosts.iter().cloned());
    // Pages that this machine serves, whatever their port: a client's own page, for example.
    let loopback = ["localhost", "127.0.0.1", "[::1]"].into_iter();
    let mut origins: Vec<String> = loopback.flat_map(|h| [format!("http://{h}:*"), format!("https://{h}:*")]).collect();
    origins.extend(options.allowed_origins.iter().cloned());
    let config = StreamableHttpServerConfig::default()
        .with_allowed_hosts(hosts)
        .with_allowed_origins(origins)
        .enforce_origin_validation()
        .with_max_request_body_bytes(MOST_MESSAGE_BYTES);
    StreamableHttpService::new(move || Ok(Server::new(shared.clone())), Arc::new(Sessions::new()), config)
}

/// Who may come in.
struct Guard {
    service: Service,
    token: Option<String>,
    door: Arc<Door>,
}

impl Guard {
    async fn answer(&self, request: Request<Incoming>, visitor: &Visitor) -> Answer {
        if let Some(response) = refuse(&request, self.token.as_deref()).or_else(|| self.door.admit(visitor)) {
            return response;
        }
        if request.method() != Method::POST {
            return self.service.handle(request).await;
        }
        match message(request).await {
            Ok(request) => self.service.handle(request).await,
            Err(response) => *response,
        }
    }
}

/// A request with its whole body, which is a message; or what is answered instead.
async fn message(request: Request<Incoming>) -> Result<Request<Full<Bytes>>, Box<Answer>> {
    let (head, body) = request.into_parts();
    let bytes = match door::whole(body, MOST_MESSAGE_BYTES).await {
        Ok(bytes) => bytes,
        Err((status @ StatusCode::PAYLOAD_TOO_LARGE, _)) => return Err(Box::new(refused(status, wire::too_long()))),
        Err((status, words)) => return Err(Box::new(plain(status, words))),
    };
    // The library answers what is no message with a line of text; a client of the protocol wants its error.
    match wire::read(&bytes) {
        Read::Message(_) => Ok(Request::from_parts(head, Full::new(bytes))),
        Read::Nothing if bytes.trim_ascii().is_empty() => Err(Box::new(plain(StatusCode::BAD_REQUEST, "the body is empty\n"))),
        Read::Refused(answer) if wire::is_no_method(&answer) => Err(Box::new(refused(StatusCode::NOT_FOUND, Read::Refused(answer)))),
        read => Err(Box::new(refused(StatusCode::BAD_REQUEST, read))),
    }
}

fn refused(status: StatusCode, read: Read) -> Answer {
    let Read::Refused(answer) = read else { return plain(StatusCode::ACCEPTED, "") };
    let mut response = plain(status, answer.to_string());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What is answered instead, where the path or the token is wrong.
fn refuse(request: &Request<Incoming>, token: Option<&str>) -> Option<Answer> {
    if request.uri().path() != "/mcp" {
        return Some(plain(StatusCode::NOT_FOUND, "the address is /mcp\n"));
    }
    let wanted = token?;
    let shown = request.headers().get(AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(bearer);
    if shown.is_some_and(|shown| same(shown.as_bytes(), wanted.as_bytes())) {
        return None;
    }
    let mut response = plain(StatusCode::UNAUTHORIZED, "a bearer token is needed\n");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tallow\""));
    Some(response)
}
