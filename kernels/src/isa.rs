//! The instructions that this process computes with, chosen once.
//!
//! What the processor has is an upper bound, and `TALLOW_ISA` lowers it. Products of bf16 can be
//! made in three ways (widened to f32, by the bf16 dot product, by AMX tiles), and a newer
//! instruction set is not always the faster one: some processors run the bf16 dot product at half
//! the rate of f32. So the ways that are left are timed, each for a fraction of a millisecond and
//! several times, and the fastest is taken. Nothing is stored: measuring takes a few milliseconds.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::peak::{self, Loop};

/// Vectors that loops are compiled for, each with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vectors {
    /// What the target always has.
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

/// How products of bf16 operands are made. Sums are f32 in each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Products {
    /// Widened, multiplied and added as f32.
    F32,
    /// `vdpbf16ps`: two products added to each sum.
    Bf16Dot,
    /// AMX: tiles of sixteen rows by sixteen columns.
    Amx,
    /// The same tiles, emulated: slow, to try the AMX path on a machine without it.
    AmxEmulated,
}

/// What was chosen, and from what.
#[derive(Debug, Clone)]
pub struct Isa {
    /// Vectors of the ordinary loops.
    pub vectors: Vectors,
    /// Whether the instructions that round to bf16 and multiply it may be used.
    pub bf16: bool,
    /// For products of several rows in bf16.
    pub products: Products,
    /// Whether the products of a few rows with a bf16 weight, as in decoding, use `vdpbf16ps`.
    pub dots_bf16: bool,
    /// The same with an NF4 weight.
    pub dots_nf4: bool,
    /// The ways to multiply bf16 that were timed: operations a second of one thread.
    pub timed: Vec<(Products, f64)>,
    /// What `TALLOW_ISA` says, where it is known.
    pub limit: Option<&'static str>,
}

/// Values of `TALLOW_ISA`.
pub const LIMITS: [&str; 6] = ["portable", "avx2", "avx512", "avx512bf16", "amx", "amx-emulated"];

/// The vectors of the ordinary loops: known before anything is timed.
pub(crate) fn vectors() -> Vectors {
    static CHOSEN: OnceLock<Vectors> = OnceLock::new();
    *CHOSEN.get_or_init(|| vectors_within(limit()))
}

fn vectors_within(limit: Option<&str>) -> Vectors {
    match limit {
        Some("portable") => Vectors::Portable,
        Some("avx2") => Vectors::Avx2.min(detected()),
        _ => detected(),
    }
}

/// The choice of this process.
pub fn isa() -> &'static Isa {
    static CHOSEN: OnceLock<Isa> = OnceLock::new();
    CHOSEN.get_or_init(|| choose(limit()))
}

/// The value of `TALLOW_ISA`, if it is none of [`LIMITS`]: it then limits nothing.
pub fn unknown_limit() -> Option<String> {
    let value = std::env::var("TALLOW_ISA").ok().filter(|v| !v.is_empty())?;
    (!LIMITS.contains(&value.as_str())).then_some(value)
}

fn limit() -> Option<&'static str> {
    let value = std::env::var("TALLOW_ISA").ok()?;
    LIMITS.into_iter().find(|known| *known == value)
}

/// What the processor has, and what of it the limit leaves.
fn choose(limit: Option<&'static str>) -> Isa {
    let vectors = vectors_within(limit);
    let bf16 = vectors == Vectors::Avx512 && has_bf16() && limit != Some("avx512");
    let mut isa = Isa { vectors, bf16, products: Products::F32, dots_bf16: false, dots_nf4: false, timed: Vec::new(), limit };
    if !bf16 {
        return isa;
    }
    // Named, a way is taken without a question, and the bf16 dot product with it.
    isa.products = match limit {
        Some("avx512bf16") => Products::Bf16Dot,
        Some("amx-emulated") => Products::AmxEmulated,
        Some("amx") if amx_permitted() => Products::Amx,
        _ => {
            isa.timed = timed();
            let rate = |p: &(Products, f64)| p.1;
            let best = isa.timed.iter().max_by(|a, b| rate(a).total_cmp(&rate(b)));
            best.map_or(Products::F32, |(products, _)| *products)
        }
    };
    if matches!(limit, Some("avx512bf16" | "amx-emulated")) {
        (isa.dots_bf16, isa.dots_nf4) = (true, true);
    } else {
        (isa.dots_bf16, isa.dots_nf4) = crate::matmul::faster_dots();
    }
    isa
}

