//! The files of the page. They are part of the program.

use http_body_util::{BodyExt, Full};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use hyper::{HeaderMap, Response, StatusCode};

use crate::base::hash::sha256_bytes;
use crate::mcp::door::{Answer, plain};

const INDEX: &str = include_str!("page/index.html");
const JS: &str = "text/javascript; charset=utf-8";

/// Name, type and text.
const FILES: [(&str, &str, &str); 12] = [
    ("style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("views.css", "text/css; charset=utf-8", include_str!("page/views.css")),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("app.js", JS, include_str!("page/app.js")),
    ("api.js", JS, include_str!("page/api.js")),
    ("dom.js", JS, include_str!("page/dom.js")),
    ("chart.js", JS, include_str!("page/chart.js")),
    ("runs.js", JS, include_str!("page/runs.js")),
    ("run.js", JS, include_str!("page/run.js")),
    ("compare.js", JS, include_str!("page/compare.js")),
    ("data.js", JS, include_str!("page/data.js")),
    ("plan.js", JS, include_str!("page/plan.js")),
];

/// The page itself. It holds the value that requests of it show when they change something.
pub(super) fn index(page_token: &str, read_only: bool) -> Answer {
    let text = INDEX.replace("{{TOKEN}}", page_token).replace("{{READ_ONLY}}", if read_only { "yes" } else { "no" });
    with_type(text, "text/html; charset=utf-8")
}

/// One of its other files.
pub(super) fn file(name: &str, headers: &HeaderMap) -> Answer {
    let Some((_, kind, text)) = FILES.iter().find(|(n, ..)| *n == name) else {
        return plain(StatusCode::NOT_FOUND, "there is no such file\n");
    };
    let tag = format!("\"{}\"", &sha256_bytes(text.as_bytes())[..16]);
    let mut response = with_type(*text, kind);
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        response = plain(StatusCode::NOT_MODIFIED, "");
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn with_type(text: impl Into<hyper::body::Bytes>, kind: &'static str) -> Answer {
    let mut response = Response::new(Full::new(text.into()).boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
