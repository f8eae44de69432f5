//! The command line: names, flags and their help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::checkpoints::CheckpointsCommand;
use super::hub::HubCommand;
use super::judge::{CompareModelsArgs, JudgeArgs};
use super::live::WatchArgs;
use super::plot::{CompareArgs, PlotArgs};
use super::search::SearchArgs;
use super::serve::ServeArgs;
use super::tokenizer::TokenizerCommand;
use super::track::TrackCommand;
use crate::app::formats;

/// Fine-tune language models natively: LoRA and QLoRA, one binary, no Python.
#[derive(Debug, Parser)]
#[command(name = "tallow", version, about, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done (or stopped on request, resumable), 1 the work failed, 2 the command line is wrong, \
3 the configuration or the data is wrong, 4 it does not fit in memory, 5 training diverged, 6 an evaluation missed a threshold.")]
pub struct Cli {
    /// Print one JSON document on stdout instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but results and errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fine-tune the embedded model on an embedded dataset and compare base against tuned.
    Demo(DemoArgs),
    /// Train as a configuration, a project folder or flags say.
    Train(TrainArgs),
    /// Search for better settings: trials over a space, the poor ones ended early.
    Search(SearchArgs),
    /// Perplexity and token accuracy of a model, base against adapter; answers judged by metrics.
    Eval(EvalArgs),
    /// Two models on the same rows: metrics with intervals, a paired test, answers side by side.
    Compare(CompareModelsArgs),
    /// Generate text from a prompt or from chat messages.
    Generate(GenerateArgs),
    /// Talk to a model, or to what a run gave.
    Chat(ChatArgs),
    /// Check a dataset, or describe it.
    #[command(subcommand)]
    Data(DataCommand),
    /// Train a tokenizer, extend a model's, or compare two.
    #[command(subcommand)]
    Tokenizer(TokenizerCommand),
    /// Predict memory by part and choose the fastest plan that fits.
    Plan(PlanArgs),
    /// List runs, or show one.
    #[command(subcommand)]
    Runs(RunsCommand),
    /// A run's checkpoints: list, compare, prune, average.
    #[command(subcommand)]
    Checkpoints(CheckpointsCommand),
    /// What trackers (TensorBoard, MLflow, Weights & Biases) have of a run.
    #[command(subcommand)]
    Track(TrackCommand),
    /// Say what this machine and this build can do, and what to fix.
    Doctor,
    /// Fold an adapter into its base and write merged safetensors.
    Merge(MergeArgs),
    /// Write a model or an adapter for other programs, and prove that the file computes the same.
    Export(ExportArgs),
    /// Upload an export or a model folder to the Hugging Face Hub, or into Ollama.
    Upload(UploadArgs),
    /// The Hugging Face Hub: search, download, and the cache.
    #[command(subcommand)]
    Hub(HubCommand),
    /// A project's models by content: list, compare, promote, roll back.
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Measure speed.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Tools for checking the engine itself.
    #[command(subcommand)]
    Debug(DebugCommand),
    /// Remake the embedded base model from its generator.
    Recipe(RecipeArgs),
    /// Start a project folder.
    Init(InitArgs),
    /// Rent GPUs from RunPod.
    #[command(subcommand)]
    Cloud(super::cloud::CloudCommand),
    /// Train on another machine over SSH.
    #[command(subcommand)]
    Remote(super::remote::RemoteCommand),
    /// Serve the Model Context Protocol, so that an assistant drives everything.
    Mcp(McpArgs),
    /// Serve a page for the browser: runs, curves, data, memory; start, pause and compare runs.
    Web(WebArgs),
    /// Serve a model and adapters on it to clients of OpenAI's API: chats, tools, streams.
    Serve(ServeArgs),
    /// Print a script that completes commands in a shell.
    Completions {
        /// Which shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one of each command into a folder.
    Man {
        /// The folder; without it the page of `tallow` is printed.
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
    },
    /// Do one call of a tool, as standard input says: what a server starts.
    #[command(hide = true)]
    McpCall,
    /// Hold a model and let it answer, as standard input says: what a server starts.
    #[command(hide = true)]
    McpHold,
    /// Start, look at, stop or guard a run for another machine: what `remote` starts over SSH.
    #[command(hide = true, subcommand)]
    RemoteAgent(super::remote::AgentCommand),
    /// Work on one run: what a server starts.
    #[command(hide = true)]
    Worker {
        /// The run's folder.
        run: PathBuf,
        /// Train only this stage.
        #[arg(long)]
        stage: Option<usize>,
        /// Standard input is the run's lock, taken by whoever started this.
        #[arg(long)]
        owned: bool,
    },
}

/// `tallow mcp`.
#[derive(Debug, Args)]
pub struct McpArgs {
    /// A folder that clients may use (repeatable); the default is the working folder.
    #[arg(long, value_name = "FOLDER")]
    pub root: Vec<PathBuf>,
    /// Serve HTTP at /mcp here instead of stdio, for example 127.0.0.1:8765. A bearer token is read from TALLOW_MCP_TOKEN.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http: Option<std::net::SocketAddr>,
    /// A host name, beside localhost, that HTTP requests may be meant for (repeatable).
    #[arg(long, value_name = "HOST", requires = "http")]
    pub allow_host: Vec<String>,
    /// An origin of web pages that may send HTTP requests, for example https://app.example.com:443 (repeatable).
    #[arg(long, value_name = "ORIGIN", requires = "http")]
    pub allow_origin: Vec<String>,
    /// Log calls to this file.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Tools to show, by set: core, data, cloud, all (comma-separated).
    #[arg(long, value_name = "SETS", default_value = "core", value_delimiter = ',')]
    pub toolsets: Vec<String>,
    /// Show only tools that change nothing.
    #[arg(long)]
    pub read_only: bool,
    /// Most memory of one call, for example 8GiB (at least 2GiB); by default half or most of what is free, by the kind of call.
    #[arg(long, value_name = "SIZE")]
    pub call_memory: Option<String>,
}

/// `tallow web`.
#[derive(Debug, Args)]
pub struct WebArgs {
    /// A project folder, or a folder with projects in it (repeatable); the default is the working folder.
    #[arg(value_name = "FOLDER")]
    pub root: Vec<PathBuf>,
    /// Serve here. Where other machines reach it, TALLOW_WEB_TOKEN must hold a token.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8770")]
    pub http: std::net::SocketAddr,
    /// A host name, beside localhost, that requests may be meant for (repeatable).
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
    /// Show everything and change nothing.
    #[arg(long)]
    pub read_only: bool,
}

/// `tallow demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the run, the adapter and the data go.
    #[arg(long, default_value = "tallow-demo")]
    pub out: PathBuf,
}

