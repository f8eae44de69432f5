//! Elementwise operations, norms, rotation and embedding.

use candle_core::DType;
use tallow_kernels::activation::{swiglu, swiglu_backward, swiglu_backward_inplace};
use tallow_kernels::elementwise::{add, add_bias_inplace, add_inplace, sum_rows_add, write_rows};
use tallow_kernels::embedding::{embedding, embedding_backward};
use tallow_kernels::norm::{add_inplace_rms_norm, add_rms_norm, layer_norm, layer_norm_backward, rms_norm, rms_norm_backward};
use tallow_kernels::rope::{RopeScaling, RopeTable, rope, rope_backward};

use crate::place::agree;

/// Rows and widths: one row, odd widths, one past a warp's and a block's share.
const SHAPES: [[usize; 2]; 6] = [[1, 8], [5, 7], [37, 64], [9, 130], [3, 1096], [2, 4100]];

#[test]
fn swiglu_and_gradients() {
    for dims in SHAPES {
        agree("swiglu", |i| {
            let (gate, up, d) = (i.x(&dims, 1), i.x(&dims, 2), i.x(&dims, 3));
            let act = swiglu(&gate, &up)?;
            let (dg, du) = swiglu_backward(&d, &gate, &up)?;
            swiglu_backward_inplace(&d, &gate, &up)?;
            Ok(vec![act, dg, du, gate, up])
        });
    }
}

#[test]
fn sums() {
    for dims in SHAPES {
        agree("sums", |i| {
            let (a, b, bias, db) = (i.x(&dims, 1), i.x(&dims, 2), i.f(&dims[1..], 3), i.f(&dims[1..], 4));
            let sum = add(&a, &b)?;
            add_inplace(&b, &a)?;
            add_bias_inplace(&a, &bias)?;
            sum_rows_add(&sum, &db)?;
            let cache = i.x(&[dims[0] + 4, dims[1]], 5);
            write_rows(&cache, 3, &sum)?;
            Ok(vec![sum, a, b, db, cache])
        });
    }
}

#[test]
fn rms_norms() {
    for dims in SHAPES {
        agree("rms_norm", |i| {
            let (x, r, dy, w, dw) = (i.x(&dims, 1), i.x(&dims, 2), i.x(&dims, 3), i.f(&dims[1..], 4), i.f(&dims[1..], 5));
            let (y, rstd) = rms_norm(&x, &w, 1e-5)?;
            let (sum, y2, rstd2) = add_rms_norm(&x, &r, &w, 1e-5)?;
            let dx = rms_norm_backward(&dy, &x, &w, &rstd, None, None)?;
            let dx2 = rms_norm_backward(&dy, &sum, &w, &rstd2, Some(&r), Some(&dw))?;
            let (y3, rstd3) = add_inplace_rms_norm(&x, &r, &w, 1e-5)?;
            Ok(vec![y, rstd, sum, y2, dx, dx2, dw, x, y3, rstd3])
        });
    }
}

#[test]
fn layer_norms() {
    for dims in SHAPES {
        agree("layer_norm", |i| {
            let (x, r, dy) = (i.x(&dims, 1), i.x(&dims, 2), i.x(&dims, 3));
            let (w, b, dw, db) = (i.f(&dims[1..], 4), i.f(&dims[1..], 5), i.f(&dims[1..], 6), i.f(&dims[1..], 7));
            let (plain, _, _) = layer_norm(&x, None, None, 1e-5)?;
            let (y, mean, rstd) = layer_norm(&x, Some(&w), Some(&b), 1e-5)?;
            let dx = layer_norm_backward(&dy, &x, None, &mean, &rstd, None, None, None)?;
            let dx2 = layer_norm_backward(&dy, &x, Some(&w), &mean, &rstd, Some(&r), Some(&dw), Some(&db))?;
            Ok(vec![plain, y, mean, rstd, dx, dx2, dw, db])
        });
    }
}

#[test]
fn rotation() {
    let positions = [0u32, 1, 2, 0, 1, 30, 31];
    for (heads, kv_heads, dim) in [(4, 2, 64), (3, 1, 80), (2, 2, 6), (3, 1, 20), (1, 1, 256)] {
        agree("rope", |i| {
            let table = RopeTable::new(dim, 10_000.0, &RopeScaling::None, 32, i.device())?;
            let (q, k) = (i.x(&[positions.len(), heads, dim], 1), i.x(&[positions.len(), kv_heads, dim], 2));
            let (dq, dk) = (i.x(&[positions.len(), heads, dim], 3), i.x(&[positions.len(), kv_heads, dim], 4));
            rope(&q, &k, &positions, &table)?;
            rope_backward(&dq, &dk, &positions, &table)?;
            Ok(vec![q, k, dq, dk])
        });
    }
}

#[test]
fn embedding_and_gradient() {
    let ids = [5u32, 0, 5, 5, 9, 10, 0];
    for d in [1, 7, 72, 300] {
        agree("embedding", |i| {
            let (table, dtable, dy) = (i.x(&[11, d], 1), i.f(&[11, d], 2), i.x(&[ids.len(), d], 3));
            let rows = embedding(&table, &ids, i.dtype)?;
            embedding_backward(&dy, &ids, &dtable)?;
            Ok(vec![rows, embedding(&table, &[], DType::F32)?, dtable])
        });
    }
}
