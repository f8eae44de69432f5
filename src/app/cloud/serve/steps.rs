//! The steps from a run to an answer, each on disk before the next.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

use super::end::end_alone;
use super::offer::{Form, ServeOffer, ServeRequest, result_of};
use super::record::{ServeStage, Serving, Stored, folder};
use crate::app::cloud::Cloud;
use crate::app::export::{self, ExportRequest, Extras};
use crate::app::formats;
use crate::base::error::Fault;
use crate::cloud::{self, CreateEndpoint, JobAction, Scaling, WorkerGpu};
use crate::runs::RunFolder;

/// RunPod's worker with vLLM, where no image is named.
const IMAGE: &str = "runpod/worker-v1-vllm:v2.7.0stable-cuda12.1.0";
/// Where workers see a volume.
const MOUNT: &str = "/runpod-volume";
/// Faults after which the next one may go on where this one stopped.
const PASSING: [&str; 7] =
    ["cloud_unreachable", "cloud_unavailable", "cloud_rate_limited", "cloud_key_refused", "cloud_s3_key_missing", "cancelled", "run_busy"];

/// A model that answers.
#[derive(Debug, Clone, Serialize)]
pub struct Served {
    /// Its tag.
    pub tag: String,
    /// The name that clients call it by.
    pub name: String,
    /// The endpoint.
    pub endpoint_id: String,
    /// The volume; `None` for a model of the Hub.
    pub volume_id: Option<String>,
    /// What was asked.
    pub prompt: String,
    /// What it said.
    pub text: String,
    /// As the worker gave it.
    pub answer: Value,
    /// Where an OpenAI client finds it, with the key of the service.
    pub openai_url: String,
}

/// The record of a wish that was agreed to, on disk; nothing is made yet.
///
/// # Errors
/// When the folder cannot be written.
pub fn begin_serving(cloud: &Cloud, wish: &ServeRequest, offer: &ServeOffer) -> Result<Serving, Fault> {
    let serving = Serving {
        tag: cloud::new_tag(),
        wish: wish.clone(),
        pools: offer.pools.clone(),
        data_center: offer.data_center.clone(),
        volume_gb: offer.volume_gb,
        stage: ServeStage::Begun,
        volume_id: wish.volume.clone(),
        files: BTreeMap::new(),
        endpoint_id: None,
        request_id: None,
        answer: None,
        created_at: format!("{:.3}", cloud.ledger.now()),
        end: None,
        folder: folder(&cloud.ledger),
    };
    serving.write()?;
    // It may hold values of variables.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = std::fs::set_permissions(&serving.folder, std::fs::Permissions::from_mode(0o700));
    }
    Ok(serving)
}

/// Brings it to its answer, from wherever it is. After a failure that another try does not mend,
/// everything that was made for it is removed.
///
/// # Errors
/// What export, service and worker say.
pub fn serve_finish(cloud: &Cloud, serving: &mut Serving, said: &mut dyn FnMut(&str)) -> Result<Served, Fault> {
    let _alone = serving.taken()?;
    let fault = match steps(cloud, serving, said) {
        Ok(served) => return Ok(served),
        Err(fault) => fault,
    };
    if PASSING.contains(&fault.code) {
        return Err(fault);
    }
    let words = fault.hint.clone().map_or_else(String::new, |h| format!("; {h}"));
    match end_alone(cloud, serving, &fault.message, said) {
        Ok(()) => Err(fault.hint(format!("nothing of it is left there{words}"))),
        Err(left) => Err(fault.hint(format!("what was made for it could not be removed ({}): end it again{words}", left.message))),
    }
}

fn steps(cloud: &Cloud, serving: &mut Serving, said: &mut dyn FnMut(&str)) -> Result<Served, Fault> {
    if serving.stage == ServeStage::Ended {
        let why = serving.end.clone().unwrap_or_default();
        return Err(Fault::new("run_busy", format!("{}: it has ended: {why}", serving.tag)).hint("serve the run again"));
    }
    if serving.stage == ServeStage::Begun {
        exported(serving, said)?;
        reached(serving, ServeStage::Exported)?;
    }
    if serving.stage == ServeStage::Exported {
        stored(cloud, serving, said)?;
        reached(serving, ServeStage::Stored)?;
    }
    let _ = std::fs::remove_dir_all(serving.model_folder());
    if serving.stage == ServeStage::Stored {
        made(cloud, serving, said)?;
        reached(serving, ServeStage::Made)?;
    }
    if serving.stage == ServeStage::Made {
        answered(cloud, serving, said)?;
        reached(serving, ServeStage::Answered)?;
    }
    served(serving)
}

