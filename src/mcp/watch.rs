//! What has changed on disk since the last look: for clients that want to be told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::resources;
use super::tool::Shared;

/// How often is looked.
const LOOK: Duration = Duration::from_millis(500);
/// Addresses that one client may watch.
pub(super) const MOST_WATCHED: usize = 100;

/// The addresses that a client watches.
pub(super) type Watched = Arc<Mutex<BTreeSet<String>>>;

/// What is to be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    pub(super) list: bool,
    pub(super) updated: Vec<String>,
}

/// The last look.
#[derive(Debug, Default)]
pub(super) struct Seen {
    list: Option<Arc<Vec<String>>>,
    marks: BTreeMap<String, String>,
}

/// Names, sizes and times of what an address is made from.
fn mark(shared: &Shared, uri: &str) -> String {
    let of = |path: &Path| {
        let data = std::fs::metadata(path);
        data.map(|d| format!("{} {:?};", d.len(), d.modified().ok())).unwrap_or_default()
    };
    let Some(rest) = uri.strip_prefix("tallow://runs/") else {
        return if uri == "tallow://runs" { resources::run_marks(shared).join("\n") } else { String::new() };
    };
    let id = rest.split('/').next().unwrap_or_default();
    let Ok(run) = resources::find_run(shared, id) else { return String::new() };
    ["run-manifest.json", "job.json", "metrics.jsonl", "training.log"].map(|name| of(&run.path().join(name))).concat()
}

impl Seen {
    /// Looks, and says what is new. The first look of an address is no news.
    fn look(&mut self, shared: &Shared, with_list: bool, uris: &BTreeSet<String>) -> News {
        let mut news = News::default();
        if with_list {
            let now = shared.names(|| resources::run_names(shared));
            news.list = self.list.as_ref().is_some_and(|before| *before != now);
            self.list = Some(now);
        }
        self.marks.retain(|uri, _| uris.contains(uri));
        for uri in uris {
            let now = mark(shared, uri);
            let before = self.marks.insert(uri.clone(), now.clone());
            if before.is_some_and(|before| before != now) {
                news.updated.push(uri.clone());
            }
        }
        news
    }
}

/// Waits a while and looks, off the threads that serve.
pub(super) async fn next(shared: &Arc<Shared>, mut seen: Seen, with_list: bool, watched: &Watched) -> (Seen, News) {
    tokio::time::sleep(LOOK).await;
    let shared = shared.clone();
    let uris = watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let look = tokio::task::spawn_blocking(move || {
        let news = seen.look(&shared, with_list, &uris);
        (seen, news)
    });
    look.await.unwrap_or_default()
}
