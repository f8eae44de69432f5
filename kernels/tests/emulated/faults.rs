//! The emulator itself: what a kernel does wrong is reported, not survived.

use crate::machine::{Arg, Machine};

fn provoke(which: i32) -> String {
    let m = Machine::take();
    let out = m.poisoned::<f32>(64);
    m.try_launch("emulate_fault", [2, 1, 1], [64, 1, 1], 256, &[Arg::Buf(&out), Arg::I32(which)]).err().unwrap_or_default()
}

#[test]
fn faults_are_reported() {
    for (which, message) in [
        (0, ""),
        (1, "block (0,0,0) thread (63,0,0): dynamic shared memory of 256 bytes touched at offset 256"),
        (2, "thread (63,0,0): a buffer of 256 bytes touched at offset 508"),
        (3, "threads wait for ever: 32 at __syncthreads, 16 at __syncwarp, 16 have ended"),
        (4, "a lane takes part in a collective without being in its mask"),
        (5, "lanes of a warp meet in different collectives"),
        (6, "a write before the start of a buffer"),
        (7, "cp.async: an address is not aligned"),
        (8, "a shuffle reads a lane outside its mask"),
    ] {
        let got = provoke(which);
        assert!(if message.is_empty() { got.is_empty() } else { got.ends_with(message) }, "{which}: {got}");
    }
}

#[test]
fn a_race_is_seen() {
    let m = Machine::take();
    let run = |seed| {
        m.order(seed);
        let out = m.poisoned::<f32>(64);
        m.launch("emulate_fault", [1, 1, 1], [64, 1, 1], 256, &[Arg::Buf(&out), Arg::I32(100)]);
        out.read::<u32>()
    };
    assert_ne!(run(0), run(1));
}

#[test]
fn a_missing_wait_is_seen() {
    let m = Machine::take();
    let out = m.poisoned::<f32>(64);
    m.launch("emulate_fault", [1, 1, 1], [64, 1, 1], 256, &[Arg::Buf(&out), Arg::I32(101)]);
    assert!(out.read::<f32>().iter().any(|x| x.is_nan()));
}

#[test]
fn matrices_lie_as_the_manual_says() {
    let m = Machine::take();
    let a: Vec<half::bf16> = (0..16 * 16).map(|i| half::bf16::from_f32((i * 7 % 31) as f32 - 15.0)).collect();
    let b: Vec<half::bf16> = (0..8 * 16).map(|i| half::bf16::from_f32((i * 5 % 23) as f32 - 11.0)).collect();
    let (pa, pb, out) = (m.buffer(&a), m.buffer(&b), m.poisoned::<f32>(16 * 8));
    m.launch("emulate_product", [1, 1, 1], [32, 1, 1], 768, &[Arg::Buf(&pa), Arg::Buf(&pb), Arg::Buf(&out)]);
    let want: Vec<f32> = (0..128).map(|i| (0..16).map(|k| a[i / 8 * 16 + k].to_f32() * b[i % 8 * 16 + k].to_f32()).sum()).collect();
    assert_eq!(out.read::<f32>(), want);
}
