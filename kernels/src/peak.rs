//! What this machine can do at most: multiply-adds from registers and reads from memory. Benches stand beside these.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::isa;

/// Ceilings of this machine over all threads of the pool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// f32 multiply-adds from registers, in floating-point operations a second (two each).
    pub f32_flops: f64,
    /// The same for the bf16 dot product; `None` without it.
    pub bf16_dot_flops: Option<f64>,
    /// The same for AMX tiles in bf16; `None` without them.
    pub amx_flops: Option<f64>,
    /// Bytes read from memory a second.
    pub read_bytes: f64,
}

/// How long each figure is measured.
const SPAN: Duration = Duration::from_millis(250);

/// Rounds of one call of a register loop.
const ROUNDS: usize = 10_000;

impl Peak {
    /// The ceiling of bf16 products: that of the fastest instructions for them.
    pub fn bf16_flops(&self) -> f64 {
        [self.bf16_dot_flops, self.amx_flops].into_iter().flatten().fold(self.f32_flops, f64::max)
    }
}

/// Measures each, in about a second.
pub fn measure() -> Peak {
    Peak {
        f32_flops: rate(Loop::F32),
        bf16_dot_flops: isa::has_bf16().then(|| rate(Loop::Bf16Dot)),
        amx_flops: isa::amx_permitted().then(|| rate(Loop::Amx)),
        read_bytes: read_rate(),
    }
}

/// A loop of multiply-adds from registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loop {
    /// f32, with the widest vectors.
    F32,
    /// `vdpbf16ps`; only where [`isa::has_bf16`] holds.
    Bf16Dot,
    /// AMX tiles; only where [`isa::amx_permitted`] holds.
    Amx,
}

impl Loop {
    /// Runs it for some ten thousand cycles; how many operations that were.
    #[cfg(target_arch = "x86_64")]
    fn round(self) -> f64 {
        match self {
            Loop::F32 => f32_round(),
            Loop::Bf16Dot => {
                assert!(isa::has_bf16(), "no bf16 dot product");
                // SAFETY: checked above.
                unsafe { x86::bf16_avx512() }
            }
            Loop::Amx => x86::bf16_amx(),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn round(self) -> f64 {
        portable()
    }
}

/// Operations a second of one round on this thread.
pub(crate) fn short_rate(work: Loop) -> f64 {
    let start = Instant::now();
    work.round() / start.elapsed().as_secs_f64()
}

/// Runs the loop on every thread for [`SPAN`]; operations a second of all of them.
fn rate(work: Loop) -> f64 {
    let threads = rayon::current_num_threads();
    work.round();
    let one = |_| {
        let (start, mut done) = (Instant::now(), 0.0);
        while start.elapsed() < SPAN {
            done += work.round();
        }
        done / start.elapsed().as_secs_f64()
    };
    rayon::broadcast(|c| one(c.index())).into_iter().take(threads).sum()
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
    use std::arch::{asm, x86_64::*};
    use std::hint::black_box;

    use super::ROUNDS;
    use crate::matmul::Tiles;

    /// Chains in flight: more than latency times issue width.
    const CHAINS: usize = 16;

    /// One instruction for each of the sixteen sums. Written out: a compiler that keeps some of the sums in memory makes the
    /// machine look an eighth slower than it is.
    macro_rules! each_sum {
        ($instruction:literal, $sums:ident, $a:ident, $b:ident) => {{
            let [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15] = &mut $sums;
            // SAFETY: arithmetic on registers alone; the caller has the instruction.
            unsafe {
                asm!(
                    concat!($instruction, " {0}, {16}, {17}"), concat!($instruction, " {1}, {16}, {17}"),
                    concat!($instruction, " {2}, {16}, {17}"), concat!($instruction, " {3}, {16}, {17}"),
                    concat!($instruction, " {4}, {16}, {17}"), concat!($instruction, " {5}, {16}, {17}"),
                    concat!($instruction, " {6}, {16}, {17}"), concat!($instruction, " {7}, {16}, {17}"),
                    concat!($instruction, " {8}, {16}, {17}"), concat!($instruction, " {9}, {16}, {17}"),
                    concat!($instruction, " {10}, {16}, {17}"), concat!($instruction, " {11}, {16}, {17}"),
                    concat!($instruction, " {12}, {16}, {17}"), concat!($instruction, " {13}, {16}, {17}"),
                    concat!($instruction, " {14}, {16}, {17}"), concat!($instruction, " {15}, {16}, {17}"),
                    inout(zmm_reg) *s0, inout(zmm_reg) *s1, inout(zmm_reg) *s2, inout(zmm_reg) *s3,
                    inout(zmm_reg) *s4, inout(zmm_reg) *s5, inout(zmm_reg) *s6, inout(zmm_reg) *s7,
                    inout(zmm_reg) *s8, inout(zmm_reg) *s9, inout(zmm_reg) *s10, inout(zmm_reg) *s11,
                    inout(zmm_reg) *s12, inout(zmm_reg) *s13, inout(zmm_reg) *s14, inout(zmm_reg) *s15,
                    in(zmm_reg) $a, in(zmm_reg) $b,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
        }};
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn f32_avx512() -> f64 {
        let (a, b) = (_mm512_set1_ps(black_box(1.0001)), _mm512_set1_ps(black_box(0.9999)));
        let mut sums = [a; CHAINS];
        for _ in 0..ROUNDS {
            each_sum!("vfmadd231ps", sums, a, b);
        }
        black_box(sums);
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
        // Two bf16 in each 32 bits, the same everywhere: 0.0098 and 0.03.
        let (a, b) = (_mm512_set1_epi32(black_box(0x3c20_3c20)), _mm512_set1_epi32(black_box(0x3cf6_3cf6)));
        let mut sums = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..ROUNDS {
            each_sum!("vdpbf16ps", sums, a, b);
        }
        black_box(sums);
        (2 * 32 * CHAINS * ROUNDS) as f64
    }

    /// Four sums of 16 x 16, each given 16 x 32 times 32 x 16 products at a time.
    pub(super) fn bf16_amx() -> f64 {
        const ROUNDS: usize = super::ROUNDS / 32;
        let tiles = Tiles::begin();
        // SAFETY: the tiles are configured and hold nothing but their sums; zeros stay zeros.
        unsafe {
            asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                "tilezero tmm4", "tilezero tmm5", "tilezero tmm6", "tilezero tmm7",
                "2:",
                "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
                "dec {n}",
                "jnz 2b",
                n = inout(reg) ROUNDS => _,
                options(nomem, nostack)
            );
        }
        drop(tiles);
        (2 * 4 * 16 * 16 * 32 * ROUNDS) as f64
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
