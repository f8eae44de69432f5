//! Decoding, products with every form of weight, and LoRA.

use candle_core::{DType, Device, Tensor};
use tallow_kernels::Result;
use tallow_kernels::lora::{Dropout, Lora, lora_backward, lora_forward};
use tallow_kernels::matmul::{matmul, matmul_backward_input, matmul_backward_input_add, matmul_backward_weight};
use tallow_kernels::quant::{Nf4, Q8};
use tallow_kernels::weight::Weight;

use crate::place::{Inputs, agree, agree_in, places, random};

/// Every form of a weight, on the run's device. Quantised on the CPU first, as a model is loaded.
fn weights(out: usize, inp: usize, i: &Inputs) -> Result<Vec<Weight>> {
    let w = random(&[out, inp], 7);
    let all = [
        Weight::Dense(w.clone()),
        Weight::Dense(w.to_dtype(DType::BF16)?),
        Weight::Nf4(Nf4::quantize(&w, true)?),
        Weight::Nf4(Nf4::quantize(&w, false)?),
        Weight::Q8(Q8::quantize(&w)?),
    ];
    all.iter().map(|w| w.to_device(i.device())).collect()
}

#[test]
fn decoded_weights_are_the_cpus_to_the_bit() {
    for (out, inp) in [(3, 64), (5, 65), (64, 512), (7, 200), (1, 2)] {
        agree_in("dequantize", DType::F32, |i| weights(out, inp, i)?.iter().map(|w| w.dequantize(DType::F32)).collect());
        agree_in("dequantize", DType::BF16, |i| weights(out, inp, i)?.iter().map(|w| w.dequantize(i.dtype)).collect());
    }
    // Each step of decoding is rounded by itself: nothing is left to a tolerance.
    let w = random(&[33, 129], 3);
    for w in [Weight::Nf4(Nf4::quantize(&w, true).unwrap()), Weight::Q8(Q8::quantize(&w).unwrap())] {
        let here = w.dequantize(DType::F32).unwrap().to_vec2::<f32>().unwrap();
        for place in places() {
            let w = w.to_device(&place.device()).unwrap();
            let there = place.run(|| w.dequantize(DType::F32)).unwrap();
            let there = there.to_device(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(here, there, "{place:?}");
        }
    }
}

#[test]
fn products_of_every_weight() {
    for (tokens, out, inp) in [(1, 8, 64), (5, 33, 65), (37, 64, 96)] {
        agree("matmul", |i| {
            let mut all: Vec<Tensor> = Vec::new();
            for w in weights(out, inp, i)? {
                let (x, dy, dx) = (i.x(&[tokens, inp], 1), i.x(&[tokens, out], 2), i.x(&[tokens, inp], 3));
                matmul_backward_input_add(&dy, &w, &dx)?;
                all.extend([matmul(&x, &w)?, matmul_backward_input(&dy, &w)?, dx]);
            }
            let (x, dy, dw) = (i.x(&[tokens, inp], 1), i.x(&[tokens, out], 2), i.f(&[out, inp], 4));
            matmul_backward_weight(&dy, &x, &dw)?;
            all.push(dw);
            Ok(all)
        });
    }
}

/// Decoding and the product are two launches over one buffer: another thread's must not come between them.
#[test]
fn products_of_many_threads() {
    let sizes = [(8, 64), (64, 96), (33, 128), (17, 200)];
    std::thread::scope(|s| {
        for (out, inp) in sizes {
            s.spawn(move || {
                for _ in 0..20 {
                    agree_in("matmul", DType::F32, |i| weights(out, inp, i)?.iter().map(|w| matmul(&i.x(&[3, inp], 1), w)).collect());
                }
            });
        }
    });
}

#[test]
fn lora_with_and_without_dropout() {
    for (tokens, out, inp, rank) in [(1, 8, 16, 4), (5, 33, 65, 3), (37, 48, 96, 16)] {
        for dropout in [None, Some(Dropout { p: 0.3, seed: 11 })] {
            agree("lora", |i| {
                let (a, b) = (i.f(&[rank, inp], 1), i.f(&[out, rank], 2));
                let l = Lora { a: &a, b: &b, scale: 0.7, dropout };
                let (x, y) = (i.x(&[tokens, inp], 3), i.x(&[tokens, out], 4));
                let (dy, dx) = (i.x(&[tokens, out], 5), i.x(&[tokens, inp], 6));
                let (da, db) = (i.f(&[rank, inp], 7), i.f(&[out, rank], 8));
                let h = lora_forward(&x, &l, &y)?;
                lora_backward(&dy, &x, &h, &l, Some(&dx), &da, &db)?;
                lora_backward(&dy, &x, &h, &l, None, &da, &db)?;
                // The CPU keeps h in f32 and rounds it in the product; on a device it is rounded at once.
                Ok(vec![y, h.to_dtype(i.dtype)?, dx, da, db])
            });
        }
    }
}