fn reached(serving: &mut Serving, stage: ServeStage) -> Result<(), Fault> {
    serving.stage = stage;
    serving.write()
}

fn exported(serving: &Serving, said: &mut dyn FnMut(&str)) -> Result<(), Fault> {
    let out = serving.model_folder();
    let Some(outcome) = result_of(&serving.wish)? else { return Ok(()) };
    // One that was killed behind this step has left a whole folder or none.
    if out.exists() {
        return Ok(());
    }
    let (format, out) = match &serving.wish.form {
        Form::Adapter => (formats::parse("peft", None)?, out),
        Form::Gguf(kind) => (formats::parse("gguf", Some(kind))?, out.join("model.gguf")),
        Form::Merged | Form::Hub(_) => (formats::parse("safetensors", None)?, out),
    };
    said(&format!("exporting {}", outcome.model.model));
    let m = outcome.model;
    let (model, revision, adapter, unknown) = (m.model, m.revision, m.adapter, m.unknown);
    let request = ExportRequest { model, revision, adapter, format, out, prompts: None, unknown };
    let run = serving.wish.run.as_ref().map(|r| RunFolder::open(r)).transpose()?;
    export::run_with(&request, &Extras { run, ..Extras::default() }, &mut |_, _| {}).map(|_| ())
}

/// Files below a folder, by their names there, with `/`.
fn files_of(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut open = vec![folder.to_path_buf()];
    let mut all = Vec::new();
    while let Some(next) = open.pop() {
        for path in std::fs::read_dir(&next).into_iter().flatten().flatten().map(|e| e.path()) {
            if path.is_dir() {
                open.push(path);
            } else if let Ok(relative) = path.strip_prefix(folder) {
                let parts: Vec<String> = relative.iter().map(|p| p.to_string_lossy().into_owned()).collect();
                all.push((parts.join("/"), path));
            }
        }
    }
    all.sort();
    all
}

fn stored(cloud: &Cloud, serving: &mut Serving, said: &mut dyn FnMut(&str)) -> Result<(), Fault> {
    if matches!(serving.wish.form, Form::Hub(_)) {
        return Ok(());
    }
    if serving.volume_id.is_none() {
        let (volume, is_new) = cloud::create_volume(&cloud.client, &serving.volume_name(), serving.volume_gb, &serving.data_center)?;
        said(&format!("volume {} of {} GB in {}{}", volume.id, volume.size, volume.data_center, if is_new { "" } else { " (was there)" }));
        serving.volume_id = Some(volume.id);
        serving.write()?;
    }
    let volume = serving.volume_id.clone().unwrap_or_default();
    let store = cloud.store(&volume)?;
    let (prefix, files) = (serving.prefix(), files_of(&serving.model_folder()));
    if files.is_empty() {
        return Err(Fault::new("file_not_found", format!("{}: the exported model is gone", serving.model_folder().display()))
            .hint("serve the run again"));
    }
    store.give_up(&prefix)?;
    for (name, path) in files {
        let there = format!("{prefix}/{name}");
        let size = std::fs::metadata(&path).map_err(|e| Fault::io("read", &path, &e))?.len();
        if let Some(known) = serving.files.get(&there)
            && store.head(&there)?.is_some_and(|(n, etag)| n == size && etag == known.etag)
        {
            continue;
        }
        said(&format!("sending {name} ({:.1} MB)", size as f64 / 1e6));
        // Noted before it is sent, so that whoever cleans up knows of it.
        serving.files.insert(there.clone(), Stored { size, etag: String::new() });
        serving.write()?;
        let etag = store.put(&path, &there, &mut |_| {})?;
        serving.files.insert(there, Stored { size, etag });
        serving.write()?;
    }
    // A beginning whose answer was lost was begun twice.
    store.give_up(&prefix).map(|_| ())
}

