//! Compiles the device code that the features ask for.

#[cfg(feature = "emulate")]
#[path = "build/emulate.rs"]
mod emulate;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "emulate")]
    {
        let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
        let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
        emulate::build(&std::path::Path::new(&here).join("cuda"), std::path::Path::new(&out));
    }
}
