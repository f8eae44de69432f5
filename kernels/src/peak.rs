//! What this machine can do at most: multiply-adds from registers and reads from memory. Benches stand beside these.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rayon::prelude::*;

/// Ceilings of this machine over all threads of the pool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// f32 multiply-adds from registers, in floating-point operations a second (two each).
    pub f32_flops: f64,
    /// The same for bf16 products summed in f32; `None` without such instructions.
    pub bf16_flops: Option<f64>,
    /// Bytes read from memory a second.
    pub read_bytes: f64,
}

/// How long each figure is measured.
const SPAN: Duration = Duration::from_millis(250);

/// Rounds of one call of a register loop.
const ROUNDS: usize = 10_000;

/// Measures all three, in about a second.
pub fn measure() -> Peak {
    let bf16_flops = has_bf16().then(|| rate(bf16_round));
    Peak { f32_flops: rate(f32_round), bf16_flops, read_bytes: read_rate() }
}

/// Calls `round` on every thread for [`SPAN`]; operations a second of all of them.
fn rate(round: fn() -> f64) -> f64 {
    let threads = rayon::current_num_threads();
    round();
    let one = |_| {
        let (start, mut done) = (Instant::now(), 0.0);
        while start.elapsed() < SPAN {
            done += round();
        }
        done / start.elapsed().as_secs_f64()
    };
    rayon::broadcast(|c| one(c.index())).into_iter().take(threads).sum()
}

#[cfg(target_arch = "x86_64")]
fn has_bf16() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16") && std::arch::is_x86_feature_detected!("avx512f")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_bf16() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
fn f32_round() -> f64 {
    if std::arch::is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has AVX-512.
        unsafe { x86::f32_avx512() }
    } else if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the processor has AVX2 and FMA.
        unsafe { x86::f32_avx2() }
    } else {
        portable()
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn f32_round() -> f64 {
    portable()
}

#[cfg(target_arch = "x86_64")]
fn bf16_round() -> f64 {
    // SAFETY: only called where `has_bf16` holds.
    unsafe { x86::bf16_avx512() }
}

#[cfg(not(target_arch = "x86_64"))]
fn bf16_round() -> f64 {
    0.0
}

/// Independent chains of multiply-adds that the compiler may make vectors of.
fn portable() -> f64 {
    const CHAINS: usize = 64;
    let mut sums = [0f32; CHAINS];
    let (a, b) = (black_box([1.0001f32; CHAINS]), black_box(0.9999f32));
    for _ in 0..ROUNDS {
        for (s, a) in sums.iter_mut().zip(&a) {
            *s = *s * b + a;
        }
    }
    black_box(sums);
    (2 * CHAINS * ROUNDS) as f64
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::ROUNDS;

    /// Chains in flight: more than latency times issue width.
    const CHAINS: usize = 16;

    #[target_feature(enable = "avx512f")]
    pub(super) fn f32_avx512() -> f64 {
        let (a, b) = (_mm512_set1_ps(black_box(1.0001)), _mm512_set1_ps(black_box(0.9999)));
        let mut sums = [a; CHAINS];
        for _ in 0..ROUNDS {
            for s in &mut sums {
                *s = _mm512_fmadd_ps(*s, b, a);
            }
        }
        black_box(sums.map(|s| _mm512_reduce_add_ps(s)));
        (2 * 16 * CHAINS * ROUNDS) as f64
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn f32_avx2() -> f64 {
        const CHAINS: usize = 12;
        let (a, b) = (_mm256_set1_ps(black_box(1.0001)), _mm256_set1_ps(black_box(0.9999)));
        let mut sums = [a; CHAINS];
        for _ in 0..ROUNDS {
            for s in &mut sums {
                *s = _mm256_fmadd_ps(*s, b, a);
            }
        }
        black_box(sums.map(|s| _mm256_cvtss_f32(s)));
        (2 * 8 * CHAINS * ROUNDS) as f64
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn bf16_avx512() -> f64 {
        let a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(black_box(0.01)), _mm512_set1_ps(black_box(0.02)));
        let b = _mm512_cvtne2ps_pbh(_mm512_set1_ps(black_box(0.03)), _mm512_set1_ps(black_box(0.04)));
        let mut sums = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..ROUNDS {
            for s in &mut sums {
                *s = _mm512_dpbf16_ps(*s, a, b);
            }
        }
        black_box(sums.map(|s| _mm512_reduce_add_ps(s)));
        (2 * 32 * CHAINS * ROUNDS) as f64
    }
}

/// Reads a buffer far larger than the caches, again and again.
fn read_rate() -> f64 {
    const WORDS: usize = 32 << 20; // 256 MiB
    let words = vec![1u64; WORDS];
    let read = || words.par_chunks(1 << 16).map(|c| c.iter().copied().fold(0, u64::wrapping_add)).reduce(|| 0, u64::wrapping_add);
    black_box(read());
    let (start, mut rounds) = (Instant::now(), 0);
    while start.elapsed() < SPAN {
        black_box(read());
        rounds += 1;
    }
    (rounds * WORDS * 8) as f64 / start.elapsed().as_secs_f64()
}
