//! A run's folder and its lock.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::manifest::{Manifest, Status};
use crate::base::atomic;
use crate::base::clock;
use crate::base::error::Fault;
use crate::config::RunConfig;

/// A run's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

/// Held while a process works on a run. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

/// The folders of a stage.
const STAGE_PARTS: [&str; 4] = ["adapters", "training-data", "evaluation", "checkpoints"];

impl RunFolder {
    /// Makes the folder of a new run under `runs`, named after `name` and the time, with its first manifest.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn create(runs: &Path, name: &str, config: &RunConfig) -> Result<Self, Fault> {
        Self::create_filled(runs, name, config, &|_, manifest| Ok(manifest))
    }

    /// The same with more in it: `fill` puts it there and gives the manifest, before anybody sees the folder.
    ///
    /// # Errors
    /// As [`Self::create`], and those of `fill`.
    pub fn create_filled(
        runs: &Path,
        name: &str,
        config: &RunConfig,
        fill: &dyn Fn(&Path, Manifest) -> Result<Manifest, Fault>,
    ) -> Result<Self, Fault> {
        // What killed processes left of folders that they were making.
        atomic::sweep(runs);
        let name = folder_name(name);
        let stamp = clock::folder_stamp();
        let candidates = (1..1000).map(|i| if i == 1 { format!("{name}-{stamp}") } else { format!("{name}-{stamp}-{i}") });
        for id in candidates {
            match Self::create_as(&runs.join(&id), Manifest::new(&id, &name, config), fill) {
                // Taken, perhaps only now by another process: the next number.
                Err(fault) if fault.code == "already_exists" => {}
                result => return result,
            }
        }
        Err(Fault::new("already_exists", format!("{}: a thousand runs of this second exist", runs.display())))
    }

    /// Makes the folder unless there is one.
    fn create_as(target: &Path, manifest: Manifest, fill: &dyn Fn(&Path, Manifest) -> Result<Manifest, Fault>) -> Result<Self, Fault> {
        let folder = atomic::AtomicDir::new(target)?;
        for stage in 1..=manifest.config.training.num_stages {
            for part in STAGE_PARTS {
                atomic::create_dir_all(&folder.path().join(format!("stage{stage}")).join(part))?;
            }
        }
        fill(folder.path(), manifest)?.write(&folder.path().join("run-manifest.json"))?;
        folder.commit()?;
        Ok(Self { path: target.to_path_buf() })
    }

    /// An existing run's folder.
    ///
    /// # Errors
    /// When there is no manifest in it.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let folder = Self { path: path.to_path_buf() };
        if !folder.manifest_path().is_file() {
            return Err(Fault::new("run_not_found", format!("{}: no run here (run-manifest.json is missing)", path.display()))
                .hint("`tallow runs list` shows the runs of a project"));
        }
        only_plain(path)?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name.
    pub fn id(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Its manifest's path.
    pub fn manifest_path(&self) -> PathBuf {
        self.path.join("run-manifest.json")
    }

    /// A stage's folder.
    pub fn stage(&self, stage: usize) -> PathBuf {
        self.path.join(format!("stage{stage}"))
    }

    /// A stage's checkpoints.
    pub fn checkpoints(&self, stage: usize) -> PathBuf {
        self.stage(stage).join("checkpoints")
    }

    /// A path inside the run as the manifest writes it: relative.
    pub fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.path).unwrap_or(path).to_path_buf()
    }

    /// The manifest; a run that says it is running while nobody holds its lock was interrupted.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub fn manifest(&self) -> Result<Manifest, Fault> {
        let mut manifest = Manifest::read(&self.manifest_path())?;
        if manifest.status == Status::Running && self.try_lock()?.is_some() {
            manifest.status = Status::Interrupted;
        }
        Ok(manifest)
    }

    /// Writes the manifest.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), Fault> {
        manifest.write(&self.manifest_path())
    }

    fn try_lock(&self) -> Result<Option<RunLock>, Fault> {
        let path = self.path.join("run.lock");
        let file = File::options().create(true).append(true).open(&path);
        let file = match file {
            Ok(file) => file,
            // A run on a read-only disk can be looked at; nobody works on it.
            Err(e) if matches!(e.kind(), std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem) => return Ok(None),
            Err(e) => return Err(Fault::io("open", &path, &e)),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(RunLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(Fault::io("lock", &path, &e)),
        }
    }

    /// A reader that looks whether the lock is held holds it for a moment itself: that is waited out.
    fn patient_lock(&self) -> Result<Option<RunLock>, Fault> {
        for _ in 0..20 {
            if let Some(lock) = self.try_lock()? {
                return Ok(Some(lock));
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Ok(None)
    }

    /// Takes the run for this process and sweeps away what a killed one left half-written.
    ///
    /// # Errors
    /// When another process works on it.
    pub fn lock(&self) -> Result<RunLock, Fault> {
        let lock = self.patient_lock()?.ok_or_else(|| {
            Fault::new("run_busy", format!("{}: another process is working on this run", self.path.display()))
                .hint("stop it first (Ctrl-C or SIGTERM; it writes a checkpoint and ends)")
        })?;
        self.sweep();
        Ok(lock)
    }

    /// Removes what killed processes left half-written: in the folder, in those in it, and in the parts of stages.
    pub fn sweep(&self) {
        atomic::sweep(&self.path);
        let folders = std::fs::read_dir(&self.path).into_iter().flatten().flatten().map(|entry| entry.path());
        // A link may lead out of the run.
        folders.filter(|path| path.is_dir() && !path.is_symlink()).for_each(|path| {
            atomic::sweep(&path);
        });
        for stage in 1..=2 {
            STAGE_PARTS.iter().for_each(|part| {
                atomic::sweep(&self.stage(stage).join(part));
            });
        }
    }
}

/// Files of a folder that are looked at.
const MOST_ENTRIES: usize = 1000;

/// Refuses a folder in which a file is a pipe, a socket or a device: opening one could wait for ever.
///
/// # Errors
/// When there is one.
pub fn only_plain(folder: &Path) -> Result<(), Fault> {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_ENTRIES) {
        // A link is judged by what it leads to.
        let is_plain = entry.file_type().is_ok_and(|kind| kind.is_file() || kind.is_dir());
        if !is_plain && std::fs::metadata(entry.path()).is_ok_and(|data| !data.is_file() && !data.is_dir()) {
            return Err(not_plain(&entry.path()));
        }
    }
    Ok(())
}

/// The refusal of what is neither a file nor a folder.
pub fn not_plain(path: &Path) -> Fault {
    Fault::new("not_a_file", format!("{}: neither a file nor a folder (a pipe, a socket or a device)", path.display()))
        .hint("name a regular file")
}

/// Letters and digits of any script, and a few signs: nothing that a shell, a file system or a terminal takes for more.
pub fn is_name_letter(c: char) -> bool {
    let unseen = ['\u{200b}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2060}'..='\u{206f}', '\u{feff}'..='\u{feff}'];
    let foreign = !c.is_ascii() && !c.is_whitespace() && !c.is_control() && !unseen.iter().any(|r| r.contains(&c));
    c.is_ascii_alphanumeric() || "-_.".contains(c) || foreign
}

/// A name that is safe as a folder's.
fn folder_name(name: &str) -> String {
    // Room is left for the time, a number, and the endings of temporary files.
    const MOST_BYTES: usize = 150;
    let safe = |c: char| if is_name_letter(c) { c } else { '-' };
    let mut left = MOST_BYTES;
    let fits = |c: &char| left.checked_sub(c.len_utf8()).map(|rest| left = rest).is_some();
    let name: String = name.chars().map(safe).take_while(fits).collect();
    let name = name.trim_matches(['.', '-']).to_owned();
    if name.is_empty() { "run".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_letters() {
        for (name, want) in [
            ("first try", "first-try"),
            ("Läuferstraße", "Läuferstraße"),
            ("試験 1", "試験-1"),
            ("हिन्दी", "हिन्दी"),
            ("../x", "x"),
            ("a/b\\c:d\u{202e}e", "a-b-c-d-e"),
            ("", "run"),
        ] {
            assert_eq!(folder_name(name), want, "{name}");
        }
        let long = folder_name(&"試".repeat(200));
        assert!(long.len() <= 150 && long.chars().all(|c| c == '試'), "{long}");
    }
}
