//! The global allocator, which counts, and what the system says of this process's memory.
//!
//! Once a model is loaded, mimalloc is told to keep pages that were touched, so that a training step does not pay for fresh
//! page faults at every activation; until then it gives them back after a hundredth of a second, as it does when left alone,
//! so that what loading needed for a moment does not stay. On Linux, blocks of half a megabyte and more are not mimalloc's but cut
//! by best fit from one range (`large`). The counters are exact: bytes asked for and not yet given back.

#[cfg(target_os = "linux")]
mod extents;
#[cfg(target_os = "linux")]
mod large;
mod limit;

pub use limit::{LastWords, set_last_words, set_limit};

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mimalloc::MiMalloc;

static LIVE: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

/// mimalloc with counters.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allocator;

unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
    fn mi_collect(force: bool);
}

/// Gives back what is free now, and from here on keeps what becomes free for the next to come. For the time between
/// loading a model and the end of the process. `MIMALLOC_PURGE_DELAY` in the environment is left as it is.
pub fn keep_freed_pages() {
    const PURGE_DELAY: c_int = 15;
    // SAFETY: gives the calling thread's free memory back to the system; every thread may call it.
    let collect = || unsafe { mi_collect(true) };
    // The pool's threads have their own, from unpacking and quantising.
    rayon::broadcast(|_| collect());
    collect();
    #[cfg(target_os = "linux")]
    large::keep();
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: mimalloc's own option of that number, set to a value it documents.
        unsafe { mi_option_set(PURGE_DELAY, -1) };
    }
}

/// Asks the system for pages of the usual size from here on: a huge page that activations use in one place only stays
/// resident as a whole, which is 5 % of a small model's peak. For training, before and after its weights are loaded: they
/// keep huge pages ([`allow_huge_pages`]), which decoding reads faster. `MIMALLOC_ALLOW_THP` in the environment decides
/// instead where it is set. Linux; elsewhere nothing happens.
pub fn prefer_small_pages() {
    disable_huge_pages(true);
}

/// Undoes [`prefer_small_pages`], for weights that are about to be loaded.
pub fn allow_huge_pages() {
    disable_huge_pages(false);
}

fn disable_huge_pages(disable: bool) {
    #[cfg(target_os = "linux")]
    if std::env::var_os("MIMALLOC_ALLOW_THP").is_none() {
        // SAFETY: changes how this process's memory is mapped from now on, and nothing that it holds.
        unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, libc::c_ulong::from(disable), 0, 0, 0) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = disable;
}

fn grew(by: usize) {
    let now = LIVE.fetch_add(by as u64, Relaxed) + by as u64;
    if now > PEAK.load(Relaxed) {
        PEAK.fetch_max(now, Relaxed);
        limit::check(now);
    }
}

/// Blocks of at least so many bytes are held against the limit before they are made: making one may fill it.
const CHECKED_BEFORE: usize = 1 << 20;

/// Looks whether a block of `size` bytes in the place of one of `old` is within the limit.
fn is_asked(size: usize, old: usize) {
    if size >= CHECKED_BEFORE {
        limit::check((LIVE.load(Relaxed) + size as u64).saturating_sub(old as u64));
    }
}

/// Counts a new block of `size` bytes; one that the system refused is the end of a limited process.
fn counted(p: *mut u8, size: usize) -> *mut u8 {
    if p.is_null() {
        limit::end();
    } else {
        grew(size);
    }
    p
}

#[cfg(target_os = "linux")]
fn is_large(size: usize, align: usize) -> bool {
    size >= large::LEAST && align <= extents::PAGE
}

/// A large block and whether it is zero; `None` for one that is mimalloc's.
#[cfg(target_os = "linux")]
fn large_block(layout: Layout) -> Option<(*mut u8, bool)> {
    if is_large(layout.size(), layout.align()) { large::alloc(layout.size()) } else { None }
}

#[cfg(not(target_os = "linux"))]
fn large_block(_: Layout) -> Option<(*mut u8, bool)> {
    None
}

/// Moves a block to or from the large ones, or makes a large one longer or shorter; `None` where both are mimalloc's.
///
/// # Safety
/// As [`GlobalAlloc::realloc`].
#[cfg(target_os = "linux")]
unsafe fn realloc_large(p: *mut u8, layout: Layout, size: usize) -> Option<*mut u8> {
    let (is, will_be) = (large::holds(p), is_large(size, layout.align()));
    if !is && !will_be {
        return None;
    }
    // SAFETY: the caller's block; it stays large.
    if is && will_be && unsafe { large::resize(p, layout.size(), size) } {
        return Some(p);
    }
    // SAFETY: the caller's promise for the new size; both blocks are live, and the old one is given back once.
    unsafe {
        let wanted = Layout::from_size_align_unchecked(size, layout.align());
        let new = large_block(wanted).map_or_else(|| MiMalloc.alloc(wanted), |(p, _)| p);
        if !new.is_null() {
            std::ptr::copy_nonoverlapping(p, new, layout.size().min(size));
            free_block(p, layout);
        }
        Some(new)
    }
}

