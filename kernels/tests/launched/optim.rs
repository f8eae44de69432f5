//! Norm, scaling and AdamW over many tensors at once.

use candle_core::{DType, Tensor};
use tallow_kernels::Result;
use tallow_kernels::optim::{Adam8State, AdamW, adamw_step, adamw8_step_all, global_norm, scale_inplace, zero_inplace};

use crate::place::{Inputs, agree_in};

const SIZES: [usize; 5] = [1, 300, 4095, 4096, 20_001];

fn settings(step: u64) -> AdamW {
    AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1, step, grad_scale: 0.5 }
}

/// Two steps over all sizes at once; returns parameters and decoded or plain moments.
fn two_steps(i: &Inputs, state: impl Fn(&Tensor) -> Result<Adam8State>) -> Result<Vec<Tensor>> {
    let params: Vec<Tensor> = SIZES.iter().map(|&n| i.f(&[n], n as u64)).collect();
    let states: Vec<Adam8State> = params.iter().map(state).collect::<Result<_>>()?;
    for step in 1..=2 {
        let grads: Vec<Tensor> = SIZES.iter().map(|&n| i.f(&[n], 100 * step + n as u64)).collect();
        let all: Vec<_> =
            params.iter().zip(&grads).zip(&states).enumerate().map(|(k, ((p, g), s))| (p, g, s, 0.1 * (k % 2) as f64)).collect();
        adamw8_step_all(&all, &settings(step))?;
    }
    let mut out = params;
    for s in states {
        match s {
            Adam8State::Full { m, v } => out.extend([m, v]),
            Adam8State::Blocks { m, v, m_absmax, v_absmax } => out.extend([m, v, m_absmax, v_absmax]),
        }
    }
    Ok(out)
}

#[test]
fn adamw_over_many_tensors() {
    agree_in("adamw", DType::F32, |i| two_steps(i, |p| Ok(Adam8State::Full { m: p.zeros_like()?, v: p.zeros_like()? })));
    agree_in("adamw_step", DType::F32, |i| {
        let (p, g, m, v) = (i.f(&[70], 1), i.f(&[70], 2), i.f(&[70], 3), i.f(&[70], 4).sqr()?);
        adamw_step(&p, &g, &m, &v, &settings(3))?;
        Ok(vec![p, m, v])
    });
}

#[test]
fn adamw_in_8_bits() {
    agree_in("adamw8", DType::F32, |i| two_steps(i, Adam8State::zeros));
}

#[test]
fn norm_and_scaling() {
    agree_in("global_norm", DType::F32, |i| {
        let grads: Vec<Tensor> = SIZES.iter().map(|&n| i.f(&[n], n as u64)).collect();
        let norm = global_norm(&grads.iter().collect::<Vec<_>>())? as f32;
        let (a, b) = (i.f(&[33], 1), i.f(&[33], 2));
        scale_inplace(&a, 0.3)?;
        zero_inplace(&b)?;
        Ok(vec![Tensor::new(&[norm], i.device())?, a, b])
    });
}
