//! `tallow cloud endpoint ...`.

use std::collections::BTreeMap;
use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::agreed;
use crate::app::cloud::{Cloud, worker_costs};
use crate::base::error::Fault;
use crate::cli::run::Desk;
use crate::cli::show::table;
use crate::cloud::{self, CreateEndpoint, Endpoint, JobAction, Scaling, UpdateEndpoint, WorkerGpu, Workers};

/// `tallow cloud endpoint`.
#[allow(clippy::large_enum_variant)] // one value, read once
#[derive(Debug, Subcommand)]
pub enum EndpointCommand {
    /// List the account's endpoints.
    List,
    /// Show an endpoint with its jobs and workers, counted.
    Show {
        /// The endpoint.
        id: String,
    },
    /// Make an endpoint with a queue; the same name never gives a second one.
    Create(CreateArgs),
    /// Change an endpoint's workers or image.
    Update(UpdateArgs),
    /// Delete an endpoint with its queue.
    Delete {
        /// The endpoint.
        id: String,
        /// Do it without being asked.
        #[arg(long)]
        yes: bool,
    },
    /// Put a job into the queue.
    Run {
        /// The endpoint.
        id: String,
        /// The job's input as JSON, or @FILE.
        input: String,
        /// Wait for its end, as long as the service does.
        #[arg(long)]
        wait: bool,
    },
    /// See a job, or do something with it.
    Job {
        /// The endpoint.
        id: String,
        /// The job.
        job: String,
        /// What to do.
        #[arg(value_enum, default_value = "status")]
        action: Act,
    },
    /// Remove all jobs that wait.
    Purge {
        /// The endpoint.
        id: String,
        /// Do it without being asked.
        #[arg(long)]
        yes: bool,
    },
}

/// What is done with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Act {
    /// How it stands.
    Status,
    /// What came of its result since the last time.
    Stream,
    /// End it.
    Cancel,
    /// Try one that failed again.
    Retry,
}

impl From<Act> for JobAction {
    fn from(act: Act) -> Self {
        match act {
            Act::Status => Self::Status,
            Act::Stream => Self::Stream,
            Act::Cancel => Self::Cancel,
            Act::Retry => Self::Retry,
        }
    }
}

/// How many workers there are.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Workers that are always on, and always paid for.
    #[arg(long)]
    pub min_workers: Option<u32>,
    /// Workers at most.
    #[arg(long)]
    pub max_workers: Option<u32>,
    /// Seconds without work after which a worker ends.
    #[arg(long, value_name = "SECONDS")]
    pub idle: Option<u32>,
    /// Seconds that a job waits before a worker is added.
    #[arg(long, value_name = "SECONDS")]
    pub queue_delay: Option<f64>,
    /// Seconds that a job may take.
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Agree to the costs without being asked.
    #[arg(long)]
    pub yes: bool,
}

impl WorkerArgs {
    fn workers(&self) -> Workers {
        Workers { min: self.min_workers, max: self.max_workers, idle_timeout: self.idle }
    }
}

/// `tallow cloud endpoint create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its name.
    pub name: String,
    /// A pool of GPU types, as `cloud gpus` names them (repeatable).
    #[arg(long, required = true)]
    pub pool: Vec<String>,
    /// GPUs of one worker.
    #[arg(long, default_value_t = 1)]
    pub count: u32,
    /// Container image.
    #[arg(long, conflicts_with = "template", required_unless_present = "template")]
    pub image: Option<String>,
    /// A template.
    #[arg(long)]
    pub template: Option<String>,
    /// Container disk in GB.
    #[arg(long, value_name = "GB")]
    pub disk: Option<u32>,
    /// A network volume, mounted at /runpod-volume (repeatable).
    #[arg(long, value_name = "ID")]
    pub volume: Vec<String>,
    /// A preferred data centre (repeatable).
    #[arg(long, value_name = "ID")]
    pub data_center: Vec<String>,
    /// A variable of the container (repeatable).
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Its workers.
    #[command(flatten)]
    pub workers: WorkerArgs,
}

/// `tallow cloud endpoint update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// The endpoint.
    pub id: String,
    /// Container image.
    #[arg(long)]
    pub image: Option<String>,
    /// Its workers.
    #[command(flatten)]
    pub workers: WorkerArgs,
}

