//! The bill: with a clock that moves, what Tallow shows is what the service's books hold, and nothing
//! costs more than its cap, whoever is killed and whatever the clock here says.

use std::time::Duration;

use serde_json::Value;

use super::Draws;
use super::remote::{adapter, until};
use super::rented::{Site, signal};
use super::storage;

impl Site {
    /// The account as a client of now sees it.
    fn account(&self) -> Value {
        let out = self.ask(&["cloud", "account", "--json"]);
        serde_json::from_str(&out.out).unwrap_or_else(|e| panic!("{e}: {} {}", out.out, out.err))
    }

    /// What Tallow shows is what is in the books, to the cent, in all and pod by pod.
    fn assert_billed_as_in_the_books(&self, what: &str) {
        let told = self.account();
        let cents = |usd: f64| (usd * 100.0).round();
        assert_eq!(cents(told["total"].as_f64().unwrap()), cents(self.fake.books()), "{what}: {told}");
        let state = self.fake.state();
        for line in told["billed_here"].as_array().unwrap() {
            let (gpu, disk) = state.pods[line["pod_id"].as_str().unwrap()].bill();
            assert_eq!(cents(line["billed"].as_f64().unwrap()), cents(gpu + disk), "{what}: {told}");
        }
        assert_eq!(told["billed_here"].as_array().unwrap().len(), state.pods.len(), "{what}: {told}");
    }
}

#[test]
fn the_bill_is_that_of_the_books_though_pods_vanish_clients_die_and_clocks_are_wrong() {
    let mut draws = Draws::new();
    let seed = draws.0;
    let Some(site) = Site::new(20) else { return };
    // Some hours before or behind the clock here; an hour of the service takes two seconds.
    site.fake.state().skew_hours = draws.below(25) as f64 - 12.0;
    site.fake.run(2.0);
    let mut args = site.train();
    args.extend(["--max-hours", "60", "--max-cost", "20"]);
    let mut child = site.spawn(&args);
    let pid = site.halt();
    child.kill().unwrap();
    child.wait().unwrap();
    site.take_away(pid);
    let tag = super::remote::tag(&site.desk).unwrap();
    let mut child = site.spawn(&["cloud", "attach", &tag, "--project", "project"]);
    assert!(child.wait().unwrap().success(), "seed {seed}: {}", site.said());
    assert!(adapter(&site.desk.only_run()) == site.whole, "seed {seed}");
    assert_eq!(site.fake.state().pods.len(), 2, "seed {seed}");
    site.assert_clean(seed);
    site.assert_billed_as_in_the_books(&format!("seed {seed}"));
    let spent = site.fake.books();
    assert!(spent > 0.05 && spent <= 20.0, "seed {seed}: {spent}");
    // By its own record Tallow knows it nearly as well: it counts from the wish to the end.
    for line in site.account()["billed_here"].as_array().unwrap() {
        let (expected, billed) = (line["expected"].as_f64().unwrap(), line["billed"].as_f64().unwrap());
        assert!(expected + 0.01 >= billed && expected <= 20.0, "seed {seed}: {line}");
    }
}

#[test]
fn a_pod_costs_no_more_than_its_cap_when_its_client_is_killed() {
    let mut draws = Draws::new();
    let seed = draws.0;
    let Some(site) = Site::new(20_000) else { return };
    site.fake.state().skew_hours = draws.below(25) as f64 - 12.0;
    // By cost and by hours; an hour of the service takes less than half a second.
    let (cap, most): (&[&str], f64) = if draws.below(2) == 0 { (&["--max-cost", "1.5"], 1.5) } else { (&["--max-hours", "6"], 6.0 * 0.26) };
    let mut child = site.spawn(&[&site.train()[..], cap].concat());
    let (_, pid) = site.worker();
    site.fake.run(0.4);
    std::thread::sleep(Duration::from_millis(draws.below(600)));
    child.kill().unwrap();
    child.wait().unwrap();
    // Nobody comes back: the pod ends itself, and costs nothing from then on.
    until("the pod's own end", || site.fake.alive().is_empty().then_some(()));
    signal("-KILL", pid);
    let spent = site.fake.books();
    std::thread::sleep(Duration::from_millis(300));
    assert!(spent <= most + 0.005 && site.fake.books() == spent, "seed {seed}, {cap:?}: {spent}");
    assert!(spent > most * 0.9, "seed {seed}, {cap:?}: {spent}");
    site.assert_billed_as_in_the_books(&format!("seed {seed}"));
    // The next look notes it.
    assert_eq!(site.ask(&["cloud", "tidy"]).code, 0);
    let books = tallow::cloud::Ledger::at(&site.books());
    assert!(books.entries().unwrap().iter().all(|e| e.stage == tallow::cloud::Stage::Ended), "seed {seed}");
}

