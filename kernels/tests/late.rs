//! NVIDIA's libraries are loaded when a GPU is asked for, not as the program starts: what is missing is
//! said in words, and calls reach a library with all their arguments. The libraries here are made by the
//! C++ compiler, in a folder that `TALLOW_CUDA_LIBS` names; each case is a process of its own.

#[cfg(not(all(late_cuda, emulator)))]
#[test]
#[ignore = "nothing ran: late binding needs Linux on x86-64, and this test a C++17 compiler (set CXX)"]
fn libraries() {}

#[cfg(all(late_cuda, emulator))]
mod late {
    use std::ffi::{c_int, c_uint, c_void};
    use std::path::{Path, PathBuf};
    use std::process::Command;

    unsafe extern "C" {
        fn cuInit(flags: c_uint) -> c_int;
        fn cuDeviceGetCount(count: *mut c_int) -> c_int;
        fn cublasSgemm_v2(
            handle: *mut c_void,
            ta: c_int,
            tb: c_int,
            m: c_int,
            n: c_int,
            k: c_int,
            alpha: *const f32,
            a: *const f32,
            lda: c_int,
            b: *const f32,
            ldb: c_int,
            beta: *const f32,
            c: *mut f32,
            ldc: c_int,
        ) -> c_int;
        fn curandGenerateNormalDouble(generator: *mut c_void, out: *mut f64, n: usize, mean: f64, deviation: f64) -> c_int;
    }

    const DRIVER: &str = r#"
        extern "C" int cuInit(unsigned flags) { return 40 + (int)flags; }
        extern "C" int cuDriverGetVersion(int* v) { *v = VERSION; return 0; }
        extern "C" int cuDeviceGetCount(int* n) { *n = 3; return 0; }
        #define EMPTY(name) extern "C" int name() { return 0; }
        EMPTY(cuDevicePrimaryCtxRetain) EMPTY(cuDeviceGetDefaultMemPool) EMPTY(cuMemAllocAsync)
        EMPTY(cuModuleLoadData) EMPTY(cuLaunchKernel) EMPTY(cuMemPoolGetAttribute)
    "#;

    const CUBLAS: &str = r#"
        #define EMPTY(name) extern "C" int name() { return 0; }
        EMPTY(cublasCreate_v2) EMPTY(cublasGemmStridedBatchedEx)
        #ifndef OLD
        EMPTY(cublasGemmEx)
        #endif
        extern "C" int cublasSgemm_v2(long h, int ta, int tb, int m, int n, int k, const float* alpha, const float* a, int lda,
                                      const float* b, int ldb, const float* beta, float* c, int ldc) {
            return (int)(h + 2 * ta + 3 * tb + 5 * m + 7 * n + 11 * k + 13 * *alpha + 17 * *a + 19 * lda + 23 * *b + 29 * ldb +
                         31 * *beta + 37 * *c + 41 * ldc);
        }
    "#;

    const CURAND: &str = r#"
        extern "C" int curandCreateGenerator() { return 0; }
        extern "C" int curandGenerateNormalDouble(long g, double* out, unsigned long n, double mean, double deviation) {
            *out = g + n + 10 * mean + 100 * deviation;
            return 7;
        }
    "#;

    fn compile(dir: &Path, file: &str, source: &str, defines: &[&str]) {
        let from = dir.join(format!("{file}.cpp"));
        std::fs::write(&from, source).unwrap();
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
        let made = Command::new(compiler).args(["-shared", "-fPIC", "-O1", "-o"]).arg(dir.join(file)).args(defines).arg(&from).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    const CASE: &str = "TALLOW_TEST_LATE";

    /// What the libraries of a folder come to, in a process of its own.
    fn outcome(dir: &Path) -> String {
        let me = std::env::current_exe().unwrap();
        let run =
            Command::new(me).args(["--exact", "late::child", "--test-threads=1"]).env("TALLOW_CUDA_LIBS", dir).env(CASE, dir).output();
        let run = run.unwrap();
        assert!(run.status.success(), "{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        std::fs::read_to_string(dir.join("outcome")).unwrap()
    }

    /// Whether the loader finds the file without being told where: then a machine has it that a test hides.
    fn on_this_machine(file: &std::ffi::CStr) -> bool {
        // SAFETY: the name ends in NUL.
        !unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_LAZY) }.is_null()
    }

