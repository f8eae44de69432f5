//! Sessions that are killed anywhere, a server that breaks connections, and a run that makes steps
//! again: in the end every figure is everywhere, once. All is drawn anew in every run of the test.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering;

use serde_json::json;
use tallow::data::Rng;
use tallow::runs::Journal;
use tallow::track::mlflow::{Address, Mlflow};
use tallow::track::tensorboard::Events;
use tallow::track::wandb::OfflineRun;
use tallow::track::{Facts, Standing, Tail, Tracker, finish, flatten, pump};
use tallow::train::Event;

use super::read::{self, Figures};
use super::server::Server;
use crate::program::drawn_seed;

const STARTED_MS: i64 = 1_795_839_991_600;

fn facts(run: &Path, standing: Standing) -> Facts {
    Facts {
        folder: run.to_path_buf(),
        id: "run-1".into(),
        project: "p".into(),
        standing,
        started_ms: STARTED_MS,
        ended_ms: (standing == Standing::Finished).then_some(STARTED_MS + 9000),
        stages: 2,
        settings: flatten(&json!({"training": {"packing": true, "seed": 1}, "lora": {"target_modules": ["q"]}, "dataset": {"path": null}})),
        tags: vec![("base_model".into(), "x".into())],
        results: if standing == Standing::Finished { vec![("test_loss".into(), 0.1)] } else { Vec::new() },
        files: vec![("metrics.jsonl".into(), run.join("metrics.jsonl"))],
    }
}

/// What is the same however often a step is made, and what is not.
fn step(number: u64, rng: &mut Rng) -> Event {
    Event::Step {
        step: number,
        loss: 1.0 / number as f64,
        lr: 1e-4,
        grad_norm: 0.5,
        sequences: 2,
        tokens: 100 + number,
        trained_tokens: 50,
        tokens_per_second: rng.below(1 << 40) as f64 / 1e3,
        elapsed: number as f64 * 0.1,
        peak_rss: 1 << 30,
    }
}

fn evaluation(step: u64) -> Event {
    Event::Eval { step, loss: 2.0 / step as f64, perplexity: 1.5, accuracy: 0.5, tokens: 9, best: true }
}

type Opened = Vec<(Box<dyn Tracker>, Tail)>;

fn open(run: &Path, server: &Server, standing: Standing) -> Opened {
    let facts = facts(run, standing);
    let address = Address { url: server.address.clone(), credentials: None };
    let all: [Box<dyn Tracker>; 3] = [
        Box::new(Events::open(facts.clone(), &run.join("events")).unwrap()),
        Box::new(OfflineRun::open(facts.clone(), "p".into()).unwrap()),
        Box::new(Mlflow::open(facts, &address, "e").unwrap()),
    ];
    all.into_iter().map(|tracker| (tracker, Tail::new(run, STARTED_MS))).collect()
}

/// A killed process may have written more than its cursor says, and no whole record.
fn tear(folder: &Path, rng: &mut Rng) {
    for path in std::fs::read_dir(folder).into_iter().flatten().map(|e| e.unwrap().path()) {
        if path.is_dir() {
            tear(&path, rng);
        } else if rng.below(2) == 0 {
            let bytes: Vec<u8> = (0..rng.below(200)).map(|i| i as u8).collect();
            File::options().append(true).open(path).unwrap().write_all(&bytes).unwrap();
        }
    }
}

/// One session: from the checkpoint on, until it is killed.
fn session(run: &Path, server: &Server, from: (usize, u64), steps: u64, rng: &mut Rng) -> (usize, u64) {
    let (mut stage, mut done) = from;
    let mut trackers = open(run, server, Standing::Running);
    let mut journal = Journal::open(run).unwrap();
    let begin = |journal: &mut Journal, stage: usize, done: u64| {
        journal.record(&Event::Stage { number: stage, total_steps: steps, epoch_steps: None });
        journal.record(&Event::Started { step: done, total_steps: steps, trainable_parameters: 1 });
    };
    begin(&mut journal, stage, done);
    let life = rng.below(steps * 2);
    for _ in 0..life {
        if done == steps {
            if stage == 2 {
                break;
            }
            (stage, done) = (2, 0);
            begin(&mut journal, stage, done);
        }
        done += 1;
        journal.record(&step(done, rng));
        if done % 5 == 0 {
            journal.record(&evaluation(done));
        }
        for (tracker, tail) in &mut trackers {
            if rng.below(6) == 0 {
                // A server that breaks off is tried again later.
                let _ = pump(tracker.as_mut(), tail);
            }
        }
    }
    drop(trackers);
    ["events", "wandb"].iter().for_each(|name| tear(&run.join(name), rng));
    (stage, done)
}

/// Steps in order: a run that repeats steps may deliver a later step's figures before an earlier
/// one's.
fn sorted(mut figures: Figures) -> Figures {
    figures.values_mut().for_each(|all| all.sort_by_key(|a| a.0));
    figures
}

/// Figures that do not depend on when a step was made.
fn lasting(figures: &Figures) -> Figures {
    figures.iter().filter(|((_, name), _)| name != "tokens_per_second").map(|(k, v)| (k.clone(), v.clone())).collect()
}

#[test]
fn every_figure_is_everywhere_once() {
    let seed = drawn_seed();
    for case in 0..6 {
        let mut rng = Rng::for_parts(&[seed.wrapping_add(case)]);
        let what = format!("seed {seed}, case {case}");
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path();
        let server = Server::new(rng.below(1 << 60));
        server.broken.store(rng.below(4) * 10, Ordering::SeqCst);
        let (steps, saved) = (6 + rng.below(30), 1 + rng.below(9));
        let mut at = (1, 0);
        while at != (2, steps) {
            let reached = session(run, &server, at, steps, &mut rng);
            // A stage that is done is not made again.
            let checkpoint = if reached.1 == steps { steps } else { reached.1 / saved * saved };
            at = (reached.0, checkpoint);
        }
        let ended = facts(run, Standing::Finished);
        let mut left = open(run, &server, Standing::Finished);
        for again in 0..200 {
            if again == 50 {
                server.broken.store(0, Ordering::SeqCst);
            }
            left.retain_mut(|(tracker, tail)| finish(tracker.as_mut(), tail, &ended).is_err());
        }
        assert!(left.is_empty(), "{what}");
        let wanted = read::journal(run);
        assert_eq!(read::tensorboard(&run.join("events/run-1"), 2), read::rounded(&wanted), "{what}: tensorboard");
        assert_eq!(read::wandb(run), (wanted.clone(), Some(0)), "{what}: wandb");
        let sent = sorted(server.figures());
        assert_eq!(lasting(&sent), lasting(&wanted), "{what}: mlflow");
        let steps_of = |all: &Figures| all.iter().map(|(k, v)| (k.clone(), v.iter().map(|p| p.0).collect::<Vec<_>>())).collect::<Vec<_>>();
        assert_eq!(steps_of(&sent), steps_of(&wanted), "{what}: mlflow");
        let runs = server.runs();
        assert_eq!(runs.len(), 3, "{what}: a run and one for each stage");
        assert!(runs.iter().all(|r| r.status == "FINISHED"), "{what}");
        assert_eq!(runs[0].files["metrics.jsonl"], std::fs::read(run.join("metrics.jsonl")).unwrap(), "{what}");
        assert_eq!(runs[0].params["training.packing"], "true", "{what}");
        assert_eq!(runs[0].metrics, [("result.test_loss".to_owned(), 0, 0.1)], "{what}");
    }
}
