//! `tallow cloud serve ...`: a finished run behind an endpoint.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::agreed;
use crate::app::cloud::Cloud;
use crate::app::cloud::serve::{
    Form, ServeRequest, ServeStage, Served, Serving, begin_serving, end_serving, find_serving, keep_detached, serve_finish, serve_offer,
    servings,
};
use crate::base::error::Fault;
use crate::cli::progress::Talk;
use crate::cli::remote::{leave_on_signals, note};
use crate::cli::run::Desk;
use crate::cli::show::table;
use crate::cloud::{Caps, Workers};
use crate::runs::{self, Project};

/// `tallow cloud serve`.
#[allow(clippy::large_enum_variant)] // one value, read once
#[derive(Debug, Subcommand)]
pub enum ServeCommand {
    /// Export a run, put it on a network volume, make an endpoint, send it a request.
    Run(ServeArgs),
    /// Go on with one that was cut off, or show the answer of one that is done.
    Attach {
        /// Its tag or name.
        which: String,
    },
    /// List what is served.
    List,
    /// Remove the endpoint, the files and the volume that were made for it.
    End {
        /// Its tag or name.
        which: String,
        /// Do it without being asked.
        #[arg(long)]
        yes: bool,
    },
}

/// `tallow cloud serve run`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The project; left out with --hub.
    #[arg(required_unless_present = "hub")]
    pub project: Option<PathBuf>,
    /// The run; `latest` is the newest.
    #[arg(long, default_value = "latest", conflicts_with = "hub")]
    pub run: String,
    /// Serve a model of the Hub, for example one that `tallow export --upload` has put there.
    #[arg(long, value_name = "OWNER/NAME", conflicts_with = "project")]
    pub hub: Option<String>,
    /// The adapter alone, over its base from the Hub.
    #[arg(long, conflicts_with = "hub")]
    pub adapter: bool,
    /// A GGUF file of this type, for a worker image with llama.cpp.
    #[arg(long, value_name = "TYPE", conflicts_with_all = ["hub", "adapter"])]
    pub gguf: Option<String>,
    /// The name that clients call it by; by default the run's.
    #[arg(long)]
    pub name: Option<String>,
    /// A pool of GPU types, as `cloud gpus` names them (repeatable); by default the cheapest with room.
    #[arg(long)]
    pub pool: Vec<String>,
    /// GPUs of one worker.
    #[arg(long, default_value_t = 1)]
    pub count: u32,
    /// Container image of the workers; by default RunPod's with vLLM.
    #[arg(long, conflicts_with = "template")]
    pub image: Option<String>,
    /// A serverless template.
    #[arg(long)]
    pub template: Option<String>,
    /// A variable of the workers; {model} stands for the model's path (repeatable).
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Container disk in GB.
    #[arg(long, value_name = "GB", default_value_t = 30)]
    pub disk: u32,
    /// A network volume that is there already; by default one is made, and removed at the end.
    #[arg(long, value_name = "ID")]
    pub volume: Option<String>,
    /// The data centre of a volume that is made.
    #[arg(long, value_name = "ID", conflicts_with = "volume")]
    pub data_center: Option<String>,
    /// Workers at most.
    #[arg(long, default_value_t = 1)]
    pub max_workers: u32,
    /// Seconds without work after which a worker ends.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub idle: u32,
    /// Hours after which everything is removed.
    #[arg(long, value_name = "HOURS")]
    pub max_hours: Option<f64>,
    /// The same once so many US dollars are billed.
    #[arg(long, value_name = "USD")]
    pub max_cost: Option<f64>,
    /// The request that is sent.
    #[arg(long, default_value = "Hello! Who are you?")]
    pub prompt: String,
    /// Tokens of its answer, at most.
    #[arg(long, default_value_t = 64)]
    pub max_tokens: u32,
    /// Minutes that the first answer may take.
    #[arg(long, value_name = "MINUTES", default_value_t = 20.0)]
    pub wait: f64,
    /// Remove everything once it has answered.
    #[arg(long)]
    pub once: bool,
    /// Agree to the costs without being asked.
    #[arg(long)]
    pub yes: bool,
}

