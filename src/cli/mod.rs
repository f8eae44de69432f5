//! The command line: reads arguments, calls one use case, prints its report. Only this room prints.

mod args;
mod checkpoints;
mod cloud;
mod hub;
mod judge;
mod live;
mod make_tools;
mod plot;
mod prepare;
mod progress;
mod remote;
mod run;
mod search;
mod serve;
mod show;
mod style;
mod tokenizer;
mod track;
mod watch;

pub use args::Cli;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::app::memory_limit::{self, Work};
use crate::base::error::Fault;
use crate::base::{panics, time_limit};

/// The command line was wrong.
const USAGE: u8 = 2;

/// Runs the program with the process's own arguments.
pub fn main() -> ExitCode {
    ExitCode::from(call(std::env::args_os()))
}

/// Runs the program with these arguments and gives its exit code.
pub fn call(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version come this way too. A closed pipe is no reason to fail.
            let _ = e.print();
            return u8::try_from(e.exit_code()).unwrap_or(USAGE);
        }
    };
    let json = cli.json;
    match panics::caught(|| limit(&cli).and_then(|()| run::run(cli))) {
        Ok(code) => code,
        Err(fault) => {
            complain(&fault, json);
            exit_code(&fault)
        }
    }
}

/// Limits the memory of commands that read what others wrote, and the time of the libraries that read it. A server reads
/// nothing foreign itself, and the process of one of its calls has the limits of that call.
fn limit(cli: &Cli) -> Result<(), Fault> {
    const DOES_NOT_FIT: u8 = 4;
    let work = match cli.command {
        args::Command::Mcp(_) | args::Command::McpCall | args::Command::McpHold => return Ok(()),
        args::Command::Data(_) | args::Command::Plan(_) | args::Command::Runs(_) | args::Command::Init(_) => Work::Reading,
        _ => Work::Computing,
    };
    let json = cli.json;
    time_limit::begin(move |fault| {
        complain(fault, json);
        i32::from(exit_code(fault))
    })?;
    if json {
        return memory_limit::begin(work, |fault| complaint(fault, true) + "\n", 1, DOES_NOT_FIT);
    }
    // A progress bar may stand in the line.
    memory_limit::begin(work, |fault| format!("\n{}\n", complaint(fault, false)), 2, DOES_NOT_FIT)
}

/// Says a fault where it is looked for.
fn complain(fault: &Fault, json: bool) {
    let text = complaint(fault, json);
    if json {
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    } else {
        progress::line(&text);
    }
}

/// The fault as people, or as programs, read it.
fn complaint(fault: &Fault, json: bool) -> String {
    if json {
        return serde_json::json!({ "error": fault }).to_string();
    }
    let paint = style::Paint::for_stderr();
    let hint = fault.hint.as_ref().map(|hint| format!("\n{} {hint}", paint.dim("  hint:")));
    format!("{} {}{}", paint.red("error:"), fault.message, hint.unwrap_or_default())
}

/// 1 the work failed, 2 the command line is wrong, 3 configuration or data are wrong, 4 it does not fit in memory,
/// 5 training diverged, 6 a threshold was missed.
fn exit_code(fault: &Fault) -> u8 {
    const INPUT: [&str; 3] = ["unknown_target_module", "model_family_mismatch", "bad_messages"];
    const INPUT_FAMILIES: [&str; 4] = ["data_", "config", "chat_template", "tokenizer_"];
    match fault.code {
        "usage" => USAGE,
        "out_of_memory_plan" => 4,
        "diverged" => 5,
        "threshold_missed" => judge::MISSED,
        code if INPUT.contains(&code) || INPUT_FAMILIES.iter().any(|family| code.starts_with(family)) => 3,
        _ => 1,
    }
}
