//! What this processor can do, found once at run time, and loops compiled for it.

use std::sync::OnceLock;

/// Instruction sets that kernels are written for, each with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// What the target always has.
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX-512 with the bf16 dot product.
    Avx512Bf16,
}

/// The best level here. `TALLOW_ISA` = `portable`, `avx2` or `avx512` lowers it, to try the fall-back paths.
pub(crate) fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let cap = match std::env::var("TALLOW_ISA").as_deref() {
            Ok("portable") => Level::Portable,
            Ok("avx2") => Level::Avx2,
            Ok("avx512") => Level::Avx512,
            _ => Level::Avx512Bf16,
        };
        detected().min(cap)
    })
}

#[cfg(target_arch = "x86_64")]
fn detected() -> Level {
    macro_rules! has {
        ($($f:tt),*) => { $(std::arch::is_x86_feature_detected!($f))&&* };
    }
    if !has!("avx2", "fma") {
        Level::Portable
    } else if !has!("avx512f", "avx512bw", "avx512dq", "avx512vl") {
        Level::Avx2
    } else if !has!("avx512bf16") {
        Level::Avx512
    } else {
        Level::Avx512Bf16
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detected() -> Level {
    Level::Portable
}

/// Runs a loop compiled for the widest vectors of this processor. The loop should be one plain closure around slices: it
/// is copied into functions with the right instructions enabled, where the compiler vectorises it. Results are the same
/// on every level, since nothing is reordered and `mul_add` is exact everywhere.
#[inline]
pub(crate) fn wide<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    match level() {
        Level::Portable => {}
        // SAFETY: the level says that the processor has these instructions.
        Level::Avx2 => return unsafe { with_avx2(f) },
        // SAFETY: as above.
        Level::Avx512 | Level::Avx512Bf16 => return unsafe { with_avx512(f) },
    }
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn with_avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}
