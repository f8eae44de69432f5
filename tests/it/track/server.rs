//! A server that speaks as much of MLflow's REST interface as trackers use. It counts everything:
//! a metric that is logged twice stands there twice. It can be told to break connections, before or
//! after it did what was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tallow::data::Rng;

use super::read::Figures;

/// A run at the server.
#[derive(Debug, Clone, Default)]
pub struct Run {
    pub tags: BTreeMap<String, String>,
    pub params: BTreeMap<String, String>,
    /// Name, step, value.
    pub metrics: Vec<(String, u64, f64)>,
    /// When each of them was measured.
    times: Vec<Value>,
    pub status: String,
    pub files: BTreeMap<String, Vec<u8>>,
}

#[derive(Default)]
struct Store {
    experiments: Vec<String>,
    runs: Vec<Run>,
}

/// A server on a port of its own.
pub struct Server {
    pub address: String,
    store: Arc<Mutex<Store>>,
    /// Of 100 requests, how many are broken.
    pub broken: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Server {
    pub fn new(seed: u64) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), seed)
    }

    pub fn on(listener: TcpListener, seed: u64) -> Self {
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (store, broken, over) = (Arc::<Mutex<Store>>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (shared, share, end) = (store.clone(), broken.clone(), over.clone());
        std::thread::spawn(move || {
            let mut rng = Rng::for_parts(&[seed]);
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let _ = connection(stream.unwrap(), &shared, &share, &mut rng);
            }
        });
        Self { address, store, broken, over }
    }

    pub fn runs(&self) -> Vec<Run> {
        self.store.lock().unwrap().runs.clone()
    }

    /// The metrics of a run with nested runs, as [`Figures`]; of one without, those of stage 1.
    pub fn figures(&self) -> Figures {
        let mut all = Figures::new();
        for run in self.runs() {
            let nested = run.tags.get("mlflow.runName").and_then(|n| n.rsplit_once(" stage ")).map(|(_, n)| n.parse().unwrap());
            for (name, step, value) in run.metrics.iter().filter(|(name, ..)| !name.starts_with("result.")) {
                all.entry((nested.unwrap_or(1), name.clone())).or_default().push((*step, *value));
            }
        }
        all
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes it.
        let _ = TcpStream::connect(self.address.strip_prefix("http://").unwrap());
    }
}

/// Answers one request.
fn connection(stream: TcpStream, store: &Mutex<Store>, broken: &AtomicU64, rng: &mut Rng) -> std::io::Result<()> {
    stream.set_read_timeout(Some(std::time::Duration::from_secs(2)))?;
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    let mut first = String::new();
    if input.read_line(&mut first)? == 0 {
        return Ok(());
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        let line = line.trim().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(n) = line.strip_prefix("content-length:") {
            length = n.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    let breaks = rng.below(100) < broken.load(Ordering::SeqCst);
    if breaks && rng.below(2) == 0 {
        return Ok(());
    }
    let mut parts = first.split(' ');
    let (method, target) = (parts.next().unwrap(), parts.next().unwrap());
    let (status, answer) = answer(method, target, &body, &mut store.lock().unwrap());
    if breaks {
        return Ok(());
    }
    let text = answer.to_string();
    // One request a connection, so that a broken one is seen at once.
    write!(out, "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}", text.len())
}

fn answer(method: &str, target: &str, body: &[u8], store: &mut Store) -> (u16, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query: BTreeMap<&str, &str> = query.split('&').filter_map(|q| q.split_once('=')).collect();
    if let Some(rest) = path.strip_prefix("/api/2.0/mlflow-artifacts/artifacts/") {
        let mut parts = rest.splitn(4, '/');
        let (_, run) = (parts.next(), parts.next().unwrap().parse::<usize>().unwrap());
        assert_eq!((method, parts.next()), ("PUT", Some("artifacts")));
        store.runs[run].files.insert(parts.next().unwrap().to_owned(), body.to_vec());
        return (200, json!({}));
    }
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let run = |store: &Store| store.runs.get(value["run_id"].as_str().unwrap_or("9999").parse::<usize>().unwrap()).is_some();
    let index = value["run_id"].as_str().and_then(|id| id.parse::<usize>().ok()).unwrap_or(0);
    match path.strip_prefix("/api/2.0/mlflow/").unwrap() {
        "experiments/get-by-name" => match store.experiments.iter().position(|e| e == query["experiment_name"]) {
            Some(i) => (200, json!({"experiment": {"experiment_id": i.to_string(), "lifecycle_stage": "active"}})),
            None => (404, json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"})),
        },
        "experiments/create" => {
            store.experiments.push(text(&value["name"]));
            (200, json!({"experiment_id": (store.experiments.len() - 1).to_string()}))
        }
        "runs/create" => {
            let tags = value["tags"].as_array().unwrap().iter().map(|t| (text(&t["key"]), text(&t["value"])));
            store.runs.push(Run { tags: tags.collect(), status: "RUNNING".into(), ..Run::default() });
            (200, json!({"run": {"info": {"run_id": (store.runs.len() - 1).to_string(), "artifact_uri": "mlflow-artifacts:/x"}}}))
        }
        "runs/search" => {
            let filter = text(&value["filter"]);
            let mark = filter.split('\'').nth(1).unwrap();
            let found = store.runs.iter().position(|r| r.tags.values().any(|v| v == mark));
            let run = |i: usize| json!({"info": {"run_id": i.to_string(), "artifact_uri": "mlflow-artifacts:/x"}});
            (200, json!({"runs": found.map(run).into_iter().collect::<Vec<_>>()}))
        }
        "runs/log-batch" => {
            assert!(run(store));
            let part = |name: &str| value[name].as_array().cloned().unwrap_or_default();
            assert!(part("metrics").len() <= 1000 && part("params").len() <= 100);
            let metric = |m: Value| (text(&m["key"]), m["step"].as_u64().unwrap(), m["value"].as_f64().unwrap());
            let run = &mut store.runs[index];
            run.times.extend(part("metrics").iter().map(|m| m["timestamp"].clone()));
            run.metrics.extend(part("metrics").into_iter().map(metric));
            run.params.extend(part("params").iter().map(|p| (text(&p["key"]), text(&p["value"]))));
            run.tags.extend(part("tags").iter().map(|p| (text(&p["key"]), text(&p["value"]))));
            (200, json!({}))
        }
        "runs/update" => {
            store.runs[index].status = text(&value["status"]);
            (200, json!({}))
        }
        "metrics/get-history" => {
            let run = &store.runs[query["run_id"].parse::<usize>().unwrap()];
            let all: Vec<_> = run.metrics.iter().zip(&run.times).filter(|((name, ..), _)| name == query["metric_key"]).collect();
            let from: usize = query.get("page_token").map_or(0, |t| t.parse().unwrap());
            // Smaller pages than were asked for.
            let to = (from + 7).min(all.len());
            let metric =
                |((_, step, value), time): &(&(String, u64, f64), &Value)| json!({"step": step, "value": value, "timestamp": time});
            let next = if to < all.len() { json!(to.to_string()) } else { Value::Null };
            (200, json!({"metrics": all[from..to].iter().map(metric).collect::<Vec<_>>(), "next_page_token": next}))
        }
        other => panic!("{method} {other}"),
    }
}
