//! Launches on a GPU through the driver: modules, functions, memory, cuBLAS.

use std::collections::HashMap;
use std::ffi::{c_uint, c_void};
use std::sync::{Arc, Mutex, OnceLock};

use candle_core::backend::BackendDevice;
use candle_core::cuda_backend::cudarc::cublas::{result as cublas, sys as blas};
use candle_core::cuda_backend::cudarc::driver::{CudaContext, CudaFunction, CudaModule, DevicePtr, DriverError, result, sys};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage, CudaStorageSlice, DeviceId};
use candle_core::op::BackpropOp;
use candle_core::{DType, Device, Shape, Storage, Tensor};
use half::{bf16, f16};

use super::gemm::Columns;
use super::launch::{Arg, Kernel};
use super::memory::{Kept, Span};
use crate::{Error, Result};

// `FATBINS`: (file without its ending, machine code for every architecture and PTX), from build.rs.
include!(concat!(env!("OUT_DIR"), "/fatbins.rs"));

/// What is kept for one device.
pub(crate) struct Gpu {
    pub(crate) device: CudaDevice,
    pub(crate) kept: Kept,
    /// The way of tensors to host memory, once one was sent there.
    pub(crate) lane: Mutex<Option<Arc<crate::offload::Lane>>>,
    modules: Mutex<HashMap<&'static str, Arc<CudaModule>>>,
    functions: Mutex<HashMap<String, CudaFunction>>,
}

pub(super) fn fault(op: &'static str, e: impl std::fmt::Display) -> Error {
    Error::Cuda { op, message: e.to_string() }
}

fn driver(op: &'static str) -> impl Fn(DriverError) -> Error {
    move |e| match e.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::OutOfMemory { op },
        sys::CUresult::CUDA_ERROR_NO_DEVICE => fault(op, "there is no NVIDIA GPU, or no driver for it"),
        _ => fault(op, e),
    }
}

/// The same, with what was tried in the message.
fn named(op: &'static str, what: String) -> impl FnOnce(DriverError) -> Error {
    move |e| match e.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::OutOfMemory { op },
        _ => fault(op, format!("{what}: {e}")),
    }
}

/// Devices that [`open`] made, by ordinal: a device is opened once, since tensors of two handles cannot meet.
fn opened() -> &'static Mutex<HashMap<usize, Arc<Gpu>>> {
    static OPENED: OnceLock<Mutex<HashMap<usize, Arc<Gpu>>>> = OnceLock::new();
    OPENED.get_or_init(Mutex::default)
}

fn by_id() -> &'static Mutex<HashMap<DeviceId, Arc<Gpu>>> {
    static BY_ID: OnceLock<Mutex<HashMap<DeviceId, Arc<Gpu>>>> = OnceLock::new();
    BY_ID.get_or_init(Mutex::default)
}

fn poisoned<T>(_: T) -> Error {
    fault("cuda", "another thread ended in the middle of a launch")
}

/// How many devices the driver shows; an error says why there is none.
pub(crate) fn count() -> Result<usize> {
    Ok(CudaContext::device_count().map_err(driver("cuda"))?.max(0) as usize)
}

/// A device with one stream, a pool that keeps its memory, and no event tracking.
pub(crate) fn open(ordinal: usize) -> Result<Arc<Gpu>> {
    const OP: &str = "open device";
    let mut all = opened().lock().map_err(poisoned)?;
    if let Some(gpu) = all.get(&ordinal) {
        return Ok(gpu.clone());
    }
    let count = count()?;
    if ordinal >= count {
        return Err(fault(OP, format!("there is no device {ordinal}: the driver shows {count}")));
    }
    let device = CudaDevice::new_with_stream(ordinal)?;
    // SAFETY: one stream does all the work of this device, in order.
    unsafe { device.disable_event_tracking() };
    let pool = pool(&device)?;
    let threshold = u64::MAX;
    // SAFETY: the attribute is a 64-bit number.
    unsafe {
        let value = std::ptr::from_ref(&threshold).cast_mut().cast::<c_void>();
        result::mem_pool::set_attribute(pool, sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, value).map_err(driver(OP))?;
    }
    let mode = blas::cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
    // SAFETY: the handle is alive; sums of split products stay in f32.
    let set = unsafe { blas::cublasSetMathMode(*device.cublas_handle().handle(), mode) };
    if set != blas::cublasStatus_t::CUBLAS_STATUS_SUCCESS {
        return Err(fault(OP, format!("cublasSetMathMode: {set:?}")));
    }
    let gpu =
        Arc::new(Gpu { kept: Kept::default(), lane: Mutex::default(), modules: Mutex::default(), functions: Mutex::default(), device });
    by_id().lock().map_err(poisoned)?.insert(gpu.device.id(), gpu.clone());
    all.insert(ordinal, gpu.clone());
    Ok(gpu)
}

