//! The output head with its loss, over chunks of rows.

use candle_core::{DType, Tensor};
use tallow_kernels::cross_entropy::{CeOptions, IGNORE, linear_cross_entropy};
use tallow_kernels::weight::Weight;

use crate::place::agree;

#[test]
fn losses_and_gradients() {
    for (tokens, hidden, vocab, chunk_tokens) in [(1, 8, 16, 0), (37, 24, 50, 5), (9, 16, 1101, 4), (12, 32, 4096, 0)] {
        for every in [1, 3] {
            let targets: Vec<i64> = (0..tokens as i64).map(|i| if i % every == 0 { i * 7 % vocab as i64 } else { IGNORE }).collect();
            let weights: Vec<f32> = (0..tokens).map(|i| 0.25 + i as f32 / tokens as f32).collect();
            agree(&format!("cross-entropy {tokens} x {hidden} x {vocab}, chunks of {chunk_tokens}, a target every {every}"), |i| {
                let (x, w, dw) = (i.x(&[tokens, hidden], 1), i.x(&[vocab, hidden], 2), i.f(&[vocab, hidden], 3));
                let head = Weight::Dense(w);
                let o = CeOptions {
                    grad_scale: Some(0.5),
                    token_weights: Some(&weights),
                    dw: Some(&dw),
                    want_token_losses: true,
                    chunk_tokens,
                };
                let out = linear_cross_entropy(&x, &head, &targets, &o)?;
                let plain = linear_cross_entropy(&x, &head, &targets, &CeOptions { chunk_tokens, ..CeOptions::default() })?;
                assert!(plain.dx.is_none() && plain.tokens == out.tokens && plain.correct == out.correct);
                let numbers = Tensor::new(&[out.loss_sum, plain.loss_sum, out.tokens as f64], i.device())?;
                let losses = Tensor::new(out.token_losses.unwrap_or_default(), i.device())?;
                Ok(vec![numbers, losses, out.dx.expect("asked for"), dw])
            });
        }
    }
}

#[test]
fn the_first_of_equal_logits_counts() {
    agree("correct", |i| {
        // Rows of the head are equal: all logits are, and only the first token is likeliest.
        let head = Weight::Dense(Tensor::ones((700, 8), i.dtype, i.device())?);
        let x = i.x(&[4, 8], 1);
        let out = linear_cross_entropy(&x, &head, &[0, 1, 699, 0], &CeOptions::default())?;
        assert_eq!(out.correct, 2);
        Ok(vec![Tensor::new(&[out.loss_sum], i.device())?])
    });
}

#[test]
fn what_is_not_a_number_shows() {
    agree("not a number", |i| {
        let head = Weight::Dense(i.x(&[70, 8], 1));
        let x = (i.x(&[2, 8], 2).to_dtype(DType::F32)? * f64::NAN)?.to_dtype(i.dtype)?;
        assert!(linear_cross_entropy(&x, &head, &[3, 4], &CeOptions::default())?.loss_sum.is_nan());
        Ok(vec![])
    });
}
