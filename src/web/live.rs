//! Server-sent events: what has changed in a project, or in one run, as it happens.
//!
//! ```text
//!   of a project   runs   {runs: [those that changed], gone: [names]}
//!   of a run       run    its row, where it changed
//!                  curve  {bytes}: there are new steps, the page asks for the curves again
//!                  log    {lines, anew}: new lines; `anew` where they stand for all before
//! ```
//! The folders are looked at twice a second, once for each open page.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Sender, channel};

use super::query::Query;
use super::{Shared, routes, views, words};
use crate::base::error::Fault;
use crate::base::panics;
use crate::mcp::door::{Answer, events};
use crate::runs::RunFolder;

/// How often the folders are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// After so long without an event a comment is sent, so that a closed page is noticed.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// Bytes of a log that are sent at once: its end is what matters.
const MOST_LOG_BYTES: u64 = 64 << 10;

/// Opens a stream.
pub(super) fn answer(shared: &Arc<Shared>, query: &Query) -> Answer {
    let Ok(place) = shared.streams.clone().try_acquire_owned() else {
        let fault = Fault::new("too_many_pages", "too many pages are open").hint("close some of them");
        return routes::refusal(StatusCode::SERVICE_UNAVAILABLE, &fault);
    };
    let look = match query.get("run") {
        Some(_) => routes::run(shared, query).map(|run| Look::Run(Box::new(RunLook::new(run)))),
        None => query.need("project").and_then(|p| shared.roots.project(p)).map(|p| Look::Project(p.root, BTreeMap::new())),
    };
    let look = match look {
        Ok(look) => look,
        Err(fault) => return routes::refusal(StatusCode::NOT_FOUND, &words::for_page(fault)),
    };
    let (sender, receiver) = channel(8);
    tokio::spawn(send(shared.clone(), look, sender, place));
    events(receiver)
}

async fn send(shared: Arc<Shared>, mut look: Look, sender: Sender<Bytes>, _place: OwnedSemaphorePermit) {
    let mut last = Instant::now();
    loop {
        let seen = shared.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let events = panics::caught(|| look.events(&seen));
            (look, events)
        });
        let Ok((back, events)) = looked.await else { return };
        look = back;
        let mut text = String::new();
        match events {
            Ok(events) => events.iter().for_each(|(name, data)| text += &format!("event: {name}\ndata: {data}\n\n")),
            Err(fault) => {
                // Told, and the stream ends: the page tries again.
                let data = json!({ "error": words::for_page(fault) });
                let _ = sender.send(format!("event: fault\ndata: {data}\n\n").into()).await;
                return;
            }
        }
        if text.is_empty() && last.elapsed() > SIGN_OF_LIFE {
            text = ": still here\n\n".into();
        }
        if !text.is_empty() {
            last = Instant::now();
            if sender.send(text.into()).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = sender.closed() => return,
        }
    }
}

type Event = (&'static str, Value);

/// What is looked at, and how it was found the last time.
enum Look {
    Project(std::path::PathBuf, BTreeMap<String, Value>),
    Run(Box<RunLook>),
}

impl Look {
    fn events(&mut self, shared: &Shared) -> Result<Vec<Event>, Fault> {
        match self {
            Self::Project(root, before) => project_events(root, before),
            Self::Run(run) => run.events(shared),
        }
    }
}

fn project_events(root: &std::path::Path, before: &mut BTreeMap<String, Value>) -> Result<Vec<Event>, Fault> {
    let is_first = before.is_empty();
    let now: BTreeMap<String, Value> =
        views::rows(root)?.0.into_iter().map(|row| json!(row)).map(|v| (v["run_id"].as_str().unwrap_or_default().to_owned(), v)).collect();
    let changed: Vec<&Value> = now.iter().filter(|(id, row)| before.get(*id) != Some(row)).map(|(_, row)| row).collect();
    let gone: Vec<&String> = before.keys().filter(|id| !now.contains_key(*id)).collect();
    let quiet = changed.is_empty() && gone.is_empty() && !is_first;
    let events = if quiet { Vec::new() } else { vec![("runs", json!({ "runs": changed, "gone": gone }))] };
    *before = now;
    Ok(events)
}

struct RunLook {
    run: RunFolder,
    row: Value,
    metrics_bytes: Option<u64>,
    /// How far the log has been read.
    log_bytes: u64,
}

impl RunLook {
    fn new(run: RunFolder) -> Self {
        Self { run, row: Value::Null, metrics_bytes: None, log_bytes: 0 }
    }

    fn events(&mut self, shared: &Shared) -> Result<Vec<Event>, Fault> {
        let mut events = Vec::new();
        let row = json!(views::row(&self.run)?);
        if row != self.row {
            self.row = row;
            events.push(("run", self.row.clone()));
        }
        let bytes = std::fs::metadata(self.run.path().join("metrics.jsonl")).map_or(0, |data| data.len());
        if self.metrics_bytes != Some(bytes) {
            self.metrics_bytes = Some(bytes);
            events.push(("curve", json!({ "bytes": bytes })));
        }
        events.extend(self.log(shared));
        Ok(events)
    }

    /// New whole lines of the log. One that cannot be read has none.
    fn log(&mut self, shared: &Shared) -> Option<Event> {
        let mut file = shared.roots.open_beneath(&self.run.path().join("training.log")).ok()?;
        let length = file.metadata().ok()?.len();
        let from = if length < self.log_bytes { 0 } else { self.log_bytes };
        let begin = from.max(length.saturating_sub(MOST_LOG_BYTES));
        file.seek(SeekFrom::Start(begin)).ok()?;
        let mut bytes = Vec::new();
        file.take(length - begin).read_to_end(&mut bytes).ok()?;
        bytes.truncate(bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1));
        self.log_bytes = begin + bytes.len() as u64;
        // Where some were passed over, the first one is a part of a line.
        let skip = usize::from(begin > from);
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().skip(skip).collect();
        (!lines.is_empty()).then(|| ("log", json!({ "lines": lines, "anew": from == 0 || begin > from })))
    }
}
