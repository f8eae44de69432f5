//! Training data made from tools: of a file or of live servers, into a folder of JSONL files.

mod append;
mod http;
#[cfg_attr(not(feature = "program"), path = "make_tools/no_server.rs")]
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

pub use append::{AppendReport, append_rows};

use crate::base::atomic;
use crate::base::error::Fault;
use crate::data::make_tools::{MakeOptions, MakeReport, Tool, make, part_name, read_tools};

/// A request to make data from tools.
#[derive(Debug, Clone)]
pub struct MakeToolsRequest {
    /// Files of tool schemas.
    pub files: Vec<PathBuf>,
    /// Commands that start MCP servers on standard input and output.
    pub servers: Vec<String>,
    /// Addresses of MCP servers (streamable HTTP).
    pub urls: Vec<String>,
    /// Longest wait for one server, from its start to its last tool.
    pub patience: Duration,
    /// What to make.
    pub options: MakeOptions,
    /// The folder that the files go to.
    pub out: PathBuf,
}

/// Where tools came from.
#[derive(Debug, Clone, Serialize)]
pub struct ToolSource {
    /// The file, command or address.
    pub source: String,
    /// The server's own name, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Names of its tools.
    pub tools: Vec<String>,
}

/// A file that was written.
#[derive(Debug, Clone, Serialize)]
pub struct MadeFile {
    /// The part of the data.
    pub part: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Its rows.
    pub rows: usize,
}

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct MakeToolsReport {
    /// The sources and their tools.
    pub sources: Vec<ToolSource>,
    /// The files.
    pub files: Vec<MadeFile>,
    /// Counts, and what is thin.
    #[serde(flatten)]
    pub made: MakeReport,
}

/// Largest file of tool schemas.
const MOST_FILE_BYTES: u64 = 64 << 20;

/// Makes the data.
///
/// # Errors
/// Sources that cannot be read, tools of one name, options that fit no tool, and files that exist already.
pub fn run(request: &MakeToolsRequest) -> Result<MakeToolsReport, Fault> {
    let (tools, sources) = gather(request)?;
    write(&tools, sources, request)
}

/// Makes the data from tools that are at hand.
///
/// # Errors
/// As [`run`].
pub fn run_given(tools: Vec<Tool>, request: &MakeToolsRequest) -> Result<MakeToolsReport, Fault> {
    let (mut taken, mut sources) = (Vec::new(), Vec::new());
    add("the request".into(), None, tools, &mut taken, &mut sources)?;
    write(&taken, sources, request)
}

fn write(tools: &[Tool], sources: Vec<ToolSource>, request: &MakeToolsRequest) -> Result<MakeToolsReport, Fault> {
    let path_of = |part: &str| request.out.join(format!("{part}.jsonl"));
    for part in ["train", "validation", "test", "unseen"] {
        if path_of(part).exists() {
            return Err(Fault::new("already_exists", format!("{} exists already", path_of(part).display()))
                .hint("choose another folder, or remove the old files first"));
        }
    }
    let set = make(tools, &request.options)
        .map_err(|m| Fault::new("make_tools", m).hint("give more tools or other kinds, or fewer tools to keep unseen"))?;
    atomic::create_dir_all(&request.out)?;
    let mut files = Vec::new();
    for (part, rows) in &set.parts {
        let part = part_name(*part);
        write_rows(&path_of(part), rows)?;
        files.push(MadeFile { part, path: path_of(part), rows: rows.len() });
    }
    write_tools(&request.out.join("tools.json"), tools)?;
    Ok(MakeToolsReport { sources, files, made: set.report })
}

fn write_tools(path: &Path, tools: &[Tool]) -> Result<(), Fault> {
    let definitions: Vec<Value> = tools.iter().map(Tool::definition).collect();
    let text = serde_json::to_vec_pretty(&definitions).map_err(|e| Fault::new("make_tools", e.to_string()))?;
    atomic::write_file(path, &text)
}

fn write_rows(path: &Path, rows: &[Value]) -> Result<(), Fault> {
    atomic::write_with(path, |out| {
        for row in rows {
            writeln!(out, "{row}")?;
        }
        Ok(())
    })
}

/// The tools of all sources.
fn gather(request: &MakeToolsRequest) -> Result<(Vec<Tool>, Vec<ToolSource>), Fault> {
    let (mut tools, mut sources) = (Vec::new(), Vec::new());
    for file in &request.files {
        add(file.display().to_string(), None, of_file(file)?, &mut tools, &mut sources)?;
    }
    for command in &request.servers {
        let (name, found) = server::tools_of(command, request.patience)?;
        add(command.clone(), Some(name), found, &mut tools, &mut sources)?;
    }
    for url in &request.urls {
        let (name, found) = http::tools_of(url, request.patience)?;
        add(url.clone(), Some(name), found, &mut tools, &mut sources)?;
    }
    if sources.is_empty() {
        return Err(Fault::new("usage", "no tools are named").hint("name a file of tool schemas, a server's command, or its address"));
    }
    Ok((tools, sources))
}

/// The tools of a file.
///
/// # Errors
/// A file that cannot be read or holds no tools.
pub fn of_file(file: &Path) -> Result<Vec<Tool>, Fault> {
    let size = std::fs::metadata(file).map_err(|e| Fault::io("read", file, &e))?.len();
    if size > MOST_FILE_BYTES {
        return Err(Fault::new("bad_tools", format!("{} has {size} bytes: more than 64 MiB of tool schemas", file.display())));
    }
    let text = std::fs::read_to_string(file).map_err(|e| Fault::io("read", file, &e))?;
    in_words(&file.display().to_string(), &text)
}

/// The tools in a text that `source` gave.
fn in_words(source: &str, text: &str) -> Result<Vec<Tool>, Fault> {
    let tools = read_tools(text).map_err(|m| {
        Fault::new("bad_tools", format!("{source}: {m}"))
            .hint("tools are JSON as OpenAI, MCP (tools/list), Anthropic or the Berkeley leaderboard write them")
    })?;
    Ok(tools.into_iter().map(|(tool, _)| tool).collect())
}

fn add(
    source: String,
    server: Option<String>,
    found: Vec<Tool>,
    tools: &mut Vec<Tool>,
    sources: &mut Vec<ToolSource>,
) -> Result<(), Fault> {
    let names = found.iter().map(|t| t.name.clone()).collect();
    for mut tool in found {
        if tools.iter().any(|t| t.name == tool.name) {
            return Err(Fault::new("bad_tools", format!("{source}: there is a second tool called `{}`", tool.name))
                .hint("a model calls tools by name: make two data sets, or give one of the tools another name in a file"));
        }
        tool.server = server.clone().or(tool.server);
        tools.push(tool);
    }
    sources.push(ToolSource { source, server, tools: names });
    Ok(())
}
