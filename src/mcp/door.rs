//! The door of an HTTP server: how many connections there are, and how long one may take to show
//! who it is. Who is let in is the server's own affair.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;
use tokio::sync::{Notify, Semaphore};

use crate::base::error::Fault;

/// Connections of clients that have shown who they are, at once.
const MOST_CONNECTIONS: usize = 256;
/// Connections at once that have not yet. The next one takes the place of the oldest that has said
/// nothing, or else of the oldest. With [`MOST_CONNECTIONS`] below the 1024 files that a process may
/// usually have open.
const MOST_STRANGERS: usize = 384;
/// How long a connection may take to show who it is.
const GREETING: Duration = Duration::from_secs(5);
/// How long a connection is kept between two requests.
const BETWEEN_REQUESTS: Duration = Duration::from_secs(60);
/// How long a client may take to send a body.
const BODY_WAIT: Duration = Duration::from_secs(30);
/// A shorter token can be guessed by trying.
const LEAST_TOKEN_BYTES: usize = 16;

/// What is answered.
pub(crate) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Refuses an address that other machines reach where there is no good token; `variable` is the
/// environment variable that would hold it.
///
/// # Errors
/// Then, with what to do.
pub(crate) fn check_token(address: SocketAddr, token: Option<&str>, variable: &str) -> Result<(), Fault> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let make = format!("set {variable} to what `openssl rand -hex 16` prints, or use 127.0.0.1");
    let open = format!("{address} can be reached from outside of this machine");
    match token {
        None => Err(Fault::new("usage", format!("{open}, and there is no token")).hint(make)),
        Some(token) if token.len() < LEAST_TOKEN_BYTES => {
            let message = format!("{open}, and the token has {} bytes", token.len());
            Err(Fault::new("usage", message).hint(format!("at least {LEAST_TOKEN_BYTES} are needed; {make}")))
        }
        Some(_) => Ok(()),
    }
}

/// Opens an address; the one that was given, where the port was left to the system.
///
/// # Errors
/// When it cannot be used.
pub(crate) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Fault> {
    let fail = |e: std::io::Error| Fault::new("address_unavailable", format!("{address}: {e}")).hint("choose another port");
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    Ok((listener, address))
}

/// How many may come in.
#[derive(Debug)]
pub(crate) struct Door {
    places: Semaphore,
    /// Connections that have not shown who they are, oldest first.
    strangers: Mutex<VecDeque<Arc<Visitor>>>,
}

/// A connection. It is a stranger until its first good request.
#[derive(Debug, Default)]
pub(crate) struct Visitor {
    known: AtomicBool,
    /// Whether anything has come from it.
    has_spoken: AtomicBool,
    /// Told when its place is needed.
    leave: Notify,
}

impl Door {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { places: Semaphore::new(MOST_CONNECTIONS), strangers: Mutex::default() })
    }

    /// Takes connections until the process ends. `answer` is asked for each request, `failed` told
    /// of a connection that could not be taken.
    pub(crate) async fn serve<F>(
        self: Arc<Self>,
        listener: TcpListener,
        failed: impl Fn(&std::io::Error),
        answer: impl Fn(Request<Incoming>, Arc<Visitor>) -> F + Clone + Send + Sync + 'static,
    ) where
        F: Future<Output = Answer> + Send + 'static,
    {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.clone().take(stream, answer.clone()),
                Err(e) => {
                    failed(&e);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Lets a visitor in who has shown who it is; what is answered instead where it is too full.
    pub(crate) fn admit(&self, visitor: &Visitor) -> Option<Answer> {
        if !visitor.known.load(Ordering::Relaxed) && self.places.available_permits() == 0 {
            return Some(plain(StatusCode::SERVICE_UNAVAILABLE, "too many clients are connected; try again later\n"));
        }
        visitor.known.store(true, Ordering::Relaxed);
        None
    }

    fn enter(&self) -> Arc<Visitor> {
        let visitor = Arc::new(Visitor::default());
        let mut all = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|s| !s.known.load(Ordering::Relaxed) && Arc::strong_count(s) > 1);
        if all.len() >= MOST_STRANGERS {
            let silent = all.iter().position(|s| !s.has_spoken.load(Ordering::Relaxed));
            if let Some(leaves) = all.remove(silent.unwrap_or(0)) {
                leaves.leave.notify_one();
            }
        }
        all.push_back(visitor.clone());
        visitor
    }

    /// Serves a connection. A silent one never keeps another one waiting.
    fn take<F>(self: Arc<Self>, stream: TcpStream, answer: impl Fn(Request<Incoming>, Arc<Visitor>) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        // Answers are written in pieces; held back until the client has confirmed the piece before, each would be 40 ms
        // late. A socket that does not know the option works all the same.
        let _ = stream.set_nodelay(true);
        let visitor = self.enter();
        tokio::spawn(async move {
            let me = visitor.clone();
            let service = service_fn(move |request| {
                let answered = answer(request, me.clone());
                async move { Ok::<_, Infallible>(answered.await) }
            });
            let connection = async {
                // An error comes again with the first read.
                let _ = stream.readable().await;
                visitor.has_spoken.store(true, Ordering::Relaxed);
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(BETWEEN_REQUESTS);
                http.serve_connection(TokioIo::new(stream), service).await
            };
            tokio::pin!(connection);
            let overdue = async {
                tokio::select! {
                    () = tokio::time::sleep(GREETING) => {}
                    () = visitor.leave.notified() => {}
                }
                visitor.known.load(Ordering::Relaxed)
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
}

/// The bytes of a stream, as they come.
struct Stream(Receiver<Bytes>);

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|b| Ok(Frame::data(b))))
    }
}

/// Server-sent events, as they come. When the client goes away, the receiver is dropped.
pub(crate) fn events(receiver: Receiver<Bytes>) -> Answer {
    let mut response = Response::new(Stream(receiver).boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A line of text.
pub(crate) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(text.into()).boxed());
    *response.status_mut() = status;
    response
}

/// A whole body of at most so many bytes; or the status and the words that are answered instead.
pub(crate) async fn whole(body: Incoming, most_bytes: usize) -> Result<Bytes, (StatusCode, &'static str)> {
    let limited = Limited::new(body, most_bytes).collect();
    match tokio::time::timeout(BODY_WAIT, limited).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err((StatusCode::PAYLOAD_TOO_LARGE, "the body is too long\n")),
        Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "the body broke off\n")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body took too long\n")),
    }
}

/// The token of `Authorization: Bearer TOKEN`; the scheme's name is the same in any case (RFC 9110).
pub(crate) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Equality in a time that does not tell how much of it holds.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let check = |address: &str, token: Option<&str>, ok: bool| {
            let result = check_token(address.parse().unwrap(), token, "A_TOKEN");
            assert_eq!(result.is_ok(), ok, "{address} {token:?}");
            assert!(result.err().is_none_or(|fault| fault.hint.unwrap().contains("set A_TOKEN to")));
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
