//! Streamable HTTP on loopback: host, origin and bearer token are checked before anything else.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};

use super::server::Server;
use super::sessions::Sessions;
use super::tool::Shared;
use super::wire::{self, Read};
use super::{MOST_MESSAGE_BYTES, Options};
use crate::base::error::Fault;

/// Connections of clients that have shown who they are, at once.
const MOST_CONNECTIONS: usize = 256;
/// Connections at once that have not yet. The next one takes the place of the oldest.
const MOST_STRANGERS: usize = 64;
/// How long a connection may take to show who it is.
const GREETING: Duration = Duration::from_secs(5);
/// How long a connection is kept between two requests.
const BETWEEN_REQUESTS: Duration = Duration::from_secs(60);
/// How long a client may take to send a message.
const BODY_WAIT: Duration = Duration::from_secs(30);
/// A shorter token can be guessed by trying.
const LEAST_TOKEN_BYTES: usize = 16;

type Service = StreamableHttpService<Server, Sessions>;
type Answer = Response<BoxBody<Bytes, Infallible>>;

fn check_token(address: SocketAddr, token: Option<&str>) -> Result<(), Fault> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let make = "set TALLOW_MCP_TOKEN to what `openssl rand -hex 16` prints, or use 127.0.0.1";
    match token {
        None => {
            Err(Fault::new("usage", format!("{address} can be reached from outside of this machine, and there is no token")).hint(make))
        }
        Some(token) if token.len() < LEAST_TOKEN_BYTES => {
            let message = format!("{address} can be reached from outside of this machine, and the token has {} bytes", token.len());
            Err(Fault::new("usage", message).hint(format!("at least {LEAST_TOKEN_BYTES} are needed; {make}")))
        }
        Some(_) => Ok(()),
    }
}

pub(super) async fn serve(
    address: SocketAddr,
    options: &Options,
    shared: Arc<Shared>,
    ready: &mut dyn FnMut(SocketAddr),
) -> Result<(), Fault> {
    check_token(address, options.token.as_deref())?;
    let fail = |e: std::io::Error| Fault::new("address_unavailable", format!("{address}: {e}")).hint("choose another port");
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    let log = shared.clone();
    let guard = Arc::new(Guard {
        service: service(options, shared),
        token: options.token.clone(),
        places: Semaphore::new(MOST_CONNECTIONS),
        strangers: Mutex::default(),
    });
    log.log.line(&format!("serving on http://{address}/mcp"));
    ready(address);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => guard.clone().take(stream),
            Err(e) => {
                log.log.line(&format!("a connection failed: {e}"));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
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

/// Who may come in, and how many.
struct Guard {
    service: Service,
    token: Option<String>,
    places: Semaphore,
    /// Connections that have not shown who they are, oldest first.
    strangers: Mutex<VecDeque<Arc<Stranger>>>,
}

/// A connection until its first good request.
#[derive(Default)]
struct Stranger {
    known: AtomicBool,
    /// Told when its place is needed.
    leave: Notify,
}

impl Guard {
    /// Serves a connection. A silent one never keeps another one waiting.
    fn take(self: Arc<Self>, stream: TcpStream) {
        // Answers are written in pieces; held back until the client has confirmed the piece before, each would be 40 ms
        // late. A socket that does not know the option works all the same.
        let _ = stream.set_nodelay(true);
        let stranger = Arc::new(Stranger::default());
        {
            let mut all = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|s| !s.known.load(Ordering::Relaxed) && Arc::strong_count(s) > 1);
            if all.len() >= MOST_STRANGERS
                && let Some(oldest) = all.pop_front()
            {
                oldest.leave.notify_one();
            }
            all.push_back(stranger.clone());
        }
        tokio::spawn(async move {
            let (guard, me) = (self.clone(), stranger.clone());
            let answer = service_fn(move |request: Request<Incoming>| {
                let (guard, me) = (guard.clone(), me.clone());
                async move { Ok::<_, Infallible>(guard.answer(request, &me).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(BETWEEN_REQUESTS)
                .serve_connection(TokioIo::new(stream), answer);
            tokio::pin!(connection);
            let overdue = async {
                tokio::select! {
                    () = tokio::time::sleep(GREETING) => {}
                    () = stranger.leave.notified() => {}
                }
                stranger.known.load(Ordering::Relaxed)
            };
            // A connection that breaks is the client's affair.
            tokio::select! {
                _ = &mut connection => return,
                is_known = overdue => if !is_known { return },
            }
            // A place is taken for as long as the connection lives.
            let Ok(_place) = self.places.acquire().await else { return };
            let _ = connection.await;
        });
    }

    async fn answer(&self, request: Request<Incoming>, me: &Stranger) -> Answer {
        if let Some(response) = refuse(&request, self.token.as_deref()) {
            return response;
        }
        if !me.known.load(Ordering::Relaxed) && self.places.available_permits() == 0 {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "too many clients are connected; try again later\n");
        }
        me.known.store(true, Ordering::Relaxed);
        if request.method() != Method::POST {
            return self.service.handle(request).await;
        }
        match message(request).await {
            Ok(request) => self.service.handle(request).await,
            Err(response) => *response,
        }
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(text.into()).boxed());
    *response.status_mut() = status;
    response
}

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

/// The token of `Authorization: Bearer TOKEN`; the scheme's name is the same in any case (RFC 9110).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
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

/// Equality in a time that does not tell how much of it holds.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let check = |address: &str, token: Option<&str>, ok: bool| {
            assert_eq!(check_token(address.parse().unwrap(), token).is_ok(), ok, "{address} {token:?}");
        };
        check("127.0.0.1:1", None, true);
        check("[::1]:1", Some("x"), true);
        check("0.0.0.0:1", None, false);
        check("192.168.1.2:1", Some("secret"), false);
        check("0.0.0.0:1", Some("0123456789abcdef"), true);
        for (header, want) in
            [("Bearer x", Some("x")), ("bearer x", Some("x")), ("BEARER  x ", Some("x")), ("Basic x", None), ("Bearerx", None), ("", None)]
        {
            assert_eq!(bearer(header), want, "{header}");
        }
    }
}
