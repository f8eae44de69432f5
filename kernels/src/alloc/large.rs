//! Large blocks on Linux, cut from one range of addresses.
//!
//! A training step takes and returns some hundreds of blocks of a few sizes. mimalloc lets none cross its chunks of 32 MiB, and an
//! eighth of what was resident lay idle. Here whole pages are cut by best fit ([`super::extents`]): 2 to 4 %
//! lie idle (benches/LOG.md).

use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::extents::{Extents, PAGE};

/// Blocks from this size on are large.
pub(super) const LEAST: usize = 512 << 10;
/// Addresses to reserve: several times what a machine has, since holes in them cost nothing. Where that is not to be had, half of it,
/// and so on down to the least.
const MOST_RANGE: usize = 1 << 40;
const LEAST_RANGE: usize = 1 << 34;

static BEGIN: AtomicUsize = AtomicUsize::new(0);
static RANGE: AtomicUsize = AtomicUsize::new(0);
static KEEP: AtomicBool = AtomicBool::new(false);
static FREE: OnceLock<Option<Mutex<Extents>>> = OnceLock::new();

/// From here on freed blocks stay resident for the next to come.
pub(super) fn keep() {
    KEEP.store(true, Relaxed);
}

/// Whether this block is one of these.
pub(super) fn holds(p: *mut u8) -> bool {
    let range = RANGE.load(Acquire);
    p.addr().wrapping_sub(BEGIN.load(Relaxed)) < range
}

fn reserve() -> Option<Mutex<Extents>> {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    let mut range = MOST_RANGE;
    while range >= LEAST_RANGE {
        // SAFETY: a new mapping, which takes no memory until it is written to.
        let p = unsafe { libc::mmap(std::ptr::null_mut(), range, access, kind, -1, 0) };
        if p != libc::MAP_FAILED {
            // Huge pages for weights; see `prefer_small_pages`.
            // SAFETY: advice about the mapping just made.
            unsafe { libc::madvise(p, range, libc::MADV_HUGEPAGE) };
            let begin = p.expose_provenance();
            BEGIN.store(begin, Relaxed);
            RANGE.store(range, Release);
            return Some(Mutex::new(Extents::new(begin, begin + range)));
        }
        range /= 2;
    }
    None
}

fn free() -> Option<MutexGuard<'static, Extents>> {
    // Nothing panics while it is held.
    FREE.get_or_init(reserve).as_ref().map(|free| free.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A block of `size` bytes on a page's boundary, and whether it is all zero. `None` where addresses could not be reserved.
pub(super) fn alloc(size: usize) -> Option<(*mut u8, bool)> {
    let taken = free()?.take(size.checked_next_multiple_of(PAGE)?)?;
    // What was freed before `keep` was given back to the system.
    Some((std::ptr::with_exposed_provenance_mut(taken.at), taken.fresh || !KEEP.load(Relaxed)))
}

/// # Safety
/// A live block of [`alloc`] with this size.
pub(super) unsafe fn dealloc(p: *mut u8, size: usize) {
    give_back(p, 0, size.next_multiple_of(PAGE));
}

/// Bytes `from .. to` of a block are no longer used.
fn give_back(p: *mut u8, from: usize, to: usize) {
    if !KEEP.load(Relaxed) {
        let part = p.wrapping_add(from);
        // SAFETY: whole pages of a block that its owner gave up, and that nobody else has yet.
        unsafe {
            // Locked memory is not given back; it has to be zero all the same, see `alloc`.
            if libc::madvise(part.cast(), to - from, libc::MADV_DONTNEED) != 0 {
                part.write_bytes(0, to - from);
            }
        }
    }
    if let Some(mut free) = free() {
        free.give(p.addr() + from, to - from);
    }
}

/// Makes a block longer or shorter where it lies; false where that cannot be.
///
/// # Safety
/// A live block of [`alloc`] with the size `from`; its bytes from `to` on are not used any more.
pub(super) unsafe fn resize(p: *mut u8, from: usize, to: usize) -> bool {
    let (from, Some(to)) = (from.next_multiple_of(PAGE), to.checked_next_multiple_of(PAGE)) else { return false };
    if to < from {
        give_back(p, to, from);
        return true;
    }
    to == from || free().is_some_and(|mut free| free.resize(p.addr(), from, to))
}
