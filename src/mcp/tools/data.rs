//! Datasets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::data;
use crate::app::info::context_of;
use crate::base::error::Fault;
use crate::data::{DataOptions, Fields, Layout};
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Hints, Shared, Tool, within};

// How a row is laid out; auto looks at the fields.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum LayoutName {
    #[default]
    Auto,
    Alpaca,
    Chat,
    Sharegpt,
    Completion,
    Text,
}

impl LayoutName {
    pub(super) fn layout(self) -> Option<Layout> {
        match self {
            Self::Auto => None,
            Self::Alpaca => Some(Layout::Alpaca),
            Self::Chat => Some(Layout::Chat),
            Self::Sharegpt => Some(Layout::Sharegpt),
            Self::Completion => Some(Layout::Completion),
            Self::Text => Some(Layout::Text),
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DatasetIn {
    /// The file: JSONL, CSV or Parquet.
    dataset: String,
    /// Whose tokenizer and chat template are used. Default embedded.
    model: Option<String>,
    /// Default auto.
    #[serde(default)]
    layout: LayoutName,
    /// Field of the instruction or prompt.
    instruction_field: Option<String>,
    /// Field of the answer.
    output_field: Option<String>,
    /// Rows are cut at this many tokens. Default 2048.
    #[schemars(range(min = 2, max = 16_777_216))]
    max_seq_length: Option<u64>,
    /// Examples to show with their trained parts. Default 0.
    #[schemars(range(min = 0, max = 20))]
    show: Option<u64>,
}

impl DatasetIn {
    /// A look at the first examples of a file.
    pub(super) fn showing(dataset: String, model: Option<String>, show: u64) -> Self {
        let (instruction_field, output_field, max_seq_length) = (None, None, None);
        Self { dataset, model, layout: LayoutName::Auto, instruction_field, output_field, max_seq_length, show: Some(show) }
    }
}

pub(super) fn look(input: &DatasetIn, shared: &Shared, profile: bool) -> Result<data::DataReport, Fault> {
    let mut fields = Fields::default();
    if let Some(name) = &input.instruction_field {
        (fields.instruction, fields.prompt) = (name.clone(), name.clone());
    }
    if let Some(name) = &input.output_field {
        (fields.output, fields.completion) = (name.clone(), name.clone());
    }
    let max_seq_length = within("max_seq_length", input.max_seq_length.unwrap_or(2048), 2, 1 << 24)? as usize;
    data::run(&data::DataRequest {
        file: shared.roots.allow(&input.dataset)?,
        model: shared.roots.model(input.model.as_deref().unwrap_or("embedded"))?,
        options: DataOptions { layout: input.layout.layout(), fields, max_seq_length, ..DataOptions::default() },
        chat_template: None,
        show: within("show", input.show.unwrap_or(0), 0, 20)? as usize,
        profile,
    })
}

/// A row that cannot be used, or is left out.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ProblemOut {
    /// File and line.
    at: String,
    /// Stable name.
    code: String,
    message: String,
    /// True: skipped and reported. False: an error, training refuses the file.
    skipped: bool,
}

/// A part of an example.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SegmentOut {
    text: String,
    /// Whether the loss covers it.
    trained: bool,
}

/// An example as the model sees it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ExampleOut {
    /// File and line.
    at: String,
    tokens: u64,
    trained_tokens: u64,
    segments: Vec<SegmentOut>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ValidateOut {
    /// Whether training takes the file.
    valid: bool,
    rows: u64,
    usable_rows: u64,
    bad_rows: u64,
    skipped_rows: u64,
    /// How the rows were read.
    layout: Option<String>,
    /// The first 50 problems.
    problems: Vec<ProblemOut>,
    more_problems: u64,
    warnings: Vec<String>,
    examples: Vec<ExampleOut>,
}

const MOST_PROBLEMS: usize = 50;

pub(super) fn examples(report: &data::DataReport) -> Vec<ExampleOut> {
    let example = |s: &data::Shown| ExampleOut {
        at: s.at.clone(),
        tokens: s.tokens as u64,
        trained_tokens: s.trained_tokens as u64,
        segments: s.segments.iter().map(|p| SegmentOut { text: p.text.clone(), trained: p.trained }).collect(),
    };
    report.shown.iter().map(example).collect()
}

/// A length that the model was not made for.
fn beyond_context(input: &DatasetIn, shared: &Shared) -> Vec<String> {
    let Some(length) = input.max_seq_length else { return Vec::new() };
    let name = shared.roots.model(input.model.as_deref().unwrap_or("embedded"));
    let context = name.and_then(|name| context_of(&name)).unwrap_or(usize::MAX) as u64;
    if length <= context {
        return Vec::new();
    }
    vec![format!("max_seq_length {length} is beyond the model's context of {context} tokens: it has never seen such positions")]
}

fn layout(report: &data::DataReport) -> Option<String> {
    report.check.files.first().and_then(|f| f.layout).map(|l| l.name().to_owned())
}

/// validate_dataset
pub(super) struct Validate;

impl Tool for Validate {
    const NAME: &'static str = "validate_dataset";
    const TITLE: &'static str = "Validate a dataset";
    const ABOUT: &'static str = "Read every row of a file as training would and report each bad one; `show` shows what is trained.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Data;
    type In = DatasetIn;
    type Out = ValidateOut;

