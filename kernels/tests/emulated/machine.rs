//! The emulator's library, opened once, and the memory that kernels see.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

type Launch = unsafe extern "C" fn(*const c_char, *const u32, *const u32, usize, *mut *mut c_void) -> c_int;

struct Library {
    launch: Launch,
    error: unsafe extern "C" fn() -> *const c_char,
    sizes: unsafe extern "C" fn(*const c_char, *mut u8, usize) -> c_int,
    order: unsafe extern "C" fn(u32),
    alloc: unsafe extern "C" fn(usize) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
    conflicts: unsafe extern "C" fn() -> usize,
}

fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let handle = tallow_kernels::emulator::open_library();
        let symbol = |name: &CStr| {
            // SAFETY: the handle is open, the name ends in NUL.
            let at = unsafe { libc::dlsym(handle, name.as_ptr()) };
            assert!(!at.is_null(), "no {name:?} in the emulator's library");
            at
        };
        // SAFETY: the types are those that run.cpp declares.
        unsafe {
            Library {
                launch: std::mem::transmute::<*mut c_void, Launch>(symbol(c"tallow_emulate")),
                error: std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> *const c_char>(symbol(c"tallow_emulate_error")),
                sizes: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*const c_char, *mut u8, usize) -> c_int>(symbol(
                    c"tallow_emulate_sizes",
                )),
                order: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(u32)>(symbol(c"tallow_emulate_order")),
                alloc: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(usize) -> *mut c_void>(symbol(c"tallow_emulate_alloc")),
                free: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void)>(symbol(c"tallow_emulate_free")),
                conflicts: std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> usize>(symbol(c"tallow_emulate_conflicts")),
            }
        }
    })
}

/// The one machine; buffers and launches go through it, one test at a time.
pub struct Machine {
    library: &'static Library,
    _alone: MutexGuard<'static, ()>,
}

/// An argument of a kernel.
#[derive(Clone, Copy)]
pub enum Arg<'a> {
    Buf(&'a Buffer),
    I32(i32),
    U32(u32),
    F32(f32),
}

impl Machine {
    /// Waits for the machine to be free.
    pub fn take() -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        let machine = Self { _alone: ONE.lock().unwrap_or_else(PoisonError::into_inner), library: library() };
        machine.order(0);
        machine
    }

    /// The order in which threads and blocks run: see `tallow_emulate_order` in run.cpp.
    pub fn order(&self, seed: u32) {
        // SAFETY: sets a number.
        unsafe { (self.library.order)(seed) }
    }

    /// Memory with these values.
    pub fn buffer<T: Copy>(&self, values: &[T]) -> Buffer {
        let out = self.poisoned::<T>(values.len());
        // SAFETY: the allocation holds at least these bytes.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr().cast::<u8>(), out.at.cast::<u8>(), out.bytes) };
        out
    }

    /// Memory for `n` values, each NaN.
    pub fn poisoned<T>(&self, n: usize) -> Buffer {
        let bytes = n * size_of::<T>();
        // SAFETY: any size will do.
        Buffer { at: unsafe { (self.library.alloc)(bytes) }, bytes }
    }

    /// Runs a kernel; the error names block, thread and what they did.
    pub fn try_launch(&self, name: &str, grid: [u32; 3], block: [u32; 3], shared: usize, args: &[Arg]) -> Result<(), String> {
        let symbol = CString::new(name).unwrap();
        let mut words: Vec<(u64, u8)> = args.iter().map(|a| a.word()).collect();
        let mut sizes = [0u8; 48];
        // SAFETY: the buffer holds 48 bytes.
        let count = unsafe { (self.library.sizes)(symbol.as_ptr(), sizes.as_mut_ptr(), sizes.len()) };
        assert!(count >= 0, "no kernel {name}");
        let given: Vec<u8> = words.iter().map(|w| w.1).collect();
        assert_eq!(given, sizes[..count as usize], "{name}: byte sizes of the arguments");
        let mut pointers: Vec<*mut c_void> = words.iter_mut().map(|w| (&raw mut w.0).cast()).collect();
        // SAFETY: as many arguments as the kernel has, each as wide; buffers live as long as `args`.
        let code = unsafe { (self.library.launch)(symbol.as_ptr(), grid.as_ptr(), block.as_ptr(), shared, pointers.as_mut_ptr()) };
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the message lives until the next launch, and this holds the machine.
        Err(unsafe { CStr::from_ptr((self.library.error)()) }.to_string_lossy().into_owned())
    }

    /// As [`Machine::try_launch`], for launches that must succeed.
    pub fn launch(&self, name: &str, grid: [u32; 3], block: [u32; 3], shared: usize, args: &[Arg]) {
        self.try_launch(name, grid, block, shared, args).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Runs `f` under several orders of threads: its result must be the same to the bit.
    pub fn in_every_order<T: PartialEq>(&self, what: &str, f: impl Fn() -> Vec<T>) -> Vec<T> {
        let first = f();
        for seed in [1, 2, 3] {
            self.order(seed);
            assert!(f() == first, "{what}: the result depends on the order of threads (seed {seed})");
        }
        self.order(0);
        first
    }

    /// Rows of ldmatrix that waited for a bank since this was last asked.
    pub fn bank_conflicts(&self) -> usize {
        // SAFETY: reads and clears a number.
        unsafe { (self.library.conflicts)() }
    }
}

impl Arg<'_> {
    fn word(&self) -> (u64, u8) {
        match *self {
            Self::Buf(b) => (b.at as u64, 8),
            Self::I32(x) => (u64::from(x as u32), 4),
            Self::U32(x) => (u64::from(x), 4),
            Self::F32(x) => (u64::from(x.to_bits()), 4),
        }
    }
}

/// Memory that kernels may touch; what lies around it faults.
pub struct Buffer {
    at: *mut c_void,
    bytes: usize,
}

impl Buffer {
    /// Its values.
    pub fn read<T: Copy>(&self) -> Vec<T> {
        // SAFETY: the memory holds these bytes, aligned to 16, and any bits are a value of the plain types used here.
        unsafe { std::slice::from_raw_parts(self.at.cast::<T>(), self.bytes / size_of::<T>()) }.to_vec()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated by this library, freed once.
        unsafe { (library().free)(self.at) }
    }
}
