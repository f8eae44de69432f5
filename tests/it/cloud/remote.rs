//! Runs on another machine: this one, through a real SSH server of its own with keys of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Draws;
use super::sshd::{Sshd, keygen, program, user};
use crate::program::{Desk, Said, said};

/// Steps of most runs here.
pub const STEPS: usize = 20;

fn train_args(desk: &Desk, sshd: &Sshd) -> Vec<String> {
    let host = format!("{}@127.0.0.1", user());
    let dir = desk.path().join("sshd");
    let words = [
        "remote",
        "train",
        &host,
        "project",
        "--port",
        &sshd.port.to_string(),
        "--identity",
        &dir.join("client").display().to_string(),
        "--known-hosts",
        &dir.join("known").display().to_string(),
        "--program",
        &program(desk),
    ];
    words.map(str::to_owned).into()
}

fn run(desk: &Desk, args: &[String]) -> Said {
    said(&command(desk, args).output().unwrap())
}

fn command(desk: &Desk, args: &[String]) -> Command {
    desk.command(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

fn json(desk: &Desk, args: &[String], code: i32) -> Value {
    let out = run(desk, &[args, &["--json".into()]].concat());
    assert_eq!(out.code, code, "{}\n{}", out.out, out.err);
    serde_json::from_str(&out.out).unwrap()
}

pub fn adapter(run: &Path) -> Vec<u8> {
    fs::read(run.join("final-model/adapter_model.safetensors")).unwrap()
}

/// What training the project of a desk here gives, for its bytes; all desks give the same.
pub fn whole(desk: &Desk, steps: usize) -> Vec<u8> {
    static KNOWN: Mutex<BTreeMap<usize, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap();
    let train = || {
        let report = desk.json(&["train", "project", "--output-dir", "whole"]);
        adapter(Path::new(report["run"].as_str().unwrap()))
    };
    known.entry(steps).or_insert_with(train).clone()
}

/// Waits for something, a minute at most.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The tag of the project's only job.
pub fn tag(desk: &Desk) -> Option<String> {
    let files = fs::read_dir(desk.path().join("project/remote")).ok()?.flatten().map(|e| e.path());
    let file = files.into_iter().find(|p| p.extension().is_some_and(|e| e == "json"))?;
    Some(file.file_stem()?.to_str()?.to_owned())
}

fn job(desk: &Desk) -> Value {
    let path = desk.path().join("project/remote").join(format!("{}.json", tag(desk).unwrap()));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// `tallow remote WORD JOB ...` in the project.
fn of_job(desk: &Desk, word: &str, more: &[&str]) -> Vec<String> {
    let tag = tag(desk).unwrap();
    ["remote", word, &tag, "--project", "project"].iter().chain(more).map(|w| (*w).to_owned()).collect()
}

#[test]
fn a_run_elsewhere_comes_back_as_one_made_here() {
    let desk = Desk::new();
    desk.project(STEPS, "");
    let Some(sshd) = Sshd::start(&desk) else { return };
    let whole = whole(&desk, STEPS);
    let report = json(&desk, &[train_args(&desk, &sshd), vec!["--keep".into()]].concat(), 0);
    assert_eq!(report["state"], "completed");
    let here = desk.only_run();
    assert!(adapter(&here) == whole, "the adapter differs from one that was trained here");
    // Nothing of the other machine's paths is left, and what works on a run works on it.
    let manifest = fs::read_to_string(here.join("run-manifest.json")).unwrap();
    assert!(
        !manifest.contains(".tallow/jobs") && manifest.contains(&desk.path().join("model").canonicalize().unwrap().display().to_string())
    );
    assert!(!here.join("elsewhere").exists() && fs::read_to_string(here.join("metrics.jsonl")).unwrap().lines().count() >= STEPS);
    let id = here.file_name().unwrap().to_str().unwrap();
    assert!(desk.ok(&["runs", "list", "project"]).out.contains("finished"));
    assert!(desk.ok(&["remote", "list", "project"]).out.contains("fetched"));
    // Every file is what it is there.
    let there = sshd.jobs()[0].join("project/runs").join(id);
    for name in ["metrics.jsonl", "training.log", "final-model/adapter_config.json", "job.json"] {
        assert_eq!(fs::read(there.join(name)).unwrap(), fs::read(here.join(name)).unwrap(), "{name}");
    }
    let removed = json(&desk, &of_job(&desk, "clean", &[]), 0);
    assert!(sshd.jobs().is_empty() && removed["run"].as_str().unwrap().ends_with(id), "{removed}");
    assert!(adapter(&here) == whole);
}

/// Kills whoever follows the run so many times, each after at most so many milliseconds.
fn followers_are_killed(steps: usize, kills: usize, most: u64) {
    let desk = Desk::new();
    desk.project(steps, "");
    let Some(sshd) = Sshd::start(&desk) else { return };
    let whole = whole(&desk, steps);
    let mut draws = Draws::new();
    let seed = draws.0;
    let said = desk.path().join("said");
    let spawn =
        |args: &[String]| -> Child { command(&desk, args).stdout(Stdio::null()).stderr(fs::File::create(&said).unwrap()).spawn().unwrap() };
    let mut child = spawn(&train_args(&desk, &sshd));
    until("a job", || tag(&desk));
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(draws.below(most)));
        child.kill().unwrap();
        child.wait().unwrap();
        child = spawn(&of_job(&desk, "attach", &[]));
    }
    assert!(child.wait().unwrap().success(), "seed {seed}: {}", fs::read_to_string(&said).unwrap());
    assert!(adapter(&desk.only_run()) == whole, "seed {seed}");
    assert_eq!(sshd.jobs(), [] as [PathBuf; 0], "seed {seed}");
    assert_eq!(job(&desk)["stage"], "fetched", "seed {seed}");
}

#[test]
fn a_follower_that_is_killed_anywhere_is_followed_by_another() {
    followers_are_killed(STEPS, 4, 500);
}

#[test]
#[ignore = "minutes"]
fn fifty_followers_are_killed() {
    followers_are_killed(1500, 50, 900);
}

/// A way to a port of this machine that can be cut.
struct Cable {
    port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Cable {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cable = Self { port: listener.local_addr().unwrap().port(), open: Arc::default() };
        let open = cable.open.clone();
        // Ends with the process.
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                open.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                    std::thread::spawn(move || {
                        let mut part = vec![0; 4096];
                        while let Ok(n @ 1..) = from.read(&mut part) {
                            if to.write_all(&part[..n]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        cable
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[test]
fn a_network_that_goes_away_again_and_again_loses_nothing() {
    let desk = Desk::new();
    desk.project(STEPS, "");
    let Some(sshd) = Sshd::start(&desk) else { return };
    let whole = whole(&desk, STEPS);
    let cable = Cable::to(sshd.port);
    let mut args = train_args(&desk, &sshd);
    args[5] = cable.port.to_string();
    let mut draws = Draws::new();
    let seed = draws.0;
    let said = desk.path().join("said");
    let spawn =
        |args: &[String]| -> Child { command(&desk, args).stdout(Stdio::null()).stderr(fs::File::create(&said).unwrap()).spawn().unwrap() };
    let mut child = spawn(&args);
    until("a job", || tag(&desk));
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(draws.below(400)));
        cable.cut();
    }
    let mut turns = 0;
    while !child.wait().unwrap().success() {
        let text = fs::read_to_string(&said).unwrap();
        turns += 1;
        assert!(text.contains("comes back to the job") || tag(&desk).is_none(), "seed {seed}: {text}");
        assert!(turns < 8, "seed {seed}: {text}");
        child = match tag(&desk) {
            Some(_) => spawn(&of_job(&desk, "attach", &[])),
            None => spawn(&args),
        };
    }
    assert!(adapter(&desk.only_run()) == whole, "seed {seed}");
    assert_eq!(sshd.jobs(), [] as [PathBuf; 0], "seed {seed}");
}

#[test]
fn a_run_elsewhere_is_paused_from_here_and_goes_on_there_or_here() {
    let desk = Desk::new();
    desk.project(STEPS, "");
    let Some(sshd) = Sshd::start(&desk) else { return };
    let whole = whole(&desk, STEPS);
    let worker = |there: &Path| {
        let job: Value = serde_json::from_slice(&fs::read(there.join("job.json")).ok()?).ok()?;
        job["pid"].as_u64()
    };
    let send = |signal: &str, pid: u64| assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
    let started = json(&desk, &[train_args(&desk, &sshd), vec!["--detach".into()]].concat(), 0);
    let there = sshd.jobs()[0].join("project/runs").join(started["run_id"].as_str().unwrap());
    let pid = until("a worker", || worker(&there));
    until("a checkpoint", || there.join("stage1/checkpoints/step-000004").exists().then_some(()));
    send("-STOP", pid);
    let mut child = command(&desk, &of_job(&desk, "attach", &[])).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let runs = desk.path().join("project/runs");
    let run = until("a run", || fs::read_dir(&runs).ok()?.flatten().map(|e| e.path()).find(|p| p.join("job.json").is_file()));
    // As stop_training leaves it.
    fs::write(run.join("job.stop"), "pause").unwrap();
    until("the wish is passed on", || there.join("job.stop").exists().then_some(()));
    send("-CONT", pid);
    assert!(child.wait().unwrap().success());
    let state =
        |path: &Path| -> Value { serde_json::from_slice::<Value>(&fs::read(path.join("job.json")).unwrap()).unwrap()["state"].clone() };
    assert_eq!(state(&run), "paused");
    assert!(!run.join("job.stop").exists());
    let id = run.file_name().unwrap().to_str().unwrap().to_owned();
    let refused = desk.run(&["train", "project", "--resume", &id, "--json"]);
    assert!(refused.out.contains("run_elsewhere"), "{}", refused.out);
    // Attaching alone starts nothing; with --resume it goes on, and its worker is killed.
    assert_eq!(json(&desk, &of_job(&desk, "attach", &[]), 0)["state"], "paused");
    let mut child = command(&desk, &of_job(&desk, "attach", &["--resume"])).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    send("-KILL", until("another worker", || worker(&there).filter(|other| *other != pid)));
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(state(&run), "failed");
    // Taken home, it ends here with the same bytes.
    json(&desk, &of_job(&desk, "clean", &[]), 0);
    assert_eq!(sshd.jobs(), [] as [PathBuf; 0]);
    desk.ok(&["train", "project", "--resume", &id]);
    assert!(adapter(&run) == whole);
}

#[test]
fn a_machine_that_nobody_asks_is_stopped_and_its_run_can_go_on() {
    let desk = Desk::new();
    desk.project(4000, "");
    let Some(sshd) = Sshd::start(&desk) else { return };
    let mut args = train_args(&desk, &sshd);
    let stopped = desk.path().join("stopped");
    let stop = format!("touch {}", stopped.display());
    args.extend(["--detach", "--idle-hours", "0.0006", "--stop-command", &stop].map(str::to_owned));
    json(&desk, &args, 0);
    let begun = Instant::now();
    until("nobody asks", || stopped.exists().then_some(()));
    assert!(begun.elapsed() > Duration::from_secs(1), "it was stopped at once");
    let runs = sshd.jobs()[0].join("project/runs");
    let there = fs::read_dir(runs).unwrap().next().unwrap().unwrap().path();
    let job = fs::read_to_string(there.join("job.json")).unwrap();
    assert!(job.contains("\"paused\""), "{job}");
}

#[test]
fn what_goes_wrong_on_the_way_is_said() {
    let desk = Desk::new();
    desk.project(4, "");
    let Some(sshd) = Sshd::start(&desk) else { return };
    let check = |change: &dyn Fn(&mut Vec<String>), code: &str| {
        let mut args = train_args(&desk, &sshd);
        change(&mut args);
        args.push("--json".into());
        let out = run(&desk, &args);
        let value: Value = serde_json::from_str(&out.out).unwrap_or_else(|e| panic!("{e}: {} {}", out.out, out.err));
        assert!(value["error"]["code"] == code && value["error"]["hint"].is_string(), "{code}: {value}");
    };
    keygen(&desk.path().join("other"));
    let other = desk.path().join("other").display().to_string();
    check(&|args| args[7] = other.clone(), "remote_unreachable");
    check(&|args| args[5] = "1".into(), "remote_unreachable");
    check(&|args| args[2] = "user@host -oProxyCommand=x".into(), "usage");
    check(&|args| args.extend(["--set".into(), "lora.rnak=1".into()]), "config_invalid");
    // What never left anything anywhere is no job.
    assert_eq!(tag(&desk), None);
    check(&|args| args.extend(["--set".into(), "lora.target_modules=[nothing_like_it]".into()]), "remote_refused");
    let broken = desk.write("broken", "no program").display().to_string();
    check(&|args| args[11] = broken.clone(), "remote_program");
    let older = desk.write("older", "#!/bin/sh\necho tallow 0.0.0\n").display().to_string();
    check(&|args| args[11] = older.clone(), "remote_program");
}
