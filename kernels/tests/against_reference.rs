//! Every operation against its slow reference, by the two-times rule: the kernel's error, measured against f64, is at most
//! twice that of the same arithmetic done plainly in the kernel's dtype. Backward passes also against finite differences.

use candle_core::{DType, Device, Tensor, Var};
use tallow_kernels::activation::{swiglu, swiglu_backward, swiglu_backward_inplace};
use tallow_kernels::attention::{attention, attention_backward, attention_cached, reference};
use tallow_kernels::cross_entropy::{CeOptions, linear_cross_entropy};
use tallow_kernels::lora::{Dropout, InputGradient, Lora, lora_backward, lora_forward, lora_inner, lora_matmul, lora_matmul_backward};
use tallow_kernels::matmul::{self, matmul, matmul_backward_input, matmul_backward_input_add, matmul_backward_weight};
use tallow_kernels::norm::{layer_norm, layer_norm_backward, rms_norm, rms_norm_backward};
use tallow_kernels::quant::{Nf4, Q8};
use tallow_kernels::rope::{RopeScaling, RopeTable, rope, rope_backward};
use tallow_kernels::weight::Weight;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Numbers that look random and are the same everywhere.
fn random(shape: impl Into<candle_core::Shape>, seed: u64) -> Tensor {
    let shape = shape.into();
    let values: Vec<f32> = (0..shape.elem_count())
        .map(|i| {
            let d = Dropout { p: 0.5, seed };
            let bits = (0..12).map(|k| if d.factor(i * 12 + k) > 0.0 { 1.0 } else { 0.0 } * 0.5f32.powi(k as i32)).sum::<f32>();
            bits - 1.0
        })
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn flat64(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Largest difference over the largest magnitude.
fn error(got: &Tensor, want: &Tensor) -> f64 {
    let (got, want) = (flat64(got), flat64(want));
    assert_eq!(got.len(), want.len());
    let top = want.iter().fold(1e-30f64, |m, x| m.max(x.abs()));
    got.iter().zip(&want).map(|(a, b)| if a.is_finite() { (a - b).abs() / top } else { f64::INFINITY }).fold(0.0, f64::max)
}

fn close(what: &str, got: &Tensor, want: &Tensor, tolerance: f64) {
    let e = error(got, want);
    assert!(e <= tolerance, "{what}: error {e:.3e} above {tolerance:.1e}");
}

/// d(sum(f(x) * g))/dx by central differences.
fn numeric(x: &Tensor, g: &Tensor, f: impl Fn(&Tensor) -> Tensor) -> Tensor {
    let step = 1e-2f32;
    let base: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
    let value = |v: Vec<f32>| -> f64 {
        let y = f(&Tensor::from_vec(v, x.dims(), &Device::Cpu).unwrap());
        flat64(&y).iter().zip(flat64(g)).map(|(a, b)| a * b).sum()
    };
    let grads: Vec<f32> = (0..base.len())
        .map(|i| {
            let (mut up, mut down) = (base.clone(), base.clone());
            up[i] += step;
            down[i] -= step;
            ((value(up) - value(down)) / f64::from(2.0 * step)) as f32
        })
        .collect();
    Tensor::from_vec(grads, x.dims(), &Device::Cpu).unwrap()
}

fn weights(out: usize, inp: usize) -> Result<Vec<(Weight, DType)>, tallow_kernels::Error> {
    let w = random((out, inp), 7);
    let mut all = Vec::new();
    for dtype in [DType::F32, DType::BF16] {
        all.push((Weight::Dense(w.clone()), dtype));
        all.push((Weight::Dense(w.to_dtype(DType::BF16)?), dtype));
        all.push((Weight::Nf4(Nf4::quantize(&w, true)?), dtype));
        all.push((Weight::Nf4(Nf4::quantize(&w, false)?), dtype));
        all.push((Weight::Q8(Q8::quantize(&w)?), dtype));
    }
    Ok(all)
}

fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F32 { 2e-6 } else { 5e-3 }
}

#[test]
fn products_of_every_weight_and_shape() -> Outcome {
    for (tokens, inp, out) in [
        (1, 64, 64),
        (3, 65, 7),
        (130, 96, 200),
        (517, 128, 33),
        (2, 1, 1),
        (70, 800, 40),
        (1, 576, 1030),
        (2, 192, 9),
        (4, 320, 130),
        (5, 64, 6),
    ] {
        for (w, dtype) in weights(out, inp)? {
            let (x, dy) = (random((tokens, inp), 1).to_dtype(dtype)?, random((tokens, out), 2).to_dtype(dtype)?);
            let name = format!("{tokens}x{inp}x{out} {} {dtype:?}", w.dtype_name());
            close(&name, &matmul(&x, &w)?, &matmul::reference::matmul(&x, &w)?, tolerance(dtype));
            let want = matmul::reference::matmul_backward_input(&dy, &w)?;
            close(&name, &matmul_backward_input(&dy, &w)?, &want, tolerance(dtype));
            let dx = x.copy()?;
            matmul_backward_input_add(&dy, &w, &dx)?;
            close(&name, &dx, &(want + x.to_dtype(DType::F64)?)?, tolerance(dtype));
        }
        let (x, dy, dw) = (random((tokens, inp), 1), random((tokens, out), 2), random((out, inp), 3));
        let want = (matmul::reference::matmul_backward_weight(&dy, &x)? + dw.to_dtype(DType::F64)?)?;
        matmul_backward_weight(&dy, &x, &dw)?;
        close("dw", &dw, &want, 2e-6);
    }
    Ok(())
}

#[test]
fn products_refuse_what_does_not_fit() {
    let w = Weight::Dense(random((8, 16), 1));
    let message = matmul(&random((3, 15), 1), &w).unwrap_err().to_string();
    assert_eq!(message, "matmul: x has shape [3, 15], expected [tokens, 16]");
}

#[test]
fn lora_against_autograd() -> Outcome {
    for (tokens, inp, out, r) in [(5, 12, 9, 2), (1, 70, 21, 5), (300, 64, 33, 8)] {
        for dropout in [None, Some(Dropout { p: 0.3, seed: 9 })] {
            let (x, a, b) = (
                Var::from_tensor(&random((tokens, inp), 1))?,
                Var::from_tensor(&random((r, inp), 2))?,
                Var::from_tensor(&random((out, r), 3))?,
            );
            let mask: Vec<f32> = (0..tokens * inp).map(|i| dropout.map_or(1.0, |d| d.factor(i))).collect();
            let xd = (x.as_tensor() * Tensor::from_vec(mask, (tokens, inp), &Device::Cpu)?)?;
            let want = (xd.matmul(&a.t()?)?.matmul(&b.t()?)? * 0.5)?;
            let g = random((tokens, out), 4);
            let grads = (&want * &g)?.sum_all()?.backward()?;
            let l = Lora { a: a.as_tensor(), b: b.as_tensor(), scale: 0.5, dropout };
            let y = Tensor::zeros((tokens, out), DType::F32, &Device::Cpu)?;
            let h = lora_forward(&x, &l, &y)?;
            close("y", &y, &want, 2e-6);
            let (da, db, dx) = (a.zeros_like()?, b.zeros_like()?, x.zeros_like()?);
            lora_backward(&g, &x, &h, &l, Some(&dx), &da, &db)?;
            close("da", &da, grads.get(&a).unwrap(), 4e-6);
            close("db", &db, grads.get(&b).unwrap(), 4e-6);
            close("dx", &dx, grads.get(&x).unwrap(), 4e-6);
        }
    }
    Ok(())
}

/// Base and adapter in one against the slow product and the adapter alone, over stored forms, shapes that fill no tile and
/// reductions of several depth blocks.
#[test]
fn linear_with_lora_in_one() -> Outcome {
    for (tokens, inp, out, r) in
        [(3, 64, 64, 4), (5, 64, 33, 2), (530, 70, 21, 5), (301, 1664, 96, 16), (97, 128, 1700, 64), (40, 64, 64, 65)]
    {
        for dtype in [DType::F32, DType::BF16] {
            for dropout in [None, Some(Dropout { p: 0.3, seed: 9 })] {
                let cast = |t: Tensor| t.to_dtype(dtype);
                let (x, dy, w) = (cast(random((tokens, inp), 1))?, cast(random((tokens, out), 4))?, random((out, inp), 5));
                let (a, b, old) = (random((r, inp), 2), random((out, r), 3), cast(random((tokens, inp), 6))?);
                let l = Lora { a: &a, b: &b, scale: 0.75, dropout };
                let mut weights = vec![Weight::Dense(cast(w.clone())?), Weight::Q8(Q8::quantize(&w)?)];
                if inp % 64 == 0 {
                    weights.push(Weight::Nf4(Nf4::quantize(&w, true)?));
                }
                for w in weights {
                    let name = format!("{tokens} x {inp} -> {out} rank {r} {dtype:?} {} {dropout:?}", w.dtype_name());
                    // In f64, on the same stored values.
                    let f64s = |t: &Tensor| t.to_dtype(DType::F64);
                    let mask: Vec<f64> = (0..tokens * inp).map(|i| dropout.map_or(1.0, |d| f64::from(d.factor(i)))).collect();
                    let mask = Tensor::from_vec(mask, (tokens, inp), &Device::Cpu)?;
                    let (xd, a64, b64, dy64) = ((f64s(&x)? * &mask)?, f64s(&a)?, f64s(&b)?, f64s(&dy)?);
                    let want_h = xd.matmul(&a64.t()?)?;
                    let want_y = (matmul::reference::matmul(&x, &w)?.to_dtype(DType::F64)? + (want_h.matmul(&b64.t()?)? * 0.75)?)?;
                    let want_dh = (dy64.matmul(&b64)? * 0.75)?;
                    let base = matmul::reference::matmul_backward_input(&dy, &w)?.to_dtype(DType::F64)?;
                    let want_dx = (base + (want_dh.matmul(&a64)? * &mask)?)?;

                    let limit = tolerance(dtype) * 2.0;
                    let (y, h) = lora_matmul(&x, &w, &l)?;
                    close(&format!("{name} y"), &y, &want_y, limit);
                    close(&format!("{name} h"), &h, &want_h, limit);
                    close(&format!("{name} h alone"), &lora_inner(&x, &l)?, &want_h, limit);
                    for onto in [None, Some(old.copy()?)] {
                        let (da, db) = (a.zeros_like()?, b.zeros_like()?);
                        let wanted = onto.as_ref().map_or(InputGradient::New, InputGradient::Onto);
                        let made = lora_matmul_backward(&dy, &x, &h, &w, &l, wanted, &da, &db)?;
                        match &onto {
                            None => close(&format!("{name} dx"), &made.unwrap(), &want_dx, limit),
                            Some(dx) => close(&format!("{name} dx added"), dx, &(&want_dx + f64s(&old)?)?, limit),
                        }
                        close(&format!("{name} da"), &da, &want_dh.t()?.matmul(&xd)?, limit);
                        close(&format!("{name} db"), &db, &(dy64.t()?.matmul(&want_h)? * 0.75)?, limit);
                    }
                    let (da, db) = (a.zeros_like()?, b.zeros_like()?);
                    assert!(lora_matmul_backward(&dy, &x, &h, &w, &l, InputGradient::No, &da, &db)?.is_none());
                    close(&format!("{name} da alone"), &da, &want_dh.t()?.matmul(&xd)?, limit);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn norms_against_finite_differences() -> Outcome {
    let (x, w, b, g) = (random((5, 11), 1), random(11, 2), random(11, 3), random((5, 11), 4));
    let (_, rstd) = rms_norm(&x, &w, 1e-5)?;
    let dw = w.zeros_like()?;
    let dx = rms_norm_backward(&g, &x, &w, &rstd, Some(&x), Some(&dw))?;
    let rms = |x: &Tensor, w: &Tensor| rms_norm(x, w, 1e-5).unwrap().0;
    close("rms dx", &dx, &(numeric(&x, &g, |x| rms(x, &w)) + &x)?, 2e-3);
    close("rms dw", &dw, &numeric(&w, &g, |w| rms(&x, w)), 2e-3);
    let (_, mean, rstd) = layer_norm(&x, Some(&w), Some(&b), 1e-5)?;
    let (dw, db) = (w.zeros_like()?, b.zeros_like()?);
    let dx = layer_norm_backward(&g, &x, Some(&w), &mean, &rstd, None, Some(&dw), Some(&db))?;
    let ln = |x: &Tensor, w: &Tensor, b: &Tensor| layer_norm(x, Some(w), Some(b), 1e-5).unwrap().0;
    close("ln dx", &dx, &numeric(&x, &g, |x| ln(x, &w, &b)), 2e-3);
    close("ln dw", &dw, &numeric(&w, &g, |w| ln(&x, w, &b)), 2e-3);
    close("ln db", &db, &numeric(&b, &g, |b| ln(&x, &w, b)), 2e-3);
    Ok(())
}

#[test]
fn swiglu_against_finite_differences() -> Outcome {
    let (gate, up, g) = ((random((3, 17), 1) * 4.0)?, random((3, 17), 2), random((3, 17), 3));
    let (dg, du) = swiglu_backward(&g, &gate, &up)?;
    let (in_gate, in_up) = (gate.copy()?, up.copy()?);
    swiglu_backward_inplace(&g, &in_gate, &in_up)?;
    assert_eq!(in_gate.to_vec2::<f32>()?, dg.to_vec2::<f32>()?);
    assert_eq!(in_up.to_vec2::<f32>()?, du.to_vec2::<f32>()?);
    close("dgate", &dg, &numeric(&gate, &g, |x| swiglu(x, &up).unwrap()), 1e-3);
    close("dup", &du, &numeric(&up, &g, |x| swiglu(&gate, x).unwrap()), 1e-3);
    Ok(())
}

#[test]
fn rope_turns_back() -> Outcome {
    let table = RopeTable::new(8, 1e4, &RopeScaling::None, 64, &Device::Cpu)?;
    let (q, k) = (random((6, 4, 8), 1), random((6, 2, 8), 2));
    let (q2, k2) = (q.copy()?, k.copy()?);
    let positions = [0, 1, 2, 0, 1, 63];
    rope(&q2, &k2, &positions, &table)?;
    assert!(error(&q2, &q) > 0.1);
    rope_backward(&q2, &k2, &positions, &table)?;
    close("q", &q2, &q, 1e-6);
    close("k", &k2, &k, 1e-6);
    assert!(rope(&q2, &k2, &[0, 1, 2, 3, 4, 64], &table).is_err());
    Ok(())
}

#[test]
fn attention_against_autograd() -> Outcome {
    for (lens, heads, kv, dim, window) in [
        (vec![5u32, 1, 70], 4, 2, 20, None),
        (vec![150, 33], 2, 2, 64, Some(40)),
        (vec![200], 6, 1, 16, Some(7)),
        (vec![129, 0, 64], 3, 3, 96, None),
    ] {
        let mut cu = vec![0u32];
        lens.iter().for_each(|l| cu.push(cu[cu.len() - 1] + l));
        let tokens = cu[cu.len() - 1] as usize;
        let (q, k, v) = (random((tokens, heads, dim), 1), random((tokens, kv, dim), 2), random((tokens, kv, dim), 3));
        let scale = 1.0 / (dim as f32).sqrt();
        let var = |t: &Tensor| Var::from_tensor(&t.to_dtype(DType::F64).unwrap()).unwrap();
        let (q64, k64, v64) = (var(&q), var(&k), var(&v));
        let want = reference::attention(&q64, &k64, &v64, &cu, window, scale)?;
        let g = random((tokens, heads, dim), 4);
        let grads = (&want * g.to_dtype(DType::F64)?)?.sum_all()?.backward()?;
        for (dtype, tol) in [(DType::F32, 5e-6), (DType::BF16, 2e-2)] {
            let cast = |t: &Tensor| t.to_dtype(dtype).unwrap();
            let (q, k, v, g) = (cast(&q), cast(&k), cast(&v), cast(&g));
            let (o, lse) = attention(&q, &k, &v, &cu, window, scale)?;
            close("o", &o, &want, tol);
            let (dq, dk, dv) = attention_backward(&g, &q, &k, &v, &o, &lse, &cu, window, scale)?;
            close("dq", &dq, grads.get(&q64).unwrap(), tol);
            close("dk", &dk, grads.get(&k64).unwrap(), tol);
            close("dv", &dv, grads.get(&v64).unwrap(), tol);
        }
    }
    Ok(())
}

#[test]
fn cached_attention_equals_the_whole() -> Outcome {
    let (q, k, v) = (random((90, 4, 16), 1), random((90, 2, 16), 2), random((90, 2, 16), 3));
    for window in [None, Some(9)] {
        let (o, _) = attention(&q, &k, &v, &[0, 90], window, 0.25)?;
        for (from, to) in [(0, 90), (89, 90), (40, 41), (10, 60), (87, 90), (56, 60)] {
            let part = attention_cached(&q.narrow(0, from, to - from)?.contiguous()?, &k, &v, to, window, 0.25)?;
            close("cached", &part, &o.narrow(0, from, to - from)?.contiguous()?, 1e-6);
        }
    }
    Ok(())
}

#[test]
fn sequences_never_leak() -> Outcome {
    let (q, k, v) = (random((60, 2, 8), 1), random((60, 2, 8), 2), random((60, 2, 8), 3));
    let other = Tensor::cat(&[random((20, 2, 8), 9), k.narrow(0, 20, 40)?], 0)?;
    let run = |k: &Tensor| -> Result<Vec<f32>, tallow_kernels::Error> {
        let (o, lse) = attention(&q, k, &v, &[0, 20, 60], None, 0.3)?;
        let (dq, dk, dv) = attention_backward(&q, &q, k, &v, &o, &lse, &[0, 20, 60], None, 0.3)?;
        let mut all = Vec::new();
        for t in [o, dq, dk, dv] {
            all.extend(t.narrow(0, 20, 40)?.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(all)
    };
    assert_eq!(run(&k)?, run(&other)?);
    Ok(())
}

#[test]
fn cross_entropy_against_reference() -> Outcome {
    let (x, w) = (random((37, 16), 1), Weight::Dense(random((50, 16), 2)));
    let targets: Vec<i64> = (0..37).map(|i| if i % 3 == 0 { -100 } else { (i * 7 % 50) as i64 }).collect();
    let (loss, dx) = tallow_kernels::cross_entropy::reference(&x, &w, &targets)?;
    for chunk_tokens in [1, 5, 0] {
        let o = CeOptions { grad_scale: Some(0.5), chunk_tokens, ..CeOptions::default() };
        let out = linear_cross_entropy(&x, &w, &targets, &o)?;
        assert!((out.loss_sum - loss).abs() < 1e-4 * loss, "{} {loss}", out.loss_sum);
        assert_eq!(out.tokens, 24);
        close("dx", out.dx.as_ref().unwrap(), &(&dx * 0.5)?, 5e-6);
    }
    let nan = (&x * f64::NAN)?;
    assert!(linear_cross_entropy(&nan, &w, &targets, &CeOptions::default())?.loss_sum.is_nan());
    assert!(linear_cross_entropy(&x, &w, &vec![50; 37], &CeOptions::default()).is_err());
    Ok(())
}

#[test]
fn results_do_not_depend_on_threads() -> Outcome {
    let run = |threads: usize| -> Vec<f32> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let w = Weight::Nf4(Nf4::quantize(&random((300, 128), 1), true).unwrap());
            let x = random((700, 128), 2);
            let y = matmul(&x, &w).unwrap();
            let dx = matmul_backward_input(&y, &w).unwrap();
            let q = random((128, 4, 16), 3);
            let (o, lse) = attention(&q, &q, &q, &[0, 100, 128], None, 0.2).unwrap();
            let (dq, dk, _) = attention_backward(&o, &q, &q, &q, &o, &lse, &[0, 100, 128], None, 0.2).unwrap();
            let mut all = vec![y, dx, o, dq, dk];
            // Adapters, and reductions of several depth blocks.
            for (dtype, inp, out) in [(DType::F32, 128, 1700), (DType::BF16, 128, 1700), (DType::BF16, 3400, 160)] {
                let (x, dy) = (random((700, inp), 5).to_dtype(dtype).unwrap(), random((700, out), 6).to_dtype(dtype).unwrap());
                let (a, b, w) = (random((16, inp), 7), random((out, 16), 8), Weight::Dense(random((out, inp), 9).to_dtype(dtype).unwrap()));
                for dropout in [None, Some(Dropout { p: 0.1, seed: 3 })] {
                    let l = Lora { a: &a, b: &b, scale: 0.5, dropout };
                    let (y, h) = lora_matmul(&x, &w, &l).unwrap();
                    let (da, db) = (a.zeros_like().unwrap(), b.zeros_like().unwrap());
                    let dx = lora_matmul_backward(&dy, &x, &h, &w, &l, InputGradient::New, &da, &db).unwrap().unwrap();
                    all.extend([y, h, dx, da, db]);
                }
            }
            all.iter().flat_map(|t| t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect()
        })
    };
    let one = run(1);
    for threads in [2, 3, 7] {
        assert!(one == run(threads), "{threads} threads");
    }
    Ok(())
}

/// The same tests by every instruction set that can be asked for, the emulated AMX tiles included:
/// each in a process of its own, since the choice is made once.
#[test]
fn every_instruction_set_passes_these_tests() -> Outcome {
    if std::env::var_os("TALLOW_ISA").is_some() {
        return Ok(());
    }
    for limit in tallow_kernels::isa::LIMITS {
        let child = std::process::Command::new(std::env::current_exe()?)
            .args(["--skip", "every_instruction_set"])
            .env("TALLOW_ISA", limit)
            .output()?;
        let out = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "TALLOW_ISA={limit}: {out}");
        assert!(out.contains("test result: ok"), "TALLOW_ISA={limit}: {out}");
    }
    Ok(())
}