/// Where workers find the model, and the variables that tell them.
fn variables(serving: &Serving) -> Result<BTreeMap<String, String>, Fault> {
    let folder = format!("{MOUNT}/{}", serving.prefix());
    let (name, wish) = (serving.wish.name.clone(), &serving.wish);
    let model = match &wish.form {
        Form::Hub(repo) => repo.clone(),
        Form::Gguf(_) => format!("{folder}/model.gguf"),
        Form::Merged | Form::Adapter => folder.clone(),
    };
    let mut env = BTreeMap::new();
    if wish.form == Form::Adapter {
        let base = result_of(wish)?.map(|o| o.model);
        let adapter = base.as_ref().and_then(|m| m.adapter.clone()).unwrap_or_default();
        let text = std::fs::read_to_string(adapter.join("adapter_config.json")).unwrap_or_default();
        let rank = serde_json::from_str::<Value>(&text).ok().and_then(|v| v["r"].as_u64()).unwrap_or(16);
        env.insert("MODEL_NAME".into(), base.as_ref().map(|m| m.model.clone()).unwrap_or_default());
        if let Some(revision) = base.and_then(|m| m.revision) {
            env.insert("MODEL_REVISION".into(), revision);
        }
        env.insert("ENABLE_LORA".into(), "true".into());
        env.insert("MAX_LORA_RANK".into(), rank.next_power_of_two().max(8).to_string());
        env.insert("LORA_MODULES".into(), json!([{ "name": name, "path": model }]).to_string());
    } else {
        env.insert("MODEL_NAME".into(), model.clone());
        env.insert("OPENAI_SERVED_MODEL_NAME_OVERRIDE".into(), name);
    }
    env.extend(wish.env.iter().map(|(name, value)| (name.clone(), value.replace("{model}", &model))));
    Ok(env)
}

fn made(cloud: &Cloud, serving: &mut Serving, said: &mut dyn FnMut(&str)) -> Result<(), Fault> {
    let wish = &serving.wish;
    let image = if wish.template.is_some() { wish.image.clone() } else { Some(wish.image.clone().unwrap_or_else(|| IMAGE.into())) };
    let create = CreateEndpoint {
        name: serving.endpoint_name(),
        image,
        template_id: wish.template.clone(),
        args: String::new(),
        disk: Some(wish.disk_gb.max(1)),
        env: variables(serving)?,
        gpu: WorkerGpu { pools: serving.pools.clone(), count: wish.count },
        workers: wish.workers.clone(),
        scaling: Scaling::QueueDelay { queue_delay: 4.0 },
        data_center_ids: Some(serving.data_center.clone()).filter(|c| !c.is_empty()).into_iter().collect(),
        network_volumes: serving.volume_id.clone().into_iter().collect(),
        timeout: None,
    };
    let (endpoint, _) = cloud::create_endpoint(&cloud.client, &create)?;
    said(&format!("endpoint {} ({})", endpoint.id, endpoint.name));
    serving.endpoint_id = Some(endpoint.id);
    serving.write()
}

/// What is asked, in OpenAI's words: a chat where the model has a template for one.
fn question(serving: &Serving) -> Value {
    let wish = &serving.wish;
    let chats = wish.run.as_ref().is_none_or(|run| has_chat_template(run));
    let mut input = json!({ "model": wish.name, "max_tokens": wish.max_tokens, "temperature": 0 });
    let route = if chats {
        input["messages"] = json!([{ "role": "user", "content": wish.prompt }]);
        "/v1/chat/completions"
    } else {
        input["prompt"] = wish.prompt.clone().into();
        "/v1/completions"
    };
    json!({ "openai_route": route, "openai_input": input })
}

fn has_chat_template(run: &Path) -> bool {
    let folder = run.join("final-model");
    let config = std::fs::read_to_string(folder.join("tokenizer_config.json")).unwrap_or_default();
    folder.join("chat_template.jinja").is_file() || config.contains("\"chat_template\"")
}