/// What is kept for the device; tensors made on a device that [`open`] did not make have no kernels.
pub(crate) fn gpu(device: &CudaDevice) -> Result<Arc<Gpu>> {
    let found = by_id().lock().map_err(poisoned)?.get(&device.id()).cloned();
    found.ok_or_else(|| fault("cuda", "the device was not opened by tallow_kernels::device::cuda"))
}

fn pool(device: &CudaDevice) -> Result<sys::CUmemoryPool> {
    let context = device.cuda_stream().context().clone();
    context.bind_to_thread().map_err(driver("memory pool"))?;
    // SAFETY: the context is alive, and its device with it.
    unsafe { result::device::get_default_mem_pool(context.cu_device()) }.map_err(driver("memory pool"))
}

/// Gives the driver back what the pool holds unused.
fn release(device: &CudaDevice) -> Result<()> {
    let pool = pool(device)?;
    synchronize(device)?;
    // SAFETY: the pool is the device's own, and stays.
    unsafe { result::mem_pool::trim_to(pool, 0) }.map_err(driver("memory pool"))
}

/// (free, total, used by this process's pool, most used since the last reset), in bytes.
pub(crate) fn memory(device: &CudaDevice) -> Result<[u64; 4]> {
    const OP: &str = "device memory";
    let pool = pool(device)?;
    let (free, total) = result::mem_get_info().map_err(driver(OP))?;
    let read = |attribute| -> Result<u64> {
        let mut value = 0u64;
        // SAFETY: the attribute is a 64-bit number.
        unsafe { result::mem_pool::get_attribute(pool, attribute, std::ptr::from_mut(&mut value).cast()) }.map_err(driver(OP))?;
        Ok(value)
    };
    let used = read(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?;
    let reserved = read(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?;
    let high = read(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)?;
    // What the pool holds back unused is free to this process.
    Ok([free as u64 + reserved.saturating_sub(used), total as u64, used, high])
}

/// The most used starts again from what is used now.
pub(crate) fn reset_peak(device: &CudaDevice) -> Result<()> {
    let (pool, mut zero) = (pool(device)?, 0u64);
    let high = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
    // SAFETY: the attribute is a 64-bit number, and zero resets it.
    unsafe { result::mem_pool::set_attribute(pool, high, std::ptr::from_mut(&mut zero).cast()) }.map_err(driver("device memory"))
}

/// The device's name, compute capability and bytes of memory, without a context on it.
pub(crate) fn identity(ordinal: usize) -> Result<(String, (i32, i32), u64)> {
    use sys::CUdevice_attribute::{CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR};
    const OP: &str = "device name";
    let ordinal = i32::try_from(ordinal).map_err(|e| fault(OP, e))?;
    let device = result::device::get(ordinal).map_err(driver(OP))?;
    // SAFETY: the driver gave this handle.
    let attribute = |a| unsafe { result::device::get_attribute(device, a) }.map_err(driver(OP));
    let capability = (attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?, attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?);
    // SAFETY: as above.
    let total = unsafe { result::device::total_mem(device) }.map_err(driver(OP))?;
    Ok((result::device::get_name(device).map_err(driver(OP))?, capability, total as u64))
}

/// The device's compute capability, as (9, 0).
pub(crate) fn capability(device: &CudaDevice) -> Result<(i32, i32)> {
    device.cuda_stream().context().compute_capability().map_err(driver("compute capability"))
}

impl Gpu {
    fn function(&self, k: &Kernel) -> Result<CudaFunction> {
        // Loading a module and setting attributes work on this thread's context.
        self.device.cuda_stream().context().bind_to_thread().map_err(driver(k.op))?;
        let mut functions = self.functions.lock().map_err(poisoned)?;
        if let Some(f) = functions.get(&k.name) {
            return Ok(f.clone());
        }
        let mut modules = self.modules.lock().map_err(poisoned)?;
        let module = match modules.get(k.file) {
            Some(m) => m.clone(),
            None => {
                let Some((file, code)) = FATBINS.iter().find(|(f, _)| *f == k.file) else {
                    return Err(fault(k.op, format!("no machine code of {}.cu in this build", k.file)));
                };
                let context = self.device.cuda_stream().context().clone();
                let loaded = context.load_module(Ptx::from_binary(code.to_vec()));
                let module = loaded.map_err(named(k.op, format!("machine code of {}.cu", k.file)))?;
                modules.insert(file, module.clone());
                module
            }
        };
        let function = module.load_function(&k.name).map_err(named(k.op, k.name.clone()))?;
        if k.shared > 48 << 10 {
            // Above 48 KiB a kernel has to be told, once: every launch of it has the same size.
            let context = self.device.cuda_stream().context().clone();
            let attribute = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
            let most = context.attribute(attribute).map_err(driver(k.op))?;
            if k.shared as i32 > most {
                return Err(fault(k.op, format!("{} needs {} bytes of shared memory, the device has {most}", k.name, k.shared)));
            }
            let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(attribute, k.shared as i32).map_err(driver(k.op))?;
        }
        functions.insert(k.name.clone(), function.clone());
        Ok(function)
    }
}

/// # Safety
/// As [`Kernel::launch`].
pub(super) unsafe fn launch(k: &Kernel, device: &CudaDevice, args: &[Arg]) -> Result<()> {
    let gpu = gpu(device)?;
    let function = gpu.function(k)?;
    let mut values: Vec<u64> = args
        .iter()
        .map(|a| match *a {
            Arg::Span(s) => s.address,
            Arg::I32(x) => u64::from(x as u32),
            Arg::U32(x) => u64::from(x),
            Arg::U64(x) => x,
            Arg::F32(x) => u64::from(x.to_bits()),
        })
        .collect();
    // The driver copies each argument by the kernel's own sizes, from the low bytes of its word.
    let mut pointers: Vec<*mut c_void> = values.iter_mut().map(|v| std::ptr::from_mut(v).cast()).collect();
    let stream = device.cuda_stream();
    stream.context().bind_to_thread().map_err(driver(k.op))?;
    let of = |d: [u32; 3]| -> (c_uint, c_uint, c_uint) { (d[0], d[1], d[2]) };
    // SAFETY: the function and stream are alive; the arguments are the caller's promise.
    let launched =
        unsafe { result::launch_kernel(function.cu_function(), of(k.grid), of(k.block), k.shared, stream.cu_stream(), &mut pointers) };
    // An error of earlier work comes up here too, and then this kernel is only the next.
    launched.map_err(|e| {
        named(k.op, format!("{} on a grid of {:?} blocks of {:?} threads, {} bytes shared", k.name, k.grid, k.block, k.shared))(e)
    })
}

/// The address of a storage's first element. All use is on the device's one stream, so no event is waited for.
pub(super) fn address(s: &CudaStorage) -> Result<u64> {
    let stream = s.device.cuda_stream();
    macro_rules! of {
        ($($variant:ident),*) => {
            match &s.slice {
                $(CudaStorageSlice::$variant(x) => x.device_ptr(&stream).0,)*
                _ => return Err(fault("address", "a dtype that no kernel takes")),
            }
        };
    }
    Ok(of!(U8, U32, I64, BF16, F16, F32, F64))
}

pub(super) fn empty(shape: Shape, dtype: DType, device: &CudaDevice) -> Result<Tensor> {
    fn storage<T: CudaDType + candle_core::cuda_backend::cudarc::driver::DeviceRepr>(n: usize, device: &CudaDevice) -> Result<CudaStorage> {
        // A slice without elements has no address to give.
        // SAFETY: a kernel writes every element before anything reads it.
        let take = || unsafe { device.cuda_stream().alloc::<T>(n.max(1)) };
        let slice = match take() {
            Err(e) if e.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                // The pool may hold enough in pieces that are too small: they go back to the driver, once nothing runs.
                release(device)?;
                take()
            }
            other => other,
        };
        let slice = slice.map_err(driver("allocation"))?;
        Ok(CudaStorage::wrap_cuda_slice(slice, device.clone()))
    }
    let n = shape.elem_count();
    let storage = match dtype {
        DType::U8 => storage::<u8>(n, device)?,
        DType::U32 => storage::<u32>(n, device)?,
        DType::BF16 => storage::<bf16>(n, device)?,
        DType::F16 => storage::<f16>(n, device)?,
        DType::F32 => storage::<f32>(n, device)?,
        DType::F64 => storage::<f64>(n, device)?,
        got => return Err(Error::Dtype { op: "empty", what: "result", got, want: "u8, u32, bf16, f16, f32 or f64" }),
    };
    Ok(Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false))
}

