//! Loops compiled for every instruction set, see [`crate::isa`].

pub(crate) use crate::isa::{Vectors, vectors};

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
                match $crate::simd::vectors() {
                    // SAFETY: they are chosen where the processor has these instructions.
                    $crate::simd::Vectors::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::Vectors::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::simd::Vectors::Portable => {}
                }
            }
            body($($arg),*)
        }
    )+};
}
pub(crate) use wide;

/// Work outside this crate whose loops gain from wide vectors.
pub trait Wide {
    /// What it makes.
    type Output;

    /// Does it. To be `#[inline(always)]`, and so is all it calls, so that it is compiled for the set that was chosen.
    fn run(self) -> Self::Output;
}

wide! {
    /// Runs a piece of work as compiled for the widest instruction set here. The bits are the same on every one.
    pub fn widest<W: Wide>(work: W) -> W::Output {
        work.run()
    }
}

/// Lanes of a reduction: its order is the same whatever the vectors' width.
const LANES: usize = 16;

/// Sum of `f(a, b, c)` over three slices of one length, in sixteen interleaved lanes.
#[inline(always)]
pub(crate) fn sum3<A: Copy, B: Copy, C: Copy>(a: &[A], b: &[B], c: &[C], f: impl Fn(A, B, C) -> f32) -> f32 {
    let ((a, a_rest), (b, b_rest), (c, c_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>(), c.as_chunks::<LANES>());
    let mut acc = [0f32; LANES];
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for l in 0..LANES {
            acc[l] += f(a[l], b[l], c[l]);
        }
    }
    let sum: f32 = acc.iter().sum();
    sum + a_rest.iter().zip(b_rest).zip(c_rest).map(|((&a, &b), &c)| f(a, b, c)).sum::<f32>()
}

/// The same over two slices.
#[inline(always)]
pub(crate) fn sum2<A: Copy, B: Copy>(a: &[A], b: &[B], f: impl Fn(A, B) -> f32) -> f32 {
    sum3(a, b, b, |a, b, _| f(a, b))
}

/// The same over one.
#[inline(always)]
pub(crate) fn sum<A: Copy>(a: &[A], f: impl Fn(A) -> f32) -> f32 {
    sum3(a, a, a, |a, _, _| f(a))
}

/// The greatest of `f(a)`; NaN is passed over, and nothing at all gives -inf.
#[inline(always)]
pub(crate) fn greatest<A: Copy>(a: &[A], f: impl Fn(A) -> f32) -> f32 {
    let pick = |a: f32, b: f32| if b > a { b } else { a };
    let (parts, rest) = a.as_chunks::<LANES>();
    let mut acc = [f32::NEG_INFINITY; LANES];
    for part in parts {
        for l in 0..LANES {
            acc[l] = pick(acc[l], f(part[l]));
        }
    }
    let most = acc.into_iter().fold(f32::NEG_INFINITY, pick);
    rest.iter().fold(most, |m, &x| pick(m, f(x)))
}
