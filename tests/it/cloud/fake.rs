//! A RunPod for tests: it speaks HTTP on this machine, holds requests and its own answers against
//! the service's document, and keeps books by a clock that tests set or that moves by itself.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{schema, serverless, storage};

/// The key that it takes.
pub const KEY: &str = "rpa_THISISTHEKEYTHATNOBODYSHOWS";

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trouble {
    /// It is answered with this status, and nothing is done.
    Status(u16),
    /// It is carried out, and the connection breaks before the answer.
    Lost,
    /// It is carried out and answered by words that are no JSON.
    Garbled,
    /// The connection breaks in the middle of the request, and nothing is done.
    Cut,
}

/// A pod in the books.
#[derive(Debug, Clone)]
pub struct Held {
    pub body: Value,
    pub status: &'static str,
    /// Looks left until it is in the next state.
    pub looks: u32,
    pub price: f64,
    /// Hours of the clock that it ran, and that it existed.
    pub ran: f64,
    pub existed: f64,
    /// Hours left of the timer in its container, and how its pod stands when it has gone off.
    pub timer: Option<(f64, &'static str)>,
    pub log: Vec<String>,
    pub since: Timestamp,
}

/// Disk of a pod, US dollars an hour and GB, running or stopped.
pub const DISK_GB_HOUR: f64 = 0.10 / 730.0;

impl Held {
    pub fn disk_hour(&self) -> f64 {
        self.body["disk"].as_f64().unwrap_or(20.0) * DISK_GB_HOUR
    }

    /// US dollars for GPUs and for the disk.
    pub fn bill(&self) -> (f64, f64) {
        (self.ran * self.price, self.existed * self.disk_hour())
    }

    fn is_paid(&self) -> bool {
        ["PROVISIONING", "STARTING", "RUNNING"].contains(&self.status)
    }
}

#[derive(Default)]
pub struct State {
    pub pods: BTreeMap<String, Held>,
    pub troubles: VecDeque<(&'static str, Trouble)>,
    pub sold_out: Vec<String>,
    pub balance: f64,
    pub seen: Vec<String>,
    /// Requests and answers that break the document.
    pub broken: Vec<String>,
    /// Events after which a log stream breaks off.
    pub cut_logs: usize,
    pub ssh: Option<(String, u16, String)>,
    /// Where the public keys of new pods go.
    pub authorized: Option<std::path::PathBuf>,
    pub endpoints: BTreeMap<String, Value>,
    pub made_endpoints: u32,
    pub worker_fails: bool,
    /// Jobs of endpoints, and looks left until each is in its next state.
    pub jobs: BTreeMap<String, (Value, u32)>,
    /// US dollars that each endpoint has cost.
    pub endpoint_costs: BTreeMap<String, f64>,
    pub store: storage::Books,
    /// Hours of the clock since the beginning, and how far it is ahead of the clock here.
    pub hours: f64,
    pub skew_hours: f64,
    made: u32,
    retry_after: u32,
}

#[derive(Clone)]
pub struct Fake {
    pub address: String,
    state: Arc<Mutex<State>>,
}

impl Fake {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State { balance: 100.0, retry_after: 1, ..State::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let theirs = state.clone();
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let theirs = theirs.clone();
                std::thread::spawn(move || {
                    let _ = serve(&stream, &theirs);
                });
            }
        });
        Self { address, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn trouble(&self, method: &'static str, what: Trouble, times: usize) {
        let mut state = self.state();
        (0..times).for_each(|_| state.troubles.push_back((method, what)));
    }

    /// Moves the clock on; timers in pods go off.
    pub fn advance(&self, hours: f64) {
        self.state().advance(hours);
    }

    /// From now on an hour of the clock takes so many seconds.
    pub fn run(&self, seconds_an_hour: f64) {
        let fake = self.clone();
        std::thread::spawn(move || {
            let mut last = std::time::Instant::now();
            loop {
                std::thread::sleep(std::time::Duration::from_millis(5));
                fake.advance(last.elapsed().as_secs_f64() / seconds_an_hour);
                last = std::time::Instant::now();
            }
        });
    }

    /// US dollars in the books for all that was ever rented.
    pub fn books(&self) -> f64 {
        self.state().books()
    }

    /// Pods that still cost something.
    pub fn alive(&self) -> Vec<String> {
        self.state().pods.iter().filter(|(_, p)| p.status != "TERMINATED").map(|(id, _)| id.clone()).collect()
    }

    pub fn assert_spoke_by_the_document(&self) {
        assert_eq!(self.state().broken, [] as [String; 0]);
    }
}

impl State {
    pub fn advance(&mut self, hours: f64) {
        self.hours += hours;
        let mut cost = 0.0;
        for pod in self.pods.values_mut().filter(|p| p.status != "TERMINATED") {
            let runs = if pod.is_paid() { pod.timer.map_or(hours, |(left, _)| left.min(hours)) } else { 0.0 };
            let mut exists = hours;
            pod.ran += runs;
            if let Some((left, end)) = pod.timer.as_mut().filter(|_| pod.status == "RUNNING") {
                *left -= runs;
                if *left <= 0.0 {
                    pod.status = end;
                    if *end == "TERMINATED" {
                        exists = runs;
                    }
                }
            }
            pod.existed += exists;
            cost += runs * pod.price + exists * pod.disk_hour();
        }
        cost += self.store.advance(hours);
        self.balance -= cost;
    }