/// `tallow train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// What to train.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Continue this run (its folder or its name) from its newest complete checkpoint.
    #[arg(long, value_name = "RUN")]
    pub resume: Option<String>,
    /// A name for the run; the time is added.
    #[arg(long, default_value = "run")]
    pub name: String,
    /// Stop after this many optimiser steps in this session (the run stays resumable).
    #[arg(long, value_name = "STEPS")]
    pub stop_after: Option<u64>,
    /// Train at once, whatever else uses the device.
    #[arg(long)]
    pub no_queue: bool,
}

/// Where the settings of a run come from.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// A configuration file, or a project folder that holds config/fine_tuning_config.yaml; without it the project in this
    /// folder, or the flags alone.
    #[arg(value_name = "CONFIG|PROJECT")]
    pub config: Option<PathBuf>,
    /// The base model: a folder, a GGUF file, a Hub id, or `embedded`.
    #[arg(long)]
    pub model: Option<String>,
    /// One file of rows, split into rows to train on, to watch and to judge by.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Go over the rows this many times, instead of a number of steps.
    #[arg(long, value_name = "N")]
    pub epochs: Option<f64>,
    /// Folder in which the run's folder is made; unset: `runs/` of the project, or of this folder.
    #[arg(long, value_name = "FOLDER")]
    pub output_dir: Option<PathBuf>,
    /// Override a key, for example --set training.stage1.learning_rate=1e-4 (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Which model and adapter.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// A model folder (config.json, safetensors, tokenizer.json), a GGUF file, a Hub id, or `embedded`.
    #[arg(long, required_unless_present = "run")]
    pub model: Option<String>,
    /// What this run gave (its folder, its name, or `latest`), on its base held as it was trained.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["model", "revision", "adapter"])]
    pub run: Option<String>,
    /// The project folder of that run.
    #[arg(long, default_value = ".", requires = "run")]
    pub project: PathBuf,
    /// The run as it was after this step, of the checkpoints that it kept.
    #[arg(long, value_name = "STEP", requires = "run")]
    pub checkpoint: Option<u64>,
    /// Revision of a Hub model.
    #[arg(long)]
    pub revision: Option<String>,
    /// A PEFT adapter folder.
    #[arg(long)]
    pub adapter: Option<PathBuf>,
    /// Hold the base weights as this; unset: as the run did, or in the compute type.
    #[arg(long, value_enum)]
    pub quantization: Option<Quant>,
    /// Compute in this type; the default is the run's, or bf16 for a quantised base, else f32.
    #[arg(long, value_enum)]
    pub dtype: Option<ComputeDtype>,
    /// Take an architecture that is not known by name for a Llama, as `base_model.type: custom` does in a project.
    #[arg(long)]
    pub custom: bool,
}

