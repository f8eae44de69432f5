//! Packed sequences do not see each other, and however a window is cut, the step is that of one big batch.

use candle_core::Tensor;
use tallow::data::PackedBatch;
use tallow::model::{Decoder, Policy};
use tallow::train::{Optimizer, OptimizerConfig, Sft, StepSettings, passes, train_step};

use crate::golden::{Golden, Outcome, error, families, gradients, pack, values};

/// Sequences of unequal length with some labels ignored; `salt` changes ids and labels, not lengths.
fn sequences(lengths: &[usize], vocab: usize, salt: usize) -> Vec<(Vec<i64>, Vec<i64>)> {
    let one = |s: usize, n: usize| {
        let ids: Vec<i64> = (0..n).map(|i| ((i * 7 + s * 13 + i * i + salt * (i + 5)) % vocab) as i64).collect();
        let labels = ids.iter().enumerate().map(|(i, id)| if (i + s).is_multiple_of(4) { -100 } else { *id }).collect();
        (ids, labels)
    };
    lengths.iter().enumerate().map(|(s, &n)| one(s, n)).collect()
}

fn packed(list: &[(Vec<i64>, Vec<i64>)]) -> PackedBatch {
    pack(list.iter().map(|(i, l)| (i.as_slice(), l.as_slice())))
}

