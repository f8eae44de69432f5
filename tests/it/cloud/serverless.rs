//! Serverless endpoints: the fake's side of them, and what is done with them.

use std::time::Duration;

use serde_json::{Value, json};
use tallow::cloud::{self, Client, JobAction, Key, Scaling, UpdateEndpoint, WorkerGpu, Workers};

use super::fake::{Fake, KEY, State, Trouble, refused};
use crate::mcp_client::Client as Assistant;
use crate::program::{Desk, said};

/// Requests by the document.
pub fn act(state: &mut State, method: &str, parts: &[&str], query: &str, wish: &Value) -> (u16, Value) {
    match (method, parts) {
        ("GET", ["serverless"]) => (200, json!({"endpoints": state.endpoints.values().collect::<Vec<_>>()})),
        ("POST", ["serverless"]) => {
            state.made_endpoints += 1;
            let id = format!("ep{}", state.made_endpoints);
            let volumes = wish["networkVolumes"].as_array().cloned().unwrap_or_default();
            if let Some(missing) = volumes.iter().filter_map(Value::as_str).find(|v| !state.store.volumes.contains_key(*v)) {
                return refused(400, &format!("no volume {missing}"));
            }
            let or = |name: &str, other: Value| if wish[name].is_null() { other } else { wish[name].clone() };
            let mut gpu = wish["gpu"].clone();
            (gpu["allowedCudaVersions"], gpu["minCudaVersion"]) = (json!([]), Value::Null);
            let urls: Value = ["run", "runSync", "status", "stream", "cancel", "retry", "purgeQueue", "health"]
                .iter()
                .map(|name| ((*name).to_owned(), json!(format!("https://api.runpod.ai/v2/{id}/{name}"))))
                .collect::<serde_json::Map<_, _>>()
                .into();
            let endpoint = json!({
                "id": id, "name": wish["name"], "type": "QUEUE", "requestUrls": urls, "image": or("image", "i".into()),
                "args": or("args", "".into()), "disk": or("disk", 20.into()), "ports": [], "env": or("env", json!({})), "registry": null,
                "gpu": gpu, "workers": wish["workers"], "scaling": wish["scaling"], "dataCenterIds": or("dataCenterIds", json!([])),
                "networkVolumes": or("networkVolumes", json!([])), "timeout": or("timeout", 300_000.into()), "flashboot": "OFF",
                "createdAt": "2026-11-01T00:00:00Z"
            });
            state.endpoints.insert(id, endpoint.clone());
            (201, endpoint)
        }
        ("GET", ["billing", "serverless"]) => {
            let one = query.split('&').find_map(|q| q.strip_prefix("serverlessId="));
            let sum: f64 = state.endpoint_costs.iter().filter(|(id, _)| one.is_none_or(|o| o == id.as_str())).map(|(_, cost)| cost).sum();
            let amounts = json!({"totalAmount": sum, "gpuAmount": sum, "cpuAmount": 0.0, "diskAmount": 0.0, "feeAmount": 0.0});
            let query = json!({"startTime": "2026-11-01T00:00:00Z", "endTime": "2026-11-02T00:00:00Z", "bucketSize": "day"});
            (200, json!({"records": [], "metadata": {"query": query, "recordCount": 0, "uniqueServerlessCount": 0, "totals": amounts}}))
        }
        (_, ["serverless", id]) if !state.endpoints.contains_key(*id) => refused(404, "endpoint not found"),
        ("GET", ["serverless", id]) => (200, state.endpoints[*id].clone()),
        ("PATCH", ["serverless", id]) => {
            let endpoint = state.endpoints.get_mut(*id).unwrap();
            wish.as_object().unwrap().iter().for_each(|(name, value)| endpoint[name.as_str()] = value.clone());
            (200, endpoint.clone())
        }
        ("DELETE", ["serverless", id]) => {
            state.endpoints.remove(*id);
            // Its workers are still at their end.
            state.store.busy_looks = 2;
            (204, Value::Null)
        }
        _ => refused(405, "method not allowed"),
    }
}

