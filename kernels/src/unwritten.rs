//! Room for results that a kernel writes from end to end.

use half::bf16;

/// A type for which any bytes are a value.
///
/// # Safety
/// No bit pattern of the type's size is invalid, and it needs no drop.
pub(crate) unsafe trait Plain: Copy + 'static {}
// SAFETY: any 32 bits are an f32.
unsafe impl Plain for f32 {}
// SAFETY: any 16 bits are a bf16.
unsafe impl Plain for bf16 {}

/// `n` elements of no particular value, for a kernel that writes every one before anything reads it. Saves the pass over
/// memory that zeros would cost. Its capacity is `n` exactly.
pub(crate) fn unwritten<T: Plain>(n: usize) -> Vec<T> {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let mut v: Vec<T> = Vec::with_capacity(n);
        // SAFETY: the block is given the address of the whole allocation and clobbers memory, so to the compiler it may have
        // written each byte of it: the bytes are fixed though unknown from here on. It in fact does nothing.
        unsafe { std::arch::asm!("/* {0} */", in(reg) v.as_mut_ptr(), options(nostack, preserves_flags)) };
        // SAFETY: the capacity is at least n, and any bytes are values of T.
        unsafe { v.set_len(n) };
        v
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        // SAFETY: zero bytes are a value of T.
        vec![unsafe { std::mem::zeroed() }; n]
    }
}