/// How base weights are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Quant {
    /// As the compute type.
    None,
    /// 4-bit NF4, double-quantised.
    #[value(alias = "q4")]
    Nf4,
    /// 8-bit blocks.
    Q8,
}

/// Activation type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ComputeDtype {
    /// 32-bit floats.
    F32,
    /// 16-bit brain floats.
    Bf16,
}

/// `tallow eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The rows to evaluate on (JSONL, CSV, Parquet).
    #[arg(long)]
    pub data: PathBuf,
    /// How rows are read.
    #[command(flatten)]
    pub fields: FieldArgs,
    /// Use at most this many rows.
    #[arg(long)]
    pub max_rows: Option<usize>,
    /// The same at each of these levels of quantisation, side by side: none, q8, nf4.
    #[arg(long, value_name = "LEVELS", value_delimiter = ',')]
    pub levels: Vec<String>,
    /// How answers are judged. With --run, metrics and thresholds that are not given are those of the run's configuration.
    #[command(flatten)]
    pub judge: JudgeArgs,
}

/// How rows are read.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct FieldArgs {
    /// auto, alpaca, chat, sharegpt, completion or text.
    #[arg(long, default_value = "auto")]
    pub layout: String,
    /// Field that holds the instruction or prompt.
    #[arg(long)]
    pub instruction_field: Option<String>,
    /// Field that holds the extra input.
    #[arg(long)]
    pub input_field: Option<String>,
    /// Field that holds the answer.
    #[arg(long)]
    pub output_field: Option<String>,
    /// Field that holds a system prompt.
    #[arg(long)]
    pub system_field: Option<String>,
    /// A field that is left out on purpose (repeatable).
    #[arg(long, value_name = "FIELD")]
    pub metadata_field: Vec<String>,
    /// Cut rows at this many tokens; unset: as the run did, or 2048.
    #[arg(long)]
    pub max_seq_length: Option<usize>,
}

impl Default for FieldArgs {
    fn default() -> Self {
        Self {
            layout: "auto".into(),
            instruction_field: None,
            input_field: None,
            output_field: None,
            system_field: None,
            metadata_field: Vec::new(),
            max_seq_length: None,
        }
    }
}

/// `tallow generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The prompt. With a chat template it becomes a user message unless --raw is given.
    #[arg(long, required_unless_present = "messages", conflicts_with = "messages")]
    pub prompt: Option<String>,
    /// A JSON file of chat messages, or of {"messages": [...], "tools": [...]}.
    #[arg(long)]
    pub messages: Option<PathBuf>,
    /// Feed the prompt as it stands, without the chat template.
    #[arg(long)]
    pub raw: bool,
    /// How.
    #[command(flatten)]
    pub sampling: SamplingArgs,
}