/// US dollars of a job.
pub const JOB_COST: f64 = 0.02;

/// What a worker serves: the name, once its model is where its variables say, whole.
fn model_of(state: &State, endpoint: &str) -> Result<String, String> {
    if state.worker_fails {
        return Err("the worker has failed".into());
    }
    let endpoint = &state.endpoints[endpoint];
    let var = |name: &str| endpoint["env"][name].as_str().unwrap_or_default().to_owned();
    let modules: Value = serde_json::from_str(&var("LORA_MODULES")).unwrap_or_default();
    let (name, path, wanted) = match modules[0]["path"].as_str() {
        Some(path) if var("ENABLE_LORA") == "true" => (
            modules[0]["name"].as_str().unwrap_or_default().to_owned(),
            path.to_owned(),
            ["adapter_config.json", "adapter_model.safetensors"],
        ),
        _ => (var("OPENAI_SERVED_MODEL_NAME_OVERRIDE"), var("MODEL_NAME"), ["config.json", "model.safetensors"]),
    };
    let Some(folder) = path.strip_prefix("/runpod-volume/") else { return Ok(name) };
    let volume = endpoint["networkVolumes"][0].as_str().and_then(|v| state.store.volumes.get(v)).ok_or("no volume")?;
    let has = |file: &str| volume.files.get(file).is_some_and(|bytes| !bytes.is_empty());
    let whole = if folder.ends_with(".gguf") { has(folder) } else { wanted.iter().all(|f| has(&format!("{folder}/{f}"))) };
    if whole { Ok(name) } else { Err(format!("there is no model in {path}")) }
}

/// Requests about jobs, which are not in the document; `None` for others. A worker gives back what it
/// was sent, and fails where that says so.
pub fn job(state: &mut State, method: &str, path: &str, value: &Value) -> Option<(u16, Value)> {
    let parts: Vec<&str> = path.split('/').skip(2).collect();
    let id = *parts.first()?;
    if ["pods", "serverless", "catalog", "templates", "network-volumes", "billing"].contains(&id) || path == "/graphql" {
        return None;
    }
    if !state.endpoints.contains_key(id) {
        return Some(refused(404, "endpoint not found"));
    }
    let model = model_of(state, id);
    let cost = state.endpoint_costs.entry(id.to_owned()).or_default();
    let mut done = |job: &mut Value| {
        *cost += JOB_COST;
        if let Some(asked) = job["input"].get("openai_input") {
            let said = model.as_ref().map(|name| format!("{name} says: {}", asked["messages"][0]["content"].as_str().unwrap_or("?")));
            (job["status"], job["output"]) = match said {
                Ok(said) => ("COMPLETED".into(), json!([{"choices": [{"message": {"role": "assistant", "content": said}}]}])),
                Err(why) => ("COMPLETED".into(), json!([{"error": {"message": why}}])),
            };
            return;
        }
        let fails = job["input"]["fail"] == true && job["tries"] == 1;
        job["status"] = if fails { "FAILED" } else { "COMPLETED" }.into();
        job[if fails { "error" } else { "output" }] = if fails { json!("it failed") } else { job["input"].clone() };
    };
    let told = |job: &Value| {
        let mut told = job.clone();
        told.as_object_mut().unwrap().retain(|name, _| !["input", "tries"].contains(&name.as_str()));
        told
    };
    Some(match (method, &parts[1..]) {
        ("POST", ["run" | "runsync"]) => {
            assert!(value.get("input").is_some(), "{value}");
            let name = format!("job{}", state.jobs.len() + 1);
            let mut job = json!({"id": name, "status": "IN_QUEUE", "input": value["input"], "tries": 1});
            if parts[1] == "runsync" {
                done(&mut job);
            }
            state.jobs.insert(name, (job.clone(), 1));
            (200, told(&job))
        }
        ("GET", ["health"]) => (200, json!({"jobs": {"inQueue": state.jobs.len()}, "workers": {"idle": 1, "initializing": 0}})),
        ("POST", ["purge-queue"]) => {
            let before = state.jobs.len();
            state.jobs.retain(|_, (job, _)| job["status"] != "IN_QUEUE");
            (200, json!({"removed": before - state.jobs.len(), "status": "completed"}))
        }
        (_, [_, name]) if !state.jobs.contains_key(*name) => refused(404, "job not found"),
        ("GET", ["status", name]) => {
            let (job, looks) = state.jobs.get_mut(*name).unwrap();
            match job["status"].as_str() {
                Some("IN_QUEUE") if *looks == 0 => job["status"] = "IN_PROGRESS".into(),
                Some("IN_QUEUE") => *looks -= 1,
                Some("IN_PROGRESS") => done(job),
                _ => {}
            }
            (200, told(job))
        }
        ("GET", ["stream", name]) => {
            let (job, _) = &state.jobs[*name];
            (200, json!({"status": job["status"], "stream": [{"output": job["input"]}]}))
        }
        ("POST", ["cancel", name]) => {
            let (job, _) = state.jobs.get_mut(*name).unwrap();
            job["status"] = "CANCELLED".into();
            (200, told(job))
        }
        ("POST", ["retry", name]) => {
            let (job, looks) = state.jobs.get_mut(*name).unwrap();
            if job["status"] != "FAILED" {
                return Some(refused(409, "only a job that failed can be tried again"));
            }
            (job["status"], job["tries"], *looks) = ("IN_QUEUE".into(), 2.into(), 0);
            (200, told(job))
        }
        _ => refused(405, "method not allowed"),
    })
}

