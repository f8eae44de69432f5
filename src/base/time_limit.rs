//! The limit on the time that a library may take for what others wrote.
//!
//! Normalisers that let a text grow, a regular expression that backtracks, a template of slow filters: they run
//! inside libraries, where nothing can be interrupted. A watching thread counts their time, and ends the process when
//! it is out of all proportion to what was read.
//!
//! ```text
//!   threads that work     ──[ text ]──[ text ]────[ text ........     each call is granted time by its bytes
//!   the watching thread      tick     tick     tick     tick          counts ticks during which any call was under way
//! ```
//! A tick is counted only where the watching thread ran too, so a process that was suspended loses nothing. No clock is
//! read for a call.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use super::error::Fault;

/// The environment variable that sets the time which is granted always, in seconds.
const VARIABLE: &str = "TALLOW_TIME_LIMIT";
/// Seconds that are granted always: to one call, and to all calls together.
const ALWAYS_SECONDS: u32 = 60;
/// How often the watching thread looks.
const TICK: Duration = Duration::from_millis(100);
const TICKS_A_SECOND: u64 = 10;
/// Microseconds that are granted for a call and for a byte of its input. Libraries take 0.1 to 1 for a byte when
/// optimised; the rest is for slow and busy machines.
const CALL_MICROS: u64 = 10_000;
const BYTE_MICROS: u64 = 20;

/// A library that reads what others wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Library {
    /// Loads and applies tokenizers.
    Tokenizer,
    /// Compiles and renders chat templates.
    Template,
    /// Decodes Parquet files.
    Parquet,
}

impl Library {
    const ALL: [Self; 3] = [Self::Tokenizer, Self::Template, Self::Parquet];

    const fn name(self) -> &'static str {
        match self {
            Self::Tokenizer => "the tokenizer",
            Self::Template => "the chat template",
            Self::Parquet => "the reader of the Parquet file",
        }
    }
}

/// What a thread is doing, for the watching thread to see.
#[derive(Debug, Default)]
struct Slot {
    /// Ticks since its call began, plus one; 0 while it is in no call.
    ticks: AtomicU32,
    /// Ticks that the call may take.
    most: AtomicU32,
    library: AtomicU32,
}

static IS_WATCHED: AtomicBool = AtomicBool::new(false);
static ALWAYS: OnceLock<u32> = OnceLock::new();
static GRANTED_MICROS: AtomicU64 = AtomicU64::new(0);
static SLOTS: Mutex<Vec<Weak<Slot>>> = Mutex::new(Vec::new());

thread_local! {
    static OWN: OnceCell<Arc<Slot>> = const { OnceCell::new() };
}

/// From here on the process ends when a library goes on beyond the limit. `end` says the fault and gives the exit code.
///
/// # Errors
/// `usage` when the environment names a limit that is no number of seconds.
pub fn begin(end: impl Fn(&Fault) -> i32 + Send + 'static) -> Result<(), Fault> {
    let always = match std::env::var(VARIABLE).ok().filter(|v| !v.is_empty()) {
        None => ALWAYS_SECONDS,
        Some(text) => text.parse().ok().filter(|n| *n > 0).ok_or_else(|| {
            Fault::new("usage", format!("{VARIABLE}: `{text}` is no whole number of seconds above 0")).hint("for example 600")
        })?,
    };
    if ALWAYS.set(always).is_ok() {
        IS_WATCHED.store(true, Relaxed);
        let watch = move || std::process::exit(end(&watch(always)));
        let fail = |e| Fault::new("io", format!("no thread can be started: {e}"));
        std::thread::Builder::new().name("time-limit".into()).spawn(watch).map_err(fail)?;
    }
    Ok(())
}

