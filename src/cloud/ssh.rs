//! Another machine over the program `ssh`: commands, files whose hashes are checked, keys made for
//! one purpose.
//!
//! The other machine needs a POSIX shell and GNU's `find`, `sha256sum`, `stat` and `head`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::base::atomic;
use crate::base::cancel;
use crate::base::error::Fault;
use crate::base::hash::{sha256_bytes, sha256_file};

/// How to reach a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// `user@host`, `host`, or a name of `~/.ssh/config`.
    pub target: String,
    /// TCP port; `None`: as ssh's own configuration says.
    pub port: Option<u16>,
    /// Private key; `None`: as ssh's own configuration says.
    pub identity: Option<PathBuf>,
    /// File of known hosts; one that is seen for the first time is added. `None`: the user's own,
    /// and only known hosts.
    pub known_hosts: Option<PathBuf>,
}

/// A file to send: where it is, and where it goes below the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Here.
    pub local: PathBuf,
    /// There, relative.
    pub remote: String,
    /// Whether it is a program.
    pub program: bool,
}

/// Text as one word of a shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Makes a key pair without a passphrase, for one purpose; the public key. One that is there
/// already is used again.
///
/// # Errors
/// When `ssh-keygen` is missing or fails.
pub fn make_key(path: &Path) -> Result<String, Fault> {
    let public = path.with_extension("pub");
    if !public.is_file() {
        let _ = std::fs::remove_file(path);
        if let Some(folder) = path.parent() {
            atomic::create_dir_all(folder)?;
        }
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", "tallow", "-f"]).arg(path).stdin(Stdio::null());
        let made = command.output().map_err(|e| missing("ssh-keygen", &e))?;
        if !made.status.success() {
            return Err(Fault::new("ssh_key", format!("ssh-keygen failed: {}", tail(&made.stderr))).hint("check the folder of the keys"));
        }
    }
    std::fs::read_to_string(&public).map(|t| t.trim().to_owned()).map_err(|e| Fault::io("read", &public, &e))
}

fn missing(program: &str, e: &std::io::Error) -> Fault {
    Fault::new("ssh_missing", format!("cannot start {program}: {e}")).hint("install OpenSSH's client")
}

/// The last words of what a program said.
fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.trim().chars().filter(|c| !c.is_control() || *c == '\n').collect();
    let skip = text.chars().count().saturating_sub(600);
    text.chars().skip(skip).collect::<String>().replace('\n', "; ")
}

/// Tries of a file whose hash there is not what it is here.
const TRIES: u32 = 3;
/// Exit code of a sending whose hash there is another one.
const DAMAGED: i32 = 77;
/// Longest path of a socket, in bytes: systems allow about a hundred, and ssh appends a few of its own.
const LONGEST_SOCKET: usize = 80;
/// Names in one command: the length of a command is limited.
const MOST_NAMES: usize = 200;

/// The folder of shared connections: whoever can open a socket there can give commands, so it must
/// be this user's alone.
#[cfg(unix)]
fn sockets() -> Option<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let own = rustix::process::geteuid().as_raw();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|d| !d.is_empty()).map(|d| PathBuf::from(d).join("tallow-ssh"));
    let folder = runtime.unwrap_or_else(|| std::env::temp_dir().join(format!("tallow-ssh-{own}")));
    let _ = std::fs::DirBuilder::new().mode(0o700).create(&folder);
    let about = std::fs::symlink_metadata(&folder).ok()?;
    (about.is_dir() && about.uid() == own && about.mode() & 0o077 == 0).then_some(folder)
}

/// Windows' OpenSSH shares no connections.
#[cfg(not(unix))]
fn sockets() -> Option<PathBuf> {
    None
}

/// What a command there gave.
#[derive(Debug)]
pub struct Answer {
    /// Its exit code.
    pub code: i32,
    /// What it wrote.
    pub out: String,
    /// The end of what it wrote to standard error.
    pub said: String,
}