/// # Safety
/// As [`GlobalAlloc::dealloc`].
unsafe fn free_block(p: *mut u8, layout: Layout) {
    #[cfg(target_os = "linux")]
    if large::holds(p) {
        // SAFETY: the caller's block, which was cut here.
        return unsafe { large::dealloc(p, layout.size()) };
    }
    // SAFETY: the caller's block and layout, passed on.
    unsafe { MiMalloc.dealloc(p, layout) }
}

// SAFETY: every call goes to mimalloc or to the large blocks unchanged, and back to the one that a block's address belongs to; only
// counters are kept beside it.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        is_asked(layout.size(), 0);
        // SAFETY: the caller's layout, passed on.
        let p = large_block(layout).map_or_else(|| unsafe { MiMalloc.alloc(layout) }, |(p, _)| p);
        counted(p, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        is_asked(layout.size(), 0);
        let p = match large_block(layout) {
            Some((p, true)) => p,
            Some((p, false)) => {
                // SAFETY: a new block of this size.
                unsafe { p.write_bytes(0, layout.size()) };
                p
            }
            // SAFETY: the caller's layout, passed on.
            None => unsafe { MiMalloc.alloc_zeroed(layout) },
        };
        counted(p, layout.size())
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as u64, Relaxed);
        // SAFETY: the caller's block and layout, passed on.
        unsafe { free_block(p, layout) }
    }

    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        is_asked(size, layout.size());
        #[cfg(target_os = "linux")]
        // SAFETY: the caller's block and layout, passed on.
        let moved = unsafe { realloc_large(p, layout, size) };
        #[cfg(not(target_os = "linux"))]
        let moved = None;
        // SAFETY: the caller's block and layout, passed on.
        let new = moved.unwrap_or_else(|| unsafe { MiMalloc.realloc(p, layout, size) });
        if !new.is_null() {
            LIVE.fetch_sub(layout.size() as u64, Relaxed);
        }
        counted(new, size)
    }
}

/// Bytes in use, when [`Allocator`] is the global allocator; else 0.
pub fn live_bytes() -> u64 {
    LIVE.load(Relaxed)
}

/// The most bytes in use at once since the start or [`reset_peak`].
pub fn peak_bytes() -> u64 {
    PEAK.load(Relaxed)
}

/// Starts the peak again from what is in use now, and on Linux that of the resident size.
pub fn reset_peak() {
    PEAK.store(LIVE.load(Relaxed), Relaxed);
    // Where the system does not allow it the largest resident size stays that of the whole process.
    #[cfg(target_os = "linux")]
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// A field of /proc/self/status in bytes.
fn status(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(field))?;
    line.trim_start_matches(':').trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The process's largest resident size since the start or [`reset_peak`], in bytes.
pub fn peak_rss_bytes() -> u64 {
    status("VmHWM").unwrap_or_else(rusage_peak)
}

/// The process's resident size now, in bytes; the peak where the system does not tell.
pub fn current_rss_bytes() -> u64 {
    status("VmRSS").unwrap_or_else(rusage_peak)
}

/// Bytes of memory in the machine; `None` where the system does not tell.
pub fn physical_bytes() -> Option<u64> {
    // SAFETY: sysconf only reads its argument.
    let (pages, size) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    Some(u64::try_from(pages).ok()? * u64::try_from(size).ok()?)
}

fn rusage_peak() -> u64 {
    // SAFETY: rusage is plain data, for which zero bytes are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live rusage.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) } != 0 {
        return 0;
    }
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    usage.ru_maxrss as u64 * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 64).unwrap()
    }

    /// Blocks of both kinds, before and after freed pages are kept: zero where that was asked for, and moved whole.
    #[test]
    fn used_memory_comes_back_as_zero_and_moves_whole() {
        for kept in [false, true] {
            if kept {
                keep_freed_pages();
            }
            for size in [1000, 600 << 10, (3 << 20) + 5] {
                // SAFETY: each block is used within its size, moved and given back once, with the layout it has then.
                unsafe {
                    let p = Allocator.alloc(layout(size));
                    p.write_bytes(0xa5, size);
                    Allocator.dealloc(p, layout(size));
                    let p = Allocator.alloc_zeroed(layout(size));
                    assert!(std::slice::from_raw_parts(p, size).iter().all(|&b| b == 0), "{size}, kept {kept}");
                    p.write_bytes(0x5a, size);
                    let (mut p, mut now, mut least) = (p, size, size);
                    for next in [700 << 10, 9 << 20, 2 << 20, 100, 800 << 10] {
                        p = Allocator.realloc(p, layout(now), next);
                        (now, least) = (next, least.min(next));
                        assert!(std::slice::from_raw_parts(p, least).iter().all(|&b| b == 0x5a), "{size} to {next}, kept {kept}");
                    }
                    Allocator.dealloc(p, layout(now));
                }
            }
        }
    }
}
