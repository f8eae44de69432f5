//! Pictures of runs, looked at pixel by pixel, and runs beside one another.

use std::path::Path;

use crate::program::Desk;

/// Width, and the pixels.
fn pixels(path: &Path) -> (usize, Vec<[u8; 3]>) {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    (info.width as usize, bytes[..info.buffer_size()].chunks(3).map(|p| [p[0], p[1], p[2]]).collect())
}

/// Columns in which a colour stands, of the rows of the upper left panel.
fn columns(path: &Path, colour: (u8, u8, u8)) -> Vec<usize> {
    let (width, all) = pixels(path);
    let wanted = [colour.0, colour.1, colour.2];
    let is_in = |i: &usize| *i % width < width / 3 && (*i / width) > 90 && (*i / width) < 420;
    let mut found: Vec<usize> = (0..all.len()).filter(is_in).filter(|i| all[*i] == wanted).map(|i| i % width).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[test]
fn a_picture_shows_both_stages_apart_and_the_whole_run() {
    let desk = Desk::new();
    desk.project(5, "  num_stages: 2\n  stage2: {iterations: 5, learning_rate: 1.0e-2, batch_size: 2, warmup_steps: 0}\n");
    let config = desk.path().join("project/config/fine_tuning_config.yaml");
    let text = std::fs::read_to_string(&config).unwrap().replace("dataset: {", "dataset: {stage2_path: data/train.jsonl, ");
    std::fs::write(&config, text).unwrap();
    let run = desk.json(&["train", "project"])["run"].as_str().unwrap().to_owned();
    // Far more rows than any look at the file's end would hold.
    let rows: String = (1..=2)
        .flat_map(|stage| {
            (1..=3000).map(move |step| {
                let loss = 1.0 + stage as f64 / f64::from(step);
                format!("{{\"stage\":{stage},\"step\":{step},\"loss\":{loss},\"learning_rate\":0.1,\"grad_norm\":1.0}}\n")
            })
        })
        .collect();
    std::fs::write(Path::new(&run).join("metrics.jsonl"), rows).unwrap();
    let out = desk.path().join("p.png");
    let report = desk.json(&["runs", "plot", &run, "--out", "p.png", "--smoothing", "0"]);
    assert_eq!(report["bytes"], std::fs::metadata(&out).unwrap().len());
    let (first, second) = (columns(&out, (31, 99, 201)), columns(&out, (217, 108, 6)));
    assert!(first.len() > 100 && second.len() > 100, "{} and {} columns", first.len(), second.len());
    assert!(first[first.len() - 1] <= second[0] + 3, "stage 2 stands behind stage 1: {first:?} {second:?}");
    let svg = desk.ok(&["runs", "plot", &run]).out;
    let text = std::fs::read_to_string(svg.split_whitespace().next().unwrap()).unwrap();
    assert!(text.starts_with("<svg") && text.contains("stage 2") && text.contains("polyline"), "{}", &text[..200]);
    for (args, word) in [(["--out", "p.gif"], ".svg or .png"), (["--smoothing", "1"], "smoothing")] {
        let said = desk.run(&[&["runs", "plot", run.as_str()], &args[..]].concat());
        assert!(said.code == 2 && said.err.contains(word), "{}", said.err);
    }
}

#[test]
fn runs_beside_one_another_show_what_differs() {
    let desk = Desk::new();
    desk.project(4, "");
    let train = |name: &str, rate: &str| {
        let set = format!("training.stage1.learning_rate={rate}");
        desk.json(&["train", "project", "--name", name, "--set", &set])["run_id"].as_str().unwrap().to_owned()
    };
    let (a, b) = (train("a", "1e-2"), train("b", "1e-6"));
    let at = |more: &[&str]| {
        [&["runs", "compare", &a, &b, "--project", "project"], more].concat().iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()
    };
    let args = at(&["--out", "c.png"]);
    let report = desk.json(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let settings = report["comparison"]["settings"].as_array().unwrap();
    assert_eq!(settings.len(), 1, "{settings:?}");
    assert_eq!((&settings[0]["key"], &settings[0]["values"][1]), (&"training.stage1.learning_rate".into(), &1e-6.into()));
    let figures = report["comparison"]["figures"].as_array().unwrap();
    let loss = figures.iter().find(|f| f["name"] == "stage1.test_tuned_loss").unwrap();
    assert!(loss["values"][0].as_f64() < loss["values"][1].as_f64(), "{loss}");
    let out = desk.path().join("c.png");
    assert!([(31, 99, 201), (217, 108, 6)].iter().all(|colour| columns(&out, *colour).len() > 30));
    let args = at(&[]);
    let text = desk.ok(&args.iter().map(String::as_str).collect::<Vec<_>>()).out;
    assert!(text.contains("differing setting") && text.contains("stage1.test_tuned_loss"), "{text}");
}
