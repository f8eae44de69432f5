//! The two activation types, computed in f32.

use half::bf16;

#[cfg(target_arch = "x86_64")]
use crate::matmul::Place;
use crate::matmul::Rows;
use crate::unwritten::Plain;
use crate::view::Element;

/// An element type that is computed on in f32.
pub(crate) trait Real: Element + Plain {
    fn up(self) -> f32;
    fn down(x: f32) -> Self;
    /// Elements as rows of a product's operand.
    fn rows(x: &[Self]) -> Rows<'_>;
    /// The same elements where they are bf16, to be written: for loops of that type alone.
    #[cfg(target_arch = "x86_64")]
    fn bf16_mut(_: &mut [Self]) -> Option<&mut [bf16]> {
        None
    }
    /// The same, to be read.
    #[cfg(target_arch = "x86_64")]
    fn bf16(_: &[Self]) -> Option<&[bf16]> {
        None
    }
    /// Where a product's sums go, by the type.
    #[cfg(target_arch = "x86_64")]
    fn place(to: *mut Self) -> Place;
}

impl Real for f32 {
    #[inline(always)]
    fn up(self) -> f32 {
        self
    }
    #[inline(always)]
    fn down(x: f32) -> Self {
        x
    }
    fn rows(x: &[Self]) -> Rows<'_> {
        Rows::F32(x)
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn place(to: *mut Self) -> Place {
        Place::F32(to)
    }
}

impl Real for bf16 {
    #[inline(always)]
    fn up(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    /// Rounds to nearest, ties to even, as the hardware does. NaN stays NaN.
    #[inline(always)]
    fn down(x: f32) -> Self {
        let bits = x.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        let nan = (bits >> 16) | 0x40;
        bf16::from_bits(if x.is_nan() { nan as u16 } else { rounded as u16 })
    }
    fn rows(x: &[Self]) -> Rows<'_> {
        Rows::Bf16(x)
    }
    #[cfg(target_arch = "x86_64")]
    fn bf16_mut(x: &mut [Self]) -> Option<&mut [bf16]> {
        Some(x)
    }
    #[cfg(target_arch = "x86_64")]
    fn bf16(x: &[Self]) -> Option<&[bf16]> {
        Some(x)
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn place(to: *mut Self) -> Place {
        Place::Bf16(to)
    }
}

/// Runs the body with `$T` bound to the tensor's activation type.
macro_rules! by_dtype {
    ($op:expr, $what:expr, $t:expr, $T:ident => $body:expr) => {
        match $t.dtype() {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            got => Err(crate::Error::Dtype { op: $op, what: $what, got, want: "f32 or bf16" }),
        }
    };
}
pub(crate) use by_dtype;
