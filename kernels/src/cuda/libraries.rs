//! NVIDIA's libraries, opened when a function of theirs is first called.
//!
//! The program itself defines the functions that the libraries below it call (`cuInit`, `cublasGemmEx`,
//! ...): each jumps through a slot, and an empty slot leads to [`bind`], which opens the library, finds
//! the function and fills the slot. So one program serves machines with a GPU and without. `build/late.rs`
//! writes the jumps; without their library they return its error code.

use std::collections::BTreeSet;
use std::ffi::{CString, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::{Error, Result};

/// A library by what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Driver,
    CublasLt,
    Cublas,
    Curand,
    Nvrtc,
}

// `FUNCTIONS`: (library, function) of every jump, in the order of their slots.
include!(concat!(env!("OUT_DIR"), "/functions.rs"));

static SLOTS: [AtomicPtr<c_void>; FUNCTIONS.len()] = [const { AtomicPtr::new(std::ptr::null_mut()) }; FUNCTIONS.len()];

std::arch::global_asm!(include_str!(concat!(env!("OUT_DIR"), "/jumps.s")), slots = sym SLOTS, bind = sym bind);

/// The version of the toolkit of this build as the driver counts: 12080 for CUDA 12.8.
const BUILT_WITH: c_int = number(env!("TALLOW_CUDA_VERSION"));

const fn number(digits: &str) -> c_int {
    let (bytes, mut i, mut n) = (digits.as_bytes(), 0, 0);
    while i < bytes.len() {
        n = n * 10 + (bytes[i] - b'0') as c_int;
        i += 1;
    }
    n
}

impl Name {
    /// Its file on Linux. Those of another major version have other functions.
    fn file(self) -> String {
        let major = BUILT_WITH / 1000;
        match self {
            Self::Driver => "libcuda.so.1".into(),
            Self::Cublas => format!("libcublas.so.{major}"),
            Self::CublasLt => format!("libcublasLt.so.{major}"),
            Self::Curand => "libcurand.so.10".into(),
            Self::Nvrtc => format!("libnvrtc.so.{major}"),
        }
    }

    /// What its functions return where it, or the function, is missing.
    fn missing(self) -> extern "C" fn() -> c_int {
        extern "C" fn no_device() -> c_int {
            100 // CUDA_ERROR_NO_DEVICE
        }
        extern "C" fn not_initialised() -> c_int {
            1 // CUBLAS_STATUS_NOT_INITIALIZED
        }
        extern "C" fn curand() -> c_int {
            101 // CURAND_STATUS_NOT_INITIALIZED
        }
        extern "C" fn nvrtc() -> c_int {
            11 // NVRTC_ERROR_INTERNAL_ERROR
        }
        match self {
            Self::Driver => no_device,
            Self::Cublas | Self::CublasLt => not_initialised,
            Self::Curand => curand,
            Self::Nvrtc => nvrtc,
        }
    }

    /// Where it may lie: in a folder that a person named, where the loader looks, in the usual places.
    fn candidates(self) -> Vec<PathBuf> {
        let file = self.file();
        let named = std::env::var_os("TALLOW_CUDA_LIBS").unwrap_or_default();
        let named = std::env::split_paths(&named).filter(|p| !p.as_os_str().is_empty()).map(|p| p.join(&file));
        let usual = if self == Self::Driver { driver_folders() } else { toolkit_folders() };
        let usual = usual.into_iter().map(|p| p.join(&file));
        named.chain([PathBuf::from(&file)]).chain(usual).filter(|p| p.parent() == Some(Path::new("")) || p.exists()).collect()
    }

    fn opened(self) -> &'static std::result::Result<Opened, Vec<String>> {
        static ALL: [OnceLock<std::result::Result<Opened, Vec<String>>>; 5] = [const { OnceLock::new() }; 5];
        ALL[self as usize].get_or_init(|| {
            // cuBLAS asks for cuBLASLt by its bare name: from here on that is the one that was found.
            if self == Self::Cublas {
                let _ = Self::CublasLt.opened();
            }
            Opened::search(&self.candidates())
        })
    }
}

/// An open library.
#[derive(Debug)]
struct Opened {
    handle: usize,
    file: PathBuf,
}

impl Opened {
    /// Opens the first of the files that can be opened.
    ///
    /// # Errors
    /// What the loader said of each.
    fn search(files: &[PathBuf]) -> std::result::Result<Self, Vec<String>> {
        let mut refused = Vec::new();
        for path in files {
            let name = CString::new(path.as_os_str().as_encoded_bytes()).unwrap_or_default();
            // SAFETY: the name ends in NUL. A library of NVIDIA's may start threads as it is opened, and stays open.
            let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
            if !handle.is_null() {
                return Ok(Self { handle: handle as usize, file: path.clone() });
            }
            // SAFETY: after a refusal the loader's message is a string that stays until this thread's next call.
            let said = unsafe { libc::dlerror() };
            if !said.is_null() {
                // SAFETY: as above.
                refused.push(unsafe { std::ffi::CStr::from_ptr(said) }.to_string_lossy().into_owned());
            }
        }
        Err(refused)
    }

    fn function(&self, name: &str) -> Option<*mut c_void> {
        let name = CString::new(name).ok()?;
        // SAFETY: the library stays open, and the name ends in NUL.
        let at = unsafe { libc::dlsym(self.handle as *mut c_void, name.as_ptr()) };
        (!at.is_null()).then_some(at)
    }
}

