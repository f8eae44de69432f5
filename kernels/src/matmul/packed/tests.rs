//! The packed products by every way of multiplying that can run here, the emulated tiles included.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::isa::{amx_permitted, has_bf16};
use crate::quant::{Absmax, Nf4, Q8};
use crate::view::to_vec;

fn ways() -> Vec<Products> {
    let mut all = vec![Products::F32];
    if !available() {
        return Vec::new();
    }
    if has_bf16() {
        all.extend([Products::Bf16Dot, Products::AmxEmulated]);
    }
    if amx_permitted() {
        all.push(Products::Amx);
    }
    all
}

fn drawn() -> (u64, StdRng) {
    let seed = rand::random();
    (seed, StdRng::seed_from_u64(seed))
}

fn numbers(rng: &mut StdRng, n: usize) -> Vec<f32> {
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// A matrix in one of its stored forms, with what a product may read of it.
enum Stored {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    Nf4(Vec<u8>, Vec<f32>),
    Q8(Vec<u8>, Vec<f32>),
}

impl Stored {
    fn drawn(rng: &mut StdRng, kind: usize, count: usize, width: usize) -> Self {
        let values = numbers(rng, count * width);
        let matrix = || candle_core::Tensor::from_vec(values.clone(), (count, width), &candle_core::Device::Cpu).unwrap();
        match kind {
            0 => Stored::F32(values),
            1 => Stored::Bf16(values.iter().map(|&v| bf16::from_f32(v)).collect()),
            2 => {
                let w = Nf4::quantize(&matrix(), false).unwrap();
                let Absmax::Plain(scales) = w.absmax() else { panic!("plain scales") };
                Stored::Nf4(to_vec("test", "codes", w.codes()).unwrap(), to_vec("test", "scales", scales).unwrap())
            }
            _ => {
                let w = Q8::quantize(&matrix()).unwrap();
                Stored::Q8(to_vec("test", "codes", w.codes()).unwrap(), to_vec("test", "scales", w.scales()).unwrap())
            }
        }
    }

    fn rows(&self) -> Rows<'_> {
        match self {
            Stored::F32(v) => Rows::F32(v),
            Stored::Bf16(v) => Rows::Bf16(v),
            Stored::Nf4(codes, scales) => Rows::Nf4 { codes, scales: super::super::rows::Scales::Plain(scales) },
            Stored::Q8(codes, scales) => Rows::Q8 { codes, scales },
        }
    }
}

/// A stored matrix of `breadth` by `depth`, or lying the other way.
fn side(stored: &Stored, breadth: usize, depth: usize, down: bool) -> Operand<'_> {
    if down { Operand::down(stored.rows(), depth, breadth) } else { Operand::along(stored.rows(), breadth, depth) }
}

/// The plain product of two sides: in f64, and in f32 from elements as the way takes them.
fn plain(by: Products, pairs: &[(Operand, Operand)], i: usize, j: usize) -> (f64, f32) {
    let (mut exact, mut rounded) = (0f64, 0f32);
    for (a, b) in pairs {
        let get = |x: &Operand, at: usize, k: usize| {
            if x.down { x.rows.get(x.stride, k, at) } else { x.rows.get(x.stride, at, k) }
        };
        for k in 0..a.depth() {
            let (x, y) = (get(a, i, k), get(b, j, k));
            exact += f64::from(x) * f64::from(y);
            let as_taken = |v: f32| if by.pairs() { bf16::from_f32(v).to_f32() } else { v };
            rounded += as_taken(x) * as_taken(y);
        }
    }
    (exact, rounded)
}

