//! A model on the files of the Berkeley Function-Calling Leaderboard.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::groups::Labels;
use super::judge::{Judged, answer, load, open};
use super::turns::{Asked, Reading, Turn};
use super::{Contender, ScoreRequest};
use crate::base::error::Fault;
use crate::data::calls::{ToolCall, parse};
use crate::data::{TextTokenizer, prompt_of};
use crate::eval::Table;
use crate::eval::tools::bfcl::{self, Question};

/// The questions of one file.
pub(super) struct Category {
    /// The file's name without version and ending: `live_simple`.
    name: String,
    questions: Vec<Question>,
}

/// The questions of a file, or of all files of a folder that hold a category of one turn, at most
/// `max_rows` of each.
pub(super) fn read(request: &ScoreRequest) -> Result<Vec<Category>, Fault> {
    let mut all = Vec::new();
    for file in files(&request.data)? {
        let mut questions = bfcl::read(&file).map_err(|e| {
            Fault::new("bad_questions", e.to_string()).hint(
                "give a file of the leaderboard such as BFCL_v4_simple_python.json with its answers in possible_answer/ beside it, \
                 or the folder of such files",
            )
        })?;
        questions.truncate(request.max_rows.unwrap_or(usize::MAX));
        let stem = file.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
        let name = stem.strip_prefix("BFCL_v").and_then(|s| s.split_once('_')).map_or(stem, |(_, name)| name).to_owned();
        if !questions.is_empty() {
            all.push(Category { name, questions });
        }
    }
    if all.is_empty() {
        return Err(Fault::new("bad_questions", format!("{}: there is no question", request.data.display())));
    }
    Ok(all)
}

fn files(data: &Path) -> Result<Vec<PathBuf>, Fault> {
    if !data.is_dir() {
        return Ok(vec![data.to_owned()]);
    }
    let entries = std::fs::read_dir(data).map_err(|e| Fault::io("read", data, &e))?;
    let paths: Vec<PathBuf> =
        entries.map(|e| Ok(e?.path())).collect::<Result<_, std::io::Error>>().map_err(|e| Fault::io("read", data, &e))?;
    let mut files: Vec<PathBuf> = paths.into_iter().filter(|p| bfcl::is_questions(p)).collect();
    files.sort_unstable();
    if files.is_empty() {
        return Err(Fault::new("bad_questions", format!("{}: no file of the leaderboard lies in this folder", data.display()))
            .hint("its files are called BFCL_v4_CATEGORY.json, of a category with one turn"));
    }
    Ok(files)
}

/// Category and id of each question, by its number.
pub(super) fn labels(categories: &[Category]) -> Labels {
    let all = categories.iter().flat_map(|c| c.questions.iter().map(|q| (&c.name, q)));
    all.enumerate().map(|(i, (name, q))| (i as u64 + 1, json!({"category": name, "id": q.id}))).collect()
}

/// Asks the questions and judges the answers by the leaderboard's rules.
pub(super) fn judge(
    request: &ScoreRequest,
    contender: &Contender,
    categories: &[Category],
    go_on: &dyn Fn() -> bool,
) -> Result<Judged, Fault> {
    let (folder, mut tokenizer) = open(contender)?;
    let variables = &request.options.template_variables;
    // A template that knows no tools gets a form of tool calls before it, as in training on such rows.
    tokenizer.add_tool_form()?;
    tokenizer.set_template_variables(variables)?;
    let mut loaded = load(contender, &folder, &tokenizer)?;
    let questions: Vec<&Question> = categories.iter().flat_map(|c| &c.questions).collect();
    let row = |(i, q): (usize, &&Question)| asked(i + 1, q, &tokenizer, variables);
    let rows = questions.iter().enumerate().map(row).collect::<Result<Vec<_>, _>>()?;
    let stop = loaded.stop.clone();
    let reading = Reading { tokenizer: &tokenizer, calls: true, stop: &stop, data: &request.data };
    let answers = answer(request, &mut loaded, &reading, &rows, go_on)?;
    let verdicts: Vec<bfcl::Verdict> =
        questions.iter().zip(&answers).map(|(q, a)| bfcl::check(q, &parse(a.first().map_or("", String::as_str)))).collect();
    let values: Vec<f64> = verdicts.iter().map(|v| f64::from(u8::from(v.valid))).collect();
    Ok(Judged {
        quantization: loaded.decoder.quantization().name().to_owned(),
        rows,
        without_prompt: 0,
        tables: vec![Table::given("bfcl", &values)],
        rubric: Vec::new(),
        answers,
        faults: verdicts.into_iter().map(|v| v.error_type).collect(),
        cost: loaded.cost,
    })
}

fn asked(number: usize, q: &Question, tokenizer: &TextTokenizer, variables: &Map<String, Value>) -> Result<Asked, Fault> {
    let tools = q.tools();
    let prompt = prompt_of(tokenizer, &q.messages, &Value::from(tools.clone()), variables).map_err(|m| {
        Fault::new("bad_questions", format!("{}: the chat template refuses the question: {m}", q.id))
            .hint("use a model with a chat template that takes tools")
    })?;
    let expected = bfcl::perfect(q);
    let turn = Turn { ids: prompt.ids, prompt: prompt.text, wanted: wanted(q, &expected), expected };
    Ok(Asked { number, line: number as u64, turns: vec![turn], tools })
}

/// A right answer in words.
fn wanted(q: &Question, calls: &[ToolCall]) -> String {
    match q.expect {
        bfcl::Expect::Irrelevance => "no call".into(),
        bfcl::Expect::Relevance => "any call".into(),
        _ => {
            let call = |c: &ToolCall| json!({"name": c.name, "arguments": c.arguments}).to_string();
            calls.iter().map(call).collect::<Vec<_>>().join("\n")
        }
    }
}