/// Lets a library work on so many bytes of foreign input, within the limit.
pub(super) fn within<T>(library: Library, bytes: usize, work: impl FnOnce() -> T) -> T {
    /// Says that the call is over, also when it unwinds.
    struct Over(Arc<Slot>);
    impl Drop for Over {
        fn drop(&mut self) {
            self.0.ticks.store(0, Relaxed);
        }
    }
    if !IS_WATCHED.load(Relaxed) {
        return work();
    }
    let slot = OWN.with(|own| own.get_or_init(register).clone());
    if slot.ticks.load(Relaxed) > 0 {
        // Within another call, whose time it is.
        return work();
    }
    let micros = (bytes as u64).saturating_mul(BYTE_MICROS).saturating_add(CALL_MICROS);
    GRANTED_MICROS.fetch_add(micros, Relaxed);
    let always = u64::from(ALWAYS.get().copied().unwrap_or(ALWAYS_SECONDS)) * TICKS_A_SECOND;
    let most = always.saturating_add(micros * TICKS_A_SECOND / 1_000_000);
    slot.most.store(u32::try_from(most).unwrap_or(u32::MAX - 1), Relaxed);
    slot.library.store(library as u32, Relaxed);
    slot.ticks.store(1, Relaxed);
    let _over = Over(slot);
    work()
}

fn register() -> Arc<Slot> {
    let slot = Arc::new(Slot::default());
    let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    slots.retain(|s| s.strong_count() > 0);
    slots.push(Arc::downgrade(&slot));
    slot
}

/// Watches until the limit is reached.
fn watch(always: u32) -> Fault {
    let mut used = 0;
    loop {
        std::thread::sleep(TICK);
        let slots: Vec<Arc<Slot>> = {
            let slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
            slots.iter().filter_map(Weak::upgrade).collect()
        };
        let granted = u64::from(always) * TICKS_A_SECOND + GRANTED_MICROS.load(Relaxed) * TICKS_A_SECOND / 1_000_000;
        if let Some((library, ticks)) = tick(&slots, &mut used, granted) {
            return fault(library, ticks);
        }
    }
}

/// Counts one tick; the library that has reached a limit, and the ticks that it, or all together, took.
fn tick(slots: &[Arc<Slot>], used: &mut u64, granted: u64) -> Option<(Library, u64)> {
    let mut busy = None;
    for slot in slots {
        let ticks = slot.ticks.load(Relaxed);
        if ticks == 0 {
            continue;
        }
        let library = Library::ALL[slot.library.load(Relaxed) as usize % Library::ALL.len()];
        if ticks > slot.most.load(Relaxed) {
            return Some((library, u64::from(ticks)));
        }
        // A call that has ended meanwhile, and the next one, are not touched.
        let _ = slot.ticks.compare_exchange(ticks, ticks + 1, Relaxed, Relaxed);
        busy = Some(library);
    }
    let library = busy?;
    *used += 1;
    (*used > granted).then_some((library, *used))
}

fn fault(library: Library, ticks: u64) -> Fault {
    let message = format!(
        "{} was not done after {} seconds, which is out of all proportion to what it was given; the process was ended",
        library.name(),
        ticks / TICKS_A_SECOND
    );
    Fault::new("time_limit", message).hint(format!(
        "look at where the data, the tokenizer and the chat template come from; if they are sound, set {VARIABLE} \
         (seconds, for example 600)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(ticks: u32, most: u32) -> Arc<Slot> {
        let slot = Slot { ticks: ticks.into(), most: most.into(), library: (Library::Template as u32).into() };
        Arc::new(slot)
    }

    #[test]
    fn one_endless_call_ends_after_its_own_ticks() {
        let slots = [slot(0, 5), slot(1, 5), slot(1, 50)];
        let mut used = 0;
        let counted = (1..).find_map(|n| tick(&slots, &mut used, 1000).map(|end| (n, end)));
        assert_eq!(counted, Some((6, (Library::Template, 6))));
        // Ticks count once, however many threads work.
        assert_eq!(used, 5);
        assert_eq!(slots[0].ticks.load(Relaxed), 0);
    }

    #[test]
    fn many_slow_calls_end_together() {
        let mut used = 0;
        let ends = (1..).find(|_| tick(&[slot(1, 5)], &mut used, 30).is_some());
        assert_eq!(ends, Some(31));
    }

    #[test]
    fn nobody_at_work_uses_no_time() {
        let mut used = 0;
        assert!((0..1000).all(|_| tick(&[slot(0, 5)], &mut used, 0).is_none()));
        assert_eq!(used, 0);
    }
}
