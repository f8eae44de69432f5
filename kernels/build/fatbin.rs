//! The CUDA kernels as machine code: every `cuda/*.cu` through nvcc into a fatbin that the library embeds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::{env, fs};

/// Machine code for each of these that nvcc knows (120 from CUDA 12.8 on), and PTX of the first for
/// what comes later.
const ARCHITECTURES: [&str; 5] = ["80", "86", "89", "90a", "120"];

/// nvcc: `NVCC`, else in `CUDA_HOME` or `CUDA_PATH`, else on the path, else where its installer puts it.
fn nvcc() -> PathBuf {
    let homes = ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(|h| Some(PathBuf::from(env::var_os(h)?).join("bin/nvcc")));
    let named = env::var_os("NVCC").map(PathBuf::from).into_iter().chain(homes);
    let usual = ["nvcc", "/usr/local/cuda/bin/nvcc", "/opt/cuda/bin/nvcc"].map(PathBuf::from);
    let found = named.chain(usual).find(|n| Command::new(n).arg("--version").output().is_ok_and(|o| o.status.success()));
    found.unwrap_or_else(|| {
        stop(
            "the feature `cuda` needs nvcc, the compiler of NVIDIA's CUDA toolkit (12.4 or later), and it was not found.\n\
             Install the toolkit (https://developer.nvidia.com/cuda-downloads) and put its bin folder on the PATH,\n\
             or name the compiler in NVCC or the toolkit's folder in CUDA_HOME. Without a GPU, build without `--features cuda`.",
        )
    })
}

/// What nvcc prints for one option.
fn said(nvcc: &Path, option: &str) -> String {
    let out = Command::new(nvcc).arg(option).output().unwrap_or_else(|e| panic!("{}: {e}", nvcc.display()));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// The toolkit's version as the driver counts: 12080 for CUDA 12.8. `CUDARC_CUDA_VERSION` goes first, as
/// it does for cudarc.
fn version(nvcc: &Path) -> u32 {
    if let Some(given) = env::var("CUDARC_CUDA_VERSION").ok().and_then(|v| v.parse().ok()) {
        return given;
    }
    let text = said(nvcc, "--version");
    let release = text.split("release ").nth(1).and_then(|r| r.split(',').next()).and_then(|r| r.trim().split_once('.'));
    let parsed = release.and_then(|(major, minor)| Some(major.parse::<u32>().ok()? * 1000 + minor.parse::<u32>().ok()? * 10));
    parsed.unwrap_or_else(|| stop(&format!("cannot read the version that nvcc prints:\n{text}")))
}

/// Candle's quantised products register their kernels with the CUDA runtime as the program starts. The
/// static runtime is linked for them: it loads the driver only when one of them is launched.
fn link_runtime(nvcc: &Path) {
    let homes = ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(|h| env::var_os(h).map(PathBuf::from));
    let beside = nvcc.canonicalize().ok().and_then(|n| n.ancestors().nth(2).map(Path::to_path_buf));
    let usual = ["/usr/local/cuda", "/opt/cuda", "/usr"].map(PathBuf::from);
    let folders = homes
        .chain(beside)
        .chain(usual)
        .flat_map(|home| ["lib64", "lib", "targets/x86_64-linux/lib", "lib/x86_64-linux-gnu"].map(|l| home.join(l)));
    let Some(folder) = folders.into_iter().find(|f| f.join("libcudart_static.a").is_file()) else {
        println!("cargo:warning=no libcudart_static.a in the CUDA toolkit: the program will need libcudart.so to start");
        return;
    };
    println!("cargo:rustc-link-search=native={}", folder.display());
    println!("cargo:rustc-link-lib=static=cudart_static");
}

/// Ends the build with words instead of a panic's.
#[expect(clippy::print_stderr, reason = "cargo shows what a build script says there when it fails")]
fn stop(message: &str) -> ! {
    eprintln!("\n{message}\n");
    std::process::exit(1)
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut found: Vec<PathBuf> =
        entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|x| x == ending)).collect();
    found.sort();
    found
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// One fatbin a file, several files at a time, and the list that `cuda::driver` includes.
pub fn build(cuda: &Path, out: &Path) {
    for name in ["NVCC", "CUDA_HOME", "CUDA_PATH", "CUDARC_CUDA_VERSION", "TALLOW_CUDA_ARCHS"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let kernels = &files(cuda, "cu");
    let nvcc = nvcc();
    println!("cargo:rustc-env=TALLOW_CUDA_VERSION={}", version(&nvcc));
    link_runtime(&nvcc);
    let architectures: Vec<String> = match env::var("TALLOW_CUDA_ARCHS") {
        Ok(list) => list.split([',', ' ']).filter(|a| !a.is_empty()).map(str::to_owned).collect(),
        Err(_) => {
            let known = said(&nvcc, "--list-gpu-arch");
            ARCHITECTURES.iter().filter(|a| known.contains(&format!("compute_{a}"))).map(|a| (*a).to_owned()).collect()
        }
    };
    let compile = |file: &Path| {
        let mut command = Command::new(&nvcc);
        command.args(["-fatbin", "-std=c++17", "-O3", "-I"]).arg(cuda);
        for a in &architectures {
            command.arg("-gencode").arg(format!("arch=compute_{a},code=sm_{a}"));
        }
        command.args(["-gencode", "arch=compute_80,code=compute_80"]);
        command.arg("-o").arg(out.join(stem(file) + ".fatbin")).arg(file);
        run(command)
    };
    each(kernels, compile, "nvcc");
    let rows: String = kernels
        .iter()
        .map(|k| format!("    ({:?}, include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{}.fatbin\"))),\n", stem(k), stem(k)))
        .collect();
    let list = format!("const FATBINS: &[(&str, &[u8])] = &[\n{rows}];\n");
    fs::write(out.join("fatbins.rs"), list).expect("OUT_DIR can be written");
}

fn run(mut command: Command) -> Result<(), String> {
    let out = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}\n{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
}

/// Compiles every file, as many at a time as cargo allows, and stops with all the errors.
fn each(files: &[PathBuf], compile: impl Fn(&Path) -> Result<(), String> + Sync, compiler: &str) {
    let jobs: usize = env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let (next, errors) = (Mutex::new(files.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|s| {
        for _ in 0..jobs.min(files.len()) {
            s.spawn(|| {
                loop {
                    let file = next.lock().expect("no thread panics").next();
                    let Some(file) = file else { return };
                    if let Err(e) = compile(file) {
                        errors.lock().expect("no thread panics").push(e);
                    }
                }
            });
        }
    });
    let errors = errors.into_inner().expect("no thread panics");
    if !errors.is_empty() {
        stop(&format!("{compiler} refused {} of {} files:\n{}", errors.len(), files.len(), errors.join("\n")));
    }
}
