//! `emissions.csv` with CodeCarbon's columns, a line for each session.

use std::fs::File;
use std::path::Path;

use super::record::{Session, Sessions};
use crate::base::atomic;
use crate::base::error::Fault;

const COLUMNS: [&str; 38] = [
    "timestamp",
    "project_name",
    "run_id",
    "experiment_id",
    "duration",
    "emissions",
    "emissions_rate",
    "cpu_power",
    "gpu_power",
    "ram_power",
    "cpu_energy",
    "gpu_energy",
    "ram_energy",
    "energy_consumed",
    "water_consumed",
    "country_name",
    "country_iso_code",
    "region",
    "cloud_provider",
    "cloud_region",
    "os",
    "python_version",
    "codecarbon_version",
    "cpu_count",
    "cpu_model",
    "gpu_count",
    "gpu_model",
    "longitude",
    "latitude",
    "ram_total_size",
    "tracking_mode",
    "cpu_utilization_percent",
    "gpu_utilization_percent",
    "ram_utilization_percent",
    "ram_used_gb",
    "on_cloud",
    "pue",
    "wue",
];
const RUN_ID: usize = 2;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// A session as a line. What is not known is empty; water is not measured.
fn line(s: &Session) -> Vec<String> {
    let e = s.energies;
    let watts = |kwh: f64| if s.seconds > 0.0 { kwh * 3.6e6 / s.seconds } else { 0.0 };
    let rate = if s.seconds > 0.0 { s.kg() / s.seconds } else { 0.0 };
    let some = |v: Option<f64>| v.map(|v| v.to_string()).unwrap_or_default();
    let used = s.ram_bytes.zip(s.ram_percent).map(|(bytes, percent)| bytes * percent / 100.0 / GIB);
    let gpus = s.gpu_model.as_ref().map(|_| "1".to_owned()).unwrap_or_default();
    vec![
        s.started_at.clone(),
        s.project.clone(),
        s.id.clone(),
        s.run_id.clone(),
        s.seconds.to_string(),
        s.kg().to_string(),
        rate.to_string(),
        watts(e.cpu_kwh).to_string(),
        watts(e.gpu_kwh).to_string(),
        watts(e.ram_kwh).to_string(),
        e.cpu_kwh.to_string(),
        e.gpu_kwh.to_string(),
        e.ram_kwh.to_string(),
        e.kwh().to_string(),
        "0".into(),
        s.country.1.clone(),
        s.country.0.clone(),
        String::new(),
        String::new(),
        String::new(),
        std::env::consts::OS.into(),
        String::new(),
        concat!("tallow ", env!("CARGO_PKG_VERSION")).into(),
        s.cpu_count.to_string(),
        s.cpu_model.clone().unwrap_or_default(),
        gpus,
        s.gpu_model.clone().unwrap_or_default(),
        String::new(),
        String::new(),
        some(s.ram_bytes.map(|b| b / GIB)),
        "machine".into(),
        some(s.cpu_percent),
        some(s.gpu_percent),
        some(s.ram_percent),
        some(used),
        "N".into(),
        s.pue.to_string(),
        "0".into(),
    ]
}

fn text(lines: impl IntoIterator<Item = Vec<String>>) -> Result<Vec<u8>, Fault> {
    let fail = |e: &dyn std::fmt::Display| Fault::new("energy", format!("emissions.csv: {e}"));
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(COLUMNS).map_err(|e| fail(&e))?;
    for line in lines {
        out.write_record(line).map_err(|e| fail(&e))?;
    }
    out.into_inner().map_err(|e| fail(&e))
}

/// The run's own file.
pub(super) fn write_run(run: &Path, sessions: &Sessions) -> Result<(), Fault> {
    atomic::write_file(&run.join("emissions.csv"), &text(sessions.sessions.iter().map(line))?)
}

/// The file of all runs: lines of this run's sessions stand there once.
pub(super) fn add_to(folder: &Path, sessions: &Sessions) -> Result<(), Fault> {
    atomic::create_dir_all(folder)?;
    let lock_path = folder.join(".emissions.lock");
    let lock = File::options().create(true).append(true).open(&lock_path).map_err(|e| Fault::io("open", &lock_path, &e))?;
    lock.lock().map_err(|e| Fault::io("lock", &lock_path, &e))?;
    // Nobody else writes here now.
    atomic::sweep(folder);
    let path = folder.join("emissions.csv");
    let mut lines: Vec<Vec<String>> = Vec::new();
    if path.is_file() {
        let fail = |e: csv::Error| Fault::new("energy", format!("{}: {e}", path.display()));
        let mut file = csv::Reader::from_path(&path).map_err(fail)?;
        if file.headers().map_err(fail)?.iter().ne(COLUMNS) {
            return Err(Fault::new("energy", format!("{}: its columns are not those that are written here", path.display()))
                .hint("another version of CodeCarbon wrote it: set another carbon_tracking.output_dir"));
        }
        for record in file.records() {
            lines.push(record.map_err(fail)?.iter().map(str::to_owned).collect());
        }
    }
    let is_ours = |line: &Vec<String>| sessions.sessions.iter().any(|s| line.get(RUN_ID) == Some(&s.id));
    lines.retain(|line| !is_ours(line));
    lines.extend(sessions.sessions.iter().map(line));
    atomic::write_file(&path, &text(lines)?)
}
