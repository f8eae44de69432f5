//! The limit on this process's memory: what others wrote may ask for more than the machine has.
//!
//! A template that doubles a string, a normaliser that lets a text grow, a page of a Parquet file
//! that states a wrong length: each asks for memory in a place where nothing can be counted
//! beforehand. The allocator counts all of it, and ends the process with a message where the
//! machine's free memory would be exceeded.

use tallow_kernels::alloc::{self, LastWords};
use tallow_kernels::stack;

use super::plan;
use crate::base::error::Fault;
use crate::train;

/// The environment variable that sets the limit, as a size (`8GiB`).
const VARIABLE: &str = "TALLOW_MEMORY_LIMIT";
/// However little is free, a process may have this much.
const LEAST_BYTES: u64 = 512 << 20;
/// The text where the number stands in a message made beforehand.
const NUMBER: &str = "\u{f07fd}";

/// What a process does, by which its share of the free memory is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Reads and describes: half of what is free.
    Reading,
    /// Holds a model: all of it, as the memory plan does.
    Computing,
}

impl Work {
    fn share(self, free: u64) -> u64 {
        match self {
            Self::Reading => free / 2,
            Self::Computing => free,
        }
    }
}

/// The fault of a process that reaches its limit.
fn fault() -> Fault {
    let message = format!("more memory was asked for than this process may use ({NUMBER} MiB); it was ended");
    Fault::new("out_of_memory", message).hint(format!(
        "if the model and the data are sound and only large, close other programs or set {VARIABLE} (for example 8GiB); \
         if not, look at where the data, the tokenizer and the chat template come from"
    ))
}

/// The fault of a thread that runs out of stack.
fn too_deep() -> Fault {
    Fault::new("too_deep", "a file or a template nests its parts in one another beyond what can be walked; the process was ended")
        .hint("look at where the model, the data and the chat template come from")
}

/// Limits this process. `words` renders the fault as the face shows it, `descriptor` is where to
/// (1 standard output, 2 standard error), `code` is the exit code at the limit of memory. A thread that runs out of stack
/// ends the process in words too, with exit code 1.
///
/// # Errors
/// `usage` when the environment names a limit that is no size.
pub fn begin(work: Work, words: impl Fn(&Fault) -> String, descriptor: i32, code: u8) -> Result<(), Fault> {
    let text = words(&fault());
    let (before, after) = text.split_once(NUMBER).unwrap_or((&text, ""));
    let last = LastWords { descriptor, before: before.to_owned(), after: after.to_owned(), code: i32::from(code) };
    alloc::set_limit(bytes(work)?);
    alloc::set_last_words(last);
    let deep = words(&too_deep());
    stack::set_last_words(LastWords { descriptor, before: deep, after: String::new(), code: 1 });
    Ok(())
}

/// Sets the limit again by what is free now, for work that waited until another process ended.
/// Without effect in a process that has not begun with a limit.
pub(super) fn renew() {
    // The variable was read when the process began, and would have been refused there.
    if let Ok(bytes) = bytes(Work::Computing) {
        alloc::set_limit(bytes);
    }
}

fn bytes(work: Work) -> Result<u64, Fault> {
    match std::env::var(VARIABLE).ok().filter(|v| !v.is_empty()) {
        Some(named) => {
            plan::parse_size(&named).map_err(|f| Fault::new(f.code, format!("{VARIABLE}: {}", f.message)).hint("for example 8GiB"))
        }
        None => Ok(work.share(train::available_memory()).saturating_add(alloc::live_bytes()).max(LEAST_BYTES)),
    }
}
