//! NF4: 4-bit NormalFloat (QLoRA, arXiv 2305.14314) in bitsandbytes' layout, bit for bit.
//!
//! The matrix is flattened row by row and cut into blocks of 64. A block is scaled by its largest magnitude
//! and each element becomes the index of a codebook value; the first of a pair is the high nibble. With double
//! quantisation the scales themselves are held in 8 bits, in blocks of 256, against the dynamic map.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::{BLOCK, dynamic_map, nearest_code};
use crate::view::{read, to_vec};
use crate::{Error, Result, backend};

/// The 16 values of NF4.
pub const CODEBOOK: [f32; 16] = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
];

/// Between which values a scaled element changes its code: `code = #(thresholds below x)`.
const THRESHOLDS: [f32; 15] = [
    -0.8480964004993439,
    -0.6106329262256622,
    -0.4599952697753906,
    -0.33967943489551544,
    -0.23460740596055984,
    -0.13791173323988914,
    -0.045525018125772476,
    0.03979014977812767,
    0.1202552504837513,
    0.2035212516784668,
    0.2920137718319893,
    0.3893125355243683,
    0.5016634166240692,
    0.6427869200706482,
    0.8614784181118011,
];

pub(crate) const NESTED_BLOCK: usize = 256;
const OP: &str = "nf4";

/// The scale of each block of 64.
#[derive(Debug, Clone)]
pub enum Absmax {
    /// f32 `[ceil(n/64)]`.
    Plain(Tensor),
    /// 8-bit codes and what decodes them: `map[code] * nested_absmax[i / 256] + offset`.
    Double {
        /// U8 `[ceil(n/64)]`.
        codes: Tensor,
        /// f32 `[ceil(blocks/256)]`.
        nested_absmax: Tensor,
        /// f32 `[256]`.
        map: Tensor,
        /// The mean of the scales.
        offset: f32,
    },
}

/// A 4-bit matrix `[out, in]`.
#[derive(Debug, Clone)]
pub struct Nf4 {
    codes: Tensor,
    absmax: Absmax,
    out: usize,
    inp: usize,
}

/// The code of one scaled element.
#[inline]
fn encode(x: f32) -> u8 {
    THRESHOLDS.iter().map(|&t| u8::from(x > t)).sum()
}

impl Nf4 {
    /// Quantises a CPU matrix `[out, in]` of f32, bf16 or f16.
    ///
    /// # Errors
    /// When the tensor is not a matrix or not on the CPU.
    pub fn quantize(w: &Tensor, double_quant: bool) -> Result<Self> {
        let (out, inp) = w.dims2()?;
        let w = w.to_dtype(DType::F32)?.contiguous()?;
        let n = out * inp;
        let (codes, absmax) = read::<f32, _>(OP, "weight", &w, quantize_slice)?;
        let codes = Tensor::from_vec(codes, n.div_ceil(2), &Device::Cpu)?;
        let absmax = if double_quant { quantize_scales(&absmax)? } else { plain(absmax)? };
        Ok(Self { codes, absmax, out, inp })
    }

    /// Takes the parts of a bitsandbytes checkpoint: `codes` U8 with ceil(n/2) elements in any shape.
    ///
    /// # Errors
    /// When a part's size does not fit `[out, in]`.
    pub fn from_parts(codes: Tensor, absmax: Absmax, out: usize, inp: usize) -> Result<Self> {
        let n = out * inp;
        let size = |what, got: usize, want: usize| {
            if got == want { Ok(()) } else { Err(Error::Shape { op: OP, what, got: got.to_string(), want: want.to_string() }) }
        };
        size("codes", codes.elem_count(), n.div_ceil(2))?;
        let blocks = n.div_ceil(BLOCK);
        match &absmax {
            Absmax::Plain(t) => size("absmax", t.elem_count(), blocks)?,
            Absmax::Double { codes, nested_absmax, map, .. } => {
                size("absmax", codes.elem_count(), blocks)?;
                size("nested_absmax", nested_absmax.elem_count(), blocks.div_ceil(NESTED_BLOCK))?;
                size("nested_quant_map", map.elem_count(), 256)?;
            }
        }
        let codes = codes.flatten_all()?.contiguous()?;
        Ok(Self { codes, absmax, out, inp })
    }

