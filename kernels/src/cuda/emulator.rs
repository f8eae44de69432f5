//! Launches on the emulator of `kernels/cuda/emulate`: the same kernels compiled for the host, one thread after another.
//!
//! Tensors in host memory stand for tensors on a device. Each launch runs on copies of exactly the bytes that it was given,
//! with guards around them, so a kernel that reaches past an argument fails. Results are poisoned before.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::{Mutex, OnceLock};

use candle_core::{CpuStorage, DType, Device, Shape, Tensor};
use half::bf16;

use super::gemm::Columns;
use super::launch::{Arg, Kernel};
use super::memory::{Kept, Span};
use crate::real::Real;
use crate::{Error, Result};

/// The functions of `run.cpp`.
struct Library {
    launch: unsafe extern "C" fn(*const c_char, *const u32, *const u32, usize, *const *mut c_void) -> c_int,
    error: unsafe extern "C" fn() -> *const c_char,
    sizes: unsafe extern "C" fn(*const c_char, *mut u8, usize) -> c_int,
    order: unsafe extern "C" fn(u32),
    alloc: unsafe extern "C" fn(usize) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
}

/// The emulator's shared library by its file name.
const LIBRARY: &str = "libtallow_emulate.so";

/// Opens the emulator's library: the file that `TALLOW_EMULATE_LIB` names, else the one beside this
/// program, else the one that the loader finds (cargo sets `LD_LIBRARY_PATH` for tests).
///
/// # Panics
/// When there is none; a test on the emulator then fails instead of passing without having run.
#[must_use]
pub fn open_library() -> *mut c_void {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(LIBRARY)));
    let named = std::env::var_os("TALLOW_EMULATE_LIB").map(std::path::PathBuf::from);
    let path = named.or(beside.filter(|p| p.exists())).unwrap_or_else(|| LIBRARY.into());
    let name = CString::new(path.as_os_str().as_encoded_bytes()).unwrap_or_default();
    // SAFETY: the name ends in NUL; the library is our own, and its constructors only fill a table of kernels.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
    assert!(
        !handle.is_null(),
        "the emulator's library {} cannot be opened: run the tests through cargo, or name it in \
         TALLOW_EMULATE_LIB; on a machine with a GPU set TALLOW_TEST_DEVICE=cuda:0 instead",
        path.display()
    );
    handle
}

fn library() -> &'static Library {
    static OPENED: OnceLock<Library> = OnceLock::new();
    OPENED.get_or_init(|| {
        let handle = open_library();
        // SAFETY: the handle is open and the name ends in NUL.
        let symbol = |name: &CStr| unsafe { libc::dlsym(handle, name.as_ptr()) };
        let at = |name: &CStr| {
            let at = symbol(name);
            assert!(!at.is_null(), "no {name:?} in {LIBRARY}");
            at
        };
        // SAFETY: run.cpp declares these functions with these types.
        unsafe {
            Library {
                launch: std::mem::transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(*const c_char, *const u32, *const u32, usize, *const *mut c_void) -> c_int,
                >(at(c"tallow_emulate")),
                error: std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> *const c_char>(at(c"tallow_emulate_error")),
                sizes: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*const c_char, *mut u8, usize) -> c_int>(at(
                    c"tallow_emulate_sizes",
                )),
                order: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(u32)>(at(c"tallow_emulate_order")),
                alloc: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(usize) -> *mut c_void>(at(c"tallow_emulate_alloc")),
                free: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void)>(at(c"tallow_emulate_free")),
            }
        }
    })
}

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
}

/// The emulator is one machine.
static MACHINE: Mutex<()> = Mutex::new(());

pub(crate) fn is_on() -> bool {
    ON.get()
}

