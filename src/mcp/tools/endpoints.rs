//! Serverless endpoints and their jobs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cloud::{confirm, value};
use crate::app::cloud::{Cloud, worker_costs};
use crate::base::error::Fault;
use crate::cloud::{self, CreateEndpoint, JobAction, Scaling, UpdateEndpoint, WorkerGpu, Workers};
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListIn {
    /// Only this endpoint, with its health.
    endpoint_id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ListOut {
    endpoints: Vec<Value>,
    /// Jobs and workers, counted; null for all endpoints.
    #[schemars(with = "serde_json::Map<String, Value>")]
    health: Value,
}

/// runpod_list_endpoints
pub(super) struct List;

impl Tool for List {
    const NAME: &'static str = "runpod_list_endpoints";
    const TITLE: &'static str = "List serverless endpoints";
    const ABOUT: &'static str = "The account's serverless endpoints, or one of them with its health.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Wait;
    type In = ListIn;
    type Out = ListOut;

    fn call(input: ListIn, _: &Shared, _: &Call) -> Result<ListOut, Fault> {
        let service = Cloud::from_env()?;
        if let Some(id) = input.endpoint_id {
            let endpoint = value(cloud::endpoint(&service.client, &id)?)?;
            return Ok(ListOut { endpoints: vec![endpoint], health: cloud::health(&service.client, &id)? });
        }
        let all = cloud::endpoints(&service.client)?;
        Ok(ListOut { endpoints: all.iter().map(value).collect::<Result<_, _>>()?, health: Value::Null })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateIn {
    /// The same name never gives a second endpoint.
    name: String,
    /// As runpod_list_gpu_types names them.
    gpu_pools: Vec<String>,
    /// GPUs of a worker; default 1.
    #[schemars(range(min = 1, max = 16))]
    count: Option<u64>,
    /// Container image, or template_id.
    image: Option<String>,
    template_id: Option<String>,
    #[schemars(range(min = 1, max = 10_000))]
    disk_gb: Option<u64>,
    env: Option<BTreeMap<String, String>>,
    /// Mounted at /runpod-volume.
    volume_ids: Option<Vec<String>>,
    /// Always on, and always paid for; default 0.
    #[schemars(range(min = 0, max = 100))]
    min_workers: Option<u64>,
    /// Default 1.
    #[schemars(range(min = 1, max = 100))]
    max_workers: Option<u64>,
    /// Seconds without work after which a worker ends; default 5.
    #[schemars(range(min = 1, max = 3600))]
    idle_seconds: Option<u64>,
    /// That the user agreed to the costs.
    confirmed: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EndpointOut {
    success: bool,
    #[schemars(with = "serde_json::Map<String, Value>")]
    endpoint: Value,
    /// False where one of this name was there.
    is_new: bool,
    costs: String,
}

/// runpod_create_endpoint
pub(super) struct Create;

impl Tool for Create {
    const NAME: &'static str = "runpod_create_endpoint";
    const TITLE: &'static str = "Make a serverless endpoint";
    const ABOUT: &'static str = "Make a serverless endpoint with a queue. Its workers cost money while they run: call it without confirmed \
        to hear the costs, ask the user, then call it again.";
    const HINTS: Hints = Hints::MAKE.reaching_out();
    const LANE: Lane = Lane::Wait;
    const ASKS: bool = true;
    type In = CreateIn;
    type Out = EndpointOut;

    fn call(input: CreateIn, _: &Shared, call: &Call) -> Result<EndpointOut, Fault> {
        let service = Cloud::from_env()?;
        if input.image.is_some() == input.template_id.is_some() || input.gpu_pools.is_empty() || input.name.trim().is_empty() {
            return Err(Fault::new("invalid_arguments", "an endpoint has a name, GPU pools, and either an image or a template")
                .hint("runpod_list_gpu_types names the pools"));
        }
        let wish = CreateEndpoint {
            name: input.name,
            image: input.image,
            template_id: input.template_id,
            args: String::new(),
            disk: input.disk_gb.map(|gb| within("disk_gb", gb, 1, 10_000)).transpose()?.map(|gb| gb as u32),
            env: input.env.unwrap_or_default(),
            gpu: WorkerGpu { pools: input.gpu_pools, count: within("count", input.count.unwrap_or(1), 1, 16)? as u32 },
            workers: Workers {
                min: Some(within("min_workers", input.min_workers.unwrap_or(0), 0, 100)? as u32),
                max: Some(within("max_workers", input.max_workers.unwrap_or(1), 1, 100)? as u32),
                idle_timeout: Some(within("idle_seconds", input.idle_seconds.unwrap_or(5), 1, 3600)? as u32),
            },
            scaling: Scaling::QueueDelay { queue_delay: 4.0 },
            data_center_ids: Vec::new(),
            network_volumes: input.volume_ids.unwrap_or_default(),
            timeout: None,
        };
        let costs = worker_costs(&service, Some(&wish.gpu), &wish.workers)?;
        confirm(call, &costs, input.confirmed)?;
        let (endpoint, is_new) = cloud::create_endpoint(&service.client, &wish)?;
        Ok(EndpointOut { success: true, endpoint: value(endpoint)?, is_new, costs })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateIn {
    endpoint_id: String,
    #[schemars(range(min = 0, max = 100))]
    min_workers: Option<u64>,
    #[schemars(range(min = 0, max = 100))]
    max_workers: Option<u64>,
    #[schemars(range(min = 1, max = 3600))]
    idle_seconds: Option<u64>,
    image: Option<String>,
    /// That the user agreed to the costs; needed where workers change.
    confirmed: Option<bool>,
}

/// runpod_update_endpoint
pub(super) struct Update;

impl Tool for Update {
    const NAME: &'static str = "runpod_update_endpoint";
    const TITLE: &'static str = "Change a serverless endpoint";
    const ABOUT: &'static str = "Change the number of workers of a serverless endpoint, or its image.";
    const HINTS: Hints = Hints::DESTROY.reaching_out();
    const LANE: Lane = Lane::Wait;
    const ASKS: bool = true;
    type In = UpdateIn;
    type Out = EndpointOut;

    fn call(input: UpdateIn, _: &Shared, call: &Call) -> Result<EndpointOut, Fault> {
        let service = Cloud::from_env()?;
        let now = cloud::endpoint(&service.client, &input.endpoint_id)?;
        let number = |name, given: Option<u64>, least, most| given.map(|n| within(name, n, least, most)).transpose();
        let asked = Workers {
            min: number("min_workers", input.min_workers, 0, 100)?.map(|n| n as u32),
            max: number("max_workers", input.max_workers, 0, 100)?.map(|n| n as u32),
            idle_timeout: number("idle_seconds", input.idle_seconds, 1, 3600)?.map(|n| n as u32),
        };
        let workers = (asked != Workers::default()).then(|| asked.over(&now.workers));
        let mut costs = "unchanged".to_owned();
        if let Some(workers) = &workers {
            costs = worker_costs(&service, now.gpu.as_ref(), workers)?;
            confirm(call, &costs, input.confirmed)?;
        }
        let change = UpdateEndpoint { workers, image: input.image, ..UpdateEndpoint::default() };
        if change == UpdateEndpoint::default() {
            return Err(Fault::new("invalid_arguments", "nothing is to be changed").hint("give max_workers, image or another value"));
        }
        let endpoint = cloud::update_endpoint(&service.client, &input.endpoint_id, &change)?;
        Ok(EndpointOut { success: true, endpoint: value(endpoint)?, is_new: false, costs })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteIn {
    endpoint_id: String,
    /// That the user agreed.
    confirmed: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DeleteOut {
    success: bool,
}

/// runpod_delete_endpoint
pub(super) struct Delete;

impl Tool for Delete {
    const NAME: &'static str = "runpod_delete_endpoint";
    const TITLE: &'static str = "Delete a serverless endpoint";
    const ABOUT: &'static str = "Delete a serverless endpoint with the jobs in its queue.";
    const HINTS: Hints = Hints::DESTROY.reaching_out();
    const LANE: Lane = Lane::Wait;
    const ASKS: bool = true;
    type In = DeleteIn;
    type Out = DeleteOut;

    fn call(input: DeleteIn, _: &Shared, call: &Call) -> Result<DeleteOut, Fault> {
        let service = Cloud::from_env()?;
        confirm(call, &format!("endpoint {} would be gone with its queue", input.endpoint_id), input.confirmed)?;
        cloud::delete_endpoint(&service.client, &input.endpoint_id)?;
        Ok(DeleteOut { success: true })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunIn {
    endpoint_id: String,
    /// As the endpoint's worker takes it.
    input: serde_json::Map<String, Value>,
    /// Default true: wait for its end, as long as the service does.
    wait: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct JobOut {
    /// As the service answers: id, status, output once it has ended.
    #[schemars(with = "serde_json::Map<String, Value>")]
    answer: Value,
    has_ended: bool,
}

fn told(answer: Value) -> JobOut {
    JobOut { has_ended: cloud::has_ended(&answer), answer }
}

/// runpod_run_endpoint
pub(super) struct Run;

impl Tool for Run {
    const NAME: &'static str = "runpod_run_endpoint";
    const TITLE: &'static str = "Send a job to an endpoint";
    const ABOUT: &'static str = "Send a job to a serverless endpoint; the time of its worker costs money.";
    const HINTS: Hints = Hints::MAKE.reaching_out();
    const LANE: Lane = Lane::Wait;
    type In = RunIn;
    type Out = JobOut;

    fn call(input: RunIn, _: &Shared, _: &Call) -> Result<JobOut, Fault> {
        let service = Cloud::from_env()?;
        cloud::run_job(&service.client, &input.endpoint_id, &Value::Object(input.input), input.wait != Some(false)).map(told)
    }
}

/// What is done with jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Act {
    Status,
    Stream,
    Cancel,
    Retry,
    PurgeQueue,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JobIn {
    endpoint_id: String,
    /// For everything but purge_queue.
    job_id: Option<String>,
    /// Default status. stream gives what came of its result since the last time.
    action: Option<Act>,
    /// For purge_queue: that the user agreed.
    confirmed: Option<bool>,
}

/// runpod_job_status
pub(super) struct Job;

impl Tool for Job {
    const NAME: &'static str = "runpod_job_status";
    const TITLE: &'static str = "See, cancel or retry an endpoint's job";
    const ABOUT: &'static str = "How a job of a serverless endpoint stands, with its result; or cancel it, retry it, or empty the queue.";
    const HINTS: Hints = Hints::DESTROY.reaching_out();
    const LANE: Lane = Lane::Wait;
    type In = JobIn;
    type Out = JobOut;

    fn call(input: JobIn, _: &Shared, call: &Call) -> Result<JobOut, Fault> {
        let service = Cloud::from_env()?;
        let action = match input.action.unwrap_or(Act::Status) {
            Act::Status => JobAction::Status,
            Act::Stream => JobAction::Stream,
            Act::Cancel => JobAction::Cancel,
            Act::Retry => JobAction::Retry,
            Act::PurgeQueue => {
                confirm(call, &format!("all jobs that wait for endpoint {} would be gone", input.endpoint_id), input.confirmed)?;
                return cloud::purge_queue(&service.client, &input.endpoint_id).map(told);
            }
        };
        let missing = || Fault::new("invalid_arguments", "`job_id` is missing").hint("runpod_run_endpoint gives it");
        let id = input.job_id.ok_or_else(missing)?;
        cloud::job(&service.client, &input.endpoint_id, &id, action).map(told)
    }
}