pub(super) fn run(desk: &Desk, service: &Cloud, command: ServeCommand) -> Result<u8, Fault> {
    match command {
        ServeCommand::Run(a) => serve(desk, service, a),
        ServeCommand::Attach { which } => finish(desk, service, &mut find_serving(&service.ledger, &which)?, false),
        ServeCommand::List => {
            let all = servings(&service.ledger)?;
            desk.give(&serde_json::json!({ "served": all.iter().map(shown).collect::<Vec<_>>() }), || list(&all, desk))
        }
        ServeCommand::End { which, yes } => {
            let mut serving = find_serving(&service.ledger, &which)?;
            agreed(desk, &format!("remove what serves {} ({})", serving.wish.name, serving.tag), yes)?;
            end_serving(service, &mut serving, &mut note(desk.talk))?;
            desk.give(&serde_json::json!({ "ended": serving.tag }), || format!("nothing of {} is left there", serving.tag))
        }
    }
}

fn serve(desk: &Desk, service: &Cloud, a: ServeArgs) -> Result<u8, Fault> {
    let run = a.project.as_ref().map(|project| -> Result<PathBuf, Fault> {
        let found = runs::find(&Project::locate(project)?.root, &a.run)?;
        let path = found.path();
        path.canonicalize().map_err(|e| Fault::io("open", path, &e))
    });
    let run = run.transpose()?;
    let usual = match (&run, &a.hub) {
        (Some(run), _) => run.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        (None, repo) => repo.clone().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned(),
    };
    let form = match (a.hub, a.gguf) {
        (Some(repo), _) => Form::Hub(repo),
        (None, Some(kind)) => Form::Gguf(kind),
        (None, None) if a.adapter => Form::Adapter,
        (None, None) => Form::Merged,
    };
    let wish = ServeRequest {
        run,
        form,
        name: a.name.unwrap_or(usual),
        pools: a.pool,
        count: a.count,
        image: a.image,
        template: a.template,
        env: super::variables(&a.env)?,
        disk_gb: a.disk,
        volume: a.volume,
        data_center: a.data_center,
        workers: Workers { min: Some(0), max: Some(a.max_workers.max(1)), idle_timeout: Some(a.idle.clamp(1, 3600)) },
        caps: Caps { max_hours: a.max_hours, max_cost: a.max_cost },
        prompt: a.prompt,
        max_tokens: a.max_tokens,
        patience: a.wait * 60.0,
    };
    let offer = serve_offer(service, &wish)?;
    let words = format!("serve {} on {}: {}", wish.name, offer.pools.join(", "), offer.costs);
    if a.yes && desk.talk != Talk::Silent {
        crate::cli::progress::line(&words);
    }
    agreed(desk, &words, a.yes)?;
    let mut serving = begin_serving(service, &wish, &offer)?;
    // From here on the caps hold without this process.
    keep_detached(service)?;
    finish(desk, service, &mut serving, a.once)
}

fn finish(desk: &Desk, service: &Cloud, serving: &mut Serving, once: bool) -> Result<u8, Fault> {
    let tag = serving.tag.clone();
    leave_on_signals(format!("left: `tallow cloud serve attach {tag}` goes on, `tallow cloud serve end {tag}` removes it"));
    let mut said = note(desk.talk);
    let served = serve_finish(service, serving, &mut said).map_err(|fault| {
        if serving.stage == ServeStage::Ended {
            return fault;
        }
        let hint = fault.hint.clone().map_or_else(String::new, |hint| format!("{hint}; "));
        fault.hint(format!("{hint}`tallow cloud serve attach {tag}` goes on, `tallow cloud serve end {tag}` removes what was made"))
    })?;
    if once {
        end_serving(service, serving, &mut said)?;
    }
    desk.give(&served, || words(&served, once))
}

fn words(s: &Served, once: bool) -> String {
    let text = format!("> {}\n{}\n", s.prompt, s.text);
    if once {
        return text + "everything that was made for it is removed";
    }
    format!(
        "{text}endpoint {} serves {} (tag {})\nOpenAI clients: base URL {}, model {}, the key RUNPOD_API_KEY\n`tallow cloud serve end {}` removes it",
        s.endpoint_id, s.name, s.tag, s.openai_url, s.name, s.tag
    )
}

/// A record without the values of variables: they may be secrets.
fn shown(s: &Serving) -> serde_json::Value {
    let mut value = serde_json::json!(s);
    value["wish"]["env"] = serde_json::json!(s.wish.env.keys().collect::<Vec<_>>());
    value
}

fn list(all: &[Serving], desk: &Desk) -> String {
    if all.is_empty() {
        return "nothing is served".into();
    }
    let row = |s: &Serving| {
        let or = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        vec![s.tag.clone(), s.wish.name.clone(), s.stage.name().to_owned(), or(&s.endpoint_id), or(&s.volume_id), s.created_at.clone()]
    };
    table(desk.paint, &["tag", "name", "stage", "endpoint", "volume", "since"], &all.iter().map(row).collect::<Vec<_>>())
}
