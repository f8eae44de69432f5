//! A process that holds a model, as the server sees it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Loaded;
use crate::app::jobs;
use crate::base::error::Fault;
use crate::mcp::isolate::{LEAST_MEMORY, intern};
use crate::mcp::lanes::Lane;
use crate::mcp::tool::{Call, Shared, Tick};

/// What the process may use; it hears this first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Limited {
    pub(super) cpu_seconds: u64,
    pub(super) memory_bytes: u64,
    pub(super) nice: i32,
}

/// What the server says to it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    Answer(Value),
    Cancel,
}

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    Progress(Tick),
    Loaded(Loaded),
    Result { value: Value, memory_bytes: u64 },
    Fault { code: String, message: String, hint: Option<String> },
}

/// How often a call is asked whether it was cancelled.
const LOOK: Duration = Duration::from_millis(20);
/// How long a cancelled answer may take to end.
const GRACE: Duration = Duration::from_secs(2);
/// Processor seconds of all answers together.
const CPU_SECONDS: u64 = 30 * 24 * 3600;
/// Bytes of what the process printed when it died.
const MOST_LAST_WORDS: u64 = 8 << 10;

/// A process under way; dropping it ends it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    words: Receiver<Word>,
    last_words: Arc<Mutex<String>>,
    is_over: bool,
}

impl Process {
    /// Starts a process and waits until it holds the model.
    pub(super) fn start(which: &Value, shared: &Shared, call: &Call) -> Result<(Self, Loaded), Fault> {
        let limits = Lane::Model.limits();
        let share = limits.map_or(0.9, |l| l.share_of_free);
        let free = (crate::train::available_memory() as f64 * share) as u64;
        let memory_bytes = shared.call_memory.map_or(free, |most| most.min(free)).max(LEAST_MEMORY);
        let limited = Limited { cpu_seconds: CPU_SECONDS, memory_bytes, nice: limits.map_or(0, |l| l.nice) };
        let roots: Vec<_> = shared.roots.all().collect();
        let mut process = Self::spawn()?;
        process.say(&json!(limited))?;
        process.say(&json!({"which": which, "roots": roots}))?;
        loop {
            match process.hear()? {
                Some(Word::Loaded(loaded)) => return Ok((process, loaded)),
                Some(Word::Fault { code, message, hint }) => return Err(Fault { code: intern(&code), message, hint }),
                Some(Word::Progress(tick)) => (call.ticks)(tick),
                Some(Word::Result { .. }) => {}
                // Nobody waits for it: it ends with this.
                None if !call.go_on() => return Err(super::cancelled()),
                None => {}
            }
        }
    }

    fn spawn() -> Result<Self, Fault> {
        let program = jobs::this_program()?;
        let fail = |e: std::io::Error| Fault::io("start", &program, &e);
        let mut command = Command::new(&program);
        command.arg("mcp-hold").env("NO_COLOR", "1");
        // It cannot read the file of the Hub's token itself.
        command.envs(crate::model::hub::access_token().map(|token| ("HF_TOKEN", token)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(fail)?;
        let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (sender, words) = channel();
        std::thread::spawn(move || {
            let lines = out.into_iter().flat_map(|out| BufReader::new(out).split(b'\n')).map_while(Result::ok);
            for word in lines.filter_map(|line| serde_json::from_slice(&line).ok()) {
                if sender.send(word).is_err() {
                    return;
                }
            }
        });
        let last_words = Arc::new(Mutex::new(String::new()));
        let into = last_words.clone();
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut err) = err {
                let _ = err.by_ref().take(MOST_LAST_WORDS).read_to_end(&mut text);
                *into.lock().unwrap_or_else(PoisonError::into_inner) = String::from_utf8_lossy(&text).into_owned();
                let _ = std::io::copy(&mut err, &mut std::io::sink());
            }
        });
        Ok(Self { child, stdin, words, last_words, is_over: false })
    }

    fn say(&mut self, line: &Value) -> Result<(), Fault> {
        let mut text = line.to_string();
        text.push('\n');
        let said = self.stdin.as_mut().map(|pipe| pipe.write_all(text.as_bytes()).and_then(|()| pipe.flush()));
        match said {
            Some(Ok(())) => Ok(()),
            _ => Err(self.death()),
        }
    }

    /// The next word; `None` when it is silent for a moment.
    fn hear(&mut self) -> Result<Option<Word>, Fault> {
        match self.words.recv_timeout(LOOK) {
            Ok(word) => Ok(Some(word)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(self.death()),
        }
    }

    /// Lets the model answer: the answer, and the memory that the process holds afterwards.
    pub(super) fn ask(&mut self, arguments: &Value, call: &Call) -> Result<(Value, u64), Fault> {
        self.say(&json!(Order::Answer(arguments.clone())))?;
        let mut asked_to_end = None;
        loop {
            match self.hear()? {
                Some(Word::Progress(tick)) => (call.ticks)(tick),
                Some(Word::Result { value, memory_bytes }) => return Ok((value, memory_bytes)),
                Some(Word::Fault { code, message, hint }) => return Err(Fault { code: intern(&code), message, hint }),
                Some(Word::Loaded(_)) | None => {}
            }
            if !call.go_on() {
                let since: Instant = match asked_to_end {
                    Some(since) => since,
                    None => {
                        self.say(&json!(Order::Cancel))?;
                        Instant::now()
                    }
                };
                asked_to_end = Some(since);
                if since.elapsed() > GRACE {
                    self.is_over = true;
                    return Err(super::cancelled());
                }
            }
        }
    }

    /// Whether it has ended, or has to.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    fn death(&mut self) -> Fault {
        self.is_over = true;
        // What it printed arrives with its end.
        let status = self.child.wait().map(|s| s.to_string()).unwrap_or_default();
        std::thread::sleep(LOOK);
        let said = self.last_words.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if said.contains("memory allocation of") {
            return Fault::new("out_of_memory", "the process that held the model needed more memory than it may use, and was ended")
                .hint("use a smaller model, or free some memory");
        }
        let last: String = said.lines().last().unwrap_or_default().chars().take(300).collect();
        Fault::new("model_gone", format!("the process that held the model ended ({status}) {last}"))
            .hint("the model is unloaded: load_model loads it again, and generate_text works without that")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stdin = None;
        // It ends by itself at once, unless it is in the middle of something.
        for _ in 0..10 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
