//! What a project needs elsewhere: its configuration, its rows, its model if that is a folder or a
//! file here, and a run that goes on there.

use std::path::{Path, PathBuf};

use super::mirror::{MANIFEST, mapped};
use crate::app::configure;
use crate::app::jobs::ELSEWHERE;
use crate::base::atomic::{self, TEMPORARY_PREFIX};
use crate::base::error::Fault;
use crate::cloud::ssh::Sent;
use crate::config::RunConfig;
use crate::runs::Project;

/// A project, packed.
#[derive(Debug)]
pub(super) struct Pack {
    /// Files, and where they go below the job's folder.
    pub files: Vec<Sent>,
    /// Overrides that name the files there.
    pub set: Vec<String>,
    /// Paths there (below the job's folder) and what they stand for here.
    pub map: Vec<(String, PathBuf)>,
}

/// Packs what a project needs. `folder` is the job's folder there.
pub(super) fn pack(project: &Project, set: &[String], folder: &str) -> Result<Pack, Fault> {
    let config = configure::settings(&project.config, set, &|_| Ok(()))?.config;
    if config.output_dir.is_some() {
        return Err(
            Fault::new("config_invalid", "`output_dir`: a run elsewhere has its folder in runs/ of its project").hint("leave it out")
        );
    }
    let mut pack = Pack { files: Vec::new(), set: set.to_vec(), map: Vec::new() };
    pack.file(&project.config, "project/config/fine_tuning_config.yaml");
    for (number, (key, path)) in paths(&config).into_iter().enumerate() {
        let path = path.canonicalize().map_err(|e| Fault::io("open", path, &e))?;
        let name = path.file_name().map_or_else(|| "data".into(), |n| n.to_string_lossy().into_owned());
        let below = match path.strip_prefix(&project.root) {
            Ok(inside) if inside.to_str().is_some() => format!("project/{}", inside.display()),
            _ => format!("outside/{number}/{name}"),
        };
        pack.add(&path, &below)?;
        let there = format!("{folder}/{below}");
        pack.set.push(format!("{key}={}", serde_json::json!(there)));
        pack.map.push((there, path));
    }
    pack.map.push((format!("{folder}/project"), project.root.clone()));
    // A longer path stands for more than its beginning.
    pack.map.sort_by_key(|(there, _)| std::cmp::Reverse(there.len()));
    Ok(pack)
}

/// Paths of the settings that a run reads.
fn paths(config: &RunConfig) -> Vec<(&'static str, &PathBuf)> {
    let d = &config.dataset;
    let all = [
        ("dataset.path", &d.path),
        ("dataset.train_path", &d.train_path),
        ("dataset.validation_path", &d.validation_path),
        ("dataset.test_path", &d.test_path),
        ("dataset.stage2_path", &d.stage2_path),
        ("base_model.local_path", &config.base_model.local_path),
    ];
    all.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?))).collect()
}

/// Files in one folder that is sent.
const MOST_FILES: usize = 2000;

impl Pack {
    /// Adds a run of this project that goes on there, with its checkpoints. What has to be written
    /// anew for that is written into `scratch`.
    pub(super) fn add_run(&mut self, run: &Path, folder: &str, scratch: &Path) -> Result<(), Fault> {
        let id = run.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let below = format!("project/runs/{id}");
        self.add(run, &below)?;
        let own = |name: &str| name.ends_with(".lock") || name == "job.stop" || name == ELSEWHERE || name.starts_with(TEMPORARY_PREFIX);
        self.files.retain(|f| !f.remote.strip_prefix(&below).is_some_and(|name| name.split('/').any(own)));
        let manifest = run.join(MANIFEST);
        let bytes = std::fs::read(&manifest).map_err(|e| Fault::io("read", &manifest, &e))?;
        let mut back: Vec<(String, PathBuf)> =
            self.map.iter().map(|(there, here)| (here.display().to_string(), PathBuf::from(there))).collect();
        back.sort_by_key(|(here, _)| std::cmp::Reverse(here.len()));
        atomic::write_file(&scratch.join(MANIFEST), mapped(&bytes, &back)?.as_bytes())?;
        let sent = format!("{below}/{MANIFEST}");
        self.files.retain(|f| f.remote != sent);
        self.file(&scratch.join(MANIFEST), &sent);
        // Comes last: from then on the run is known there.
        atomic::write_file(&scratch.join("run.txt"), format!("{folder}/{below}").as_bytes())?;
        self.file(&scratch.join("run.txt"), "run.txt");
        Ok(())
    }

    fn file(&mut self, local: &Path, remote: &str) {
        if !self.files.iter().any(|f| f.remote == remote) {
            self.files.push(Sent { local: local.to_path_buf(), remote: remote.to_owned(), program: false });
        }
    }

    /// A file, or the files of a folder without hidden ones.
    fn add(&mut self, path: &Path, below: &str) -> Result<(), Fault> {
        if path.is_file() {
            self.file(path, below);
            return Ok(());
        }
        let entries = std::fs::read_dir(path).map_err(|e| Fault::io("read", path, &e))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            self.add(&entry.path(), &format!("{below}/{name}"))?;
            if self.files.len() > MOST_FILES {
                return Err(Fault::new("too_many_files", format!("{}: more than {MOST_FILES} files", path.display()))
                    .hint("name a folder that holds the model alone"));
            }
        }
        Ok(())
    }
}