    /// The packed codes, U8 `[ceil(n/2)]`.
    pub fn codes(&self) -> &Tensor {
        &self.codes
    }

    /// The scales.
    pub fn absmax(&self) -> &Absmax {
        &self.absmax
    }

    /// `(out, in)`.
    pub fn shape(&self) -> (usize, usize) {
        (self.out, self.inp)
    }

    /// Where it lives.
    pub fn device(&self) -> &Device {
        self.codes.device()
    }

    /// Bytes of codes and scales.
    pub fn bytes(&self) -> u64 {
        let scales = match &self.absmax {
            Absmax::Plain(t) => t.elem_count() * 4,
            Absmax::Double { codes, nested_absmax, map, .. } => {
                codes.elem_count() + 4 * (nested_absmax.elem_count() + map.elem_count()) + 4
            }
        };
        (self.codes.elem_count() + scales) as u64
    }

    /// The scales in f32, one a block.
    ///
    /// # Errors
    /// When not on the CPU.
    pub fn scales(&self) -> Result<Vec<f32>> {
        match &self.absmax {
            Absmax::Plain(t) => to_vec(OP, "absmax", t),
            Absmax::Double { codes, nested_absmax, map, offset } => {
                let map = to_vec::<f32>(OP, "nested_quant_map", map)?;
                let nested = to_vec::<f32>(OP, "nested_absmax", nested_absmax)?;
                read::<u8, _>(OP, "absmax", codes, |q| {
                    q.iter().enumerate().map(|(i, &c)| map[usize::from(c)] * nested[i / NESTED_BLOCK] + offset).collect()
                })
            }
        }
    }

    /// The same matrix on another device.
    ///
    /// # Errors
    /// When the device has no memory for it.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let absmax = match &self.absmax {
            Absmax::Plain(t) => Absmax::Plain(t.to_device(device)?),
            Absmax::Double { codes, nested_absmax, map, offset } => Absmax::Double {
                codes: codes.to_device(device)?,
                nested_absmax: nested_absmax.to_device(device)?,
                map: map.to_device(device)?,
                offset: *offset,
            },
        };
        Ok(Self { codes: self.codes.to_device(device)?, absmax, out: self.out, inp: self.inp })
    }

    /// `[out, in]` in f32 or bf16; on a GPU decoded straight to it.
    ///
    /// # Errors
    /// When the device has no kernel for it.
    pub fn dequantize_as(&self, dtype: DType) -> Result<Tensor> {
        backend::of(OP, &self.codes)?.decode_nf4(OP, self, dtype)
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
pub(crate) fn decode(w: &Nf4) -> Result<Tensor> {
    let scales = w.scales()?;
    let mut out = vec![0f32; w.out * w.inp];
    read::<u8, _>(OP, "codes", &w.codes, |codes| {
        out.par_chunks_mut(BLOCK * 64).enumerate().for_each(|(i, chunk)| unpack(codes, &scales, i * BLOCK * 64, chunk));
    })?;
    Ok(Tensor::from_vec(out, (w.out, w.inp), &Device::Cpu)?)
}

/// Decodes the elements `start .. start + out.len()` of the flattened matrix.
fn unpack(codes: &[u8], scales: &[f32], start: usize, out: &mut [f32]) {
    for (i, o) in out.iter_mut().enumerate() {
        let at = start + i;
        let byte = codes[at / 2];
        let code = if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 };
        *o = CODEBOOK[usize::from(code)] * scales[at / BLOCK];
    }
}

fn plain(absmax: Vec<f32>) -> Result<Absmax> {
    let n = absmax.len();
    Ok(Absmax::Plain(Tensor::from_vec(absmax, n, &Device::Cpu)?))
}

