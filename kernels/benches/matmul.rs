//! GFLOP/s of the products, of attention and of the loss at training shapes, beside what the processor can do from registers.
//! `cargo bench --bench matmul`; each product is checked before it is timed. `-- 1536` only the products of that many outputs,
//! `-- 0` none of them but everything else.
#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use tallow_kernels::attention::{attention, attention_backward};
use tallow_kernels::cross_entropy::{CeOptions, linear_cross_entropy};
use tallow_kernels::lora::{InputGradient, Lora, lora_matmul, lora_matmul_backward};
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
    tallow_kernels::alloc::keep_freed_pages();
    let peak = tallow_kernels::peak::measure();
    let rate = |flops: Option<f64>| flops.map_or("-".into(), |f| format!("{:.1}", f * 1e-9));
    println!(
        "from registers, GFLOP/s: f32 {:.1}, bf16 dot product {}, AMX {}",
        peak.f32_flops * 1e-9,
        rate(peak.bf16_dot_flops),
        rate(peak.amx_flops)
    );
    println!("{}", tallow_kernels::isa::isa());
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
            let limit = if dtype == DType::F32 { 4e-6 } else { 5e-3 };
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
    if only.is_none_or(|n| n == 0) {
        lora_rows();
        attention_rows();
        loss_rows();
    }
}

/// A linear layer with an adapter of rank 16: all products of the forward and of the backward pass.
fn lora_rows() {
    println!("with LoRA:  T   out    in  dtype   forward backward");
    for (tokens, out, inp) in [(2048, 576, 576), (2048, 192, 576), (2048, 1536, 576), (2048, 576, 1536)] {
        for dtype in [DType::F32, DType::BF16] {
            let t = |rows: usize, cols: usize| Tensor::randn(0f32, 0.1, (rows, cols), &Device::Cpu).unwrap();
            let w = Weight::Dense(t(out, inp).to_dtype(dtype).unwrap());
            let (a, b) = (t(16, inp), t(out, 16));
            let (x, dy) = (t(tokens, inp).to_dtype(dtype).unwrap(), t(tokens, out).to_dtype(dtype).unwrap());
            let l = Lora { a: &a, b: &b, scale: 2.0, dropout: None };
            let (da, db) = (a.zeros_like().unwrap(), b.zeros_like().unwrap());
            let (_, h) = lora_matmul(&x, &w, &l).unwrap();
            let forward = best(|| drop(lora_matmul(&x, &w, &l).unwrap()));
            let backward = best(|| drop(lora_matmul_backward(&dy, &x, &h, &w, &l, InputGradient::New, &da, &db).unwrap()));
            let (base, more) = (2e-9 * (tokens * out * inp) as f64, 2e-9 * (tokens * 16 * (out + inp)) as f64);
            let name = format!("{dtype:?}");
            println!("{tokens:>13} {out:>5} {inp:>5}  {name:<6} {:>8.1} {:>8.1}", (base + more) / forward, (base + 2.0 * more) / backward);
        }
    }
}

/// Causal attention; operations of the visible half only.
fn attention_rows() {
    println!("attention: {:>5} {:>5} {:>5} {:>4}  {:<6} {:>8} {:>8}", "seqs", "each", "heads", "kv", "dtype", "forward", "backward");
    for (sequences, each, heads, kv) in [(4, 512, 9, 3), (1, 2048, 9, 3), (1, 4096, 32, 8)] {
        for dtype in [DType::F32, DType::BF16] {
            let (tokens, dim) = (sequences * each, 64);
            let t = |h: usize| Tensor::randn(0f32, 1.0, (tokens, h, dim), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let (q, k, v, g) = (t(heads), t(kv), t(kv), t(heads));
            let ends: Vec<u32> = (0..=sequences).map(|i| (i * each) as u32).collect();
            let (o, lse) = attention(&q, &k, &v, &ends, None, 0.125).unwrap();
            let flops = 2e-9 * (sequences * each * each * heads * dim) as f64 / 2.0;
            let forward = best(|| drop(attention(&q, &k, &v, &ends, None, 0.125).unwrap()));
            let backward = best(|| drop(attention_backward(&g, &q, &k, &v, &o, &lse, &ends, None, 0.125).unwrap()));
            let name = format!("{dtype:?}");
            println!(
                "{:>16} {each:>5} {heads:>5} {kv:>4}  {name:<6} {:>8.1} {:>8.1}",
                sequences,
                2.0 * flops / forward,
                5.0 * flops / backward
            );
        }
    }
}

/// The head and the loss together, with the gradient: two products of the vocabulary's size.
fn loss_rows() {
    for dtype in [DType::F32, DType::BF16] {
        let (tokens, hidden, vocab) = (1024, 576, 49152);
        let x = Tensor::randn(0f32, 1.0, (tokens, hidden), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        let head = Weight::Dense(Tensor::randn(0f32, 0.05, (vocab, hidden), &Device::Cpu).unwrap().to_dtype(dtype).unwrap());
        let targets: Vec<i64> = (0..tokens as i64).map(|i| i * 31 % vocab as i64).collect();
        let options = CeOptions { grad_scale: Some(1.0), token_weights: None, dw: None, want_token_losses: false, chunk_tokens: 0 };
        let seconds = best(|| drop(linear_cross_entropy(&x, &head, &targets, &options).unwrap()));
        println!("head and loss, {tokens} x {hidden} x {vocab} {dtype:?}: {:.1}", 4e-9 * (tokens * hidden * vocab) as f64 / seconds);
    }
}
