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