impl Host {
    /// A machine by its name as ssh takes it.
    ///
    /// # Errors
    /// When the name could be taken for an option, or holds blanks.
    pub fn new(target: &str) -> Result<Self, Fault> {
        let plain = !target.is_empty() && !target.starts_with('-') && target.chars().all(|c| c.is_ascii_graphic());
        if !plain {
            return Err(Fault::new("usage", format!("`{target}` is no machine's name")).hint("give user@host"));
        }
        Ok(Self { target: target.to_owned(), port: None, identity: None, known_hosts: None })
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]);
        command.args(["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]);
        if let Some(port) = self.port {
            command.arg("-p").arg(port.to_string());
        }
        if let Some(key) = &self.identity {
            command.arg("-i").arg(key).args(["-o", "IdentitiesOnly=yes"]);
        }
        if let Some(file) = &self.known_hosts {
            command.args(["-o", "StrictHostKeyChecking=accept-new", "-o"]).arg(format!("UserKnownHostsFile=\"{}\"", file.display()));
        }
        if let Some(socket) = self.shared_connection() {
            command
                .args(["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o"])
                .arg(format!("ControlPath=\"{}\"", socket.display()));
        }
        command.arg("--").arg(&self.target).arg(format!("exec sh -c {}", quoted(script)));
        command
    }

    /// The socket through which all commands to this machine share one connection: to connect takes
    /// longer than most of them. Another key is another connection. `None` where no folder is ours
    /// alone, or its path is too long for a socket.
    fn shared_connection(&self) -> Option<PathBuf> {
        let folder = sockets()?;
        let name = format!("{:?} {:?} {:?} {:?}", self.target, self.port, self.identity, self.known_hosts);
        let socket = folder.join(&sha256_bytes(name.as_bytes())[..16]);
        (socket.as_os_str().len() <= LONGEST_SOCKET).then_some(socket)
    }

    /// Runs a shell script there; what it wrote.
    ///
    /// # Errors
    /// `remote_unreachable` when there is no connection, `remote_failed` when the script fails.
    pub fn run(&self, script: &str) -> Result<String, Fault> {
        let answer = self.ask(script)?;
        if answer.code == 0 { Ok(answer.out) } else { Err(self.failed(answer.code, &answer.said)) }
    }

    /// Runs a shell script there, whatever its exit code.
    ///
    /// # Errors
    /// `remote_unreachable` when there is no connection.
    pub fn ask(&self, script: &str) -> Result<Answer, Fault> {
        cancel::checkpoint();
        let output = self.command(script).stdin(Stdio::null()).output().map_err(|e| missing("ssh", &e))?;
        let (code, said) = (self.exit_code(output.status, &output.stderr)?, tail(&output.stderr));
        Ok(Answer { code, out: String::from_utf8_lossy(&output.stdout).into_owned(), said })
    }

    /// The exit code of the command there.
    fn exit_code(&self, status: std::process::ExitStatus, said: &[u8]) -> Result<i32, Fault> {
        match status.code() {
            // ssh's own failure.
            Some(255) | None => Err(Fault::new("remote_unreachable", format!("{}: {}", self.target, tail(said)))
                .hint("check that `ssh` reaches it from this shell without a password")),
            Some(code) => Ok(code),
        }
    }

    fn failed(&self, code: i32, said: &str) -> Fault {
        Fault::new("remote_failed", format!("{}: exit code {code}: {said}", self.target)).hint("look at what it said")
    }

    fn judged(&self, status: std::process::ExitStatus, said: &[u8]) -> Result<(), Fault> {
        match self.exit_code(status, said)? {
            0 => Ok(()),
            code => Err(self.failed(code, &tail(said))),
        }
    }

    /// Sends files into a folder there: each is written under another name, hashed there, and then
    /// renamed. A file that is there already with the same hash is not sent again. `said` hears of
    /// each file, with its bytes, before it is sent.
    ///
    /// # Errors
    /// When there is no connection, no room, or a file arrives damaged again and again.
    pub fn send(&self, folder: &str, files: &[Sent], said: &mut dyn FnMut(&Sent, u64)) -> Result<(), Fault> {
        self.run(&format!("mkdir -p {}", quoted(folder)))?;
        for part in files.chunks(MOST_NAMES) {
            let names: String = part.iter().map(|f| format!(" {}", quoted(&f.remote))).collect();
            let there = self.run(&format!("cd {} && {{ sha256sum --{names} 2>/dev/null || true; }}", quoted(folder)))?;
            for file in part {
                let hash = sha256_file(&file.local)?;
                let is_there = there.lines().any(|l| l.split_once("  ").is_some_and(|(h, name)| h == hash && name == file.remote));
                if !is_there {
                    said(file, std::fs::metadata(&file.local).map_or(0, |m| m.len()));
                    self.send_whole(folder, file, &hash)?;
                }
            }
        }
        Ok(())
    }

    fn send_whole(&self, folder: &str, file: &Sent, hash: &str) -> Result<(), Fault> {
        // A client that was killed may have left a connection behind that still writes: every
        // sending has a name of its own.
        let part = format!("{}.part-{}", file.remote, super::new_tag());
        for _ in 0..TRIES {
            if self.send_part(folder, file, &part, hash)? {
                return Ok(());
            }
        }
        Err(Fault::new("remote_damaged", format!("{}: it arrives damaged", file.local.display()))
            .hint("check the connection and the other machine's disk"))
    }

    /// Whether what arrived has the hash; then it has its name too.
    fn send_part(&self, folder: &str, file: &Sent, part: &str, hash: &str) -> Result<bool, Fault> {
        cancel::checkpoint();
        let (name, part) = (quoted(&file.remote), quoted(part));
        let mode = if file.program { format!("chmod 755 {part} && ") } else { String::new() };
        let script = format!(
            "cd {} && mkdir -p \"$(dirname {part})\" && cat > {part} && h=$(sha256sum < {part}) || exit 1\n\
             [ \"${{h%% *}}\" = {hash} ] || exit {DAMAGED}\n{mode}mv -f {part} {name}",
            quoted(folder)
        );
        let input = File::open(&file.local).map_err(|e| Fault::io("read", &file.local, &e))?;
        let output = self.command(&script).stdin(Stdio::from(input)).output().map_err(|e| missing("ssh", &e))?;
        match self.exit_code(output.status, &output.stderr)? {
            DAMAGED => Ok(false),
            _ => self.judged(output.status, &output.stderr).map(|()| true),
        }
    }

    /// Fetches files of a folder there into a folder here, each whole or not at all; the hash of
    /// each. One that is gone there is left out.
    ///
    /// # Errors
    /// When the connection breaks: what has come until then stays.
    pub fn fetch(&self, folder: &str, names: &[String], into: &Path) -> Result<Vec<(String, String)>, Fault> {
        let mut got = Vec::new();
        for part in names.chunks(MOST_NAMES) {
            got.extend(self.fetch_part(folder, part, into)?);
        }
        Ok(got)
    }

    fn fetch_part(&self, folder: &str, names: &[String], into: &Path) -> Result<Vec<(String, String)>, Fault> {
        cancel::checkpoint();
        let mut script = format!("cd {} || exit 1\n", quoted(folder));
        for name in names {
            let name = quoted(name);
            // A file that grows is taken as long as it was; one that is replaced, as it was when it was
            // opened.
            let _ = writeln!(script, "{{ n=$(stat -c %s -) && echo \"$n\" && head -c \"$n\"; }} < {name} || echo gone");
        }
        let mut command = self.command(&script);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| missing("ssh", &e))?;
        let got = take_all(&mut child, names, into);
        if got.is_err() {
            let _ = child.kill();
        }
        let mut said = Vec::new();
        if let Some(stderr) = &mut child.stderr {
            let _ = stderr.read_to_end(&mut said);
        }
        let status = child.wait().map_err(|e| missing("ssh", &e))?;
        match got {
            Ok(got) => self.judged(status, &said).map(|()| got),
            Err(fault) => Err(self.judged(status, &said).err().filter(|_| fault.code == "remote_unreachable").unwrap_or(fault)),
        }
    }
}

