//! What a use case says to people at a shell, said to a client of tools: hints name tools and arguments, never flags.

use serde_json::Value;

use crate::base::error::Fault;

/// Words for the shell, and what stands for them here.
const WORDS: [(&str, &str); 23] = [
    ("`tallow runs list`", "list_runs"),
    ("`tallow models list`", "list_model_versions"),
    ("`tallow models promote VERSION`", "promote_model"),
    ("`tallow data check FILE`", "validate_dataset"),
    ("(tallow data check --show 1)", "(validate_dataset with show: 1)"),
    ("`tallow init`", "generate_fine_tuning_project"),
    ("`tallow doctor`", "check_installation"),
    ("`tallow plan .`", "plan_training"),
    ("`tallow plan`", "plan_training"),
    ("`tallow train`", "a training run at a shell"),
    ("choose another --out", "choose another export_path"),
    ("--format safetensors", "export_format: safetensors"),
    ("leave --imatrix out, or choose", "choose"),
    ("give --imatrix FILE, or --run RUN", "name a run"),
    ("give --adapter DIR", "name an adapter folder, or a run"),
    ("use --prompt with --raw, or add", "give `prompt` instead of `messages`, or add"),
    ("say that it shall be public (--public)", "choose a private repository"),
    ("for example --set training.stage1.learning_rate=1e-4", "for example {\"training.stage1.learning_rate\": 1e-4}"),
    ("give a smaller --batch", "choose a smaller batch"),
    ("all keys are listed in docs/configuration.md", "describe_config lists all keys"),
    ("set device: cpu (or auto); GPUs need a build with `cargo build --release --features cuda`", "set device: cpu (or auto)"),
    ("cargo build --release --features cuda", "a build of this program with CUDA"),
    ("build with --release", "use a release build"),
];

/// A fault as a client of tools reads it.
pub(super) fn for_tools(fault: Fault) -> Fault {
    let message = remark(&fault.message);
    let hint = fault.hint.map(|hint| without_flags(&translated(&hint), true)).filter(|hint| !hint.is_empty());
    Fault { code: fault.code, message, hint }
}

/// Members of answers that hold remarks for a person.
const REMARKS: [&str; 3] = ["warnings", "notes", "remarks"];

/// Translates the remarks of an answer, wherever they stand in it.
pub(super) fn in_answer(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(in_answer),
        Value::Object(map) => map.iter_mut().for_each(|(name, value)| match value {
            Value::Array(all) if REMARKS.contains(&name.as_str()) => {
                all.iter_mut().for_each(|v| match v {
                    Value::String(text) => *text = remark(text),
                    other => in_answer(other),
                });
            }
            value => in_answer(value),
        }),
        _ => {}
    }
}

fn remark(text: &str) -> String {
    without_flags(&translated(text).replace("--set: ", "override_params: "), false)
}

fn translated(text: &str) -> String {
    WORDS.iter().fold(text.to_owned(), |text, (from, to)| if text.contains(from) { text.replace(from, to) } else { text })
}

/// Whether a text speaks of a flag or of a command.
fn is_for_a_shell(text: &str) -> bool {
    let flag = |at: usize| text[at + 2..].starts_with(|c: char| c.is_ascii_lowercase());
    text.contains("`tallow ") || text.match_indices("--").any(|(at, _)| flag(at))
}

/// Parts of a hint that only a shell understands are left out: brackets, then clauses.
fn without_flags(text: &str, drop_clauses: bool) -> String {
    let mut text = text.to_owned();
    while is_for_a_shell(&text) {
        let bracket = text.match_indices('(').find_map(|(from, _)| {
            let to = from + text[from..].find(')')?;
            is_for_a_shell(&text[from..=to]).then_some((from, to))
        });
        let Some((from, to)) = bracket else { break };
        text.replace_range(text[..from].trim_end().len()..=to, "");
    }
    if !drop_clauses || !is_for_a_shell(&text) {
        return text;
    }
    let clauses = text.split("; ").flat_map(|part| part.split(", or ")).filter(|part| !is_for_a_shell(part));
    clauses.map(|part| part.trim_start_matches("or ")).collect::<Vec<_>>().join(", or ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// String literals of a source file, near enough.
    fn literals(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        let mut rest = text;
        while let Some(from) = rest.find('"') {
            let mut end = from + 1;
            let bytes = rest.as_bytes();
            while end < bytes.len() && bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            all.push(rest.get(from + 1..end).unwrap_or_default().to_owned());
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        all
    }

    fn sources(dir: &Path, all: &mut Vec<String>) {
        for path in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() && !path.ends_with("cli") && !path.ends_with("mcp") {
                sources(&path, all);
            } else if path.extension().is_some_and(|e| e == "rs") {
                all.push(std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn no_hint_of_any_use_case_names_a_flag() {
        let mut all = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
        let mut seen = 0;
        for text in &all {
            let code = text.split("mod tests {").next().unwrap();
            // What follows `hint` closely is one: calls, fields and tables of them.
            for at in code.match_indices("hint").map(|(at, _)| at) {
                let mut end = code.len().min(at + 400);
                while !code.is_char_boundary(end) {
                    end -= 1;
                }
                for literal in literals(&code[at..end]).iter().filter(|l| is_for_a_shell(l)) {
                    seen += 1;
                    let fault = for_tools(Fault::new("x", "m").hint(literal.clone()));
                    assert!(!fault.hint.as_deref().is_some_and(is_for_a_shell), "{literal}: {fault:?}");
                }
            }
        }
        assert!(seen > 10, "{seen}");
    }

    #[test]
    fn words_of_a_shell_become_tools() {
        let check = |hint: &str, want: Option<&str>| {
            assert_eq!(for_tools(Fault::new("x", "m").hint(hint)).hint.as_deref(), want, "{hint}");
        };
        check("`tallow runs list` shows the runs of a project", Some("list_runs shows the runs of a project"));
        check("choose another --out, or remove it first", Some("choose another export_path, or remove it first"));
        check("set dataset.output_field: a (or --output-field a)", Some("set dataset.output_field: a"));
        check("use fewer rows, or give --something new", Some("use fewer rows"));
        check("press --any", None);
        let fault = for_tools(Fault::new("config_invalid", "--set: `training.x`: unknown key"));
        assert_eq!(fault.message, "override_params: `training.x`: unknown key");
        let mut answer =
            serde_json::json!({"parts": [{"warnings": ["--set: `a.b`: 5 steps (see `tallow plan`)"]}], "usage": ["x --set: y"]});
        in_answer(&mut answer);
        let wanted = "override_params: `a.b`: 5 steps (see plan_training)";
        assert_eq!(answer, serde_json::json!({"parts": [{"warnings": [wanted]}], "usage": ["x --set: y"]}));
    }
}