/// `tallow chat`.
#[derive(Debug, Args)]
pub struct ChatArgs {
    /// Which model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// A system prompt before the first message.
    #[arg(long)]
    pub system: Option<String>,
    /// How.
    #[command(flatten)]
    pub sampling: SamplingArgs,
}

/// How tokens are chosen.
#[derive(Debug, Args)]
pub struct SamplingArgs {
    /// Stop after this many new tokens.
    #[arg(long, default_value_t = 256)]
    pub max_new_tokens: usize,
    /// 0 takes the likeliest token each time.
    #[arg(long, default_value_t = 0.7)]
    pub temperature: f64,
    /// Sample from the smallest set of tokens with this much probability.
    #[arg(long, default_value_t = 0.9)]
    pub top_p: f64,
    /// Seed of the sampling.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

/// `tallow data ...`.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Report every bad row with file and line, and show how examples are masked.
    Check(DataArgs),
    /// Rows, token counts, duplicates, calls by tool and quality signs.
    Stats(StatsArgs),
    /// Make training data from tools: requests, and the calls that are right.
    MakeTools(super::make_tools::MakeToolsArgs),
    /// Convert, clean, dedupe, cap and split data files.
    Prepare(super::prepare::PrepareArgs),
}

/// `tallow data stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Which data.
    #[command(flatten)]
    pub data: DataArgs,
    /// Write JSON, Markdown and a page with pictures into this folder; without a name into data/quality_reports of the project
    /// or of this folder.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1)]
    #[allow(clippy::option_option)] // not asked for, asked for, asked for with a folder
    pub report: Option<Option<PathBuf>>,
}

/// A dataset and how to read it.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// A data file; or a project folder or configuration file, whose data is checked as it will be trained.
    #[arg(value_name = "FILE|PROJECT")]
    pub file: PathBuf,
    /// Model folder, Hub id or `embedded`, for its tokenizer and chat template.
    #[arg(long, default_value = "embedded")]
    pub model: String,
    /// Chat template instead of the model's: chatml, hermes, llama3, mistral, gemma, phi, zephyr, alpaca, or a file.
    #[arg(long, value_name = "NAME|FILE")]
    pub chat_template: Option<String>,
    /// How rows are read.
    #[command(flatten)]
    pub fields: FieldArgs,
    /// Override a key of the project (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Show this many examples with the trained tokens marked.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1", default_value_t = 0)]
    pub show: usize,
}

/// `tallow plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// What to plan.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Plan for this much memory instead of what is free, for example 24GiB.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Plan for a GPU with this much memory, whether this machine has one or not, for example 24GiB.
    #[arg(long, value_name = "SIZE", conflicts_with = "memory")]
    pub gpu_memory: Option<String>,
}

/// `tallow runs ...`.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Runs under a project folder.
    List {
        /// The project folder, or a folder with runs/.
        #[arg(default_value = ".")]
        project: PathBuf,
    },
    /// One run's manifest and progress.
    Show {
        /// The run folder, or its name under the project.
        run: String,
        /// The project folder.
        #[arg(long, default_value = ".")]
        project: PathBuf,
    },
    /// A run on the terminal as it goes: curve, figures, log.
    Watch(WatchArgs),
    /// Draw a run's curves: losses, learning rate, gradient norm, speed, memory.
    Plot(PlotArgs),
    /// Runs beside one another: figures, and the settings in which they differ.
    Compare(CompareArgs),
}

