//! The CUDA kernels as host code: every `cuda/*.cu` through the C++ compiler into one shared library,
//! which the emulator opens when a test first uses it. The compiler is `$CXX`, else `c++`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Builds the library into a folder that cargo names in `LD_LIBRARY_PATH` when it runs tests: no path
/// is compiled in. False where it cannot be built: without a C++ compiler, or for another machine.
/// The tests that need it then say that nothing ran.
pub fn build(cuda: &Path, out: &Path) -> bool {
    println!("cargo:rerun-if-env-changed=CXX");
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let here = std::env::var("HOST") == std::env::var("TARGET") && cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    let works = Command::new(&compiler).arg("--version").output().is_ok_and(|o| o.status.success());
    if !here || !works || !cfg!(target_os = "linux") {
        println!("cargo:warning=the tests of the CUDA kernels are left out: they need Linux and a C++17 compiler ({compiler}; set CXX)");
        return false;
    }
    let (mut sources, mut headers) = (Vec::new(), Vec::new());
    for path in [cuda.to_path_buf(), cuda.join("emulate")].iter().flat_map(|dir| files(dir)) {
        match path.extension().and_then(|e| e.to_str()) {
            Some("cu" | "cpp") => sources.push(path),
            Some("cuh" | "hpp") => headers.push(path),
            _ => {}
        }
    }
    let headers_changed = headers.iter().filter_map(|h| changed(h)).max();
    let mut objects = Vec::new();
    for source in &sources {
        let object = out.join(format!("{}.o", source.file_stem().and_then(|s| s.to_str()).expect("a file name")));
        let newest = changed(source).max(headers_changed);
        if changed(&object) < newest {
            let flags = [
                "-x",
                "c++",
                "-std=c++17",
                "-O2",
                "-fPIC",
                "-ffp-contract=off",
                "-Wall",
                "-Wno-unknown-pragmas",
                "-DTALLOW_EMULATE",
                "-c",
                "-o",
            ];
            let emulate = cuda.join("emulate");
            run(Command::new(&compiler).arg("-I").arg(cuda).arg("-I").arg(emulate).args(flags).arg(&object).arg(source));
        }
        objects.push(object);
    }
    let library = out.join("libtallow_emulate.so");
    run(Command::new(&compiler).args(["-shared", "-o"]).arg(&library).args(&objects));
    println!("cargo:rustc-link-search=native={}", out.display());
    true
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut all: Vec<_> = entries.map(|e| e.expect("a directory entry").path()).filter(|p| p.is_file()).collect();
    all.sort();
    all
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|m| m.modified()).ok()
}

fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; the feature `emulate` needs a C++17 compiler (set CXX)"));
    let messages = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?} failed:\n{messages}");
    for line in messages.lines().filter(|l| l.contains("warning:")) {
        println!("cargo:warning={line}");
    }
}
