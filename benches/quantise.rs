//! One GGUF type over one matrix: the blocks, and how long they took. `benches/peers/gguf_quantise.py` sets it beside ggml.
//!
//! `cargo bench --bench quantise -- VALUES WIDTH TYPE OUT [WEIGHTS]`: VALUES holds f32s, rows of WIDTH; WEIGHTS one f32 a
//! column. Prints the seconds of the fastest of three passes. RAYON_NUM_THREADS says how many threads.

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::time::Instant;

use tallow::export::quantise::quantize;
use tallow::model::gguf::GgmlType;

fn floats(path: &str) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("a readable file");
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [values, width, kind, out, rest @ ..] = args.as_slice() else {
        println!("usage: quantise VALUES WIDTH TYPE OUT [WEIGHTS]");
        return;
    };
    let (values, width) = (floats(values), width.parse().expect("a width"));
    let kind = GgmlType::ALL.into_iter().find(|k| k.name() == kind).expect("a type");
    let weights = rest.first().map(|path| floats(path));
    let pass = |_| {
        let start = Instant::now();
        let blocks = quantize(kind, &values, width, weights.as_deref());
        (start.elapsed().as_secs_f64(), blocks)
    };
    let (seconds, blocks) = (0..3).map(pass).min_by(|a, b| a.0.total_cmp(&b.0)).expect("three passes");
    std::fs::write(out, blocks).expect("a writable file");
    println!("{seconds}");
}
