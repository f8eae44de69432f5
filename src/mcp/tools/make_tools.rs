//! Data made from tools.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::app::make_tools::{self, AppendReport, MakeToolsReport, MakeToolsRequest};
use crate::base::error::Fault;
use crate::data::make_tools::{Kind, MakeOptions, RowForm, read_tools};
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};

// How calls are written.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum FormName {
    #[default]
    Chat,
    Xml,
}

// What a row shows.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum KindName {
    Single,
    Parallel,
    MultiStep,
    Error,
    Fallback,
    Ambiguous,
    Missing,
    NoTool,
    Unavailable,
    Reasoning,
}

impl KindName {
    fn kind(self) -> Kind {
        match self {
            Self::Single => Kind::Single,
            Self::Parallel => Kind::Parallel,
            Self::MultiStep => Kind::MultiStep,
            Self::Error => Kind::Error,
            Self::Fallback => Kind::Fallback,
            Self::Ambiguous => Kind::Ambiguous,
            Self::Missing => Kind::Missing,
            Self::NoTool => Kind::NoTool,
            Self::Unavailable => Kind::Unavailable,
            Self::Reasoning => Kind::Reasoning,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MakeIn {
    /// The folder of train.jsonl, validation.jsonl, test.jsonl and tools.json.
    output_dir: String,
    /// A file of tools: OpenAI, MCP, Anthropic or BFCL form.
    tools_file: Option<String>,
    /// The tools themselves, in one of these forms.
    tools: Option<Vec<Map<String, Value>>>,
    /// Rows in all files. Default 1000.
    #[schemars(range(min = 10, max = 100_000))]
    rows: Option<u64>,
    /// Default 0.
    seed: Option<u64>,
    /// Default all but reasoning.
    kinds: Option<Vec<KindName>>,
    /// Tools that only unseen.jsonl has. Default 0.
    #[schemars(range(max = 1000))]
    unseen_tools: Option<u64>,
    /// xml: use_mcp_tool in the text. Default chat.
    #[serde(default)]
    form: FormName,
    /// Rows that you wrote, `{messages, tools?}`: each is checked against the tools and put to train.jsonl. No other row is made.
    append_rows: Option<Vec<Map<String, Value>>>,
}

/// A row that was not taken.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RefusedOut {
    /// Its index in append_rows.
    index: u64,
    why: String,
}

/// Kinds that do not fit some tools, or ran out of words.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ThinOut {
    part: String,
    kind: String,
    tools: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MakeOut {
    /// The files and their rows.
    files: BTreeMap<String, u64>,
    /// Rows by kind.
    kinds: BTreeMap<String, u64>,
    /// Rows by tool; calls by tool with append_rows.
    tools: BTreeMap<String, u64>,
    /// Rows that asked the same as another one.
    duplicates: u64,
    /// The first 50 rows that were refused.
    refused: Vec<RefusedOut>,
    thin: Vec<ThinOut>,
    /// Tools without any row.
    unreachable_tools: Vec<String>,
}

const MOST_REFUSED: usize = 50;

/// generate_tool_dataset
pub(super) struct Make;

impl Tool for Make {
    const NAME: &'static str = "generate_tool_dataset";
    const TITLE: &'static str = "Make training data from tools";
    const ABOUT: &'static str = "Requests and right calls from the schemas of tools, split into files; or check rows that you wrote \
        (append_rows) and add them.";
    const HINTS: Hints = Hints::MAKE;
    const LANE: Lane = Lane::Data;
    type In = MakeIn;
    type Out = MakeOut;

    fn call(input: MakeIn, shared: &Shared, _: &Call) -> Result<MakeOut, Fault> {
        let out = shared.roots.allow(&input.output_dir)?;
        let mut tools = Vec::new();
        if let Some(file) = &input.tools_file {
            tools.extend(make_tools::of_file(&shared.roots.allow(file)?)?);
        }
        if let Some(list) = &input.tools {
            let text = Value::from_iter(list.iter().cloned()).to_string();
            let read = read_tools(&text).map_err(|m| Fault::new("bad_tools", format!("tools: {m}")))?;
            tools.extend(read.into_iter().map(|(tool, _)| tool));
        }
        if let Some(rows) = input.append_rows {
            let rows: Vec<Value> = rows.into_iter().map(Value::Object).collect();
            let tools = Some(tools).filter(|t| !t.is_empty());
            return Ok(of_append(make_tools::append_rows(&out, tools, &rows)?));
        }
        let options = MakeOptions {
            rows: within("rows", input.rows.unwrap_or(1000), 10, 100_000)? as usize,
            seed: input.seed.unwrap_or(0),
            kinds: input.kinds.map_or_else(|| MakeOptions::default().kinds, |k| k.into_iter().map(KindName::kind).collect()),
            unseen_tools: within("unseen_tools", input.unseen_tools.unwrap_or(0), 0, 1000)? as usize,
            form: if matches!(input.form, FormName::Xml) { RowForm::Xml } else { RowForm::Chat },
            ..MakeOptions::default()
        };
        let (files, servers, urls) = (Vec::new(), Vec::new(), Vec::new());
        let request = MakeToolsRequest { files, servers, urls, patience: Duration::ZERO, options, out };
        Ok(of_made(make_tools::run_given(tools, &request)?))
    }
}

fn counts<K: ToString>(of: impl IntoIterator<Item = (K, usize)>) -> BTreeMap<String, u64> {
    of.into_iter().map(|(name, count)| (name.to_string(), count as u64)).collect()
}

fn of_made(report: MakeToolsReport) -> MakeOut {
    let made = report.made;
    let thin = |c: crate::data::make_tools::Cell| ThinOut { part: c.part.to_owned(), kind: c.kind.to_owned(), tools: c.tools };
    MakeOut {
        files: counts(report.files.iter().map(|f| (f.path.display(), f.rows))),
        kinds: counts(made.kinds),
        tools: counts(made.tools),
        duplicates: made.duplicates_dropped as u64,
        refused: Vec::new(),
        thin: made.thin.into_iter().map(thin).collect(),
        unreachable_tools: made.unreachable_tools,
    }
}

fn of_append(report: AppendReport) -> MakeOut {
    let appended = report.appended;
    let refused = appended.refused.into_iter().take(MOST_REFUSED);
    let unreachable = appended.calls.iter().filter(|(_, calls)| **calls == 0).map(|(name, _)| name.clone()).collect();
    MakeOut {
        files: counts([(report.path.display(), report.rows)]),
        kinds: BTreeMap::new(),
        tools: counts(appended.calls),
        duplicates: appended.duplicates as u64,
        refused: refused.map(|(index, why)| RefusedOut { index: index as u64, why }).collect(),
        thin: Vec::new(),
        unreachable_tools: unreachable,
    }
}