/// `tallow merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The base model folder, or a Hub id.
    #[arg(long, required_unless_present = "run")]
    pub model: Option<String>,
    /// Revision of a Hub model.
    #[arg(long)]
    pub revision: Option<String>,
    /// The adapter folder.
    #[arg(long, required_unless_present = "run")]
    pub adapter: Option<PathBuf>,
    /// Merge what this run gave (its folder, its name, or `latest`).
    #[arg(long, value_name = "RUN", conflicts_with_all = ["model", "revision", "adapter"])]
    pub run: Option<String>,
    /// The project folder of that run.
    #[arg(long, default_value = ".", requires = "run")]
    pub project: PathBuf,
    /// Where the merged model goes; must not exist.
    #[arg(long)]
    pub out: PathBuf,
    /// Type of the merged weights; the default is the base's own.
    #[arg(long, value_enum)]
    pub dtype: Option<MergeDtype>,
    /// Take an architecture that is not known by name for a Llama, as `base_model.type: custom` does in a project.
    #[arg(long)]
    pub custom: bool,
}

/// Type of merged weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MergeDtype {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 16-bit brain floats.
    Bf16,
}

/// The forms that `app` knows, with what they are.
fn forms() -> clap::builder::PossibleValuesParser {
    formats::all().into_iter().map(|f| clap::builder::PossibleValue::new(f.name).help(f.about)).collect::<Vec<_>>().into()
}

/// `tallow export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The base model folder, a GGUF file, a Hub id, or `embedded`.
    #[arg(long, required_unless_present = "run")]
    pub model: Option<String>,
    /// Revision of a Hub model.
    #[arg(long, requires = "model")]
    pub revision: Option<String>,
    /// The adapter folder; without one the base itself is exported.
    #[arg(long, requires = "model")]
    pub adapter: Option<PathBuf>,
    /// Take an architecture that is not known by name for a Llama, as `base_model.type: custom` does in a project.
    #[arg(long, requires = "model")]
    pub custom: bool,
    /// Export what this run gave (its folder, its name, or `latest`): the model card then tells of its data and figures, and
    /// its manifest of the export.
    #[arg(long, value_name = "RUN", conflicts_with = "model")]
    pub run: Option<String>,
    /// The project folder of that run.
    #[arg(long, default_value = ".", requires = "run")]
    pub project: PathBuf,
    /// What to make.
    #[arg(long, value_parser = forms())]
    pub format: String,
    /// Type of the weights, such as q4_k_m, q8_0, f16 (gguf), q4, q4-g32, mxfp4 (mlx), bf16 (safetensors); docs/exports.md
    /// lists them all, and so does the error for any other. Default: gguf and ollama-adapter q8_0, ollama q4_k_m, safetensors and mlx the base's own.
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// The file or folder to make; must not exist.
    #[arg(long)]
    pub out: PathBuf,
    /// A text file whose paragraphs are further prompts of the proof.
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// Weigh the errors of GGUF types of few bits by an importance matrix: from these rows (JSONL, CSV, Parquet), from a
    /// file that llama-imatrix wrote, or, without a file, from the rows that the run was trained on.
    #[arg(long, value_name = "ROWS", num_args = 0..=1)]
    pub imatrix: Option<Option<PathBuf>>,
    /// Write the importance matrix to this file, too, as llama-imatrix does.
    #[arg(long, value_name = "FILE", requires = "imatrix")]
    pub save_imatrix: Option<PathBuf>,
    /// Make a folder of GGUF files instead, as llama-gguf-split does: each holds at most so many bytes of tensors (2GB).
    #[arg(long, value_name = "SIZE")]
    pub split_size: Option<String>,
    /// How these rows are read: auto, alpaca, chat, sharegpt, completion or text.
    #[arg(long, default_value = "auto", requires = "imatrix")]
    pub layout: String,
    /// Then upload it to this repository of the Hugging Face Hub, which is made private. The token is read from HF_TOKEN.
    #[arg(long, value_name = "OWNER/NAME")]
    pub upload: Option<String>,
    /// Make a new repository open to all.
    #[arg(long, requires = "upload")]
    pub public: bool,
}

/// `tallow upload`.
#[derive(Debug, Args)]
pub struct UploadArgs {
    /// The file or folder.
    pub path: PathBuf,
    /// The repository; a new one is private. The token is read from HF_TOKEN. `ollama:NAME` makes a model of that name in
    /// the Ollama that runs at OLLAMA_HOST instead, of a folder exported for it.
    #[arg(value_name = "OWNER/NAME")]
    pub repo: String,
    /// Then push the model from Ollama to its registry.
    #[arg(long, conflicts_with_all = ["public", "message"])]
    pub push: bool,
    /// Make a new repository open to all.
    #[arg(long)]
    pub public: bool,
    /// The commit's message.
    #[arg(long)]
    pub message: Option<String>,
}

