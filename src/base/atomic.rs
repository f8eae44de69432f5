//! Files and folders that are whole or absent: written under a temporary name beside the target, synced, renamed.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::Fault;

/// What temporary names start with, so that left-overs of a killed process can be told.
pub const TEMPORARY_PREFIX: &str = ".tallow-tmp-";

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Locks a temporary file or folder, so that nobody takes it for a left-over. Where locks are not supported it is young
/// enough to be let be for a while.
fn hold(file: &File) {
    let _ = file.try_lock();
}

/// Makes a folder and its parents.
///
/// # Errors
/// When it cannot be made.
pub fn create_dir_all(path: &Path) -> Result<(), Fault> {
    use std::io::ErrorKind as K;
    fs::create_dir_all(path).map_err(|e| match e.kind() {
        // Its name, or a part of its path, belongs to a file.
        K::AlreadyExists | K::NotADirectory => Fault::io("make the folder", path, &K::NotADirectory.into()),
        _ => Fault::io("make the folder", path, &e),
    })
}

/// A file under a second name: linked where the disk can do that, so that a large one takes its space once. Only files of
/// weights are, which are never written again in place.
///
/// # Errors
/// When it cannot be read or written.
pub fn link_or_copy(from: &Path, to: &Path) -> Result<(), Fault> {
    create_dir_all(parent(to))?;
    let is_weights = from.extension().is_some_and(|e| e == "safetensors");
    if is_weights && fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to).map(|_| ()).map_err(|e| Fault::io("copy", from, &e))
}

fn sync_folder(path: &Path) -> Result<(), Fault> {
    // A rename is durable once its folder is. Where folders cannot be opened, the system orders it.
    match File::open(path) {
        Ok(f) => f.sync_all().or_else(|e| if e.kind() == std::io::ErrorKind::InvalidInput { Ok(()) } else { Err(e) }),
        Err(_) if cfg!(windows) => Ok(()),
        Err(e) => Err(e),
    }
    .map_err(|e| Fault::io("sync the folder", path, &e))
}

/// Writes a file whole.
///
/// # Errors
/// When the disk is full, the folder cannot be written, and so on; the old file then still stands.
pub fn write_file(path: &Path, content: &[u8]) -> Result<(), Fault> {
    write_with(path, |f| f.write_all(content))
}

/// Writes a file whole from what `f` writes.
///
/// # Errors
/// As [`write_file`].
pub fn write_with(path: &Path, f: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<(), Fault> {
    let folder = parent(path);
    create_dir_all(folder)?;
    let fault = |e: std::io::Error| Fault::io("write", path, &e);
    let temporary = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).permissions_if_unix().tempfile_in(folder).map_err(fault)?;
    hold(temporary.as_file());
    let mut buffered = std::io::BufWriter::new(temporary);
    f(&mut buffered).and_then(|()| buffered.flush()).map_err(fault)?;
    let temporary = buffered.into_inner().map_err(|e| fault(e.into_error()))?;
    temporary.as_file().sync_all().map_err(fault)?;
    temporary.persist(path).map_err(|e| fault(e.error))?;
    sync_folder(folder)
}

/// The folder of a target that does not exist yet; made where it is missing. What killed processes left half-made in
/// it is removed: whoever makes the next thing there tidies up.
fn room_for(target: &Path) -> Result<&Path, Fault> {
    if target.exists() {
        return Err(
            Fault::new("already_exists", format!("{} exists already", target.display())).hint("choose another name, or remove it first")
        );
    }
    let folder = parent(target);
    create_dir_all(folder)?;
    sweep_abandoned(target);
    Ok(folder)
}

/// A file that can be read again under its temporary name before it gets its own.
#[derive(Debug)]
pub struct AtomicFile {
    temporary: tempfile::NamedTempFile,
    target: PathBuf,
}