#[test]
fn a_job_ends_at_its_cap_and_its_books_are_within_it() {
    let Some(site) = Site::new(20_000) else { return };
    let child = site.spawn(&[&site.train()[..], &["--max-hours", "5"]].concat());
    let (_, pid) = site.worker();
    site.fake.run(0.4);
    until("the pod's own end", || site.fake.alive().is_empty().then_some(()));
    // With the pod its disk and its worker go.
    site.take_away(pid);
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{}", site.said());
    assert!(site.said().contains("its pods ran for"), "{}", site.said());
    assert_eq!(site.fake.state().pods.len(), 1, "{}", site.said());
    assert!(site.fake.books() <= 5.0 * (0.25 + 30.0 * super::fake::DISK_GB_HOUR) + 1e-6, "{}", site.fake.books());
    site.assert_clean(0);
    site.assert_billed_as_in_the_books("at the cap");
}

#[test]
fn a_cost_is_estimated_by_what_is_known_of_a_gpu() {
    let Some(site) = Site::new(20) else { return };
    let ask = |args: &[&str]| -> Value {
        let out = site.ask(&[&["cloud", "estimate", "project", "--json"], args].concat());
        serde_json::from_str(&out.out).unwrap_or_else(|e| panic!("{e}: {} {}", out.out, out.err))
    };
    // Nothing was measured yet: reckoned from the data sheet, and said so.
    let told = ask(&[]);
    let first = &told["costs"][0];
    assert!(first["gpu"] == "NVIDIA RTX A4000" && first["basis"] == "reckoned" && first["peak_tflops"] == 76.7, "{told}");
    let words = site.ask(&["cloud", "estimate", "project"]).out;
    assert!(words.contains("NVIDIA RTX A4000: an estimate, reckoned at 30 % of its 77 TFLOPS"), "{words}");
    // Given: steps times seconds, the pod's start, and disks.
    let told = ask(&["--step-seconds", "90", "--gpu", "A5000", "--disk", "73"]);
    let (cost, hours) = (&told["costs"][0], 20.0 * 90.0 / 3600.0 + 0.2);
    let total = hours * (0.29 + 0.01);
    assert!(cost["basis"] == "given" && cost["steps"] == 20 && (cost["total"].as_f64().unwrap() - total).abs() < 1e-9, "{cost}");
    assert!((cost["storage_hour"].as_f64().unwrap() - 0.01).abs() < 1e-12);
    // Once a run was there, its own steps say it, for such a pod alone.
    assert_eq!(site.ask(&[&site.train()[..], &["--max-cost", "5"]].concat()).code, 0, "{}", site.said());
    let measured = ask(&[]);
    let run = site.desk.only_run();
    let cost = &measured["costs"][0];
    assert!(cost["basis"] == "measured" && cost["run_id"] == run.file_name().unwrap().to_str().unwrap(), "{measured}");
    let rows = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(rows.lines().rfind(|l| l.contains("elapsed_seconds")).unwrap()).unwrap();
    let (seconds, took) = (cost["seconds"].as_f64().unwrap(), last["elapsed_seconds"].as_f64().unwrap());
    assert!(seconds > took * 0.3 && seconds < took * 3.0, "{seconds} for a run that took {took}");
    assert_eq!(ask(&["--gpu", "4090"])["costs"][0]["basis"], "reckoned");
    // A volume is paid for by the hour too.
    site.fake.state().store = storage::Books::default();
}