/// Runs `f` with every operation on CPU tensors that this thread calls going to the CUDA kernels. `order` changes the order in
/// which blocks and threads run; results must not depend on it.
pub fn emulated<R>(order: u32, f: impl FnOnce() -> R) -> R {
    struct Off(bool);
    impl Drop for Off {
        fn drop(&mut self) {
            ON.set(self.0);
        }
    }
    let _off = Off(ON.replace(true));
    ORDER.set(order);
    f()
}

thread_local! {
    static ORDER: Cell<u32> = const { Cell::new(0) };
}

/// The order that [`emulated`] was given.
pub(crate) fn order() -> u32 {
    ORDER.get()
}

pub(super) fn kept() -> &'static Kept {
    static KEPT: OnceLock<Kept> = OnceLock::new();
    KEPT.get_or_init(Kept::default)
}

pub(super) fn address(s: &CpuStorage) -> u64 {
    match s {
        CpuStorage::U8(v) => v.as_ptr() as u64,
        CpuStorage::U32(v) => v.as_ptr() as u64,
        CpuStorage::I64(v) => v.as_ptr() as u64,
        CpuStorage::BF16(v) => v.as_ptr() as u64,
        CpuStorage::F16(v) => v.as_ptr() as u64,
        CpuStorage::F32(v) => v.as_ptr() as u64,
        CpuStorage::F64(v) => v.as_ptr() as u64,
        _ => 0,
    }
}

pub(super) fn poisoned(shape: Shape, dtype: DType) -> Result<Tensor> {
    let (n, device) = (shape.elem_count(), &Device::Cpu);
    Ok(match dtype {
        DType::F32 => Tensor::from_vec(vec![f32::from_bits(u32::MAX); n], shape, device)?,
        DType::BF16 => Tensor::from_vec(vec![bf16::from_bits(u16::MAX); n], shape, device)?,
        DType::F64 => Tensor::from_vec(vec![f64::from_bits(u64::MAX); n], shape, device)?,
        DType::U8 => Tensor::from_vec(vec![u8::MAX; n], shape, device)?,
        DType::U32 => Tensor::from_vec(vec![u32::MAX; n], shape, device)?,
        got => return Err(Error::Dtype { op: "empty", what: "result", got, want: "f32, bf16, f64, u8 or u32" }),
    })
}

/// A guarded copy of host memory for the length of a launch.
struct Guarded {
    host: Span,
    copy: *mut c_void,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the block came from the emulator's allocator and is freed once.
        unsafe { (library().free)(self.copy) };
    }
}

/// One guarded copy for each stretch of memory that the spans cover; spans that overlap share one.
fn guard(args: &[Arg]) -> Vec<Guarded> {
    let mut spans: Vec<Span> =
        args.iter().filter_map(|a| if let Arg::Span(s) = a { Some(*s) } else { None }).filter(|s| s.bytes > 0).collect();
    spans.sort_by_key(|s| s.address);
    let mut merged: Vec<Span> = Vec::new();
    for s in spans {
        match merged.last_mut().filter(|l| s.address < l.address + l.bytes as u64) {
            Some(l) => l.bytes = l.bytes.max((s.address - l.address) as usize + s.bytes),
            None => merged.push(s),
        }
    }
    let copy = |host: Span| {
        // SAFETY: the emulator's allocator gives `bytes` bytes, and the span is live host memory of that size.
        let copy = unsafe {
            let copy = (library().alloc)(host.bytes);
            std::ptr::copy_nonoverlapping(host.address as *const u8, copy.cast::<u8>(), host.bytes);
            copy
        };
        Guarded { host, copy }
    };
    merged.into_iter().map(copy).collect()
}