    fn call(input: DatasetIn, shared: &Shared, _: &Call) -> Result<ValidateOut, Fault> {
        let report = look(&input, shared, false)?;
        let c = &report.check;
        let problems = c.problems.iter().take(MOST_PROBLEMS).map(|p| ProblemOut {
            at: p.at.to_string(),
            code: p.code.to_owned(),
            message: p.message.clone(),
            skipped: p.skipped,
        });
        Ok(ValidateOut {
            valid: c.bad_rows == 0 && c.usable_rows > 0,
            rows: c.rows as u64,
            usable_rows: c.usable_rows as u64,
            bad_rows: c.bad_rows as u64,
            skipped_rows: c.skipped_rows as u64,
            layout: layout(&report),
            problems: problems.collect(),
            warnings: beyond_context(&input, shared),
            more_problems: c.problems.len().saturating_sub(MOST_PROBLEMS) as u64,
            examples: examples(&report),
        })
    }
}

/// A sign of poor quality.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SignOut {
    name: String,
    rows: u64,
    /// The first five.
    first: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StatsOut {
    rows: u64,
    usable_rows: u64,
    /// How the rows were read.
    layout: Option<String>,
    /// SHA-256 of each file.
    sha256: Vec<String>,
    /// Tokens in all examples.
    tokens: u64,
    /// Tokens that the loss covers.
    trained_tokens: u64,
    /// All counts: lengths and their spread, rows cut or left out, unknown tokens.
    counts: Map<String, Value>,
    /// Signs of poor quality that occur; none of them removes a row.
    signs: Vec<SignOut>,
    /// Rows that nearly repeat an earlier one.
    near_duplicates: u64,
    /// Calls by tool.
    calls: Map<String, Value>,
    /// Tools that are offered and never called.
    never_called: Vec<String>,
    examples: Vec<ExampleOut>,
}

/// dataset_stats
pub(super) struct Stats;

impl Tool for Stats {
    const NAME: &'static str = "dataset_stats";
    const TITLE: &'static str = "Describe a dataset";
    const ABOUT: &'static str =
        "Rows, token counts and lengths, duplicates, conflicting answers, calls by tool and other signs of poor quality.";
    const HINTS: Hints = Hints::LOOK.reaching_out();
    const LANE: Lane = Lane::Data;
    type In = DatasetIn;
    type Out = StatsOut;

    fn call(input: DatasetIn, shared: &Shared, _: &Call) -> Result<StatsOut, Fault> {
        let report = look(&input, shared, true)?;
        let c = &report.check;
        let object = |v: Value| v.as_object().cloned().unwrap_or_default();
        let signs = object(json!(c.signs)).into_iter().filter(|(_, sign)| sign["rows"].as_u64() > Some(0));
        let places = |sign: &Value| sign["first"].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect();
        Ok(StatsOut {
            rows: c.rows as u64,
            usable_rows: c.usable_rows as u64,
            layout: layout(&report),
            sha256: c.files.iter().map(|f| f.sha256.clone()).collect(),
            tokens: c.counts.as_ref().map_or(0, |n| n.tokens),
            trained_tokens: c.counts.as_ref().map_or(0, |n| n.trained_tokens),
            counts: object(json!(c.counts)),
            signs: signs.map(|(name, s)| SignOut { name, rows: s["rows"].as_u64().unwrap_or(0), first: places(&s) }).collect(),
            near_duplicates: report.profile.as_ref().map_or(0, |p| p.near_duplicates as u64),
            calls: report.profile.iter().flat_map(|p| &p.tools).map(|t| (t.name.clone(), json!(t.calls))).collect(),
            never_called: report.profile.as_ref().map_or(Vec::new(), |p| p.never_called.clone()),
            examples: examples(&report),
        })
    }
}
