//! `tallow hub`: its arguments, and its reports as text.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::run::Desk;
use super::show::table;
use super::style::{Paint, bytes, count};
use crate::app::hub::{self, CacheReport, DatasetHit, DatasetsFound, ModelHit, ModelsFound, PruneReport, PruneRequest, Removal, Search};
use crate::app::info;
use crate::base::error::Fault;
use crate::model::hub::{CachedRepo, Kind, Query, Sort};

/// `tallow hub ...`.
#[derive(Debug, Subcommand)]
pub enum HubCommand {
    /// Search models: licence, downloads, access, whether the family is known, what of them fits this machine.
    Search(HubSearchArgs),
    /// Search datasets: rows, size, licence, formats, downloads.
    Datasets(HubQueryArgs),
    /// What a model is and what training it takes, from its config and tokenizer alone.
    Info {
        /// A Hub id, a folder, a GGUF file, or `embedded`.
        model: String,
    },
    /// Bring a model into the cache; what broke off before is taken up, and hashes are checked.
    Download {
        /// owner/name.
        model: String,
        /// A branch, a tag or a commit; by default main.
        #[arg(long)]
        revision: Option<String>,
    },
    /// What the cache holds: sizes, commits, last use.
    List,
    /// Say what would leave the cache; delete it with --yes.
    Prune(HubPruneArgs),
}

/// What results are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SortName {
    /// Downloads of the last month.
    Downloads,
    /// Likes.
    Likes,
    /// What is talked of now.
    Trending,
    /// The last change.
    Updated,
}

/// What is searched for.
#[derive(Debug, Args)]
pub struct HubQueryArgs {
    /// Words of the name.
    #[arg(value_name = "WORDS")]
    words: Vec<String>,
    /// Only of this owner.
    #[arg(long)]
    owner: Option<String>,
    /// Only with this tag, for example license:mit or language:de (repeatable).
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// The most of this first.
    #[arg(long, value_enum, default_value = "downloads")]
    sort: SortName,
    /// Most results.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100))]
    limit: u64,
}

/// `tallow hub search`.
#[derive(Debug, Args)]
pub struct HubSearchArgs {
    #[command(flatten)]
    query: HubQueryArgs,
    /// What the models are for, as their cards say; `any` takes all.
    #[arg(long, default_value = "text-generation")]
    task: String,
}

/// `tallow hub prune`.
#[derive(Debug, Args)]
pub struct HubPruneArgs {
    /// Models and datasets to delete whole, as owner/name.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Whatever no program has read for so many days.
    #[arg(long, value_name = "N")]
    unused_days: Option<u64>,
    /// Halves of downloads that broke off.
    #[arg(long)]
    incomplete: bool,
    /// Commits that no branch or tag of the cache leads to any more.
    #[arg(long)]
    old_revisions: bool,
    /// A project, or a folder with projects, whose runs keep what they stand on (repeatable); by default this folder.
    #[arg(long, value_name = "FOLDER")]
    project: Vec<PathBuf>,
    /// Also what runs stand on.
    #[arg(long)]
    even_if_used: bool,
    /// Delete; without it nothing changes.
    #[arg(long)]
    yes: bool,
}

