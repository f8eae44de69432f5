//! Streamable HTTP on loopback: host, origin and bearer token are checked before anything else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::server::Server;
use super::tool::Desk;
use super::wire::{self, Read};
use super::{MOST_MESSAGE_BYTES, Options};
use crate::base::error::Fault;

/// Connections at once.
const MOST_CONNECTIONS: usize = 256;

/// How long a session is kept that nobody uses: somebody who starts a run may come back after a while.
const IDLE: Duration = Duration::from_secs(3600);

pub(super) async fn serve(address: SocketAddr, options: &Options, desk: Arc<Desk>, ready: &mut dyn FnMut(SocketAddr)) -> Result<(), Fault> {
    if !address.ip().is_loopback() && options.token.is_none() {
        return Err(Fault::new("usage", format!("{address} can be reached from outside of this machine, and there is no token"))
            .hint("set TALLOW_MCP_TOKEN, or use 127.0.0.1"));
    }
    let fail = |e: std::io::Error| Fault::new("address_unavailable", format!("{address}: {e}")).hint("choose another port");
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    hosts.extend(options.allowed_hosts.iter().cloned());
    let mut origins: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].iter().map(|h| format!("http://{h}:{}", address.port())).collect();
    origins.extend(options.allowed_origins.iter().cloned());
    let config = StreamableHttpServerConfig::default()
        .with_allowed_hosts(hosts)
        .with_allowed_origins(origins)
        .enforce_origin_validation()
        .with_max_request_body_bytes(MOST_MESSAGE_BYTES);
    let shared = desk.clone();
    let mut sessions = LocalSessionManager::default();
    sessions.session_config.keep_alive = Some(IDLE);
    let service = StreamableHttpService::new(move || Ok(Server::new(shared.clone())), Arc::new(sessions), config);
    desk.log.line(&format!("serving on http://{address}/mcp"));
    ready(address);
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let token: Option<Arc<str>> = options.token.as_deref().map(Into::into);
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => {
                desk.log.line(&format!("a connection failed: {e}"));
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Answers are written in pieces; held back until the client has confirmed the piece before, each would be 40 ms late.
        // A socket that does not know the option works all the same.
        let _ = stream.set_nodelay(true);
        let (service, token) = (service.clone(), token.clone());
        tokio::spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                let (service, token) = (service.clone(), token.clone());
                async move {
                    if let Some(response) = refuse(&request, token.as_deref()) {
                        return Ok::<_, Infallible>(response);
                    }
                    if request.method() != Method::POST {
                        return Ok(service.handle(request).await);
                    }
                    Ok(match message(request).await {
                        Ok(request) => service.handle(request).await,
                        Err(response) => *response,
                    })
                }
            });
            // A connection that breaks is the client's affair.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30))
                .serve_connection(TokioIo::new(stream), answer)
                .await;
            drop(place);
        });
    }
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(text.into()).boxed());
    *response.status_mut() = status;
    response
}

/// How long a client may take to send a message.
const BODY_WAIT: Duration = Duration::from_secs(30);

/// A request with its whole body, which is a message; or what is answered instead.
async fn message(request: Request<Incoming>) -> Result<Request<Full<Bytes>>, Box<Answer>> {
    let (head, body) = request.into_parts();
    let limited = Limited::new(body, MOST_MESSAGE_BYTES).collect();
    let bytes = match tokio::time::timeout(BODY_WAIT, limited).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(e)) if e.is::<LengthLimitError>() => return Err(Box::new(refused(StatusCode::PAYLOAD_TOO_LARGE, wire::too_long()))),
        Ok(Err(_)) => return Err(Box::new(plain(StatusCode::BAD_REQUEST, "the body broke off\n"))),
        Err(_) => return Err(Box::new(plain(StatusCode::REQUEST_TIMEOUT, "the body took too long\n"))),
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
    let shown = request.headers().get(AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    if shown.is_some_and(|shown| same(shown.as_bytes(), wanted.as_bytes())) {
        return None;
    }
    let mut response = plain(StatusCode::UNAUTHORIZED, "a bearer token is needed\n");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tallow\""));
    Some(response)
}

/// Equality in a time that does not tell how much of it holds.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}
