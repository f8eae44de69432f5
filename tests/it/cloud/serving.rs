//! A finished run behind an endpoint: exported, stored, served, asked, and removed again.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tallow::app::cloud::Cloud;
use tallow::app::cloud::serve::{
    Form, ServeRequest, ServeStage, begin_serving, end_serving, serve_finish, serve_offer, servings, tidy_servings,
};
use tallow::cloud::{Caps, Workers};

use super::fake::{Fake, KEY, Trouble};
use super::serverless::JOB_COST;
use super::storage::{S3_ID, S3_SECRET};
use super::{Draws, cloud as cloud_at};
use crate::mcp_client::{Client as Assistant, outcome};
use crate::program::{Desk, Said, said};

/// A project with a run that is done, its service, and a client of it in this process.
struct Site {
    desk: Desk,
    fake: Fake,
    cloud: Cloud,
}

impl Site {
    fn new() -> Self {
        let desk = Desk::new();
        desk.project(2, "");
        desk.ok(&["train", "project"]);
        let fake = Fake::start();
        let cloud = cloud_at(&fake, &desk.path().join("books"));
        Self { desk, fake, cloud }
    }

    fn variables(&self) -> [(&'static str, String); 6] {
        let (address, books) = (self.fake.address.clone(), self.desk.path().join("books").display().to_string());
        [
            ("RUNPOD_API_KEY", KEY.into()),
            ("TALLOW_RUNPOD_URL", address.clone()),
            ("TALLOW_CLOUD_STATE", books),
            ("RUNPOD_S3_ACCESS_KEY_ID", S3_ID.into()),
            ("RUNPOD_S3_SECRET_ACCESS_KEY", S3_SECRET.into()),
            ("TALLOW_RUNPOD_S3_URL", address),
        ]
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.desk.command(args);
        command.envs(self.variables());
        command
    }

    fn assistant(&self, capabilities: Value) -> Assistant {
        let variables = self.variables();
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Assistant::start_able(&self.desk, &["--toolsets", "core,cloud"], &variables, capabilities)
    }

    fn ask(&self, args: &[&str]) -> Said {
        said(&self.command(args).output().unwrap())
    }

    fn json(&self, args: &[&str]) -> Value {
        let out = self.ask(&[args, &["--json"]].concat());
        serde_json::from_str(&out.out).unwrap_or_else(|e| panic!("{e}: {} {}", out.out, out.err))
    }

    fn wish(&self) -> ServeRequest {
        ServeRequest {
            run: Some(self.desk.only_run()),
            form: Form::Merged,
            name: "tuned".into(),
            pools: Vec::new(),
            count: 1,
            image: None,
            template: None,
            env: [("HF_TOKEN".to_owned(), "hf_x".to_owned())].into(),
            disk_gb: 20,
            volume: None,
            data_center: None,
            workers: Workers { min: Some(0), max: Some(1), idle_timeout: Some(5) },
            caps: Caps::default(),
            prompt: "hi".into(),
            max_tokens: 8,
            patience: 20.0,
        }
    }

    /// Nothing that costs anything is there, but for the volume that was.
    fn assert_clean(&self, what: &str) {
        let state = self.fake.state();
        assert!(state.endpoints.is_empty(), "{what}: {:?}", state.endpoints.keys());
        assert_eq!(state.store.alive(), [] as [String; 0], "{what}");
        assert!(state.store.uploads.is_empty() && state.store.volumes["vol1"].files.is_empty(), "{what}");
        assert_eq!(state.broken, [] as [String; 0], "{what}");
        drop(state);
        assert!(servings(&self.cloud.ledger).unwrap().iter().all(|s| s.stage == ServeStage::Ended), "{what}");
    }

    /// Files of the newest volume, written into a folder here.
    fn fetched(&self) -> std::path::PathBuf {
        let state = self.fake.state();
        let volume = state.store.volumes.values().rfind(|v| !v.files.is_empty()).unwrap();
        for (name, bytes) in &volume.files {
            let path = self.desk.path().join("there").join(name.rsplit('/').next().unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        self.desk.path().join("there")
    }
}

#[test]
fn a_finished_run_is_served_from_price_to_answer_and_removed() {
    let site = Site::new();
    let serve = ["cloud", "serve", "run", "project", "--name", "tuned", "--prompt", "hello", "--max-hours", "2", "--env", "T=hf_secret"];
    let refused = site.json(&serve)["error"]["message"].to_string();
    for words in ["ADA_24", "0.29 to 0.69 US dollars an hour", "10 GB in EU-RO-1: 0.70 US dollars a month", "after 2 hours"] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
    site.assert_clean("before it is agreed to");
    let served = site.json(&[&serve[..], &["--yes"]].concat());
    assert_eq!(served["text"], "tuned says: hello", "{served}");
    let id = served["endpoint_id"].as_str().unwrap().to_owned();
    assert_eq!(served["openai_url"], format!("https://api.runpod.ai/v2/{id}/openai/v1"));
    // What workers read is the merged model, whole.
    let there = site.fetched();
    site.desk.ok(&["export", "--run", "latest", "--project", "project", "--format", "safetensors", "--out", "merged"]);
    let same = |name: &str| fs::read(there.join(name)).unwrap() == fs::read(site.desk.path().join("merged").join(name)).unwrap();
    assert!(same("model.safetensors") && same("config.json") && same("tokenizer.json"));
    assert!(site.ask(&["cloud", "serve", "list"]).out.contains("answered"));
    let listed = site.json(&["cloud", "serve", "list"])["served"].to_string();
    assert!(listed.contains("\"T\"") && !listed.contains("hf_secret"), "{listed}");
    // To come back to it asks nothing again.
    let asked = site.fake.state().jobs.len();
    assert_eq!(site.json(&["cloud", "serve", "attach", "tuned"])["text"], "tuned says: hello");
    assert_eq!(site.fake.state().jobs.len(), asked);
    site.fake.advance(1.0);
    let due = site.fake.books();
    assert!(due > JOB_COST && (site.json(&["cloud", "account"])["total"].as_f64().unwrap() - due).abs() < 1e-9);
    let ended = site.json(&["cloud", "serve", "end", "tuned", "--yes"]);
    assert!(ended["ended"].is_string(), "{ended}");
    site.assert_clean("after its end");
}

#[test]
fn each_form_gets_where_its_workers_look_for_it() {
    let site = Site::new();
    let mut forms = vec![(Form::Merged, None), (Form::Merged, Some("vol1")), (Form::Hub("me/mine".into()), None)];
    forms.push((Form::Gguf("q8_0".into()), Some("vol1")));
    for (form, volume) in forms {
        let is_hub = matches!(form, Form::Hub(_));
        let mut wish = ServeRequest { form: form.clone(), volume: volume.map(str::to_owned), ..site.wish() };
        if is_hub {
            wish.run = None;
        }
        if matches!(form, Form::Gguf(_)) {
            assert_eq!(serve_offer(&site.cloud, &wish).unwrap_err().code, "usage");
            wish.image = Some("somebody/llama-worker".into());
            wish.env.insert("MODEL_PATH".into(), "{model}".into());
        }
        let offer = serve_offer(&site.cloud, &wish).unwrap();
        assert_eq!((offer.volume_gb > 0, offer.data_center.is_empty()), (volume.is_none() && !is_hub, is_hub), "{offer:?}");
        let mut serving = begin_serving(&site.cloud, &wish, &offer).unwrap();
        let served = serve_finish(&site.cloud, &mut serving, &mut |_| {}).unwrap();
        assert_eq!(served.text, "tuned says: hi", "{form:?}");
        let env = site.fake.state().endpoints.values().next().unwrap()["env"].clone();
        assert_eq!(env["HF_TOKEN"], "hf_x");
        if matches!(form, Form::Gguf(_)) {
            assert_eq!(env["MODEL_PATH"], env["MODEL_NAME"]);
        }
        end_serving(&site.cloud, &mut serving, &mut |_| {}).unwrap();
        site.assert_clean(&format!("{form:?}"));
    }
    // An adapter alone needs a base that workers can reach.
    let wish = ServeRequest { form: Form::Adapter, ..site.wish() };
    assert_eq!(serve_offer(&site.cloud, &wish).unwrap_err().code, "usage");
}

#[test]
fn troubles_on_the_way_leave_one_endpoint_and_whole_files() {
    let site = Site::new();
    let mut draws = Draws::new();
    let seed = draws.0;
    for round in 0..6 {
        // The clock here may be hours off.
        site.fake.state().skew_hours = draws.below(9) as f64 - 4.0;
        for _ in 0..3 {
            let what = [Trouble::Cut, Trouble::Lost, Trouble::Status(500), Trouble::Status(503)][draws.below(4) as usize];
            site.fake.trouble(["PUT", "PUT", "HEAD"][draws.below(3) as usize], what, 1);
        }
        let what = [Trouble::Lost, Trouble::Status(502)][draws.below(2) as usize];
        site.fake.trouble("POST", what, 1);
        let mut serving = begin_serving(&site.cloud, &site.wish(), &serve_offer(&site.cloud, &site.wish()).unwrap()).unwrap();
        let mut turns = 0;
        let served = loop {
            match serve_finish(&site.cloud, &mut serving, &mut |_| {}) {
                Ok(served) => break served,
                Err(fault) => {
                    turns += 1;
                    let passing = ["cloud_unreachable", "cloud_unavailable"].contains(&fault.code);
                    assert!(passing && turns < 9, "seed {seed}, round {round}: {fault:?}");
                }
            }
        };
        assert_eq!(served.text, "tuned says: hi", "seed {seed}");
        let state = site.fake.state();
        assert!(state.endpoints.len() == 1 && state.store.alive().len() == 1, "seed {seed}, round {round}");
        drop(state);
        site.fake.state().troubles.clear();
        end_serving(&site.cloud, &mut serving, &mut |_| {}).unwrap();
        site.assert_clean(&format!("seed {seed}, round {round}"));
    }
}

#[test]
fn what_cannot_be_mended_leaves_nothing_behind() {
    let site = Site::new();
    let run = |cloud: &Cloud, wish: &ServeRequest| {
        let offer = serve_offer(cloud, wish)?;
        let mut serving = begin_serving(cloud, wish, &offer)?;
        serve_finish(cloud, &mut serving, &mut |_| {})
    };
    site.fake.state().worker_fails = true;
    let fault = run(&site.cloud, &site.wish()).unwrap_err();
    assert!(fault.code == "serve_failed" && fault.hint.as_ref().unwrap().contains("nothing of it is left"), "{fault:?}");
    site.assert_clean("a worker that fails");
    site.fake.state().worker_fails = false;
    let slow = ServeRequest { patience: 0.001, ..site.wish() };
    assert_eq!(run(&site.cloud, &slow).unwrap_err().code, "serve_slow");
    site.assert_clean("a worker that takes too long");
    let mut wrong = site.cloud.clone();
    wrong.s3.as_mut().unwrap().secret = "rps_wrong".into();
    let fault = run(&wrong, &site.wish()).unwrap_err();
    assert!(fault.code == "cloud_s3_refused" && !format!("{fault:?}").contains("rps_wrong"), "{fault:?}");
    site.assert_clean("a wrong secret");
    wrong.s3 = None;
    assert_eq!(run(&wrong, &site.wish()).unwrap_err().code, "cloud_s3_key_missing");
    site.fake.state().balance = 0.0;
    assert_eq!(run(&site.cloud, &site.wish()).unwrap_err().code, "cloud_no_credit");
    site.assert_clean("an empty account");
    let elsewhere = ServeRequest { data_center: Some("XX-NO-9".into()), ..site.wish() };
    assert_eq!(run(&site.cloud, &elsewhere).unwrap_err().code, "cloud_no_s3");
}

#[test]
fn a_client_that_is_killed_anywhere_is_followed_by_one_that_goes_on() {
    let site = Site::new();
    let mut draws = Draws::new();
    let seed = draws.0;
    let spawn = |args: &[&str]| site.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let tag = || servings(&site.cloud.ledger).unwrap().first().map(|s| s.tag.clone());
    for round in 0..8 {
        let mut child = match tag() {
            Some(tag) => spawn(&["cloud", "serve", "attach", &tag]),
            None => spawn(&["cloud", "serve", "run", "project", "--name", "tuned", "--prompt", "hi", "--yes"]),
        };
        let at = site.fake.state().seen.len() + draws.below(14) as usize;
        while site.fake.state().seen.len() < at && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(300));
        }
        std::thread::sleep(Duration::from_micros(draws.below(20_000)));
        let _ = child.kill();
        child.wait().unwrap();
        let state = site.fake.state();
        assert!(state.endpoints.len() <= 1 && state.store.alive().len() <= 1, "seed {seed}, round {round}");
    }
    let last = tag().unwrap_or_else(|| panic!("seed {seed}: nothing began"));
    assert_eq!(site.json(&["cloud", "serve", "attach", &last])["text"], "tuned says: hi", "seed {seed}");
    site.json(&["cloud", "serve", "end", &last, "--yes"]);
    site.assert_clean(&format!("seed {seed}"));
}

#[test]
fn caps_of_what_is_served_hold_without_whoever_set_them() {
    let site = Site::new();
    // By bills: the answered requests of others count.
    let wish = ServeRequest { caps: Caps { max_hours: Some(5.0), max_cost: Some(0.5) }, ..site.wish() };
    let mut serving = begin_serving(&site.cloud, &wish, &serve_offer(&site.cloud, &wish).unwrap()).unwrap();
    let served = serve_finish(&site.cloud, &mut serving, &mut |_| {}).unwrap();
    assert!(tidy_servings(&site.cloud).unwrap().0.is_empty());
    site.fake.state().endpoint_costs.insert(served.endpoint_id.clone(), 0.51);
    assert!(tidy_servings(&site.cloud).unwrap().0[0].contains("its cost is reached"));
    site.assert_clean("the cost is reached");
    // By hours of the service's clock, though the one here stands still.
    let mut serving = begin_serving(&site.cloud, &wish, &serve_offer(&site.cloud, &wish).unwrap()).unwrap();
    serve_finish(&site.cloud, &mut serving, &mut |_| {}).unwrap();
    site.fake.advance(5.1);
    tallow::cloud::list(&site.cloud.client).unwrap();
    assert!(tidy_servings(&site.cloud).unwrap().0[0].contains("its hours are over"));
    site.assert_clean("the hours are over");
    // One that nobody goes on with.
    begin_serving(&site.cloud, &site.wish(), &serve_offer(&site.cloud, &site.wish()).unwrap()).unwrap();
    assert!(tidy_servings(&site.cloud).unwrap().0.is_empty());
    site.fake.advance(1.1);
    tallow::cloud::list(&site.cloud.client).unwrap();
    assert!(tidy_servings(&site.cloud).unwrap().0[0].contains("nobody goes on with it"));
    site.assert_clean("it was left");
    // A process of its own keeps them: here two seconds.
    let served = site.json(&["cloud", "serve", "run", "project", "--name", "tuned", "--max-hours", "0.0012", "--yes"]);
    assert!(served["text"].is_string() || served["error"].is_object(), "{served}");
    super::remote::until("its end", || servings(&site.cloud.ledger).unwrap().iter().all(|s| s.stage == ServeStage::Ended).then_some(()));
    site.assert_clean("kept by a process");
}

#[test]
fn volumes_and_templates_are_made_once_and_removed() {
    let site = Site::new();
    let create = ["cloud", "volume", "create", "v", "--size", "50", "--data-center", "EU-RO-1"];
    assert!(site.json(&create)["error"]["message"].to_string().contains("3.50 US dollars a month"));
    let create = [&create[..], &["--yes"]].concat();
    let first = site.json(&create);
    assert!(first["is_new"] == true && site.json(&create)["is_new"] == false);
    let id = first["volume"]["id"].as_str().unwrap().to_owned();
    let other = ["cloud", "volume", "create", "v", "--size", "90", "--data-center", "EU-RO-1", "--yes"];
    assert_eq!(site.json(&other)["error"]["code"], "cloud_conflict");
    // A file of more than a part, with a name that is not plain.
    let block: Vec<u8> = (0..1_u32 << 18).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let bytes = block.repeat(65);
    fs::write(site.desk.path().join("big file"), &bytes).unwrap();
    site.json(&["cloud", "volume", "put", &id, "big file", "--to", "a b/ü+x.bin"]);
    assert!(site.fake.state().store.volumes[&id].files["a b/ü+x.bin"] == bytes);
    assert_eq!(site.json(&["cloud", "volume", "files", &id])["files"][0], "a b/ü+x.bin");
    assert_eq!(site.json(&["cloud", "volume", "delete", &id, "--yes"])["deleted"], id.as_str());
    let create = ["cloud", "template", "create", "t", "--image", "i", "--port", "22/tcp", "--env", "A=b", "--serverless"];
    let first = site.json(&create);
    assert!(first["template"]["serverless"] == true && site.json(&create)["is_new"] == false);
    let id = first["template"]["id"].as_str().unwrap();
    assert_eq!(site.json(&["cloud", "template", "delete", id, "--yes"])["deleted"], id);
    assert!(site.fake.state().store.templates.is_empty());
    site.assert_clean("volumes and templates");
    assert!(Path::new(&site.desk.path().join("big file")).is_file());
}

/// Calls a tool, and answers the question that comes before its end.
fn asked(assistant: &mut Assistant, tool: &str, arguments: Value, answer: Value) -> (String, Result<Value, Value>) {
    let id = assistant.send("tools/call", json!({"name": tool, "arguments": arguments}));
    let question = assistant.asked().expect("nobody was asked");
    assert_eq!(question["method"], "elicitation/create", "{question}");
    assert_eq!(question["params"]["requestedSchema"]["properties"]["agree"]["type"], "boolean", "{question}");
    assistant.send_line(&json!({"jsonrpc": "2.0", "id": question["id"], "result": answer}).to_string());
    let words = question["params"]["message"].as_str().unwrap().to_owned();
    (words, outcome(&assistant.answer(id).expect("no answer")))
}

#[test]
fn an_assistant_serves_a_run_and_its_user_is_asked_first() {
    let site = Site::new();
    let mut assistant = site.assistant(json!({"elicitation": {}}));
    let run = site.desk.only_run();
    let wish = json!({"project_path": "project", "run_id": run.file_name().unwrap().to_str().unwrap(), "name": "tuned", "prompt": "hello"});
    for no in [json!({"action": "decline"}), json!({"action": "cancel"}), json!({"action": "accept", "content": {"agree": false}})] {
        let (question, said) = asked(&mut assistant, "runpod_serve_run", wish.clone(), no);
        assert!(question.contains("0.69 US dollars an hour") && question.contains("0.70 US dollars a month"), "{question}");
        assert_eq!(said.unwrap_err()["code"], "declined");
    }
    site.assert_clean("after every no");
    let yes = json!({"action": "accept", "content": {"agree": true}});
    let (_, begun) = asked(&mut assistant, "runpod_serve_run", wish.clone(), yes.clone());
    let tag = begun.unwrap()["serving"]["serving"].as_str().unwrap().to_owned();
    let stands = super::remote::until("an answer", || {
        let told = assistant.call("runpod_list_served", json!({"serving": tag}))["served"][0].clone();
        (told["stage"] == "answered" && told["is_followed"] == false).then_some(told)
    });
    assert!(stands["answer"].to_string().contains("tuned says: hello") && !stands["log"].as_array().unwrap().is_empty(), "{stands}");
    let (question, ended) = asked(&mut assistant, "runpod_end_serving", json!({"serving": "tuned"}), yes.clone());
    assert!(question.contains("tuned") && ended.is_ok(), "{question} {ended:?}");
    site.assert_clean("after its end");
    // Volumes and templates, with the price before.
    let make = json!({"action": "create_volume", "name": "v", "size_gb": 100, "data_center_id": "EU-RO-1"});
    let (question, made) = asked(&mut assistant, "runpod_manage_storage", make, yes.clone());
    assert!(question.contains("7.00 US dollars a month"), "{question}");
    let id = made.unwrap()["made"]["id"].clone();
    assistant.call("runpod_manage_storage", json!({"action": "delete_volume", "id": id, "confirmed": true}));
    let template = json!({"action": "create_template", "name": "t", "image": "i"});
    let id = assistant.call("runpod_manage_storage", template)["made"]["id"].clone();
    let (_, gone) = asked(&mut assistant, "runpod_manage_storage", json!({"action": "delete_template", "id": id}), yes.clone());
    assert!(gone.is_ok());
    // Renting: the price that was agreed to is the one that was shown.
    let (question, rented) = asked(&mut assistant, "runpod_create_pod", json!({"memory_gb": 20, "max_hours": 2.0}), yes);
    let rented = rented.unwrap();
    assert!(question.contains("0.29 US dollars an hour") && rented["estimate"]["price_hour"] == 0.29, "{question} {rented}");
    assistant.call("runpod_pod_action", json!({"pod_id": rented["pod"]["id"], "action": "terminate", "confirmed": true}));
    assert!(site.fake.alive().is_empty());
    site.assert_clean("at the end");
    // Who cannot be asked is told what to agree to.
    let mut mute = site.assistant(json!({}));
    let refused = mute.try_call("runpod_serve_run", wish).unwrap_err();
    assert!(refused["code"] == "confirmation_needed" && refused["hint"].as_str().unwrap().contains("agreed_price_hour: 0.69"), "{refused}");
    let listed = mute.request("tools/list", json!({}))["result"]["tools"].as_array().unwrap().clone();
    let asks = |name: &str| listed.iter().find(|t| t["name"] == name).unwrap()["_meta"]["anthropic/requiresUserInteraction"] == true;
    assert!(asks("runpod_create_pod") && asks("runpod_serve_run") && asks("runpod_pod_action") && !asks("runpod_list_pods"));
    assert!(!mute.call("runpod_estimate_cost", json!({"project_path": "project"}))["costs"].as_array().unwrap().is_empty());
}
