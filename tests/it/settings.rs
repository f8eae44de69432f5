//! Every key of the configuration is read by some code, or on the list of those that have no effect.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() {
            sources(&entry.path(), out);
        } else if entry.path().extension().is_some_and(|e| e == "rs") {
            out.push(entry.path());
        }
    }
}

/// The name of a key's field in `RunConfig`.
fn field(key: &str) -> &str {
    if key == "base_model.type" { "family" } else { key.rsplit('.').next().unwrap_or(key) }
}

/// Whether code has one of these expressions, as such and not as text.
fn has(code: &str, wanted: &[String]) -> bool {
    let stands = |expression: &String, at: usize| {
        let after = code[at + expression.len()..].chars().next().unwrap_or(' ');
        let before = code[..at].chars().next_back().unwrap_or(' ');
        !after.is_alphanumeric() && !"_(".contains(after) && !before.is_alphanumeric() && !"_\"`".contains(before)
    };
    wanted.iter().any(|w| code.match_indices(w.as_str()).any(|(at, _)| stands(w, at)))
}

#[test]
fn every_key_is_read_or_has_no_effect() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    // What confines and displays settings does not act on them.
    let counts = |f: &PathBuf| {
        let config = f.starts_with(src.join("config")) && !f.ends_with("resolve.rs") && !f.ends_with("combinations.rs");
        !config && !f.starts_with(src.join("cli")) && !f.ends_with("mcp/roots.rs")
    };
    let code: String = files.iter().filter(|f| counts(f)).map(|f| fs::read_to_string(f).unwrap()).collect();
    let keys = tallow::config::keys();
    let mut wrong = Vec::new();
    for key in &keys {
        let (name, section) = (field(key.path), key.path.split('.').rev().nth(1).unwrap_or("config"));
        let behind = [format!("{section}.{name}"), format!("{}.{name}", &section[..1])];
        // A name that other structures have, too, counts only behind its section.
        let common = ["path", "format", "device", "enabled"].contains(&name);
        let any: Vec<String> = "abcdefghijklmnopqrstuvwxyz".chars().map(|c| format!("{c}.{name}")).collect();
        let last_words = [
            "training",
            "stage1",
            "stage2",
            "settings",
            "config",
            "stage",
            "early_stopping",
            "early",
            "base_model",
            "base",
            "lora",
            "self",
        ];
        let any = any.into_iter().chain(last_words.map(|w| format!("{w}.{name}"))).chain(behind.clone());
        let wanted: Vec<String> = if common { behind.to_vec() } else { any.collect() };
        match key.no_effect {
            None if key.acts && !has(&code, &wanted) => {
                wrong.push(format!("`{}` is accepted and nothing reads it: read it, or say so in the schema", key.path));
            }
            Some(_) if has(&code, &behind[..1]) => {
                wrong.push(format!("`{}` is said to have no effect, and something reads it", key.path));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(keys.len() > 80 && keys.iter().filter(|k| k.no_effect.is_some()).count() >= 1);
}

#[test]
fn expressions_are_told_from_text() {
    let wanted = ["t.dtype".to_owned()];
    assert!(has("match t.dtype {", &wanted));
    assert!(!has("\"t.dtype\" it.dtype t.dtypes t.dtype()", &wanted));
}
