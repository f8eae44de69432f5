//! Compiles the device code that the features ask for.

#[cfg(feature = "emulate")]
#[path = "build/emulate.rs"]
mod emulate;
#[cfg(feature = "cuda")]
#[path = "build/fatbin.rs"]
mod fatbin;
#[cfg(any(feature = "cuda", feature = "emulate"))]
#[path = "build/late.rs"]
mod late;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rustc-check-cfg=cfg(emulator)");
    println!("cargo:rustc-check-cfg=cfg(late_cuda)");
    #[cfg(any(feature = "cuda", feature = "emulate"))]
    {
        let folder = |name: &str| std::path::PathBuf::from(std::env::var_os(name).expect("cargo sets it"));
        let (out, here) = (folder("OUT_DIR"), folder("CARGO_MANIFEST_DIR"));
        let cuda = here.join("cuda");
        println!("cargo:rerun-if-changed={}", cuda.display());
        if late::possible() {
            println!("cargo:rustc-cfg=late_cuda");
            late::build(&here.join("build/cuda_functions.txt"), &out);
        }
        // The version of CUDA that tests without a toolkit name.
        #[cfg(not(feature = "cuda"))]
        println!("cargo:rustc-env=TALLOW_CUDA_VERSION=13000");
        #[cfg(feature = "cuda")]
        fatbin::build(&cuda, &out);
        #[cfg(feature = "emulate")]
        if emulate::build(&cuda, &out) {
            println!("cargo:rustc-cfg=emulator");
        }
    }
}
