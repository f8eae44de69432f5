//! A run on rented pods: the fake service rents them, and each is this machine through a real SSH
//! server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::Draws;
use super::fake::{Fake, KEY};
use super::remote::{STEPS, adapter, tag, until, whole};
use super::sshd::{Sshd, program, user};
use crate::mcp_client::Client;
use crate::program::{Desk, Said, said};

const CHECKPOINT: &str = "stage1/checkpoints/step-000004";

/// A project, its service and its pods.
pub struct Site {
    pub desk: Desk,
    pub fake: Fake,
    pub sshd: Sshd,
    pub program: String,
    /// The adapter of a run that was made here; empty where it takes too many steps.
    pub whole: Vec<u8>,
}

/// Steps of a run that is made here too, to compare.
const MOST_COMPARED: usize = 5000;

impl Site {
    /// `None` where there is no SSH server.
    pub fn new(steps: usize) -> Option<Self> {
        let desk = Desk::new();
        desk.project(steps, "");
        let sshd = Sshd::start(&desk)?;
        let (fake, program, whole) = (Fake::start(), program(&desk), if steps <= MOST_COMPARED { whole(&desk, steps) } else { Vec::new() });
        fake.state().ssh = Some(("127.0.0.1".into(), sshd.port, user()));
        fake.state().authorized = Some(sshd.keys.clone());
        Some(Self { desk, fake, sshd, program, whole })
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.desk.command(args);
        command.env("RUNPOD_API_KEY", KEY).env("TALLOW_RUNPOD_URL", &self.fake.address).env("TALLOW_CLOUD_STATE", self.books());
        command
    }

    pub fn books(&self) -> PathBuf {
        self.desk.path().join("books")
    }

    pub fn ask(&self, args: &[&str]) -> Said {
        said(&self.command(args).output().unwrap())
    }

    pub fn spawn(&self, args: &[&str]) -> Child {
        let err = fs::File::create(self.desk.path().join("said")).unwrap();
        self.command(args).stdout(Stdio::null()).stderr(err).spawn().unwrap()
    }

    pub fn train(&self) -> Vec<&str> {
        vec!["cloud", "train", "project", "--program", &self.program, "--yes"]
    }

    pub fn said(&self) -> String {
        fs::read_to_string(self.desk.path().join("said")).unwrap_or_default()
    }

    /// The run's folder on the pod, once its worker is known, and the worker.
    pub fn worker(&self) -> (PathBuf, u64) {
        until("a worker", || {
            let runs = self.sshd.jobs().first()?.join("project/runs");
            let run = fs::read_dir(runs).ok()?.flatten().next()?.path();
            let job: Value = serde_json::from_slice(&fs::read(run.join("job.json")).ok()?).ok()?;
            Some((run, job["pid"].as_u64()?))
        })
    }

    /// Holds the worker still, once a checkpoint of its run is here.
    pub fn halt(&self) -> u64 {
        let (there, pid) = self.worker();
        until("a checkpoint there", || there.join(CHECKPOINT).exists().then_some(()));
        signal("-STOP", pid);
        let here = self.desk.path().join("project/runs").join(there.file_name().unwrap());
        until("a checkpoint here", || here.join(CHECKPOINT).exists().then_some(()));
        pid
    }

    /// The pod goes away with its disk and its worker.
    pub fn take_away(&self, pid: u64) {
        self.fake.state().pods.values_mut().for_each(|p| p.status = "TERMINATED");
        signal("-KILL", pid);
        fs::rename(self.sshd.home.join(".tallow"), self.desk.path().join("lost")).unwrap();
    }

    pub fn assert_clean(&self, seed: u64) {
        assert_eq!(self.fake.alive(), [] as [String; 0], "seed {seed}");
        let keys = fs::read_dir(self.books().join("keys")).into_iter().flatten().count();
        assert_eq!(keys, 0, "seed {seed}: a key that was made for a pod is left");
        self.fake.assert_spoke_by_the_document();
    }
}