fn answered(cloud: &Cloud, serving: &mut Serving, said: &mut dyn FnMut(&str)) -> Result<(), Fault> {
    let endpoint = serving.endpoint_id.clone().unwrap_or_default();
    let request = match serving.request_id.clone() {
        Some(id) => id,
        None => {
            let sent = cloud::run_job(&cloud.client, &endpoint, &question(serving), false)?;
            let strange = || Fault::new("cloud_answer", "the answer names no job").hint("look at the endpoint in the console of RunPod");
            let id = sent["id"].as_str().ok_or_else(strange)?.to_owned();
            serving.request_id = Some(id.clone());
            serving.write()?;
            said(&format!("request {id} is sent; the first worker pulls its image and reads the model"));
            id
        }
    };
    let (begun, mut pause, mut last) = (Instant::now(), 0.25, String::new());
    loop {
        let job = cloud::job(&cloud.client, &endpoint, &request, JobAction::Status)?;
        if cloud::has_ended(&job) {
            serving.answer = Some(judged(&endpoint, job)?);
            return Ok(());
        }
        if let Ok(health) = cloud::health(&cloud.client, &endpoint) {
            let words = workers_in(&health);
            if words != last {
                said(&format!("workers: {words}"));
                last = words;
            }
        }
        if begun.elapsed().as_secs_f64() > serving.wish.patience {
            let message = format!("endpoint {endpoint}: no answer in {:.0} s; workers: {last}", serving.wish.patience);
            return Err(Fault::new("serve_slow", message).hint("try pools with more memory, another data centre, or a longer wait"));
        }
        cloud.client.sleep(pause);
        pause = f64::min(pause * 1.5, 10.0);
    }
}

/// The output of a job that has ended well.
fn judged(endpoint: &str, job: Value) -> Result<Value, Fault> {
    let output = job["output"].clone();
    let refused = output.pointer("/error").or_else(|| output.pointer("/0/error")).cloned();
    let why =
        if job["status"] == "COMPLETED" { refused.map(|e| e.to_string()) } else { Some(format!("{} {}", job["status"], job["error"])) };
    match why {
        None if !output.is_null() => Ok(output),
        why => {
            let why: String = why.unwrap_or_else(|| "an empty answer".into()).chars().filter(|c| !c.is_control()).take(600).collect();
            Err(Fault::new("serve_failed", format!("endpoint {endpoint}: {why}")).hint("look at the worker's log in the console of RunPod"))
        }
    }
}

fn workers_in(health: &Value) -> String {
    let counts = health["workers"].as_object().into_iter().flatten();
    let some: Vec<String> = counts.filter_map(|(state, n)| n.as_u64().filter(|n| *n > 0).map(|n| format!("{n} {state}"))).collect();
    if some.is_empty() { "none yet".into() } else { some.join(", ") }
}

/// The text of an answer in OpenAI's form, whole or in parts.
fn text_of(answer: &Value) -> String {
    let parts = answer.as_array().map_or_else(|| vec![answer], |all| all.iter().collect());
    let choice = |part: &&Value| -> Option<String> {
        let choice = part.pointer("/choices/0")?;
        let text = choice.pointer("/message/content").or_else(|| choice.pointer("/delta/content")).or_else(|| choice.get("text"));
        Some(text?.as_str()?.to_owned())
    };
    parts.iter().filter_map(choice).collect()
}

fn served(serving: &Serving) -> Result<Served, Fault> {
    let missing = || Fault::new("internal", format!("{}: the record has no answer", serving.tag));
    let (endpoint_id, answer) = (serving.endpoint_id.clone().ok_or_else(missing)?, serving.answer.clone().ok_or_else(missing)?);
    Ok(Served {
        tag: serving.tag.clone(),
        name: serving.wish.name.clone(),
        openai_url: format!("{}/v2/{endpoint_id}/openai/v1", cloud::JOBS_ADDRESS),
        endpoint_id,
        volume_id: serving.volume_id.clone(),
        prompt: serving.wish.prompt.clone(),
        text: text_of(&answer),
        answer,
    })
}