fn bits(losses: &[f32]) -> Vec<u32> {
    losses.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn a_sequence_does_not_notice_its_neighbours() -> Outcome {
    for g in families()? {
        let model = g.with_adapter()?;
        let vocab = model.spec().vocab_size;
        let lengths = [9, 17, 4];
        let mine = sequences(&lengths, vocab, 0);
        let others = sequences(&lengths, vocab, 3);
        let want = bits(&model.token_losses(&packed(&mine))?);
        let starts = [0, 9, 26, 30];
        for kept in 0..3 {
            let mixed: Vec<_> = (0..3).map(|i| if i == kept { mine[i].clone() } else { others[i].clone() }).collect();
            let got = bits(&model.token_losses(&packed(&mixed))?);
            let span = starts[kept]..starts[kept + 1];
            assert!(want[span.clone()].iter().any(|&b| b != 0), "{}: sequence {kept} has no losses", g.name);
            assert_eq!(want[span.clone()], got[span], "{}: losses of sequence {kept}", g.name);
            assert_ne!(want, got, "{}: the others did not change", g.name);
        }
    }
    Ok(())
}

#[test]
fn a_packed_sequence_is_a_sequence_alone() -> Outcome {
    for g in families()? {
        let model = g.with_adapter()?;
        let list = sequences(&[9, 17, 4], model.spec().vocab_size, 1);
        let together = model.token_losses(&packed(&list))?;
        let mut alone = Vec::new();
        for s in &list {
            alone.extend(model.token_losses(&packed(std::slice::from_ref(s)))?);
        }
        // Not to the bit: how a matrix product sums depends on its number of rows.
        for (i, (a, b)) in together.iter().zip(&alone).enumerate() {
            assert!((a - b).abs() <= 5e-6 * b.abs(), "{}: token {i}: {a} packed, {b} alone", g.name);
        }
    }
    Ok(())
}

fn trained(g: &Golden, full: bool) -> anyhow::Result<Decoder> {
    let mut model = if full { g.base()? } else { g.with_adapter()? };
    if full {
        model.enable_full_finetuning()?;
    }
    Ok(model)
}

#[test]
fn the_gradient_of_a_pack_is_the_sum_of_its_sequences() -> Outcome {
    for g in families()? {
        for full in [false, true] {
            let model = trained(&g, full)?;
            let list = sequences(&[9, 17, 4], model.spec().vocab_size, 1);
            let (loss, want) = gradients(&model, &packed(&list), 0.1, Policy::Minimal)?;
            let mut sum: Vec<Tensor> = model.zero_grads()?.tensors;
            let mut loss_sum = 0.0;
            for s in &list {
                let (l, grads) = gradients(&model, &packed(std::slice::from_ref(s)), 0.1, Policy::Minimal)?;
                loss_sum += l;
                sum = sum.iter().zip(&grads.tensors).map(|(a, b)| a + b).collect::<candle_core::Result<_>>()?;
            }
            assert!((loss / loss_sum - 1.0).abs() < 1e-6, "{}: {loss} {loss_sum}", g.name);
            for ((p, got), want) in model.params().iter().zip(&sum).zip(&want.tensors) {
                let e = error(got, want)?;
                assert!(e < 1e-5, "{}: `{}` is off by {e:.2e}", g.name, p.name);
            }
        }
    }
    Ok(())
}

/// The parameters after two steps over these passes, and the second step's loss.
fn two_steps(g: &Golden, passes: &[PackedBatch]) -> anyhow::Result<(f64, Vec<Vec<f32>>, Vec<Tensor>)> {
    let mut model = g.with_adapter()?;
    let mut optimizer = Optimizer::new(model.params(), OptimizerConfig::default())?;
    let mut grads = model.zero_grads()?;
    let settings = StepSettings { lr: 1e-3, max_grad_norm: Some(1.0), policy: Policy::Minimal, dropout_seed: None };
    let first = train_step(&mut model, &mut optimizer, &Sft, passes, &mut grads, &settings)?;
    let copies = grads.tensors.iter().map(Tensor::copy).collect::<candle_core::Result<_>>()?;
    let second = train_step(&mut model, &mut optimizer, &Sft, passes, &mut grads, &settings)?;
    assert!(second.loss < first.loss, "{}: {} after {}", g.name, second.loss, first.loss);
    let params = model.params().iter().map(|p| values(&p.tensor)).collect::<anyhow::Result<_>>()?;
    Ok((second.loss, params, copies))
}

#[test]
fn accumulation_is_one_big_batch_whatever_the_lengths() -> Outcome {
    for g in families()? {
        let vocab = g.base()?.spec().vocab_size;
        // Batches of 1, 2 and 3 sequences with very different numbers of targets.
        let list = sequences(&[23, 3, 11, 2, 6, 18], vocab, 2);
        let batches = [packed(&list[..1]), packed(&list[1..3]), packed(&list[3..])];
        let (loss, _, want) = two_steps(&g, &passes(&batches, 0, 1))?;
        for cut in [batches.to_vec(), passes(&batches, 24, 1), passes(&batches, 1, 1)] {
            assert!(cut.len() > 1);
            let (again, _, got) = two_steps(&g, &cut)?;
            assert!((again / loss - 1.0).abs() < 1e-5, "{}: loss {again}, expected {loss}", g.name);
            for (got, want) in got.iter().zip(&want) {
                let e = error(got, want)?;
                assert!(e < 1e-5, "{}: a gradient is off by {e:.2e} in {} passes", g.name, cut.len());
            }
        }
    }
    Ok(())
}

#[test]
fn token_weights_scale_what_each_token_adds() -> Outcome {
    for g in families()? {
        let model = g.with_adapter()?;
        let list = sequences(&[9, 14], model.spec().vocab_size, 1);
        let mut batch = packed(&list);
        let (loss_a, a) = gradients(&model, &packed(&list[..1]), 0.1, Policy::Minimal)?;
        let (loss_b, b) = gradients(&model, &packed(&list[1..]), 0.1, Policy::Minimal)?;
        batch.token_weights = Some((0..23).map(|i| if i < 9 { 2.0 } else { -0.5 }).collect());
        let (loss, got) = gradients(&model, &batch, 0.1, Policy::Minimal)?;
        assert!((loss - (2.0 * loss_a - 0.5 * loss_b)).abs() < 1e-4 * loss.abs(), "{}", g.name);
        for ((a, b), got) in a.tensors.iter().zip(&b.tensors).zip(&got.tensors) {
            let want = ((a * 2.0)? - (b * 0.5)?)?;
            let e = error(got, &want)?;
            assert!(e < 1e-4, "{}: off by {e:.2e}", g.name);
        }
    }
    Ok(())
}
