//! A limit on the bytes in use: a process that reaches it says so and ends, before the system's
//! own killer chooses somebody.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

static MOST: AtomicU64 = AtomicU64::new(u64::MAX);
static LAST_WORDS: OnceLock<LastWords> = OnceLock::new();
static ENDING: AtomicBool = AtomicBool::new(false);

/// What a process says and returns when it ends at its limit. At the limit nothing can be
/// allocated, so the text is made beforehand.
#[derive(Debug, Clone)]
pub struct LastWords {
    /// 1 for standard output, 2 for standard error.
    pub descriptor: i32,
    /// The text before the limit in MiB.
    pub before: String,
    /// The text after it.
    pub after: String,
    /// Exit code.
    pub code: i32,
}

impl LastWords {
    /// Writes these parts and ends the process. Takes no memory and no lock: signal handlers may
    /// call it. Of several threads that meet a limit at once, one speaks.
    pub(crate) fn say_and_exit(&self, parts: &[&[u8]]) -> ! {
        while ENDING.swap(true, Relaxed) {
            // Another thread is saying it; the process ends with this one asleep.
            // SAFETY: waits for a signal, whose handler may return here.
            unsafe { libc::pause() };
        }
        for part in parts {
            // SAFETY: the bytes live as long as this call. A write that fails leaves the exit code.
            unsafe { libc::write(self.descriptor, part.as_ptr().cast(), part.len()) };
        }
        // SAFETY: ends the process; may be called at any time and on any thread.
        unsafe { libc::_exit(self.code) }
    }
}

/// Says what happens at a limit; without it a limit has no effect. Only the first call counts.
pub fn set_last_words(words: LastWords) {
    // A second one changes nothing, as documented.
    let _ = LAST_WORDS.set(words);
}

/// From here on the process ends when more than `bytes` are in use, or when the system refuses
/// memory. Counted are the blocks of [`super::Allocator`]: mapped files, the memory of GPUs and
/// what C libraries take are not.
///
/// The end is immediate: no destructor runs, as when a process is killed.
pub fn set_limit(bytes: u64) {
    MOST.store(bytes, Relaxed);
}

/// Looks at the bytes in use, before or after a block is handed out.
pub(super) fn check(in_use: u64) {
    if in_use > MOST.load(Relaxed) {
        end();
    }
}

/// Ends the process where it has last words. Called from the allocator: takes no memory, no lock.
#[cold]
pub(super) fn end() {
    let Some(words) = LAST_WORDS.get() else { return };
    let mut digits = [0; 20];
    let number = decimal(MOST.load(Relaxed) >> 20, &mut digits);
    words.say_and_exit(&[words.before.as_bytes(), number, words.after.as_bytes()])
}

/// A number in decimal digits.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for n in [0, 7, 10, 4096, u64::MAX] {
            assert_eq!(decimal(n, &mut [0; 20]), n.to_string().as_bytes());
        }
    }
}