fn client(fake: &Fake) -> Client {
    Client::new(&fake.address, Key::new(KEY).unwrap()).unwrap().with_second(Duration::from_millis(5))
}

fn wish(name: &str) -> cloud::CreateEndpoint {
    cloud::CreateEndpoint {
        name: name.into(),
        image: Some("runpod/worker".into()),
        template_id: None,
        args: String::new(),
        disk: Some(20),
        env: [("A".to_owned(), "b".to_owned())].into(),
        gpu: WorkerGpu { pools: vec!["ADA_24".into()], count: 1 },
        workers: Workers { min: Some(0), max: Some(2), idle_timeout: Some(5) },
        scaling: Scaling::QueueDelay { queue_delay: 4.0 },
        data_center_ids: Vec::new(),
        network_volumes: vec!["vol1".into()],
        timeout: Some(60_000),
    }
}

#[test]
fn an_endpoint_is_made_once_changed_and_deleted() {
    let fake = Fake::start();
    let client = client(&fake);
    // The answer is lost: it was made all the same, and is found by its name.
    fake.trouble("POST", Trouble::Lost, 1);
    let (made, is_new) = cloud::create_endpoint(&client, &wish("a")).unwrap();
    assert!(is_new);
    let (again, is_new) = cloud::create_endpoint(&client, &wish("a")).unwrap();
    assert!(!is_new && again == made && fake.state().endpoints.len() == 1);
    let change = UpdateEndpoint { workers: Some(Workers { max: Some(7), ..Workers::default() }.over(&made.workers)), ..Default::default() };
    let changed = cloud::update_endpoint(&client, &made.id, &change).unwrap();
    assert_eq!(changed.workers, Workers { min: Some(0), max: Some(7), idle_timeout: Some(5) });
    assert_eq!(cloud::endpoints(&client).unwrap(), [changed]);
    fake.state().endpoint_costs.insert(made.id.clone(), 1.5);
    fake.state().endpoint_costs.insert("another".into(), 1.0);
    assert!((cloud::endpoint_bills(&client, 7, None).unwrap().1 - 2.5).abs() < 1e-12);
    assert!((cloud::endpoint_bills(&client, 7, Some(&made.id)).unwrap().1 - 1.5).abs() < 1e-12);
    cloud::delete_endpoint(&client, &made.id).unwrap();
    cloud::delete_endpoint(&client, &made.id).unwrap();
    assert_eq!(cloud::endpoint(&client, &made.id).unwrap_err().code, "cloud_not_found");
    fake.assert_spoke_by_the_document();
}

