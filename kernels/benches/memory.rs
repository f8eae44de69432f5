//! GB/s of the operations that memory bounds, beside what it gives when only read. `cargo bench --bench memory`
//! The products of one row (decoding) run over more weights than the caches hold.
#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use tallow_kernels::activation::{swiglu, swiglu_backward_inplace};
use tallow_kernels::elementwise::add_inplace;
use tallow_kernels::embedding::embedding;
use tallow_kernels::matmul::{matmul, reference};
use tallow_kernels::norm::{rms_norm, rms_norm_backward};
use tallow_kernels::optim::{Adam8State, AdamW, adamw_step, adamw8_step, global_norm};
use tallow_kernels::quant::{Nf4, Q8};
use tallow_kernels::rope::{RopeScaling, RopeTable, rope};
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

fn decoding() {
    for (out, inp) in [(1536, 576), (576, 1536), (576, 576), (2048, 2048)] {
        let w = Tensor::randn(0f32, 0.1, (out, inp), &Device::Cpu).unwrap();
        let kinds: [(&str, DType, Weight); 4] = [
            ("f32/f32", DType::F32, Weight::Dense(w.clone())),
            ("bf16/bf16", DType::BF16, Weight::Dense(w.to_dtype(DType::BF16).unwrap())),
            ("bf16/nf4", DType::BF16, Weight::Nf4(Nf4::quantize(&w, true).unwrap())),
            ("bf16/q8", DType::BF16, Weight::Q8(Q8::quantize(&w).unwrap())),
        ];
        for (name, dtype, w) in kinds {
            let x = Tensor::randn(0f32, 1.0, (1, inp), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let e = error(&matmul(&x, &w).unwrap(), &reference::matmul(&x, &w).unwrap());
            assert!(e < if dtype == DType::F32 { 2e-6 } else { 5e-3 }, "{name}: {e}");
            let copies = (256 << 20) / w.bytes() as usize + 1;
            let copy = |w: &Weight| match w {
                Weight::Dense(t) => Weight::Dense(t.copy().unwrap()),
                Weight::Nf4(n) => Weight::Nf4(Nf4::from_parts(n.codes().copy().unwrap(), n.absmax().clone(), out, inp).unwrap()),
                Weight::Q8(q) => Weight::Q8(Q8::quantize(&q.dequantize().unwrap()).unwrap()),
            };
            let all: Vec<Weight> = (0..copies).map(|_| copy(&w)).collect();
            let seconds = best(|| tallow_kernels::pool::awake(|| all.iter().for_each(|w| drop(matmul(&x, w).unwrap()))));
            let rate = copies as f64 * w.bytes() as f64 / seconds * 1e-9;
            println!(
                "    1 x {out:>4} x {inp:>4}  {name:<10} {rate:>6.1} GB/s  {:>6.1} GFLOP/s",
                2e-9 * (copies * out * inp) as f64 / seconds
            );
        }
    }
}

/// Rows of the training shapes' elementwise operations: bytes that must move, and the operation.
fn elementwise(dtype: DType) {
    const TOKENS: usize = 2048;
    let random = |rows: usize, cols: usize| Tensor::randn(0f32, 1.0, (rows, cols), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
    let (narrow, wide) = (TOKENS * 576 * dtype.size_in_bytes(), TOKENS * 1536 * dtype.size_in_bytes());
    let (x, dy, gate, up) = (random(TOKENS, 576), random(TOKENS, 576), random(TOKENS, 1536), random(TOKENS, 1536));
    let weight = Tensor::ones(576, DType::F32, &Device::Cpu).unwrap();
    let (_, rstd) = rms_norm(&x, &weight, 1e-5).unwrap();
    let table = RopeTable::new(64, 1e4, &RopeScaling::None, TOKENS, &Device::Cpu).unwrap();
    let positions: Vec<u32> = (0..TOKENS as u32).collect();
    let (q, k) = (random(TOKENS, 576).reshape((TOKENS, 9, 64)).unwrap(), random(TOKENS, 192).reshape((TOKENS, 3, 64)).unwrap());
    let vocabulary = random(49152, 576);
    let ids: Vec<u32> = (0..TOKENS as u32).map(|i| i * 7919 % 49152).collect();
    let row = |name: &str, bytes: usize, f: &mut dyn FnMut()| {
        println!("    {name:<28} {:>6.1} GB/s", bytes as f64 / best(f) * 1e-9);
    };
    row("rms_norm", 2 * narrow, &mut || drop(rms_norm(&x, &weight, 1e-5).unwrap()));
    row("rms_norm backward", 3 * narrow, &mut || drop(rms_norm_backward(&dy, &x, &weight, &rstd, None, None).unwrap()));
    row("add in place", 3 * narrow, &mut || add_inplace(&dy, &x).unwrap());
    row("rope, q and k in place", 2 * (narrow + narrow / 3), &mut || rope(&q, &k, &positions, &table).unwrap());
    row("swiglu", 3 * wide, &mut || drop(swiglu(&gate, &up).unwrap()));
    row("swiglu backward, in place", 5 * wide, &mut || {
        swiglu_backward_inplace(&up, &gate, &gate.copy().unwrap()).unwrap();
    });
    row("embedding", 2 * narrow, &mut || drop(embedding(&vocabulary, &ids, dtype).unwrap()));
}

fn optimisers() {
    const N: usize = 8 << 20;
    let tensor = || Tensor::randn(0f32, 0.1, N, &Device::Cpu).unwrap();
    let (p, g, m, v) = (tensor(), tensor(), tensor(), tensor().abs().unwrap());
    let options = AdamW { lr: 1e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, step: 10, grad_scale: 1.0 };
    let state = Adam8State::zeros(&p).unwrap();
    let rate = |bytes: usize, seconds: f64| bytes as f64 / seconds * 1e-9;
    let seconds = best(|| adamw_step(&p, &g, &m, &v, &options).unwrap());
    println!("    {:<28} {:>6.1} GB/s", "adamw", rate(7 * 4 * N, seconds));
    let seconds = best(|| adamw8_step(&p, &g, &state, &options).unwrap());
    println!("    {:<28} {:>6.1} GB/s", "adamw, 8-bit states", rate((3 * 4 + 4) * N, seconds));
    let seconds = best(|| {
        std::hint::black_box(global_norm(&[&g]).unwrap());
    });
    println!("    {:<28} {:>6.1} GB/s", "global norm", rate(4 * N, seconds));
}

fn dequantisation() {
    let w = Tensor::randn(0f32, 0.1, (4096, 4096), &Device::Cpu).unwrap();
    let (nf4, q8) = (Nf4::quantize(&w, true).unwrap(), Q8::quantize(&w).unwrap());
    let written = 4.0 * 4096.0 * 4096.0;
    let seconds = best(|| drop(nf4.dequantize().unwrap()));
    println!("    {:<28} {:>6.1} GB/s", "nf4 to f32", (written + nf4.bytes() as f64) / seconds * 1e-9);
    let seconds = best(|| drop(q8.dequantize().unwrap()));
    println!("    {:<28} {:>6.1} GB/s", "q8 to f32", (written + q8.bytes() as f64) / seconds * 1e-9);
    let seconds = best(|| drop(Nf4::quantize(&w, true).unwrap()));
    println!("    {:<28} {:>6.1} GB/s", "f32 to nf4", (written + nf4.bytes() as f64) / seconds * 1e-9);
}

fn main() {
    println!("memory, read: {:.1} GB/s", tallow_kernels::peak::measure().read_bytes * 1e-9);
    println!("decoding: y = x Wᵀ for one row");
    decoding();
    for dtype in [DType::F32, DType::BF16] {
        println!("{dtype:?}, 2048 tokens of 576, inner width 1536; what fits in the caches beats memory");
        elementwise(dtype);
    }
    println!("optimisers, 8 Mi weights");
    optimisers();
    println!("quantisation, 4096 x 4096");
    dequantisation();
}