/// Fills a slot: with the library's function, or with one that returns the library's error code.
extern "C" fn bind(index: u32) -> *const c_void {
    let (library, function) = FUNCTIONS[index as usize];
    let found = library.opened().as_ref().ok().and_then(|l| l.function(function));
    let at = found.unwrap_or(library.missing() as *mut c_void);
    SLOTS[index as usize].store(at, Ordering::Release);
    at
}

/// Where drivers lie that the loader does not know of: in containers, on NixOS and in WSL.
fn driver_folders() -> Vec<PathBuf> {
    ["/usr/local/nvidia/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/run/opengl-driver/lib", "/usr/lib/wsl/lib"]
        .map(PathBuf::from)
        .to_vec()
}

/// Beside this program, the toolkit's usual places, and the packages that PyTorch brings.
fn toolkit_folders() -> Vec<PathBuf> {
    let home = |name: &&str| std::env::var_os(name).map(PathBuf::from);
    let exe = std::env::current_exe().ok().and_then(|e| e.parent().map(Path::to_path_buf));
    let mut all: Vec<PathBuf> = exe.into_iter().flat_map(|dir| [dir.join("cuda"), dir]).collect();
    let versioned = format!("/usr/local/cuda-{}", BUILT_WITH / 1000);
    let usual = ["/usr/local/cuda", versioned.as_str(), "/opt/cuda"].map(PathBuf::from);
    let homes = ["CUDA_HOME", "CUDA_PATH", "CONDA_PREFIX"].iter().filter_map(home);
    all.extend(homes.chain(usual).flat_map(|h| [h.join("lib64"), h.join("lib")]));
    let python = ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(home).chain(home(&"HOME").map(|h| h.join(".local")));
    let usual = ["/usr/local", "/opt/conda", "/opt/venv", "/usr"].map(PathBuf::from);
    all.extend(python.chain(usual).flat_map(|root| python_packages(&root.join("lib"))));
    all
}

/// The folders of NVIDIA's Python packages in the Pythons of a folder.
fn python_packages(lib: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(lib).into_iter().flatten().flatten();
    let pythons: BTreeSet<PathBuf> = entries.filter(|e| e.file_name().to_string_lossy().starts_with("python3")).map(|e| e.path()).collect();
    let newest = format!("cu{}", BUILT_WITH / 1000);
    let packages = pythons.iter().flat_map(|p| ["site-packages", "dist-packages"].map(|s| p.join(s).join("nvidia")));
    packages.flat_map(|p| [newest.as_str(), "cublas", "curand"].map(|n| p.join(n).join("lib"))).collect()
}

fn cuda_version(v: c_int) -> String {
    format!("{}.{}", v / 1000, v % 1000 / 10)
}

fn fault(message: String) -> Error {
    Error::Cuda { op: "libraries", message }
}

/// The version of CUDA that the driver serves, as it counts.
fn driver_version(driver: &Opened) -> Option<c_int> {
    let at = driver.function("cuDriverGetVersion")?;
    // SAFETY: the driver's function of this name takes one pointer to an int and returns a code; it needs no start.
    let get = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(*mut c_int) -> c_int>(at) };
    let mut version = 0;
    (get(&raw mut version) == 0).then_some(version)
}

/// Opens all that training on a GPU needs.
///
/// # Errors
/// In words: the library or the function that is missing, or the driver that is too old for this build.
pub(crate) fn ready() -> Result<()> {
    let file = Name::Driver.file();
    let driver = Name::Driver.opened().as_ref().map_err(|refused| {
        // What the loader says when it finds no such file adds nothing.
        match refused.iter().find(|r| !r.contains("No such file")) {
            Some(why) => fault(format!("the NVIDIA driver's {file} cannot be opened: {why}")),
            None => fault(format!("there is no NVIDIA driver: {file} was not found")),
        }
    })?;
    let version = driver_version(driver).ok_or_else(|| fault(format!("{} does not say its version", driver.file.display())))?;
    if version < BUILT_WITH {
        return Err(fault(format!(
            "the NVIDIA driver serves CUDA {}, and this program was built with CUDA {}: \
             install a newer driver, or build with a toolkit that is no newer than the driver",
            cuda_version(version),
            cuda_version(BUILT_WITH)
        )));
    }
    for library in [Name::CublasLt, Name::Cublas, Name::Curand] {
        if let Err(refused) = library.opened() {
            let why = refused.iter().find(|r| !r.contains("No such file")).map(|r| format!(" ({r})")).unwrap_or_default();
            return Err(fault(format!(
                "{} of CUDA {} was not found{why}: install the toolkit's libraries, and name their folder in \
                 TALLOW_CUDA_LIBS or LD_LIBRARY_PATH",
                library.file(),
                BUILT_WITH / 1000
            )));
        }
    }
    for (library, function) in FUNCTIONS.iter().filter(|(_, f)| CALLED.contains(f)) {
        if let Ok(opened) = library.opened()
            && opened.function(function).is_none()
        {
            return Err(fault(format!("{} has no function {function}: it is older than this program needs", opened.file.display())));
        }
    }
    Ok(())
}

/// Functions that every run calls; the others may be missing where nothing needs them.
const CALLED: [&str; 12] = [
    "cuInit",
    "cuDeviceGetCount",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceGetDefaultMemPool",
    "cuMemAllocAsync",
    "cuModuleLoadData",
    "cuLaunchKernel",
    "cuMemPoolGetAttribute",
    "cublasCreate_v2",
    "cublasGemmEx",
    "cublasGemmStridedBatchedEx",
    "curandCreateGenerator",
];
