//! The rows of the architecture: a module imports only from rows above it, and peers leave each other alone.

use std::fs;
use std::path::{Path, PathBuf};

/// Rows from the top. `build.rs`, `lib.rs` and `main.rs` stand outside.
const ROWS: [&[&str]; 13] = [
    &["base"],
    &["config"],
    &["data"],
    &["model"],
    &["train"],
    &["eval"],
    &["export"],
    &["runs"],
    &["track", "cloud", "search"],
    &["app"],
    &["mcp"],
    &["web", "serve"],
    &["cli"],
];

fn row(room: &str) -> usize {
    ROWS.iter().position(|r| r.contains(&room)).unwrap_or_else(|| panic!("src/{room} has no row: add it here and to ARCHITECTURE.md"))
}

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), out);
        } else if entry.path().extension().is_some_and(|e| e == "rs") {
            out.push(entry.path());
        }
    }
}

/// Rooms that a file names: `crate::room` anywhere, and `use crate::{room..., room...}`.
fn imports(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    let code = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    for after in code.split("crate::").skip(1) {
        let names: Vec<&str> = match after.strip_prefix('{') {
            Some(list) => {
                let mut depth = 0;
                let top: String = list
                    .chars()
                    .take_while(|c| {
                        depth += i32::from(*c == '{') - i32::from(*c == '}');
                        depth >= 0
                    })
                    .collect();
                rooms.extend(top.split(',').map(|part| part.trim().split("::").next().unwrap_or("").to_owned()));
                Vec::new()
            }
            None => vec![after],
        };
        let ident = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        rooms.extend(names.into_iter().map(ident));
    }
    rooms.retain(|r| ROWS.iter().any(|row| row.contains(&r.as_str())));
    rooms
}

#[test]
fn a_row_imports_only_rows_above_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for entry in fs::read_dir(&src).unwrap().flatten().filter(|e| e.path().is_dir()) {
        let room = entry.file_name().into_string().unwrap();
        let own = row(&room);
        let mut all = Vec::new();
        files(&entry.path(), &mut all);
        for file in all {
            for other in imports(&fs::read_to_string(&file).unwrap()) {
                seen += 1;
                if other != room && row(&other) >= own {
                    wrong.push(format!("{} imports {other}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 100, "the test no longer finds imports");
    assert_eq!(imports("use crate::{base::error, data};\nlet x = crate::model::spec();"), ["base", "data", "model"]);
}

#[test]
fn only_the_command_line_prints() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&src, &mut all);
    let prints = ["println!", "eprintln!", "print!(", "std::io::stdout", "std::io::stderr", "io::stdout()"];
    let wrong: Vec<_> = all
        .iter()
        // The process of an isolated call, or of a loaded model, answers its server on standard output.
        .filter(|f| {
            !f.starts_with(src.join("cli"))
                && !f.ends_with("build.rs")
                && !f.ends_with("mcp/isolate.rs")
                && !f.ends_with("mcp/warm/hold.rs")
        })
        .filter(|f| {
            fs::read_to_string(f).unwrap().lines().any(|l| !l.trim_start().starts_with("//") && prints.iter().any(|p| l.contains(p)))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
