//! `tallow data make-tools`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::app::make_tools::{MakeToolsReport, MakeToolsRequest};
use crate::base::error::Fault;
use crate::data::make_tools::{Kind, MakeOptions, RowForm};

/// `tallow data make-tools`.
#[derive(Debug, Args)]
pub struct MakeToolsArgs {
    /// Files of tool schemas: JSON or JSONL in the form of OpenAI, MCP, Anthropic or the Berkeley leaderboard.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// A command that starts an MCP server on its standard streams (repeatable). It is asked for its tools, no more.
    #[arg(long, value_name = "COMMAND")]
    pub server: Vec<String>,
    /// The address of an MCP server (repeatable). A bearer token is read from TALLOW_TOOLS_TOKEN.
    #[arg(long, value_name = "URL")]
    pub url: Vec<String>,
    /// The folder for train.jsonl, validation.jsonl, test.jsonl and tools.json.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Rows in all files together.
    #[arg(long, default_value_t = 1000)]
    pub rows: usize,
    /// What everything is drawn from: the same seed gives the same bytes.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Kinds of rows (comma-separated): single, parallel, multi_step, error, fallback, ambiguous, missing, no_tool, unavailable,
    /// reasoning. The default is all but reasoning.
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub kinds: Vec<String>,
    /// Share of validation rows.
    #[arg(long, default_value_t = 0.1)]
    pub validation: f64,
    /// Share of test rows; they ask in words that no other row has.
    #[arg(long, default_value_t = 0.1)]
    pub test: f64,
    /// Keep this many tools out of all these files and write rows of them to unseen.jsonl.
    #[arg(long, value_name = "TOOLS", default_value_t = 0)]
    pub unseen_tools: usize,
    /// Most tools that a row offers.
    #[arg(long, value_name = "TOOLS", default_value_t = 4)]
    pub most_offered: usize,
    /// How calls are written.
    #[arg(long, value_enum, default_value_t = FormArg::Chat)]
    pub form: FormArg,
    /// Longest wait for one server.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub patience: u64,
}

/// How calls are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormArg {
    /// As `tool_calls`, with the tools beside the messages: the chat template writes them.
    Chat,
    /// As <use_mcp_tool> in the text, with the tools in the system turn.
    Xml,
}

/// The request that the flags make.
pub fn request(a: MakeToolsArgs) -> Result<MakeToolsRequest, Fault> {
    let mut options = MakeOptions {
        rows: a.rows,
        seed: a.seed,
        validation: a.validation,
        test: a.test,
        unseen_tools: a.unseen_tools,
        most_offered: a.most_offered.max(1),
        form: if a.form == FormArg::Xml { RowForm::Xml } else { RowForm::Chat },
        ..MakeOptions::default()
    };
    if !a.kinds.is_empty() {
        options.kinds = a.kinds.iter().map(|name| kind(name)).collect::<Result<_, _>>()?;
    }
    let patience = Duration::from_secs(a.patience);
    Ok(MakeToolsRequest { files: a.files, servers: a.server, urls: a.url, patience, options, out: a.out })
}

fn kind(name: &str) -> Result<Kind, Fault> {
    Kind::named(name.trim()).ok_or_else(|| {
        let known: Vec<&str> = Kind::ALL.iter().map(|k| k.name()).collect();
        Fault::new("usage", format!("there is no kind of rows `{name}`")).hint(format!("choose among {}", known.join(", ")))
    })
}

/// The report as text.
pub fn text(report: &MakeToolsReport) -> String {
    let mut out = Vec::new();
    for source in &report.sources {
        let server = source.server.as_ref().map(|s| format!(" ({s})")).unwrap_or_default();
        out.push(format!("tools        {} of {}{server}: {}", source.tools.len(), source.source, source.tools.join(", ")));
    }
    for file in &report.files {
        out.push(format!("{:<12} {} rows in {}", file.part, file.rows, file.path.display()));
    }
    let made = &report.made;
    let kinds: Vec<String> = made.kinds.iter().map(|(kind, rows)| format!("{kind} {rows}")).collect();
    out.push(format!("kinds        {}", kinds.join(", ")));
    let (most, fewest) = (made.tools.values().max(), made.tools.values().min());
    out.push(format!("per tool     {} to {} rows", fewest.unwrap_or(&0), most.unwrap_or(&0)));
    if !made.unseen_tools.is_empty() {
        out.push(format!("unseen       {}", made.unseen_tools.join(", ")));
    }
    out.push(format!("left out     {} that asked the same, {} against their schema", made.duplicates_dropped, made.invalid_dropped));
    for cell in &made.thin {
        let (first, more) = (cell.tools.iter().take(5).cloned().collect::<Vec<_>>(), cell.tools.len().saturating_sub(5));
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        out.push(format!("thin         {} {}: {}{more}", cell.part, cell.kind, first.join(", ")));
    }
    if !made.unreachable_tools.is_empty() {
        out.push(format!("no row       {}", made.unreachable_tools.join(", ")));
    }
    if made.short_by > 0 {
        out.push(format!("short        {} rows fewer than asked for: the tools give no more different requests", made.short_by));
    }
    out.push(String::new());
    out.join("\n")
}
