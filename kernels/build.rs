//! Compiles the device code that the features ask for.

#[cfg(feature = "emulate")]
#[path = "build/emulate.rs"]
mod emulate;
#[cfg(feature = "cuda")]
#[path = "build/fatbin.rs"]
mod fatbin;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(emulator)");
    #[cfg(any(feature = "cuda", feature = "emulate"))]
    {
        let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        let cuda = std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("cuda");
        println!("cargo:rerun-if-changed={}", cuda.display());
        #[cfg(feature = "cuda")]
        fatbin::build(&cuda, &out);
        #[cfg(feature = "emulate")]
        if emulate::build(&cuda, &out) {
            println!("cargo:rustc-cfg=emulator");
        }
    }
}
