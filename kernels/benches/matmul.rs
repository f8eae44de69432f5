//! GFLOP/s of the products at training shapes, beside what the processor can do from registers.
//! `cargo bench --bench matmul`; each product is checked before it is timed.
#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use tallow_kernels::matmul::{matmul, matmul_backward_input, matmul_backward_weight, reference};
use tallow_kernels::quant::{Nf4, Q8};
use tallow_kernels::weight::Weight;

#[global_allocator]
static ALLOCATOR: tallow_kernels::alloc::Allocator = tallow_kernels::alloc::Allocator;

/// Seconds of the fastest of several runs.
fn best(mut f: impl FnMut()) -> f64 {
    f();
    let start = Instant::now();
    let mut least = f64::INFINITY;
    while start.elapsed().as_secs_f64() < 0.4 {
        let t = Instant::now();
        f();
        least = least.min(t.elapsed().as_secs_f64());
    }
    least
}

fn error(got: &Tensor, want: &Tensor) -> f64 {
    let flat = |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let (got, want) = (flat(got), flat(want));
    let top = want.iter().fold(0f64, |m, x| m.max(x.abs()));
    got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0f64, f64::max) / top
}

fn main() {
    #[cfg(target_arch = "x86_64")]
    peak::print();
    let cpu = Device::Cpu;
    println!("{:>5} {:>5} {:>5}  {:<10} {:>8} {:>8} {:>8}", "T", "out", "in", "x / w", "y", "dx", "dw");
    let only = std::env::args().nth(1).filter(|a| !a.starts_with('-')).and_then(|a| a.parse::<usize>().ok());
    let shapes = [(2048, 576, 576), (2048, 1536, 576), (2048, 576, 1536), (2048, 192, 576), (2048, 2048, 2048), (1, 1536, 576)];
    for (tokens, out, inp) in shapes.into_iter().filter(|s| only.is_none_or(|o| s.1 == o)) {
        let w = Tensor::randn(0f32, 0.1, (out, inp), &cpu).unwrap();
        let rows = [
            ("f32/f32", DType::F32, Weight::Dense(w.clone())),
            ("bf16/bf16", DType::BF16, Weight::Dense(w.to_dtype(DType::BF16).unwrap())),
            ("bf16/nf4", DType::BF16, Weight::Nf4(Nf4::quantize(&w, true).unwrap())),
            ("bf16/q8", DType::BF16, Weight::Q8(Q8::quantize(&w).unwrap())),
        ];
        for (name, dtype, w) in rows {
            let x = Tensor::randn(0f32, 1.0, (tokens, inp), &cpu).unwrap().to_dtype(dtype).unwrap();
            let dy = Tensor::randn(0f32, 1.0, (tokens, out), &cpu).unwrap().to_dtype(dtype).unwrap();
            let dw = Tensor::zeros((out, inp), DType::F32, &cpu).unwrap();
            let few = |t: &Tensor| t.narrow(0, 0, tokens.min(40)).unwrap().contiguous().unwrap();
            let limit = if dtype == DType::F32 { 2e-6 } else { 5e-3 };
            let e = error(&few(&matmul(&x, &w).unwrap()), &reference::matmul(&few(&x), &w).unwrap());
            assert!(e < limit, "{name} y: {e}");
            let e = error(&few(&matmul_backward_input(&dy, &w).unwrap()), &reference::matmul_backward_input(&few(&dy), &w).unwrap());
            assert!(e < limit, "{name} dx: {e}");
            let flops = 2e-9 * (tokens * out * inp) as f64;
            let y = best(|| drop(matmul(&x, &w).unwrap()));
            let dx = best(|| drop(matmul_backward_input(&dy, &w).unwrap()));
            let g = best(|| matmul_backward_weight(&dy, &x, &dw).unwrap());
            println!("{tokens:>5} {out:>5} {inp:>5}  {name:<10} {:>8.1} {:>8.1} {:>8.1}", flops / y, flops / dx, flops / g);
        }
    }
}

/// Multiply-adds on registers alone.
#[cfg(target_arch = "x86_64")]
mod peak {
    use std::arch::x86_64::*;
    use std::time::Instant;

    const N: usize = 4_000_000;

    #[target_feature(enable = "avx512f")]
    fn fma() -> f32 {
        let (mut a, x) = ([_mm512_set1_ps(1.0); 24], _mm512_set1_ps(std::hint::black_box(0.999)));
        for _ in 0..N {
            for v in &mut a {
                *v = _mm512_fmadd_ps(*v, x, x);
            }
        }
        a.iter().map(|v| _mm512_reduce_add_ps(*v)).sum()
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn dot() -> f32 {
        let mut a = [_mm512_set1_ps(1.0); 24];
        // SAFETY: both are 64 plain bytes.
        let x = unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(std::hint::black_box(0x3f00_3f00))) };
        for _ in 0..N {
            for v in &mut a {
                *v = _mm512_dpbf16_ps(*v, x, x);
            }
        }
        a.iter().map(|v| _mm512_reduce_add_ps(*v)).sum()
    }

    fn time(threads: usize, flops: f64, f: impl Fn() -> f32 + Sync) -> f64 {
        let run = || {
            let t = Instant::now();
            std::thread::scope(|s| (0..threads).for_each(|_| drop(s.spawn(|| std::hint::black_box(f())))));
            t.elapsed().as_secs_f64()
        };
        let least = (0..5).map(|_| run()).fold(f64::INFINITY, f64::min);
        threads as f64 * flops * 24.0 * N as f64 / least * 1e-9
    }

    pub fn print() {
        if !is_x86_feature_detected!("avx512f") {
            return;
        }
        let n = std::thread::available_parallelism().map_or(1, usize::from);
        // SAFETY: detected.
        println!(
            "f32 peak:  {:.0} GFLOP/s on one core, {:.0} on {n}",
            time(1, 32.0, || unsafe { fma() }),
            time(n, 32.0, || unsafe { fma() })
        );
        if is_x86_feature_detected!("avx512bf16") {
            // SAFETY: detected.
            println!(
                "bf16 peak: {:.0} GFLOP/s on one core, {:.0} on {n}",
                time(1, 64.0, || unsafe { dot() }),
                time(n, 64.0, || unsafe { dot() })
            );
        }
    }
}