/// Reads `size`, newline, content, for each name in its order.
fn take_all(child: &mut Child, names: &[String], into: &Path) -> Result<Vec<(String, String)>, Fault> {
    let broke = || Fault::new("remote_unreachable", "the connection broke in the middle of a file").hint("try again");
    let mut out = BufReader::new(child.stdout.take().ok_or_else(broke)?);
    let mut got = Vec::new();
    for name in names {
        let mut line = String::new();
        out.read_line(&mut line).map_err(|_| broke())?;
        if line.trim() == "gone" {
            continue;
        }
        let size: u64 = line.trim().parse().map_err(|_| broke())?;
        let target = into.join(name);
        let mut whole = true;
        atomic::write_with(&target, |file| {
            let mut left = (&mut out).take(size);
            let copied = std::io::copy(&mut left, file)?;
            whole = copied == size;
            // A file that is not whole gets no name.
            if whole { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
        })
        .map_err(|fault| if whole { fault } else { broke() })?;
        got.push((name.clone(), sha256_file(&target)?));
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_names_are_safe_in_a_shell() {
        for text in ["plain", "two words", "it's", "$HOME `x` \"y\"", "-n", "a\nb", "'; rm -rf x; '"] {
            let echoed = Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted(text))).output().unwrap();
            assert_eq!(String::from_utf8(echoed.stdout).unwrap(), text);
        }
        for bad in ["", "-oProxyCommand=x", "a b", "a\nb"] {
            assert_eq!(Host::new(bad).unwrap_err().code, "usage", "{bad}");
        }
    }
}
