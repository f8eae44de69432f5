//! The threads that kernels share: rayon's, kept awake while there is work in short loops.
//!
//! A step is thousands of parallel loops of some microseconds, one after the other. A thread that sleeps in between takes as long to wake
//! as such a loop runs.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

thread_local! {
    /// Whether this thread is in [`awake`]: in its work or keeping awake.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// How often a thread that has nothing to do looks for something before it leaves the waiting to rayon, which sleeps: a millisecond or less.
const LOOKS: usize = 1000;

/// Runs `work` on a thread of the pool and keeps the pool's other threads awake until it ends. Meanwhile they take any job of
/// the pool; between looking for one they let other processes run.
///
/// # Panics
/// When `work` does, with its panic.
pub fn awake<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let done = &AtomicBool::new(false);
    rayon::scope(|s| {
        for _ in 1..rayon::current_num_threads() {
            s.spawn(move |_| {
                // A thread that waits here, below its own work, would keep that from going on.
                if !INSIDE.get() {
                    let _here = Inside::enter();
                    while !done.load(Ordering::Acquire) {
                        look();
                    }
                }
            });
        }
        let _here = Inside::enter();
        let _end = SetAtEnd(done);
        work()
    })
}

/// Runs `f(0)`, ..., `f(n - 1)`, each once, on all threads; a thread takes the next when it is done with one.
///
/// # Panics
/// When one of them does, with its panic; then others may not have run.
pub fn each(n: usize, f: impl Fn(usize) + Sync) {
    let threads = rayon::current_num_threads().min(n);
    if threads <= 1 {
        return (0..n).for_each(f);
    }
    let (next, busy) = (AtomicUsize::new(0), AtomicUsize::new(threads - 1));
    let run = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n {
                break;
            }
            f(i);
        }
    };
    rayon::in_place_scope(|s| {
        for _ in 1..threads {
            s.spawn(|_| {
                run();
                busy.fetch_sub(1, Ordering::Release);
            });
        }
        run();
        for _ in 0..LOOKS {
            if busy.load(Ordering::Acquire) == 0 {
                break;
            }
            look();
        }
    });
}

/// Runs a job of the pool, if there is one, or lets a moment pass.
fn look() {
    if rayon::yield_now() != Some(rayon::Yield::Executed) {
        for _ in 0..16 {
            std::hint::spin_loop();
        }
        std::thread::yield_now();
    }
}

struct Inside(bool);

impl Inside {
    fn enter() -> Self {
        Self(INSIDE.replace(true))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}

struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    #[test]
    fn each_is_run_once() {
        for threads in [1, 2, 5] {
            pool(threads).install(|| {
                for n in [0, 1, 2, 7, 1000] {
                    let seen: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
                    let count = |i: usize| {
                        seen[i].fetch_add(1, Ordering::Relaxed);
                    };
                    awake(|| each(n, count));
                    each(n, count);
                    assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == 2), "{n} on {threads} threads");
                }
            });
        }
    }

    #[test]
    fn many_at_once_and_within_one_another_come_to_an_end() {
        let pool = &pool(3);
        let total = &AtomicUsize::new(0);
        let add = |_| {
            total.fetch_add(1, Ordering::Relaxed);
        };
        std::thread::scope(|s| {
            for _ in 0..6 {
                s.spawn(move || {
                    for _ in 0..200 {
                        let count = || each(4, |_| each(3, add));
                        pool.install(|| awake(|| rayon::join(|| awake(count), || each(5, |_| count()))));
                    }
                });
            }
        });
        assert_eq!(total.load(Ordering::Relaxed), 6 * 200 * 6 * 12);
    }

    #[test]
    fn a_thread_does_not_wait_below_its_own_work() {
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let pool = pool(2);
            let state = std::sync::Arc::new(AtomicUsize::new(0));
            let other = state.clone();
            // The other thread is busy, so that looking finds what was meant for it.
            pool.spawn(move || {
                other.store(1, Ordering::Release);
                while other.load(Ordering::Acquire) < 2 {
                    std::thread::yield_now();
                }
            });
            while state.load(Ordering::Acquire) < 1 {
                std::thread::yield_now();
            }
            pool.install(|| awake(|| (0..10).for_each(|_| look())));
            state.store(2, Ordering::Release);
            send.send(()).unwrap();
        });
        assert!(receive.recv_timeout(std::time::Duration::from_secs(60)).is_ok(), "it waits for itself");
    }

    #[test]
    fn a_panic_comes_out_and_the_pool_goes_on() {
        let pool = pool(2);
        let work = || pool.install(|| awake(|| each(100, |i| assert!(i != 50, "the fiftieth"))));
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        assert!(failed.is_err());
        pool.install(|| awake(|| each(10, drop)));
    }
}
