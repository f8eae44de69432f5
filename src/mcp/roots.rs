//! The folders that a client may use. Symbolic links and `..` are resolved before a path is judged.

use std::path::{Component, Path, PathBuf};

use crate::app::models;
use crate::base::error::Fault;
use crate::config::RunConfig;
use crate::runs::{self, Project, RunFolder, not_plain, only_plain};

/// The folders, with all links resolved.
#[derive(Debug, Clone)]
pub(crate) struct Roots(Vec<PathBuf>);

/// Folders below a root that are looked at for projects.
const MOST_FOLDERS: usize = 500;
/// Longest path that is looked at.
const MOST_PATH_BYTES: usize = 4096;

impl Roots {
    pub(crate) fn new(named: &[PathBuf]) -> Result<Self, Fault> {
        let named = if named.is_empty() { vec![PathBuf::from(".")] } else { named.to_vec() };
        let open = |p: &PathBuf| {
            let path = p.canonicalize().map_err(|e| Fault::io("open", p, &e))?;
            if path.is_dir() { Ok(path) } else { Err(Fault::new("not_a_folder", format!("{}: not a folder", path.display()))) }
        };
        named.iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// The folders as another process of this program knows them: their links are resolved already.
    pub(crate) fn known(resolved: Vec<PathBuf>) -> Self {
        Self(resolved)
    }

    /// The folder that relative paths start from.
    pub(crate) fn first(&self) -> &Path {
        &self.0[0]
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(PathBuf::as_path)
    }

    /// Projects: the folders themselves and those right below them that hold a configuration.
    pub(crate) fn projects(&self) -> Vec<PathBuf> {
        let is_project = |p: &Path| p.join("config/fine_tuning_config.yaml").is_file();
        let mut all = Vec::new();
        for root in self.all() {
            if is_project(root) {
                all.push(root.to_path_buf());
            }
            let below = std::fs::read_dir(root).into_iter().flatten().flatten().take(MOST_FOLDERS).map(|e| e.path());
            all.extend(below.filter(|p| is_project(p)));
        }
        all.sort();
        all.dedup();
        all.retain(|p| self.allow(p).is_ok());
        all
    }

    /// A path as it really lies on disk, whether it exists or not; below one of the folders.
    pub(crate) fn allow(&self, path: impl AsRef<Path>) -> Result<PathBuf, Fault> {
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
        if !self.0.iter().any(|root| real.starts_with(root)) {
            return Err(self.refuse(path));
        }
        // Looked at without opening it: opening a pipe would wait for somebody at its other end.
        match std::fs::metadata(&real) {
            Ok(data) if !data.is_file() && !data.is_dir() => Err(not_plain(path)),
            _ => Ok(real),
        }
    }

    /// The end of a text file below a root, opened so that no link on the way leads outside; empty where there is none.
    pub(crate) fn tail(&self, path: &Path, most_bytes: u64) -> Vec<u8> {
        self.open_beneath(path).and_then(|mut file| read_tail(&mut file, most_bytes)).unwrap_or_default()
    }

    /// A file below a root, opened so that no link on the way leads outside.
    ///
    /// # Errors
    /// When it is not there, is no plain file, or lies elsewhere.
    pub(crate) fn open_beneath(&self, path: &Path) -> std::io::Result<std::fs::File> {
        use std::io::{Error, ErrorKind};
        let below = |root: &PathBuf| Some((root.clone(), path.strip_prefix(root).ok()?.to_path_buf()));
        let (root, relative) = self.0.iter().find_map(below).ok_or(ErrorKind::PermissionDenied)?;
        let folder = cap_std::fs::Dir::open_ambient_dir(root, cap_std::ambient_authority())?;
        let mut options = cap_std::fs::OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use cap_std::fs::OpenOptionsExt;
            // A pipe is opened without waiting for its other end, and refused below.
            options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
        }
        let file = folder.open_with(relative, &options)?;
        if file.metadata()?.is_file() { Ok(file.into_std()) } else { Err(Error::from(ErrorKind::InvalidInput)) }
    }

    fn refuse(&self, path: &Path) -> Fault {
        let roots: Vec<String> = self.0.iter().map(|r| r.display().to_string()).collect();
        Fault::new("path_outside_roots", format!("{}: outside of the folders that this server may use", path.display()))
            .hint(format!("use a path below {}, or start the server with another root", roots.join(" or ")))
    }

    /// A model as a client names it: `embedded`, a folder, or a Hub id.
    pub(crate) fn model(&self, name: &str) -> Result<String, Fault> {
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
        let real = self.allow(name)?;
        only_plain(&real)?;
        Ok(real.display().to_string())
    }

    /// A project, or a configuration file.
    pub(crate) fn project(&self, path: &str) -> Result<Project, Fault> {
        let project = Project::locate(&self.allow(path)?)?;
        // A configuration that is a link, or a folder of runs that is one, may lie elsewhere.
        self.allow(&project.config)?;
        self.allow(&project.runs)?;
        Ok(project)
    }

    /// A run by its name under a project.
    pub(crate) fn run(&self, project: &str, run_id: &str) -> Result<RunFolder, Fault> {
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
    pub(crate) fn settings(&self, config: &RunConfig) -> Result<(), Fault> {
        let d = &config.dataset;
        let data = [&d.path, &d.train_path, &d.validation_path, &d.test_path, &d.stage2_path];
        let more = [&config.base_model.local_path, &config.tensorboard.log_dir, &config.carbon_tracking.output_dir];
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

fn read_tail(file: &mut std::fs::File, most_bytes: u64) -> std::io::Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most_bytes)))?;
    let mut bytes = Vec::new();
    file.take(most_bytes).read_to_end(&mut bytes)?;
    if length > most_bytes {
        // The first line is a part of one.
        let cut = bytes.iter().position(|b| *b == b'\n').map_or(0, |i| i + 1);
        bytes.drain(..cut);
    }
    Ok(bytes)
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
                assert!(roots.tail(&base.join("root").join(bad), 100).is_empty(), "{bad}");
            }
            // Opening a pipe or a device would wait, or never end.
            let pipe = base.join("root/pipe");
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            symlink("/dev/zero", base.join("root/zero")).unwrap();
            assert_eq!(roots.allow("pipe").unwrap_err().code, "not_a_file");
            assert!(roots.allow("zero").is_err() && roots.tail(&pipe, 100).is_empty());
            std::fs::write(base.join("root/log"), "one\ntwo\nthree\n").unwrap();
            symlink("log", base.join("root/inside")).unwrap();
            for (name, most, wanted) in [("log", 100, "one\ntwo\nthree\n"), ("log", 8, "three\n"), ("inside", 100, "one\ntwo\nthree\n")] {
                assert_eq!(roots.tail(&base.join("root").join(name), most), wanted.as_bytes(), "{name} {most}");
            }
        }
        for (name, ok) in [("embedded", true), ("org/model", true), ("../x", false), ("/etc", false), ("a b/c", false), ("org/..", false)] {
            assert_eq!(roots.model(name).is_ok(), ok, "{name}");
        }
    }
}
