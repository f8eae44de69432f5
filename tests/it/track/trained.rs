//! Trackers of real runs, as the program starts them.

use std::net::TcpListener;
use std::path::PathBuf;

use super::read;
use super::server::Server;
use crate::program::{Desk, drawn_seed};

fn project(desk: &Desk, address: &str, steps: usize) {
    desk.project(steps, "");
    let config = desk.path().join("project/config/fine_tuning_config.yaml");
    let more = format!(
        "mlflow: {{enabled: true, tracking_uri: \"{address}\", experiment_name: tries}}\nwandb: {{enabled: true}}\n\
         tensorboard: {{enabled: true}}\n"
    );
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + &more).unwrap();
}

fn run_of(said: &serde_json::Value) -> PathBuf {
    said["run"].as_str().unwrap().into()
}

#[test]
fn a_run_tells_all_trackers_what_its_journal_says() {
    let (desk, server) = (Desk::new(), Server::new(drawn_seed()));
    project(&desk, &server.address, 12);
    let run = run_of(&desk.json(&["train", "project"]));
    let wanted = read::journal(&run);
    assert_eq!(wanted[&(1, "loss".to_owned())].len(), 12);
    assert_eq!(wanted[&(1, "eval_loss".to_owned())].len(), 2);
    let id = run.file_name().unwrap();
    assert_eq!(read::tensorboard(&run.join("tensorboard").join(id), 1), read::rounded(&wanted));
    assert_eq!(read::wandb(&run), (wanted.clone(), Some(0)));
    assert_eq!(server.figures(), wanted);
    let runs = server.runs();
    assert_eq!((runs.len(), runs[0].status.as_str()), (1, "FINISHED"));
    assert_eq!(runs[0].params["training.stage1.iterations"], "12");
    let adapter = std::fs::read(run.join("final-model/adapter_model.safetensors")).unwrap();
    assert_eq!(runs[0].files["final-model/adapter_model.safetensors"], adapter);
    let test = runs[0].metrics.iter().find(|m| m.0 == "result.stage1.test_tuned_loss");
    assert!(test.is_some_and(|m| m.2 > 0.0), "{:?}", runs[0].metrics);
}

#[test]
fn a_server_that_is_away_gets_everything_later_and_once() {
    let desk = Desk::new();
    // A port that nobody listens on.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap();
    drop(listener);
    project(&desk, &format!("http://{port}"), 8);
    let stopped = desk.json(&["train", "project", "--stop-after", "5"]);
    let run = run_of(&stopped);
    let said = desk.run(&["train", "project", "--resume", run.file_name().unwrap().to_str().unwrap()]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("does not answer") && said.err.contains("tallow track sync"), "{}", said.err);
    let sync = ["track", "sync", run.to_str().unwrap()];
    let away = desk.run(&sync);
    assert_eq!(away.code, 1, "{}", away.out);
    assert!(away.out.contains("not up to date") && away.out.contains("tensorboard  up to date"), "{}", away.out);
    let server = Server::on(TcpListener::bind(port).unwrap(), drawn_seed());
    for _ in 0..2 {
        let report = desk.json(&sync);
        assert!(report["trackers"].as_array().unwrap().iter().all(|t| t["error"].is_null() && t["up_to"][1] == 8), "{report}");
        assert_eq!(server.figures(), read::journal(&run));
        assert_eq!(server.runs().len(), 1);
    }
}

#[test]
fn settings_that_name_no_server_are_refused_before_there_is_a_run() {
    let desk = Desk::new();
    desk.project(4, "");
    for (set, word) in [
        ("mlflow.enabled=true", "no server is named"),
        ("mlflow.tracking_uri=file:///tmp/x", "mlflow.tracking_uri"),
        ("mlflow.tracking_uri=http://me:secret@host:1", "mlflow.tracking_uri"),
    ] {
        let mut command = desk.command(&["train", "project", "--set", set]);
        let out = command.env_remove("MLFLOW_TRACKING_URI").output().unwrap();
        let err = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(3), "{set}: {err}");
        assert!(err.contains(word) && !err.contains("secret"), "{set}: {err}");
    }
    assert!(!desk.path().join("project/runs").exists());
    let run = run_of(&desk.json(&["train", "project"]));
    let said = desk.run(&["track", "sync", run.to_str().unwrap()]);
    assert!(said.code == 1 && said.err.contains("no tracker"), "{}", said.err);
}
