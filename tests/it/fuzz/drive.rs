//! Runs inputs in a child process and watches it: a panic, a crash, an input that takes too long
//! and one that takes too much memory are each a finding, and the run goes on after it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Limits of one input.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub seconds: u64,
    /// Resident bytes of the process.
    pub bytes: u64,
}

/// What became of the inputs of one target.
#[derive(Debug, Default)]
pub struct Outcome {
    pub executions: u64,
    pub peak_bytes: u64,
    pub slowest: Duration,
    /// Inputs at which the process ended in words, at its limit of memory, time or stack.
    pub limited: u64,
    pub findings: Vec<String>,
}

/// The variable that says to the child what to do: `TARGET SEED FIRST COUNT FOLDER`.
pub const CHILD: &str = "TALLOW_FUZZ_CHILD";

/// The order to a child process.
#[derive(Debug, Clone)]
pub struct Order {
    pub target: String,
    pub seed: u64,
    pub first: u64,
    pub count: u64,
    pub folder: PathBuf,
}

impl Order {
    /// The order that this process was started with, if it is a child.
    pub fn received() -> Option<Self> {
        let text = std::env::var(CHILD).ok()?;
        let mut words = text.splitn(5, ' ');
        let mut next = || words.next().expect("five words");
        Some(Self {
            target: next().to_owned(),
            seed: next().parse().unwrap(),
            first: next().parse().unwrap(),
            count: next().parse().unwrap(),
            folder: next().into(),
        })
    }

    fn start(&self) -> Child {
        let order = format!("{} {} {} {} {}", self.target, self.seed, self.first, self.count, self.folder.display());
        Command::new(std::env::current_exe().unwrap())
            .args(["fuzz::child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(CHILD, order)
            .env("RUST_BACKTRACE", "0")
            .env("TALLOW_MEMORY_LIMIT", "1GiB")
            .env("TALLOW_TIME_LIMIT", "20")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

/// Tries the inputs `first .. first + count` of a target, or as many as `seconds` allow.
pub fn run(mut order: Order, limits: Limits, until: Option<Instant>) -> Outcome {
    let mut outcome = Outcome::default();
    let end = order.first + order.count;
    while order.first < end && until.is_none_or(|t| Instant::now() < t) {
        order.count = end - order.first;
        order.first = one_child(&order, limits, until, &mut outcome);
        // A target that is broken everywhere has been shown by the first few.
        if outcome.findings.len() >= 20 {
            break;
        }
    }
    outcome
}

/// Watches one child to its end; the next input to go on with.
fn one_child(order: &Order, limits: Limits, until: Option<Instant>, outcome: &mut Outcome) -> u64 {
    let mut child = order.start();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut at = None;
    let mut since = Instant::now();
    let mut found = |at: u64, what: &str| {
        let Order { target, seed, .. } = order;
        outcome.findings.push(format!("{target}, seed {seed}, input {at}: {what}"));
    };
    let mut is_limited = false;
    let next = loop {
        let line = lines.recv_timeout(Duration::from_millis(20));
        let resident = resident_bytes(child.id());
        outcome.peak_bytes = outcome.peak_bytes.max(resident);
        match (line, at) {
            (Ok(line), _) => {
                if let Some(number) = line.strip_prefix("input ") {
                    outcome.executions += 1;
                    outcome.slowest = outcome.slowest.max(at.map_or(Duration::ZERO, |_| since.elapsed()));
                    (at, since) = (number.parse().ok(), Instant::now());
                } else if let (Some(what), Some(at)) = (line.strip_prefix("panic "), at) {
                    found(at, &format!("panic: {what}"));
                } else if line.starts_with("limit ") {
                    is_limited = true;
                } else if line == "done" {
                    break order.first + order.count;
                }
            }
            (Err(RecvTimeoutError::Disconnected), at) => {
                let status = child.wait().unwrap();
                let at = at.unwrap_or(order.first);
                match is_limited {
                    true => outcome.limited += 1,
                    false => found(at, &format!("the process died: {status}")),
                }
                break at + 1;
            }
            (Err(RecvTimeoutError::Timeout), Some(at)) if since.elapsed().as_secs() >= limits.seconds => {
                found(at, &format!("not done after {} s", limits.seconds));
                break at + 1;
            }
            (Err(RecvTimeoutError::Timeout), _) => {}
        }
        if resident > limits.bytes {
            let at = at.unwrap_or(order.first);
            found(at, &format!("{} MiB resident, the limit is {} MiB", resident >> 20, limits.bytes >> 20));
            break at + 1;
        }
        if until.is_some_and(|t| Instant::now() >= t) {
            break order.first + order.count;
        }
    };
    let _ = child.kill();
    let _ = child.wait();
    next
}

/// Resident bytes of a process; 0 where the system does not say.
pub fn resident_bytes(id: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
