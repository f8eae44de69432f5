//! Attention: every head dim that has tensor-core kernels, the plain ones, and decoding.

use tallow_kernels::attention::{attention, attention_backward, attention_cached};

use crate::place::agree;

/// (lengths, heads, kv heads, head dim, window): one key, a tile's edges, several tiles, empty sequences, shared heads.
const CASES: [(&[u32], usize, usize, usize, Option<usize>); 9] = [
    (&[130, 1, 63], 4, 2, 64, None),
    (&[65, 64], 2, 2, 80, Some(40)),
    (&[1], 1, 1, 96, None),
    (&[129, 0, 33], 3, 1, 96, Some(1)),
    (&[200], 2, 1, 128, None),
    (&[150, 7], 2, 2, 128, Some(70)),
    (&[97, 2], 2, 1, 256, None),
    (&[40], 2, 1, 256, Some(9)),
    (&[5, 38], 4, 2, 20, Some(11)),
];

#[test]
fn packed_sequences() {
    for (lengths, heads, kv_heads, dim, window) in CASES {
        let mut ends = vec![0u32];
        ends.extend(lengths.iter().scan(0, |end, n| {
            *end += n;
            Some(*end)
        }));
        let tokens = lengths.iter().sum::<u32>() as usize;
        let scale = 1.0 / (dim as f32).sqrt();
        agree(&format!("attention {lengths:?} {heads}/{kv_heads} x {dim}, window {window:?}"), |i| {
            let (q, dout) = (i.x(&[tokens, heads, dim], 1), i.x(&[tokens, heads, dim], 4));
            let (k, v) = (i.x(&[tokens, kv_heads, dim], 2), i.x(&[tokens, kv_heads, dim], 3));
            let (o, lse) = attention(&q, &k, &v, &ends, window, scale)?;
            let (dq, dk, dv) = attention_backward(&dout, &q, &k, &v, &o, &lse, &ends, window, scale)?;
            Ok(vec![o, lse, dq, dk, dv])
        });
    }
}

#[test]
fn caches() {
    // One query and few are decoded, many are a tile; a group of 5 heads needs two blocks, a cache of 600 three splits.
    for (n, length, heads, kv_heads, dim, window) in [
        (1, 600, 10, 2, 64, None),
        (3, 130, 4, 4, 80, Some(50)),
        (1, 1, 2, 1, 256, None),
        (20, 100, 2, 1, 128, None),
        (2, 9, 2, 1, 20, None),
    ] {
        agree(&format!("cache {n} of {length}, {heads}/{kv_heads} x {dim}, window {window:?}"), |i| {
            let (k, v) = (i.x(&[length + 3, kv_heads, dim], 2), i.x(&[length + 3, kv_heads, dim], 3));
            Ok(vec![attention_cached(&i.x(&[n, heads, dim], 1), &k, &v, length, window, 0.2)?])
        });
    }
}
