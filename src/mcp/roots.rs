//! The folders that a client may use. Symbolic links and `..` are resolved before a path is judged.

use std::path::{Component, Path, PathBuf};

use crate::app::models;
use crate::base::error::Fault;
use crate::config::RunConfig;
use crate::runs::{self, Project, RunFolder};

/// The folders, with all links resolved.
#[derive(Debug, Clone)]
pub(super) struct Roots(Vec<PathBuf>);

/// Longest path that is looked at.
const MOST_PATH_BYTES: usize = 4096;

impl Roots {
    pub(super) fn new(named: &[PathBuf]) -> Result<Self, Fault> {
        let named = if named.is_empty() { vec![PathBuf::from(".")] } else { named.to_vec() };
        let open = |p: &PathBuf| {
            let path = p.canonicalize().map_err(|e| Fault::io("open", p, &e))?;
            if path.is_dir() { Ok(path) } else { Err(Fault::new("not_a_folder", format!("{}: not a folder", path.display()))) }
        };
        named.iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// The folder that relative paths start from.
    pub(super) fn first(&self) -> &Path {
        &self.0[0]
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(PathBuf::as_path)
    }

    /// A path as it really lies on disk, whether it exists or not; below one of the folders.
    pub(super) fn allow(&self, path: impl AsRef<Path>) -> Result<PathBuf, Fault> {
        let path = path.as_ref();
        let text = path.as_os_str().as_encoded_bytes();
        if text.is_empty() || text.len() > MOST_PATH_BYTES || text.contains(&0) {
            return Err(Fault::new("bad_path", "a path is empty, too long, or holds a zero byte").hint("name a file or a folder"));
        }
        let joined = self.first().join(path);
        let real = real(&joined).ok_or_else(|| self.refuse(path))?;
        // A configuration would fill in variables: their values are no business of a client.
        if (text.contains(&b'$') || text[0] == b'~') && !real.exists() {
            return Err(Fault::new("bad_path", format!("{}: variables and ~ are not filled in", path.display())).hint("write the path out"));
        }
        if self.0.iter().any(|root| real.starts_with(root)) { Ok(real) } else { Err(self.refuse(path)) }
    }

    fn refuse(&self, path: &Path) -> Fault {
        let roots: Vec<String> = self.0.iter().map(|r| r.display().to_string()).collect();
        Fault::new("path_outside_roots", format!("{}: outside of the folders that this server may use", path.display()))
            .hint(format!("use a path below {}, or start the server with another --root", roots.join(" or ")))
    }

    /// A model as a client names it: `embedded`, a folder, or a Hub id.
    pub(super) fn model(&self, name: &str) -> Result<String, Fault> {
        if name == models::EMBEDDED {
            return Ok(name.to_owned());
        }
        let below = self.first().join(name);
        if models::is_hub_id(name) && !below.exists() {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
            if name.len() > 200 || !name.chars().all(plain) || name.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
                return Err(Fault::new("bad_model", "this is neither a folder nor a Hub id").hint("a Hub id is owner/name"));
            }
            return Ok(name.to_owned());
        }
        Ok(self.allow(name)?.display().to_string())
    }

    /// A project, or a configuration file.
    pub(super) fn project(&self, path: &str) -> Result<Project, Fault> {
        let project = Project::locate(&self.allow(path)?)?;
        // A configuration that is a link, or a folder of runs that is one, may lie elsewhere.
        self.allow(&project.config)?;
        self.allow(&project.runs)?;
        Ok(project)
    }

    /// A run by its name under a project.
    pub(super) fn run(&self, project: &str, run_id: &str) -> Result<RunFolder, Fault> {
        let project = self.project(project)?;
        if run_id.is_empty() || run_id.len() > 255 || run_id.contains(['/', '\\', '\0']) || run_id.starts_with('.') {
            return Err(Fault::new("run_not_found", "a run_id is the name of a folder below runs/").hint("list_runs shows them"));
        }
        let named = project.runs.join(run_id);
        // A whole name needs no look at the other runs; the beginning of one does.
        let folder = if named.is_dir() { named } else { project.runs.join(runs::find(&project.root, run_id)?.id()) };
        RunFolder::open(&self.allow(folder)?)
    }

    /// Every path of a run's settings.
    pub(super) fn settings(&self, config: &RunConfig) -> Result<(), Fault> {
        let d = &config.dataset;
        let data = [&d.path, &d.train_path, &d.validation_path, &d.test_path, &d.stage2_path];
        let more = [&config.base_model.local_path, &config.tensorboard.log_dir];
        for path in data.into_iter().chain(more).flatten() {
            self.allow(path)?;
        }
        if config.output_dir.is_some() {
            return Err(
                Fault::new("config_invalid", "`output_dir`: the runs of a server lie in runs/ of their project").hint("leave it out")
            );
        }
        if let (None, Some(id)) = (&config.base_model.local_path, &config.base_model.model_id) {
            self.model(id)?;
        }
        Ok(())
    }
}

/// The path with its links resolved as far as it exists; what does not exist may hold no `..`.
fn real(path: &Path) -> Option<PathBuf> {
    let mut existing = path.to_path_buf();
    let mut missing = Vec::new();
    loop {
        if let Ok(real) = existing.canonicalize() {
            let tail: PathBuf = missing.iter().rev().collect();
            return Some(if missing.is_empty() { real } else { real.join(tail) });
        }
        // A link to nowhere would be followed when it is written to.
        if existing.is_symlink() {
            return None;
        }
        match existing.components().next_back()? {
            Component::Normal(name) => missing.push(name.to_owned()),
            Component::CurDir => {}
            _ => return None,
        }
        existing = existing.parent()?.to_path_buf();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_a_root_passes() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("root/sub")).unwrap();
        std::fs::create_dir_all(base.join("root2")).unwrap();
        std::fs::write(base.join("secret"), "x").unwrap();
        let roots = Roots::new(&[base.join("root")]).unwrap();
        let good = |path: &str, want: &str| assert_eq!(roots.allow(path).unwrap(), base.join(want), "{path}");
        good("sub", "root/sub");
        good("sub/../new/file", "root/new/file");
        good("./a", "root/a");
        good(base.join("root/x").to_str().unwrap(), "root/x");
        for bad in [
            "..",
            "../secret",
            "sub/../../secret",
            "new/../../secret",
            "/etc/passwd",
            "",
            "a\0b",
            "../root2",
            "../root2/x",
            &"a/".repeat(5000),
            "$HOME/x",
            "data/${HF_TOKEN}.jsonl",
            "~/x",
        ] {
            assert!(roots.allow(bad).is_err(), "{bad}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::symlink;
            symlink(base.join("secret"), base.join("root/link")).unwrap();
            symlink(base.join("nowhere"), base.join("root/dangling")).unwrap();
            symlink(&base, base.join("root/up")).unwrap();
            for bad in ["link", "dangling", "dangling/x", "up/secret", "up/new"] {
                assert!(roots.allow(bad).is_err(), "{bad}");
            }
        }
        for (name, ok) in [("embedded", true), ("org/model", true), ("../x", false), ("/etc", false), ("a b/c", false), ("org/..", false)] {
            assert_eq!(roots.model(name).is_ok(), ok, "{name}");
        }
    }
}
