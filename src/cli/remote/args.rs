//! Commands and flags for machines over SSH.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `tallow remote`.
#[allow(clippy::large_enum_variant)] // one value, read once
#[derive(Debug, Subcommand)]
pub enum RemoteCommand {
    /// Train on a machine that `ssh` reaches without a password; everything comes back here.
    Train(RemoteTrainArgs),
    /// Come back to a job: follow its run to the end and fetch what it gives.
    Attach {
        /// The job.
        #[command(flatten)]
        job: JobArgs,
        /// Go on with a run that was paused or has failed.
        #[arg(long)]
        resume: bool,
    },
    /// List the jobs of a project.
    List {
        /// The project's folder.
        #[arg(default_value = ".")]
        project: PathBuf,
    },
    /// Pause the run of a job.
    Stop {
        /// The job.
        #[command(flatten)]
        job: JobArgs,
        /// Give the run up instead.
        #[arg(long)]
        cancel: bool,
    },
    /// Fetch a run that was paused or has failed, and remove it there; it can go on here.
    Clean {
        /// The job.
        #[command(flatten)]
        job: JobArgs,
        /// Do not ask the machine: it is gone.
        #[arg(long)]
        forget: bool,
    },
}

/// Which job.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// The job, or the name of its run.
    pub job: String,
    /// Its project's folder.
    #[arg(long, default_value = ".")]
    pub project: PathBuf,
}

/// What is trained elsewhere.
#[derive(Debug, Args)]
pub struct ProjectArgs {
    /// A configuration file, or a project folder.
    #[arg(value_name = "CONFIG|PROJECT", default_value = ".")]
    pub config: PathBuf,
    /// Override a key (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// A name for the run; the time is added.
    #[arg(long, default_value = "run")]
    pub name: String,
    /// The program to send: a build of this version for the other machine; by default this one.
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
}

/// `tallow remote train`.
#[derive(Debug, Args)]
pub struct RemoteTrainArgs {
    /// The machine, as `ssh` takes it.
    #[arg(value_name = "USER@HOST")]
    pub host: String,
    /// What is trained.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// Port of its SSH server.
    #[arg(long)]
    pub port: Option<u16>,
    /// Private key.
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// File of known hosts, to which a host that is seen for the first time is added.
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
    /// A command that stops the machine once nobody has asked for --idle-hours.
    #[arg(long, value_name = "COMMAND", requires = "idle_hours")]
    pub stop_command: Option<String>,
    /// Hours without a question from here after which the run is paused and --stop-command runs there.
    #[arg(long, value_name = "HOURS", requires = "stop_command")]
    pub idle_hours: Option<f64>,
    /// Keep the job's folder there when everything is here.
    #[arg(long)]
    pub keep: bool,
    /// Return once the run has started there.
    #[arg(long)]
    pub detach: bool,
}

/// `tallow remote-agent`.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Configure and start the run of a job's folder.
    Begin {
        /// The folder.
        folder: PathBuf,
        /// Go on with one that was paused or has failed.
        #[arg(long)]
        resume: bool,
    },
    /// Say how it stands.
    Look {
        /// The folder.
        folder: PathBuf,
    },
    /// Pause it.
    Stop {
        /// The folder.
        folder: PathBuf,
        /// Give it up.
        #[arg(long)]
        cancel: bool,
    },
    /// Wait until nothing works on it.
    Rest {
        /// The folder.
        folder: PathBuf,
    },
    /// Watch over the machine.
    Guard {
        /// The folder.
        folder: PathBuf,
    },
}