/// Does what the arguments say.
pub(super) fn run(desk: &Desk, command: HubCommand) -> Result<u8, Fault> {
    match command {
        HubCommand::Search(a) => {
            let report = hub::search_models(&Search { query: query(a.query), task: Some(a.task) })?;
            desk.give(&report, || models(&report, desk.paint))
        }
        HubCommand::Datasets(a) => {
            let report = hub::datasets(&query(a))?;
            desk.give(&report, || datasets(&report, desk.paint))
        }
        HubCommand::Info { model } => {
            let report = info::model(&model)?;
            desk.give(&report, || about(&report, desk.paint))
        }
        HubCommand::Download { model, revision } => {
            let report = hub::download(&model, revision.as_deref())?;
            desk.give(&report, || {
                let fetched = if report.fetched_bytes == 0 {
                    "all of it was here".into()
                } else {
                    format!("{} fetched", bytes(report.fetched_bytes))
                };
                format!("{} at {}: {}, {fetched}\n{}", report.model, report.commit, bytes(report.bytes), report.path.display())
            })
        }
        HubCommand::List => {
            let report = hub::cache();
            desk.give(&report, || cache(&report, desk.paint))
        }
        HubCommand::Prune(a) => {
            let projects = if a.project.is_empty() { vec![PathBuf::from(".")] } else { a.project };
            let (ids, unused_days, incomplete, old_revisions) = (a.ids, a.unused_days, a.incomplete, a.old_revisions);
            let request =
                PruneRequest { ids, unused_days, incomplete, old_revisions, even_if_used: a.even_if_used, projects, delete: a.yes };
            let report = hub::prune(&request)?;
            desk.give(&report, || pruned(&report, desk.paint))
        }
    }
}

fn query(a: HubQueryArgs) -> Query {
    let sort = match a.sort {
        SortName::Downloads => Sort::Downloads,
        SortName::Likes => Sort::Likes,
        SortName::Trending => Sort::Trending,
        SortName::Updated => Sort::Updated,
    };
    Query { words: a.words.join(" "), owner: a.owner, tags: a.tag, sort, limit: a.limit as usize }
}

fn or_dash(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "-".into())
}

/// 1.2 M, 7.6 B.
fn parameters(n: Option<u64>) -> String {
    match n {
        None => "-".into(),
        Some(n) if n >= 1_000_000_000 => format!("{:.1} B", n as f64 / 1e9),
        Some(n) if n >= 1_000_000 => format!("{:.0} M", n as f64 / 1e6),
        Some(n) => format!("{} k", n / 1000),
    }
}

fn access(gated: bool) -> String {
    if gated { "ask" } else { "open" }.into()
}

fn models(r: &ModelsFound, paint: Paint) -> String {
    if r.models.is_empty() {
        return "no model was found".into();
    }
    let fit = |m: &ModelHit| {
        let about = if m.basis == Some("parameters") { "~" } else { "" };
        let all: Vec<String> =
            m.fits.iter().filter(|f| f.fits).map(|f| format!("{about}{} {}", f.quantization, bytes(f.train_bytes))).collect();
        match (&m.family, all.is_empty()) {
            (None, _) => "-".into(),
            (_, true) if m.fits.is_empty() => "not known".into(),
            (_, true) => "none".into(),
            _ => all.join(", "),
        }
    };
    let row = |m: &ModelHit| {
        let family = m.family.clone().unwrap_or_else(|| "not supported".into());
        let here = if m.cached { "cached" } else { "" };
        let (f, size) = (&m.found, m.found.bytes.map_or_else(|| "-".into(), bytes));
        let licence = or_dash(f.licence.as_ref());
        vec![f.id.clone(), parameters(f.parameters), size, licence, count(f.downloads), access(f.gated), family, fit(m), here.into()]
    };
    let head = ["model", "parameters", "size", "licence", "downloads", "access", "family", "LoRA fits", ""];
    let rows = table(paint, &head, &r.models.iter().map(row).collect::<Vec<_>>());
    let estimated = r.models.iter().any(|m| m.basis == Some("parameters"));
    let tilde = if estimated { "\n~ estimated from the number of parameters; the others by the memory plan" } else { "" };
    let about = format!("against {} of {}; one row of 512 tokens a step, rank 16{tilde}", bytes(r.machine.bytes), r.machine.device);
    format!("{rows}{}", paint.dim(&about))
}