/// Shapes, stored forms, directions, a second pair, scaling and adding are drawn; the error is at
/// most twice that of the plain product of the same elements, and what is not the product's stays.
#[test]
fn drawn_products_of_every_way_are_near_the_plain_one() {
    for _ in 0..60 {
        let (seed, mut rng) = drawn();
        let size = |rng: &mut StdRng| match rng.random_range(0..4) {
            0 => rng.random_range(1..20),
            1 => 16 * rng.random_range(1..7),
            _ => rng.random_range(1..140),
        };
        let [m, n] = [size(&mut rng), size(&mut rng)];
        let depth = if rng.random_bool(0.2) { rng.random_range(1500..1700) } else { size(&mut rng) };
        let kinds = [rng.random_range(0..2), rng.random_range(0..4)];
        let downs = [rng.random_bool(0.3), rng.random_bool(0.5)];
        let shape = |d: bool, breadth: usize, depth: usize| if d { (depth, breadth) } else { (breadth, depth) };
        let stored = |rng: &mut StdRng, kind, d, breadth, depth| {
            let (count, width) = shape(d, breadth, depth);
            Stored::drawn(rng, kind, count, width)
        };
        let (a, b) = (stored(&mut rng, kinds[0], downs[0], m, depth), stored(&mut rng, kinds[1], downs[1], n, depth));
        let (x, y) = (side(&a, m, depth, downs[0]), side(&b, n, depth, downs[1]));
        let rank = rng.random_range(1..=MORE);
        let (h, u) = (Stored::drawn(&mut rng, 1, m, rank), Stored::drawn(&mut rng, 0, n, rank));
        let more = rng.random_bool(0.5).then(|| (side(&h, m, rank, false), side(&u, n, rank, false)));
        let (alpha, add, gap) = (rng.random_range(0.25..2.0), rng.random_bool(0.5), rng.random_range(0..9));
        for by in ways() {
            let name = format!("seed {seed}: {by:?} {m} x {n} x {depth} {kinds:?} {downs:?} rank {rank} {}", more.is_some());
            let ldc = if more.is_some() { n } else { n + gap };
            let begin = if add { 0.5 } else { f32::NAN };
            let mut c = vec![begin; m * ldc];
            if more.is_some() {
                product_by(by, &x, &y, more, &mut c, alpha, add);
            } else {
                serial_by(by, &x, &y, &mut c, ldc, alpha, add, Reach::All);
            }
            let pairs: Vec<_> = [Some((x, y)), more].into_iter().flatten().collect();
            let (mut worst, mut allowed, mut top) = (0f64, 0f64, 0f64);
            for (at, &got) in c.iter().enumerate() {
                let (i, j) = (at / ldc, at % ldc);
                if j >= n {
                    assert!(got.to_bits() == begin.to_bits(), "{name}: wrote past the columns");
                    continue;
                }
                let (exact, rounded) = plain(by, &pairs, i, j);
                let end = |v: f64| f64::from(alpha) * v + if add { 0.5 } else { 0.0 };
                let (want, like) = (end(exact), end(f64::from(rounded)));
                assert!(got.is_finite(), "{name}: ({i}, {j}) is {got}");
                worst = worst.max((f64::from(got) - want).abs());
                allowed = allowed.max((like - want).abs());
                top = top.max(want.abs());
            }
            assert!(worst <= 2.0 * allowed + 1e-6 * top, "{name}: {worst:e} where the plain one is {allowed:e} off");
        }
    }
}

/// The emulated tiles are what the processor's tiles are.
#[test]
fn emulated_tiles_agree_with_real_ones() {
    if !amx_permitted() {
        return;
    }
    for _ in 0..20 {
        let (seed, mut rng) = drawn();
        let [m, n, depth] = std::array::from_fn(|_| rng.random_range(1..100));
        let (a, b) = (Stored::drawn(&mut rng, 1, m, depth), Stored::drawn(&mut rng, 1, n, depth));
        let (x, y) = (side(&a, m, depth, false), side(&b, n, depth, false));
        let run = |by| {
            let mut c = vec![0f32; m * n];
            serial_by(by, &x, &y, &mut c, n, 1.0, false, Reach::All);
            c
        };
        for (got, want) in run(Products::AmxEmulated).iter().zip(run(Products::Amx)) {
            // Sums of some tens: the order within a pair may differ.
            assert!((got - want).abs() <= 1e-5, "seed {seed}: {got} and {want}");
        }
    }
}

