//! Attention: every kernel that a shape can go to, forward, backward and from a cache.

use candle_core::{DType, Tensor};
use tallow_kernels::attention::{attention, attention_backward, attention_cached};

use tallow_kernels::Result;
use tallow_kernels::variants::{Variant, with};

use crate::place::{Inputs, agree, agree_in, places};

/// (heads, kv_heads, dim, window, ends of the sequences).
fn shapes() -> Vec<(usize, usize, usize, Option<usize>, Vec<u32>)> {
    vec![
        (2, 1, 64, None, vec![0, 1, 70, 139]),
        (2, 2, 80, Some(5), vec![0, 33]),
        (3, 1, 96, None, vec![0, 20, 20, 41]),
        (2, 1, 128, Some(40), vec![0, 131]),
        (1, 1, 256, None, vec![0, 66]),
        // No tensor cores: other head dims.
        (4, 2, 24, Some(7), vec![0, 3, 30]),
        (2, 1, 10, None, vec![0, 9]),
    ]
}

type Shape = (usize, usize, usize, Option<usize>, Vec<u32>);

fn forward_and_backward(i: &Inputs, (heads, kv_heads, dim, window, ends): &Shape) -> Result<Vec<Tensor>> {
    let tokens = *ends.last().unwrap() as usize;
    let q = i.x(&[tokens, *heads, *dim], 1);
    let (k, v) = (i.x(&[tokens, *kv_heads, *dim], 2), i.x(&[tokens, *kv_heads, *dim], 3));
    let dout = i.x(&[tokens, *heads, *dim], 4);
    let scale = 1.0 / (*dim as f32).sqrt();
    let (o, lse) = attention(&q, &k, &v, ends, *window, scale)?;
    let (dq, dk, dv) = attention_backward(&dout, &q, &k, &v, &o, &lse, ends, *window, scale)?;
    Ok(vec![o, lse, dq, dk, dv])
}

#[test]
fn attention_and_gradients() {
    for shape in shapes() {
        agree(&format!("attention {shape:?}"), |i| forward_and_backward(i, &shape));
    }
}

/// Second versions agree with the CPU by the same rule; another order of blocks changes no bit.
#[test]
fn variants_of_attention() {
    // More keys and values than a group of sequences has: two groups.
    let long: Shape = (32, 32, 128, Some(20), vec![0, 700, 1100, 1101]);
    for variant in [Variant::Keys64, Variant::BySequence, Variant::Warpgroups] {
        for shape in shapes().into_iter().filter(|s| [64, 128].contains(&s.2)) {
            let what = format!("attention {shape:?} {variant:?}");
            agree_in(&what, DType::BF16, |i| with(&[variant], || forward_and_backward(i, &shape)));
        }
    }
    let place = places().swap_remove(0);
    let inputs = Inputs::new(&place, DType::BF16);
    let run = |variants: &[Variant]| -> Vec<Vec<f32>> {
        let out = place.run(|| with(variants, || forward_and_backward(&inputs, &long))).unwrap();
        out.iter().map(|t| t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()).collect()
    };
    assert_eq!(run(&[]), run(&[Variant::BySequence]));
}

#[test]
fn attention_from_a_cache() {
    for (heads, kv_heads, dim, queries, length) in
        [(4, 2, 64, 1, 700), (6, 1, 80, 3, 40), (2, 2, 128, 17, 90), (2, 1, 20, 2, 30), (5, 1, 64, 1, 1)]
    {
        for window in [None, Some(33)] {
            agree(&format!("attention_cached {heads} {kv_heads} {dim}"), |i| {
                let q = i.x(&[queries, heads, dim], 1);
                let (k, v) = (i.x(&[length + 5, kv_heads, dim], 2), i.x(&[length + 5, kv_heads, dim], 3));
                Ok(vec![attention_cached(&q, &k, &v, length, window, 0.1)?])
            });
        }
    }
}

#[test]
fn more_tiles_than_a_grid_takes_are_refused() {
    let (tokens, place) = (65_536, places().swap_remove(0));
    let ends: Vec<u32> = (0..=tokens as u32).collect();
    let x = Tensor::zeros((tokens, 1, 64), DType::BF16, &place.device()).unwrap();
    let lse = Tensor::zeros((1, tokens), DType::F32, &place.device()).unwrap();
    let (forward, backward) =
        place.run(|| (attention(&x, &x, &x, &ends, None, 1.0), attention_backward(&x, &x, &x, &x, &x, &lse, &ends, None, 1.0)));
    for e in [forward.unwrap_err(), backward.unwrap_err()] {
        assert!(e.to_string().contains("65536 tiles"), "{e}");
    }
}
