//! A scorer that is another program: JSON on its standard input, JSON on its standard output.
//!
//! It gets `{"prompt": ..., "answer": ..., "wanted": ..., "row": ...}` and gives a number from 0 to
//! 1, or `{"score": number}`. It is started once for each row, by its arguments, without a shell.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::metric::Case;
use crate::base::error::Fault;

/// Longest time for one row.
const LIMIT: Duration = Duration::from_secs(30);
/// Most bytes that are read of its output.
const MOST_BYTES: u64 = 1 << 20;

/// The program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scorer {
    argv: Vec<String>,
    limit: Duration,
}

impl Scorer {
    /// From words between white space, or from a JSON list where an argument holds white space.
    ///
    /// # Errors
    /// When there is no program.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let list = if text.trim_start().starts_with('[') {
            serde_json::from_str(text).map_err(|e| e.to_string())
        } else {
            Ok(text.split_whitespace().map(str::to_owned).collect::<Vec<String>>())
        };
        match list {
            Ok(argv) if !argv.is_empty() => Ok(Self { argv, limit: LIMIT }),
            Ok(_) => Err("there is no program".to_owned()),
            Err(e) => Err(e),
        }
        .map_err(|m| {
            Fault::new("bad_metric", format!("command:{text}: {m}")).hint("write command:PROGRAM ARG ..., or command:[\"PROGRAM\", ...]")
        })
    }

    /// The score of one row.
    ///
    /// # Errors
    /// When the program cannot be started, fails, takes too long, or answers something else.
    pub fn score(&self, case: &Case) -> Result<f64, Fault> {
        let fail = |m: String| {
            Fault::new("scorer_failed", format!("{}: {m}", self.argv.join(" ")))
                .hint("a scorer reads one JSON object from standard input and prints a number from 0 to 1, or {\"score\": number}")
        };
        let mut child = Command::new(&self.argv[0])
            .args(&self.argv[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| fail(format!("cannot be started: {e}")))?;
        let input = json!({"prompt": case.prompt, "answer": case.answer, "wanted": case.wanted, "row": case.row}).to_string();
        let out = self.exchange(&mut child, input).map_err(fail)?;
        let value: Value = serde_json::from_str(out.trim()).map_err(|e| fail(format!("printed no JSON ({e}): {:?}", clip(&out))))?;
        let score = value.as_f64().or_else(|| value["score"].as_f64());
        score.filter(|s| (0.0..=1.0).contains(s)).ok_or_else(|| fail(format!("printed no score from 0 to 1: {:?}", clip(&out))))
    }

    fn exchange(&self, child: &mut Child, input: String) -> Result<String, String> {
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        // A program may answer without reading all that it gets: a write that fails is no fault.
        let writer = std::thread::spawn(move || stdin.map(|mut s| s.write_all(input.as_bytes())));
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.map_or(Ok(0), |s| s.take(MOST_BYTES).read_to_string(&mut text)).map(|_| text)
        });
        let until = Instant::now() + self.limit;
        let status = loop {
            match child.try_wait().map_err(|e| e.to_string())? {
                Some(status) => break status,
                None if Instant::now() > until => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("took longer than {} seconds", self.limit.as_secs_f64()));
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        if !status.success() {
            return Err(format!("ended with {status}"));
        }
        let _ = writer.join();
        reader.join().map_err(|_| "its output could not be read".to_owned())?.map_err(|e| e.to_string())
    }
}

fn clip(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn with(argv: &[&str], limit: Duration) -> Result<f64, Fault> {
        let scorer = Scorer { argv: argv.iter().map(|a| (*a).to_owned()).collect(), limit };
        scorer.score(&Case { prompt: "p", answer: "a b", wanted: "w", row: &Value::Null, tools: None })
    }

    #[test]
    fn scores_and_what_goes_wrong() {
        let long = Duration::from_secs(20);
        assert_eq!(with(&["echo", "0.25"], long), Ok(0.25));
        assert_eq!(with(&["sh", "-c", "grep -q '\"answer\":\"a b\"' && echo '{\"score\": 1}'"], long), Ok(1.0));
        for (argv, says) in [
            (vec!["sh", "-c", "exit 3"], "exit status: 3"),
            (vec!["echo", "2"], "no score"),
            (vec!["echo", "good"], "no JSON"),
            (vec!["/nowhere/scorer"], "cannot be started"),
        ] {
            let e = with(&argv, long).unwrap_err();
            assert!(e.message.contains(says), "{argv:?}: {e}");
        }
        let e = with(&["sleep", "20"], Duration::from_millis(50)).unwrap_err();
        assert!(e.message.contains("longer than 0.05"), "{e}");
        assert_eq!(Scorer::parse("[\"a\", \"b c\"]").unwrap().argv, ["a", "b c"]);
        assert!(Scorer::parse(" ").is_err() && Scorer::parse("[1]").is_err());
    }
}
