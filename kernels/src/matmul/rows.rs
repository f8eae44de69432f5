//! A matrix as it is stored: dense or quantised rows, unpacked only where a product needs them.

use candle_core::DType;
use half::bf16;

use crate::quant::{self, Absmax, BLOCK};
use crate::real::Real;
use crate::view::read;
use crate::weight::Weight;
use crate::{Error, Result};

/// Scales of NF4 blocks, decoded one at a time.
#[derive(Clone, Copy)]
pub(crate) enum Scales<'a> {
    Plain(&'a [f32]),
    Double { codes: &'a [u8], nested: &'a [f32], map: &'a [f32], offset: f32 },
}

impl Scales<'_> {
    /// The scale of one block.
    #[inline(always)]
    pub(crate) fn get(&self, block: usize) -> f32 {
        match self {
            Scales::Plain(s) => s[block],
            Scales::Double { codes, nested, map, offset } => map[usize::from(codes[block])] * nested[block / quant::NESTED_BLOCK] + offset,
        }
    }
}

/// A matrix's storage, borrowed for the length of a product.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
    Nf4 { codes: &'a [u8], scales: Scales<'a> },
    Q8 { codes: &'a [u8], scales: &'a [f32] },
}

impl<'a> Rows<'a> {
    /// Activations.
    pub(crate) fn of<T: Real>(x: &'a [T]) -> Self {
        T::rows(x)
    }

    /// Whether a matrix `[count, width]` lies within the storage.
    pub(crate) fn holds(&self, count: usize, width: usize) -> bool {
        let n = count * width;
        match self {
            Rows::F32(w) => n <= w.len(),
            Rows::Bf16(w) => n <= w.len(),
            Rows::Nf4 { codes, scales } => {
                let blocks = n.div_ceil(BLOCK);
                let scaled = match scales {
                    Scales::Plain(s) => blocks <= s.len(),
                    Scales::Double { codes, nested, map, .. } => {
                        blocks <= codes.len() && blocks.div_ceil(quant::NESTED_BLOCK) <= nested.len() && map.len() == 256
                    }
                };
                n.div_ceil(2) <= codes.len() && scaled
            }
            Rows::Q8 { codes, scales } => n <= codes.len() && count * width.div_ceil(BLOCK) <= scales.len(),
        }
    }

    /// One element of a matrix whose rows are `width` wide.
    #[inline(always)]
    pub(crate) fn get(&self, width: usize, row: usize, col: usize) -> f32 {
        let at = row * width + col;
        match self {
            Rows::F32(w) => w[at],
            Rows::Bf16(w) => w[at].up(),
            Rows::Nf4 { codes, scales } => {
                let code = if at.is_multiple_of(2) { codes[at / 2] >> 4 } else { codes[at / 2] & 15 };
                quant::CODEBOOK[usize::from(code)] * scales.get(at / BLOCK)
            }
            Rows::Q8 { codes, scales } => f32::from(codes[at] as i8) * scales[row * width.div_ceil(BLOCK) + col / BLOCK],
        }
    }

    /// Rows `start .. start + count` in f32: borrowed where they are f32 already, else unpacked into `buffer`.
    pub(super) fn unpack<'b>(&'b self, start: usize, count: usize, width: usize, buffer: &'b mut Vec<f32>) -> &'b [f32] {
        if let Rows::F32(w) = self {
            return &w[start * width..(start + count) * width];
        }
        super::cpu::sized(buffer, count * width);
        for (i, row) in buffer.chunks_mut(width.max(1)).enumerate() {
            for (j, o) in row.iter_mut().enumerate() {
                *o = self.get(width, start + i, j);
            }
        }
        buffer
    }
}

/// Borrows the weight's storage for `f`.
pub(crate) fn with_rows<R>(op: &'static str, w: &Weight, f: impl FnOnce(Rows) -> R) -> Result<R> {
    match w {
        Weight::Dense(t) => match t.dtype() {
            DType::F32 => read::<f32, _>(op, "weight", t, |w| f(Rows::F32(w))),
            DType::BF16 => read::<bf16, _>(op, "weight", t, |w| f(Rows::Bf16(w))),
            got => Err(Error::Dtype { op, what: "weight", got, want: "f32 or bf16" }),
        },
        Weight::Nf4(w) => read::<u8, _>(op, "weight", w.codes(), |weight| match w.absmax() {
            Absmax::Plain(s) => read::<f32, _>(op, "absmax", s, |s| f(Rows::Nf4 { codes: weight, scales: Scales::Plain(s) })),
            Absmax::Double { codes, nested_absmax, map, offset } => read::<u8, _>(op, "absmax", codes, |codes| {
                read::<f32, _>(op, "nested_absmax", nested_absmax, |nested| {
                    read::<f32, _>(op, "nested_quant_map", map, |map| {
                        f(Rows::Nf4 { codes: weight, scales: Scales::Double { codes, nested, map, offset: *offset } })
                    })
                })
            })??,
        })?,
        Weight::Q8(w) => read::<u8, _>(op, "weight", w.codes(), |codes| {
            read::<f32, _>(op, "weight", w.scales(), |scales| f(Rows::Q8 { codes, scales }))
        })?,
    }
}
