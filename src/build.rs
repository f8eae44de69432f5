//! Writes the commit that the program is built from into `TALLOW_GIT_COMMIT`, where there is a repository.

#![allow(clippy::print_stdout)] // Cargo reads a build script by its output.

use std::process::Command;

fn git(args: &[&str]) -> Option<String> {
    let out = Command::new("git").args(args).output().ok().filter(|out| out.status.success())?;
    Some(String::from_utf8(out.stdout).ok()?.trim().to_owned())
}

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    // In a work tree the log of HEAD grows with every commit; in an unpacked archive there is neither.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && std::path::Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo::rustc-env=TALLOW_GIT_COMMIT={commit}");
    }
}
