//! Stopping, being killed and going on: the result is the one of a run that was never interrupted, to the bit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::program::Desk;

const STEPS: usize = 48;
const KILLS: u64 = 20;

fn adapter(run: &Path) -> Vec<u8> {
    fs::read(run.join("final-model/adapter_model.safetensors")).unwrap()
}

/// The loss of every step as the run wrote it down.
fn losses(run: &Path) -> Vec<(u64, f64)> {
    let rows = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let rows = rows.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    rows.filter_map(|r| Some((r["step"].as_u64()?, r["loss"].as_f64()?))).collect()
}

fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(run.join("stage1/checkpoints")).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

/// A desk with a project and the run that nothing interrupted; the run's time in seconds.
fn uninterrupted() -> (Desk, Vec<u8>, Vec<(u64, f64)>, f64) {
    let desk = Desk::new();
    desk.project(STEPS, "  gradient_accumulation: 2\n");
    let start = Instant::now();
    desk.ok(&["train", "project"]);
    let seconds = start.elapsed().as_secs_f64();
    let run = desk.only_run();
    let (whole, curve) = (adapter(&run), losses(&run));
    assert_eq!(curve.len(), STEPS);
    assert!(curve[STEPS - 1].1 < curve[0].1, "nothing was learned: {curve:?}");
    fs::remove_dir_all(desk.path().join("project/runs")).unwrap();
    (desk, whole, curve, seconds)
}

#[test]
fn killed_at_any_moment_and_resumed_it_ends_the_same() {
    let (desk, whole, curve, seconds) = uninterrupted();
    let mut random = tallow::data::Rng::for_parts(&[20_261_121]);
    let mut in_training = 0;
    for round in 0..KILLS {
        let mut child = desk.command(&["train", "project", "--quiet"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // A quarter of them at any moment, the start and the end included; the others after so many steps, however long those take.
        let steps = (round % 4 != 0).then(|| (random.unit() * STEPS as f64 * 0.75) as usize);
        if let Some(steps) = steps {
            let runs = desk.path().join("project/runs");
            let logged = || fs::read_dir(&runs).into_iter().flatten().flatten().map(|e| losses_or_none(&e.path()).len()).max().unwrap_or(0);
            while logged() <= steps && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let wait = random.unit() * if steps.is_some() { seconds / STEPS as f64 } else { seconds };
        std::thread::sleep(Duration::from_secs_f64(wait));
        child.kill().unwrap();
        child.wait().unwrap();
        let started = desk.path().join("project/runs").is_dir()
            && fs::read_dir(desk.path().join("project/runs")).unwrap().flatten().any(|e| e.path().join("run-manifest.json").is_file());
        let run = if started {
            let run = desk.only_run();
            in_training += usize::from(!losses_or_none(&run).is_empty() && !run.join("final-model").exists());
            let status = desk.json(&["runs", "list", "project"])["runs"][0]["status"].as_str().unwrap().to_owned();
            if status != "finished" {
                assert!(status == "interrupted" || status == "created", "round {round}: {status}");
                desk.ok(&["train", "project", "--resume", "latest"]);
            }
            run
        } else {
            // Killed before there was a run: nothing to resume, and nothing half-made in the way.
            desk.ok(&["train", "project"]);
            desk.only_run()
        };
        assert!(adapter(&run) == whole, "round {round}: killed after {steps:?} steps and {wait:.3} s, the result differs");
        assert_eq!(losses(&run), curve, "round {round}");
        let left: Vec<_> = desk.files().into_iter().filter(|f| f.contains(".tmp")).collect();
        assert!(left.is_empty(), "round {round}: {left:?}");
        fs::remove_dir_all(desk.path().join("project/runs")).unwrap();
    }
    assert!(in_training >= KILLS as usize / 4, "only {in_training} kills fell into the training");
}

fn losses_or_none(run: &Path) -> Vec<(u64, f64)> {
    let rows = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    let rows = rows.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    rows.filter_map(|r| Some((r["step"].as_u64()?, r["loss"].as_f64()?))).collect()
}

#[test]
fn a_damaged_checkpoint_is_skipped_with_a_word() {
    let (desk, whole, curve, _) = uninterrupted();
    let said = desk.ok(&["train", "project", "--stop-after", "14"]);
    assert!(said.out.contains("--resume"), "{}", said.out);
    let run = desk.only_run();
    let newest = checkpoints(&run).pop().unwrap();
    let file = newest.join("adapter_model.safetensors");
    let file = if file.is_file() {
        file
    } else {
        fs::read_dir(&newest).unwrap().map(|e| e.unwrap().path()).find(|p| p.extension().is_some_and(|e| e == "safetensors")).unwrap()
    };
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let said = desk.ok(&["train", "project", "--resume", "latest"]);
    let name = newest.file_name().unwrap().to_str().unwrap();
    assert!(said.err.contains("warning") && said.err.contains(name), "{}", said.err);
    assert!(adapter(&run) == whole);
    assert_eq!(losses(&run), curve);
}

#[cfg(unix)]
#[test]
fn a_signal_finishes_the_step_and_exits_well() {
    let (desk, whole, _, _) = uninterrupted();
    let mut child = desk.command(&["train", "project"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let runs = desk.path().join("project/runs");
    let begun = || runs.is_dir() && fs::read_dir(&runs).unwrap().flatten().any(|e| !losses_or_none(&e.path()).is_empty());
    let deadline = Instant::now() + Duration::from_secs(120);
    while !begun() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(0));
    let mut out = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut out).unwrap();
    let run = desk.only_run();
    if !run.join("final-model").exists() {
        assert!(out.contains("stopped") && out.contains("--resume"), "{out}");
        let stopped = losses(&run).len();
        assert!((1..STEPS).contains(&stopped), "{stopped}");
        assert_eq!(checkpoints(&run).len().min(1), 1);
        desk.ok(&["train", "project", "--resume", "latest"]);
    }
    assert!(adapter(&run) == whole);
}

#[test]
fn a_run_belongs_to_one_process_and_ends_once() {
    let desk = Desk::new();
    desk.project(6, "");
    desk.ok(&["train", "project", "--stop-after", "2"]);
    let run = desk.only_run();
    let lock = fs::File::options().append(true).open(run.join("run.lock")).unwrap();
    lock.lock().unwrap();
    let said = desk.run(&["train", "project", "--resume", "latest"]);
    assert!(said.code == 1 && said.err.contains("another process"), "{}", said.err);
    drop(lock);
    desk.ok(&["train", "project", "--resume", "latest"]);
    let said = desk.run(&["train", "project", "--resume", "latest"]);
    assert!(said.code == 1 && said.err.contains("finished"), "{}", said.err);
}