pub fn signal(name: &str, pid: u64) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_run_on_a_rented_pod_from_price_to_bill() {
    let Some(site) = Site::new(STEPS) else { return };
    let program = site.program.clone();
    let args = ["cloud", "train", "project", "--program", &program, "--json"];
    let refused = site.ask(&args);
    assert!(refused.out.contains("confirmation_needed") && refused.out.contains("0.25 US dollars an hour"), "{}", refused.out);
    assert!(site.fake.alive().is_empty() && tag(&site.desk).is_none());
    let out = site.ask(&[&args[..], &["--yes", "--max-cost", "1"]].concat());
    assert_eq!(out.code, 0, "{}\n{}", out.out, out.err);
    let run = site.desk.only_run();
    assert!(adapter(&run) == site.whole && !run.join("elsewhere").exists());
    assert!(!out.out.contains(KEY) && !out.err.contains(KEY));
    assert_eq!(site.fake.state().pods.len(), 1);
    site.fake.advance(3.0);
    let due = site.fake.state().pods.values().map(|p| p.bill().0 + p.bill().1).sum::<f64>();
    let told: Value = serde_json::from_str(&site.ask(&["cloud", "account", "--json"]).out).unwrap();
    assert!((told["bills"]["total_amount"].as_f64().unwrap() - due).abs() < 1e-9);
    assert_eq!(told["endpoints_total"], 0.0);
    // Coming back to a job that is done asks for nothing.
    let again = site.ask(&["cloud", "attach", &tag(&site.desk).unwrap(), "--project", "project", "--resume", "--json"]);
    assert!(again.code == 0 && again.out.contains("completed"), "{}", again.out);
    assert_eq!(site.fake.state().pods.len(), 1);
    site.assert_clean(0);
}

/// Kills whoever works on the job so many times, each after at most so many milliseconds.
fn clients_are_killed(steps: usize, kills: usize, most: u64) {
    let Some(site) = Site::new(steps) else { return };
    let mut draws = Draws::new();
    let seed = draws.0;
    let come_back = || match tag(&site.desk) {
        Some(tag) => site.spawn(&["cloud", "attach", &tag, "--project", "project"]),
        // Nothing was asked for yet.
        None => site.spawn(&site.train()),
    };
    let mut child = site.spawn(&site.train());
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(draws.below(most)));
        child.kill().unwrap();
        child.wait().unwrap();
        child = come_back();
    }
    assert!(child.wait().unwrap().success(), "seed {seed}: {}", site.said());
    assert!(adapter(&site.desk.only_run()) == site.whole, "seed {seed}");
    assert_eq!(site.fake.state().pods.len(), 1, "seed {seed}");
    site.assert_clean(seed);
}

#[test]
fn a_rented_job_whose_client_is_killed_anywhere_ends_with_its_run_here_and_no_pod() {
    clients_are_killed(STEPS, 5, 800);
}

#[test]
#[ignore = "minutes"]
fn fifty_clients_of_a_rented_job_are_killed() {
    clients_are_killed(2500, 50, 1500);
}

#[test]
fn a_run_whose_pod_is_taken_away_goes_on_on_another_one() {
    let Some(site) = Site::new(STEPS) else { return };
    let mut child = site.spawn(&site.train());
    site.take_away(site.halt());
    assert!(child.wait().unwrap().success(), "{}", site.said());
    let run = site.desk.only_run();
    assert!(adapter(&run) == site.whole);
    // It went on from what was fetched.
    let log = fs::read_to_string(run.join("events.jsonl")).unwrap();
    assert!(log.contains("resumed"), "{log}");
    assert_eq!(site.fake.state().pods.len(), 2, "{}", site.said());
    site.assert_clean(0);
}

#[test]
fn a_pod_that_is_terminated_from_here_is_not_replaced() {
    let Some(site) = Site::new(STEPS) else { return };
    let mut child = site.spawn(&site.train());
    let (_, pid) = site.worker();
    signal("-STOP", pid);
    let pod = site.fake.alive().pop().unwrap();
    assert_eq!(site.ask(&["cloud", "terminate", &pod, "--yes"]).code, 0);
    signal("-KILL", pid);
    fs::rename(site.sshd.home.join(".tallow"), site.desk.path().join("lost")).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{}", site.said());
    assert!(site.said().contains("its pod was terminated"), "{}", site.said());
    assert_eq!(site.fake.state().pods.len(), 1);
    site.assert_clean(0);
}

