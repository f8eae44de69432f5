//! Sessions of a run, and the files that tell of them.

use std::path::Path;
use std::time::Duration;

use super::*;

fn plan(folder: &Path, run_id: &str) -> Plan {
    let country = country("DEU").unwrap();
    Plan {
        run_id: run_id.into(),
        project: "p".into(),
        country,
        pue: 1.5,
        cpu_model: Some("a, b".into()),
        cuda: None,
        folder: folder.join("all"),
    }
}

fn lines(path: &Path) -> Vec<csv::StringRecord> {
    csv::Reader::from_path(path).unwrap().records().map(Result::unwrap).collect()
}

#[test]
fn sessions_add_up_and_stand_once_in_the_file_of_all_runs() {
    let dir = tempfile::tempdir().unwrap();
    let run = |id: &str| dir.path().join(id);
    for (id, sessions) in [("a", 1), ("b", 1), ("a", 2)] {
        let meter = Meter::start(plan(dir.path(), id), &run(id)).unwrap();
        meter.stage(1);
        thread::sleep(Duration::from_millis(60));
        meter.stage(2);
        thread::sleep(Duration::from_millis(30));
        let total = meter.end().unwrap();
        assert_eq!(lines(&run(id).join("emissions.csv")).len(), sessions, "{id}");
        assert!(total.kwh > 0.0 && total.stages[&1] > total.stages[&2], "{total:?}");
        assert!((total.stages.values().sum::<f64>() - total.kwh).abs() < 1e-12 + 1e-9 * total.kwh, "{total:?}");
        assert!((total.kg - total.kwh * total.grams_per_kwh / 1000.0).abs() < 1e-15);
    }
    let all = lines(&dir.path().join("all/emissions.csv"));
    assert_eq!(all.len(), 3);
    let number = |line: &csv::StringRecord, i: usize| line[i].parse::<f64>().unwrap();
    for line in &all {
        let parts = (10..13).map(|i| number(line, i)).sum::<f64>();
        assert!((parts - number(line, 13)).abs() <= 1e-12 && (parts * 0.38095 - number(line, 5)).abs() <= 1e-12, "{line:?}");
        assert_eq!((&line[16], &line[24], &line[36]), ("DEU", "a, b", "1.5"));
    }
}

#[test]
fn a_killed_session_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("r");
    let meter = Meter::start(plan(dir.path(), "r"), &run).unwrap();
    thread::sleep(Duration::from_millis(20));
    meter.so_far();
    locked(&meter.state).sessions.write(&run).unwrap();
    // Nothing is written at the end of a killed process.
    drop(meter);
    let before = Sessions::read(&run).unwrap().total().kwh;
    assert!(before > 0.0);
    let total = Meter::start(plan(dir.path(), "r"), &run).unwrap().end().unwrap();
    assert!(total.kwh >= before && lines(&run.join("emissions.csv")).len() == 2, "{total:?}");
}

#[test]
fn a_file_of_other_columns_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("all")).unwrap();
    let file = dir.path().join("all/emissions.csv");
    std::fs::write(&file, "a,b\n1,2\n").unwrap();
    let fault = Meter::start(plan(dir.path(), "r"), &dir.path().join("r")).unwrap().end().unwrap_err();
    assert!(fault.message.contains("columns"), "{fault}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a,b\n1,2\n");
}
