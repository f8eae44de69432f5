//! Attention: every kernel that a shape can go to, forward, backward and from a cache.

use tallow_kernels::attention::{attention, attention_backward, attention_cached};

use crate::place::agree;

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

#[test]
fn attention_and_gradients() {
    for (heads, kv_heads, dim, window, ends) in shapes() {
        let tokens = *ends.last().unwrap() as usize;
        agree(&format!("attention {heads} {kv_heads} {dim}"), |i| {
            let q = i.x(&[tokens, heads, dim], 1);
            let (k, v) = (i.x(&[tokens, kv_heads, dim], 2), i.x(&[tokens, kv_heads, dim], 3));
            let dout = i.x(&[tokens, heads, dim], 4);
            let scale = 1.0 / (dim as f32).sqrt();
            let (o, lse) = attention(&q, &k, &v, &ends, window, scale)?;
            let (dq, dk, dv) = attention_backward(&dout, &q, &k, &v, &o, &lse, &ends, window, scale)?;
            Ok(vec![o, lse, dq, dk, dv])
        });
    }
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