/// Every thread's block is the same sums, however many threads there are.
#[test]
fn no_way_depends_on_the_number_of_threads() {
    let (seed, mut rng) = drawn();
    let (m, n, depth) = (rng.random_range(200..700), rng.random_range(60..300), rng.random_range(100..1800));
    let (a, b) = (Stored::drawn(&mut rng, 1, m, depth), Stored::drawn(&mut rng, 1, n, depth));
    let (x, y) = (side(&a, m, depth, false), side(&b, n, depth, false));
    for by in ways().into_iter().filter(|by| *by != Products::AmxEmulated) {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut c = vec![bf16::NAN; m * n];
            pool.install(|| product_by(by, &x, &y, None, &mut c, 1.0, false));
            c.into_iter().map(bf16::to_bits).collect::<Vec<_>>()
        };
        let one = run(1);
        for threads in [2, 3, 5] {
            assert!(one == run(threads), "seed {seed}: {by:?}, {threads} threads, {m} x {n} x {depth}");
        }
    }
}

#[test]
fn what_a_causal_tile_does_not_need_changes_nothing() {
    let mut state = 11_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    for (rows, keys, d, shift) in
        [(192, 192, 64, 0), (192, 192, 32, 192), (100, 77, 40, -30), (7, 192, 96, 150), (1, 1, 16, 0), (60, 1100, 64, 900)]
    {
        let sees = |i: usize, j: usize| j as isize <= i as isize + shift;
        let p: Vec<f32> = (0..rows * keys).map(|at| if sees(at / keys, at % keys) { random() } else { 0.0 }).collect();
        let [q, k] = [rows, keys].map(|n| (0..n * d).map(|_| random()).collect::<Vec<f32>>());
        let run = |a: Operand, b: Operand, by, reach| {
            let mut c = vec![0.5_f32; a.breadth() * b.breadth()];
            let n = b.breadth();
            serial_by(by, &a, &b, &mut c, n, 0.7, true, reach);
            c
        };
        let (pairs, queries, key) = (Operand::of(&p, rows, keys), Operand::of(&q, rows, d), Operand::of(&k, keys, d));
        for by in ways() {
            let shape = format!("{rows} x {keys} x {d}, shift {shift}, {by:?}");
            assert!(run(pairs, key.t(), by, Reach::Left { shift }) == run(pairs, key.t(), by, Reach::All), "{shape}: left");
            let down = run(pairs.t(), queries.t(), by, Reach::LeftDown { shift });
            assert!(down == run(pairs.t(), queries.t(), by, Reach::All), "{shape}: left, down");
            let (got, want) = (run(queries, key, by, Reach::Result { shift }), run(queries, key, by, Reach::All));
            let mut left = 0;
            for (at, (got, want)) in got.iter().zip(&want).enumerate() {
                assert!(got == want || (!sees(at / keys, at % keys) && *got == 0.5), "{shape}: result at {at}");
                left += usize::from(got != want);
            }
            assert!(left > 0 || shift >= 0 && rows.min(keys) < 32 || shift >= 192, "{shape}: nothing was left out");
        }
    }
}

#[test]
fn a_thin_product_is_the_packed_one_to_the_bit() {
    let mut state = 7_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    for (m, n, depth) in [(1, 32, 2), (4, 40, 129), (8, 600, 512), (16, 96, 1031), (17, 33, 700), (50, 288, 513), (64, 64, 2048)] {
        let a: Vec<f32> = (0..depth * m).map(|_| random()).collect();
        let b: Vec<f32> = (0..depth * n).map(|_| random()).collect();
        let [a16, b16] = [&a, &b].map(|x| x.iter().map(|&v| bf16::from_f32(v)).collect::<Vec<_>>());
        for by in ways().into_iter().filter(|by| by.grain() == VECTORS) {
            let (x, y) = if by.pairs() {
                (Operand::of(&a16, depth, m), Operand::of(&b16, depth, n))
            } else {
                (Operand::of(&a, depth, m), Operand::of(&b, depth, n))
            };
            let (x, y) = (x.t(), y.t());
            assert!(thin::suits(&x, &y));
            for add in [false, true] {
                let (mut got, mut want) = (vec![0.25_f32; m * n], vec![0.25_f32; m * n]);
                serial_by(by, &x, &y, &mut got, n, 0.5, add, Reach::All);
                product_by(by, &x, &y, None, &mut want, 0.5, add);
                assert!(got == want, "{m} x {n} over {depth}, {by:?}, add {add}");
            }
        }
    }
}