#[test]
fn jobs_are_sent_once_and_looked_at_until_they_end() {
    let fake = Fake::start();
    let client = client(&fake);
    let id = cloud::create_endpoint(&client, &wish("a")).unwrap().0.id;
    let input = json!({"prompt": "hello"});
    let done = cloud::run_job(&client, &id, &input, true).unwrap();
    assert!(cloud::has_ended(&done) && done["output"] == input, "{done}");
    let look = |job: &Value, action| cloud::job(&client, &id, job["id"].as_str().unwrap(), action);
    let failing = cloud::run_job(&client, &id, &json!({"fail": true}), false).unwrap();
    let until_end = |job: &Value| (0..9).map(|_| look(job, JobAction::Status).unwrap()).find(cloud::has_ended).unwrap();
    assert!(!cloud::has_ended(&failing) && until_end(&failing)["status"] == "FAILED");
    look(&failing, JobAction::Retry).unwrap();
    assert_eq!(until_end(&failing)["status"], "COMPLETED");
    assert_eq!(look(&failing, JobAction::Retry).unwrap_err().code, "cloud_conflict");
    let waiting = cloud::run_job(&client, &id, &input, false).unwrap();
    assert_eq!(look(&waiting, JobAction::Stream).unwrap()["stream"][0]["output"], input);
    assert_eq!(look(&waiting, JobAction::Cancel).unwrap()["status"], "CANCELLED");
    cloud::run_job(&client, &id, &input, false).unwrap();
    assert_eq!(cloud::purge_queue(&client, &id).unwrap()["removed"], 1);
    assert_eq!(cloud::health(&client, &id).unwrap()["workers"]["idle"], 1);
    // Where it stays open whether it was taken, it is not sent again.
    let before = fake.state().jobs.len();
    fake.trouble("POST", Trouble::Lost, 1);
    assert_eq!(cloud::run_job(&client, &id, &input, false).unwrap_err().code, "cloud_unreachable");
    assert_eq!(fake.state().jobs.len(), before + 1);
}