fn quantize_slice(w: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let mut codes = vec![0u8; w.len().div_ceil(2)];
    let mut absmax = vec![0f32; w.len().div_ceil(BLOCK)];
    let work = codes.par_chunks_mut(BLOCK / 2).zip(absmax.par_iter_mut()).zip(w.par_chunks(BLOCK));
    work.for_each(|((codes, absmax), block)| {
        let max = block.iter().fold(0f32, |m, x| m.max(x.abs()));
        *absmax = max;
        let inverse = if max > 0.0 { 1.0 / max } else { 0.0 };
        for (byte, pair) in codes.iter_mut().zip(block.chunks(2)) {
            let high = encode(pair[0] * inverse);
            let low = pair.get(1).map_or(0, |&x| encode(x * inverse));
            *byte = high << 4 | low;
        }
    });
    (codes, absmax)
}

fn quantize_scales(absmax: &[f32]) -> Result<Absmax> {
    let map = dynamic_map(true);
    let offset = (absmax.iter().map(|&x| f64::from(x)).sum::<f64>() / absmax.len().max(1) as f64) as f32;
    let mut codes = vec![0u8; absmax.len()];
    let mut nested = vec![0f32; absmax.len().div_ceil(NESTED_BLOCK)];
    for ((codes, nested), block) in codes.chunks_mut(NESTED_BLOCK).zip(&mut nested).zip(absmax.chunks(NESTED_BLOCK)) {
        *nested = block.iter().fold(0f32, |m, x| m.max((x - offset).abs()));
        // Scales that are all their mean keep code 0, as in bitsandbytes: it is multiplied by zero.
        if *nested > 0.0 {
            let inverse = 1.0 / *nested;
            for (c, x) in codes.iter_mut().zip(block) {
                *c = nearest_code(&map, (x - offset) * inverse);
            }
        }
    }
    let (blocks, nested_blocks) = (codes.len(), nested.len());
    Ok(Absmax::Double {
        codes: Tensor::from_vec(codes, blocks, &Device::Cpu)?,
        nested_absmax: Tensor::from_vec(nested, nested_blocks, &Device::Cpu)?,
        map: Tensor::new(&map, &Device::Cpu)?,
        offset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codebook_value_survives() -> Result<()> {
        let mut block: Vec<f32> = CODEBOOK.iter().cycle().take(BLOCK).copied().collect();
        block.iter_mut().for_each(|x| *x *= 3.0);
        let w = Tensor::from_vec(block.clone(), (2, 32), &Device::Cpu)?;
        let q = Nf4::quantize(&w, false)?;
        assert_eq!(q.dequantize()?.flatten_all()?.to_vec1::<f32>()?, block);
        Ok(())
    }

    #[test]
    fn a_zero_block_stays_zero() -> Result<()> {
        let mut v = vec![0f32; 192];
        v[64..128].iter_mut().enumerate().for_each(|(i, x)| *x = i as f32 - 31.0);
        for double in [false, true] {
            let q = Nf4::quantize(&Tensor::from_vec(v.clone(), (3, 64), &Device::Cpu)?, double)?;
            let back = q.dequantize()?.flatten_all()?.to_vec1::<f32>()?;
            assert!(back[..64].iter().chain(&back[128..]).all(|&x| x == 0.0), "double={double}");
        }
        Ok(())
    }

    #[test]
    fn odd_sizes_keep_their_last_element() -> Result<()> {
        let v: Vec<f32> = (0..65 * 3).map(|i| (i as f32 * 0.37).sin()).collect();
        let q = Nf4::quantize(&Tensor::from_vec(v.clone(), (3, 65), &Device::Cpu)?, true)?;
        let back = q.dequantize()?.flatten_all()?.to_vec1::<f32>()?;
        let worst = v.iter().zip(&back).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(worst < 0.17, "{worst}");
        Ok(())
    }
}