#[test]
fn a_job_at_its_cap_rents_no_more_and_its_run_can_go_on_here() {
    let Some(site) = Site::new(STEPS) else { return };
    let mut child = site.spawn(&[&site.train()[..], &["--max-hours", "2"]].concat());
    let pid = site.halt();
    // It has had its two hours.
    let books = fs::read_dir(site.books()).unwrap().flatten().map(|e| e.path());
    let path = books.into_iter().find(|p| is_job(p)).unwrap();
    let mut entry: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    entry["created_at"] = "2026-01-01T00:00:00Z".into();
    fs::write(&path, entry.to_string()).unwrap();
    site.take_away(pid);
    assert_eq!(child.wait().unwrap().code(), Some(1), "{}", site.said());
    assert!(site.said().contains("its pods ran for"), "{}", site.said());
    assert_eq!(site.fake.state().pods.len(), 1);
    site.assert_clean(0);
    let run = site.desk.only_run();
    let id = run.file_name().unwrap().to_str().unwrap();
    site.desk.ok(&["train", "project", "--resume", id]);
    assert!(adapter(&run) == site.whole);
}

#[test]
fn a_pod_that_no_run_fits_is_given_back() {
    let Some(site) = Site::new(4) else { return };
    let broken = site.desk.write("broken", "no program").display().to_string();
    let out = site.ask(&["cloud", "train", "project", "--program", &broken, "--yes", "--json"]);
    assert!(out.code == 1 && out.out.contains("remote_program"), "{}", out.out);
    assert_eq!(site.fake.state().pods.len(), 1);
    site.assert_clean(0);
    // Without a balance nothing is rented, and no job is left.
    let jobs = |site: &Site| fs::read_dir(site.desk.path().join("project/remote")).unwrap().flatten().filter(|e| is_job(&e.path())).count();
    let before = jobs(&site);
    site.fake.state().balance = 0.0;
    let out = site.ask(&[&site.train()[..], &["--json"]].concat());
    assert!(out.out.contains("cloud_no_credit"), "{}", out.out);
    assert_eq!(jobs(&site), before);
    site.assert_clean(0);
}

fn is_job(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "json")
}

#[test]
fn an_assistant_rents_trains_dies_and_comes_back() {
    let Some(site) = Site::new(STEPS) else { return };
    let books = site.books().display().to_string();
    let variables = [("RUNPOD_API_KEY", KEY), ("TALLOW_RUNPOD_URL", &site.fake.address), ("TALLOW_CLOUD_STATE", &books)];
    let mut client = Client::start_with(&site.desk, &["--toolsets", "core,cloud"], &variables);
    let mut wish = json!({"project_path": "project", "program_path": "tallow.sh", "max_cost": 2.0});
    let told = client.try_call("runpod_start_training", wish.clone()).unwrap_err();
    assert!(told["code"] == "confirmation_needed" && told["message"].as_str().unwrap().contains("0.25 US dollars an hour"), "{told}");
    assert!(site.fake.alive().is_empty());
    wish["agreed_price_hour"] = 0.25.into();
    let started = client.call("runpod_start_training", wish);
    assert!(started["estimate"]["most"] == 2.0 && started["job"]["is_followed"] == true, "{started}");
    client.kill();
    let mut client = Client::start_with(&site.desk, &["--toolsets", "core,cloud"], &variables);
    let stands = until("the end", || {
        let stands = client.call("runpod_get_training_logs", json!({"project_path": "project"}));
        (stands["job"]["stage"] == "fetched" && stands["job"]["is_followed"] == false).then_some(stands)
    });
    let run_id = stands["job"]["run_id"].as_str().unwrap();
    assert_eq!(client.until(run_id, &["completed"])["current_iteration"], STEPS);
    assert!(!stands["follower_log"].as_array().unwrap().is_empty() && !stands.to_string().contains(KEY), "{stands}");
    assert!(adapter(&site.desk.only_run()) == site.whole);
    assert_eq!(site.fake.state().pods.len(), 1);
    site.assert_clean(0);
}
