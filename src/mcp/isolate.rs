//! Calls that read what others wrote run in a process of their own, so that nothing in it can harm the server.
//!
//! ```text
//!   server                                     tallow mcp-call
//!     two lines: limits; tool, arguments, roots ──> stdin
//!     progress, then the result or the fault  <── stdout, one JSON object a line
//!     closes stdin to cancel                  ──> unwinds, removes what is half-written, ends
//!     kills what has not ended after a while
//! ```
//! Whatever a hostile file makes of its reader (a panic, a stack that overflows, memory without end, a loop without end)
//! ends that process and becomes an answer. See `confine` for what the process may do.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lanes::Limits;
use super::log::Log;
use super::roots::Roots;
use super::tool::{Call, Shared, Tick};
use super::{confine, tools};
use crate::app::jobs;
use crate::base::error::Fault;
use crate::base::time_limit;
use crate::train::StopFlag;

/// What the process may use. It hears this first: once the allocator has reserved addresses for a large block, such as a
/// long request, a limit would leave it none.
#[derive(Debug, Serialize, Deserialize)]
struct Limited {
    cpu_seconds: u64,
    memory_bytes: u64,
    nice: i32,
}

/// What the server asks for.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    tool: String,
    arguments: Value,
    roots: Vec<PathBuf>,
}

/// What it hears.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Progress(Tick),
    Result(Value),
    Fault { code: String, message: String, hint: Option<String> },
}

/// How often a call is asked whether it was cancelled.
const LOOK: Duration = Duration::from_millis(20);
/// How long a cancelled call may take to tidy up.
const GRACE: Duration = Duration::from_secs(2);
/// Least that a call is given, however little is free: the allocator reserves a GiB at a time, which
/// counts before it is used.
pub const LEAST_MEMORY: u64 = 2 << 30;
/// Characters of what the process printed when it died.
const MOST_LAST_WORDS: u64 = 8 << 10;

/// Runs a call in a process of its own, on this thread.
pub(super) fn run(tool: &'static str, arguments: Value, shared: &Shared, limits: &Limits, call: &Call) -> Result<Value, Fault> {
    let free = crate::train::available_memory() as f64;
    let share = ((free * limits.share_of_free) as u64).max(LEAST_MEMORY);
    let most = shared.call_memory.into_iter().chain(limits.memory_bytes).min();
    let memory_bytes = most.map_or(share, |most| most.min(share)).max(LEAST_MEMORY);
    let limited = Limited { cpu_seconds: limits.cpu_seconds, memory_bytes, nice: limits.nice };
    let request = Request { tool: tool.to_owned(), arguments, roots: shared.roots.all().map(PathBuf::from).collect() };
    let fail = |e: serde_json::Error| Fault::new("io", e.to_string());
    let mut lines = serde_json::to_vec(&limited).map_err(fail)?;
    lines.push(b'\n');
    serde_json::to_writer(&mut lines, &request).map_err(fail)?;
    let mut process = Process::start(&lines)?;
    let ended = process.listen(call);
    // A cancelled call has had its time.
    let patience = if ended.is_none() && !call.go_on() { Duration::ZERO } else { GRACE };
    let status = process.end(patience);
    match ended {
        Some(result) => result,
        None if !call.go_on() => Err(Fault::new("cancelled", "the call was cancelled")),
        None => Err(death(tool, &status?, &process.last_words(), &limited)),
    }
}

/// A process under way.
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    words: Receiver<Word>,
    last_words: Receiver<String>,
}

impl Process {
    fn start(request: &[u8]) -> Result<Self, Fault> {
        let program = jobs::this_program()?;
        let fail = |e: std::io::Error| Fault::io("start", &program, &e);
        let mut command = Command::new(&program);
        command.arg("mcp-call").env("NO_COLOR", "1");
        // It cannot read the file of the Hub's token itself.
        command.envs(crate::model::hub::access_token().map(|token| ("HF_TOKEN", token)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(fail)?;
        let (mut stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        if let Some(pipe) = &mut stdin {
            // A process that is gone already is found out by its silence.
            let _ = pipe.write_all(request).and_then(|()| pipe.write_all(b"\n")).and_then(|()| pipe.flush());
        }
        let (sender, words) = channel();
        std::thread::spawn(move || {
            let lines = out.into_iter().flat_map(|out| BufReader::new(out).split(b'\n')).map_while(Result::ok);
            for word in lines.filter_map(|line| serde_json::from_slice(&line).ok()) {
                if sender.send(word).is_err() {
                    return;
                }
            }
        });
        let (teller, last_words) = channel();
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut err) = err {
                let _ = err.by_ref().take(MOST_LAST_WORDS).read_to_end(&mut text);
                // The rest is read so that the process never waits for somebody to read it.
                let _ = std::io::copy(&mut err, &mut std::io::sink());
            }
            let _ = teller.send(String::from_utf8_lossy(&text).into_owned());
        });
        Ok(Self { child, stdin, words, last_words })
    }