#[test]
fn endpoints_from_a_shell_and_from_an_assistant() {
    let (desk, fake) = (Desk::new(), Fake::start());
    let books = desk.path().join("books").display().to_string();
    let variables = [("RUNPOD_API_KEY", KEY), ("TALLOW_RUNPOD_URL", fake.address.as_str()), ("TALLOW_CLOUD_STATE", &books)];
    let ask = |args: &[&str]| -> Value {
        let args = [&["cloud", "endpoint"], args, &["--json"]].concat();
        let out = said(&desk.command(&args).envs(variables).output().unwrap());
        serde_json::from_str(&out.out).unwrap_or_else(|e| panic!("{e}: {} {}", out.out, out.err))
    };
    let create = ["create", "a", "--pool", "ADA_24", "--image", "i"];
    let refused = ask(&create)["error"]["message"].to_string();
    assert!(refused.contains("0.29 to 0.69 US dollars an hour") && fake.state().endpoints.is_empty(), "{refused}");
    assert_eq!(ask(&[&create[..], &["--yes"]].concat())["is_new"], true);
    assert_eq!(ask(&["run", "ep1", r#"{"prompt": "hello"}"#, "--wait"])["output"]["prompt"], "hello");
    assert_eq!(ask(&["run", "ep1", "no json"])["error"]["code"], "usage");
    let mut assistant = Assistant::start_with(&desk, &["--toolsets", "cloud"], &variables);
    let mut wish = json!({"name": "b", "gpu_pools": ["ADA_24"], "image": "i"});
    assert_eq!(assistant.try_call("runpod_create_endpoint", wish.clone()).unwrap_err()["code"], "confirmation_needed");
    wish["confirmed"] = true.into();
    assert_eq!(assistant.call("runpod_create_endpoint", wish)["endpoint"]["id"], "ep2");
    let run = json!({"endpoint_id": "ep2", "input": {"x": 1}, "wait": false});
    let job = assistant.call("runpod_run_endpoint", run)["answer"]["id"].clone();
    let cancelled = assistant.call("runpod_job_status", json!({"endpoint_id": "ep2", "job_id": job, "action": "cancel"}));
    assert!(cancelled["has_ended"] == true && cancelled["answer"]["status"] == "CANCELLED", "{cancelled}");
    let more = json!({"endpoint_id": "ep2", "max_workers": 9});
    assert_eq!(assistant.try_call("runpod_update_endpoint", more).unwrap_err()["code"], "confirmation_needed");
    assert_eq!(assistant.call("runpod_list_endpoints", json!({}))["endpoints"].as_array().unwrap().len(), 2);
    assert_eq!(assistant.try_call("runpod_delete_endpoint", json!({"endpoint_id": "ep2"})).unwrap_err()["code"], "confirmation_needed");
    assistant.call("runpod_delete_endpoint", json!({"endpoint_id": "ep2", "confirmed": true}));
    assert_eq!(ask(&["list"])["endpoints"].as_array().unwrap().len(), 1);
    fake.assert_spoke_by_the_document();
}

#[test]
fn resources_and_prompts_are_filled_from_the_service() {
    let (desk, fake) = (Desk::new(), Fake::start());
    desk.project(4, "");
    let books = desk.path().join("books").display().to_string();
    let variables = [("RUNPOD_API_KEY", KEY), ("TALLOW_RUNPOD_URL", fake.address.as_str()), ("TALLOW_CLOUD_STATE", &books)];
    let mut assistant = Assistant::start_with(&desk, &["--toolsets", "core,cloud"], &variables);
    cloud::create_endpoint(&client(&fake), &wish("a")).unwrap();
    let listed = assistant.request("resources/list", json!({}))["result"]["resources"].to_string();
    for (uri, holds) in [
        ("runpod://pods", "pods"),
        ("runpod://templates", "templates"),
        ("runpod://endpoints", "ep1"),
        ("runpod://volumes", "vol1"),
        ("gpus://available", "NVIDIA RTX A5000"),
    ] {
        assert!(listed.contains(uri), "{listed}");
        let read = assistant.request("resources/read", json!({"uri": uri}))["result"]["contents"][0]["text"].to_string();
        assert!(read.contains(holds), "{uri}: {read}");
    }
    let mut prompt = |name: &str, arguments: Value| {
        let answer = assistant.request("prompts/get", json!({"name": name, "arguments": arguments}));
        answer["result"]["messages"][0]["content"]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    let gpu = prompt("choose_gpu", json!({"task": "train", "model_size": "7B"}));
    assert!(gpu.contains("NVIDIA RTX A5000: 24 GB, 0.29 US dollars an hour"), "{gpu}");
    let pod = prompt("pod_for_workload", json!({"workload": "PyTorch training", "project_path": "project"}));
    assert!(pod.contains("fits on a GPU with 16 GB") && pod.contains("NVIDIA RTX A4000: 16 GB, 0.25"), "{pod}");
    for (workload, step) in
        [("diffusion inference", "terminate"), ("long experiments", "max_cost"), ("deploying an endpoint", "min_workers 0")]
    {
        let text = prompt("pod_for_workload", json!({"workload": workload}));
        assert!(text.contains(step) && !text.contains(KEY), "{workload}: {text}");
    }
    // Without their tools nothing is asked of the service.
    let seen = fake.state().seen.len();
    let mut other = Assistant::start_with(&desk, &[], &variables);
    assert!(!other.request("resources/list", json!({})).to_string().contains("runpod://"));
    assert!(other.request("resources/read", json!({"uri": "runpod://pods"}))["error"].is_object());
    assert_eq!(fake.state().seen.len(), seen);
}
