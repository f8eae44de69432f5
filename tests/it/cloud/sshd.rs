//! A real SSH server of its own on this machine, with keys of its own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::program::Desk;

const SSHD: &str = "/usr/sbin/sshd";

/// An SSH server on this machine, whose logins have a home of their own.
pub struct Sshd {
    child: Child,
    pub port: u16,
    pub home: PathBuf,
    /// Keys that may log in.
    pub keys: PathBuf,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.workers().iter().for_each(|pid| drop(Command::new("kill").args(["-9", pid]).output()));
    }
}

pub fn user() -> String {
    String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned()
}

pub fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status().unwrap();
    assert!(made.success());
}

impl Sshd {
    /// `None` where no server is installed (Debian: openssh-server): the test is skipped.
    #[allow(clippy::print_stderr)] // a test has no other way to say that it was skipped
    pub fn start(desk: &Desk) -> Option<Self> {
        if !Path::new(SSHD).is_file() {
            eprintln!("skipped: {SSHD} is missing (Debian: openssh-server)");
            return None;
        }
        let dir = desk.path().join("sshd");
        let home = dir.join("home");
        fs::create_dir_all(&home).unwrap();
        // Where the server runs as root it wants this folder.
        let _ = fs::create_dir_all("/run/sshd");
        keygen(&dir.join("host"));
        keygen(&dir.join("client"));
        let keys = dir.join("authorized");
        fs::copy(dir.join("client.pub"), &keys).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nStrictModes no\nUsePAM no\n\
             PidFile none\nPasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n\
             SetEnv HOME={0}/home TALLOW_CACHE={0}/cache\n",
            dir.display()
        );
        fs::write(dir.join("config"), config).unwrap();
        let log = fs::File::create(dir.join("log")).unwrap();
        let mut command = Command::new(SSHD);
        command.arg("-D").arg("-e").arg("-f").arg(dir.join("config")).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap();
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", fs::read_to_string(dir.join("log")).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { child, port, home, keys })
    }

    /// Workers that a test which failed leaves behind: others would wait for them.
    fn workers(&self) -> Vec<String> {
        let runs = self.jobs().into_iter().flat_map(|job| fs::read_dir(job.join("project/runs")).into_iter().flatten().flatten());
        let job = |run: fs::DirEntry| serde_json::from_slice::<serde_json::Value>(&fs::read(run.path().join("job.json")).ok()?).ok();
        runs.filter_map(|run| Some(job(run)?["pid"].as_u64()?.to_string())).collect()
    }

    /// Folders of jobs there.
    pub fn jobs(&self) -> Vec<PathBuf> {
        fs::read_dir(self.home.join(".tallow/jobs")).into_iter().flatten().flatten().map(|e| e.path()).collect()
    }
}

/// The built program is large: a script that starts it is sent in its place.
pub fn program(desk: &Desk) -> String {
    let path = desk.write("tallow.sh", &format!("#!/bin/sh\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_tallow")));
    path.display().to_string()
}