/// # Safety
/// As [`super::memory::fill_zero`].
pub(super) unsafe fn fill_zero(op: &'static str, device: &CudaDevice, to: Span) -> Result<()> {
    let stream = device.cuda_stream();
    stream.context().bind_to_thread().map_err(driver(op))?;
    // SAFETY: the caller's promise.
    unsafe { result::memset_d8_async(to.address, 0, to.bytes, stream.cu_stream()) }.map_err(driver(op))
}

/// # Safety
/// As [`super::memory::copy`].
pub(super) unsafe fn copy(op: &'static str, device: &CudaDevice, from: Span, to: Span) -> Result<()> {
    let stream = device.cuda_stream();
    stream.context().bind_to_thread().map_err(driver(op))?;
    // SAFETY: the caller's promise.
    unsafe { result::memcpy_dtod_async(to.address, from.address, from.bytes, stream.cu_stream()) }.map_err(driver(op))
}

/// # Safety
/// As [`super::gemm::Gemm::launch`].
pub(super) unsafe fn gemm(g: &Columns, device: &CudaDevice) -> Result<()> {
    let dtype = |d: DType| match d {
        DType::F32 => Ok(blas::cudaDataType::CUDA_R_32F),
        DType::BF16 => Ok(blas::cudaDataType::CUDA_R_16BF),
        got => Err(Error::Dtype { op: g.op, what: "operand", got, want: "f32 or bf16" }),
    };
    let turn = |t| if t { blas::cublasOperation_t::CUBLAS_OP_T } else { blas::cublasOperation_t::CUBLAS_OP_N };
    let (ab, c) = (dtype(g.dtypes[0])?, dtype(g.dtypes[1])?);
    let stream = device.cuda_stream();
    stream.context().bind_to_thread().map_err(driver(g.op))?;
    let handle = device.cublas_handle();
    // SAFETY: the handle and the factors are alive; the operands are the caller's promise.
    unsafe {
        cublas::gemm_ex(
            *handle.handle(),
            turn(g.transpose[0]),
            turn(g.transpose[1]),
            g.m,
            g.n,
            g.k,
            std::ptr::from_ref(&g.alpha).cast(),
            g.a.address as *const c_void,
            ab,
            g.ld[0],
            g.b.address as *const c_void,
            ab,
            g.ld[1],
            std::ptr::from_ref(&g.beta).cast(),
            g.c.address as *mut c_void,
            c,
            g.ld[2],
            blas::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            blas::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        )
    }
    .map_err(|e| fault(g.op, format!("cuBLAS: {e}")))
}

/// Waits until all queued work is done, and brings up the error of any of it.
pub(crate) fn synchronize(device: &CudaDevice) -> Result<()> {
    device.synchronize()?;
    Ok(())
}

/// The candle device of an ordinal.
pub(crate) fn device(ordinal: usize) -> Result<Device> {
    Ok(Device::Cuda(open(ordinal)?.device.clone()))
}