/// # Safety
/// As [`Kernel::launch`].
pub(super) unsafe fn launch(k: &Kernel, args: &[Arg]) -> Result<()> {
    let _machine = MACHINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let fail = |message: String| Error::Value { op: k.op, message };
    let name = CString::new(k.name.as_str()).map_err(|e| fail(e.to_string()))?;
    let mut sizes = [0u8; 64];
    // SAFETY: the buffer holds as many bytes as it says.
    let count = unsafe { (library().sizes)(name.as_ptr(), sizes.as_mut_ptr(), sizes.len()) };
    let bytes = |a: &Arg| if matches!(a, Arg::Span(_) | Arg::U64(_)) { 8 } else { 4 };
    let given: Vec<u8> = args.iter().map(bytes).collect();
    if usize::try_from(count).ok().map(|c| &sizes[..c]) != Some(&given[..]) {
        let wanted = usize::try_from(count).map(|c| format!("{:?}", &sizes[..c])).unwrap_or_else(|_| "no such kernel".into());
        return Err(fail(format!("{} takes arguments of {wanted} bytes, not {given:?}", k.name)));
    }
    let guards = guard(args);
    let moved = |s: Span| {
        let home = guards.iter().find(|g| s.bytes > 0 && s.address >= g.host.address && s.address < g.host.address + g.host.bytes as u64);
        home.map_or(s.address, |g| g.copy as u64 + (s.address - g.host.address))
    };
    let mut values: Vec<u64> = args
        .iter()
        .map(|a| match *a {
            Arg::Span(s) => moved(s),
            Arg::I32(x) => u64::from(x as u32),
            Arg::U32(x) => u64::from(x),
            Arg::U64(x) => x,
            Arg::F32(x) => u64::from(x.to_bits()),
        })
        .collect();
    let pointers: Vec<*mut c_void> = values.iter_mut().map(|v| std::ptr::from_mut(v).cast()).collect();
    // SAFETY: the sizes of all arguments are those of the kernel; what addresses mean is the caller's promise.
    let code = unsafe {
        (library().order)(ORDER.get());
        (library().launch)(name.as_ptr(), k.grid.as_ptr(), k.block.as_ptr(), k.shared as usize, pointers.as_ptr())
    };
    if code != 0 {
        // SAFETY: the emulator's message is a string that stays until the next launch.
        let message = unsafe { CStr::from_ptr((library().error)()) };
        return Err(fail(message.to_string_lossy().into_owned()));
    }
    for g in &guards {
        // SAFETY: both blocks have that many bytes, and the host's is the caller's to be written.
        unsafe { std::ptr::copy_nonoverlapping(g.copy.cast::<u8>(), g.host.address as *mut u8, g.host.bytes) };
    }
    Ok(())
}

/// # Safety
/// As [`super::gemm::Gemm::launch`].
pub(super) unsafe fn gemm(g: &Columns) -> Result<()> {
    let (m, n, k) = (g.m as usize, g.n as usize, g.k as usize);
    let [lda, ldb, ldc] = g.ld.map(|l| l as usize);
    // SAFETY: by the caller's promise the spans hold these elements.
    let at = |s: Span, dtype: DType, i: usize| unsafe {
        match dtype {
            DType::BF16 => (s.address as *const bf16).add(i).read().up(),
            _ => (s.address as *const f32).add(i).read(),
        }
    };
    for column in 0..n {
        for row in 0..m {
            let mut sum = 0f64;
            for i in 0..k {
                let a = if g.transpose[0] { row * lda + i } else { i * lda + row };
                let b = if g.transpose[1] { i * ldb + column } else { column * ldb + i };
                sum += f64::from(at(g.a, g.dtypes[0], a)) * f64::from(at(g.b, g.dtypes[0], b));
            }
            let c = column * ldc + row;
            let mut value = g.alpha * sum as f32;
            if g.beta != 0.0 {
                value += g.beta * at(g.c, g.dtypes[1], c);
            }
            // SAFETY: as above, and the result's memory is the caller's to be written.
            unsafe {
                match g.dtypes[1] {
                    DType::BF16 => (g.c.address as *mut bf16).add(c).write(bf16::down(value)),
                    _ => (g.c.address as *mut f32).add(c).write(value),
                }
            }
        }
    }
    Ok(())
}