/// `tallow models ...`.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // parsed once, at the start
pub enum ModelsCommand {
    /// Results and exports of the project's runs, and which one is promoted.
    List {
        /// The project folder.
        #[arg(default_value = ".")]
        project: PathBuf,
    },
    /// One version, and how to load it.
    Show {
        /// The beginning of its id, its run, `latest` or `promoted`.
        #[arg(default_value = "promoted")]
        version: String,
        /// The project folder.
        #[arg(long, default_value = ".")]
        project: PathBuf,
    },
    /// Two versions side by side: settings and figures, measured on rows where given.
    Compare {
        /// The first.
        first: String,
        /// The second.
        second: String,
        /// The project folder.
        #[arg(long, default_value = ".")]
        project: PathBuf,
        /// Measure both on these rows.
        #[arg(long)]
        data: Option<PathBuf>,
        /// How rows are read.
        #[command(flatten)]
        fields: FieldArgs,
        /// Use at most this many rows.
        #[arg(long)]
        max_rows: Option<usize>,
    },
    /// Make a version the one that counts, after checking that its files are what they were.
    Promote {
        /// The beginning of its id, its run, or `latest`.
        version: String,
        /// The project folder.
        #[arg(long, default_value = ".")]
        project: PathBuf,
    },
    /// Take the last promotion back.
    Rollback {
        /// The project folder.
        #[arg(long, default_value = ".")]
        project: PathBuf,
    },
}

/// `tallow bench ...`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Whole training steps on random token ids, LoRA on all seven linears.
    Train(BenchTrainArgs),
    /// Greedy generation from a random prompt.
    Generate(BenchGenerateArgs),
    /// A model's prompt and decoding speed, time to the first token and memory, at each level of quantisation.
    Model(BenchModelArgs),
    /// Write a model folder with random weights from a config.json or a named shape.
    RandomModel {
        /// A config.json, or one of: tiny, 15m, 135m, 1b, 3b, 8b, qwen3-0.6b, qwen3-4b, qwen3-8b.
        shape: String,
        /// Where it goes; must not exist.
        #[arg(long)]
        out: PathBuf,
        /// Model whose tokenizer it gets; a named shape takes over its vocabulary size.
        #[arg(long)]
        tokenizer: Option<String>,
    },
    /// This machine's ceilings: bf16 dot, f32 FMA, memory read.
    Peak,
    /// Every kernel of a GPU beside the device's own copy and product; says so where there is none.
    Gpu(BenchGpuArgs),
}

/// `tallow bench gpu`.
#[derive(Debug, Args)]
pub struct BenchGpuArgs {
    /// auto or cuda:N; cpu measures the CPU's kernels the same way.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Tokens of a pass.
    #[arg(long, default_value_t = 4096)]
    pub tokens: usize,
    /// Tokens of a sequence of the training case, beside one long sequence and short ones of 128.
    #[arg(long, default_value_t = 2048)]
    pub seq: usize,
    /// Width of the residual stream, a multiple of 128.
    #[arg(long, default_value_t = 4096)]
    pub hidden: usize,
    /// Samples of each kernel; the median counts.
    #[arg(long, default_value_t = 7)]
    pub repeats: usize,
}

/// `tallow bench model`.
#[derive(Debug, Args)]
pub struct BenchModelArgs {
    /// A model folder, a GGUF file, a Hub id, or `embedded`.
    #[arg(long)]
    pub model: String,
    /// The prompt; unset: random tokens.
    #[arg(long)]
    pub prompt: Option<String>,
    /// Tokens of the random prompt.
    #[arg(long, default_value_t = 128, conflicts_with = "prompt")]
    pub prompt_tokens: usize,
    /// Timed repetitions, after one that warms up.
    #[arg(long, default_value_t = 10)]
    pub iterations: usize,
    /// New tokens.
    #[arg(long, default_value_t = 128)]
    pub max_new_tokens: usize,
    /// Levels: f32, bf16, q8, nf4 (the last two compute in bf16).
    #[arg(long, value_delimiter = ',', default_value = "bf16,q8,nf4")]
    pub levels: Vec<String>,
}

