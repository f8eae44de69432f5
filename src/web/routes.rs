//! What an address does.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, SET_COOKIE};
use hyper::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::guard::Refusal;
use super::query::Query;
use super::{Shared, live, page, views, words};
use crate::app::{beside, configure, examples, jobs, plan};
use crate::base::error::Fault;
use crate::base::{cancel, panics};
use crate::mcp::door::{Answer, Door, Visitor, plain, whole};
use crate::runs::RunFolder;

/// Longest body of a request, in bytes.
const MOST_BODY_BYTES: usize = 256 << 10;
/// Points of a curve.
const MOST_POINTS: usize = 4000;
/// Examples of a page.
const MOST_EXAMPLES: usize = 50;
/// Runs that are compared.
const MOST_COMPARED: usize = 8;
/// Settings of a new run that differ from the project's.
const MOST_SETTINGS: usize = 200;

/// With every answer. Scripts, styles and requests are the server's own; nothing is framed, and no
/// other page reads an answer.
const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
];

/// Answers a request.
pub(super) async fn answer(shared: Arc<Shared>, door: &Door, visitor: &Visitor, request: Request<Incoming>) -> Answer {
    let mut response = guarded(shared, door, visitor, request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

async fn guarded(shared: Arc<Shared>, door: &Door, visitor: &Visitor, request: Request<Incoming>) -> Answer {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    if let (true, Some(shown)) = (shared.guard.is_login(&request), query.get("token")) {
        return match shared.guard.login(shown) {
            Some(cookie) => logged_in(&cookie),
            None => plain(StatusCode::UNAUTHORIZED, "the token is wrong\n"),
        };
    }
    if let Err(Refusal(status, text)) = shared.guard.check(&request) {
        return refusal(status, &Fault::new("refused", text));
    }
    if let Some(full) = door.admit(visitor) {
        return full;
    }
    let path = request.uri().path().to_owned();
    match (request.method().clone(), path.as_str()) {
        (Method::GET, "/") => page::index(&shared.guard.page_token, shared.read_only),
        (Method::GET, "/api/events") => live::answer(&shared, &query),
        (Method::GET, path) => match (path.strip_prefix("/assets/"), path.strip_prefix("/api/")) {
            (Some(name), _) => page::file(name, request.headers()),
            (None, Some(name)) => look(shared, name.to_owned(), query).await,
            _ => plain(StatusCode::NOT_FOUND, "there is nothing here\n"),
        },
        (Method::POST, path) => match path.strip_prefix("/api/") {
            Some(name) => change(shared, name.to_owned(), request.into_body()).await,
            None => plain(StatusCode::NOT_FOUND, "there is nothing here\n"),
        },
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and POST are understood\n"),
    }
}

/// Sets the cookie and leads to the page, whose address does not hold the token.
fn logged_in(cookie: &str) -> Answer {
    let mut response = plain(StatusCode::SEE_OTHER, "");
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/"));
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

fn json_answer(status: StatusCode, value: &impl Serialize) -> Answer {
    let text = serde_json::to_string(value).unwrap_or_else(|_| "{}".into());
    let mut response = plain(status, text);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(hyper::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn refusal(status: StatusCode, fault: &Fault) -> Answer {
    json_answer(status, &json!({ "error": fault }))
}

fn status(fault: &Fault) -> StatusCode {
    match fault.code {
        "panic" | "io" | "internal" => StatusCode::INTERNAL_SERVER_ERROR,
        "path_outside_roots" | "read_only_server" => StatusCode::FORBIDDEN,
        "not_found" | "run_not_found" | "config_not_found" => StatusCode::NOT_FOUND,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// Raises the flag when the client has gone.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does work on a thread that may block. It ends early when the client goes away.
async fn on_a_thread(work: impl FnOnce() -> Result<Value, Fault> + Send + 'static) -> Answer {
    let flag = Arc::new(AtomicBool::new(false));
    let _gone = Gone(flag.clone());
    let done = tokio::task::spawn_blocking(move || cancel::within(move || flag.load(Ordering::Relaxed), || panics::caught(work)));
    match done.await.unwrap_or_else(|e| Err(Fault::new("internal", format!("the work broke down: {e}")))) {
        Ok(value) => json_answer(StatusCode::OK, &value),
        Err(fault) => refusal(status(&fault), &words::for_page(fault)),
    }
}

fn value(report: impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(report).map_err(|e| Fault::new("io", format!("the answer cannot be written: {e}")))
}

async fn look(shared: Arc<Shared>, name: String, query: Query) -> Answer {
    let heavy = matches!(name.as_str(), "data" | "plan");
    let waiting = shared.clone();
    let _turn = if heavy { waiting.heavy.acquire().await.ok() } else { None };
    on_a_thread(move || match name.as_str() {
        "projects" => projects(&shared),
        "runs" => {
            let (runs, unreadable) = views::rows(&shared.roots.project(query.need("project")?)?.root)?;
            Ok(json!({ "runs": runs, "unreadable": unreadable }))
        }
        "run" => value(views::page(&run(&shared, &query)?)?),
        "curves" => curves(&shared, &query),
        "diff" => diff(&shared, &query),
        "data" => data(&shared, &query),
        "plan" => plan(&shared, &query),
        _ => Err(Fault::new("not_found", "there is no such request")),
    })
    .await
}

fn projects(shared: &Shared) -> Result<Value, Fault> {
    let name = |p: &Path| p.file_name().map_or_else(|| p.display().to_string(), |n| n.to_string_lossy().into_owned());
    let all: Vec<Value> = shared.roots.projects().iter().map(|p| json!({ "path": p, "name": name(p) })).collect();
    let roots: Vec<&Path> = shared.roots.all().collect();
    Ok(json!({ "projects": all, "roots": roots, "version": env!("CARGO_PKG_VERSION"), "read_only": shared.read_only }))
}

pub(super) fn run(shared: &Shared, query: &Query) -> Result<RunFolder, Fault> {
    shared.roots.run(query.need("project")?, query.need("run")?)
}

fn curves(shared: &Shared, query: &Query) -> Result<Value, Fault> {
    let request = jobs::CurvesRequest {
        points: query.number("points")?.unwrap_or(1000).clamp(4, MOST_POINTS),
        from: query.number("from")?,
        to: query.number("to")?,
        smooth: query.number("smooth")?.filter(|s: &f64| s.is_finite()).unwrap_or(0.0).clamp(0.0, 0.9999),
    };
    value(jobs::curves(&run(shared, query)?, &request)?)
}

fn diff(shared: &Shared, query: &Query) -> Result<Value, Fault> {
    let project = query.need("project")?;
    let names: Vec<&str> = query.need("runs")?.split(',').collect();
    if !(2..=MOST_COMPARED).contains(&names.len()) {
        return Err(Fault::new("invalid_arguments", format!("from 2 to {MOST_COMPARED} runs can be compared")));
    }
    let runs: Vec<RunFolder> = names.iter().map(|name| shared.roots.run(project, name)).collect::<Result<_, _>>()?;
    let rows: Vec<views::RunRow> = runs.iter().map(views::row).collect::<Result<_, _>>()?;
    Ok(json!({ "runs": rows, "settings": beside::run(&runs)?.settings }))
}

/// The settings of a run, or of the project as they are now; every path of them lies below a root.
fn settings(shared: &Shared, query: &Query) -> Result<crate::config::RunConfig, Fault> {
    if query.get("run").is_some() {
        let config = run(shared, query)?.manifest()?.config;
        shared.roots.settings(&config)?;
        return Ok(config);
    }
    let project = shared.roots.project(query.need("project")?)?;
    Ok(configure::settings(&project.config, &[], &|c| shared.roots.settings(c))?.config)
}

fn data(shared: &Shared, query: &Query) -> Result<Value, Fault> {
    let request = examples::ExamplesRequest {
        part: query.get("part").map(str::to_owned),
        from: query.number("from")?.unwrap_or(0),
        count: query.number("count")?.unwrap_or(10).clamp(1, MOST_EXAMPLES),
    };
    value(examples::of_config(&settings(shared, query)?, &request)?)
}

fn plan(shared: &Shared, query: &Query) -> Result<Value, Fault> {
    let room = match (query.get("gpu_memory"), query.get("memory")) {
        (Some(size), _) => plan::Room::Gpu(plan::parse_size(size)?),
        (None, Some(size)) => plan::Room::Bytes(plan::parse_size(size)?),
        (None, None) => plan::Room::Here,
    };
    let project = shared.roots.project(query.need("project")?)?;
    let resolved = configure::settings(&project.config, &[], &|c| shared.roots.settings(c))?;
    value(plan::of_resolved(&resolved, &project.root, room)?)
}

/// A change that the page asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    project: String,
    /// All but a new run need it.
    run: Option<String>,
    /// Name of a new run.
    name: Option<String>,
    /// Settings of a new run, as `key=value`.
    #[serde(default)]
    set: Vec<String>,
    /// Start a new run at once.
    #[serde(default)]
    start: bool,
}

async fn change(shared: Arc<Shared>, name: String, body: Incoming) -> Answer {
    if shared.read_only {
        let fault = Fault::new("read_only_server", "this server changes nothing").hint("start it without --read-only");
        return refusal(StatusCode::FORBIDDEN, &fault);
    }
    let bytes: Bytes = match whole(body, MOST_BODY_BYTES).await {
        Ok(bytes) => bytes,
        Err((status, words)) => return refusal(status, &Fault::new("refused", words.trim_end())),
    };
    let waiting = shared.clone();
    let _turn = if name == "new" { waiting.heavy.acquire().await.ok() } else { None };
    on_a_thread(move || {
        let change: Change = serde_json::from_slice(&bytes).map_err(|e| Fault::new("invalid_arguments", e.to_string()))?;
        changed(&shared, &name, &change)
    })
    .await
}

fn changed(shared: &Shared, name: &str, change: &Change) -> Result<Value, Fault> {
    let run = || {
        let id = change.run.as_deref().ok_or_else(|| Fault::new("invalid_arguments", "`run` is missing"))?;
        shared.roots.run(&change.project, id)
    };
    let run = match name {
        "new" => new_run(shared, change)?,
        "start" => run().and_then(|run| started(shared, run))?,
        "pause" => run().and_then(|run| jobs::stop(&run, jobs::Stop::Pause).map(|_| run))?,
        "cancel" => run().and_then(|run| jobs::stop(&run, jobs::Stop::Cancel).map(|_| run))?,
        _ => return Err(Fault::new("not_found", "there is no such request")),
    };
    Ok(json!({ "run": views::row(&run)? }))
}

fn started(shared: &Shared, run: RunFolder) -> Result<RunFolder, Fault> {
    // The settings may have been changed by hand since the run was made.
    shared.roots.settings(&run.manifest()?.config)?;
    jobs::watch_over(run.clone(), jobs::start(&run, None)?);
    Ok(run)
}

fn new_run(shared: &Shared, change: &Change) -> Result<RunFolder, Fault> {
    let project = shared.roots.project(&change.project)?;
    if change.set.len() > MOST_SETTINGS {
        return Err(Fault::new("invalid_arguments", format!("at most {MOST_SETTINGS} settings can be given")));
    }
    let name = change.name.clone().filter(|n| !n.trim().is_empty()).unwrap_or_else(|| "run".into());
    let request = configure::ConfigureRequest { config: project.config, set: change.set.clone(), name };
    let report = configure::run(&request, &|c| shared.roots.settings(c))?;
    let run = RunFolder::open(&report.run)?;
    if change.start { started(shared, run) } else { Ok(run) }
}
