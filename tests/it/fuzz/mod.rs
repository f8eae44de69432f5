//! Fuzzing: mutated files of every kind that comes from outside are read in a child process. None
//! may panic, crash, hang or take memory out of proportion.
//!
//! The ordinary test run tries a few inputs of each kind from a seed that is drawn and printed.
//! Longer runs, from the repository's root:
//!
//! ```text
//! TALLOW_FUZZ_SECONDS=600 cargo test --release --test it -- fuzz --nocapture
//! TALLOW_FUZZ_SEED=7 TALLOW_FUZZ_TARGET=gguf TALLOW_FUZZ_SECONDS=60 cargo test --test it -- fuzz --nocapture
//! ```
//!
//! `TALLOW_FUZZ_KEEP=FOLDER` keeps the input of each finding there.

#![allow(clippy::print_stdout)] // what was tried, for whoever repeats it

mod drive;
mod findings;
mod mutate;
mod targets;

use std::time::{Duration, Instant};

use drive::{Limits, Order};
use tallow::app::memory_limit;
use tallow::base::error::Fault;
use tallow::base::time_limit;
use targets::TARGETS;

use crate::program::Desk;

/// Inputs of each target in the ordinary test run.
const INPUTS: u64 = 60;

/// Generous: tests share the machine.
const LIMITS: Limits = Limits { seconds: 30, bytes: 2 << 30 };

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// The input that a seed and a number stand for.
fn input(target: &str, seeds: &[Vec<u8>], seed: u64, number: u64) -> Vec<u8> {
    let parts = target.bytes().fold(seed, |h, b| h.wrapping_mul(0x100_0000_01b3).wrapping_add(u64::from(b)));
    mutate::mutate(seeds, &mut fastrand::Rng::with_seed(parts ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

#[test]
#[ignore = "the other test starts it as a child process"]
fn child() {
    let Some(order) = Order::received() else { return };
    let target = targets::named(&order.target);
    let seeds = target.seeds(&order.folder);
    let scratch = tempfile::tempdir().unwrap();
    std::panic::set_hook(Box::new(|_| {}));
    // As a command: what ends at a limit is told, and no finding.
    let told = |fault: &Fault| format!("limit {}\n", fault.code);
    memory_limit::begin(memory_limit::Work::Reading, told, 1, 4).unwrap();
    time_limit::begin(move |fault| {
        println!("{}", told(fault));
        1
    })
    .unwrap();
    for number in order.first..order.first + order.count {
        println!("input {number}");
        let bytes = input(target.name, &seeds, order.seed, number);
        let read = || target.read(&order.folder, scratch.path(), &bytes);
        if let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)) {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            println!("panic {}", text.unwrap_or_default().replace('\n', " "));
        }
    }
    println!("done");
}

#[test]
fn mutated_files_of_every_kind_are_read_or_refused() {
    let desk = Desk::new();
    let corpus = targets::write_corpus(&desk);
    let seed = variable("TALLOW_FUZZ_SEED").map_or_else(|| fastrand::u64(..1 << 32), |s| s.parse().unwrap());
    let only = variable("TALLOW_FUZZ_TARGET");
    let seconds: Option<u64> = variable("TALLOW_FUZZ_SECONDS").map(|s| s.parse().unwrap());
    let first = variable("TALLOW_FUZZ_FIRST").map_or(0, |s| s.parse().unwrap());
    let mut findings = Vec::new();
    println!("seed {seed}");
    for target in TARGETS.iter().filter(|t| only.as_deref().is_none_or(|o| o == t.name)) {
        let count = if seconds.is_some() { u64::MAX / 2 } else { INPUTS };
        let order = Order { target: target.name.into(), seed, first, count, folder: corpus.clone() };
        let until = seconds.map(|s| Instant::now() + Duration::from_secs(s));
        let outcome = drive::run(order, LIMITS, until);
        println!(
            "{:<17} {:>8} inputs, {:>2} ended at a limit, {:>2} findings, slowest {:.1} s, {} MiB at most",
            target.name,
            outcome.executions,
            outcome.limited,
            outcome.findings.len(),
            outcome.slowest.as_secs_f64(),
            outcome.peak_bytes >> 20,
        );
        if let Some(keep) = variable("TALLOW_FUZZ_KEEP") {
            keep_inputs(keep.as_ref(), target, &corpus, &outcome.findings);
        }
        findings.extend(outcome.findings);
    }
    assert!(findings.is_empty(), "seed {seed}:\n{}", findings.join("\n"));
}

/// Writes the inputs of findings (`TARGET, seed S, input N: ...`) to a folder.
fn keep_inputs(keep: &std::path::Path, target: &targets::Target, corpus: &std::path::Path, findings: &[String]) {
    std::fs::create_dir_all(keep).unwrap();
    let seeds = target.seeds(corpus);
    for finding in findings {
        let numbers: Vec<u64> = finding.split([' ', ',', ':']).filter_map(|w| w.parse().ok()).take(2).collect();
        if let [seed, number] = numbers[..] {
            let bytes = input(target.name, &seeds, seed, number);
            std::fs::write(keep.join(format!("{}-{seed}-{number}", target.name)), bytes).unwrap();
        }
    }
}