impl AtomicFile {
    /// Starts a file that will be `target`, which must not exist.
    ///
    /// # Errors
    /// When the target exists or its folder cannot be written.
    pub fn new(target: &Path) -> Result<Self, Fault> {
        let folder = room_for(target)?;
        let made = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).permissions_if_unix().tempfile_in(folder);
        let temporary = made.map_err(|e| Fault::io("make a file in", folder, &e))?;
        hold(temporary.as_file());
        Ok(Self { temporary, target: target.to_path_buf() })
    }

    /// Where it is meanwhile.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Where to write.
    pub fn file(&self) -> &File {
        self.temporary.as_file()
    }

    /// Syncs it and gives it its name. Without this call it vanishes.
    ///
    /// # Errors
    /// When the disk refuses; then nothing of it remains.
    pub fn commit(self) -> Result<(), Fault> {
        let fault = |e: std::io::Error| Fault::io("write", &self.target, &e);
        self.temporary.as_file().sync_all().map_err(fault)?;
        self.temporary.persist_noclobber(&self.target).map_err(|e| Fault::io("write", &self.target, &e.error))?;
        sync_folder(parent(&self.target))
    }
}

trait Permissions {
    fn permissions_if_unix(&mut self) -> &mut Self;
}

impl Permissions for tempfile::Builder<'_, '_> {
    /// Temporary files are private by default; what we write is meant to be read by others.
    fn permissions_if_unix(&mut self) -> &mut Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            self.permissions(fs::Permissions::from_mode(0o644));
        }
        self
    }
}

/// A folder that appears under its name only when it is complete.
#[derive(Debug)]
pub struct AtomicDir {
    temporary: tempfile::TempDir,
    /// Tells others that this process lives.
    _held: Option<File>,
    target: PathBuf,
}

impl AtomicDir {
    /// Starts a folder that will be `target`, which must not exist.
    ///
    /// # Errors
    /// When the target exists or its parent cannot be written.
    pub fn new(target: &Path) -> Result<Self, Fault> {
        let folder = room_for(target)?;
        let temporary =
            tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempdir_in(folder).map_err(|e| Fault::io("make a folder in", folder, &e))?;
        let _held = File::open(temporary.path()).ok();
        _held.iter().for_each(hold);
        Ok(Self { temporary, _held, target: target.to_path_buf() })
    }

    /// Where to write meanwhile.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Syncs every file and gives the folder its name. Without this call it vanishes.
    ///
    /// # Errors
    /// When syncing or renaming fails; then nothing of it remains.
    pub fn commit(self) -> Result<(), Fault> {
        sync_tree(self.temporary.path())?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let path = self.temporary.path();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(|e| Fault::io("open up", path, &e))?;
        }
        fs::rename(self.temporary.path(), &self.target).map_err(|e| Fault::io("write", &self.target, &e))?;
        // The folder has moved, so there is nothing left to remove.
        let _ = self.temporary.keep();
        sync_folder(parent(&self.target))
    }
}

fn sync_tree(path: &Path) -> Result<(), Fault> {
    let fault = |path: &Path, e: std::io::Error| Fault::io("sync", path, &e);
    for entry in fs::read_dir(path).map_err(|e| fault(path, e))? {
        let entry = entry.map_err(|e| fault(path, e))?;
        let child = entry.path();
        if entry.file_type().map_err(|e| fault(&child, e))?.is_dir() {
            sync_tree(&child)?;
        } else {
            File::open(&child).and_then(|f| f.sync_all()).map_err(|e| fault(&child, e))?;
        }
    }
    sync_folder(path)
}

/// Files under 5 s old are kept: their owner may not have locked them yet.
const SETTLED: Duration = Duration::from_secs(5);
/// The same for a folder that its owner has just taken, where a moment can be waited out.
const JUST_MADE: Duration = Duration::from_millis(500);

/// Temporary files and folders directly under `folder` that no process holds. Whoever writes one holds a lock on it,
/// which the system releases when the process ends.
fn unheld(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let temporary = entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX));
    temporary.map(|e| e.path()).filter(|p| File::open(p).is_ok_and(|f| f.try_lock().is_ok())).collect()
}

fn is_older(path: &Path, than: Duration) -> bool {
    let changed = fs::symlink_metadata(path).and_then(|m| m.modified());
    changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > than))
}

fn remove_all(paths: &[PathBuf]) -> usize {
    let remove = |p: &&PathBuf| if p.is_dir() { fs::remove_dir_all(p).is_ok() } else { fs::remove_file(p).is_ok() };
    paths.iter().filter(remove).count()
}

