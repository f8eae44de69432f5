//! Every operation as it is launched on a device, against the CPU's kernels: on the emulator, or, where
//! `TALLOW_TEST_DEVICE=cuda:0` names one, on a GPU alone (a build with `--features cuda`; the built
//! program can be carried to another machine, since it reads no file).
//!
//! The two-times rule: an operation's error in bf16, against the CPU's f32 on the same inputs, is at most
//! twice that of the CPU's bf16 kernel. In f32 both agree to a few units in the last place. Inputs start
//! in the middle of their storage, shapes are odd, and results are poisoned before. Bits are compared
//! among runs of one kind: the emulator's orders of threads with each other, a GPU's runs with each other.

#[cfg(any(emulator, feature = "cuda"))]
mod attention;
#[cfg(any(emulator, feature = "cuda"))]
mod cross_entropy;
#[cfg(any(emulator, feature = "cuda"))]
mod layers;
#[cfg(any(emulator, feature = "cuda"))]
mod offload;
#[cfg(any(emulator, feature = "cuda"))]
mod optim;
#[cfg(any(emulator, feature = "cuda"))]
mod place;
#[cfg(any(emulator, feature = "cuda"))]
mod products;

#[cfg(not(any(emulator, feature = "cuda")))]
#[test]
#[ignore = "no operation was launched: the emulator needs Linux and a C++17 compiler (set CXX)"]
fn launches() {}
