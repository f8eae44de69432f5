//! Serverless endpoints and the jobs in their queues.
//!
//! An endpoint is made once however often one asks, by its name, as a pod is. Jobs are at an address
//! of their own ([`super::JOBS_ADDRESS`]); what their workers take and give is theirs, so it stays JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::{Client, Repeat, segment};
use crate::base::error::Fault;

/// GPUs of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerGpu {
    /// Pools of GPU types, as the catalogue names them; the first that is free is taken.
    pub pools: Vec<String>,
    /// GPUs of one worker.
    #[serde(default = "one")]
    pub count: u32,
}

fn one() -> u32 {
    1
}

/// How many workers there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workers {
    /// Always on, and always paid for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// At most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// Seconds without work after which one ends, 1 to 3600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<u32>,
}

impl Workers {
    /// These, and what stays as it is.
    #[must_use]
    pub fn over(self, now: &Self) -> Self {
        Self { min: self.min.or(now.min), max: self.max.or(now.max), idle_timeout: self.idle_timeout.or(now.idle_timeout) }
    }
}

/// When workers are added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum Scaling {
    /// A job has waited for so many seconds, at least 0.5.
    QueueDelay {
        /// Seconds.
        queue_delay: f64,
    },
    /// Each worker has so many requests.
    RequestCount {
        /// Requests.
        request_count: u32,
    },
}

/// An endpoint. Its environment is left out: it may hold secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `QUEUE` or `LOAD_BALANCER`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Its container image.
    #[serde(default)]
    pub image: String,
    /// Its GPUs; `None` for one on CPUs.
    #[serde(default)]
    pub gpu: Option<WorkerGpu>,
    /// How many workers there are.
    pub workers: Workers,
    /// When workers are added.
    pub scaling: Scaling,
    /// Network volumes, mounted at /runpod-volume.
    #[serde(default)]
    pub network_volumes: Vec<String>,
    /// Milliseconds that a job may take.
    pub timeout: u64,
    /// When it was made, UTC.
    pub created_at: String,
}

/// A wish for an endpoint with a queue.
#[derive(Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateEndpoint {
    /// Its name: the same name never gives a second endpoint.
    pub name: String,
    /// Container image; `None` with a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// A template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_id: Option<String>,
    /// The container's command.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub args: String,
    /// Container disk in GB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<u32>,
    /// Variables of the container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// GPUs of a worker.
    pub gpu: WorkerGpu,
    /// How many workers there are.
    pub workers: Workers,
    /// When workers are added.
    pub scaling: Scaling,
    /// Preferred data centres.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data_center_ids: Vec<String>,
    /// Network volumes, mounted at /runpod-volume.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub network_volumes: Vec<String>,
    /// Milliseconds that a job may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

impl std::fmt::Debug for CreateEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CreateEndpoint {{ name: {:?}, gpu: {:?}, workers: {:?} }}", self.name, self.gpu, self.workers)
    }
}

/// What is changed of an endpoint; `None`: it stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateEndpoint {
    /// How many workers there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<Workers>,
    /// When workers are added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// Container image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Milliseconds that a job may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

#[derive(Deserialize)]
struct Endpoints {
    endpoints: Vec<Endpoint>,
}

/// All endpoints of the account.
///
/// # Errors
/// When the service refuses.
pub fn endpoints(client: &Client) -> Result<Vec<Endpoint>, Fault> {
    Ok(client.get::<Endpoints>("/v2/serverless")?.endpoints)
}

/// One endpoint.
///
/// # Errors
/// When there is none, or the service refuses.
pub fn endpoint(client: &Client, id: &str) -> Result<Endpoint, Fault> {
    client.get(&format!("/v2/serverless/{}", segment(id)))
}

/// The endpoint of this name: the one that is there, else a new one, and whether it is new.
///
/// # Errors
/// When the service refuses.
pub fn create_endpoint(client: &Client, wish: &CreateEndpoint) -> Result<(Endpoint, bool), Fault> {
    let known = || endpoints(client).map(|all| all.into_iter().find(|e| e.name == wish.name));
    if let Some(endpoint) = known()? {
        return Ok((endpoint, false));
    }
    let mut body = serde_json::to_value(wish).map_err(|e| Fault::new("internal", e.to_string()))?;
    body["type"] = "QUEUE".into();
    match client.ask::<Endpoint>(&Method::POST, "/v2/serverless", Some(&body), Repeat::Unsafe) {
        Ok(endpoint) => Ok((endpoint, true)),
        // The failure may have made it all the same.
        Err(fault) => known()?.map(|endpoint| (endpoint, true)).ok_or(fault),
    }
}