pub(super) fn run(desk: &Desk, service: &Cloud, command: EndpointCommand) -> Result<u8, Fault> {
    let client = &service.client;
    match command {
        EndpointCommand::List => {
            let all = cloud::endpoints(client)?;
            desk.give(&serde_json::json!({ "endpoints": all }), || list(&all, desk))
        }
        EndpointCommand::Show { id } => {
            let (endpoint, health) = (cloud::endpoint(client, &id)?, cloud::health(client, &id)?);
            let words = || format!("{}\n{health:#}", list(std::slice::from_ref(&endpoint), desk));
            desk.give(&serde_json::json!({ "endpoint": endpoint, "health": health }), words)
        }
        EndpointCommand::Create(a) => create(desk, service, a),
        EndpointCommand::Update(a) => update(desk, service, &a),
        EndpointCommand::Delete { id, yes } => {
            agreed(desk, &format!("delete endpoint {id} with its queue"), yes)?;
            cloud::delete_endpoint(client, &id)?;
            desk.give(&serde_json::json!({ "deleted": id }), || format!("endpoint {id} is deleted"))
        }
        EndpointCommand::Run { id, input, wait } => answer(desk, &cloud::run_job(client, &id, &json_of(&input)?, wait)?),
        EndpointCommand::Job { id, job, action } => answer(desk, &cloud::job(client, &id, &job, action.into())?),
        EndpointCommand::Purge { id, yes } => {
            agreed(desk, &format!("remove all jobs that wait for endpoint {id}"), yes)?;
            answer(desk, &cloud::purge_queue(client, &id)?)
        }
    }
}

fn answer(desk: &Desk, value: &Value) -> Result<u8, Fault> {
    desk.give(value, || format!("{value:#}"))?;
    Ok(u8::from(value["status"] == "FAILED"))
}

fn json_of(text: &str) -> Result<Value, Fault> {
    let text = match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).map_err(|e| Fault::io("read", Path::new(path), &e))?,
        None => text.to_owned(),
    };
    let wrong = |e: serde_json::Error| Fault::new("usage", format!("the input is no JSON: {e}")).hint(r#"for example {"prompt": "hello"}"#);
    serde_json::from_str(&text).map_err(wrong)
}

fn list(endpoints: &[Endpoint], desk: &Desk) -> String {
    if endpoints.is_empty() {
        return "no endpoints".into();
    }
    let row = |e: &Endpoint| {
        let gpu = e.gpu.as_ref().map_or_else(|| "-".into(), |g| format!("{} x {}", g.count, g.pools.join(", ")));
        let workers = format!("{}-{}", e.workers.min.unwrap_or(0), e.workers.max.unwrap_or(0));
        vec![e.id.clone(), e.name.clone(), e.image.clone(), gpu, workers]
    };
    table(desk.paint, &["endpoint", "name", "image", "GPU", "workers"], &endpoints.iter().map(row).collect::<Vec<_>>())
}

fn create(desk: &Desk, service: &Cloud, a: CreateArgs) -> Result<u8, Fault> {
    let env: BTreeMap<String, String> = super::variables(&a.env)?;
    let defaults = Workers { min: Some(0), max: Some(1), idle_timeout: Some(5) };
    let asked = a.workers.workers();
    let workers = Workers {
        min: asked.min.or(defaults.min),
        max: asked.max.or(defaults.max),
        idle_timeout: asked.idle_timeout.or(defaults.idle_timeout),
    };
    let wish = CreateEndpoint {
        name: a.name,
        image: a.image,
        template_id: a.template,
        args: String::new(),
        disk: a.disk,
        env,
        gpu: WorkerGpu { pools: a.pool, count: a.count },
        workers,
        scaling: Scaling::QueueDelay { queue_delay: a.workers.queue_delay.unwrap_or(4.0) },
        data_center_ids: a.data_center,
        network_volumes: a.volume,
        timeout: a.workers.timeout.map(|s| s * 1000),
    };
    let costs = worker_costs(service, Some(&wish.gpu), &wish.workers)?;
    agreed(desk, &format!("endpoint {}: {costs}", wish.name), a.workers.yes)?;
    let (endpoint, is_new) = cloud::create_endpoint(&service.client, &wish)?;
    let words = || format!("{}{}", list(std::slice::from_ref(&endpoint), desk), if is_new { "" } else { "\nit was there already" });
    desk.give(&serde_json::json!({ "endpoint": endpoint, "is_new": is_new }), words)
}

fn update(desk: &Desk, service: &Cloud, a: &UpdateArgs) -> Result<u8, Fault> {
    let now = cloud::endpoint(&service.client, &a.id)?;
    let asked = a.workers.workers();
    let change = UpdateEndpoint {
        workers: (asked != Workers::default()).then(|| asked.over(&now.workers)),
        scaling: a.workers.queue_delay.map(|queue_delay| Scaling::QueueDelay { queue_delay }),
        image: a.image.clone(),
        timeout: a.workers.timeout.map(|s| s * 1000),
    };
    if change == UpdateEndpoint::default() {
        return Err(Fault::new("usage", "nothing is to be changed").hint("give --max-workers, --image or another flag"));
    }
    if let Some(workers) = &change.workers {
        let costs = worker_costs(service, now.gpu.as_ref(), workers)?;
        agreed(desk, &format!("endpoint {}: {costs}", now.name), a.workers.yes)?;
    }
    let endpoint = cloud::update_endpoint(&service.client, &a.id, &change)?;
    desk.give(&endpoint, || list(std::slice::from_ref(&endpoint), desk))
}