/// The rates of the ways to multiply that this processor has.
fn timed() -> Vec<(Products, f64)> {
    let mut ways = vec![(Products::F32, Loop::F32), (Products::Bf16Dot, Loop::Bf16Dot)];
    if amx_permitted() {
        ways.push((Products::Amx, Loop::Amx));
    }
    let time = |work: Loop| {
        let mut rate = 0f64;
        for _ in 0..6 {
            rate = rate.max(peak::short_rate(work));
        }
        rate
    };
    ways.into_iter().map(|(products, work)| (products, time(work))).collect()
}

/// The least time of several runs; the first, which warms the caches, does not count.
pub(crate) fn least_time(mut run: impl FnMut()) -> Duration {
    run();
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..6).map(time).min().unwrap_or_default()
}

#[cfg(target_arch = "x86_64")]
macro_rules! has {
    ($($f:tt),*) => { $(std::arch::is_x86_feature_detected!($f))&&* };
}

#[cfg(target_arch = "x86_64")]
fn detected() -> Vectors {
    if !has!("avx2", "fma") {
        Vectors::Portable
    } else if !has!("avx512f", "avx512bw", "avx512dq", "avx512vl") {
        Vectors::Avx2
    } else {
        Vectors::Avx512
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detected() -> Vectors {
    Vectors::Portable
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn has_bf16() -> bool {
    has!("avx512f", "avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn has_bf16() -> bool {
    false
}

/// Whether the processor has AMX for bf16 and the system lets this process use it. The system is
/// asked once: it then saves the tiles of all threads when it switches between them.
pub(crate) fn amx_permitted() -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(ask_for_amx)
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn ask_for_amx() -> bool {
    use std::arch::x86_64::__cpuid_count;
    const REQUEST_PERMISSION: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // AMX has no name of its own in `is_x86_feature_detected` yet: leaf 7, EDX, bits 22 and 24.
    let leaf = __cpuid_count(7, 0).edx;
    if leaf & 1 << 22 == 0 || leaf & 1 << 24 == 0 || !has_bf16() {
        return false;
    }
    // SAFETY: this request changes nothing but what the process is permitted.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0 }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn ask_for_amx() -> bool {
    false
}

impl Products {
    /// As people know it.
    pub fn name(self) -> &'static str {
        match self {
            Products::F32 => "f32",
            Products::Bf16Dot => "bf16 dot product",
            Products::Amx => "AMX",
            Products::AmxEmulated => "AMX, emulated",
        }
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let vectors = match self.vectors {
            Vectors::Portable => "portable vectors",
            Vectors::Avx2 => "AVX2",
            Vectors::Avx512 => "AVX-512",
        };
        write!(f, "{vectors}; bf16 products by {}", self.products.name())?;
        if !self.timed.is_empty() {
            let show = |(way, rate): &(Products, f64)| format!("{} {:.0}", way.name(), rate / 1e9);
            let all: Vec<String> = self.timed.iter().map(show).collect();
            write!(f, " (Gflop/s on one thread: {})", all.join(", "))?;
        }
        if self.bf16 {
            let way = |dot: bool| if dot { "bf16 dot product" } else { "f32" };
            let (bf16, nf4) = (way(self.dots_bf16), way(self.dots_nf4));
            write!(f, "; decoding bf16 by {bf16}, nf4 by {nf4}")?;
        }
        match self.limit {
            Some(limit) => write!(f, "; TALLOW_ISA={limit}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_way_is_chosen() {
        let isa = choose(None);
        let rate = |p| isa.timed.iter().find(|(way, _)| *way == p).map(|(_, rate)| *rate);
        if let Some(chosen) = rate(isa.products) {
            assert!(isa.timed.iter().all(|(_, rate)| *rate <= chosen), "{isa}");
        }
        assert_eq!(isa.timed.is_empty(), !isa.bf16, "{isa}");
    }

    #[test]
    fn a_limit_is_kept() {
        for limit in LIMITS {
            let isa = choose(Some(limit));
            let allowed: &[Products] = match limit {
                "avx512bf16" => &[Products::F32, Products::Bf16Dot],
                "amx-emulated" => &[Products::F32, Products::AmxEmulated],
                "amx" => &[Products::F32, Products::Bf16Dot, Products::Amx],
                _ => &[Products::F32],
            };
            assert!(allowed.contains(&isa.products), "{limit}: {isa}");
            let most = match limit {
                "portable" => Vectors::Portable,
                "avx2" => Vectors::Avx2,
                _ => Vectors::Avx512,
            };
            assert!(isa.vectors <= most, "{limit}: {isa}");
        }
    }
}
