//! The head with the loss, over chunks.

use candle_core::{DType, Tensor};
use tallow_kernels::cross_entropy::{CeOptions, linear_cross_entropy};
use tallow_kernels::quant::Nf4;
use tallow_kernels::weight::Weight;

use crate::place::{agree, random};

#[test]
fn loss_and_gradients() {
    // Targets that stand apart, all together, and none.
    let some: Vec<i64> = (0..23).map(|t| if t % 3 == 1 { -100 } else { (t * 7) % 130 }).collect();
    for (targets, weighted, chunk) in [(some.clone(), true, 5), (vec![3; 23], false, 0), (vec![-100; 23], true, 4), (some, false, 100)] {
        agree("cross_entropy", |i| {
            let (x, w) = (i.x(&[23, 48], 1), i.x(&[131, 48], 2));
            let (dw, weights) = (i.f(&[131, 48], 3), random(&[23], 4).abs()?.to_vec1::<f32>()?);
            let o = CeOptions {
                grad_scale: Some(0.3),
                token_weights: weighted.then_some(&weights[..]),
                dw: Some(&dw),
                want_token_losses: true,
                chunk_tokens: chunk,
            };
            let out = linear_cross_entropy(&x, &Weight::Dense(w.clone()), &targets, &o)?;
            let plain = linear_cross_entropy(&x, &Weight::Dense(w), &targets, &CeOptions::default())?;
            let f32s = |v: &[f32]| Tensor::from_slice(v, v.len(), i.device());
            let counts = [out.tokens as f32, out.correct as f32, plain.correct as f32];
            let sums = [out.loss_sum as f32, plain.loss_sum as f32];
            let losses = out.token_losses.unwrap_or_default();
            Ok(vec![f32s(&counts)?, f32s(&sums)?, f32s(&losses)?, out.dx.unwrap_or(x), dw])
        });
    }
}

#[test]
fn a_quantised_head() {
    agree("cross_entropy nf4", |i| {
        let x = i.x(&[5, 64], 1);
        let head = Weight::Nf4(Nf4::quantize(&random(&[40, 64], 2), true)?).to_device(i.device())?;
        let o = CeOptions { grad_scale: Some(1.0), ..CeOptions::default() };
        let out = linear_cross_entropy(&x, &head, &[1, 2, -100, 39, 0], &o)?;
        Ok(vec![out.dx.unwrap_or(x.to_dtype(DType::F32)?)])
    });
}