/// `tallow bench generate`.
#[derive(Debug, Args)]
pub struct BenchGenerateArgs {
    /// A model folder.
    #[arg(long)]
    pub model: String,
    /// Tokens of the prompt.
    #[arg(long, default_value_t = 32)]
    pub prompt: usize,
    /// New tokens.
    #[arg(long, default_value_t = 128)]
    pub new: usize,
    /// Timed repetitions, after one that warms up.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// f32, bf16, or nf4 (bf16 over a 4-bit base).
    #[arg(long, default_value = "bf16", value_parser = ["f32", "bf16", "nf4"])]
    pub dtype: String,
}

/// `tallow bench train`.
#[derive(Debug, Args)]
pub struct BenchTrainArgs {
    /// A model folder, or `random:` and a named shape (1b, 3b, 8b, ...), whose weights are made on the device.
    #[arg(long)]
    pub model: String,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Sequences a step.
    #[arg(long, default_value_t = 4)]
    pub batch: usize,
    /// Tokens a sequence.
    #[arg(long, default_value_t = 512)]
    pub seq: usize,
    /// A file of row lengths, one a line; a step has the first --batch of them instead of rows of --seq.
    #[arg(long, conflicts_with = "seq")]
    pub lengths: Option<PathBuf>,
    /// One row instead, as long as this much memory has room for by the memory plan (of a GPU or of this process), with the
    /// policy that makes it so: for example 24GiB.
    #[arg(long, conflicts_with_all = ["batch", "seq", "lengths", "recompute", "offload"])]
    pub fit: Option<String>,
    /// Timed steps, after one that warms up.
    #[arg(long, default_value_t = 5)]
    pub steps: usize,
    /// f32, bf16, or nf4 (bf16 over a 4-bit base).
    #[arg(long, default_value = "bf16", value_parser = ["f32", "bf16", "nf4"])]
    pub dtype: String,
    /// LoRA rank.
    #[arg(long, default_value_t = 16)]
    pub rank: usize,
    /// What the backward pass makes again: `on` whole layers, `off` norms and activation functions but no product, `none`
    /// nothing.
    #[arg(long, default_value = "off", value_parser = ["on", "off", "none"])]
    pub recompute: String,
    /// So many layers leave what they keep in host memory until the backward pass; under `--recompute on` any number means all.
    #[arg(long, default_value_t = 0)]
    pub offload: usize,
}

/// `tallow debug ...`.
#[derive(Debug, Subcommand)]
pub enum DebugCommand {
    /// Write logits, loss and every adapter gradient, for comparing with another engine.
    Gradients {
        /// A model folder.
        #[arg(long)]
        model: String,
        /// A PEFT adapter folder.
        #[arg(long)]
        adapter: PathBuf,
        /// safetensors with `input_ids` and labels, [batch, seq] I64, -100 ignored, shifted inside.
        #[arg(long)]
        input: PathBuf,
        /// safetensors to write.
        #[arg(long)]
        output: PathBuf,
        /// Name of the labels tensor.
        #[arg(long, default_value = "labels")]
        labels: String,
    },
}

/// `tallow recipe`.
#[derive(Debug, Args)]
pub struct RecipeArgs {
    /// Where the model folder goes; must not exist.
    #[arg(long)]
    pub out: PathBuf,
    /// Optimiser steps; the default is the recipe's own.
    #[arg(long)]
    pub steps: Option<u64>,
}

/// `tallow init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The project's name; a folder of this name is made.
    pub name: String,
    /// Where the folder goes.
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// Base model: a folder, a Hub id, or `embedded`.
    #[arg(long, default_value = "embedded")]
    pub model: String,
}
