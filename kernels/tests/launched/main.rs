//! Every operation as it is launched on a device, against the CPU's kernels: on the emulator here, and on a GPU where
//! `TALLOW_TEST_DEVICE=cuda:0` names one (a build with `--features cuda`).
//!
//! The two-times rule: an operation's error in bf16, against the CPU's f32 on the same inputs, is at most twice that of the CPU's
//! bf16 kernel. In f32 both agree to a few units in the last place. Inputs start in the middle of their storage, shapes are odd,
//! results are poisoned before, and the emulator's order of threads must not matter to the bit.

#![cfg(any(emulator, feature = "cuda"))]

mod attention;
mod cross_entropy;
mod layers;
mod offload;
mod optim;
mod place;
mod products;