    /// Until it has answered; `None` when it ended without an answer.
    fn listen(&mut self, call: &Call) -> Option<Result<Value, Fault>> {
        let mut patience = None;
        loop {
            match self.words.recv_timeout(LOOK) {
                Ok(Word::Progress(tick)) => (call.ticks)(tick),
                Ok(Word::Result(value)) => return Some(Ok(value)),
                Ok(Word::Fault { code, message, hint }) => return Some(Err(Fault { code: intern(&code), message, hint })),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if !call.go_on() {
                self.stdin = None;
                if patience.get_or_insert_with(Instant::now).elapsed() > GRACE {
                    return None;
                }
            }
        }
    }

    /// Waits for its end, which follows its answer at once; a process that stays is killed.
    fn end(&mut self, patience: Duration) -> Result<ExitStatus, Fault> {
        self.stdin = None;
        let begun = Instant::now();
        let fail = |e: std::io::Error| Fault::new("io", format!("the call's process cannot be waited for: {e}"));
        loop {
            if let Some(status) = self.child.try_wait().map_err(fail)? {
                return Ok(status);
            }
            if begun.elapsed() >= patience {
                let _ = self.child.kill();
                return self.child.wait().map_err(fail);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn last_words(&self) -> String {
        self.last_words.recv_timeout(GRACE).unwrap_or_default()
    }
}

/// Codes are fixed words of this program: each is kept once.
pub(super) fn intern(code: &str) -> &'static str {
    static KNOWN: std::sync::Mutex<std::collections::BTreeSet<&'static str>> = std::sync::Mutex::new(std::collections::BTreeSet::new());
    let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(code) = known.get(code) {
        return code;
    }
    // The other side is this program too; should it ever say anything else, that is not remembered for ever.
    if known.len() >= 1000 || code.len() > 64 {
        return "internal";
    }
    let kept: &'static str = Box::leak(code.to_owned().into_boxed_str());
    known.insert(kept);
    kept
}

/// Why a process ended without an answer.
fn death(tool: &str, status: &ExitStatus, last_words: &str, limited: &Limited) -> Fault {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(status);
    #[cfg(not(unix))]
    let signal = None::<i32>;
    const OVER_CPU_TIME: i32 = 24;
    let mib = limited.memory_bytes >> 20;
    if signal == Some(OVER_CPU_TIME) {
        let message = format!("{tool} used {} seconds of processor time and was ended", limited.cpu_seconds);
        return Fault::new("time_limit", message)
            .hint("the file it reads is too large for this tool, or made so that reading it never ends");
    }
    if last_words.contains("memory allocation of") {
        let message = format!("{tool} needed more than the {mib} MiB of memory that it may use, and was ended");
        return Fault::new("out_of_memory", message).hint("use a smaller model or file, or free some memory");
    }
    if last_words.contains("overflowed its stack") {
        let message = format!("{tool} met a file whose parts are nested too deeply, and was ended");
        return Fault::new("too_deep", message).hint("check where the model or the configuration comes from");
    }
    let panic = last_words.lines().skip_while(|l| !l.contains("panicked at")).nth(1).unwrap_or_default();
    let how = if panic.is_empty() { format!("{status}") } else { panic.chars().take(300).collect() };
    Fault::new("internal", format!("{tool} broke down: {how}"))
        .hint("this is a bug of tallow, or a file that is damaged in a way it does not know; the server goes on")
}

/// The other side: does one call and ends. What it may do is limited before it reads anything.
///
/// # Errors
/// When standard input holds no request.
pub fn answer_one_call() -> Result<u8, Fault> {
    let mut stdin = BufReader::new(std::io::stdin());
    let bad = |e: String| Fault::new("usage", format!("no request on standard input: {e}")).hint("`tallow mcp` starts this by itself");
    let mut line = || -> Result<Vec<u8>, Fault> {
        let mut line = Vec::new();
        stdin.read_until(b'\n', &mut line).map_err(|e| bad(e.to_string()))?;
        Ok(line)
    };
    let limited: Limited = serde_json::from_slice(&line()?).map_err(|e| bad(e.to_string()))?;
    confine::resources(limited.cpu_seconds, limited.memory_bytes, limited.nice);
    let request: Request = serde_json::from_slice(&line()?).map_err(|e| bad(e.to_string()))?;
    let row = tools::find(&request.tool).ok_or_else(|| bad(format!("there is no tool {}", request.tool)))?;
    confine::files(&request.roots);
    time_limit::begin(|fault| {
        say(&Word::from(fault.clone()));
        0
    })?;
    let stop = StopFlag::default();
    let asked = stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut stdin, &mut std::io::sink());
        // The server does not want the answer any more, or is gone itself.
        asked.request();
        std::thread::sleep(2 * GRACE);
        std::process::exit(1);
    });
    let call = Call { cancelled: stop, ticks: std::sync::Arc::new(|tick| say(&Word::Progress(tick))), ask: None };
    let shared = Shared::new(Roots::known(request.roots), Log::open(None)?, tools::Choice::everything(), None);
    say(&match row.run_here(request.arguments, &shared, &call) {
        Ok(value) => Word::Result(value),
        Err(fault) => Word::from(fault),
    });
    Ok(0)
}

impl From<Fault> for Word {
    fn from(f: Fault) -> Self {
        Self::Fault { code: f.code.to_owned(), message: f.message, hint: f.hint }
    }
}

fn say(word: &Word) {
    let Ok(mut line) = serde_json::to_vec(word) else { return };
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    // A server that is gone hears nothing; standard input tells so, too.
    let _ = out.write_all(&line).and_then(|()| out.flush());
}
