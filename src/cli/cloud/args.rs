//! Commands and flags for machines elsewhere.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::remote::{JobArgs, ProjectArgs};

/// `tallow cloud`.
#[allow(clippy::large_enum_variant)] // one value, read once
#[derive(Debug, Subcommand)]
pub enum CloudCommand {
    /// GPU types with memory, price and how many are free.
    Gpus(GpusArgs),
    /// List the account's pods, or show one.
    Pods {
        /// The pod.
        id: Option<String>,
    },
    /// Rent a pod.
    Rent(RentArgs),
    /// Boot a stopped pod (it costs money again).
    Start {
        /// The pod.
        id: String,
        /// Agree to its price without being asked.
        #[arg(long)]
        yes: bool,
    },
    /// Stop a pod; its disk is kept, and paid for.
    Stop {
        /// The pod.
        id: String,
    },
    /// Start a pod's container again.
    Restart {
        /// The pod.
        id: String,
    },
    /// Delete a pod with its disk.
    Terminate {
        /// The pod.
        id: String,
        /// Do it without being asked.
        #[arg(long)]
        yes: bool,
    },
    /// Print a pod's log.
    Logs {
        /// The pod.
        id: String,
        /// Lines from its end to begin with, at most 5000.
        #[arg(long, default_value_t = 100)]
        tail: u32,
        /// Go on with new lines.
        #[arg(long)]
        follow: bool,
    },
    /// Balance, spend, bills, volumes, templates, and what was rented from here.
    Account {
        /// Days of bills.
        #[arg(long, default_value_t = 7)]
        days: u32,
        /// Bills of this pod alone.
        #[arg(long)]
        pod: Option<String>,
    },
    /// Bring the list of what was rented up to date; end what is beyond its caps or without use.
    Tidy {
        /// Go on until nothing that has a cap is left.
        #[arg(long)]
        watch: bool,
    },
    /// What a run takes and costs on the GPUs that it fits, the cheapest first.
    Estimate(EstimateArgs),
    /// Network volumes and their files.
    #[command(subcommand)]
    Volume(super::stores::VolumeCommand),
    /// Templates: settings of containers under a name.
    #[command(subcommand)]
    Template(super::stores::TemplateCommand),
    /// A finished run behind a serverless endpoint.
    #[command(subcommand)]
    Serve(super::serve::ServeCommand),
    /// Serverless endpoints and their jobs.
    #[command(subcommand)]
    Endpoint(super::endpoints::EndpointCommand),
    /// Rent the cheapest pod that a run fits, train there, fetch everything, terminate the pod.
    Train(CloudTrainArgs),
    /// Come back to a job of `cloud train`: follow it to the end, fetch, terminate the pod.
    Attach {
        /// The job.
        #[command(flatten)]
        job: JobArgs,
        /// Go on with a run that was paused or has failed, on another pod (it costs money).
        #[arg(long)]
        resume: bool,
    },
}

/// `tallow cloud gpus`.
#[derive(Debug, Args)]
pub struct GpusArgs {
    /// GPUs in one pod.
    #[arg(long, default_value_t = 1)]
    pub count: u32,
    /// Other hosts instead of the service's own data centres.
    #[arg(long)]
    pub community: bool,
    /// Only those with so much memory that a run fits: a configuration file or a project folder.
    #[arg(long, value_name = "CONFIG|PROJECT")]
    pub fits: Option<PathBuf>,
}

/// `tallow cloud estimate`.
#[derive(Debug, Args)]
pub struct EstimateArgs {
    /// A configuration file or a project folder.
    pub config: PathBuf,
    /// A setting instead of the file's (repeatable).
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// What a step took there, where you know it; else a run of the project on such a GPU says it, or it is reckoned.
    #[arg(long, value_name = "SECONDS")]
    pub step_seconds: Option<f64>,
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// What is rented.
#[derive(Debug, Args)]
pub struct MachineArgs {
    /// A GPU type, or a part of its name that fits one; by default the cheapest that does.
    #[arg(long)]
    pub gpu: Option<String>,
    /// GPUs in the pod.
    #[arg(long, default_value_t = 1)]
    pub count: u32,
    /// Other hosts instead of the service's own data centres.
    #[arg(long)]
    pub community: bool,
    /// Container image.
    #[arg(long, conflicts_with = "template")]
    pub image: Option<String>,
    /// A template of the account, or a public one, by its identifier.
    #[arg(long)]
    pub template: Option<String>,
    /// Container disk in GB.
    #[arg(long, value_name = "GB", default_value_t = 30)]
    pub disk: u32,
    /// A network volume, mounted at /workspace.
    #[arg(long, value_name = "ID")]
    pub volume: Option<String>,
    /// A preferred data centre (repeatable).
    #[arg(long, value_name = "ID")]
    pub data_center: Vec<String>,
    /// Hours after which the pod stops by itself and is terminated at the next look.
    #[arg(long, value_name = "HOURS")]
    pub max_hours: Option<f64>,
    /// The same by cost, in US dollars.
    #[arg(long, value_name = "USD")]
    pub max_cost: Option<f64>,
    /// Agree to the price without being asked.
    #[arg(long)]
    pub yes: bool,
}

/// `tallow cloud train`.
#[derive(Debug, Args)]
pub struct CloudTrainArgs {
    /// What is trained.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Hours without a question from here after which the pod pauses the run and stops itself.
    #[arg(long, value_name = "HOURS", default_value_t = 2.0)]
    pub idle_hours: f64,
}

/// `tallow cloud rent`.
#[derive(Debug, Args)]
pub struct RentArgs {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Memory that the GPU must have, where no type is named.
    #[arg(long, value_name = "GB", default_value_t = 16)]
    pub memory: u32,
    /// A disk on the pod's machine at /workspace, in GB; it outlives a stop.
    #[arg(long, value_name = "GB", conflicts_with = "volume")]
    pub persistent: Option<u32>,
    /// A port, as 8888/http (repeatable).
    #[arg(long, value_name = "PORT/PROTOCOL")]
    pub port: Vec<String>,
    /// A variable of the container (repeatable).
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// A tag: the same tag never gives a second pod.
    #[arg(long)]
    pub tag: Option<String>,
}