fn datasets(r: &DatasetsFound, paint: Paint) -> String {
    if r.datasets.is_empty() {
        return "no dataset was found".into();
    }
    let row = |d: &DatasetHit| {
        let f = &d.found;
        let formats = if f.formats.is_empty() { "-".into() } else { f.formats.join(", ") };
        let size = f.bytes.map_or_else(|| "-".into(), bytes);
        vec![f.id.clone(), or_dash(f.rows.as_ref()), size, or_dash(f.licence.as_ref()), count(f.downloads), access(f.gated), formats]
    };
    table(paint, &["dataset", "rows", "size", "licence", "downloads", "access", "formats"], &r.datasets.iter().map(row).collect::<Vec<_>>())
}

fn about(r: &info::ModelInfo, paint: Paint) -> String {
    let mut out = String::new();
    let mut named = |name: &str, value: String| out += &format!("{} {value}\n", paint.dim(&format!("{name:<12}")));
    named("model", format!("{}  {} ({})", r.model, r.architecture, r.family));
    named("size", format!("{} parameters, {} layers, width {}", parameters(Some(r.parameters)), r.layers, r.hidden_size));
    named("text", format!("{} tokens of vocabulary, context {}", count(r.vocabulary as u64), count(r.context_length as u64)));
    named("template", if r.has_chat_template { "renders chats" } else { "no chat template" }.into());
    named("licence", or_dash(r.licence.as_ref()));
    named("weights", if r.weights_here { r.path.display().to_string() } else { "not here: `tallow hub download` brings them".into() });
    for need in &r.needs {
        named(&format!("{} {}", need.method, need.quantization), format!("{} to train", bytes(need.train_bytes)));
    }
    out
}

fn days(last_used: Option<u64>) -> String {
    last_used.map_or_else(|| "-".into(), |days| format!("{days} days ago"))
}

fn cache(r: &CacheReport, paint: Paint) -> String {
    if r.repos.is_empty() {
        return format!("{} holds nothing", r.folder.display());
    }
    let row = |repo: &CachedRepo| {
        let refs: Vec<&str> = repo.revisions.iter().flat_map(|v| &v.refs).map(String::as_str).collect();
        let kind = if repo.kind == Kind::Model { "model" } else { "dataset" };
        let state = match (repo.incomplete_bytes, repo.revisions.iter().any(|v| v.has_weights)) {
            (0, false) if repo.kind == Kind::Model => "no weights".into(),
            (0, _) => String::new(),
            (left, _) => format!("{} of a broken download", bytes(left)),
        };
        let used = days(repo.last_used.map(hub::days_since));
        vec![repo.id.clone(), kind.into(), bytes(repo.bytes), repo.revisions.len().to_string(), refs.join(", "), used, state]
    };
    let rows = table(paint, &["name", "", "size", "commits", "refs", "last used", ""], &r.repos.iter().map(row).collect::<Vec<_>>());
    format!("{rows}{}", paint.dim(&format!("{} in {}", bytes(r.bytes), r.folder.display())))
}

fn pruned(r: &PruneReport, paint: Paint) -> String {
    if r.removals.is_empty() {
        return "nothing in the cache is like that".into();
    }
    let row = |v: &Removal| {
        let what = match (v.kept, r.deleted) {
            (true, _) => "stays",
            (_, true) => "deleted",
            _ => "would go",
        };
        let used = if v.used_by.is_empty() { String::new() } else { format!("used by {}", v.used_by.join(", ")) };
        vec![what.into(), v.id.clone(), v.part.clone(), bytes(v.bytes), days(v.unused_days), used]
    };
    let rows = table(paint, &["", "name", "part", "size", "last used", ""], &r.removals.iter().map(row).collect::<Vec<_>>());
    let asked = match r.projects.len() {
        0 => "no project was found whose runs could stand on them (--project names one)".to_owned(),
        n => format!("runs of {n} project(s) were asked"),
    };
    let kept = if r.removals.iter().any(|v| v.kept) { "; --even-if-used deletes what runs stand on, too" } else { "" };
    let end = if r.deleted { format!("{} freed", bytes(r.bytes)) } else { format!("{} would be freed; --yes deletes", bytes(r.bytes)) };
    format!("{rows}{}", paint.dim(&format!("{end}; {asked}{kept}")))
}
