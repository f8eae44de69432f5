//! What a process says when a thread of it runs out of stack: values nested in one another without an end, which
//! others wrote and a library walks by recursion.

use std::sync::OnceLock;

use crate::alloc::LastWords;

static LAST_WORDS: OnceLock<LastWords> = OnceLock::new();

/// From here on the process ends with these words when a thread runs out of stack; only the first call counts. On Linux
/// with x86-64 or ARM64; elsewhere the standard library's words stay.
///
/// The end is immediate: no destructor runs, as when a process is killed.
pub fn set_last_words(words: LastWords) {
    // A second one changes nothing, as documented.
    let _ = LAST_WORDS.set(words);
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    linux::install();
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod linux {
    use std::ffi::{c_int, c_void};
    use std::mem::MaybeUninit;
    use std::sync::OnceLock;

    use super::LAST_WORDS;

    /// How far from the stack pointer an address may lie that a call was about to write.
    const NEAR: usize = 1 << 20;

    /// The standard library's handler.
    static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

    /// Puts the handler before that of the standard library, which has given each thread a second stack to run it on.
    pub(super) fn install() {
        // SAFETY: an all-zero value is valid for this plain C struct.
        let (mut own, mut before) = unsafe { (MaybeUninit::<libc::sigaction>::zeroed().assume_init(), MaybeUninit::zeroed()) };
        own.sa_sigaction = handle as *const () as usize;
        own.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: asks for the present handler, into memory of its size.
        let known = unsafe { libc::sigaction(libc::SIGSEGV, std::ptr::null(), before.as_mut_ptr()) } == 0;
        // SAFETY: written by the call above.
        if known && BEFORE.set(unsafe { before.assume_init() }).is_ok() {
            // SAFETY: the handler does only what a signal handler may.
            unsafe { libc::sigaction(libc::SIGSEGV, &raw const own, std::ptr::null_mut()) };
        }
    }

    /// The stack pointer of the interrupted thread.
    fn stack_pointer(context: *const libc::ucontext_t) -> usize {
        // SAFETY: the system passes the interrupted thread's registers.
        let registers = unsafe { &(*context).uc_mcontext };
        #[cfg(target_arch = "x86_64")]
        return registers.gregs[libc::REG_RSP as usize] as usize;
        #[cfg(target_arch = "aarch64")]
        return registers.sp as usize;
    }

    extern "C" fn handle(_: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        // SAFETY: the system passes what the signal is about.
        let address = unsafe { (*info).si_addr() } as usize;
        if address.abs_diff(stack_pointer(context.cast())) < NEAR
            && let Some(words) = LAST_WORDS.get()
        {
            words.say_and_exit(&[words.before.as_bytes(), words.after.as_bytes()]);
        }
        // Another fault: it happens again, for the handler that was there before.
        if let Some(before) = BEFORE.get() {
            // SAFETY: what the system gave.
            unsafe { libc::sigaction(libc::SIGSEGV, before, std::ptr::null_mut()) };
        }
    }
}

#[cfg(all(test, target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::process::Command;
    use std::sync::Barrier;

    use super::*;

    const CHILD: &str = "TALLOW_TEST_OVERFLOW";
    const THREADS: usize = 16;

    fn descend(depth: u64) -> u64 {
        let below = std::hint::black_box(depth + 1);
        if below == 0 { 0 } else { descend(below) + below }
    }

    fn overflow_everywhere() {
        let (before, after) = ("said ".repeat(200), "\n".to_owned());
        set_last_words(LastWords { descriptor: 2, before, after, code: 7 });
        let together = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    together.wait();
                    std::hint::black_box(descend(1))
                });
            }
        });
    }

    #[test]
    fn of_several_threads_one_speaks() {
        if std::env::var_os(CHILD).is_some() {
            overflow_everywhere();
        }
        for attempt in 0..40 {
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", "stack::tests::of_several_threads_one_speaks", "--nocapture"]);
            let ended = child.env(CHILD, "1").output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(7), "{attempt}: {said}");
            assert_eq!(said.matches("said ").count(), 200, "{attempt}: {said}");
        }
    }
}