/// Changes an endpoint.
///
/// # Errors
/// When there is none, or the service refuses.
pub fn update_endpoint(client: &Client, id: &str, change: &UpdateEndpoint) -> Result<Endpoint, Fault> {
    client.ask(&Method::PATCH, &format!("/v2/serverless/{}", segment(id)), Some(change), Repeat::Safe)
}

/// Deletes an endpoint with its queue; one that is gone already is no failure.
///
/// # Errors
/// When the service refuses.
pub fn delete_endpoint(client: &Client, id: &str) -> Result<(), Fault> {
    match client.ask::<Value>(&Method::DELETE, &format!("/v2/serverless/{}", segment(id)), None::<&()>, Repeat::Safe) {
        Err(fault) if fault.code != "cloud_not_found" => Err(fault),
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
struct Bills {
    records: Vec<Value>,
    metadata: Value,
}

/// What endpoints cost over the last `days`: records by day, and the sum in US dollars; one of them
/// where it is named.
///
/// # Errors
/// When the service refuses.
pub fn endpoint_bills(client: &Client, days: u32, endpoint: Option<&str>) -> Result<(Vec<Value>, f64), Fault> {
    let one = endpoint.map(|id| format!("&serverlessId={}", segment(id))).unwrap_or_default();
    let bills: Bills = client.get(&format!("/v2/billing/serverless?bucketSize=day&lastN={days}{one}"))?;
    Ok((bills.records, bills.metadata["totals"]["totalAmount"].as_f64().unwrap_or(0.0)))
}

/// What is done with a job that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobAction {
    /// How it stands, with its result once it has ended.
    Status,
    /// The parts of its result that came since the last time.
    Stream,
    /// Takes it out of the queue, or ends it.
    Cancel,
    /// Puts one that failed into the queue again.
    Retry,
}

/// Puts a job into an endpoint's queue. With `wait` the answer is that of its end, if that comes
/// within the service's patience; else it names the job.
///
/// # Errors
/// When the service refuses. The job is sent once: where it stays open whether it was taken, nothing
/// is sent again.
pub fn run_job(client: &Client, endpoint: &str, input: &Value, wait: bool) -> Result<Value, Fault> {
    let word = if wait { "runsync" } else { "run" };
    let body = json!({ "input": input });
    client.at_jobs().ask(&Method::POST, &format!("/v2/{}/{word}", segment(endpoint)), Some(&body), Repeat::Unsafe)
}

/// Does something with a job.
///
/// # Errors
/// When there is no such job, or the service refuses.
pub fn job(client: &Client, endpoint: &str, id: &str, action: JobAction) -> Result<Value, Fault> {
    let (method, word, repeat) = match action {
        JobAction::Status => (Method::GET, "status", Repeat::Safe),
        // A part that was lost on its way is not sent again.
        JobAction::Stream => (Method::GET, "stream", Repeat::Unsafe),
        JobAction::Cancel => (Method::POST, "cancel", Repeat::Safe),
        JobAction::Retry => (Method::POST, "retry", Repeat::Unsafe),
    };
    client.at_jobs().ask(&method, &format!("/v2/{}/{word}/{}", segment(endpoint), segment(id)), None::<&()>, repeat)
}

/// Removes all jobs that wait in an endpoint's queue.
///
/// # Errors
/// When the service refuses.
pub fn purge_queue(client: &Client, endpoint: &str) -> Result<Value, Fault> {
    client.at_jobs().ask(&Method::POST, &format!("/v2/{}/purge-queue", segment(endpoint)), None::<&()>, Repeat::Safe)
}

/// Jobs and workers of an endpoint, counted.
///
/// # Errors
/// When the service refuses.
pub fn health(client: &Client, endpoint: &str) -> Result<Value, Fault> {
    client.at_jobs().get(&format!("/v2/{}/health", segment(endpoint)))
}

/// Whether an answer says that its job has ended.
pub fn has_ended(answer: &Value) -> bool {
    !matches!(answer["status"].as_str(), Some("IN_QUEUE" | "IN_PROGRESS"))
}
