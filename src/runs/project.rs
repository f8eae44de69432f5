//! A project: a folder with a configuration and its runs.

use std::path::{Path, PathBuf};

use crate::base::error::Fault;
use crate::config::RunConfig;

const CONFIG: &str = "config/fine_tuning_config.yaml";

/// Where a project's parts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The folder that relative paths of the configuration start from.
    pub root: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// The folder of its runs.
    pub runs: PathBuf,
}

impl Project {
    /// From what the user names: a project folder, or a configuration file. A file on its own makes its folder the
    /// project; a file in `config/` belongs to the folder above.
    ///
    /// # Errors
    /// When there is no configuration there.
    pub fn locate(named: &Path) -> Result<Self, Fault> {
        let (root, config) = if named.is_dir() {
            (named.to_path_buf(), named.join(CONFIG))
        } else {
            let parent = named.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let in_config = named.ends_with(CONFIG);
            let root = if in_config { parent.parent().map(Path::to_path_buf) } else { Some(parent.to_path_buf()) };
            (root.filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| PathBuf::from(".")), named.to_path_buf())
        };
        if !config.is_file() {
            return Err(Fault::new("config_not_found", format!("{}: there is no such configuration file", config.display()))
                .hint("name a YAML file, or a project folder that holds config/fine_tuning_config.yaml (`tallow init` makes one)"));
        }
        let root = root.canonicalize().map_err(|e| Fault::io("open", &root, &e))?;
        let runs = root.join("runs");
        Ok(Self { root, config, runs })
    }

    /// Where a run with these settings has its folder.
    pub fn runs_of(&self, config: &RunConfig) -> PathBuf {
        config.output_dir.clone().unwrap_or_else(|| self.runs.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_file_and_project_file() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("config")).unwrap();
        std::fs::write(root.join(CONFIG), "").unwrap();
        std::fs::write(root.join("one.yaml"), "").unwrap();
        for named in [root.clone(), root.join(CONFIG), root.join("one.yaml")] {
            let project = Project::locate(&named).unwrap();
            assert_eq!((project.root, project.runs), (root.clone(), root.join("runs")), "{named:?}");
        }
        assert_eq!(Project::locate(&root.join("none.yaml")).unwrap_err().code, "config_not_found");
    }
}
