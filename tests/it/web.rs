//! The page's server: who may ask, what it answers, events as they happen, and how soon with much to read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{Desk, drawn_seed};

/// How long something may take: debug builds, two processors, other tests.
const PATIENCE: Duration = Duration::from_secs(120);

struct Server {
    child: Child,
    address: String,
    page_token: String,
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

impl Server {
    fn start(desk: &Desk, args: &[&str], token: Option<&str>) -> Self {
        let mut command = desk.command(&[&["web", "--http", "127.0.0.1:0"], args].concat());
        command.env_remove("TALLOW_WEB_TOKEN").envs(token.map(|t| ("TALLOW_WEB_TOKEN", t)));
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let rest = line.trim().strip_prefix("serving on http://").unwrap_or_else(|| panic!("{line}"));
        let address = rest.split('/').next().unwrap().to_owned();
        let mut server = Self { child, address, page_token: String::new() };
        if token.is_none() {
            let page = server.get("/").body;
            let at = page.split("name=\"tallow-token\" content=\"").nth(1).unwrap();
            server.page_token = at.split('"').next().unwrap().to_owned();
            assert_eq!(server.page_token.len(), 64);
        }
        server
    }

    /// Sends a request as it is written and gives the whole answer.
    fn send(&self, head: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{head}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let text = String::from_utf8(all).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
        Answer { status, headers, body: body.to_owned() }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(n, _)| *n == "Host") {
            head += &format!("Host: {}\r\n", self.address);
        }
        headers.iter().for_each(|(n, v)| head += &format!("{n}: {v}\r\n"));
        self.send(&head, body)
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    /// What a read gives; it must succeed.
    fn read(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    fn post(&self, name: &str, body: &Value) -> Answer {
        let origin = format!("http://{}", self.address);
        let headers = [("Content-Type", "application/json"), ("X-Tallow-Token", &*self.page_token), ("Origin", &*origin)];
        self.ask("POST", &format!("/api/{name}"), &headers, &body.to_string())
    }

    fn change(&self, name: &str, body: &Value) -> Value {
        let answer = self.post(name, body);
        assert_eq!(answer.status, 200, "{name} {body}: {}", answer.body);
        answer.json()["run"].clone()
    }

    fn until(&self, run: &str, wanted: &[&str]) -> Value {
        let begun = Instant::now();
        loop {
            let now = self.read(&format!("/api/run?project=project&run={run}"))["run"].clone();
            if wanted.contains(&now["state"].as_str().unwrap()) {
                return now;
            }
            assert!(begun.elapsed() < PATIENCE, "{run} never came to {wanted:?}: {now}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Reads events until `enough` says so.
    fn events(&self, query: &str, mut enough: impl FnMut(&str, &Value) -> bool) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /api/events?{query} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address).unwrap();
        let (mut name, begun) = (String::new(), Instant::now());
        for line in BufReader::new(stream).lines() {
            let line = line.unwrap();
            assert!(begun.elapsed() < PATIENCE, "the event never came");
            if let Some(rest) = line.strip_prefix("event: ") {
                name = rest.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ")
                && enough(&name, &serde_json::from_str(data).unwrap())
            {
                return;
            }
        }
        panic!("the stream ended");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn foreign_pages_names_and_tokens_are_refused() {
    let desk = Desk::new();
    desk.project(4, "");
    let server = Server::start(&desk, &["project"], None);
    let page = server.get("/");
    assert_eq!((page.status, page.headers["x-frame-options"].as_str()), (200, "DENY"));
    let policy = &page.headers["content-security-policy"];
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    // Every file that the page names is there, and nothing is fetched from elsewhere.
    let files: Vec<&str> = page.body.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let answer = server.get(file);
        assert!(answer.status == 200 && !answer.body.trim().is_empty(), "{file}");
        let tag = answer.headers["etag"].clone();
        assert_eq!(server.ask("GET", file, &[("If-None-Match", &tag)], "").status, 304, "{file}");
    }
    assert!(!page.body.contains("http://") && !page.body.contains("https://") && !page.body.contains("{{"));
    let own = format!("http://{}", server.address);
    let port = server.address.rsplit(':').next().unwrap();
    let local = format!("localhost:{port}");
    let other_port = "http://127.0.0.1:1".to_owned();
    let get = |headers: &[(&str, &str)]| server.ask("GET", "/api/projects", headers, "").status;
    for (headers, wanted) in [
        (vec![], 200),
        (vec![("Origin", &*own)], 200),
        (vec![("Host", &*local)], 200),
        (vec![("Sec-Fetch-Site", "same-origin")], 200),
        (vec![("Host", "evil.example")], 403),
        (vec![("Host", "127.0.0.1.evil.example:80")], 403),
        (vec![("Host", "evil.example"), ("Origin", "http://evil.example")], 403),
        (vec![("Host", &*server.address), ("Host", "evil.example")], 403),
        (vec![("Origin", "http://evil.example")], 403),
        (vec![("Origin", "null")], 403),
        (vec![("Origin", &*other_port)], 403),
        (vec![("Sec-Fetch-Site", "cross-site")], 403),
        (vec![("Sec-Fetch-Site", "same-site")], 403),
    ] {
        assert_eq!(get(&headers), wanted, "{headers:?}");
    }
    // No answer can be read by another page.
    let answer = server.get("/api/projects");
    assert_eq!(answer.headers["cross-origin-resource-policy"], "same-origin");
    assert!(!answer.headers.keys().any(|name| name.starts_with("access-control-")), "{:?}", answer.headers);
    // A change needs POST, the page's value, and JSON.
    let body = json!({"project": "project", "name": "x"}).to_string();
    let json_type = ("Content-Type", "application/json");
    let token = ("X-Tallow-Token", &*server.page_token);
    for (headers, wanted) in [
        (vec![json_type], 403),
        (vec![json_type, ("X-Tallow-Token", "x")], 403),
        (vec![token, ("Content-Type", "text/plain")], 415),
        (vec![token], 415),
        (vec![token, json_type, ("Origin", "http://evil.example")], 403),
        (vec![token, json_type, ("Sec-Fetch-Site", "cross-site")], 403),
    ] {
        assert_eq!(server.ask("POST", "/api/new", &headers, &body).status, wanted, "{headers:?}");
    }
    for name in ["new", "start", "pause", "cancel"] {
        assert_eq!(server.get(&format!("/api/{name}?project=project")).status, 404, "{name}");
    }
    assert_eq!(server.post("new", &json!({"project": "project", "unknown": 1})).status, 400);
    let long = "x".repeat(300 << 10);
    assert_eq!(server.post("new", &json!({"project": "project", "name": long})).status, 413);
    assert!(!desk.path().join("project/runs").exists());
    // A silent and a broken connection keep nobody waiting.
    let _silent: Vec<TcpStream> = (0..80).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    TcpStream::connect(&server.address).unwrap().write_all(b"GET / HT\0TP/9\r\n\r\n").unwrap();
    assert_eq!(server.get("/api/projects").status, 200);
}

#[test]
fn off_loopback_and_with_a_token_nothing_is_told_without_it() {
    let desk = Desk::new();
    desk.project(4, "");
    for token in ["", "short"] {
        let mut command = desk.command(&["web", "project", "--http", "0.0.0.0:0"]);
        let said = crate::program::said(&command.env("TALLOW_WEB_TOKEN", token).output().unwrap());
        assert!(said.code == 2 && said.err.contains("TALLOW_WEB_TOKEN"), "{} {}", said.code, said.err);
    }
    let token = "a-token-of-some-length";
    let server = Server::start(&desk, &["project"], Some(token));
    for path in ["/", "/assets/app.js", "/api/projects", "/?token=wrong", "/api/projects?token=a-token-of-some-length"] {
        let answer = server.get(path);
        assert!(answer.status == 401 && !answer.body.contains(token), "{path}: {} {}", answer.status, answer.body);
    }
    let bearer = format!("Bearer {token}");
    assert_eq!(server.ask("GET", "/api/projects", &[("Authorization", &bearer)], "").status, 200);
    assert_eq!(server.ask("GET", "/api/projects", &[("Authorization", "Bearer a-token-of-some-lengtH")], "").status, 401);
    let answer = server.get(&format!("/?token={token}"));
    let cookie = &answer.headers["set-cookie"];
    assert!(answer.status == 303 && answer.headers["location"] == "/", "{}", answer.status);
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let shown = cookie.split(';').next().unwrap();
    assert_eq!(server.ask("GET", "/", &[("Cookie", &format!("a=b; {shown}"))], "").status, 200);
    assert_eq!(server.ask("GET", "/?token=x", &[("Host", "evil.example"), ("Cookie", shown)], "").status, 403);
}

#[test]
fn paths_stay_below_the_folders() {
    let desk = Desk::new();
    desk.write("project/data/train.jsonl", "{\"instruction\": \"a\", \"output\": \"b\"}\n");
    let config = "base_model: {model_id: embedded}\ndataset: {train_path: data/train.jsonl}\n";
    desk.write("project/config/fine_tuning_config.yaml", config);
    desk.write("elsewhere/config/fine_tuning_config.yaml", "base_model: {model_id: embedded}\ndataset: {path: x.jsonl}\n");
    desk.write("elsewhere/secret.jsonl", "{\"instruction\": \"top secret\", \"output\": \"x\"}\n");
    let server = Server::start(&desk, &["project"], None);
    let outside = desk.path().join("elsewhere").display().to_string();
    for project in ["../elsewhere", &outside, "/", "..", "project/../../elsewhere", "%2e%2e%2felsewhere", "%00"] {
        for name in ["runs", "run", "curves", "diff", "data", "plan", "events"] {
            let answer = server.get(&format!("/api/{name}?project={project}&run=x&runs=a,b"));
            assert!((400..=404).contains(&answer.status), "{name} {project}: {} {}", answer.status, answer.body);
        }
    }
    for run in ["..", "../..", "/etc", "..%2f..", ".hidden", ""] {
        let answer = server.get(&format!("/api/run?project=.&run={run}"));
        assert!((400..=404).contains(&answer.status), "{run}: {}", answer.body);
    }
    for file in ["/assets/../mod.rs", "/assets/%2e%2e/mod.rs", "/assets/", "/x", "/api/", "/api/nothing"] {
        assert_eq!(server.get(file).status, 404, "{file}");
    }
    // Settings of a new run may not lead outside either.
    let set = vec![format!("dataset.train_path={outside}/secret.jsonl")];
    let answer = server.post("new", &json!({"project": ".", "name": "x", "set": set}));
    assert!(answer.status == 403 && answer.body.contains("path_outside_roots"), "{}", answer.body);
    assert!(!desk.path().join("project/runs").exists());
    server.change("new", &json!({"project": ".", "name": "x"}));
    assert!(desk.only_run().exists());
}

#[test]
fn a_run_is_made_watched_paused_resumed_and_compared() {
    let desk = Desk::new();
    desk.project(4000, "");
    let server = Server::start(&desk, &["."], None);
    let projects = server.read("/api/projects");
    assert_eq!(projects["projects"].as_array().unwrap().len(), 1, "{projects}");
    assert_eq!(server.read("/api/runs?project=project")["runs"], json!([]));
    let make = |name: &str, set: &[&str], start: bool| {
        let run = server.change("new", &json!({"project": "project", "name": name, "set": set, "start": start}));
        run["run_id"].as_str().unwrap().to_owned()
    };
    let first = make("first", &[], true);
    let query = format!("project=project&run={first}");
    // Its steps are told as they happen.
    let (mut states, mut curves, mut lines) = (Vec::new(), 0, 0);
    server.events(&query, |name, data| {
        match name {
            "run" => states.push(data["state"].clone()),
            "curve" => curves += 1,
            "log" => lines += data["lines"].as_array().unwrap().len(),
            other => panic!("{other}: {data}"),
        }
        data["done"].as_u64() > Some(8) && curves > 1 && lines > 8
    });
    assert!(states.contains(&json!("running")), "{states:?}");
    server.change("pause", &json!({"project": "project", "run": first}));
    let paused = server.until(&first, &["paused"]);
    let done = paused["done"].as_u64().unwrap();
    assert!(done > 8 && paused["last_checkpoint"].is_string(), "{paused}");
    let page = server.read(&format!("/api/run?{query}"));
    assert!(!page["checkpoints"].as_array().unwrap().is_empty(), "{page}");
    assert!(page["stages"][0]["memory_plan"]["parts"].as_array().is_some_and(|p| !p.is_empty()), "{page}");
    server.change("start", &json!({"project": "project", "run": first}));
    let again = server.post("start", &json!({"project": "project", "run": first}));
    assert!(again.status == 400 && again.body.contains("run_busy"), "{}", again.body);
    server.events(&query, |_, data| data["done"].as_u64() > Some(done + 4));
    server.change("cancel", &json!({"project": "project", "run": first}));
    server.until(&first, &["cancelled"]);
    let answer = server.post("start", &json!({"project": "project", "run": first}));
    // Words of the page, not of assistants.
    assert!(answer.body.contains("run_cancelled") && !answer.body.contains("configure_training_run"), "{}", answer.body);
    // Its curve is what its file says.
    let text = std::fs::read_to_string(desk.path().join("project/runs").join(&first).join("metrics.jsonl")).unwrap();
    let rows: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let wanted: Vec<(u64, f32)> = rows.iter().filter_map(|r| Some((r["step"].as_u64()?, r["loss"].as_f64()? as f32))).collect();
    let curve = server.read(&format!("/api/curves?{query}&points=4000"));
    assert_eq!(points(&curve, "loss"), wanted);
    let (from, to) = (wanted[3].0, wanted[wanted.len() - 3].0);
    let part = server.read(&format!("/api/curves?{query}&points=4000&from={from}&to={to}"));
    assert_eq!(points(&part, "loss"), wanted[3..wanted.len() - 2]);
    // Another run with two other settings.
    let second = make("second", &["lora.rank=2", "training.seed=7"], false);
    let diff = server.read(&format!("/api/diff?project=project&runs={first},{second}"));
    let differing = diff["settings"].as_array().unwrap();
    let of = |key: &str| differing.iter().find(|d| d["key"] == key).unwrap_or_else(|| panic!("no {key}: {diff}"))["values"].clone();
    assert_eq!((of("lora.rank")[1].clone(), of("training.seed")[1].clone(), differing.len()), (json!(2), json!(7), 2), "{diff}");
    assert_eq!(of("lora.rank"), json!([4, 2]));
    assert_eq!(server.get(&format!("/api/diff?project=project&runs={first}")).status, 400);
    let events_of_project = |wanted: &str| {
        server.events("project=project", |name, data| {
            assert_eq!(name, "runs");
            data["runs"].as_array().unwrap().iter().any(|r| r["run_id"] == wanted)
        });
    };
    events_of_project(&second);
    // A server that may change nothing.
    let watching = Server::start(&desk, &["--read-only", "."], None);
    let answer = watching.post("start", &json!({"project": "project", "run": second}));
    assert!(answer.status == 403 && answer.body.contains("read_only_server"), "{}", answer.body);
    assert_eq!(watching.read(&format!("/api/run?project=project&run={second}"))["run"]["state"], "not_started");
}

/// Steps and values of a series.
fn points(curves: &Value, name: &str) -> Vec<(u64, f32)> {
    let series = curves["series"].as_array().unwrap().iter().find(|s| s["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    let x = series["x"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap());
    x.zip(series["y"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32)).collect()
}

#[test]
fn examples_show_what_is_trained_and_markup_stays_text() {
    let desk = Desk::new();
    let hostile = "<img src=x onerror=alert(1)>";
    desk.project(4, "");
    let config = std::fs::read_to_string(desk.path().join("project/config/fine_tuning_config.yaml")).unwrap();
    desk.write("project/config/fine_tuning_config.yaml", &config.replace("max_seq_length: 64", "max_seq_length: 512"));
    let row = |i: usize| json!({"instruction": format!("{hostile} {i}"), "output": format!("answer {i} {hostile}")}).to_string();
    let rows: Vec<String> = (0..25).map(row).chain(["{\"instruction\": 3".to_owned()]).collect();
    desk.write("project/data/train.jsonl", &(rows.join("\n") + "\n"));
    let server = Server::start(&desk, &["."], None);
    let page = server.read("/api/data?project=project&from=20&count=10");
    let examples = page["examples"].as_array().unwrap();
    assert_eq!((examples.len(), &page["from"]), (5, &json!(20)), "{page}");
    assert_eq!(page["parts"][0], json!({"name": "train", "rows": 25, "bad_rows": 1}));
    assert!(page["problems"][0].as_str().unwrap().contains("train.jsonl:26"), "{page}");
    for (i, example) in examples.iter().enumerate() {
        let text = |trained: bool| -> String {
            let pieces = example["pieces"].as_array().unwrap().iter();
            pieces.filter(|p| p["trained"] == trained).map(|p| p["text"].as_str().unwrap()).collect()
        };
        assert!(text(true).contains(&format!("answer {}", 20 + i)), "{example}");
        assert!(text(false).contains("<img src=x onerror=alert(1)>") && !text(false).contains("answer"), "{example}");
        let trained = example["pieces"].as_array().unwrap().iter().filter(|p| p["trained"] == true).count();
        assert_eq!(example["trained_tokens"], trained);
    }
    let answer = server.get("/api/data?project=project&count=1");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(server.get("/api/data?project=project&part=nothing").status, 400);
    assert_eq!(server.read("/api/data?project=project&part=validation&count=3")["examples"].as_array().unwrap().len(), 3);
    // A plan reads the rows as training does, and refuses bad ones.
    let refused = server.get("/api/plan?project=project&memory=8GiB");
    assert!(refused.status == 400 && refused.body.contains("train.jsonl:26"), "{}", refused.body);
    desk.write("project/data/train.jsonl", &(rows[..25].join("\n") + "\n"));
    let plan = server.read("/api/plan?project=project&memory=8GiB");
    let parts: u64 = plan["parts"].as_array().unwrap().iter().map(|p| p["bytes"].as_u64().unwrap()).sum();
    assert_eq!((plan["peak_bytes"].as_u64(), plan["budget"].as_u64()), (Some(parts), Some(8 << 30)), "{plan}");
    // No file of the page writes markup.
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/page");
    for file in std::fs::read_dir(folder).unwrap().flatten().filter(|f| f.path().extension().is_some_and(|e| e == "js")) {
        let text = std::fs::read_to_string(file.path()).unwrap();
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"] {
            assert!(!text.contains(word), "{}: {word}", file.path().display());
        }
    }
}

/// A metrics file of so many steps with drawn losses; where the highest and the lowest are.
fn metrics(steps: u64, seed: u64) -> (String, [(u64, f32); 2]) {
    let mut random = tallow::data::Rng::for_parts(&[seed]);
    let mut text = String::new();
    let mut ends = [(0, f32::NEG_INFINITY), (0, f32::INFINITY)];
    for step in 1..=steps {
        let loss = 4.0 / (step as f64).sqrt() + random.below(1 << 20) as f64 / f64::from(1 << 20);
        ends[0] = if loss as f32 > ends[0].1 { (step, loss as f32) } else { ends[0] };
        ends[1] = if (loss as f32) < ends[1].1 { (step, loss as f32) } else { ends[1] };
        let _ = writeln!(
            text,
            "{{\"stage\":1,\"step\":{step},\"loss\":{loss},\"learning_rate\":1e-4,\"grad_norm\":0.5,\"sequences\":1,\"tokens\":64,\
             \"trained_tokens\":32,\"tokens_per_second\":1000.0,\"elapsed_seconds\":{step}.0,\"peak_rss_bytes\":1000000}}"
        );
    }
    (text, ends)
}

#[test]
fn many_runs_and_long_curves_are_answered_soon() {
    let desk = Desk::new();
    desk.project(100_000, "");
    let server = Server::start(&desk, &["."], None);
    let made = server.change("new", &json!({"project": "project", "name": "many"}));
    let first = made["path"].as_str().unwrap().to_owned();
    let runs = desk.path().join("project/runs");
    let manifest = std::fs::read_to_string(format!("{first}/run-manifest.json")).unwrap();
    let seed = drawn_seed();
    for i in 0..199u64 {
        let name = format!("other-{i:03}");
        std::fs::create_dir_all(runs.join(&name)).unwrap();
        let id = made["run_id"].as_str().unwrap();
        std::fs::write(runs.join(&name).join("run-manifest.json"), manifest.replace(id, &name)).unwrap();
        std::fs::write(runs.join(&name).join("metrics.jsonl"), metrics(1500, seed ^ i).0).unwrap();
    }
    let (text, ends) = metrics(100_000, seed);
    std::fs::write(runs.join("other-000/metrics.jsonl"), &text).unwrap();
    let timed = |path: &str| {
        let begun = Instant::now();
        let value = server.read(path);
        (value, begun.elapsed())
    };
    let (list, cold) = timed("/api/runs?project=project");
    assert_eq!(list["runs"].as_array().unwrap().len(), 200);
    let (_, warm) = timed("/api/runs?project=project");
    let (curve, first_curve) = timed("/api/curves?project=project&run=other-000&points=1000&smooth=0.9");
    let (_, second_curve) = timed("/api/curves?project=project&run=other-000&points=1000&from=50000&to=60000&smooth=0.5");
    let told = format!("seed {seed}: list {cold:?} then {warm:?}, curve {first_curve:?} then {second_curve:?}");
    // Bounds with much room: this is an unoptimised build beside other tests.
    assert!(cold < Duration::from_secs(60) && warm < Duration::from_secs(10), "{told}");
    assert!(first_curve < Duration::from_secs(60) && second_curve < Duration::from_secs(5), "{told}");
    let drawn = points(&curve, "loss");
    assert!(drawn.len() <= 1000 && curve["steps"] == 100_000, "{told}: {} points", drawn.len());
    // No spike is lost, and each point is one of the file's.
    assert!(ends.iter().all(|end| drawn.contains(end)), "{told}: {ends:?}");
    let rows: BTreeMap<u64, f32> = text
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).unwrap())
        .map(|r| (r["step"].as_u64().unwrap(), r["loss"].as_f64().unwrap() as f32))
        .collect();
    assert!(drawn.iter().all(|(step, loss)| rows[step] == *loss), "{told}");
    // A row more is seen, without all others being read again.
    let more = text.lines().last().unwrap().replace("\"step\":100000,", "\"step\":100001,");
    std::fs::write(runs.join("other-000/metrics.jsonl"), format!("{text}{more}\n")).unwrap();
    assert_eq!(timed("/api/curves?project=project&run=other-000&points=1000").0["span"], json!([1, 100_001]), "{told}");
}