    #[test]
    fn without_a_driver_calls_fail_with_its_code_and_the_reason_is_said() {
        let said = outcome(&folder("none"));
        if on_this_machine(c"libcuda.so.1") {
            return assert!(!said.contains("there is no NVIDIA driver"), "{said}");
        }
        assert!(said.starts_with("init 100\n") && said.contains("there is no NVIDIA driver: libcuda.so.1 was not found"), "{said}");
    }

    #[test]
    fn a_driver_older_than_the_toolkit_is_named_with_both_versions() {
        let dir = folder("old");
        compile(&dir, "libcuda.so.1", DRIVER, &["-DVERSION=11080"]);
        let said = outcome(&dir);
        assert!(said.contains("the NVIDIA driver serves CUDA 11.8, and this program was built with CUDA "), "{said}");
    }

    #[test]
    fn a_library_that_is_no_library_or_lacks_a_function_is_named() {
        let dir = folder("broken");
        compile(&dir, "libcuda.so.1", DRIVER, &["-DVERSION=99000"]);
        std::fs::write(dir.join("libcurand.so.10"), "not a library").unwrap();
        for major in ["12", "13"] {
            compile(&dir, &format!("libcublasLt.so.{major}"), "", &[]);
            compile(&dir, &format!("libcublas.so.{major}"), CUBLAS, &["-DOLD"]);
        }
        if !on_this_machine(c"libcurand.so.10") {
            let said = outcome(&dir);
            assert!(said.contains("libcurand.so.10 of CUDA") && said.contains("late-broken"), "{said}");
        }
        compile(&dir, "libcurand.so.10", CURAND, &[]);
        let said = outcome(&dir);
        assert!(said.contains("has no function cublasGemmEx"), "{said}");
    }

    #[test]
    fn calls_arrive_with_every_argument() {
        let dir = folder("whole");
        compile(&dir, "libcuda.so.1", DRIVER, &["-DVERSION=99000"]);
        compile(&dir, "libcurand.so.10", CURAND, &[]);
        for major in ["12", "13"] {
            compile(&dir, &format!("libcublasLt.so.{major}"), "", &[]);
            compile(&dir, &format!("libcublas.so.{major}"), CUBLAS, &[]);
        }
        assert_eq!(outcome(&dir), "init 42\ncount 0 3\nsgemm 2176 2176\nnormal 7 2153 7 2153\nready\n");
    }

    /// A folder for one case, which goes with it.
    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    impl std::ops::Deref for Folder {
        type Target = Path;

        fn deref(&self) -> &Path {
            &self.0
        }
    }

    fn folder(name: &str) -> Folder {
        let dir = std::env::temp_dir().join(format!("tallow-{}-late-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Folder(dir)
    }

    fn calls() -> String {
        let [alpha, a, b, beta] = [1f32, 2.0, 3.0, 4.0];
        let (mut c, mut count, mut normal) = (5f32, -1, 0f64);
        let (handle, generator) = (1000 as *mut c_void, 100 as *mut c_void);
        let (alpha, a, b, beta, c) = (&raw const alpha, &raw const a, &raw const b, &raw const beta, &raw mut c);
        // SAFETY: the test's own functions read and write through these pointers alone; without them nothing is called.
        unsafe {
            let init = cuInit(2);
            let counted = cuDeviceGetCount(&raw mut count);
            let product = || cublasSgemm_v2(handle, 1, 2, 3, 4, 5, alpha, a, 6, b, 7, beta, c, 8);
            let products = (product(), product());
            let mut drawn = Vec::new();
            for _ in 0..2 {
                let code = curandGenerateNormalDouble(generator, &raw mut normal, 3, 5.0, 20.0);
                drawn.push(format!("{code} {normal}"));
            }
            format!("init {init}\ncount {counted} {count}\nsgemm {} {}\nnormal {}\n", products.0, products.1, drawn.join(" "))
        }
    }

    /// Does nothing, unless a parent asks.
    #[test]
    fn child() {
        let Some(dir) = std::env::var_os(CASE) else { return };
        let ready = tallow_kernels::device::cuda_libraries();
        let said = calls() + &ready.map_or_else(|e| e.to_string(), |()| "ready".into()) + "\n";
        std::fs::write(Path::new(&dir).join("outcome"), said).unwrap();
    }
}
