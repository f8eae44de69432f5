//! Q8: signed bytes in blocks of 64 along each row, one f32 scale a block.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::BLOCK;
use crate::view::read;
use crate::{Result, backend};

const OP: &str = "q8";

/// An 8-bit matrix `[out, in]`; element = code * scale of its block.
#[derive(Debug, Clone)]
pub struct Q8 {
    /// U8 `[out * in]`: two's complement.
    codes: Tensor,
    /// f32 `[out * ceil(in/64)]`.
    scales: Tensor,
    out: usize,
    inp: usize,
}

impl Q8 {
    /// Quantises a CPU matrix `[out, in]` of f32, bf16 or f16: `code = round(x / (absmax / 127))`.
    ///
    /// # Errors
    /// When the tensor is not a matrix or not on the CPU.
    pub fn quantize(w: &Tensor) -> Result<Self> {
        let (out, inp) = w.dims2()?;
        let w = w.to_dtype(DType::F32)?.contiguous()?;
        let blocks = inp.div_ceil(BLOCK);
        let mut codes = vec![0u8; out * inp];
        let mut scales = vec![0f32; out * blocks];
        read::<f32, _>(OP, "weight", &w, |w| {
            let rows = codes.par_chunks_mut(inp).zip(scales.par_chunks_mut(blocks)).zip(w.par_chunks(inp));
            rows.for_each(|((codes, scales), row)| {
                for ((codes, scale), block) in codes.chunks_mut(BLOCK).zip(scales).zip(row.chunks(BLOCK)) {
                    *scale = block.iter().fold(0f32, |m, x| m.max(x.abs())) / 127.0;
                    let inverse = if *scale > 0.0 { 1.0 / *scale } else { 0.0 };
                    for (c, x) in codes.iter_mut().zip(block) {
                        *c = ((x * inverse).round_ties_even() as i8) as u8;
                    }
                }
            });
        })?;
        let codes = Tensor::from_vec(codes, out * inp, &Device::Cpu)?;
        Ok(Self { codes, scales: Tensor::from_vec(scales, out * blocks, &Device::Cpu)?, out, inp })
    }

    /// `(out, in)`.
    pub fn shape(&self) -> (usize, usize) {
        (self.out, self.inp)
    }

    /// The codes, U8 `[out * in]`, two's complement.
    pub fn codes(&self) -> &Tensor {
        &self.codes
    }

    /// The scales, f32 `[out * ceil(in/64)]`.
    pub fn scales(&self) -> &Tensor {
        &self.scales
    }

    /// Where it lives.
    pub fn device(&self) -> &Device {
        self.codes.device()
    }

    /// Bytes of codes and scales.
    pub fn bytes(&self) -> u64 {
        (self.codes.elem_count() + 4 * self.scales.elem_count()) as u64
    }

    /// The same matrix on another device.
    ///
    /// # Errors
    /// When the device has no memory for it.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(Self { codes: self.codes.to_device(device)?, scales: self.scales.to_device(device)?, out: self.out, inp: self.inp })
    }

    /// `[out, in]` in f32 or bf16; on a GPU decoded straight to it.
    ///
    /// # Errors
    /// When the device has no kernel for it.
    pub fn dequantize_as(&self, dtype: DType) -> Result<Tensor> {
        backend::of(OP, &self.codes)?.decode_q8(OP, self, dtype)
    }

    /// f32 `[out, in]`.
    ///
    /// # Errors
    /// When the device has no kernel for it.
    pub fn dequantize(&self) -> Result<Tensor> {
        self.dequantize_as(DType::F32)
    }
}

/// The matrix in f32, decoded by the CPU's threads.
pub(crate) fn decode(w: &Q8) -> Result<Tensor> {
    let mut out = vec![0f32; w.out * w.inp];
    let blocks = w.inp.div_ceil(BLOCK);
    read::<u8, _>(OP, "codes", &w.codes, |codes| {
        read::<f32, _>(OP, "scales", &w.scales, |scales| {
            let rows = out.par_chunks_mut(w.inp).zip(codes.par_chunks(w.inp)).zip(scales.par_chunks(blocks));
            rows.for_each(|((out, codes), scales)| unpack_row(codes, scales, out));
        })
    })??;
    Ok(Tensor::from_vec(out, (w.out, w.inp), &Device::Cpu)?)
}

/// Decodes one row.
fn unpack_row(codes: &[u8], scales: &[f32], out: &mut [f32]) {
    for ((codes, scale), out) in codes.chunks(BLOCK).zip(scales).zip(out.chunks_mut(BLOCK)) {
        for (o, &c) in out.iter_mut().zip(codes) {
            *o = f32::from(c as i8) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_at_most_half_a_step() -> Result<()> {
        let v: Vec<f32> = (0..5 * 100).map(|i| (i as f32 * 0.77).sin() * 2.0).collect();
        let q = Q8::quantize(&Tensor::from_vec(v.clone(), (5, 100), &Device::Cpu)?)?;
        let back = q.dequantize()?.flatten_all()?.to_vec1::<f32>()?;
        assert!(v.iter().zip(&back).all(|(a, b)| (a - b).abs() <= 2.0 / 127.0 * 0.501));
        assert!(
            Q8::quantize(&Tensor::zeros((2, 64), DType::F32, &Device::Cpu)?)?
                .dequantize()?
                .to_vec2::<f32>()?
                .concat()
                .iter()
                .all(|&x| x == 0.0)
        );
        Ok(())
    }
}
