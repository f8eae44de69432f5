//! A run's checkpoints: listed, compared, pruned, averaged.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use crate::program::Desk;

fn adapter(folder: &Path) -> BTreeMap<String, Vec<f32>> {
    let all = candle_core::safetensors::load(folder.join("adapter_model.safetensors"), &Device::Cpu).unwrap();
    let flat = |t: Tensor| t.flatten_all().unwrap().to_vec1().unwrap();
    all.into_iter().map(|(name, t)| (name, flat(t))).collect()
}

#[test]
fn checkpoints_are_listed_compared_averaged_and_pruned() {
    let desk = Desk::new();
    desk.project(16, "  keep_checkpoints: 9\n");
    let run = desk.json(&["train", "project"])["run"].as_str().unwrap().to_owned();
    let at = |step: u64| Path::new(&run).join(format!("stage1/checkpoints/step-{step:06}"));
    let call = |args: &[&str]| desk.json(&[&["checkpoints", args[0], run.as_str()], &args[1..]].concat());
    let list = call(&["list", "--check"]);
    let all = list["checkpoints"].as_array().unwrap();
    let steps: Vec<u64> = all.iter().map(|c| c["step"].as_u64().unwrap()).collect();
    assert!(steps.contains(&4) && steps.contains(&16) && steps.len() >= 4, "{steps:?}");
    assert!(all.iter().all(|c| c["problem"].is_null() && c["bytes"].as_u64() > Some(1000)), "{list}");

    let diff = call(&["diff", "4", "12"]);
    let (before, after) = (adapter(&at(4)), adapter(&at(12)));
    let square = |v: f64| v * v;
    let moved = |name: &str| before[name].iter().zip(&after[name]).map(|(a, b)| square(f64::from(a - b))).sum::<f64>();
    let whole: f64 = before.keys().map(|name| moved(name)).sum();
    assert!((diff["distance"].as_f64().unwrap() / whole.sqrt() - 1.0).abs() < 1e-5, "{diff}");
    let farthest = &diff["tensors"][0];
    assert!(before.keys().all(|name| moved(name).sqrt() <= farthest["distance"].as_f64().unwrap() * (1.0 + 1e-5)), "{farthest}");
    assert_eq!(call(&["diff", "8", "8"])["distance"], 0.0);

    let mean = call(&["average", "--last", "3", "--out", "mean"]);
    let of: Vec<u64> = mean["of"].as_array().unwrap().iter().map(|c| c["step"].as_u64().unwrap()).collect();
    assert_eq!(of, steps[steps.len() - 3..]);
    let (parts, mean) = (of.iter().map(|s| adapter(&at(*s))).collect::<Vec<_>>(), adapter(&desk.path().join("mean")));
    for (name, values) in &mean {
        for (i, value) in values.iter().enumerate() {
            let wanted = parts.iter().map(|p| f64::from(p[name][i])).sum::<f64>() / 3.0;
            assert_eq!(*value, wanted as f32, "{name} {i}");
        }
    }
    assert_eq!(mean.len(), parts[0].len());
    let figures = desk.json(&["eval", "--model", "model", "--adapter", "mean", "--data", "project/data/held.jsonl"]);
    assert!(figures["tuned"]["loss"].as_f64() < figures["base"]["loss"].as_f64(), "{figures}");
    assert_eq!(desk.run(&["checkpoints", "average", &run, "--last", "99", "--out", "more"]).code, 1);
    assert!(!desk.path().join("more").exists());

    let would = call(&["prune", "--keep", "1", "--dry-run"]);
    assert!(at(4).exists() && !would["removed"].as_array().unwrap().is_empty(), "{would}");
    assert_eq!(call(&["prune", "--keep", "1"]), would);
    assert!(!at(4).exists() && at(16).exists());
    assert_eq!(desk.run(&["checkpoints", "prune", &run, "--keep", "0"]).code, 2);

    // A damaged one is named.
    std::fs::write(at(16).join("optimizer.safetensors"), "x").unwrap();
    let said = desk.run(&["checkpoints", "list", &run, "--check"]);
    assert!(said.code == 1 && said.out.contains("optimizer.safetensors"), "{}", said.out);
}
