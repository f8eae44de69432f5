//! Documents that say what the code says.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The part of a file between two marks; with `TALLOW_BLESS` set it is written anew.
fn part_is(file: &str, name: &str, wanted: &str) {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let path = root(file);
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{file} has no {begin}"));
    let (old, tail) = rest.split_once(&end).unwrap_or_else(|| panic!("{file} has no {end}"));
    if std::env::var_os("TALLOW_BLESS").is_some() {
        fs::write(&path, format!("{head}{begin}{wanted}{end}{tail}")).unwrap();
        return;
    }
    assert!(old == wanted, "{file}: `{name}` is out of date; TALLOW_BLESS=1 cargo test --test it documents");
}

#[test]
fn the_list_of_keys_is_the_schema() {
    part_is("docs/configuration.md", "keys", &tallow::config::reference_markdown());
}

#[test]
fn every_subcommand_is_in_the_manual() {
    fn walk(command: &clap::Command, path: &str, out: &mut String) {
        for sub in command.get_subcommands().filter(|s| s.get_name() != "help" && !s.is_hide_set()) {
            let name = format!("{path} {}", sub.get_name());
            if sub.has_subcommands() {
                walk(sub, &name, out);
            } else {
                out.push_str(&format!("| `{name}` | {} |\n", sub.get_about().map(ToString::to_string).unwrap_or_default()));
            }
        }
    }
    let mut table = "| command | what it does |\n|---|---|\n".to_owned();
    walk(&tallow::cli::Cli::command(), "tallow", &mut table);
    part_is("README.md", "commands", &table);
}
