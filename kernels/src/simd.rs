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

/// Writes functions whose loops are compiled for every instruction set and chosen at run time. The body is written once;
/// what it calls must be `#[inline(always)]`, so that it too is compiled for the set that was chosen. Bodies use no
/// `mul_add`, which is a library call where the processor has none: every level gives the same bits.
macro_rules! wide {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident $(<$($T:ident: $bound:path),+>)? ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block)+) => {$(
        $(#[$meta])*
        $vis fn $name $(<$($T: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body $(<$($T: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512 $(<$($T: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? {
                    body($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2 $(<$($T: $bound),+>)? ($($arg: $ty),*) $(-> $ret)? {
                    body($($arg),*)
                }
                match $crate::simd::level() {
                    // SAFETY: the level says that the processor has these instructions.
                    $crate::simd::Level::Avx512 | $crate::simd::Level::Avx512Bf16 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::simd::Level::Portable => {}
                }
            }
            body($($arg),*)
        }
    )+};
}
pub(crate) use wide;

/// Lanes of a reduction: its order is the same whatever the vectors' width.
const LANES: usize = 16;

/// Sum of `f(i)` for i below `n`, in sixteen interleaved lanes.
#[inline(always)]
pub(crate) fn sum(n: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut acc = [0f32; LANES];
    let whole = n / LANES * LANES;
    for i in (0..whole).step_by(LANES) {
        for (l, a) in acc.iter_mut().enumerate() {
            *a += f(i + l);
        }
    }
    let mut sum = 0.0;
    for a in acc {
        sum += a;
    }
    for i in whole..n {
        sum += f(i);
    }
    sum
}

/// The greatest of `f(i)` for i below `n`; NaN is passed over, and nothing at all gives -inf.
#[inline(always)]
pub(crate) fn greatest(n: usize, f: impl Fn(usize) -> f32) -> f32 {
    let pick = |a: f32, b: f32| if b > a { b } else { a };
    let mut acc = [f32::NEG_INFINITY; LANES];
    let whole = n / LANES * LANES;
    for i in (0..whole).step_by(LANES) {
        for (l, a) in acc.iter_mut().enumerate() {
            *a = pick(*a, f(i + l));
        }
    }
    let mut most = f32::NEG_INFINITY;
    for a in acc {
        most = pick(most, a);
    }
    for i in whole..n {
        most = pick(most, f(i));
    }
    most
}