    /// Now, as answers say it.
    pub fn now(&self) -> Timestamp {
        Timestamp::now() + SignedDuration::from_secs_f64((self.hours + self.skew_hours) * 3600.0)
    }

    pub fn books(&self) -> f64 {
        let pods: f64 = self.pods.values().map(|p| p.bill().0 + p.bill().1).sum();
        pods + self.endpoint_costs.values().sum::<f64>() + self.store.volumes.values().map(|v| v.cost).sum::<f64>()
    }
}

pub fn gpus() -> Value {
    let gpu = |id: &str, name: &str, memory: u32, secure: f64, community: f64, level: &str, maker: &str| {
        json!({"id": id, "name": name, "pool": if memory == 24 { json!("ADA_24") } else { Value::Null }, "manufacturer": maker, "memory": memory, "secure": true, "community": community > 0.0,
            "price": {"secure": secure, "community": community}, "maxCount": {"secure": 8, "community": 4}, "availability": level,
            "dataCenters": [{"id": "EU-RO-1", "name": "EU-RO-1", "availability": level}]})
    };
    json!([
        gpu("NVIDIA GeForce RTX 4090", "RTX 4090", 24, 0.69, 0.34, "HIGH", "NVIDIA"),
        gpu("NVIDIA RTX A5000", "RTX A5000", 24, 0.29, 0.16, "MEDIUM", "NVIDIA"),
        gpu("NVIDIA RTX A4000", "RTX A4000", 16, 0.25, 0.17, "LOW", "NVIDIA"),
        gpu("NVIDIA A40", "A40", 48, 0.40, 0.0, "NONE", "NVIDIA"),
        gpu("NVIDIA L40S", "L40S", 48, 0.86, 0.79, "LOW", "NVIDIA"),
        gpu("Tesla V100-PCIE-16GB", "V100", 16, 0.10, 0.09, "HIGH", "NVIDIA"),
        gpu("AMD Instinct MI300X OAM", "MI300X", 192, 0.05, 0.0, "HIGH", "AMD"),
    ])
}

fn serve(stream: &TcpStream, shared: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
    let is_cut = |state: &mut State| match state.troubles.front() {
        Some((m, Trouble::Cut)) if *m == method || *m == "*" => state.troubles.pop_front().is_some(),
        _ => false,
    };
    if length > 0 && is_cut(&mut shared.lock().unwrap()) {
        let mut half = vec![0; length / 2];
        return reader.read_exact(&mut half);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut state = shared.lock().unwrap();
    state.seen.push(format!("{method} {target}"));
    let problem = |status: u16| json!({"title": "refused", "status": status, "detail": format!("refused with {status}")});
    let trouble = match state.troubles.front() {
        Some((m, _)) if *m == method || *m == "*" => state.troubles.pop_front().map(|(_, t)| t),
        _ => None,
    };
    let authorised = headers.get("authorization").is_some_and(|a| a == &format!("Bearer {KEY}"));
    let (status, answer) = match trouble {
        _ if target.starts_with("/fake/") => (200, told(&mut state, &target)),
        Some(Trouble::Status(status)) => (status, problem(status)),
        _ if storage::is_for(&target) => {
            let date = http_date(&state);
            let lost = trouble == Some(Trouble::Lost);
            let answer = storage::answer(&mut state, &method, &target, &body, &headers);
            drop(state);
            return if lost { Ok(()) } else { answer.write(stream, &date, method == "HEAD") };
        }
        // A service that repeats what it was sent: the client must not.
        _ if !authorised => {
            (401, json!({"title": "Unauthorized", "status": 401, "detail": format!("bad {:?}", headers.get("authorization"))}))
        }
        _ => answer(&mut state, &method, &target, &body, &headers),
    };
    let kind = if target.contains("/logs") && status == 200 { "text/event-stream" } else { "application/json" };
    let mut text = if status == 204 {
        String::new()
    } else if let Some(s) = answer.as_str() {
        s.to_owned()
    } else {
        answer.to_string()
    };
    match trouble {
        Some(Trouble::Lost) => return Ok(()),
        Some(Trouble::Garbled) => text = "<html>".into(),
        _ => {}
    }
    let date = http_date(&state);
    let retry = if status == 429 { format!("retry-after: {}\r\n", state.retry_after) } else { String::new() };
    drop(state);
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ndate: {date}\r\ncontent-type: {kind}\r\n{retry}content-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    )
}

/// What those who try against it ask of the fake itself.
fn told(state: &mut State, target: &str) -> Value {
    if let Some(hours) = target.strip_prefix("/fake/advance?hours=") {
        state.advance(hours.parse().unwrap());
    }
    let pods: BTreeMap<&String, Value> = state
        .pods
        .iter()
        .map(|(id, p)| (id, json!({"status": p.status, "price": p.price, "ran": p.ran, "bill": p.bill().0 + p.bill().1})))
        .collect();
    json!({"pods": pods, "endpoints": state.endpoints.keys().collect::<Vec<_>>(), "volumes": state.store.alive(), "total": state.books(),
        "broken": state.broken, "requests": state.seen.len()})
}

fn http_date(state: &State) -> String {
    state.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The operation that a request is of, by the document.
fn operation(method: &str, path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    let path = match parts.as_slice() {
        ["", "v2", "pods", _] => "/v2/pods/{id}".into(),
        ["", "v2", kind @ ("serverless" | "templates" | "network-volumes"), _] => format!("/v2/{kind}/{{id}}"),
        ["", "v2", "pods", _, last] => format!("/v2/pods/{{id}}/{last}"),
        _ => path.to_owned(),
    };
    format!("{method} {path}")
}

fn answer(state: &mut State, method: &str, target: &str, body: &[u8], headers: &BTreeMap<String, String>) -> (u16, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    if path == "/graphql" {
        let spend: f64 = state.pods.values().filter(|p| p.is_paid()).map(|p| p.price).sum();
        let told = json!({"clientBalance": state.balance, "currentSpendPerHr": spend, "spendLimit": 80.0});
        assert!(value["query"].as_str().is_some_and(|q| q.contains("clientBalance")));
        return (200, json!({"data": {"myself": told}}));
    }
    if let Some(answered) = serverless::job(state, method, path, &value) {
        return answered;
    }
    let doc = schema::document();
    let Some(op) = doc["operations"].get(operation(method, path)).cloned() else {
        state.broken.push(format!("no operation {method} {path}"));
        return (404, json!({"title": "Not Found", "status": 404, "detail": "no such path"}));
    };
    let unknown = query.split('&').filter(|q| !q.is_empty()).filter_map(|q| {
        let name = q.split('=').next()?;
        op["query"].get(name).is_none().then(|| format!("{path}: no parameter {name}"))
    });
    state.broken.extend(unknown);
    if !op["request"].is_null() {
        let wrong = schema::problems(&doc, &op["request"], &value);
        if !wrong.is_empty() {
            state.broken.extend(wrong.iter().map(|w| format!("{method} {path} {w}")));
            return (422, json!({"title": "Unprocessable", "status": 422, "detail": "validation failed", "errors": wrong}));
        }
    }
    let (status, answer) = act(state, method, path, query, &value, headers);
    let schema =
        if status >= 400 { json!({"$ref": "#/components/schemas/ErrorResponse"}) } else { op["answers"][status.to_string()].clone() };
    if !schema.is_null() && !answer.is_string() {
        let wrong = schema::problems(&doc, &schema, &answer);
        state.broken.extend(wrong.into_iter().map(|w| format!("answer of {method} {path} ({status}) {w}")));
    }
    (status, answer)
}

pub(super) fn refused(status: u16, detail: &str) -> (u16, Value) {
    (status, json!({"title": "refused", "status": status, "detail": detail}))
}

fn act(state: &mut State, method: &str, path: &str, query: &str, value: &Value, headers: &BTreeMap<String, String>) -> (u16, Value) {
    let parts: Vec<&str> = path.split('/').skip(2).collect();
    match (method, parts.as_slice()) {
        ("GET", ["catalog", "gpus"]) => (200, json!({"gpus": gpus()})),
        (_, ["templates" | "network-volumes", ..] | ["billing", "network-volumes"]) => storage::act(state, method, &parts, query, value),
        ("GET", ["billing", "pods"]) => (200, bills(state, query)),
        (_, ["serverless", ..] | ["billing", "serverless"]) => serverless::act(state, method, &parts, query, value),
        ("GET", ["pods"]) => {
            let ids: Vec<String> = state.pods.iter().filter(|(_, p)| p.status != "TERMINATED").map(|(id, _)| id.clone()).collect();
            (200, json!({"pods": ids.iter().map(|id| seen(state, id)).collect::<Vec<_>>()}))
        }
        ("POST", ["pods"]) => create(state, value),
        (_, ["pods", id, ..]) if state.pods.get(*id).is_none_or(|p| p.status == "TERMINATED") => refused(404, "pod not found"),
        ("GET", ["pods", id]) => {
            step(state, id);
            (200, seen(state, id))
        }
        ("GET", ["pods", id, "logs"]) => (200, logs(state, id, headers.get("last-event-id")).into()),
        ("POST", ["pods", id, "action"]) => action(state, id, value["action"].as_str().unwrap()),
        _ => refused(405, "method not allowed"),
    }
}

/// A look at a pod brings it on.
fn step(state: &mut State, id: &str) {
    let pod = state.pods.get_mut(id).unwrap();
    if pod.looks > 0 {
        pod.looks -= 1;
        return;
    }
    match pod.status {
        "PROVISIONING" => (pod.status, pod.looks) = ("STARTING", 1),
        "STARTING" => pod.status = "RUNNING",
        _ => {}
    }
}

fn create(state: &mut State, wish: &Value) -> (u16, Value) {
    if state.balance <= 0.0 {
        return refused(402, "insufficient balance");
    }
    let id = wish["gpu"]["id"].as_str().unwrap_or_default().to_owned();
    let count = wish["gpu"]["count"].as_u64().unwrap_or(0);
    let all = gpus();
    let Some(gpu) = all.as_array().unwrap().iter().find(|g| g["id"] == *id).filter(|_| count > 0) else {
        return refused(400, "unknown GPU, or no count");
    };
    if state.sold_out.contains(&id) {
        return refused(400, "there are no instances available");
    }
    let cloud = if wish["cloud"] == "COMMUNITY" { "community" } else { "secure" };
    if let (Some(path), Some(key)) = (&state.authorized, wish["env"]["PUBLIC_KEY"].as_str()) {
        let mut file = std::fs::File::options().append(true).open(path).unwrap();
        writeln!(file, "{key}").unwrap();
    }
    state.made += 1;
    let pod_id = format!("pod{}", state.made);
    let args = wish["args"].as_str().unwrap_or_default();
    let seconds = args.split("sleep ").nth(1).and_then(|a| a.split(';').next()?.parse::<f64>().ok());
    let end = if args.contains("remove pod") { "TERMINATED" } else { "EXITED" };
    let since = state.now();
    let held = Held {
        body: wish.clone(),
        status: "PROVISIONING",
        looks: 1,
        price: gpu["price"][cloud].as_f64().unwrap() * count as f64,
        ran: 0.0,
        existed: 0.0,
        timer: seconds.map(|s| (s / 3600.0, end)),
        since,
        log: (0..10).map(|i| format!("line {i}")).collect(),
    };
    state.pods.insert(pod_id.clone(), held);
    (201, seen(state, &pod_id))
}

fn actions(status: &str) -> &'static [&'static str] {
    match status {
        "RUNNING" => &["stop", "restart", "terminate"],
        "EXITED" | "ERROR" => &["start", "terminate"],
        "PROVISIONING" | "STARTING" => &["stop", "terminate"],
        _ => &[],
    }
}

fn action(state: &mut State, id: &str, what: &str) -> (u16, Value) {
    let pod = state.pods.get_mut(id).unwrap();
    if !actions(pod.status).contains(&what) {
        return refused(409, "not valid for the pod's current status");
    }
    match what {
        "start" => (pod.status, pod.looks) = ("PROVISIONING", 0),
        "stop" => pod.status = "EXITED",
        "terminate" => {
            pod.status = "TERMINATED";
            return (204, Value::Null);
        }
        _ => {}
    }
    (200, seen(state, id))
}

fn seen(state: &State, id: &str) -> Value {
    let pod = &state.pods[id];
    let w = &pod.body;
    let running = pod.status == "RUNNING";
    let direct =
        state.ssh.as_ref().filter(|_| running).map(
            |(host, port, user)| json!({"host": host, "port": port, "username": user, "command": format!("ssh {user}@{host} -p {port}")}),
        );
    let or = |name: &str, other: Value| if w[name].is_null() { other } else { w[name].clone() };
    json!({
        "id": id, "name": w["name"], "status": pod.status, "actions": actions(pod.status), "image": or("image", "i".into()),
        "args": or("args", "".into()), "disk": or("disk", 20.into()), "mounts": or("mounts", json!({})), "ports": or("ports", json!([])),
        "env": or("env", json!({})), "registry": null, "gpu": w["gpu"], "cloud": or("cloud", "SECURE".into()), "dataCenterId": "EU-RO-1",
        "cudaVersion": "12.8", "ssh": {"proxy": null, "direct": direct}, "template": null, "cost": if pod.is_paid() { pod.price } else { 0.0 },
        "locked": false, "globalNetworking": {"enabled": false}, "runtime": null, "createdAt": pod.since.to_string(), "startedAt": null
    })
}

/// Events behind the last one that was seen, a few at a time where streams are cut.
fn logs(state: &State, id: &str, last: Option<&String>) -> String {
    let from = last.and_then(|l| l.rsplit('/').next()?.parse::<usize>().ok()).map_or(0, |n| n + 1);
    let lines = state.pods[id].log.iter().enumerate().skip(from);
    let most = if state.cut_logs == 0 { usize::MAX } else { state.cut_logs };
    let ts = "2026-11-01T00:00:00Z";
    let event = |(i, line): (usize, &String)| format!("id: {ts}/{i}\ndata: {}\n\n", json!({"ts": ts, "source": "container", "line": line}));
    lines.take(most).map(event).collect()
}

fn bills(state: &State, query: &str) -> Value {
    let wanted = query.split('&').find_map(|q| q.strip_prefix("podId="));
    let all = state.pods.iter().filter(|(id, _)| wanted.is_none_or(|w| w == id.as_str()));
    let amounts = |(gpu, disk): (f64, f64)| json!({"totalAmount": gpu + disk, "gpuAmount": gpu, "cpuAmount": 0.0, "diskAmount": disk});
    let sum = all.clone().map(|(_, p)| p.bill()).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
    let records: Vec<Value> = all
        .map(|(id, p)| {
            let mut record = amounts(p.bill());
            record["podId"] = id.as_str().into();
            record["startTime"] = "2026-11-01T00:00:00Z".into();
            record["endTime"] = "2026-11-02T00:00:00Z".into();
            record
        })
        .collect();
    let range =
        json!({"startTime": "2026-11-01T00:00:00Z", "endTime": "2026-11-02T00:00:00Z", "bucketSize": "day", "podId": null, "lastN": 7});
    let count = records.len();
    json!({"records": records, "metadata": {"query": range, "recordCount": count, "uniquePodCount": count, "totals": amounts(sum)}})
}