/// Removes the temporary files and folders that killed processes left directly under `folder`; says how many. Those made
/// within the last half second are waited for, since their owner may be about to lock them.
pub fn sweep(folder: &Path) -> usize {
    let until = Instant::now() + 2 * JUST_MADE;
    let mut removed = 0;
    loop {
        let (old, young): (Vec<_>, Vec<_>) = unheld(folder).into_iter().partition(|p| is_older(p, JUST_MADE));
        removed += remove_all(&old);
        if young.is_empty() || Instant::now() > until {
            return removed;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Temporary files and folders beside `target` whose process is gone.
pub fn abandoned(target: &Path) -> Vec<PathBuf> {
    unheld(parent(target)).into_iter().filter(|p| is_older(p, SETTLED)).collect()
}

/// Removes what [`abandoned`] finds; says how many.
pub fn sweep_abandoned(target: &Path) -> usize {
    remove_all(&abandoned(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_file(&path, b"old").unwrap();
        let failed = write_with(&path, |f| {
            f.write_all(b"half")?;
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        });
        assert_eq!(failed.unwrap_err().code, "disk_full");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("t");
        drop(AtomicDir::new(&target).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let folder = AtomicDir::new(&target).unwrap();
        fs::write(folder.path().join("x"), b"1").unwrap();
        assert!(!target.exists());
        folder.commit().unwrap();
        assert_eq!(fs::read(target.join("x")).unwrap(), b"1");
        assert_eq!(AtomicDir::new(&target).unwrap_err().code, "already_exists");
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("t");
        drop(AtomicFile::new(&target).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let file = AtomicFile::new(&target).unwrap();
        file.file().write_all(b"1").unwrap();
        assert!(!target.exists() && fs::read(file.path()).unwrap() == b"1");
        file.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"1");
        assert_eq!(AtomicFile::new(&target).unwrap_err().code, "already_exists");
    }

    #[test]
    fn only_what_nobody_works_on_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let (target, old) = (dir.path().join("t"), std::time::SystemTime::now() - 10 * SETTLED);
        let age = |path: &Path| File::open(path).unwrap().set_modified(old).unwrap();
        let (file, folder) = (AtomicFile::new(&target).unwrap(), AtomicDir::new(&target).unwrap());
        fs::write(folder.path().join("part"), b"1").unwrap();
        age(file.path());
        age(folder.path());
        let (dead_file, dead_folder, young) =
            (dir.path().join(".tallow-tmp-a"), dir.path().join(".tallow-tmp-b"), dir.path().join(".tallow-tmp-c"));
        fs::write(&dead_file, b"1").unwrap();
        fs::create_dir(&dead_folder).unwrap();
        fs::write(dead_folder.join("x"), b"1").unwrap();
        fs::write(&young, b"1").unwrap();
        fs::write(dir.path().join("mine"), b"1").unwrap();
        age(&dead_file);
        age(&dead_folder);
        age(&dir.path().join("mine"));
        assert_eq!(sweep_abandoned(&target), 2);
        assert!(!dead_file.exists() && !dead_folder.exists() && young.exists() && dir.path().join("mine").exists());
        assert!(file.path().exists() && folder.path().join("part").exists());
    }

    #[test]
    fn a_folder_that_was_taken_is_swept_of_what_was_just_made_too() {
        let dir = tempfile::tempdir().unwrap();
        let held = AtomicFile::new(&dir.path().join("t")).unwrap();
        fs::write(dir.path().join(".tallow-tmp-a"), b"1").unwrap();
        fs::create_dir(dir.path().join(".tallow-tmp-b")).unwrap();
        assert_eq!(sweep(dir.path()), 2);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        held.commit().unwrap();
    }

    #[test]
    fn the_next_one_made_there_sweeps_what_a_killed_process_left() {
        let dir = tempfile::tempdir().unwrap();
        let dead = dir.path().join(".tallow-tmp-a");
        fs::create_dir(&dead).unwrap();
        File::open(&dead).unwrap().set_modified(std::time::SystemTime::now() - 10 * SETTLED).unwrap();
        AtomicDir::new(&dir.path().join("t")).unwrap().commit().unwrap();
        assert!(!dead.exists());
    }

    #[test]
    fn a_path_under_a_file_says_so() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), b"").unwrap();
        assert_eq!(write_file(&dir.path().join("f/x"), b"").unwrap_err().code, "not_a_folder");
    }
}
